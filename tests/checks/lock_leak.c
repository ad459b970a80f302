/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Returns with the lock held on one path: must be refused. */
#include <guestmm/types.h>

#include "lock_rank.h"

int gmm_check_leak(struct gmm_spinlock *pages, bool fails);

int gmm_check_leak(struct gmm_spinlock *pages, bool fails)
{
	gmm_lock_pages(pages);
	if (fails)
		return -GMM_EIO;
	gmm_unlock_pages(pages);
	return 0;
}
