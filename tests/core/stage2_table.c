/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Second-stage tables, operation by operation: what each leaves, what it flushes and when, and what
 * it does when memory is short.
 */
#include "table_world.h"

#define R GMM_LEAF_READ
#define W GMM_LEAF_WRITE
#define X GMM_LEAF_EXEC
#define Y GMM_LEAF_YOUNG
#define D GMM_LEAF_DIRTY
#define P GMM_LEAF_PROTECTED
#define ALL (R | W | X | Y | D)

/* All of them; in the simulator one a schedule. */
#define each_format(format)                                        \
	for (format = first_format(); format < GMM_STAGE2_FORMATS; \
	     format += gmm_test_turns(1) == 1 ? GMM_STAGE2_FORMATS : 1)

static uint32_t first_format(void)
{
	return gmm_test_turns(1) == 1 ? (uint32_t)gmm_test_seed() % GMM_STAGE2_FORMATS : 0;
}

static bool init(struct table_world *world, uint32_t format)
{
	struct gmm_stage2_table_config config = { .format = format };

	if (format == GMM_STAGE2_EPT)
		config.flags = GMM_STAGE2_HARDWARE_DIRTY;
	return table_world_init(world, config);
}

static uint32_t level_of(struct table_world *world, uint64_t gfn)
{
	struct gmm_stage2_leaf leaf;

	return gmm_stage2_table_look_up(world->walker, gfn, &leaf) ? ~0u : leaf.level;
}

static uint64_t pfn_of(struct table_world *world, uint64_t gfn)
{
	struct gmm_stage2_leaf leaf;

	return gmm_stage2_table_look_up(world->walker, gfn, &leaf) ? GMM_PFN_NONE :
								     leaf.pfn + (gfn - leaf.gfn);
}

/* L17, L18: aligned, within the mapping, as permitted, and not where a table is. */
static void a_leaf_is_as_large_as_it_may_be(void)
{
	struct table_world world;
	uint32_t format;
	uint64_t span;

	each_format(format)
	{
		gmm_must(init(&world, format));
		span = table_world_span(&world, 1);
		table_world_map(&world, 0, span, span, ALL, 1);
		gmm_equal(level_of(&world, span / 2), 1);
		table_world_map(&world, span, span, 2 * span, ALL, 0);
		gmm_equal(level_of(&world, span), 0);
		/* The frames do not keep their place. */
		table_world_map(&world, 2 * span, span, 3 * span + 1, ALL, 1);
		gmm_equal(level_of(&world, 2 * span + 7), 0);
		gmm_equal(pfn_of(&world, 2 * span + 7), 3 * span + 8);
		/* The mapping begins and ends within a leaf: head and tail are small. */
		table_world_map(&world, 4 * span - 1, span + 2, 5 * span - 1, ALL, 1);
		gmm_equal(level_of(&world, 4 * span - 1), 0);
		gmm_equal(level_of(&world, 4 * span), 1);
		gmm_equal(level_of(&world, 5 * span), 0);
		gmm_equal(pfn_of(&world, 5 * span), 6 * span);
		/* A small one is there. */
		table_world_map(&world, 6 * span + 9, 1, 7 * span + 9, ALL, 0);
		table_world_map(&world, 6 * span, span, 7 * span, ALL, 1);
		gmm_equal(level_of(&world, 6 * span), 0);
		table_world_fini(&world);
	}
}

