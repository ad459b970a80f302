/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Who changes which range, who watches it, and who is using a slot's memory on a slow path.
 *
 * One spinlock protects the active ranges, the index of caches and the operations under way: so
 * "is anybody changing this?" and "tell me if somebody does" are one step. Whoever resolves frames
 * is in the index while it does, and is marked when a range that it watches begins to change; there
 * is no sequence number that an unrelated change would move.
 */
#ifndef GMM_CORE_INVALIDATE_IMPL_H
#define GMM_CORE_INVALIDATE_IMPL_H

#include <guestmm/invalidate.h>

#include <gmm_port/wait.h>

#include "interval.h"
#include "lock_rank.h"

struct gmm_slot;

struct gmm_active_range {
	uint64_t start;
	uint64_t last;		/* inclusive, in the unit of the kind */
	uint32_t count;		/* changes in it; 0: the entry is free */
	uint32_t holding;	/* of these: faults are held */
	uint32_t slots;		/* of count: a slot is changed */
	uint32_t holding_slots; /* of holding: likewise */
	bool held;		/* a fault was held: wake at the end */
	uintptr_t owner;	/* thread that changes it; 0: not known */
};

struct gmm_invalidation {
	struct gmm_spinlock lock;
	/* under lock */
	struct gmm_active_range active[2][GMM_ACTIVE_RANGES]; /* by gmm_range_kind */
	uint32_t active_used[2];  /* entries ever used: searches stop there */
	uint32_t active_count[2]; /* changes */
	/*
	 * Frames of the slot's change that holds faults; there is one at a time. `intruders` are
	 * the ranges of other changes that have begun in them since: these may not wait. It is
	 * counted by what they change, not by the entries they are in.
	 */
	struct gmm_range held[2];
	uint32_t held_count, intruders;
	struct gmm_interval_tree caches[2];  /* gmm_cache.node, by kind of its target */
	struct gmm_interval_tree operations; /* gmm_operation.node, by GFN */
	uint32_t drainers;		     /* threads waiting for operations to end */
	struct gmm_waitqueue ended;	     /* a range or an operation ended */
	uint32_t leases; /* of all caches; also read without the lock, as a hint */
	uint32_t lease_waiters;
	struct gmm_waitqueue unleased; /* the last lease of a cache was dropped */
};

void gmm_invalidation_init(struct gmm_invalidation *invalidation);
void gmm_invalidation_destroy(struct gmm_invalidation *invalidation);

/*
 * Flags beside the public one. FAULTS_GO_ON: faults are not held: the change takes the pages one by
 * one through their states, or holds them later. SLOT: it is a slot that changes: operations that
 * may wait are kept out, and those under way are waited for. NESTED: belongs to another change of
 * this thread, which is blocking too. NOT_LEASED: -GMM_EAGAIN, and nothing is begun, when a cache of
 * the ranges is leased.
 */
#define GMM_INVALIDATE_FAULTS_GO_ON 2u
#define GMM_INVALIDATE_SLOT 4u
#define GMM_INVALIDATE_NESTED 8u
#define GMM_INVALIDATE_NOT_LEASED 16u

int gmm_invalidate_begin_flags(struct gmm_guest *guest, enum gmm_range_kind kind,
			       const struct gmm_range *ranges, uint32_t count, uint32_t flags,
			       struct gmm_invalidate_result *result);
/*
 * The second phase of a slot's change, which began with FAULTS_GO_ON | SLOT: from here on faults
 * are held, and no operation is under way. Its end is without FAULTS_GO_ON. Before, it waits for
 * changes of these frames by others: they may be waiting for a vCPU in a fault. Later ones wait
 * before they begin, unless they may not: for these, and no others, it waits before it publishes.
 */
void gmm_invalidate_hold(struct gmm_guest *guest, const struct gmm_range *ranges, uint32_t count);
/* Back into the first phase: what was held is let go. */
void gmm_invalidate_unhold(struct gmm_guest *guest, const struct gmm_range *ranges, uint32_t count);

