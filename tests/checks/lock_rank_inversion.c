/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Takes a lower rank while it holds a higher one, three ranks apart: must be refused. */
#include "lock_rank.h"

void gmm_check_inversion(struct gmm_mutex *slots, struct gmm_spinlock *invalidate);

void gmm_check_inversion(struct gmm_mutex *slots, struct gmm_spinlock *invalidate)
{
	gmm_lock_invalidate(invalidate);
	gmm_lock_slots(slots);
	gmm_unlock_slots(slots);
	gmm_unlock_invalidate(invalidate);
}