static void a_fault_maps_one_leaf(void)
{
	struct gmm_stage2_mapping mapping = { .leaf = ALL, .level_max = 4 };
	struct gmm_stage2_statistics statistics;
	struct gmm_stage2_leaf leaf;
	struct table_world world;
	uint32_t format;
	uint64_t span;

	each_format(format)
	{
		gmm_must(init(&world, format));
		span = table_world_span(&world, 1);
		/* A slot of two and a half leaves, in the middle of one. */
		mapping.gfn = span + span / 2;
		mapping.count = 2 * span + span / 2;
		mapping.pfn = 9 * span + span / 2;
		gmm_equal(gmm_stage2_walker_top_up(world.walker, 0), 0);
		gmm_equal(gmm_stage2_table_map_leaf(world.walker, &mapping, 2 * span + 3, &leaf),
			  0);
		gmm_equal(leaf.gfn, 2 * span);
		gmm_equal(leaf.level, 1);
		gmm_equal(leaf.pfn, 10 * span);
		gmm_equal(leaf.flags & GMM_STAGE2_CHANGED, GMM_STAGE2_CHANGED);
		gmm_equal(!!(leaf.flags & GMM_STAGE2_FLUSH_HERE),
			  !!(world.facts->facts & GMM_STAGE2_FLUSHES_AFTER_MAP));
		gmm_equal(gmm_stage2_walker_top_up(world.walker, 0), 0);
		gmm_equal(gmm_stage2_table_map_leaf(world.walker, &mapping, 2 * span - 1, &leaf),
			  0);
		gmm_equal(leaf.level, 0);
		gmm_equal(pfn_of(&world, 2 * span - 1), 10 * span - 1);
		gmm_equal(level_of(&world, 2 * span - 2), ~0u);
		gmm_stage2_table_read_statistics(world.table, &statistics);
		gmm_equal(statistics.leaves[0], 1);
		gmm_equal(statistics.leaves[1], 1);
		gmm_equal(statistics.tables[0], 1);
		gmm_equal(gmm_stage2_table_map_leaf(world.walker, &mapping, span, &leaf),
			  -GMM_EINVAL);
		table_world_fini(&world);
	}
}

static void a_mapping_that_cannot_be_is_refused(void)
{
	struct gmm_stage2_mapping good = { .gfn = 5, .count = 2, .pfn = 7, .leaf = ALL }, bad;
	struct table_world world;
	uint64_t done = 9;

	gmm_must(init(&world, GMM_STAGE2_NPT));
	bad = good, bad.count = 0;
	gmm_equal(gmm_stage2_table_map(world.walker, &bad, &done), -GMM_EINVAL);
	gmm_equal(done, 0);
	bad = good, bad.leaf = W | X;
	gmm_equal(gmm_stage2_table_map(world.walker, &bad, NULL), -GMM_EINVAL);
	bad = good, bad.leaf = 0x1000 | R;
	gmm_equal(gmm_stage2_table_map(world.walker, &bad, NULL), -GMM_EINVAL);
	bad = good, bad.memory = GMM_LEAF_MEMORIES;
	gmm_equal(gmm_stage2_table_map(world.walker, &bad, NULL), -GMM_EINVAL);
	bad = good, bad.flags = 1;
	gmm_equal(gmm_stage2_table_map(world.walker, &bad, NULL), -GMM_EINVAL);
	bad = good, bad.pfn = ((uint64_t)1 << 40) - 1;
	gmm_equal(gmm_stage2_table_map(world.walker, &bad, NULL), -GMM_EINVAL);
	bad = good, bad.gfn = ((uint64_t)1 << 36) - 1;
	gmm_equal(gmm_stage2_table_map(world.walker, &bad, NULL), -GMM_ERANGE);
	bad = good, bad.gfn = ~(uint64_t)0;
	gmm_equal(gmm_stage2_table_map(world.walker, &bad, NULL), -GMM_ERANGE);
	/* The stock is empty; L24: what was enough once is enough again. */
	gmm_equal(gmm_stage2_table_map(world.walker, &good, NULL), -GMM_ENOMEM);
	gmm_equal(gmm_stage2_walker_top_up(world.walker, 65), -GMM_EINVAL);
	gmm_equal(gmm_stage2_walker_top_up(world.walker, 0), 0);
	gmm_equal(gmm_stage2_table_map(world.walker, &good, &done), 0);
	gmm_equal(done, 2);
	gmm_equal(gmm_stage2_table_map(world.walker, &good, &done), 0);
	/* Another frame is there: what is mapped stays. */
	bad = good, bad.pfn = 8;
	gmm_equal(gmm_stage2_table_map(world.walker, &bad, &done), -GMM_EEXIST);
	gmm_equal(pfn_of(&world, 5), 7);
	table_world_fini(&world);
}

