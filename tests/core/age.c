/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Aging, and the clock that keeps a guest within its limit. */
#include "race.h"
#include "wide.h"

#define PAGE 5u

static void touch(struct model *model, uint32_t page)
{
	uint64_t word = 0;

	gmm_ok(model_guest_read(model, page, &word));
}

static uint64_t young_of(struct model *model, uint32_t flags)
{
	uint64_t bits = ~(uint64_t)0;
	int64_t young = gmm_age(model->guest, 0, MODEL_PAGES, flags, &bits);

	gmm_equal(young, __builtin_popcountll(bits));
	return bits;
}

/* The mapping is dropped, so the next access tells. */
static void a_page_is_young_when_it_was_touched_since(void)
{
	struct model model;
	uint64_t word;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	gmm_equal(young_of(&model, 0), 0);
	touch(&model, 3);
	gmm_must(model_guest_write(&model, 4, 44));
	gmm_equal(young_of(&model, 0), 3u << 3);
	gmm_ok(!model_guest_try(&model, 3, false, &word));
	gmm_ok(!model_guest_try(&model, 4, false, &word));
	gmm_equal(young_of(&model, 0), 0);
	touch(&model, 4);
	gmm_equal(young_of(&model, 0), 1u << 4);
	gmm_equal(gmm_resident_pages(model.guest), 2);
	gmm_must(model_guest_read(&model, 4, &word));
	gmm_equal(word, 44);
	model_fini(&model);
}

static void a_test_changes_nothing(void)
{
	struct model model;
	uint64_t word;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	touch(&model, 3);
	gmm_equal(young_of(&model, GMM_AGE_TEST_ONLY), 1u << 3);
	gmm_equal(young_of(&model, GMM_AGE_TEST_ONLY), 1u << 3);
	gmm_ok(model_guest_try(&model, 3, false, &word));
	gmm_equal(model.memory.calls[MODEL_LIVE_UNMAP], 0);
	gmm_equal(young_of(&model, 0), 1u << 3);
	model_fini(&model);
}

static void resident_memory_ages_in_the_table(void)
{
	struct model model;

	model_init(&model, 0);
	gmm_equal(gmm_fault_serve(model.guest, 3, GMM_ACCESS_READ), 0);
	gmm_equal(young_of(&model, 0), 1u << 3);
	gmm_equal(young_of(&model, 0), 0);
	gmm_equal(gmm_fault_serve(model.guest, 3, GMM_ACCESS_READ), 0);
	gmm_equal(model.memory.calls[MODEL_RESOLVE], 1);
	gmm_equal(young_of(&model, 0), 1u << 3);
	model_fini(&model);
}

static void ranges_over_holes_are_aged_where_there_is_something(void)
{
	struct wide *wide = wide_create(true, 500, 0);
	uint64_t bits[30];
	uint32_t p;

	gmm_equal(gmm_fault_populate(wide->guest, 500 + 10, 100, GMM_ACCESS_READ, 0), 0);
	gmm_equal(gmm_fault_populate(wide->guest, 500 + 600, 1, GMM_ACCESS_READ, 0), 0);
	gmm_equal(gmm_age(wide->guest, 450, 1300, 0, bits), 101);
	for (p = 0; p < 1300; p++)
		gmm_ok(((bits[p / 64] >> (p % 64)) & 1) == ((p >= 60 && p < 160) || p == 650),
		       "page %u", p);
	gmm_equal(gmm_age(wide->guest, 450, 1300, 0, NULL), 0);
	gmm_equal(gmm_evict(wide->guest, 500, WIDE_PAGES, GMM_EVICT_COLD), 101);
	wide_destroy(wide);
}

