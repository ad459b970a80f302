/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Owning pages' states. Work on many pages goes in runs: consecutive frames of one table that were
 * claimed together, so that memory and owner are called once a run. A thread claims one run at a
 * time, and waits for a busy page only while it holds none.
 */
#ifndef GMM_CORE_PAGE_IMPL_H
#define GMM_CORE_PAGE_IMPL_H

#include <guestmm/fault.h>
#include <guestmm/repair.h>

#include "guest_impl.h"
#include "stage2/soft.h"

#define GMM_RUN_PAGES 64u

struct gmm_page_run {
	gmm_gfn_t gfn;
	uint64_t *entries;
	uint32_t count;
	/* What the entries were when claimed, without BUSY; what they will be when released. */
	uint64_t values[GMM_RUN_PAGES];
};

/*
 * Sets BUSY on one entry if it has not been set. Returns the value before; BUSY in it: not claimed.
 */
uint64_t gmm_page_try_claim(uint64_t *entry);

/* Sleeps until the entry is not busy. Holds nothing, not in a section. */
void gmm_page_wait_free(struct gmm_guest *guest, uint64_t *entry);

/*
 * Marks a busy entry so that its release wakes. Returns false when it is not busy any more.
 */
bool gmm_page_ask_wake(uint64_t *entry);

/*
 * Which pages a claim is about: all bits of `all` set, none of `none`, one of `any` at least.
 */
struct gmm_page_filter {
	uint64_t all;
	uint64_t none;
	uint64_t any; /* 0: no such condition */
};

/* A walk over part of an operation's frames, run by run. */
struct gmm_page_walk {
	struct gmm_operation *operation;
	gmm_gfn_t next; /* where it goes on */
	gmm_gfn_t last;
	struct gmm_page_filter filter;
	bool wait; /* for busy pages; else they are passed over */
	/* NULL, or told of each busy page that is passed over */
	void (*busy)(void *context, gmm_gfn_t gfn);
	void *busy_context;
};

/* Claims the next run; false: there is none. */
bool gmm_run_claim(struct gmm_page_walk *walk, struct gmm_page_run *run);

/* How many values of a run have all of `bits`. */
uint32_t gmm_run_count(const struct gmm_page_run *run, uint64_t bits);

/*
 * Calls fn() for each stretch of a run whose values have all of `bits`, until one fails.
 */
typedef int (*gmm_stretch_fn)(struct gmm_operation *operation, struct gmm_page_run *run,
			      uint32_t first, uint32_t count);
int gmm_run_stretches(struct gmm_operation *operation, struct gmm_page_run *run, uint64_t bits,
		      gmm_stretch_fn fn);

/* Tables for all frames of an operation: a walk only sees entries that exist. -GMM_ENOMEM. */
int gmm_operation_populate_tables(struct gmm_operation *operation);

/*
 * Makes pages resident as gmm_fault_populate() does, but does not wait for a change of them:
 * -GMM_EAGAIN.
 */
int gmm_fault_try_populate(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count, uint32_t access);

/*
 * Asks the memory which pages of a claimed run, of those that are resident and have all of `which`,
 * are gone (W9): they become absent, those that had changed are reported and still count as
 * changed, because of caches that may be valid; `result` is added to.
 * Waits for nobody. -GMM_EIO.
 */
int gmm_run_take_back_lost(struct gmm_operation *operation, struct gmm_page_run *run,
			   uint64_t which, struct gmm_repair_result *result);

/*
 * The same before pages are read, where reading one that is gone would be a fault that waits for
 * this thread: memory whose only mapping is the vCPUs'.
 */
int gmm_run_ask_readable(struct gmm_operation *operation, struct gmm_page_run *run, uint64_t which,
			 struct gmm_repair_result *result);

/* Ages pages as gmm_age() does; -GMM_EAGAIN while their slot changes. */
int64_t gmm_age_unless_changing(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count);

/* Stores the values and lets go; wakes who waits, through the owner and in the engine. */
void gmm_run_release(struct gmm_operation *operation, struct gmm_page_run *run);

/* Part of a run as the owner and the memory know it. */
struct gmm_span gmm_run_span(const struct gmm_operation *operation, const struct gmm_page_run *run,
			     uint32_t first, uint32_t count);

#endif