static bool note_live(struct table_world *world, const struct gmm_stage2_flush *flush)
{
	*(uint64_t *)world->context = world->live;
	return false;
}

/* L3: tables go after the flush, and a call flushes once, all that it changed and no more. */
static void tables_are_freed_after_the_one_flush(void)
{
	struct table_world world;
	uint64_t span, before, seen, dirty[1] = { 0 };
	uint32_t format;

	each_format(format)
	{
		gmm_must(init(&world, format));
		span = table_world_span(&world, 1);
		world.on_flush = note_live;
		world.context = &seen;
		table_world_map(&world, span - 2, 2 * span + 4, 100, ALL, 0);
		before = world.live;
		world.flushes = 0;
		gmm_equal(gmm_stage2_table_unmap(world.walker, span - 1, 2 * span + 2, NULL),
			  2 * span + 2);
		gmm_equal(world.flushes, 1);
		gmm_equal(world.last_flush.gfn, span - 1);
		gmm_equal(world.last_flush.count, 2 * span + 2);
		gmm_equal(world.last_flush.flags, GMM_STAGE2_FLUSH_TABLES);
		gmm_equal(seen, before);
		gmm_equal(world.live, before - 2);
		gmm_equal(pfn_of(&world, span - 2), 100);
		gmm_equal(pfn_of(&world, 3 * span + 1), 100 + 2 * span + 3);
		/* Nothing there: nothing to flush. */
		gmm_equal(gmm_stage2_table_unmap(world.walker, span, span, NULL), 0);
		gmm_equal(world.flushes, 1);
		/* A change of several calls is one flush. */
		gmm_equal(gmm_stage2_change_begin(world.walker, 0, 4 * span), 0);
		gmm_equal(gmm_stage2_table_unmap(world.walker, 3 * span, 2, dirty), 1);
		gmm_equal(dirty[0], 2);
		dirty[0] = 0;
		gmm_equal(gmm_stage2_table_write_protect(world.walker, span - 2, 1, NULL, NULL, 0),
			  1);
		gmm_equal(gmm_stage2_table_unmap(world.walker, span - 2, 1, NULL), 1);
		gmm_equal(gmm_stage2_table_unmap(world.walker, 5 * span, 1, NULL), -GMM_EBUSY);
		gmm_equal(world.flushes, 1);
		gmm_stage2_change_end(world.walker);
		gmm_equal(world.flushes, 2);
		gmm_equal(world.last_flush.gfn, span - 2);
		gmm_equal(world.last_flush.count, 2 * span + 4);
		table_world_fini(&world);
	}
}

/* A leaf that reaches out of the range goes as a whole; many tables in one flush. */
static void all_that_is_unmapped_is_flushed(void)
{
	struct table_world world;
	uint32_t format, tables;
	uint64_t span;

	each_format(format)
	{
		gmm_must(init(&world, format));
		span = table_world_span(&world, 1);
		table_world_map(&world, 0, 2 * span, 0, ALL, 1);
		world.flushes = 0;
		gmm_equal(gmm_stage2_table_unmap(world.walker, span - 1, 2, NULL), 2 * span);
		gmm_equal(world.last_flush.gfn + world.last_flush.count, 2 * span);
		gmm_equal(world.flushes,
			  world.facts->facts & GMM_STAGE2_BREAKS_BEFORE_MAKE ? 2 : 1);
		gmm_equal(level_of(&world, 0), ~0u);
		table_world_fini(&world);
	}
	gmm_must(init(&world, GMM_STAGE2_NPT));
	for (tables = 0; tables < 40; tables++)
		table_world_map(&world, 512 * tables, 1, tables, ALL, 0);
	world.flushes = 0;
	gmm_equal(gmm_stage2_table_unmap(world.walker, 0, 512 * 512, NULL), 40);
	gmm_equal(world.flushes, 1);
	gmm_equal(world.last_flush.count, 512 * 512);
	table_world_fini(&world);
}

