/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The live second stage inside, for owners that have one as their first part. */
#ifndef GMM_ACCEL_LIVE_STAGE2_IMPL_H
#define GMM_ACCEL_LIVE_STAGE2_IMPL_H

#include <pthread.h>

#include <guestmm/linux/live_stage2.h>

#define GMM_LIVE_OWN_CHANGES 32u

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

	/* Addresses whose mapping is being dropped here, while events of that are told. */
	pthread_mutex_t own_lock;
	struct {
		gmm_hva_t start;
		uint64_t bytes;	 /* 0: no entry */
		uint64_t untold; /* of them: the event was not read yet */
		bool ended;
	} own[GMM_LIVE_OWN_CHANGES];
};

/*
 * Set by a thread that reads events, for itself: dropping a mapping would wait for an event that
 * only it reads, so there unmap answers -GMM_EOPNOTSUPP where events are told.
 */
extern _Thread_local bool gmm_live_stage2_reads_events;

/* Whether an event of freed memory is of a mapping that is or was dropped here; once for each. */
bool gmm_live_stage2_is_own_change(struct gmm_live_stage2 *live, gmm_hva_t start, uint64_t bytes);
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

/* -GMM_ENOMEM. */
int gmm_live_stage2_init(struct gmm_live_stage2 *live, struct gmm_userfault *userfault,
			 const char *name, bool logs_writes);
void gmm_live_stage2_fini(struct gmm_live_stage2 *live);

#endif
