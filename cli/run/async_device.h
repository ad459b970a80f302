/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A device that reads from a file into guest memory, and writes from it into the file, by io_uring
 * and without a copy: each request has a lease (guestmm/lease.h). One thread submits, another
 * completes.
 */
#ifndef GMM_CLI_RUN_ASYNC_DEVICE_H
#define GMM_CLI_RUN_ASYNC_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include <guestmm/types.h>

struct run_async;
struct run_event;
struct run_event_pages;

struct run_async_counters {
	uint64_t reads;	 /* file to guest memory */
	uint64_t writes; /* guest memory to file */
	uint64_t most_in_flight;
	uint64_t asked; /* for leases */
	uint64_t again; /* leases that were not to be had without waiting */
	uint64_t away;	/* … because the slot was not there */
};

/* NULL, or why there is no io_uring here. */
const char *run_async_unavailable(void);

/*
 * Over the pages of an event, which begin at its GPA. 0, or the exit status after a line was
 * printed; then destroy is called, too.
 */
int run_async_create(struct run_event *event, struct run_event_pages *pages,
		     struct run_async **async);
void run_async_destroy(struct run_async *async);

/* -1: no thread to be had; it is in the outcome. They end in RUN_QUIET; join always. */
int run_async_start(struct run_async *async);
void run_async_join(struct run_async *async);

/* Keeps I/O away from a page, until the release. False: there is some. */
bool run_async_claim(struct run_async *async, uint32_t page);
void run_async_release(struct run_async *async, uint32_t page);

/* Whether I/O into or from the page is in flight. */
bool run_async_in_flight(const struct run_async *async, uint32_t page);

void run_async_counters(const struct run_async *async, struct run_async_counters *counters);

#endif