/* What a processor finds while an entry is being remade. */
static bool look_while_flushing(struct table_world *world, const struct gmm_stage2_flush *flush)
{
	struct hardware_result result;
	struct hardware memory_only = world->hardware;

	memory_only.remembers = false;
	gmm_equal(hardware_access(&memory_only, flush->gfn << world->facts->page_shift, R, &result),
		  *(uint32_t *)world->context);
	return false;
}

/* Break before make: nothing is there when a processor is told to forget; no translation conflicts. */
static void what_changes_its_size_is_broken_before_it_is_made(void)
{
	struct hardware_result result;
	struct table_world world;
	uint32_t format, absent = HARDWARE_ABSENT, there = HARDWARE_DONE;
	uint64_t span;

	each_format(format)
	{
		gmm_must(init(&world, format));
		span = table_world_span(&world, 1);
		world.hardware.remembers = true;
		table_world_map(&world, 0, span, span, ALL, 1);
		gmm_equal(table_world_access(&world, 3, W, &result), HARDWARE_DONE);
		world.on_flush = look_while_flushing;
		world.context = world.facts->facts & GMM_STAGE2_BREAKS_BEFORE_MAKE ? &absent :
										     &there;
		gmm_equal(gmm_stage2_walker_top_up(world.walker, 0), 0);
		gmm_equal(gmm_stage2_table_split(world.walker, 5, 1, 0, NULL), 0);
		gmm_equal(level_of(&world, 0), 0);
		gmm_equal(table_world_access(&world, 3, W, &result), HARDWARE_DONE);
		gmm_equal(table_world_pfn(&world, &result), span + 3);
		gmm_equal(gmm_stage2_table_replace(world.walker, 3, 77, R | W | X), 1);
		gmm_equal(table_world_access(&world, 3, W, &result), HARDWARE_DONE);
		gmm_equal(table_world_pfn(&world, &result), 77);
		gmm_equal(gmm_stage2_table_collapse(world.walker, 0, span, 1), 0);
		gmm_equal(gmm_stage2_table_replace(world.walker, 3, span + 3, R | W | X), 1);
		gmm_equal(table_world_access(&world, 4, W, &result), HARDWARE_DONE);
		/* Everywhere: only so is nothing lost that a processor sets meanwhile. */
		world.context = &absent;
		gmm_equal(gmm_stage2_table_collapse(world.walker, 0, span, 1), 1);
		gmm_equal(level_of(&world, 0), 1);
		gmm_equal(table_world_access(&world, 4, W, &result), HARDWARE_DONE);
		gmm_equal(table_world_pfn(&world, &result), span + 4);
		world.on_flush = NULL;
		table_world_fini(&world);
	}
}

static void leaves_side_by_side_change_their_size_with_one_flush(void)
{
	struct gmm_stage2_statistics before, after;
	struct table_world world;
	uint64_t span, done;
	uint32_t format;

	each_format(format)
	{
		gmm_must(init(&world, format));
		span = table_world_span(&world, 1);
		table_world_map(&world, 0, 4 * span, 4 * span, ALL, 1);
		gmm_equal(gmm_stage2_walker_top_up(world.walker, 5), 0);
		gmm_stage2_table_read_statistics(world.table, &before);
		gmm_equal(gmm_stage2_table_split(world.walker, 1, 3 * span, 0, &done), 0);
		gmm_equal(done, 3 * span);
		gmm_equal(level_of(&world, 0), 0);
		gmm_equal(level_of(&world, 3 * span), 0);
		gmm_stage2_table_read_statistics(world.table, &after);
		gmm_equal(after.flushes, before.flushes + 1);
		gmm_equal(after.leaves[0], 4 * span);
		gmm_equal(gmm_stage2_table_collapse(world.walker, 0, 4 * span, 1), 4);
		gmm_equal(level_of(&world, 3 * span), 1);
		gmm_stage2_table_read_statistics(world.table, &after);
		gmm_equal(after.flushes, before.flushes + 2);
		gmm_equal(after.tables[0], before.tables[0]);
		/* The stock of one table is used up. */
		gmm_equal(gmm_stage2_walker_top_up(world.walker, 2), 0);
		gmm_equal(gmm_stage2_table_split(world.walker, 0, span, 0, &done), 0);
		gmm_equal(gmm_stage2_table_split(world.walker, span, 2 * span, 0, &done),
			  -GMM_ENOMEM);
		gmm_equal(done, span);
		gmm_equal(level_of(&world, 2 * span), 1);
		table_world_fini(&world);
	}
}

