/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Pages of a range, counted by what the table says of them. */
#include "race.h"
#include "wide.h"

#define PAGE 5u

static struct gmm_page_survey survey_of(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count)
{
	struct gmm_page_survey survey;

	gmm_equal(gmm_page_take_survey(guest, gfn, count, &survey), 0);
	gmm_equal(survey.absent + survey.zero + survey.present + survey.evicted, survey.pages);
	return survey;
}

/* The same by asking for each page. */
static struct gmm_page_survey queries_of(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count)
{
	struct gmm_page_survey survey = { 0 };
	struct gmm_page_info info;

	for (; count--; gfn++) {
		if (gmm_page_query(guest, gfn, &info))
			continue;
		survey.pages++;
		survey.absent += info.state == GMM_PAGE_ABSENT;
		survey.zero += info.state == GMM_PAGE_ZERO;
		survey.present += info.state == GMM_PAGE_PRESENT;
		survey.evicted += info.state == GMM_PAGE_EVICTED;
		survey.busy += info.busy;
		survey.mapped += info.mapped;
		survey.writable += info.writable;
		survey.young += info.young;
		survey.dirty += info.dirty;
		survey.changed += info.changed;
	}
	return survey;
}

static bool agree(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count)
{
	struct gmm_page_survey survey = survey_of(guest, gfn, count);
	struct gmm_page_survey queries = queries_of(guest, gfn, count);

	return !gmm_memcmp(&survey, &queries, sizeof(survey));
}

static void each_state_is_counted(void)
{
	struct gmm_page_survey survey;
	struct model model;
	uint64_t word;

	model_init(&model, MODEL_LAZY | MODEL_OWNER | MODEL_LOG_DIRTY);
	survey = survey_of(model.guest, 0, MODEL_PAGES);
	gmm_equal(survey.pages, MODEL_PAGES);
	gmm_equal(survey.absent, MODEL_PAGES);
	gmm_must(model_guest_read(&model, 0, &word));
	gmm_must(model_guest_read(&model, 1, &word));
	gmm_must(model_guest_write(&model, 2, 22));
	gmm_must(model_guest_write(&model, 3, 33));
	gmm_must(model_guest_write(&model, 4, 44));
	gmm_equal(gmm_evict(model.guest, 3, 1, 0), 1);
	gmm_equal(gmm_discard(model.guest, 4, 1), 0);
	gmm_equal(gmm_age(model.guest, 1, 1, 0, NULL), 1);
	survey = survey_of(model.guest, 0, MODEL_PAGES);
	gmm_equal(survey.absent, MODEL_PAGES - 5);
	gmm_equal(survey.present, 3);
	gmm_equal(survey.evicted, 1);
	gmm_equal(survey.zero, 1);
	gmm_equal(survey.busy, 0);
	gmm_equal(survey.mapped, 2);
	gmm_equal(survey.writable, 1);
	gmm_equal(survey.young, 2);
	gmm_equal(survey.changed, 1);
	gmm_ok(survey.dirty >= 1);
	gmm_ok(agree(model.guest, 0, MODEL_PAGES));
	gmm_equal(survey_of(model.guest, 2, 2).present, 1);
	model_fini(&model);
}

static void a_page_that_somebody_changes_is_busy(void)
{
	struct race filler = { .first = PAGE, .second = 1 };
	struct gmm_gate gate;
	struct model model;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	filler.model = &model;
	gmm_gate_init(&gate, 1);
	model.memory.gates[MODEL_FILL] = &gate;
	race_start(&filler, race_populate);
	gmm_gate_wait_held(&gate);
	gmm_equal(survey_of(model.guest, 0, MODEL_PAGES).busy, 1);
	gmm_equal(survey_of(model.guest, 0, MODEL_PAGES).absent, MODEL_PAGES);
	gmm_gate_open(&gate);
	gmm_equal(race_join(&filler), 0);
	gmm_equal(survey_of(model.guest, 0, MODEL_PAGES).busy, 0);
	gmm_equal(survey_of(model.guest, PAGE, 1).present, 1);
	model_fini(&model);
}

/* Tables that are there, tables that are not, and frames in no slot. */
static void holes_are_in_no_number(void)
{
	struct wide *wide = wide_create(true, 500, 0);

	gmm_equal(gmm_fault_populate(wide->guest, 500 + 10, 100, GMM_ACCESS_READ, 0), 0);
	gmm_equal(gmm_fault_populate(wide->guest, 500 + 1100, 3, GMM_ACCESS_WRITE, 0), 0);
	gmm_equal(survey_of(wide->guest, 0, 2000).pages, WIDE_PAGES);
	gmm_equal(survey_of(wide->guest, 0, 2000).present, 103);
	gmm_equal(survey_of(wide->guest, 0, 500).pages, 0);
	gmm_equal(survey_of(wide->guest, 500 + WIDE_PAGES, 300).pages, 0);
	gmm_equal(survey_of(wide->guest, 499, 12).pages, 11);
	gmm_equal(survey_of(wide->guest, 499, 12).present, 1);
	gmm_equal(survey_of(wide->guest, 1023, 2).pages, 2);
	gmm_ok(agree(wide->guest, 400, 1500));
	gmm_equal(gmm_slot_resize(wide->guest, 0, 50), 0);
	gmm_equal(survey_of(wide->guest, 0, 2000).pages, 50);
	gmm_equal(survey_of(wide->guest, 0, 2000).present, 40);
	gmm_equal(gmm_slot_move(wide->guest, 0, 1000), 0);
	gmm_equal(survey_of(wide->guest, 0, 1000).pages, 0);
	gmm_equal(survey_of(wide->guest, 1010, 40).present, 40);
	gmm_ok(agree(wide->guest, 400, 1500));
	wide_destroy(wide);
}

