/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Devices: buffers of the guest (device.c), and pages of their own (device_pages.c). Each is a
 * thread with its reader and caches, and has a share of the vCPUs and of the pages.
 */
#ifndef GMM_CLI_RUN_DEVICE_H
#define GMM_CLI_RUN_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "worker.h"

struct gmm_cache;
struct gmm_reader;
struct guest_page_expect;
struct run;
struct run_device_block;

#define RUN_DEVICES_MOST 64u
#define RUN_DEVICES_DEFAULT 2u

struct run_device_counters {
	uint64_t reads, writes, refused;
	uint64_t bytes;
	uint64_t cache_hits;
	uint64_t own_pages;
};

struct run_device {
	struct run *run;
	uint32_t index;
	char name[20];
	struct run_worker worker;
	/* Of its thread. */
	struct run_device_block *blocks;
	uint64_t random;
	struct run_device_counters counters; /* atomic */
};

/* Of all devices. */
void run_device_counters(const struct run *run, struct run_device_counters *counters);

/*
 * The cache of the block of a snapshot page, and where in it the page begins. NULL: the run is
 * given up.
 */
struct gmm_cache *run_device_cache(struct run_device *device, uint64_t page, uint64_t *offset);

/* -GMM_ENOMEM */
int run_device_pages_create(struct run *run);
void run_device_pages_destroy(struct run *run);

/*
 * Of the verifier: whether the device is to have this page, and that the guest leaves it alone now.
 */
bool run_device_wants_page(const struct run *run, uint64_t page);
void run_device_give_page(struct run *run, uint64_t page);

/* On the device's thread: verifies one of its pages and makes it the next version. */
void run_device_write_page(struct run_device *device, struct gmm_reader *reader);

/*
 * When all devices have ended: whether one wrote the page, and whether `found` is what it wrote
 * last.
 */
bool run_device_owns_page(const struct run *run, uint64_t page);
bool run_device_verify_page(const struct run *run, uint64_t page, const void *found,
			    struct guest_page_expect *expect, uint32_t *wrong);

#endif
