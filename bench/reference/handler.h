/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The least that serves faults on a memfd: a thread that reads an event and maps the page, which is
 * there already, so that the first write will be seen, as the engine does.
 */
#ifndef GMM_BENCH_REFERENCE_HANDLER_H
#define GMM_BENCH_REFERENCE_HANDLER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct reference_handler {
	int userfault;
	int memfd;
	uint8_t *data; /* where it faults */
	uint64_t bytes;
	bool spins; /* for the next event; else it sleeps in read() */
	pthread_t thread;
	bool running;
};

void reference_handler_make(struct reference_handler *handler, uint64_t bytes, bool spins);
/* The thread inherits the CPUs of the caller. Start and stop do nothing when it is so already. */
void reference_handler_start(struct reference_handler *handler);
void reference_handler_stop(struct reference_handler *handler);
/* Makes the pages of [offset, offset + bytes) fault again. */
void reference_handler_unmap(struct reference_handler *handler, uint64_t offset, uint64_t bytes);
void reference_handler_end(struct reference_handler *handler);

#endif