/* L22: absent stays absent; what may not be written stays so, and protected stays protected. */
static void a_replaced_frame_is_what_it_was(void)
{
	struct gmm_stage2_leaf leaf;
	struct table_world world;
	uint32_t format;

	each_format(format)
	{
		gmm_must(init(&world, format));
		table_world_map(&world, 1, 1, 10, R | X | Y, 0);
		table_world_map(&world, 2, 1, 11, ALL | P, 0);
		table_world_map(&world, 3, 1, 12, ALL, 0);
		gmm_equal(gmm_stage2_table_replace(world.walker, 0, 20, ALL), -GMM_ENOENT);
		gmm_equal(gmm_stage2_table_replace(world.walker, 1, 21, ALL), 0);
		gmm_equal(gmm_stage2_table_replace(world.walker, 2, 22, ALL), 1);
		gmm_equal(gmm_stage2_table_replace(world.walker, 3, 23, R | X), 1);
		gmm_equal(level_of(&world, 0), ~0u);
		gmm_equal(gmm_stage2_table_look_up(world.walker, 1, &leaf), 0);
		gmm_equal(leaf.leaf, R | X | Y);
		gmm_equal(leaf.pfn, 21);
		gmm_equal(gmm_stage2_table_look_up(world.walker, 2, &leaf), 0);
		gmm_equal(leaf.leaf, ALL | P);
		gmm_equal(gmm_stage2_table_look_up(world.walker, 3, &leaf), 0);
		gmm_equal(leaf.leaf, R | X | Y | D);
		table_world_fini(&world);
	}
}

/* While a slot logs, a write to a large leaf is answered by splitting it. */
static void a_large_leaf_is_not_made_writable_for_one_page(void)
{
	struct gmm_stage2_leaf leaf;
	struct table_world world;
	uint32_t format;
	uint64_t span;

	each_format(format)
	{
		gmm_must(init(&world, format));
		span = table_world_span(&world, 1);
		table_world_map(&world, 0, span, 0, ALL, 1);
		gmm_equal(gmm_stage2_table_write_protect(world.walker, 5, 1, NULL, NULL, 0), 1);
		gmm_equal(gmm_stage2_table_touch(world.walker, 5, W, GMM_STAGE2_TOUCH_SMALL, &leaf),
			  -GMM_EXDEV);
		gmm_equal(gmm_stage2_table_touch(world.walker, 5, R, GMM_STAGE2_TOUCH_SMALL, &leaf),
			  0);
		gmm_equal(gmm_stage2_table_split(world.walker, 5, 1, 0, NULL), 0);
		gmm_equal(gmm_stage2_table_touch(world.walker, 5, W, GMM_STAGE2_TOUCH_SMALL, &leaf),
			  0);
		gmm_equal(leaf.leaf, ALL);
		gmm_equal(gmm_stage2_table_look_up(world.walker, 6, &leaf), 0);
		gmm_equal(leaf.leaf, ALL | P);
		table_world_fini(&world);
	}
}