/*
 * Takes the translations of the ranges out of a guest's table, behind the moment from which on faults
 * are held and operations overtaken. Without the lock, for it flushes (L8). Waits for nobody who
 * waits.
 */
void gmm_invalidate_drop(struct gmm_guest *guest, enum gmm_range_kind kind,
			 const struct gmm_range *ranges, uint32_t count);

/*
 * Takes the lock at a moment at which nobody but slots' changes changes these frames: what begins
 * later finds the slots as they are published under it.
 */
void gmm_invalidate_lock_alone(struct gmm_guest *guest, const struct gmm_range *ranges,
			       uint32_t count) GMM_ACQUIRE(gmm_rank_invalidate);

/* Whether the calling thread would wait for itself: it is in a section, or changes something. */
bool gmm_invalidate_would_deadlock(struct gmm_guest *guest);

void gmm_invalidate_end_flags(struct gmm_guest *guest, enum gmm_range_kind kind,
			      const struct gmm_range *ranges, uint32_t count, uint32_t flags);

/* Which changes a look-up is about. */
enum gmm_change {
	GMM_CHANGE_ANY,
	GMM_CHANGE_HOLDING, /* those that hold faults */
	GMM_CHANGE_SLOT,    /* those of a slot */
	GMM_CHANGE_NO_SLOT, /* all others */
	GMM_CHANGE_OWN,	    /* those of the calling thread, as far as that is known */
};

/*
 * The table of active ranges, core/active_range.c. All under the lock; ranges are [start, last] in
 * the unit of their kind.
 */
struct gmm_active_range *gmm_active_find(struct gmm_invalidation *invalidation,
					 enum gmm_range_kind kind, uint64_t start, uint64_t last,
					 enum gmm_change change);
/* Whether the calling thread has a change in progress. */
bool gmm_active_any_own(const struct gmm_invalidation *invalidation);
void gmm_active_add(struct gmm_guest *guest, enum gmm_range_kind kind, uint64_t start,
		    uint64_t last, bool slot);
/* Counts a change of the calling thread as one that holds faults now. */
void gmm_active_hold(struct gmm_invalidation *invalidation, enum gmm_range_kind kind,
		     uint64_t start, uint64_t last, bool slot);
/* The entry in which a change is counted, by what it is; NULL: there is none. */
struct gmm_active_range *gmm_active_of(struct gmm_invalidation *invalidation,
				       enum gmm_range_kind kind, uint64_t start, uint64_t last,
				       bool holding, bool slot);
void gmm_active_remove(struct gmm_invalidation *invalidation, enum gmm_range_kind kind,
		       struct gmm_active_range *active, bool holding, bool slot);

/* Whether a slot's change holds faults of these frames. */
bool gmm_active_is_held(const struct gmm_invalidation *invalidation, uint64_t start, uint64_t last);
/* From here on, or with count 0 not any more, a slot's change holds faults of these. */
void gmm_active_set_held(struct gmm_invalidation *invalidation, const struct gmm_range *ranges,
			 uint32_t count);
/* A range of a change that is no slot's begins, or ends. */
void gmm_active_intrude(struct gmm_invalidation *invalidation, enum gmm_range_kind kind,
			uint64_t start, uint64_t last, bool begins);

/*
 * An active change that overlaps [start, last] of `kind`, directly or through the slots there, or
 * NULL. Under the lock.
 */
struct gmm_active_range *gmm_invalidate_find(struct gmm_guest *guest, enum gmm_range_kind kind,
					     uint64_t start, uint64_t last, enum gmm_change change);

/*
 * Sleeps until there is none. Under the lock, which is dropped meanwhile. -GMM_EDEADLK: it would
 * sleep, and this thread has a change in progress, for which somebody may be waiting.
 */
