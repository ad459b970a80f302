/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Evicting and discarding: order, failures, what is left and what comes back. Rules W10, W2. */
#include "race.h"
#include "wide.h"

#define PAGE 5u

static enum gmm_page_state state_of(struct model *model, uint32_t page)
{
	struct gmm_page_info info;

	gmm_equal(gmm_page_query(model->guest, page, &info), 0);
	gmm_ok(!info.busy);
	return info.state;
}

static bool try_write(struct model *model, uint32_t page, uint64_t word)
{
	return model_guest_try(model, page, true, &word);
}

static void expect_word(struct model *model, uint32_t page, uint64_t wanted)
{
	uint64_t word = 0;

	gmm_ok(model_guest_read(model, page, &word));
	gmm_equal(word, wanted);
}

static void what_was_written_goes_out_and_comes_back(void)
{
	struct gmm_guest_counters counters;
	struct model model;
	uint64_t word;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	gmm_must(model_guest_write(&model, PAGE, 7));
	gmm_must(model_guest_read(&model, PAGE + 1, &word));
	gmm_equal(gmm_resident_pages(model.guest), 2);
	gmm_equal(gmm_evict(model.guest, 0, MODEL_PAGES, 0), 2);
	gmm_equal(gmm_resident_pages(model.guest), 0);
	gmm_equal(model.memory.store[PAGE], 7);
	gmm_equal(state_of(&model, PAGE), GMM_PAGE_EVICTED);
	gmm_equal(state_of(&model, PAGE + 1), GMM_PAGE_ABSENT);
	gmm_ok(!model_guest_try(&model, PAGE, false, &word));
	gmm_equal(gmm_evict(model.guest, 0, MODEL_PAGES, 0), 0);
	expect_word(&model, PAGE, 7);
	expect_word(&model, PAGE + 1, model_word(PAGE + 1));
	gmm_guest_read_counters(model.guest, &counters);
	gmm_equal(counters.evicted, 2);
	gmm_equal(counters.evicted_clean, 1);
	gmm_equal(counters.refaulted, 1);
	model_fini(&model);
}

/* Nothing differs from the source or the store: there is nothing to write. */
static void clean_pages_are_not_written_out(void)
{
	struct model model;
	uint64_t word;
	uint32_t i;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	for (i = 0; i < 4; i++)
		gmm_must(model_guest_read(&model, PAGE + i, &word));
	gmm_equal(gmm_evict(model.guest, 0, MODEL_PAGES, 0), 4);
	gmm_equal(model.memory.calls[MODEL_WRITE_OUT], 0);
	gmm_equal(model.memory.calls[MODEL_LIVE_PROTECT], 0);
	gmm_must(model_guest_write(&model, PAGE, 7));
	gmm_equal(gmm_evict(model.guest, 0, MODEL_PAGES, 0), 1);
	expect_word(&model, PAGE, 7);
	gmm_equal(gmm_evict(model.guest, 0, MODEL_PAGES, 0), 1);
	gmm_equal(model.memory.calls[MODEL_WRITE_OUT], 1);
	expect_word(&model, PAGE, 7);
	/* Where a mapping cannot be protected, or a cache may write, the page counts as written. */
	gmm_equal(gmm_fault_populate(model.guest, PAGE, 1, GMM_ACCESS_WRITE, 0), 0);
	gmm_equal(gmm_evict(model.guest, 0, MODEL_PAGES, 0), 1);
	gmm_equal(model.memory.calls[MODEL_WRITE_OUT], 2);
	model_fini(&model);
	model_init(&model, MODEL_LAZY | MODEL_OWNER_UNPROTECTED);
	gmm_must(model_guest_read(&model, PAGE, &word));
	gmm_ok(try_write(&model, PAGE, 9));
	gmm_equal(gmm_evict(model.guest, 0, MODEL_PAGES, 0), 1);
	expect_word(&model, PAGE, 9);
	model_fini(&model);
}

static int evict_all(struct race *race)
{
	return (int)gmm_evict(race->model->guest, 0, MODEL_PAGES, 0);
}

struct stopped {
	struct race race;
	struct gmm_gate gate;
};

