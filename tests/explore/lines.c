/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The model of write-back caches: what it does, that what happens by itself is looked at wherever it
 * can happen, and that each step that a procedure leaves out is found.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include <guestmm/error.h>

#include <gmm_port/alloc.h>

#include "lines.h"
#include "schedule.h"
#include "search.h"

#define CHECK(condition)                                              \
	do {                                                          \
		if (!(condition))                                     \
			gmm_sim_fail("%d: %s", __LINE__, #condition); \
	} while (0)
#define GUEST 1u
#define ASID 1u

static uint64_t load(struct lines *lines, uint32_t cpu, uint32_t view)
{
	uint64_t word = 0;

	CHECK(lines_load(lines, cpu, view, 0, NULL, &word));
	return word;
}

static void store(struct lines *lines, uint32_t cpu, uint32_t view, uint64_t word)
{
	CHECK(lines_store(lines, cpu, view, 0, NULL, word));
}

static void begin(struct lines *lines, uint32_t traits, uint32_t write_backs)
{
	lines_init(lines, traits, write_backs);
	CHECK(!lines_asid_activate(lines, ASID, GUEST));
	lines_give(lines, 0, GUEST);
	lines_give(lines, 1, GUEST);
}

static void views_are_apart(void *arg)
{
	struct lines lines;
	uint32_t mapped = 0;

	begin(&lines, 0, 0);
	store(&lines, 0, ASID, 7);
	CHECK(load(&lines, 0, ASID) == 7);
	CHECK(load(&lines, 1, ASID) == 7);
	CHECK(load(&lines, 1, LINES_PLAIN) == 0);
	store(&lines, 1, ASID, 8);
	CHECK(load(&lines, 0, ASID) == 8);
	CHECK(!lines_store(&lines, 0, ASID, 0, &mapped, 9));
	CHECK(load(&lines, 0, ASID) == 8);
	/* In memory it is encrypted, and the plain copy stays as it was. */
	lines_wbnoinvd(&lines, 1);
	CHECK(lines_memory(&lines, 0, GUEST) == 8);
	CHECK(lines_memory(&lines, 0, LINES_HOST) != 8);
	CHECK(load(&lines, 1, LINES_PLAIN) == 0);
	lines_wbinvd(&lines, 1);
	CHECK(load(&lines, 1, LINES_PLAIN) == lines_memory(&lines, 0, LINES_HOST));
	lines_fini(&lines);
}

static void flushes_reach_what_they_say(void *arg)
{
	struct lines lines;

	begin(&lines, 0, 0);
	store(&lines, 0, ASID, 7);
	lines_clflush(&lines, 0);
	CHECK(lines_memory(&lines, 0, GUEST) != 7);
	lines_wbnoinvd_on(&lines, LINES_ALL_CPUS & ~1u);
	CHECK(lines_memory(&lines, 0, GUEST) != 7);
	CHECK(!lines_vm_page_flush(&lines, 0, ASID));
	CHECK(lines_memory(&lines, 0, GUEST) == 7);
	store(&lines, 2, ASID, 8);
	lines_wbnoinvd_on(&lines, 4);
	CHECK(lines_memory(&lines, 0, GUEST) == 8);
	CHECK(lines.lines[0].copies[2][ASID].cached);
	CHECK(lines.interrupts[0] == 0 && lines.interrupts[1] == 1 && lines.interrupts[2] == 2);
	lines_fini(&lines);

	begin(&lines, LINES_NO_WBNOINVD, 0);
	store(&lines, 0, ASID, 7);
	lines_wbnoinvd(&lines, 0);
	CHECK(lines_memory(&lines, 0, GUEST) == 7);
	CHECK(!lines.lines[0].copies[0][ASID].cached);
	lines_fini(&lines);

	begin(&lines, LINES_PAGE_FLUSH_FAULTS, 0);
	store(&lines, 0, ASID, 7);
	CHECK(lines_vm_page_flush(&lines, 0, ASID) == -GMM_EFAULT);
	CHECK(lines_memory(&lines, 0, GUEST) != 7);
	lines_fini(&lines);
}

static void coherent_views_are_one(void *arg)
{
	struct lines lines;

	begin(&lines, LINES_COHERENT, 0);
	store(&lines, 0, ASID, 7);
	CHECK(load(&lines, 1, LINES_PLAIN) == lines_memory(&lines, 0, LINES_HOST));
	CHECK(lines_memory(&lines, 0, GUEST) == 7);
	store(&lines, 0, ASID, 8);
	lines_clflush(&lines, 0);
	CHECK(lines_memory(&lines, 0, GUEST) == 8);
	store(&lines, 0, ASID, 9);
	lines_give(&lines, 0, LINES_HOST);
	store(&lines, 1, LINES_PLAIN, 10);
	lines_fini(&lines);
	CHECK(lines_memory(&lines, 0, LINES_HOST) == 10);
}

static void firmware_wants_its_order(void *arg)
{
	struct lines lines;

	begin(&lines, 0, 0);
	CHECK(lines_asid_activate(&lines, ASID, 2) == -GMM_EBUSY);
	CHECK(lines_df_flush(&lines) == -GMM_EAGAIN);
	lines_wbinvd_on(&lines, LINES_ALL_CPUS);
	lines_asid_deactivate(&lines, ASID);
	CHECK(lines_df_flush(&lines) == -GMM_EAGAIN);
	lines_wbnoinvd_on(&lines, LINES_ALL_CPUS);
	CHECK(lines_df_flush(&lines) == -GMM_EAGAIN);
	lines_wbinvd_on(&lines, LINES_ALL_CPUS & ~2u);
	CHECK(lines_df_flush(&lines) == -GMM_EAGAIN);
	lines_wbinvd(&lines, 1);
	CHECK(lines_asid_activate(&lines, ASID, 2) == -GMM_EBUSY);
	CHECK(!lines_df_flush(&lines));
	CHECK(!lines_asid_activate(&lines, ASID, 2));
	lines_fini(&lines);
}

static void run(void (*program)(void *arg), bool fails, const char *text)
{
	struct gmm_sim_config config = { .seed = 1 };
	struct gmm_sim_result result;
	int status = gmm_sim_run(&config, program, NULL, &result);

	if (!!status != fails || (fails && !strstr(result.text, text)))
		print_message("%s\n", status ? result.text : "it does not fail");
	assert_int_equal(!!status, fails);
	assert_true(!fails || strstr(result.text, text));
}

static void the_model_does_what_machines_do(void **state)
{
	run(views_are_apart, false, NULL);
	run(flushes_reach_what_they_say, false, NULL);
	run(coherent_views_are_one, false, NULL);
	run(firmware_wants_its_order, false, NULL);
}

static void leaves_a_line_to_the_end(void *arg)
{
	struct lines lines;

	begin(&lines, 0, 0);
	store(&lines, 0, ASID, 7);
	lines_give(&lines, 0, LINES_HOST);
	lines_fini(&lines);
}

static void stores_to_others_memory(void *arg)
{
	struct lines lines;

	begin(&lines, 0, 0);
	store(&lines, 0, LINES_PLAIN, 7);
	lines_fini(&lines);
}

static void is_not_in_the_mask(void *arg)
{
	uint32_t ran = 1;
	struct lines lines;

	begin(&lines, 0, 0);
	lines_watch(&lines, ASID, 0, &ran);
	store(&lines, 0, ASID, 7);
	store(&lines, 1, ASID, 8);
	lines_fini(&lines);
}

static void is_no_more_in_the_mask(void *arg)
{
	uint32_t ran = 1;
	struct lines lines;

	begin(&lines, 0, 0);
	lines_watch(&lines, ASID, 0, &ran);
	store(&lines, 0, ASID, 7);
	ran = 0;
	lines_memory(&lines, 1, GUEST);
	lines_fini(&lines);
}

static void leaves_a_clean_line(void *arg)
{
	struct lines lines;

	begin(&lines, LINES_FIRMWARE_TRUSTS, 0);
	store(&lines, 0, ASID, 7);
	lines_wbnoinvd(&lines, 0);
	lines_asid_deactivate(&lines, ASID);
	CHECK(!lines_df_flush(&lines));
	CHECK(!lines_asid_activate(&lines, ASID, 2));
	lines_fini(&lines);
}

static void what_must_hold_is_checked(void **state)
{
	run(leaves_a_line_to_the_end, true,
	    "CPU 0 writes a line of guest 1 back over memory of the host");
	run(stores_to_others_memory, true, "CPU 0: the host stores to memory of guest 1");
	run(is_not_in_the_mask, true, "CPU 1 has a dirty line of ASID 1 and is not in its masks");
	run(is_no_more_in_the_mask, true, "CPU 0 has a dirty line of ASID 1");
	run(leaves_a_clean_line, true, "ASID 1 becomes that of guest 2, and CPU 0 has a line");
}

/* Threads look at memory while lines are written back by themselves. */
struct shared {
	struct lines lines;
	uint64_t seen[3];
};

#define OUTCOMES 18u
static bool outcome_seen[OUTCOMES];

static uint64_t number_of(uint64_t word)
{
	return word == 7 || word == 5 ? 1 : word == 8 ? 2 : 0;
}

static void looks(void *arg)
{
	struct shared *shared = arg;

	shared->seen[0] = number_of(lines_memory(&shared->lines, 0, GUEST));
	shared->seen[1] = number_of(lines_memory(&shared->lines, 1, GUEST));
	shared->seen[2] = number_of(lines_memory(&shared->lines, 0, GUEST));
}

static void stores_again(void *arg)
{
	store(&((struct shared *)arg)->lines, 1, ASID, 8);
}

static void look_and_store(uint32_t write_backs)
{
	struct shared *shared = gmm_zalloc(sizeof(*shared));
	struct gmm_sim_thread *threads[2];

	begin(&shared->lines, 0, write_backs);
	store(&shared->lines, 0, ASID, 7);
	CHECK(lines_store(&shared->lines, 1, ASID, 1, NULL, 5));
	threads[0] = gmm_sim_thread_start(looks, shared, "looks");
	threads[1] = gmm_sim_thread_start(stores_again, shared, "stores");
	gmm_sim_checkpoint();
	gmm_sim_thread_join(threads[0]);
	gmm_sim_thread_join(threads[1]);
	lines_fini(&shared->lines);
	outcome_seen[shared->seen[0] * 6 + shared->seen[1] * 3 + shared->seen[2]] = true;
	gmm_free(shared, sizeof(*shared));
}

static void three_events(void *arg)
{
	look_and_store(3);
}

static void one_event(void *arg)
{
	look_and_store(1);
}

static uint32_t outcomes_of(const struct explore_request *request)
{
	struct explore_findings findings;
	uint32_t i, count = 0;

	memset(outcome_seen, 0, sizeof(outcome_seen));
	explore_search(request, &findings);
	assert_false(findings.failed);
	assert_true(findings.complete || request->schedules);
	explore_findings_free(&findings);
	for (i = 0; i < OUTCOMES; i++)
		count += outcome_seen[i];
	return count;
}

/*
 * What is seen of line 0 goes from nothing to 7 to 8 or to 8 at once, in each of 6 ways, and line 1
 * has been written back or not. With one event: line 0 in 5 ways, or line 1.
 */
static void what_happens_by_itself_happens_at_every_point(void **state)
{
	static const uint32_t bounds[] = { 0, 1, 2, EXPLORE_UNBOUNDED };
	struct explore_scenario three = { .name = "three", .run = three_events };
	struct explore_scenario one = { .name = "one", .run = one_event };
	uint32_t i, way;

	for (i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
		for (way = 0; way < 4; way++) {
			struct explore_request request = { .scenario = &three,
							   .preemptions = bounds[i],
							   .store_buffers = way == 3,
							   .no_seen = way == 1,
							   .sleep_sets = way == 2 };

			/* Too many to go through each of them. */
			if (!(request.no_seen && i > 1))
				assert_int_equal(outcomes_of(&request), 12);
			request.scenario = &one;
			assert_int_equal(outcomes_of(&request), 6);
		}
	}
}

static void it_happens_at_random_too(void **state)
{
	struct explore_scenario three = { .name = "three", .run = three_events };
	struct explore_request request = { .scenario = &three, .seed = 1, .schedules = 20000 };

	request.mode = EXPLORE_RANDOM;
	assert_int_equal(outcomes_of(&request), 12);
	request.mode = EXPLORE_PRIORITIES;
	assert_in_range(outcomes_of(&request), 6, 12);
}

static bool written_back;

static void loads_until_written_back(void *arg)
{
	struct lines lines;
	uint32_t i;

	begin(&lines, 0, 1);
	store(&lines, 0, ASID, 7);
	for (i = 0; i < 4; i++)
		load(&lines, 0, ASID);
	written_back = lines_memory(&lines, 0, GUEST) == 7;
	lines_fini(&lines);
}

static void seeds_decide_about_it(void **state)
{
	uint32_t seed, count = 0;

	for (seed = 1; seed <= 100; seed++) {
		struct gmm_sim_config config = { .seed = seed };
		struct gmm_sim_result result;

		assert_int_equal(gmm_sim_run(&config, loads_until_written_back, NULL, &result), 0);
		count += written_back;
	}
	assert_in_range(count, 10, 90);
}

static bool fails_again(const struct explore_request *request,
			const struct explore_findings *findings, const char *text)
{
	struct explore_request replay = *request;
	struct explore_findings again;
	bool found;

	replay.mode = EXPLORE_REPLAY;
	replay.choices = findings->choices;
	replay.choice_count = findings->choice_count;
	explore_search(&replay, &again);
	found = again.failed && strstr(again.result.text, text);
	explore_findings_free(&again);
	return found;
}

static void a_step_that_is_left_out_is_found(void **state)
{
	const struct explore_scenario *scenario;

	for (scenario = explore_lines_defects; scenario->name; scenario++) {
		struct explore_request request = { .scenario = scenario,
						   .preemptions = scenario->preemptions };
		struct explore_findings findings;

		explore_search(&request, &findings);
		if (!findings.failed || !strstr(findings.result.text, scenario->what))
			print_message("%s: %s\n", scenario->name,
				      findings.failed ? findings.result.text : "is not found");
		assert_true(findings.failed);
		assert_non_null(strstr(findings.result.text, scenario->what));
		assert_true(fails_again(&request, &findings, scenario->what));
		explore_shrink(&request, &findings);
		assert_true(fails_again(&request, &findings, ""));
		explore_findings_free(&findings);
	}
}

/* Nothing of it is left at the end: only what happens by itself in between shows it. */
static void a_defect_that_nothing_else_shows_is_found(void **state)
{
	const struct explore_scenario *scenario = explore_lines_defects;
	struct explore_request request = { 0 };
	struct explore_findings findings;
	uint32_t i, events = 0;

	while (strcmp(scenario->name, "lines-no-write-back-returned") != 0)
		scenario++;
	request.scenario = scenario;
	request.preemptions = scenario->preemptions;
	explore_search(&request, &findings);
	assert_true(findings.failed);
	explore_shrink(&request, &findings);
	for (i = 0; i < findings.choice_count; i++)
		events += (findings.choices[i] & GMM_SIM_CHOOSE_EVENT) != 0;
	assert_int_equal(events, 1);
	explore_findings_free(&findings);
}

/* Threads, stores, early wakes and events. */
static void schedules_with_events_are_files(void **state)
{
	uint8_t choices[] = { 1,
			      2 | GMM_SIM_CHOOSE_EVENT,
			      0,
			      7 | GMM_SIM_CHOOSE_EVENT,
			      1 | GMM_SIM_CHOOSE_STORE,
			      2 | GMM_SIM_CHOOSE_WAKE };
	struct explore_request request = { .scenario = explore_scenario_find("lines-reclaim") };
	struct explore_findings findings = { .choices = choices, .choice_count = sizeof(choices) };
	struct explore_schedule schedule;
	char path[512];

	assert_non_null(request.scenario);
	snprintf(path, sizeof(path), "%s/schedule", getenv("GMM_TEST_TMP"));
	assert_int_equal(explore_schedule_write(path, &request, &findings), 0);
	assert_int_equal(explore_schedule_read(path, &schedule), 0);
	assert_ptr_equal(schedule.request.scenario, request.scenario);
	assert_int_equal(schedule.request.choice_count, sizeof(choices));
	assert_memory_equal(schedule.choices, choices, sizeof(choices));
	free(schedule.choices);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_model_does_what_machines_do),
		cmocka_unit_test(what_must_hold_is_checked),
		cmocka_unit_test(what_happens_by_itself_happens_at_every_point),
		cmocka_unit_test(it_happens_at_random_too),
		cmocka_unit_test(seeds_decide_about_it),
		cmocka_unit_test(a_step_that_is_left_out_is_found),
		cmocka_unit_test(a_defect_that_nothing_else_shows_is_found),
		cmocka_unit_test(schedules_with_events_are_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