int gmm_invalidate_wait_locked(struct gmm_guest *guest, enum gmm_range_kind kind, uint64_t start,
			       uint64_t last, enum gmm_change change)
	GMM_REQUIRES(gmm_rank_invalidate);

/*
 * The part of [start, last] of `kind` that lies in a slot, in the other kind's unit.
 */
void gmm_invalidate_convert(const struct gmm_guest *guest, const struct gmm_slot *slot,
			    enum gmm_range_kind kind, uint64_t start, uint64_t last,
			    uint64_t *other_start, uint64_t *other_last);

/*
 * An operation: slow work on one slot's memory (fault, populate, evict, harvest, …). While it is
 * open the slot cannot change; it never waits for a change of a slot.
 */
enum gmm_operation_wait {
	GMM_OPERATION_NO_WAIT,	 /* -GMM_EAGAIN while a change holds faults; its end wakes them */
	GMM_OPERATION_WAIT_SLOT, /* sleeps while a slot changes */
	GMM_OPERATION_WAIT_ALL,	 /* sleeps while anything of it changes */
	GMM_OPERATION_TRY_ALL,	 /* -GMM_EAGAIN while anything of it changes */
	GMM_OPERATION_TRY_SLOT,	 /* -GMM_EAGAIN while a slot changes */
};

struct gmm_operation {
	struct gmm_interval node; /* frames */
	struct gmm_guest *guest;
	struct gmm_slot *slot; /* of all its frames */
	bool may_wait;
	/* under the lock */
	bool overtaken;	 /* a change that holds faults began meanwhile */
	bool installing; /* a translation is being installed: such a change waits for it */
};

/*
 * Opens one on the part of [gfn, gfn + count) that lies in the slot of gfn. -GMM_EFAULT: no slot;
 * -GMM_EDEADLK: would wait for this thread's own change, or in a section; -GMM_EAGAIN.
 */
int gmm_operation_begin(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count,
			enum gmm_operation_wait wait, struct gmm_operation *operation);
void gmm_operation_end(struct gmm_operation *operation);
/*
 * The same for the page at a host address of the vCPUs' mapping, without waiting: which frame that
 * is, now, is in operation->node.start.
 */
int gmm_operation_begin_at(struct gmm_guest *guest, gmm_hva_t hva, struct gmm_operation *operation);

/*
 * Opens one on frames [start, last] whose slot is known not to change. Under the lock. It waits for
 * nobody.
 */
void gmm_operation_open_locked(struct gmm_guest *guest, struct gmm_slot *slot, gmm_gfn_t start,
			       gmm_gfn_t last, struct gmm_operation *operation);

/*
 * Calls fn() with an operation on each slot's part of [gfn, gfn + count) in turn, until it answers
 * with an error. Returns the sum of the answers. Frames in no slot: hole_error, or passed over when
 * that is 0.
 */
typedef int64_t (*gmm_operation_fn)(struct gmm_operation *operation, void *context);
int64_t gmm_operation_over(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count,
			   enum gmm_operation_wait wait, int hole_error, gmm_operation_fn fn,
			   void *context);

/* Frames of the operation. */
GMM_INLINE uint64_t gmm_operation_count(const struct gmm_operation *operation)
{
	return operation->node.last - operation->node.start + 1;
}

/*
 * Before a translation is installed: false when a change has overtaken the operation. After true, a
 * change that holds faults waits until gmm_operation_installed().
 */
bool gmm_operation_install(struct gmm_operation *operation);
/*
 * False: a change that may not wait has overtaken the installation, which is to be undone now.
 */
bool gmm_operation_installed(struct gmm_operation *operation);

/*
 * Waits until no operation overlaps the frames: first those that may wait (faults still go on, so
 * that what these wait for can end), or all. The caller's change keeps new ones out.
 */
void gmm_operation_drain(struct gmm_guest *guest, gmm_gfn_t start, gmm_gfn_t last, bool all);

#endif