/* L7: neighbours of what is selected keep what they have. */
static void a_mask_selects(void)
{
	uint64_t mask[2] = { 0x5, 0x8000000000000001 }, dirty[2] = { 0 };
	struct gmm_stage2_leaf leaf;
	struct table_world world;
	uint32_t format, i;

	each_format(format)
	{
		gmm_must(init(&world, format));
		table_world_map(&world, 1000, 128, 0, ALL, 0);
		dirty[0] = dirty[1] = 0;
		gmm_equal(gmm_stage2_table_write_protect(world.walker, 1000, 128, mask, dirty, 0),
			  4);
		gmm_ok(!gmm_memcmp(mask, dirty, sizeof(mask)));
		dirty[0] = dirty[1] = 0;
		gmm_equal(gmm_stage2_table_clean(world.walker, 1000, 128, mask, dirty, 0), 4);
		gmm_ok(!gmm_memcmp(mask, dirty, sizeof(mask)));
		for (i = 0; i < 128; i++) {
			gmm_equal(gmm_stage2_table_look_up(world.walker, 1000 + i, &leaf), 0);
			gmm_equal(leaf.leaf, mask[i / 64] >> (i % 64) & 1 ? ALL - D + P : ALL);
		}
		table_world_fini(&world);
	}
}

/* What somebody else has taken away and not flushed yet is flushed by whoever finds it gone. */
static void who_finds_a_frame_gone_relies_on_no_other_flush(void)
{
	struct gmm_stage2_walker *other;
	struct table_world world;

	gmm_must(init(&world, GMM_STAGE2_NPT));
	gmm_must(!gmm_stage2_walker_create(world.table, &other));
	table_world_map(&world, 4, 4, 0, ALL, 0);
	world.flushes = 0;
	gmm_equal(gmm_stage2_change_begin(world.walker, 4, 4), 0);
	gmm_equal(gmm_stage2_table_unmap(world.walker, 4, 4, NULL), 4);
	gmm_equal(gmm_stage2_table_unmap(other, 5, 1, NULL), 0);
	gmm_equal(world.flushes, 1);
	gmm_equal(world.last_flush.gfn, 5);
	gmm_equal(world.last_flush.count, 1);
	gmm_stage2_change_end(world.walker);
	gmm_equal(world.flushes, 2);
	/* One after the other there is nothing to flush twice. */
	gmm_equal(gmm_stage2_table_unmap(other, 5, 1, NULL), 0);
	gmm_equal(world.flushes, 2);
	gmm_stage2_walker_destroy(other);
	table_world_fini(&world);
}

/* Young and dirty bits are flushed when that is asked for, and otherwise put off or not at all. */
static void a_flush_is_made_when_it_is_asked_for(void)
{
	uint64_t word = 0;
	struct table_world world;
	uint32_t format;

	each_format(format)
	{
		gmm_must(init(&world, format));
		table_world_map(&world, 10, 60, 0, ALL, 0);
		world.flushes = 0;
		gmm_equal(gmm_stage2_table_age(world.walker, 10, 60, &word, 0), 60);
		gmm_stage2_flush_pending(world.walker);
		gmm_equal(world.flushes, 0);
		gmm_equal(gmm_stage2_table_clean(world.walker, 12, 2, NULL, NULL,
						 GMM_STAGE2_DEFER_FLUSH),
			  2);
		gmm_equal(gmm_stage2_table_clean(world.walker, 60, 1, NULL, NULL,
						 GMM_STAGE2_DEFER_FLUSH),
			  1);
		gmm_equal(world.flushes, 0);
		gmm_equal(gmm_stage2_table_clean(world.walker, 30, 1, NULL, NULL, 0), 1);
		gmm_equal(world.flushes, 1);
		gmm_equal(world.last_flush.gfn, 12);
		gmm_equal(world.last_flush.count, 49);
		gmm_equal(world.last_flush.flags, 0);
		gmm_equal(gmm_stage2_table_clean(world.walker, 12, 2, NULL, NULL, 0), 0);
		gmm_equal(world.flushes, 1);
		table_world_fini(&world);
	}
}

