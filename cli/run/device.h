/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The device: buffers of the guest (device.c), and pages of its own (device_pages.c). */
#ifndef GMM_CLI_RUN_DEVICE_H
#define GMM_CLI_RUN_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

struct gmm_cache;
struct gmm_reader;
struct guest_page_expect;
struct run;

/*
 * The cache of the block of a snapshot page, and where in it the page begins. NULL: the run is
 * given up.
 */
struct gmm_cache *run_device_cache(struct run *run, uint64_t page, uint64_t *offset);
uint64_t *run_device_cache_hits(struct run *run);

/* -GMM_ENOMEM */
int run_device_pages_create(struct run *run);
void run_device_pages_destroy(struct run *run);

/*
 * Of the verifier: whether the device is to have this page, and that the guest leaves it alone now.
 */
bool run_device_wants_page(const struct run *run, uint64_t page);
void run_device_give_page(struct run *run, uint64_t page);

/* On the device's thread: verifies one of its pages and makes it the next version. */
void run_device_write_page(struct run *run, struct gmm_reader *reader);

/*
 * When the device has ended: whether it wrote the page, and whether `found` is what it wrote last.
 */
bool run_device_owns_page(const struct run *run, uint64_t page);
bool run_device_verify_page(const struct run *run, uint64_t page, const void *found,
			    struct guest_page_expect *expect, uint32_t *wrong);
uint64_t run_device_page_writes(const struct run *run);

#endif