static void several_slots_are_added_up(void)
{
	struct gmm_slot_config config;
	struct model model;

	model_init(&model, MODEL_LAZY | MODEL_NO_SLOT);
	config = model_slot(&model, 1, 510, 0, 4);
	gmm_equal(gmm_slot_add(model.guest, &config), 0);
	config = model_slot(&model, 2, 514, 4, 2);
	gmm_equal(gmm_slot_add(model.guest, &config), 0);
	config = model_slot(&model, 3, 1 << 20, 6, 3);
	gmm_equal(gmm_slot_add(model.guest, &config), 0);
	gmm_equal(gmm_fault_populate(model.guest, 512, 4, GMM_ACCESS_READ, 0), 0);
	gmm_equal(survey_of(model.guest, 0, (1 << 20) + 2).pages, 8);
	gmm_equal(survey_of(model.guest, 0, 1 << 21).pages, 9);
	gmm_equal(survey_of(model.guest, 0, 1 << 21).present, 4);
	gmm_equal(survey_of(model.guest, 513, 2).present, 2);
	gmm_equal(gmm_slot_remove(model.guest, 1), 0);
	gmm_equal(survey_of(model.guest, 0, 1 << 21).pages, 5);
	gmm_equal(survey_of(model.guest, 0, 1 << 21).present, 2);
	gmm_equal(gmm_slot_remove(model.guest, 2), 0);
	gmm_equal(gmm_slot_remove(model.guest, 3), 0);
	model_fini(&model);
}

/* Whatever the table says of it: it knows only what vCPUs have reached. */
static void memory_that_is_always_resident_is_present(void)
{
	struct wide *wide = wide_create(false, 500, 0);
	struct gmm_page_survey survey = survey_of(wide->guest, 0, 2000);

	gmm_equal(survey.pages, WIDE_PAGES);
	gmm_equal(survey.present, WIDE_PAGES);
	gmm_equal(survey.absent, 0);
	gmm_equal(survey.mapped, 0);
	wide_destroy(wide);
}

static int come_and_go(struct race *race)
{
	uint32_t turn;
	uint64_t word;

	for (turn = 0; turn < gmm_test_turns(3); turn++) {
		gmm_ok(model_guest_read(race->model, PAGE, &word));
		gmm_ok(model_guest_write(race->model, PAGE + 1, turn));
		gmm_ok(gmm_evict(race->model->guest, PAGE, 2, 0) >= 0);
	}
	return 0;
}

/* Beside faults and evictions each page is in one state, and nothing is counted twice. */
static void a_page_is_counted_once_whatever_becomes_of_it(void)
{
	struct race changer = { 0 };
	struct gmm_page_survey survey;
	struct model model;
	uint32_t turn;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	changer.model = &model;
	race_start(&changer, come_and_go);
	for (turn = 0; turn < gmm_test_turns(6); turn++) {
		survey = survey_of(model.guest, 0, MODEL_PAGES);
		gmm_equal(survey.pages, MODEL_PAGES);
		gmm_ok(survey.absent >= MODEL_PAGES - 2 && survey.zero == 0);
		gmm_ok(survey.writable <= survey.mapped && survey.mapped <= 2);
		gmm_ok(survey.busy <= 2 && survey.young <= 2);
	}
	gmm_equal(race_join(&changer), 0);
	gmm_ok(agree(model.guest, 0, MODEL_PAGES));
	model_fini(&model);
}

static void what_is_wrong_is_refused(void)
{
	struct gmm_page_survey survey = { .pages = 7 };
	struct gmm_reader *reader;
	struct model model;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	gmm_equal(gmm_page_take_survey(model.guest, 0, 0, &survey), -GMM_EINVAL);
	gmm_equal(gmm_page_take_survey(model.guest, ~(gmm_gfn_t)0, 2, &survey), -GMM_ERANGE);
	gmm_equal(gmm_page_take_survey(model.guest, 0, ((uint64_t)1 << 28) + 1, &survey),
		  -GMM_ERANGE);
	gmm_equal(survey.pages, 7);
	gmm_equal(survey_of(model.guest, 0, (uint64_t)1 << 28).pages, MODEL_PAGES);
	/* It waits for nobody, so it may be in a section. */
	gmm_must(!gmm_reader_register(model.guest, &reader));
	gmm_section_enter(reader);
	gmm_equal(survey_of(model.guest, 0, MODEL_PAGES).pages, MODEL_PAGES);
	gmm_section_exit(reader);
	gmm_reader_unregister(reader);
	model_fini(&model);
}

#define CASE(name)          \
	{                   \
#name, name \
	}

const struct gmm_test_case gmm_test_cases[] = {
	CASE(each_state_is_counted),
	CASE(a_page_that_somebody_changes_is_busy),
	CASE(holes_are_in_no_number),
	CASE(several_slots_are_added_up),
	CASE(memory_that_is_always_resident_is_present),
	CASE(a_page_is_counted_once_whatever_becomes_of_it),
	CASE(what_is_wrong_is_refused),
	{ NULL, NULL },
};
