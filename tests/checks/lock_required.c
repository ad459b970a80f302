/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Calls a function that needs a lock without it: must be refused. */
#include "lock_rank.h"

void gmm_check_needs(void) GMM_REQUIRES(gmm_rank_pages);
void gmm_check_required(void);

void gmm_check_required(void)
{
	gmm_check_needs();
}
