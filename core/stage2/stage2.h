/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The second stage as the engine uses it: a table from frame to entry. Now in one format, soft.h;
 * the walker is a template so that formats of hardware become further files.
 */
#ifndef GMM_CORE_STAGE2_STAGE2_H
#define GMM_CORE_STAGE2_STAGE2_H

#include <guestmm/types.h>

#define GMM_STAGE2_LEVELS_MAX 6u

struct gmm_stage2 {
	uint64_t *root;	 /* set once */
	uint32_t levels; /* immutable */
	uint64_t tables; /* atomic: tables beside the root */
};

/* Entries of consecutive frames in one table. A non-zero answer ends the walk. */
typedef int (*gmm_stage2_visit_fn)(void *context, gmm_gfn_t gfn, uint64_t *entries, uint32_t count);

/* `frame_bits`: bits of a frame number. -GMM_ENOMEM. May sleep. */
int gmm_stage2_init(struct gmm_stage2 *stage2, uint32_t frame_bits);
/* Nobody uses it any more. */
void gmm_stage2_destroy(struct gmm_stage2 *stage2);

/* The entry of a frame, or NULL when it has no table yet (the entry would be 0). No lock. */
uint64_t *gmm_stage2_find(const struct gmm_stage2 *stage2, gmm_gfn_t gfn);
/* The entry of a frame; NULL when memory is short. May sleep. */
uint64_t *gmm_stage2_populate(struct gmm_stage2 *stage2, gmm_gfn_t gfn);
/* Walks what is there of a range, in order. */
int gmm_stage2_visit(const struct gmm_stage2 *stage2, gmm_gfn_t gfn, uint64_t count,
		     gmm_stage2_visit_fn visit, void *context);

#endif