static void evict_until(struct stopped *evictor, struct model *model, enum gmm_step_point step)
{
	gmm_test_unhold_steps();
	gmm_gate_init(&evictor->gate, 1);
	gmm_test_hold_step(step, &evictor->gate);
	evictor->race.model = model;
	race_start(&evictor->race, evict_all);
	gmm_gate_wait_held(&evictor->gate);
}

/* W10: invalidate, wait, write-protect, write out, punch, wake. */
static void each_step_comes_in_its_turn(void)
{
	struct stopped evictor;
	struct gmm_page_info info;
	struct gmm_reader *reader;
	struct gmm_cache *cache;
	struct model model;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	gmm_must(!gmm_reader_register(model.guest, &reader));
	gmm_must(!gmm_cache_create(model.guest, &cache));
	gmm_equal(gmm_cache_activate(cache, PAGE * MODEL_PAGE_BYTES, 8, GMM_CACHE_HOST), 0);
	gmm_must(model_guest_write(&model, PAGE, 1));

	evict_until(&evictor, &model, GMM_STEP_EVICT_CLAIMED);
	gmm_section_enter(reader);
	gmm_ok(!gmm_cache_pointer(cache, 0, 8), "claimed under a valid cache");
	gmm_section_exit(reader);
	gmm_equal(gmm_page_query(model.guest, PAGE, &info), 0);
	gmm_ok(info.busy);
	gmm_ok(try_write(&model, PAGE, 2), "protected before it was owned");
	gmm_gate_open(&evictor.gate);
	gmm_equal(race_join(&evictor.race), 1);
	expect_word(&model, PAGE, 2);

	gmm_must(model_guest_write(&model, PAGE, 3));
	evict_until(&evictor, &model, GMM_STEP_EVICT_PROTECTED);
	gmm_ok(!try_write(&model, PAGE, 4), "about to be written out, and writable");
	gmm_equal(model.memory.store[PAGE], 2);
	gmm_gate_open(&evictor.gate);
	gmm_equal(race_join(&evictor.race), 1);
	expect_word(&model, PAGE, 3);

	gmm_must(model_guest_write(&model, PAGE, 5));
	evict_until(&evictor, &model, GMM_STEP_EVICT_WRITTEN);
	gmm_equal(model.memory.store[PAGE], 5);
	gmm_ok(model.memory.resident[PAGE] && !try_write(&model, PAGE, 6));
	gmm_gate_open(&evictor.gate);
	gmm_equal(race_join(&evictor.race), 1);

	gmm_must(model_guest_write(&model, PAGE, 7));
	evict_until(&evictor, &model, GMM_STEP_EVICT_RELEASED);
	gmm_equal(state_of(&model, PAGE), GMM_PAGE_EVICTED);
	gmm_equal(gmm_resident_pages(model.guest), 0);
	gmm_gate_open(&evictor.gate);
	gmm_equal(race_join(&evictor.race), 1);
	expect_word(&model, PAGE, 7);
	gmm_equal(gmm_cache_destroy(cache), 0);
	gmm_reader_unregister(reader);
	model_fini(&model);
}

/* Whatever fails, the page stays, with what it holds, and can be written and evicted afterwards. */
static void a_failure_keeps_the_page(void)
{
	static const enum model_op ops[] = { MODEL_LIVE_PROTECT, MODEL_WRITE_OUT, MODEL_DISCARD };
	struct model model;
	uint32_t i;

	for (i = 0; i < 3; i++) {
		model_init(&model, MODEL_LAZY | MODEL_OWNER | MODEL_LOG_DIRTY);
		gmm_must(model_guest_write(&model, PAGE, 1));
		gmm_must(model_guest_write(&model, PAGE + 1, 2));
		model.memory.fail_at[ops[i]] = 1;
		gmm_equal(gmm_evict(model.guest, 0, MODEL_PAGES, 0), -GMM_EIO);
		gmm_equal(gmm_resident_pages(model.guest), 2);
		gmm_equal(state_of(&model, PAGE), GMM_PAGE_PRESENT);
		expect_word(&model, PAGE, 1);
		expect_word(&model, PAGE + 1, 2);
		gmm_must(model_guest_write(&model, PAGE, 3));
		gmm_equal(gmm_evict(model.guest, 0, MODEL_PAGES, 0), 2);
		expect_word(&model, PAGE, 3);
		expect_word(&model, PAGE + 1, 2);
		model_fini(&model);
	}
}

