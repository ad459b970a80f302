/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Populating: pages become resident without a fault, a run at a time. Rule W2. */
#include "race.h"
#include "wide.h"

static void pages_in_every_state_become_resident(void)
{
	uint64_t page[MODEL_PAGE_BYTES / 8], word;
	struct gmm_page_info info;
	struct model model;
	uint32_t p;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	gmm_must(model_guest_write(&model, 2, 22));
	gmm_must(model_guest_write(&model, 3, 33));
	gmm_must(model_guest_write(&model, 4, 44));
	gmm_must(model_guest_write(&model, 7, 77));
	gmm_must(model_guest_read(&model, 9, &word));
	gmm_equal(gmm_evict(model.guest, 2, 2, 0), 2);
	gmm_equal(gmm_discard(model.guest, 5, 2), 0);
	model.memory.calls[MODEL_FILL] = 0;
	gmm_equal(gmm_fault_populate(model.guest, 1, 10, GMM_ACCESS_READ, 0), 0);
	/* 1, 2-3, 5-6, 8, 10: one call for each run of one origin. */
	gmm_equal(model.memory.calls[MODEL_FILL], 5);
	for (p = 0; p < MODEL_PAGES; p++) {
		uint64_t wanted = p == 2 || p == 3 || p == 4 || p == 7 ? p * 11 :
				  p == 5 || p == 6		       ? 0 :
									 model_word(p);

		gmm_equal(gmm_page_query(model.guest, p, &info), 0);
		gmm_ok(!info.busy && (info.state == GMM_PAGE_PRESENT) == (p >= 1 && p < 11));
		gmm_equal(gmm_page_read(model.guest, p, page), 0);
		gmm_equal(page[0], wanted);
	}
	gmm_equal(gmm_resident_pages(model.guest), 10);
	model_fini(&model);
}

static void ranges_go_over_slots_and_tables(void)
{
	struct wide *wide = wide_create(true, 500, 0);
	struct gmm_page_info info;
	uint32_t p;

	gmm_equal(gmm_fault_populate(wide->guest, 505, 600, GMM_ACCESS_READ, 0), 0);
	gmm_equal(gmm_resident_pages(wide->guest), 600);
	gmm_ok(wide->fills >= 600 / 64 && wide->fills <= 600 / 64 + 4, "%u calls", wide->fills);
	gmm_equal(gmm_fault_populate(wide->guest, 500, WIDE_PAGES, GMM_ACCESS_READ, 0), 0);
	for (p = 0; p < WIDE_PAGES; p++)
		gmm_ok(wide->resident[p] && wide->word[p] == model_word(p), "page %u", p);
	gmm_equal(gmm_page_query(wide->guest, 1023, &info), 0);
	gmm_equal(info.pfn, 523);
	gmm_equal(gmm_resident_pages(wide->guest), WIDE_PAGES);
	wide_destroy(wide);
}

static void slots_beside_each_other_are_one_range(void)
{
	struct gmm_slot_config slot;
	struct model model;

	model_init(&model, MODEL_LAZY | MODEL_OWNER | MODEL_NO_SLOT);
	slot = model_slot(&model, 0, 100, 8, 4);
	gmm_equal(gmm_slot_add(model.guest, &slot), 0);
	slot = model_slot(&model, 1, 104, 2, 4);
	gmm_equal(gmm_slot_add(model.guest, &slot), 0);
	gmm_equal(gmm_fault_populate(model.guest, 102, 4, GMM_ACCESS_WRITE, 0), 0);
	gmm_ok(model.memory.resident[10] && model.memory.resident[11]);
	gmm_ok(model.memory.resident[2] && model.memory.resident[3]);
	gmm_equal(gmm_resident_pages(model.guest), 4);
	/* What comes before a hole is done. */
	gmm_equal(gmm_fault_populate(model.guest, 106, 4, GMM_ACCESS_READ, 0), -GMM_EFAULT);
	gmm_ok(model.memory.resident[4] && model.memory.resident[5]);
	gmm_equal(gmm_slot_remove(model.guest, 1), 0);
	gmm_equal(gmm_resident_pages(model.guest), 2);
	model_fini(&model);
}

static void what_is_wrong_is_refused(void)
{
	struct gmm_range range = model_frames(2, 1);
	struct gmm_reader *reader;
	struct model model;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	gmm_equal(gmm_fault_populate(model.guest, 0, 1, GMM_ACCESS_READ, 2), -GMM_EINVAL);
	gmm_equal(gmm_fault_populate(model.guest, 0, 0, GMM_ACCESS_READ, 0), 0);
	gmm_equal(gmm_fault_populate(model.guest, ~(gmm_gfn_t)0, 2, GMM_ACCESS_READ, 0),
		  -GMM_EFAULT);
	gmm_must(!gmm_reader_register(model.guest, &reader));
	gmm_section_enter(reader);
	gmm_equal(gmm_fault_populate(model.guest, 0, 1, GMM_ACCESS_READ, 0), -GMM_EDEADLK);
	gmm_section_exit(reader);
	gmm_reader_unregister(reader);
	gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &range, 1, 0, NULL), 0);
	gmm_equal(gmm_fault_populate(model.guest, 0, 4, GMM_ACCESS_READ, 0), -GMM_EDEADLK);
	gmm_equal(gmm_fault_populate(model.guest, 0, 2, GMM_ACCESS_READ, 0), 0);
	gmm_invalidate_end(model.guest, GMM_RANGE_GFN, &range, 1);
	gmm_equal(gmm_slot_set_flags(model.guest, 0, GMM_SLOT_READ_ONLY), 0);
	gmm_equal(gmm_fault_populate(model.guest, 4, 2, GMM_ACCESS_WRITE, 0), -GMM_EROFS);
	gmm_equal(gmm_fault_populate(model.guest, 4, 2, GMM_ACCESS_READ, 0), 0);
	gmm_equal(gmm_resident_pages(model.guest), 4);
	model_fini(&model);
}