/* Whatever cannot be allocated, nothing is left behind, and what was done stays. */
static void failing_allocations_are_survived(void)
{
	struct gmm_stage2_mapping mapping = { .gfn = 0x12345, .pfn = 1, .leaf = ALL };
	struct gmm_stage2_table_config config = { .format = GMM_STAGE2_LOONGARCH_4K };
	struct table_world world;
	uint64_t done, live;
	uint32_t nth;
	int error;

	live = gmm_port_alloc_live();
	for (nth = 1;; nth++) {
		bool made, failed;

		gmm_port_alloc_fail_at(nth);
		made = table_world_init(&world, config);
		failed = gmm_port_alloc_failed();
		gmm_port_alloc_fail_at(0);
		if (!failed) {
			gmm_must(made);
			break;
		}
		gmm_ok(!made);
		gmm_equal(gmm_port_alloc_live(), live);
	}
	gmm_ok(nth > 5);
	mapping.count = 2000;
	for (nth = 1;; nth++) {
		world.fail_at = nth;
		error = gmm_stage2_table_populate(world.walker, &mapping, &done);
		if (!world.fail_at)
			gmm_equal(error, -GMM_ENOMEM);
		gmm_equal(level_of(&world, mapping.gfn + done), ~0u);
		gmm_equal(gmm_stage2_table_unmap(world.walker, mapping.gfn, mapping.count, NULL),
			  done);
		if (!error)
			break;
	}
	gmm_equal(done, mapping.count);
	world.fail_at = 0;
	table_world_fini(&world);
	gmm_equal(gmm_port_alloc_live(), live);
}

/* Tables of 1 GiB of 4K pages: 512 of the last level and one of each above. */
static void tables_are_no_more_than_needed(void)
{
	struct gmm_stage2_statistics statistics;
	struct table_world world;
	uint32_t pages = gmm_test_turns(1) == 1 ? 4 * 512 : 256 * 512;

	gmm_must(init(&world, GMM_STAGE2_NPT));
	table_world_map(&world, 0, pages, 0, ALL, 0);
	gmm_stage2_table_read_statistics(world.table, &statistics);
	gmm_equal(statistics.tables[0], pages / 512);
	gmm_equal(statistics.leaves[0], pages);
	/* A walker keeps no more than any one fault needs. */
	gmm_ok(world.live <= pages / 512 + 3 + 3);
	table_world_fini(&world);
}

const struct gmm_test_case gmm_test_cases[] = {
	{ "a_leaf_is_as_large_as_it_may_be", a_leaf_is_as_large_as_it_may_be },
	{ "a_fault_maps_one_leaf", a_fault_maps_one_leaf },
	{ "a_mapping_that_cannot_be_is_refused", a_mapping_that_cannot_be_is_refused },
	{ "tables_are_freed_after_the_one_flush", tables_are_freed_after_the_one_flush },
	{ "all_that_is_unmapped_is_flushed", all_that_is_unmapped_is_flushed },
	{ "what_changes_its_size_is_broken_before_it_is_made",
	  what_changes_its_size_is_broken_before_it_is_made },
	{ "leaves_side_by_side_change_their_size_with_one_flush",
	  leaves_side_by_side_change_their_size_with_one_flush },
	{ "a_replaced_frame_is_what_it_was", a_replaced_frame_is_what_it_was },
	{ "a_large_leaf_is_not_made_writable_for_one_page",
	  a_large_leaf_is_not_made_writable_for_one_page },
	{ "a_mask_selects", a_mask_selects },
	{ "who_finds_a_frame_gone_relies_on_no_other_flush",
	  who_finds_a_frame_gone_relies_on_no_other_flush },
	{ "a_flush_is_made_when_it_is_asked_for", a_flush_is_made_when_it_is_asked_for },
	{ "failing_allocations_are_survived", failing_allocations_are_survived },
	{ "tables_are_no_more_than_needed", tables_are_no_more_than_needed },
	{ NULL, NULL },
};
