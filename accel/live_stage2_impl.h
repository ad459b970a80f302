/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The live second stage inside, for owners that have one as their first part. */
#ifndef GMM_ACCEL_LIVE_STAGE2_IMPL_H
#define GMM_ACCEL_LIVE_STAGE2_IMPL_H

#include <pthread.h>

#include <guestmm/linux/live_stage2.h>

struct gmm_live_stage2 {
	/* Immutable after init, but for what an owner adds to `ops` before it is used. */
	struct gmm_userfault *userfault; /* or NULL */
	bool logs_writes;		 /* the owner has a log of its own */
	struct gmm_stage2_ops ops;

	/* Under `lock`: readers look an address up, a slot's change writes. */
	pthread_rwlock_t lock;
	struct gmm_live_range *ranges; /* sorted by hva */
	uint32_t count;
	uint32_t capacity;
};

/* -GMM_ENOMEM. */
int gmm_live_stage2_init(struct gmm_live_stage2 *live, struct gmm_userfault *userfault,
			 const char *name, bool logs_writes);
void gmm_live_stage2_fini(struct gmm_live_stage2 *live);

#endif
