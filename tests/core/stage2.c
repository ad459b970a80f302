/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The soft second stage: its table at several depths, its entries, and who builds it at once. Rule L9. */
#include "stage2/soft.h"
#include "stage2/stage2.h"

#include "race.h"

#define TABLE GMM_SOFT_TABLE_ENTRIES

static const uint32_t depths[] = { 9, 18, 27, 28, 40 };
#define DEPTHS (sizeof(depths) / sizeof(depths[0]))

static void an_empty_table_has_no_entries(void)
{
	struct gmm_stage2 stage2;
	uint32_t i;

	for (i = 0; i < DEPTHS; i++) {
		gmm_must(!gmm_stage2_init(&stage2, depths[i]));
		gmm_equal(stage2.levels, (depths[i] + 8) / 9);
		gmm_equal(stage2.tables, 0);
		gmm_equal(!gmm_stage2_find(&stage2, 0), depths[i] > 9);
		gmm_equal(!gmm_stage2_find(&stage2, ((gmm_gfn_t)1 << depths[i]) - 1),
			  depths[i] > 9);
		gmm_stage2_destroy(&stage2);
	}
}

/* Frames whose neighbours share as much of the way as possible, and as little. */
static uint32_t some_frames(uint32_t depth, gmm_gfn_t *frames)
{
	gmm_gfn_t last = ((gmm_gfn_t)1 << depth) - 1;
	uint32_t count = 0, shift;

	frames[count++] = 0;
	for (shift = 9; shift < depth; shift += 9) {
		frames[count++] = ((gmm_gfn_t)1 << shift) - 1;
		frames[count++] = (gmm_gfn_t)1 << shift;
	}
	frames[count++] = last - 1;
	frames[count++] = last;
	return count;
}

static void each_frame_has_an_entry_of_its_own_that_stays(void)
{
	gmm_gfn_t frames[16];
	uint64_t *entries[16];
	struct gmm_stage2 stage2;
	uint32_t i, j, count;

	for (i = 0; i < DEPTHS; i++) {
		gmm_must(!gmm_stage2_init(&stage2, depths[i]));
		count = some_frames(depths[i], frames);
		for (j = 0; j < count; j++) {
			entries[j] = gmm_stage2_populate(&stage2, frames[j]);
			gmm_must(entries[j]);
			gmm_equal(*entries[j], 0);
			*entries[j] = frames[j] + 1;
		}
		for (j = 0; j < count; j++) {
			gmm_ok(gmm_stage2_find(&stage2, frames[j]) == entries[j]);
			gmm_ok(gmm_stage2_populate(&stage2, frames[j]) == entries[j]);
			gmm_equal(*entries[j], frames[j] + 1);
		}
		gmm_stage2_destroy(&stage2);
	}
}

/* What a visit saw: runs in rising order, each in one table, entries that are those of find(). */
struct visit {
	struct gmm_stage2 *stage2;
	gmm_gfn_t next;
	uint64_t pages;
	uint32_t calls;
	uint32_t stop_at;
	uint64_t sum;
};

static int look(void *context, gmm_gfn_t gfn, uint64_t *entries, uint32_t count)
{
	struct visit *visit = context;
	uint32_t i;

	gmm_ok(gfn >= visit->next && count && gfn % TABLE + count <= TABLE);
	gmm_ok(gmm_stage2_find(visit->stage2, gfn) == entries);
	gmm_ok(gmm_stage2_find(visit->stage2, gfn + count - 1) == entries + count - 1);
	for (i = 0; i < count; i++)
		visit->sum += entries[i];
	visit->next = gfn + count;
	visit->pages += count;
	return ++visit->calls == visit->stop_at ? 7 : 0;
}

static void a_visit_finds_what_is_there_and_passes_over_the_rest(void)
{
	struct gmm_stage2 stage2;
	struct visit visit;
	gmm_gfn_t frames[16];
	uint32_t i, j, count;
	uint64_t sum;

	for (i = 1; i < DEPTHS; i++) {
		gmm_gfn_t all = (gmm_gfn_t)1 << depths[i];

		gmm_must(!gmm_stage2_init(&stage2, depths[i]));
		visit = (struct visit){ .stage2 = &stage2 };
		gmm_equal(gmm_stage2_visit(&stage2, 0, all, look, &visit), 0);
		gmm_equal(visit.calls, 0);
		count = some_frames(depths[i], frames);
		for (j = 0, sum = 0; j < count; j++) {
			*gmm_stage2_populate(&stage2, frames[j]) = j + 1;
			sum += j + 1;
		}
		gmm_equal(gmm_stage2_visit(&stage2, 0, all, look, &visit), 0);
		gmm_equal(visit.sum, sum);
		gmm_equal(visit.pages, (uint64_t)visit.calls * TABLE);
		/* A part of two tables that touch. */
		visit = (struct visit){ .stage2 = &stage2 };
		gmm_equal(gmm_stage2_visit(&stage2, TABLE - 3, 5, look, &visit), 0);
		gmm_equal(visit.calls, 2);
		gmm_equal(visit.pages, 5);
		visit = (struct visit){ .stage2 = &stage2 };
		gmm_equal(gmm_stage2_visit(&stage2, all - 1, 1, look, &visit), 0);
		gmm_equal(visit.sum, count);
		visit = (struct visit){ .stage2 = &stage2, .stop_at = 2 };
		gmm_equal(gmm_stage2_visit(&stage2, 0, all, look, &visit), 7);
		gmm_equal(visit.calls, 2);
		visit = (struct visit){ .stage2 = &stage2 };
		gmm_equal(gmm_stage2_visit(&stage2, 0, 0, look, &visit), 0);
		gmm_equal(visit.calls, 0);
		gmm_stage2_destroy(&stage2);
	}
}

