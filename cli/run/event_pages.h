/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Pages of an event that devices write: what each must hold, and a copy that is only brought up to
 * date by the dirty log. So a store that was lost is found in the page, and one that was not logged
 * in the copy.
 */
#ifndef GMM_CLI_RUN_EVENT_PAGES_H
#define GMM_CLI_RUN_EVENT_PAGES_H

#include <stdbool.h>
#include <stdint.h>

#include <guestmm/linux/memory.h>

struct run;
struct run_event;

struct run_event_pages {
	struct run_event *event;
	uint32_t count;
	uint32_t *version; /* 0: all zero; of who has the page */
	uint8_t *copy;	   /* of who harvests */
	uint64_t seed;
	uint64_t harvested; /* atomic */
};

/* What the memory of such pages is made of: as the guest's, where that can be paged. */
enum gmm_memory_kind run_event_memory_kind(const struct run *run);
/* NULL, or why there can be no such memory. */
const char *run_event_memory_unavailable(const struct run *run);

struct run_event_slot {
	uint32_t id;
	gmm_gfn_t home;
	bool is_set;	  /* GMM_SLOT_LOG_ALL_SET */
	uint64_t next_at; /* ns: vCPUs wait for a change, so most of the time there is none */
	uint64_t changes, moves; /* atomic */
};

/*
 * Moves a slot from its home `distance` pages away, for a while, and back; where slots cannot move,
 * changes a flag of it, which goes the same way. Does nothing when it is not yet time again. One
 * thread at a time.
 */
int run_event_slot_change(struct run_event *event, struct run_event_slot *slot, uint64_t distance);

/* -GMM_ENOMEM */
int run_event_pages_create(struct run_event *event, uint32_t count, struct run_event_pages *pages);
void run_event_pages_destroy(struct run_event_pages *pages);

/* Fills a buffer of a page with what version `version` of page `page` holds; not version 0. */
void run_event_page_fill(const struct run_event_pages *pages, uint32_t page, uint32_t version,
			 void *buffer);
/* Whether it holds that; *wrong: the first wrong byte. */
bool run_event_page_check(const struct run_event_pages *pages, uint32_t page, uint32_t version,
			  const void *buffer, uint32_t *wrong);
/* A line in the outcome: the page does not hold its version `where`. */
void run_event_page_lost(const struct run_event_pages *pages, uint32_t page, uint32_t version,
			 const char *where, uint32_t wrong);

/*
 * Harvests pages [first, first + count), at most 64, which are the whole of a slot that lies at
 * frame `gfn` and stays there, into the copy. False: the run is given up.
 */
bool run_event_pages_harvest(struct run_event_pages *pages, uint32_t slot, gmm_gfn_t gfn,
			     uint32_t first, uint32_t count);
/* Nobody writes any more: harvests once more, and compares pages, copy and versions. */
void run_event_pages_verify(struct run_event_pages *pages, uint32_t slot, gmm_gfn_t gfn,
			    uint32_t first, uint32_t count);

#endif