static void what_is_wrong_is_refused(void)
{
	struct gmm_reader *reader;
	struct model model;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	gmm_equal(gmm_age(model.guest, 0, 1, 2, NULL), -GMM_EINVAL);
	gmm_equal(gmm_age(model.guest, 0, 0, 0, NULL), -GMM_EINVAL);
	gmm_equal(gmm_age(model.guest, ~(gmm_gfn_t)0, 2, 0, NULL), -GMM_ERANGE);
	gmm_must(!gmm_reader_register(model.guest, &reader));
	gmm_section_enter(reader);
	gmm_equal(gmm_age(model.guest, 0, 1, 0, NULL), -GMM_EDEADLK);
	gmm_equal(gmm_resident_trim(model.guest, 0), -GMM_EDEADLK);
	gmm_section_exit(reader);
	gmm_reader_unregister(reader);
	model_fini(&model);
}

static void an_unmap_that_fails_leaves_the_page_as_it_was(void)
{
	struct gmm_page_info info;
	struct model model;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	touch(&model, 3);
	model.memory.fail_at[MODEL_LIVE_UNMAP] = 1;
	gmm_equal(gmm_age(model.guest, 0, MODEL_PAGES, 0, NULL), -GMM_EIO);
	gmm_equal(gmm_page_query(model.guest, 3, &info), 0);
	gmm_ok(info.young && info.mapped && !info.busy);
	gmm_equal(young_of(&model, 0), 1u << 3);
	model_fini(&model);
}

static int fault(struct race *race)
{
	return gmm_fault_serve(race->model->guest, PAGE, GMM_ACCESS_READ);
}

static void a_page_that_somebody_changes_is_young(void)
{
	struct race filler = { 0 };
	struct gmm_gate gate;
	struct model model;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	filler.model = &model;
	gmm_gate_init(&gate, 1);
	model.memory.gates[MODEL_FILL] = &gate;
	race_start(&filler, fault);
	gmm_gate_wait_held(&gate);
	gmm_equal(young_of(&model, GMM_AGE_TEST_ONLY), 1u << PAGE);
	gmm_equal(young_of(&model, 0), 1u << PAGE);
	gmm_gate_open(&gate);
	gmm_equal(race_join(&filler), 0);
	gmm_equal(young_of(&model, 0), 1u << PAGE);
	model_fini(&model);
}

static void a_trim_reaches_its_target(void)
{
	struct model model;
	uint64_t target, word;
	uint32_t p;

	for (target = 0; target <= MODEL_PAGES; target += 5) {
		model_init(&model, MODEL_LAZY | MODEL_OWNER);
		for (p = 0; p < MODEL_PAGES; p++)
			gmm_must(model_guest_write(&model, p, 0x700 + p));
		gmm_ok(gmm_resident_trim(model.guest, target) >= (int64_t)(MODEL_PAGES - target));
		gmm_ok(gmm_resident_pages(model.guest) <= target);
		gmm_equal(gmm_resident_trim(model.guest, MODEL_PAGES), 0);
		for (p = 0; p < MODEL_PAGES; p++) {
			gmm_must(model_guest_read(&model, p, &word));
			gmm_equal(word, 0x700 + p);
		}
		model_fini(&model);
	}
}

/* Pages that are used between two passes stay, as long as there are others to take. */
static void what_is_used_survives_a_trim(void)
{
	struct gmm_page_info info;
	struct model model;
	uint32_t p;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	for (p = 0; p < MODEL_PAGES; p++)
		touch(&model, p);
	gmm_equal(gmm_age(model.guest, 0, MODEL_PAGES, 0, NULL), MODEL_PAGES);
	for (p = 0; p < MODEL_PAGES; p += 4)
		touch(&model, p);
	gmm_ok(gmm_resident_trim(model.guest, MODEL_PAGES / 4) > 0);
	for (p = 0; p < MODEL_PAGES; p += 4) {
		gmm_equal(gmm_page_query(model.guest, p, &info), 0);
		gmm_ok(info.state == GMM_PAGE_PRESENT, "page %u, which is used, went", p);
	}
	gmm_equal(gmm_resident_pages(model.guest), MODEL_PAGES / 4);
	model_fini(&model);
}

static void a_trim_takes_little_more_than_it_must(void)
{
	struct model model;
	uint32_t p;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	for (p = 0; p < MODEL_PAGES; p++)
		touch(&model, p);
	gmm_equal(gmm_resident_trim(model.guest, MODEL_PAGES - 1), 1);
	gmm_equal(gmm_resident_pages(model.guest), MODEL_PAGES - 1);
	gmm_equal(gmm_resident_trim(model.guest, MODEL_PAGES - 3), 2);
	model_fini(&model);
}

