/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Regions: memory of an event that vCPUs and a device use while the event changes it (guest/abi.h
 * says how they learn of it). Each is a memory of its own, lazy, evicted and logged like the
 * snapshot; its log is harvested into a copy, which is compared with the memory when everybody has
 * stopped using the region.
 *
 * Pages belong to vCPUs, and one of each vcpus + 1 to the event's device (region_device.c), which
 * reaches them through caches. All functions are of the event's thread, unless noted.
 */
#ifndef GMM_CLI_RUN_REGIONS_H
#define GMM_CLI_RUN_REGIONS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <guestmm/linux/source.h>
#include <guestmm/types.h>

#include "worker.h"

#include "guest/abi.h"

struct gmm_memory;
struct run;
struct run_event;
struct run_results;
struct run_regions;

struct run_guest_region {
	struct run_regions *of;
	uint32_t number; /* in the guest's table */
	uint32_t slot;
	uint64_t most_pages;
	struct gmm_memory *memory; /* NULL: it is not there; changed under memory_lock */
	bool has_slot;
	gmm_gpa_t gpa;
	uint64_t pages;
	uint8_t *copy; /* what base and harvests say; most_pages pages */
};

/* Atomic. */
struct run_regions_counters {
	uint64_t harvested;	/* pages */
	uint64_t compared;	/* pages, when the region was not used */
	uint64_t stops;		/* times that was so */
	uint64_t device_reads;	/* pages verified by the device, zero or written */
	uint64_t device_writes; /* pages */
	uint64_t device_zeros;	/* of the reads: as zero */
	uint64_t device_absent; /* uses that found no memory, or a change */
	uint64_t final_zeros;	/* pages that were zero at the end, as they had to be */
	uint64_t final_written; /* pages that were as written at the end */
};

struct run_regions {
	struct run *run;
	struct run_event *event;
	struct guest_regions *table;
	bool has_space; /* vCPUs touch also what is no memory: `layout` is kept */
	uint32_t count;
	struct run_guest_region region[GUEST_REGIONS];
	uint64_t random;
	pthread_mutex_t device_lock; /* held by the device while it uses a page */
	pthread_mutex_t memory_lock;
	struct run_worker device;
	struct run_regions_counters counters;
};

/* Why this run cannot have any, or NULL. */
const char *run_regions_unavailable(const struct run *run);
/*
 * Regions [first, first + count) of the guest's table, none of which is there yet. -GMM_ENOMEM.
 */
int run_regions_create(struct run_event *event, uint32_t first, uint32_t count,
		       const uint64_t *most_pages, struct run_regions **regions);
void run_regions_destroy(struct run_regions *regions);
/* vCPUs begin to use regions. */
void run_regions_open(struct run_regions *regions);

uint64_t run_regions_random(struct run_regions *regions, uint64_t below);

/* From here on nobody who looks begins to use the region, up to run_region_settle(). */
void run_region_announce(struct run_guest_region *region);
/* Returns when no vCPU uses it any more; false: the run is given up. */
bool run_region_wait_unused(struct run_guest_region *region);
void run_region_settle(struct run_guest_region *region);
/* Pages that became zero by the change that is settled next. */
void run_region_zeroed(struct run_guest_region *region, uint64_t first, uint64_t count);

/*
 * Between announce and settle. Errors give the run up, but for this: add answers false, and why in
 * `text`, when there is no memory to be had.
 */
bool run_region_add(struct run_guest_region *region, gmm_gpa_t gpa, uint64_t pages,
		    char text[GMM_BACKING_TEXT_SIZE]);
void run_region_move(struct run_guest_region *region, gmm_gpa_t gpa);
void run_region_resize(struct run_guest_region *region, uint64_t pages);
void run_region_remove(struct run_guest_region *region);

/* At any time: the log is read into the copy. */
void run_region_harvest(struct run_guest_region *region);
/* Nobody uses it: harvests and copy must be what is in it. */
void run_region_check(struct run_guest_region *region);
/* All vCPUs and the device have ended: the same, and what the owners of pages know. */
void run_regions_verify(struct run_regions *regions);

/* The first failure of an operation on their memories, or nothing. Any thread. */
void run_regions_failure(struct run_regions *regions, char *text, size_t size);

/* The event's thread starts and joins it. */
void *run_region_device_thread(void *regions);

/* Rows of what vCPUs, device and harvests did. */
void run_regions_collect(const struct run_regions *regions, const char *group,
			 struct run_results *results);

/* What a page must carry; in the order of guest/region.c. */
enum run_region_contents {
	RUN_REGION_ZERO,
	RUN_REGION_WRITTEN,
	RUN_REGION_UNKNOWN
};
enum run_region_contents run_region_expected(const struct guest_region_page *meta);
/* Whether `found` is that; if not, *wrong is the first other word. */
bool run_region_page_good(const struct run_guest_region *region, uint64_t page, const void *found,
			  enum run_region_contents contents, uint32_t *wrong);

#endif
