/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "soft.h"

#include "walker.h"

int gmm_stage2_init(struct gmm_stage2 *stage2, uint32_t frame_bits)
{
	stage2->levels = (frame_bits + GMM_SOFT_TABLE_BITS - 1) / GMM_SOFT_TABLE_BITS;
	stage2->tables = 0;
	gmm_assert(stage2->levels && stage2->levels <= GMM_STAGE2_LEVELS_MAX);
	stage2->root = gmm_zalloc(GMM_SOFT_TABLE_ENTRIES * sizeof(uint64_t));
	return stage2->root ? 0 : -GMM_ENOMEM;
}

void gmm_stage2_destroy(struct gmm_stage2 *stage2)
{
	gmm_soft_destroy(stage2);
}

uint64_t *gmm_stage2_find(const struct gmm_stage2 *stage2, gmm_gfn_t gfn)
{
	return gmm_soft_find(stage2, gfn);
}

uint64_t *gmm_stage2_populate(struct gmm_stage2 *stage2, gmm_gfn_t gfn)
{
	return gmm_soft_populate(stage2, gfn);
}

int gmm_stage2_visit(const struct gmm_stage2 *stage2, gmm_gfn_t gfn, uint64_t count,
		     gmm_stage2_visit_fn visit, void *context)
{
	return gmm_soft_visit(stage2, gfn, count, visit, context);
}