static void a_guest_of_many_slots_is_trimmed(void)
{
	struct gmm_slot_config slot;
	struct model model;
	uint32_t i;

	model_init(&model, MODEL_LAZY | MODEL_OWNER | MODEL_NO_SLOT);
	for (i = 0; i < 4; i++) {
		slot = model_slot(&model, i, i * 1000, i * 4, 4);
		gmm_equal(gmm_slot_add(model.guest, &slot), 0);
		gmm_equal(gmm_fault_populate(model.guest, i * 1000, 4, GMM_ACCESS_WRITE, 0), 0);
	}
	gmm_ok(gmm_resident_trim(model.guest, 3) >= 13);
	gmm_ok(gmm_resident_pages(model.guest) <= 3);
	for (i = 1; i < 4; i++)
		gmm_equal(gmm_slot_remove(model.guest, i), 0);
	model_fini(&model);
}

static int trim(struct race *race)
{
	return (int)gmm_resident_trim(race->model->guest, 0);
}

/* The page is used whenever the hand comes by; when nothing else is left, it goes all the same. */
static void a_trim_takes_what_is_used_when_there_is_nothing_else(void)
{
	struct race trimmer = { 0 };
	struct gmm_gate gates[6];
	struct model model;
	uint32_t i, turn;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	touch(&model, PAGE);
	for (i = 0; i < 6; i++) {
		gmm_gate_init(&gates[i], i + 1);
		gmm_test_hold_step(GMM_STEP_INVALIDATE_REGISTERED, &gates[i]);
	}
	trimmer.model = &model;
	race_start(&trimmer, trim);
	for (i = 0; i < 6 && !race_is_done(&trimmer); i++) {
		for (turn = 0; !race_is_done(&trimmer) && !gmm_load_acquire(&gates[i].held); turn++)
			gmm_cpu_relax(turn);
		if (!race_is_done(&trimmer))
			touch(&model, PAGE);
		gmm_gate_open(&gates[i]);
	}
	gmm_equal(race_join(&trimmer), 1);
	gmm_test_unhold_steps();
	gmm_ok(i > 1, "it went when it had just been used");
	gmm_equal(gmm_resident_pages(model.guest), 0);
	model_fini(&model);
}

static void one_trims_at_a_time(void)
{
	struct race trimmer = { 0 };
	struct gmm_gate gate;
	struct model model;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	touch(&model, PAGE);
	trimmer.model = &model;
	gmm_gate_init(&gate, 1);
	gmm_test_hold_step(GMM_STEP_EVICT_CLAIMED, &gate);
	race_start(&trimmer, trim);
	gmm_gate_wait_held(&gate);
	gmm_equal(gmm_resident_trim(model.guest, 0), -GMM_EBUSY);
	gmm_gate_open(&gate);
	gmm_equal(race_join(&trimmer), 1);
	gmm_equal(gmm_resident_trim(model.guest, 0), 0);
	model_fini(&model);
}

#define CASE(name)          \
	{                   \
#name, name \
	}

const struct gmm_test_case gmm_test_cases[] = {
	CASE(a_page_is_young_when_it_was_touched_since),
	CASE(a_test_changes_nothing),
	CASE(resident_memory_ages_in_the_table),
	CASE(ranges_over_holes_are_aged_where_there_is_something),
	CASE(what_is_wrong_is_refused),
	CASE(an_unmap_that_fails_leaves_the_page_as_it_was),
	CASE(a_page_that_somebody_changes_is_young),
	CASE(a_trim_reaches_its_target),
	CASE(what_is_used_survives_a_trim),
	CASE(a_trim_takes_little_more_than_it_must),
	CASE(a_guest_of_many_slots_is_trimmed),
	CASE(a_trim_takes_what_is_used_when_there_is_nothing_else),
	CASE(one_trims_at_a_time),
	{ NULL, NULL },
};