/* The first run was written out, the second was not: what is where must be known page by page. */
static void a_failure_between_two_stretches_keeps_both(void)
{
	struct model model;
	uint64_t word;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	gmm_must(model_guest_write(&model, 3, 1));
	gmm_must(model_guest_read(&model, 4, &word));
	gmm_must(model_guest_write(&model, 5, 2));
	model.memory.fail_at[MODEL_WRITE_OUT] = 2;
	gmm_equal(gmm_evict(model.guest, 0, MODEL_PAGES, 0), -GMM_EIO);
	gmm_equal(gmm_resident_pages(model.guest), 3);
	gmm_must(model_guest_write(&model, 3, 9));
	gmm_equal(gmm_evict(model.guest, 0, MODEL_PAGES, 0), 3);
	expect_word(&model, 3, 9);
	expect_word(&model, 4, model_word(4));
	expect_word(&model, 5, 2);
	model_fini(&model);
}

static void only_cold_pages_go_when_that_is_asked(void)
{
	struct model model;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	gmm_must(model_guest_write(&model, 3, 1));
	gmm_must(model_guest_write(&model, 5, 2));
	gmm_equal(gmm_evict(model.guest, 0, MODEL_PAGES, GMM_EVICT_COLD), 0);
	gmm_equal(gmm_age(model.guest, 0, MODEL_PAGES, 0, NULL), 2);
	expect_word(&model, 5, 2);
	gmm_equal(gmm_evict(model.guest, 0, MODEL_PAGES, GMM_EVICT_COLD), 1);
	gmm_equal(state_of(&model, 3), GMM_PAGE_EVICTED);
	gmm_equal(state_of(&model, 5), GMM_PAGE_PRESENT);
	model_fini(&model);
}

static void what_is_wrong_is_refused(void)
{
	struct gmm_range range = model_frames(9, 1);
	struct gmm_reader *reader;
	struct model model;

	model_init(&model, 0);
	gmm_equal(gmm_evict(model.guest, 0, MODEL_PAGES, 0), -GMM_EOPNOTSUPP);
	gmm_equal(gmm_discard(model.guest, 0, 1), -GMM_EOPNOTSUPP);
	model_fini(&model);
	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	gmm_must(model_guest_write(&model, PAGE, 1));
	gmm_equal(gmm_evict(model.guest, 0, 1, 2), -GMM_EINVAL);
	gmm_equal(gmm_evict(model.guest, 0, 0, 0), -GMM_EINVAL);
	gmm_equal(gmm_evict(model.guest, ~(gmm_gfn_t)0, 2, 0), -GMM_ERANGE);
	gmm_equal(gmm_evict(model.guest, MODEL_PAGES, 1, 0), -GMM_ERANGE);
	gmm_equal(gmm_discard(model.guest, MODEL_PAGES, 1), -GMM_ERANGE);
	gmm_equal(gmm_discard(model.guest, ~(gmm_gfn_t)0, 2), -GMM_ERANGE);
	gmm_must(!gmm_reader_register(model.guest, &reader));
	gmm_section_enter(reader);
	gmm_equal(gmm_evict(model.guest, PAGE, 1, 0), -GMM_EDEADLK);
	gmm_equal(gmm_discard(model.guest, PAGE, 1), -GMM_EDEADLK);
	gmm_section_exit(reader);
	gmm_reader_unregister(reader);
	gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &range, 1, 0, NULL), 0);
	gmm_equal(gmm_evict(model.guest, PAGE, 1, 0), -GMM_EDEADLK);
	gmm_equal(gmm_discard(model.guest, PAGE, 1), -GMM_EDEADLK);
	gmm_invalidate_end(model.guest, GMM_RANGE_GFN, &range, 1);
	gmm_equal(gmm_resident_pages(model.guest), 1);
	expect_word(&model, PAGE, 1);
	model_fini(&model);
}

