/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What a guest's table maps frames as, how large, and what it says of them. Rules L2, L13, L17, L18.
 */
#include "walked.h"

#define R GMM_ACCESS_READ
#define W GMM_ACCESS_WRITE
#define X GMM_ACCESS_EXEC
#define GFN 3u /* of slot 0, small */
#define LOGS GMM_SLOT_LOG_DIRTY

/* Small memory, of which slot 0 is all. */
static bool init_small(struct walked *walked, uint32_t format, uint32_t flags)
{
	if (!walked_init(walked, format, 0))
		return false;
	walked_add(walked, 0, GFN, 0, WALKED_SMALL, flags);
	return true;
}

static uint64_t harvest(struct walked *walked)
{
	uint64_t bits = 0;

	gmm_ok(gmm_dirty_harvest(walked->guest, 0, 0, WALKED_SMALL, &bits) >= 0);
	return bits;
}

static struct gmm_guest_counters counters_of(struct walked *walked)
{
	struct gmm_guest_counters counters;

	gmm_guest_read_counters(walked->guest, &counters);
	return counters;
}

/* L2: by the frame; what is a device's is not executed. */
static void the_class_of_memory_comes_from_the_frame(void)
{
	struct hardware_result result;
	struct walked walked;
	uint32_t format;

	walked_each_format(format)
	{
		gmm_must(init_small(&walked, format, 0));
		walked.device = 8;
		walked.write_combining = 12;
		gmm_equal(walked_access(&walked, GFN + 7, W, NULL), 0);
		gmm_equal(walked_access(&walked, GFN + 8, W, NULL), 0);
		gmm_equal(walked_access(&walked, GFN + 12, W, NULL), 0);
		if (walked.world.facts->memory_types & (1u << GMM_LEAF_UNCACHED)) {
			gmm_equal(table_world_access(&walked.world, GFN + 7, R, &result), 0);
			gmm_equal(result.memory, GMM_LEAF_CACHED);
			gmm_equal(table_world_access(&walked.world, GFN + 8, R, &result), 0);
			gmm_equal(result.memory, GMM_LEAF_UNCACHED);
		}
		if (walked.world.facts->memory_types & (1u << GMM_LEAF_DEVICE)) {
			gmm_equal(table_world_access(&walked.world, GFN + 12, R, &result), 0);
			gmm_equal(result.memory, GMM_LEAF_DEVICE);
		}
		gmm_equal(walked_access(&walked, GFN + 11, X, NULL), 0);
		gmm_equal(walked_access(&walked, GFN + 12, X, NULL), -GMM_EFAULT);
		walked_fini(&walked);
	}
}

/* L17, L18: as large as memory and slot permit. */
static void a_leaf_is_as_large_as_memory_and_slot_permit(void)
{
	struct walked walked;
	uint64_t span, pfn;
	uint32_t format;

	walked_each_format(format)
	{
		gmm_must(walked_init(&walked, format, 4));
		walked.huge = true;
		span = walked.span;
		/* The middle of page 1's span up to page 3's; keeps its place. */
		walked_add(&walked, 0, 2 * span + span / 2, span / 2, 2 * span, 0);
		gmm_equal(walked_access(&walked, 3 * span + 7, R, &pfn), 0);
		gmm_equal(pfn, walked_frame(&walked, span + 7));
		gmm_equal(walked_leaf(&walked, 3 * span).level, 1);
		gmm_equal(walked_leaf(&walked, 3 * span).gfn, 3 * span);
		/* Parts of spans are beyond the slot's ends. */
		gmm_equal(walked_access(&walked, 3 * span - 1, R, &pfn), 0);
		gmm_equal(pfn, walked_frame(&walked, span - 1));
		gmm_equal(walked_leaf(&walked, 3 * span - 1).level, 0);
		gmm_equal(walked_access(&walked, 4 * span, R, NULL), 0);
		gmm_equal(walked_leaf(&walked, 4 * span).level, 0);
		gmm_equal(walked_leaves(&walked), 3);
		/* Frames that do not keep their place in a span. */
		gmm_equal(gmm_slot_move(walked.guest, 0, 2 * span), 0);
		gmm_equal(walked_leaves(&walked), 0);
		gmm_equal(walked_access(&walked, 3 * span, R, &pfn), 0);
		gmm_equal(pfn, walked_frame(&walked, span + span / 2));
		gmm_equal(walked_leaf(&walked, 3 * span).level, 0);
		walked_fini(&walked);
	}
}