struct builder {
	struct race race;
	struct gmm_stage2 *stage2;
	uint64_t *entries[4];
};

static const gmm_gfn_t built[4] = { 0, TABLE, (gmm_gfn_t)TABLE *TABLE, 1 };

static int build(struct race *race)
{
	struct builder *builder = gmm_container_of(race, struct builder, race);
	uint32_t i;

	for (i = 0; i < 4; i++) {
		uint32_t at = (i + (uint32_t)race->first) % 4;

		builder->entries[at] = gmm_stage2_populate(builder->stage2, built[at]);
		if (!builder->entries[at])
			return -GMM_ENOMEM;
		gmm_fetch_add(builder->entries[at], (uint64_t)1);
	}
	return 0;
}

/* They agree on every table, and what the loser made is freed. */
static void who_builds_at_once_builds_one_table(void)
{
	struct builder builders[3];
	struct gmm_stage2 stage2;
	uint64_t live;
	uint32_t i, j, round;

	for (round = 0; round < gmm_test_turns(1); round++) {
		gmm_must(!gmm_stage2_init(&stage2, 36));
		live = gmm_port_alloc_live();
		for (i = 0; i < 3; i++) {
			builders[i] = (struct builder){ .stage2 = &stage2 };
			builders[i].race.first = i;
			race_start(&builders[i].race, build);
		}
		for (i = 0; i < 3; i++)
			gmm_equal(race_join(&builders[i].race), 0);
		for (j = 0; j < 4; j++) {
			gmm_equal(*builders[0].entries[j], 3);
			for (i = 1; i < 3; i++)
				gmm_ok(builders[i].entries[j] == builders[0].entries[j]);
		}
		gmm_equal(stage2.tables, 6);
		gmm_equal(gmm_port_alloc_live() - live, 6);
		gmm_stage2_destroy(&stage2);
	}
}

/* Nothing is lost when memory is short half-way: what was made is used the next time. */
static void a_table_that_cannot_be_made_leaves_the_rest(void)
{
	struct gmm_stage2 stage2;
	uint64_t live = gmm_port_alloc_live();
	uint32_t nth;

	gmm_port_alloc_fail_at(1);
	gmm_equal(gmm_stage2_init(&stage2, 36), -GMM_ENOMEM);
	for (nth = 1; nth <= 3; nth++) {
		gmm_port_alloc_fail_at(0);
		gmm_must(!gmm_stage2_init(&stage2, 36));
		gmm_port_alloc_fail_at(nth);
		gmm_ok(!gmm_stage2_populate(&stage2, 12345678));
		gmm_equal(stage2.tables, nth - 1);
		gmm_ok(!gmm_stage2_find(&stage2, 12345678));
		gmm_ok(gmm_stage2_populate(&stage2, 12345678));
		gmm_equal(stage2.tables, 3);
		gmm_stage2_destroy(&stage2);
	}
	gmm_equal(gmm_port_alloc_live(), live);
}

static void an_entry_holds_origin_flags_and_frame_apart(void)
{
	const uint64_t flags[] = { GMM_PAGE_RESIDENT, GMM_PAGE_BUSY,	 GMM_PAGE_WAITED,
				   GMM_PAGE_MAPPED,   GMM_PAGE_WRITABLE, GMM_PAGE_YOUNG,
				   GMM_PAGE_DIRTY,    GMM_PAGE_CHANGED };
	uint64_t all = GMM_PAGE_ORIGIN_MASK;
	enum gmm_page_origin origin;
	uint64_t entry = 0;
	uint32_t i;

	for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		gmm_equal(all & flags[i], 0);
		all |= flags[i];
	}
	gmm_ok(!(all >> GMM_PAGE_PFN_SHIFT));
	gmm_equal(gmm_page_origin_of(0), GMM_ORIGIN_SOURCE);
	entry = all | gmm_page_pfn_bits(0xabcdef);
	for (origin = GMM_ORIGIN_SOURCE; origin <= GMM_ORIGIN_STORE; origin++) {
		entry = gmm_page_with_origin(entry, origin);
		gmm_equal(gmm_page_origin_of(entry), origin);
		gmm_equal(entry >> GMM_PAGE_PFN_SHIFT, 0xabcdef);
		gmm_equal(entry & all & ~GMM_PAGE_ORIGIN_MASK, all & ~GMM_PAGE_ORIGIN_MASK);
	}
}

#define CASE(name)          \
	{                   \
#name, name \
	}

const struct gmm_test_case gmm_test_cases[] = {
	CASE(an_empty_table_has_no_entries),
	CASE(each_frame_has_an_entry_of_its_own_that_stays),
	CASE(a_visit_finds_what_is_there_and_passes_over_the_rest),
	CASE(who_builds_at_once_builds_one_table),
	CASE(a_table_that_cannot_be_made_leaves_the_rest),
	CASE(an_entry_holds_origin_flags_and_frame_apart),
	{ NULL, NULL },
};
