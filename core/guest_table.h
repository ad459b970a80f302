/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A guest's table in a format of hardware, and what the engine asks of it: all translations of the
 * guest's slots are there, and none in the soft second stage. Walkers of management come from a
 * few that are made with the guest; who has one sleeps for nobody, so that whoever needs one, a
 * begin that may not sleep among them, spins for a short while at most.
 */
#ifndef GMM_CORE_GUEST_TABLE_H
#define GMM_CORE_GUEST_TABLE_H

#include <guestmm/fault.h>
#include <guestmm/invalidate.h>
#include <guestmm/stage2_table.h>

#define GMM_GUEST_WALKERS 8u

struct gmm_guest_table {
	struct gmm_stage2_table *table;			      /* NULL: there is none */
	struct gmm_stage2_walker *walkers[GMM_GUEST_WALKERS]; /* immutable */
	/* atomic */
	uint32_t in_use;     /* bit n: walkers[n] */
	uint32_t protecting; /* write-protections that are not flushed yet */
};

/* What config says of a table, and page_shift and gpa_bits where they are 0. -GMM_EINVAL. */
int gmm_guest_table_check(struct gmm_guest_config *config);
/* -GMM_ENOMEM. May sleep. */
int gmm_guest_table_init(struct gmm_guest_table *table, struct gmm_stage2_table *made);
void gmm_guest_table_fini(struct gmm_guest_table *table);

/* A walker, to be given back soon: the caller neither sleeps nor takes another one. */
struct gmm_stage2_walker *gmm_guest_walker_take(struct gmm_guest_table *table);
void gmm_guest_walker_give(struct gmm_guest_table *table, struct gmm_stage2_walker *walker);

/*
 * The largest leaf that has frame `gfn` and that mapping and table permit becomes the mapping.
 * False: it is one of level 0.
 */
bool gmm_guest_table_fit_leaf(const struct gmm_guest_table *table,
			      struct gmm_stage2_mapping *mapping, gmm_gfn_t gfn);

/*
 * Takes the translations of frames [first, last] away, with a flush, and keeps everybody from
 * installing until that is done. Who resolved a frame before does not install it (a watch).
 */
void gmm_guest_table_drop(struct gmm_guest_table *table, gmm_gfn_t first, gmm_gfn_t last);

/*
 * The next write of each selected frame faults; bit 0 of the mask is frame `gfn`, NULL selects all.
 * Complete on return: nobody writes through what was remembered of them.
 */
void gmm_guest_table_protect(struct gmm_guest_table *table, gmm_gfn_t gfn, uint64_t count,
			     const uint64_t *mask);

/* Sets bit i of young[], which are 0, for each young frame gfn + i; makes them old, or not. */
void gmm_guest_table_age(struct gmm_guest_table *table, gmm_gfn_t gfn, uint64_t count,
			 uint64_t *young, bool test_only);

/* The translation of a frame; false: there is none. */
bool gmm_guest_table_look_up(struct gmm_guest_table *table, gmm_gfn_t gfn,
			     struct gmm_stage2_leaf *leaf);

/* Adds what is mapped of the frames to mapped, writable, young, dirty and changed. */
void gmm_guest_table_survey(struct gmm_guest_table *table, gmm_gfn_t gfn, uint64_t count,
			    struct gmm_page_survey *survey);

/* Whether a write through the leaf goes without a fault. */
GMM_INLINE bool gmm_leaf_is_writable(uint32_t leaf)
{
	return (leaf & (GMM_LEAF_WRITE | GMM_LEAF_PROTECTED | GMM_LEAF_DIRTY)) ==
	       (GMM_LEAF_WRITE | GMM_LEAF_DIRTY);
}

#endif