static void a_prefetch_maps_so_that_the_first_write_shows(void)
{
	struct gmm_guest_counters counters;
	struct model model;
	uint64_t word = 1, bits;

	model_init(&model, MODEL_LAZY | MODEL_OWNER | MODEL_LOG_DIRTY);
	gmm_must(model_guest_write(&model, 3, 5));
	gmm_equal(gmm_dirty_harvest(model.guest, 0, 0, MODEL_PAGES, &bits), 1);
	gmm_equal(gmm_fault_populate(model.guest, 0, 6, GMM_ACCESS_READ, GMM_POPULATE_MAP), 0);
	gmm_ok(model_guest_try(&model, 2, false, &word));
	gmm_equal(word, model_word(2));
	gmm_ok(!model_guest_try(&model, 2, true, &word));
	gmm_equal(gmm_dirty_harvest(model.guest, 0, 0, MODEL_PAGES, &bits), 0);
	gmm_must(model_guest_write(&model, 2, 6));
	gmm_equal(gmm_dirty_harvest(model.guest, 0, 0, MODEL_PAGES, &bits), 1);
	gmm_guest_read_counters(model.guest, &counters);
	gmm_equal(counters.faults_protect, 1);
	model_fini(&model);
	model_init(&model, MODEL_LAZY | MODEL_OWNER_UNPROTECTED);
	gmm_equal(gmm_fault_populate(model.guest, 0, 6, GMM_ACCESS_READ, GMM_POPULATE_MAP), 0);
	gmm_equal(model.memory.calls[MODEL_LIVE_MAP], 0);
	gmm_equal(gmm_resident_pages(model.guest), 6);
	model_fini(&model);
}

static void a_fill_that_fails_leaves_no_page_owned(void)
{
	struct wide *wide = wide_create(true, 500, 0);
	struct gmm_page_info info;
	uint32_t p, resident = 0;

	wide->fail_fill_at = 4;
	gmm_equal(gmm_fault_populate(wide->guest, 500, 500, GMM_ACCESS_READ, 0), -GMM_EIO);
	for (p = 0; p < 500; p++) {
		gmm_equal(gmm_page_query(wide->guest, 500 + p, &info), 0);
		gmm_ok(!info.busy && (info.state == GMM_PAGE_PRESENT) == wide->resident[p]);
		resident += wide->resident[p];
	}
	gmm_equal(gmm_resident_pages(wide->guest), resident);
	gmm_equal(gmm_fault_populate(wide->guest, 500, 500, GMM_ACCESS_READ, 0), 0);
	gmm_equal(gmm_resident_pages(wide->guest), 500);
	wide_destroy(wide);
}

static int serve(struct race *race)
{
	return gmm_fault_serve(race->model->guest, race->first, GMM_ACCESS_READ);
}

/* It sleeps for the page that a fault is filling, and does not fill it again. */
static void a_busy_page_is_waited_for(void)
{
	struct race fault = { .first = 3 }, populate = { .first = 0, .second = 6 };
	struct gmm_gate gate;
	struct model model;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	fault.model = populate.model = &model;
	gmm_gate_init(&gate, 1);
	model.memory.gates[MODEL_FILL] = &gate;
	race_start(&fault, serve);
	gmm_gate_wait_held(&gate);
	race_start(&populate, race_populate);
	race_give_way(&populate);
	gmm_ok(!race_is_done(&populate), "a page that is being filled was passed over");
	gmm_gate_open(&gate);
	gmm_equal(race_join(&populate), 0);
	gmm_equal(race_join(&fault), 0);
	gmm_equal(gmm_resident_pages(model.guest), 6);
	model_fini(&model);
}

/* Another one's change is slept for. */
static void a_change_is_waited_for(void)
{
	struct race populate = { .first = 0, .second = 6 };
	struct gmm_range range = model_frames(2, 1);
	struct model model;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	populate.model = &model;
	gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &range, 1, 0, NULL), 0);
	race_start(&populate, race_populate);
	race_give_way(&populate);
	gmm_ok(!race_is_done(&populate));
	gmm_equal(gmm_resident_pages(model.guest), 0);
	gmm_invalidate_end(model.guest, GMM_RANGE_GFN, &range, 1);
	gmm_equal(race_join(&populate), 0);
	gmm_equal(gmm_resident_pages(model.guest), 6);
	model_fini(&model);
}

#define CASE(name)          \
	{                   \
#name, name \
	}

const struct gmm_test_case gmm_test_cases[] = {
	CASE(pages_in_every_state_become_resident),
	CASE(ranges_go_over_slots_and_tables),
	CASE(slots_beside_each_other_are_one_range),
	CASE(what_is_wrong_is_refused),
	CASE(a_prefetch_maps_so_that_the_first_write_shows),
	CASE(a_fill_that_fails_leaves_no_page_owned),
	CASE(a_busy_page_is_waited_for),
	CASE(a_change_is_waited_for),
	{ NULL, NULL },
};