/* L17: not where a small leaf is; L18: what the slot can do outlives its flags. */
static void small_leaves_and_logs_keep_leaves_small(void)
{
	struct walked walked;
	uint64_t span, pfn;
	uint32_t format;

	walked_each_format(format)
	{
		gmm_must(walked_init(&walked, format, 2));
		walked.huge = true;
		span = walked.span;
		walked_add(&walked, 0, span, 0, 2 * span, LOGS);
		gmm_equal(walked_access(&walked, span + 4, W, NULL), 0);
		gmm_equal(walked_leaf(&walked, span + 4).level, 0);
		gmm_equal(gmm_slot_set_flags(walked.guest, 0, 0), 0);
		gmm_equal(walked_access(&walked, span + 5, R, &pfn), 0);
		gmm_equal(pfn, walked_frame(&walked, 5));
		gmm_equal(walked_leaf(&walked, span + 5).level, 1);
		gmm_equal(gmm_slot_set_flags(walked.guest, 0, LOGS), 0);
		gmm_ok(!walked_try(&walked, span + 5, W, NULL), "a write that no log would have");
		gmm_equal(walked_access(&walked, span + 5, R, NULL), 0);
		gmm_equal(walked_leaf(&walked, span + 5).level, 0);
		gmm_equal(gmm_slot_set_flags(walked.guest, 0, 0), 0);
		/* One page has moved: its neighbours do not go together any more. */
		walked_move(&walked, span + 9, 9);
		gmm_equal(walked_access(&walked, span + 4, R, NULL), 0);
		gmm_equal(walked_leaf(&walked, span + 4).level, 0);
		walked_move(&walked, span + 9, 9);
		gmm_equal(walked_access(&walked, span + 5, R, NULL), 0);
		gmm_equal(walked_leaf(&walked, span + 5).level, 0);
		/* Another span has nothing of that, and goes as a whole. */
		gmm_equal(walked_access(&walked, 2 * span + 5, R, NULL), 0);
		gmm_equal(walked_leaf(&walked, 2 * span + 5).level, 1);
		walked_move(&walked, 2 * span + 9, span + 9);
		gmm_ok(!walked_try(&walked, 2 * span + 5, R, NULL));
		gmm_equal(walked_access(&walked, 2 * span + 9, R, &pfn), 0);
		gmm_equal(pfn, walked_frame(&walked, span + 9));
		walked_fini(&walked);
	}
}

/* Rights that the memory does not give are asked for again, and its frame may be another one. */
static void what_memory_refuses_is_mapped_for_reading(void)
{
	struct walked walked;
	uint64_t pfn;
	uint32_t format;

	walked_each_format(format)
	{
		gmm_must(init_small(&walked, format, 0));
		walked.read_only = true;
		gmm_equal(walked_fault(&walked, GFN, W), -GMM_EFAULT);
		gmm_equal(walked_access(&walked, GFN, R, NULL), 0);
		gmm_ok(!walked_try(&walked, GFN, W, NULL));
		gmm_equal(walked_fault(&walked, GFN, W), -GMM_EFAULT);
		gmm_equal(walked_access(&walked, GFN + 1, R, NULL), 0);
		walked.read_only = false;
		gmm_equal(walked_access(&walked, GFN, W, NULL), 0);
		gmm_equal(walked_leaves(&walked), 2);
		/* A frame that has changed without a word is none to be kept. */
		walked.moved[1] = 1;
		gmm_equal(walked_access(&walked, GFN + 1, W, &pfn), 0);
		gmm_equal(pfn, walked_frame(&walked, 1));
		gmm_equal(walked_leaves(&walked), 2);
		walked_fini(&walked);
	}
}

static void a_frame_that_the_table_cannot_hold_is_refused(void)
{
	struct walked walked;
	uint32_t format;

	walked_each_format(format)
	{
		gmm_must(init_small(&walked, format, 0));
		walked.base = (uint64_t)1 << 52;
		gmm_equal(walked_fault(&walked, GFN, R), -GMM_EIO);
		gmm_equal(gmm_fault_populate(walked.guest, GFN, 2, R, GMM_POPULATE_MAP), -GMM_EIO);
		gmm_equal(walked_leaves(&walked), 0);
		walked_fini(&walked);
	}
}