static void a_discarded_page_is_zero_and_dirty(void)
{
	struct model model;
	uint64_t bits, word;

	model_init(&model, MODEL_LAZY | MODEL_OWNER | MODEL_LOG_DIRTY);
	gmm_must(model_guest_write(&model, 3, 1));
	gmm_must(model_guest_write(&model, 4, 1));
	gmm_equal(gmm_evict(model.guest, 4, 1, 0), 1);
	gmm_must(model_guest_read(&model, 5, &word));
	gmm_equal(gmm_dirty_harvest(model.guest, 0, 0, MODEL_PAGES, &bits), 2);
	gmm_equal(gmm_discard(model.guest, 3, 4), 0);
	gmm_equal(gmm_resident_pages(model.guest), 0);
	gmm_equal(gmm_dirty_harvest(model.guest, 0, 0, MODEL_PAGES, &bits), 4);
	gmm_equal(bits, 0xf << 3);
	for (bits = 3; bits < 7; bits++) {
		gmm_equal(state_of(&model, (uint32_t)bits), GMM_PAGE_ZERO);
		expect_word(&model, (uint32_t)bits, 0);
	}
	gmm_must(model_guest_write(&model, 4, 8));
	gmm_equal(gmm_evict(model.guest, 0, MODEL_PAGES, 0), 4);
	gmm_equal(state_of(&model, 3), GMM_PAGE_ZERO);
	expect_word(&model, 4, 8);
	expect_word(&model, 7, model_word(7));
	model_fini(&model);
}

static void a_discard_that_fails_keeps_the_page(void)
{
	static const enum model_op ops[] = { MODEL_LIVE_PROTECT, MODEL_DISCARD };
	struct model model;
	uint32_t i;

	for (i = 0; i < 2; i++) {
		model_init(&model, MODEL_LAZY | MODEL_OWNER);
		gmm_must(model_guest_write(&model, 3, 1));
		model.memory.fail_at[ops[i]] = 1;
		gmm_equal(gmm_discard(model.guest, 2, 4), -GMM_EIO);
		gmm_equal(state_of(&model, 3), GMM_PAGE_PRESENT);
		expect_word(&model, 3, 1);
		gmm_equal(gmm_discard(model.guest, 2, 4), 0);
		expect_word(&model, 3, 0);
		model_fini(&model);
	}
}

/* More holes than one batch takes, runs longer than one claim, tables on the way. */
static void scattered_pages_all_go(void)
{
	struct wide *wide = wide_create(true, 500, 0);
	uint32_t p, wanted = 0;

	for (p = 0; p < WIDE_PAGES; p++) {
		if (p > 400 ? p % 200 > 120 : p % 3 == 0)
			continue;
		gmm_equal(gmm_fault_populate(wide->guest, 500 + p, 1,
					     p % 2 ? GMM_ACCESS_WRITE : GMM_ACCESS_READ, 0),
			  0);
		if (p % 2)
			wide_write(wide, p, 5 * p);
		wanted++;
	}
	gmm_equal(gmm_evict(wide->guest, 500, WIDE_PAGES, 0), wanted);
	gmm_equal(gmm_resident_pages(wide->guest), 0);
	gmm_equal(gmm_fault_populate(wide->guest, 500, WIDE_PAGES, GMM_ACCESS_READ, 0), 0);
	for (p = 0; p < WIDE_PAGES; p++) {
		bool written = p % 2 && !(p > 400 ? p % 200 > 120 : p % 3 == 0);

		gmm_ok(wide->word[p] == (written ? 5 * p : model_word(p)), "page %u", p);
	}
	wide_destroy(wide);
}

#define CASE(name)          \
	{                   \
#name, name \
	}

const struct gmm_test_case gmm_test_cases[] = {
	CASE(what_was_written_goes_out_and_comes_back),
	CASE(clean_pages_are_not_written_out),
	CASE(each_step_comes_in_its_turn),
	CASE(a_failure_keeps_the_page),
	CASE(a_failure_between_two_stretches_keeps_both),
	CASE(only_cold_pages_go_when_that_is_asked),
	CASE(what_is_wrong_is_refused),
	CASE(a_discarded_page_is_zero_and_dirty),
	CASE(a_discard_that_fails_keeps_the_page),
	CASE(scattered_pages_all_go),
	{ NULL, NULL },
};
