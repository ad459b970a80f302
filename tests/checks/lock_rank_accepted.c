/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Ranks in rising order, released on every path: the analysis accepts it. */
#include "lock_rank.h"

void gmm_check_accepted(struct gmm_mutex *slots, struct gmm_spinlock *invalidate, bool both);

void gmm_check_accepted(struct gmm_mutex *slots, struct gmm_spinlock *invalidate, bool both)
{
	gmm_lock_slots(slots);
	if (both) {
		gmm_lock_invalidate(invalidate);
		gmm_unlock_invalidate(invalidate);
	}
	gmm_unlock_slots(slots);
}
