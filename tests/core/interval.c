/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The set of intervals against a plain list of them. */
#include "gmm_test.h"
#include "interval.h"

#define NODES 64u
#define SPACE 200u

struct known {
	struct gmm_interval node;
	bool in;
};

static void put(struct gmm_interval_tree *tree, struct known *known, uint64_t *random)
{
	known->node.start = gmm_test_random(random) % SPACE;
	known->node.last = known->node.start + gmm_test_random(random) % 20;
	gmm_interval_insert(tree, &known->node);
	known->in = true;
}

/* Each overlapping one exactly once, in order of their starts. */
static void check_search(struct gmm_interval_tree *tree, struct known *known, uint64_t start,
			 uint64_t last)
{
	bool found[NODES] = { false };
	struct gmm_interval *node;
	uint64_t before = 0;
	uint32_t i;

	gmm_interval_for_each(node, tree, start, last) {
		struct known *hit = gmm_container_of(node, struct known, node);

		gmm_ok(node->start >= before);
		before = node->start;
		gmm_ok(!found[hit - known], "found twice");
		found[hit - known] = true;
	}
	for (i = 0; i < NODES; i++)
		gmm_equal(found[i], known[i].in && known[i].node.start <= last &&
					    known[i].node.last >= start);
}

static void a_search_finds_what_overlaps_and_nothing_else(void)
{
	uint64_t random = gmm_test_seed();
	struct known *known = gmm_zalloc(NODES * sizeof(*known));
	struct gmm_interval_tree tree;
	uint32_t i;

	gmm_must(known);
	gmm_interval_tree_init(&tree);
	for (i = 0; i < gmm_test_turns(40); i++) {
		struct known *one = &known[gmm_test_random(&random) % NODES];
		uint64_t start = gmm_test_random(&random) % SPACE;

		if (one->in) {
			gmm_interval_remove(&tree, &one->node);
			one->in = false;
		} else {
			put(&tree, one, &random);
		}
		check_search(&tree, known, start, start + gmm_test_random(&random) % 30);
	}
	check_search(&tree, known, 0, ~(uint64_t)0);
	for (i = 0; i < NODES; i++)
		if (known[i].in)
			gmm_interval_remove(&tree, &known[i].node);
	gmm_ok(!tree.root);
	gmm_free(known, NODES * sizeof(*known));
}

static void ends_of_the_number_space_are_included(void)
{
	struct gmm_interval low = { .start = 0, .last = 0 };
	struct gmm_interval high = { .start = ~(uint64_t)0, .last = ~(uint64_t)0 };
	struct gmm_interval whole = { .start = 0, .last = ~(uint64_t)0 };
	struct gmm_interval_tree tree;

	gmm_interval_tree_init(&tree);
	gmm_ok(!gmm_interval_first(&tree, 0, ~(uint64_t)0));
	gmm_interval_insert(&tree, &low);
	gmm_interval_insert(&tree, &high);
	gmm_ok(gmm_interval_first(&tree, 0, 0) == &low);
	gmm_ok(!gmm_interval_next(&tree, &low, 0, 0));
	gmm_ok(!gmm_interval_first(&tree, 1, ~(uint64_t)0 - 1));
	gmm_ok(gmm_interval_first(&tree, 1, ~(uint64_t)0) == &high);
	gmm_interval_insert(&tree, &whole);
	gmm_ok(gmm_interval_first(&tree, 5, 5) == &whole);
	gmm_interval_remove(&tree, &whole);
	gmm_ok(!gmm_interval_first(&tree, 5, 5));
}

/* A search among many that do not overlap looks at a few: its depth, not their number. */
static void a_search_is_logarithmic(void)
{
	uint32_t count = 4096, i;
	struct gmm_interval *nodes = gmm_zalloc(count * sizeof(*nodes));
	struct gmm_interval_tree tree;

	gmm_must(nodes);
	gmm_interval_tree_init(&tree);
	for (i = 0; i < count; i++) {
		nodes[i].start = 10 * (uint64_t)i;
		nodes[i].last = nodes[i].start + 5;
		gmm_interval_insert(&tree, &nodes[i]);
	}
	for (i = 0; i < count; i += 97) {
		tree.visited = 0;
		gmm_ok(gmm_interval_first(&tree, nodes[i].start, nodes[i].last) == &nodes[i]);
		gmm_ok(!gmm_interval_next(&tree, &nodes[i], nodes[i].start, nodes[i].last));
		gmm_ok(tree.visited <= 80, "looked at %u of 4096", (unsigned int)tree.visited);
	}
	gmm_free(nodes, count * sizeof(*nodes));
}

const struct gmm_test_case gmm_test_cases[] = {
	{ "a_search_finds_what_overlaps_and_nothing_else",
	  a_search_finds_what_overlaps_and_nothing_else },
	{ "ends_of_the_number_space_are_included", ends_of_the_number_space_are_included },
	{ "a_search_is_logarithmic", a_search_is_logarithmic },
	{ NULL, NULL },
};
