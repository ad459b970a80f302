/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The live second stage inside, for owners that have one as their first part. */
#ifndef GMM_ACCEL_LIVE_STAGE2_IMPL_H
#define GMM_ACCEL_LIVE_STAGE2_IMPL_H

#include <pthread.h>

#include <guestmm/linux/live_stage2.h>
#include <guestmm/memory.h>

#define GMM_LIVE_PAGE_SHIFT 12

struct gmm_live_stage2 {
	/* Immutable after init, but for what an owner adds to `ops` before it is used. */
	struct gmm_userfault *userfault; /* or NULL */
	bool logs_writes;		 /* the owner has a log of its own */
	void *own_page;			 /* that nobody uses, with a userfault only */
	struct gmm_stage2_ops ops;

	/* Under `lock`: readers look an address up, a slot's change writes. */
	pthread_rwlock_t lock;
	struct gmm_live_range *ranges; /* sorted by hva */
	uint32_t count;
	uint32_t capacity;
};

/*
 * Set by a thread that reads events, for itself: dropping a mapping would wait for an event that
 * only it reads, so there unmap answers -GMM_EOPNOTSUPP where events are told.
 */
extern _Thread_local bool gmm_live_stage2_reads_events;

/* Copies the first range that ends behind `hva`; false: there is none. */
bool gmm_live_stage2_next(struct gmm_live_stage2 *live, gmm_hva_t hva,
			  struct gmm_live_range *range);
/* Calls fn() with each part of [start, start + bytes) that is in no slot; no slot changes meanwhile. */
void gmm_live_stage2_visit_outside(struct gmm_live_stage2 *live, gmm_hva_t start, uint64_t bytes,
				   void (*fn)(void *opaque, gmm_hva_t start, uint64_t bytes),
				   void *opaque);
/* Calls fn() with each part of [start, start + bytes) that is in a slot; no slot changes meanwhile. */
void gmm_live_stage2_visit(struct gmm_live_stage2 *live, gmm_hva_t start, uint64_t bytes,
			   void (*fn)(void *opaque, const struct gmm_live_range *range,
				      gmm_hva_t start, uint64_t bytes),
			   void *opaque);

/* A slot's change, for an owner that has more to do for it than to register. */
struct gmm_live_change {
	struct gmm_live_range before, after; /* bytes 0: none */
	bool shown;			     /* `after` is in the table */
};

/*
 * All of a slot's change that can fail; when it does nothing has changed. From here to the end what
 * was and what will be is registered: memory that is not is reached unseen. The slot is found where
 * it will be, unless it is less than it was. One slot's change at a time. Errors of
 * gmm_live_stage2_slot_change().
 */
int gmm_live_stage2_change_begin(struct gmm_live_stage2 *live, const struct gmm_slot_info *old,
				 const struct gmm_slot_info *now, struct gmm_live_change *change);
/* The change was made, or was not: then all is as it was before. */
void gmm_live_stage2_change_end(struct gmm_live_stage2 *live, const struct gmm_live_change *change,
				bool made);

static inline bool gmm_live_is_lazy(const struct gmm_memory_ops *ops)
{
	return ops && ops->flags & GMM_MEMORY_LAZY;
}

/* Dropping the mapping keeps the contents. */
static inline bool gmm_live_is_shared(const struct gmm_memory_ops *ops)
{
	return ops && ops->flags & GMM_MEMORY_AGEABLE;
}

static inline bool gmm_live_is_host_only(const struct gmm_memory_ops *ops)
{
	return ops && ops->flags & GMM_MEMORY_HOST_ONLY;
}

static inline uint32_t gmm_live_abilities(const struct gmm_live_stage2 *live)
{
	return live->userfault ? gmm_userfault_abilities(live->userfault) : 0;
}

/* -GMM_ENOMEM. */
int gmm_live_stage2_init(struct gmm_live_stage2 *live, struct gmm_userfault *userfault,
			 const char *name, bool logs_writes);
void gmm_live_stage2_fini(struct gmm_live_stage2 *live);

#endif
