/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "interval.h"

void gmm_interval_tree_init(struct gmm_interval_tree *tree)
{
	tree->root = NULL;
	tree->random = 0x9e3779b9u;
	tree->visited = 0;
}

static uint32_t next_priority(struct gmm_interval_tree *tree)
{
	tree->random ^= tree->random << 13;
	tree->random ^= tree->random >> 17;
	tree->random ^= tree->random << 5;
	return tree->random;
}

static uint64_t greatest_last(const struct gmm_interval *node)
{
	uint64_t greatest = node->last;

	if (node->left_greatest > greatest)
		greatest = node->left_greatest;
	if (node->right_greatest > greatest)
		greatest = node->right_greatest;
	return greatest;
}

static void update_greatest(struct gmm_interval *node)
{
	node->left_greatest = node->left ? greatest_last(node->left) : 0;
	node->right_greatest = node->right ? greatest_last(node->right) : 0;
}

static struct gmm_interval **link_of(struct gmm_interval_tree *tree, struct gmm_interval *node)
{
	if (!node->parent)
		return &tree->root;
	return node->parent->left == node ? &node->parent->left : &node->parent->right;
}

/* Makes `node` the parent of its parent, keeping the order. */
static void rotate_up(struct gmm_interval_tree *tree, struct gmm_interval *node)
{
	struct gmm_interval *parent = node->parent;
	struct gmm_interval **link = link_of(tree, parent);
	struct gmm_interval *moved;

	if (parent->left == node) {
		moved = node->right;
		parent->left = moved;
		node->right = parent;
	} else {
		moved = node->left;
		parent->right = moved;
		node->left = parent;
	}
	if (moved)
		moved->parent = parent;
	node->parent = parent->parent;
	parent->parent = node;
	*link = node;
	update_greatest(parent);
	update_greatest(node);
}

void gmm_interval_insert(struct gmm_interval_tree *tree, struct gmm_interval *node)
{
	struct gmm_interval **link = &tree->root;
	struct gmm_interval *parent = NULL;

	while (*link) {
		parent = *link;
		if (node->start < parent->start) {
			link = &parent->left;
			if (parent->left_greatest < node->last)
				parent->left_greatest = node->last;
		} else {
			link = &parent->right;
			if (parent->right_greatest < node->last)
				parent->right_greatest = node->last;
		}
	}
	node->parent = parent;
	node->left = NULL;
	node->right = NULL;
	node->left_greatest = 0;
	node->right_greatest = 0;
	node->priority = next_priority(tree);
	*link = node;
	while (node->parent && node->parent->priority < node->priority)
		rotate_up(tree, node);
}

void gmm_interval_remove(struct gmm_interval_tree *tree, struct gmm_interval *node)
{
	struct gmm_interval *above;

	while (node->left || node->right) {
		struct gmm_interval *child = node->left;

		if (!child || (node->right && node->right->priority > child->priority))
			child = node->right;
		rotate_up(tree, child);
	}
	*link_of(tree, node) = NULL;
	for (above = node->parent; above; above = above->parent)
		update_greatest(above);
	node->parent = NULL;
}

/* The leftmost overlapping node at or below `node`; NULL when there is none. */
static struct gmm_interval *leftmost(struct gmm_interval_tree *tree, struct gmm_interval *node,
				     uint64_t start, uint64_t last)
{
	while (node) {
		tree->visited++;
		if (node->left && node->left_greatest >= start) {
			node = node->left;
			continue;
		}
		if (node->start > last)
			return NULL;
		if (node->last >= start)
			return node;
		node = node->right_greatest >= start ? node->right : NULL;
	}
	return NULL;
}

struct gmm_interval *gmm_interval_first(struct gmm_interval_tree *tree, uint64_t start,
					uint64_t last)
{
	return leftmost(tree, tree->root, start, last);
}

struct gmm_interval *gmm_interval_next(struct gmm_interval_tree *tree, struct gmm_interval *node,
				       uint64_t start, uint64_t last)
{
	for (;;) {
		struct gmm_interval *below;

		if (node->right && node->right_greatest >= start)
			return leftmost(tree, node->right, start, last);
		do {
			below = node;
			node = node->parent;
			if (!node)
				return NULL;
			tree->visited++;
		} while (node->right == below);
		if (node->start > last)
			return NULL;
		if (node->last >= start)
			return node;
	}
}
