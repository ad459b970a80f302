/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The same with two neighbouring ranks: must be refused. */
#include "lock_rank.h"

void gmm_check_neighbours(struct gmm_mutex *cache, struct gmm_spinlock *ring);

void gmm_check_neighbours(struct gmm_mutex *cache, struct gmm_spinlock *ring)
{
	gmm_lock_ring(ring);
	gmm_lock_cache(cache);
	gmm_unlock_cache(cache);
	gmm_unlock_ring(ring);
}