static void a_range_is_populated(void)
{
	struct walked walked;
	uint64_t span, pfn;
	uint32_t format, i;

	walked_each_format(format)
	{
		gmm_must(init_small(&walked, format, LOGS));
		walked.moved[6] = 1;
		gmm_equal(gmm_fault_populate(walked.guest, GFN, 9, W, 0), 0);
		gmm_equal(walked_leaves(&walked), 0);
		gmm_equal(walked_access(&walked, GFN + 2, W, NULL), 0);
		gmm_equal(gmm_fault_populate(walked.guest, GFN, 9, W, GMM_POPULATE_MAP), 0);
		gmm_equal(walked_leaves(&walked), 9);
		for (i = 0; i < 9; i++) {
			gmm_ok(walked_try(&walked, GFN + i, R, &pfn));
			gmm_equal(pfn, walked_frame(&walked, i));
			/* What could be written before still can. */
			gmm_equal(walked_try(&walked, GFN + i, W, NULL), i == 2);
		}
		gmm_equal(harvest(&walked), 1u << 2);
		gmm_equal(gmm_fault_populate(walked.guest, GFN + 9, WALKED_SMALL, R,
					     GMM_POPULATE_MAP),
			  -GMM_EFAULT);
		gmm_equal(walked_leaves(&walked), WALKED_SMALL);
		gmm_equal(gmm_fault_populate(walked.guest, GFN, 1, R, 2), -GMM_EINVAL);
		/* What is mapped to something else is mapped anew. */
		walked.moved[7] = 1;
		gmm_equal(gmm_fault_populate(walked.guest, GFN, WALKED_SMALL, R, GMM_POPULATE_MAP),
			  0);
		gmm_ok(walked_try(&walked, GFN + 7, R, &pfn));
		gmm_equal(pfn, walked_frame(&walked, 7));
		walked_fini(&walked);
	}
	walked_each_format(format)
	{
		gmm_must(walked_init(&walked, format, 3));
		walked.huge = true;
		span = walked.span;
		walked_add(&walked, 0, span, 0, 2 * span, 0);
		walked_add(&walked, 1, 3 * span, 2 * span, 5, GMM_SLOT_READ_ONLY);
		gmm_equal(gmm_fault_populate(walked.guest, 2 * span - 3, span + 3 + 5, R,
					     GMM_POPULATE_MAP),
			  0);
		gmm_equal(walked_leaf(&walked, 2 * span - 1).level, 0);
		gmm_equal(walked_leaf(&walked, 2 * span).level, 1);
		gmm_equal(walked_leaf(&walked, 3 * span + 4).level, 0);
		gmm_equal(walked_leaves(&walked), 3 + 1 + 5);
		gmm_ok(walked_try(&walked, 2 * span + 9, W, &pfn));
		gmm_equal(pfn, walked_frame(&walked, span + 9));
		gmm_ok(!walked_try(&walked, 3 * span, W, NULL));
		gmm_equal(counters_of(&walked).faults_mapped, span + 3 + 5);
		gmm_equal(gmm_slot_remove(walked.guest, 1), 0);
		walked_fini(&walked);
	}
}

static void the_table_answers_for_pages(void)
{
	struct gmm_page_survey survey;
	struct gmm_page_info info;
	struct walked walked;
	uint32_t format;

	walked_each_format(format)
	{
		gmm_must(init_small(&walked, format, LOGS));
		gmm_equal(gmm_page_query(walked.guest, GFN - 1, &info), -GMM_EFAULT);
		gmm_equal(gmm_page_query(walked.guest, GFN, &info), 0);
		gmm_ok(!info.mapped && info.pfn == GMM_PFN_NONE);
		gmm_equal(walked_access(&walked, GFN + 4, R, NULL), 0);
		gmm_equal(walked_access(&walked, GFN + 5, W, NULL), 0);
		gmm_equal(gmm_page_query(walked.guest, GFN + 4, &info), 0);
		gmm_ok(info.state == GMM_PAGE_PRESENT && info.mapped && info.young &&
		       !info.writable && !info.dirty && !info.busy);
		gmm_equal(info.pfn, walked_frame(&walked, 4));
		gmm_equal(gmm_page_query(walked.guest, GFN + 5, &info), 0);
		gmm_ok(info.mapped && info.writable && info.dirty && info.changed);
		gmm_equal(gmm_age(walked.guest, GFN + 4, 1, 0, NULL), 1);
		gmm_equal(gmm_page_take_survey(walked.guest, 0, 100, &survey), 0);
		gmm_equal(survey.pages, WALKED_SMALL);
		gmm_equal(survey.present, WALKED_SMALL);
		gmm_equal(survey.mapped, 2);
		gmm_equal(survey.young, 1);
		gmm_equal(survey.writable, 1);
		gmm_equal(survey.dirty, 1);
		walked_fini(&walked);
		gmm_must(walked_init(&walked, format, 1));
		walked.huge = true;
		walked_add(&walked, 0, walked.span, 0, walked.span, 0);
		gmm_equal(walked_access(&walked, walked.span + 1, R, NULL), 0);
		gmm_equal(gmm_page_query(walked.guest, walked.span + 5, &info), 0);
		gmm_equal(info.pfn, walked_frame(&walked, 5));
		gmm_equal(gmm_page_take_survey(walked.guest, walked.span + 10, 20, &survey), 0);
		gmm_equal(survey.mapped, 20);
		gmm_equal(survey.writable, 20);
		walked_fini(&walked);
	}
}

#define CASE(name)          \
	{                   \
#name, name \
	}

const struct gmm_test_case gmm_test_cases[] = {
	CASE(the_class_of_memory_comes_from_the_frame),
	CASE(a_leaf_is_as_large_as_memory_and_slot_permit),
	CASE(small_leaves_and_logs_keep_leaves_small),
	CASE(what_memory_refuses_is_mapped_for_reading),
	CASE(a_frame_that_the_table_cannot_hold_is_refused),
	CASE(a_range_is_populated),
	CASE(the_table_answers_for_pages),
	{ NULL, NULL },
};
