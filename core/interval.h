/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A set of closed intervals that finds those overlapping a range in O(log n + hits): a treap
 * ordered by start, each node knowing the greatest end below it. Nodes are part of the caller's
 * objects; nothing is allocated. The caller locks.
 */
#ifndef GMM_CORE_INTERVAL_H
#define GMM_CORE_INTERVAL_H

#include <guestmm/types.h>

struct gmm_interval {
	uint64_t start;
	uint64_t last; /* inclusive */
	/* private to interval.c */
	uint64_t left_greatest; /* of `last` below on that side; 0 with nothing there */
	uint64_t right_greatest;
	struct gmm_interval *parent;
	struct gmm_interval *left;
	struct gmm_interval *right;
	uint32_t priority;
} __attribute__((aligned(64))); /* a search reads one line a level */

struct gmm_interval_tree {
	struct gmm_interval *root;
	uint32_t random;
	uint64_t visited; /* nodes looked at by searches */
};

void gmm_interval_tree_init(struct gmm_interval_tree *tree);
void gmm_interval_insert(struct gmm_interval_tree *tree, struct gmm_interval *node);
void gmm_interval_remove(struct gmm_interval_tree *tree, struct gmm_interval *node);

/*
 * The overlapping node with the smallest start, and the next after `node`; NULL when there is none.
 */
struct gmm_interval *gmm_interval_first(struct gmm_interval_tree *tree, uint64_t start,
					uint64_t last);
struct gmm_interval *gmm_interval_next(struct gmm_interval_tree *tree, struct gmm_interval *node,
				       uint64_t start, uint64_t last);

#define gmm_interval_for_each(node, tree, start, last)               \
	for ((node) = gmm_interval_first(tree, start, last); (node); \
	     (node) = gmm_interval_next(tree, node, start, last))

#endif
