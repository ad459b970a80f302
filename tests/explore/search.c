/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The search over small programs whose outcomes are known: what is left out never leaves out an
 * outcome or a failure, at any bound.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include <gmm_port/alloc.h>
#include <gmm_port/wait.h>

#include "search.h"

#define OUTCOMES 4096u

/* What the compiler calls for a plain access with -fsanitize=thread. */
void __tsan_read8(void *pointer);
void __tsan_write8(void *pointer);

/* What the threads of a program share; in memory that each schedule begins with anew. */
struct shared {
	uint64_t words[4];
	uint64_t seen[4]; /* by threads, told at the end */
	struct gmm_spinlock locks[2];
	struct gmm_waitqueue queue;
	uint64_t *block;
};

/* Kept over all schedules of a search. */
static bool outcome_seen[OUTCOMES];
static uint32_t outcomes;

static void outcome(uint64_t number)
{
	if (number >= OUTCOMES)
		gmm_sim_fail("outcome %llu", (unsigned long long)number);
	outcomes += !outcome_seen[number];
	outcome_seen[number] = true;
}

static void play(void (*const *threads)(void *), uint32_t count, uint64_t (*tell)(struct shared *))
{
	struct shared *shared = gmm_zalloc(sizeof(*shared));
	struct gmm_sim_thread *started[4];
	uint32_t i;

	gmm_spin_init(&shared->locks[0], 1);
	gmm_spin_init(&shared->locks[1], 2);
	gmm_waitqueue_init(&shared->queue);
	shared->block = gmm_zalloc(64);
	for (i = 0; i < count; i++)
		started[i] = gmm_sim_thread_start(threads[i], shared, "thread");
	gmm_sim_checkpoint();
	for (i = 0; i < count; i++)
		gmm_sim_thread_join(started[i]);
	if (tell)
		outcome(tell(shared));
	if (shared->block)
		gmm_free(shared->block, 64);
	gmm_waitqueue_destroy(&shared->queue);
	gmm_free(shared, sizeof(*shared));
}

#define PROGRAM(program, tell, ...)                                        \
	static void program##_run(void *arg)                               \
	{                                                                  \
		static void (*const threads[])(void *) = { __VA_ARGS__ };  \
                                                                           \
		(void)arg;                                                 \
		play(threads, sizeof(threads) / sizeof(threads[0]), tell); \
	}                                                                  \
	static const struct explore_scenario program = { .name = #program, .run = program##_run };

static uint64_t two_seen(struct shared *shared)
{
	return shared->seen[0] * 8 + shared->seen[1];
}

static void add_some(void *arg, uint64_t weight)
{
	struct shared *shared = arg;
	uint32_t i;

	for (i = 0; i < 2; i++)
		gmm_store_relaxed(&shared->words[0],
				  gmm_load_relaxed(&shared->words[0]) * 2 + weight);
}

static void adds_none(void *arg)
{
	add_some(arg, 0);
}

static void adds_one(void *arg)
{
	add_some(arg, 1);
}

static uint64_t first_word(struct shared *shared)
{
	return shared->words[0] % OUTCOMES;
}

PROGRAM(lost_updates, first_word, adds_none, adds_one)
PROGRAM(lost_updates_of_three, first_word, adds_none, adds_one, adds_one)

static void ticks(void *arg)
{
	uint32_t i;

	for (i = 0; i < 4; i++)
		gmm_fetch_add(&((struct shared *)arg)->words[0], (uint64_t)1);
}

PROGRAM(tickets, first_word, ticks, ticks)

static void stores_0_loads_1(void *arg)
{
	struct shared *shared = arg;

	gmm_store_relaxed(&shared->words[0], (uint64_t)1);
	shared->seen[0] = gmm_load_relaxed(&shared->words[1]);
}

static void stores_1_loads_0(void *arg)
{
	struct shared *shared = arg;

	gmm_store_relaxed(&shared->words[1], (uint64_t)1);
	shared->seen[1] = gmm_load_relaxed(&shared->words[0]);
}

PROGRAM(store_buffering, two_seen, stores_0_loads_1, stores_1_loads_0)

static void stores_0_fence_loads_1(void *arg)
{
	struct shared *shared = arg;

	gmm_store_relaxed(&shared->words[0], (uint64_t)1);
	gmm_fence();
	shared->seen[0] = gmm_load_relaxed(&shared->words[1]);
}

static void stores_1_fence_loads_0(void *arg)
{
	struct shared *shared = arg;

	gmm_store_relaxed(&shared->words[1], (uint64_t)1);
	gmm_fence();
	shared->seen[1] = gmm_load_relaxed(&shared->words[0]);
}

PROGRAM(store_buffering_fenced, two_seen, stores_0_fence_loads_1, stores_1_fence_loads_0)

/* Giving a lock back is no barrier. */
static void locked_store_0_loads_1(void *arg)
{
	struct shared *shared = arg;

	gmm_spin_lock(&shared->locks[0]);
	gmm_store_relaxed(&shared->words[0], (uint64_t)1);
	gmm_spin_unlock(&shared->locks[0]);
	shared->seen[0] = gmm_load_relaxed(&shared->words[1]);
}

static void locked_store_1_loads_0(void *arg)
{
	struct shared *shared = arg;

	gmm_spin_lock(&shared->locks[1]);
	gmm_store_relaxed(&shared->words[1], (uint64_t)1);
	gmm_spin_unlock(&shared->locks[1]);
	shared->seen[1] = gmm_load_relaxed(&shared->words[0]);
}

PROGRAM(store_buffering_locked, two_seen, locked_store_0_loads_1, locked_store_1_loads_0)

static void sends(void *arg)
{
	struct shared *shared = arg;

	gmm_store_relaxed(&shared->words[0], (uint64_t)1);
	gmm_store_relaxed(&shared->words[1], (uint64_t)1);
}

static void receives(void *arg)
{
	struct shared *shared = arg;

	shared->seen[0] = gmm_load_relaxed(&shared->words[1]);
	shared->seen[1] = gmm_load_relaxed(&shared->words[0]);
}

PROGRAM(message_passing, two_seen, sends, receives)

static void waits_to_receive(void *arg)
{
	struct shared *shared = arg;

	while (!gmm_load_relaxed(&shared->words[1]))
		gmm_cpu_relax(0);
	shared->seen[0] = 1;
	shared->seen[1] = gmm_load_relaxed(&shared->words[0]);
}

static void writes_elsewhere(void *arg)
{
	gmm_store_relaxed(&((struct shared *)arg)->words[2], (uint64_t)1);
}

PROGRAM(message_spinning, two_seen, sends, waits_to_receive, writes_elsewhere)

/* The first word may be written between its load and the relaxing: then another turn sees it. */
static void waits_for_either(void *arg)
{
	struct shared *shared = arg;

	for (;;) {
		if (gmm_load_relaxed(&shared->words[0])) {
			shared->seen[0] = 1;
			return;
		}
		if (gmm_load_relaxed(&shared->words[1])) {
			shared->seen[0] = 2;
			return;
		}
		gmm_cpu_relax(0);
	}
}

static void writes_first(void *arg)
{
	gmm_store_relaxed(&((struct shared *)arg)->words[0], (uint64_t)1);
}

PROGRAM(spinning_on_two_words, two_seen, waits_for_either, writes_first)
PROGRAM(spinning_in_vain, NULL, waits_for_either, writes_elsewhere)

static void waits_once(void *arg)
{
	struct shared *shared = arg;

	gmm_spin_lock(&shared->locks[0]);
	if (!gmm_load_relaxed(&shared->words[0]))
		gmm_waitqueue_wait(&shared->queue, &shared->locks[0]);
	shared->seen[0] = gmm_load_relaxed(&shared->words[0]);
	gmm_spin_unlock(&shared->locks[0]);
}

static void sets_and_wakes(void *arg)
{
	struct shared *shared = arg;

	gmm_spin_lock(&shared->locks[0]);
	gmm_store_relaxed(&shared->words[0], (uint64_t)1);
	gmm_waitqueue_wake_all(&shared->queue);
	gmm_spin_unlock(&shared->locks[0]);
}

PROGRAM(waits_without_a_loop, two_seen, waits_once, sets_and_wakes)

/* The flag is set outside the lock, and the waker looks whether somebody waits: lost. */
static void waits_lost(void *arg)
{
	struct shared *shared = arg;

	if (gmm_load_relaxed(&shared->words[0]))
		return;
	gmm_spin_lock(&shared->locks[0]);
	gmm_waitqueue_wait(&shared->queue, &shared->locks[0]);
	gmm_spin_unlock(&shared->locks[0]);
}

PROGRAM(lost_wake, NULL, waits_lost, sets_and_wakes)

static void waits_for_1(void *arg)
{
	struct shared *shared = arg;

	gmm_store_relaxed(&shared->words[0], (uint64_t)1);
	while (!gmm_load_relaxed(&shared->words[1]))
		gmm_cpu_relax(0);
}

static void waits_for_0(void *arg)
{
	struct shared *shared = arg;

	if (gmm_load_relaxed(&shared->words[0]))
		while (gmm_load_relaxed(&shared->words[0]))
			gmm_cpu_relax(0);
	gmm_store_relaxed(&shared->words[1], (uint64_t)1);
}

PROGRAM(each_waits_for_the_other, NULL, waits_for_1, waits_for_0)

static void takes_and_frees(void *arg)
{
	struct shared *shared = arg;
	uint64_t *block = gmm_load_relaxed(&shared->block);

	if (block) {
		gmm_store_relaxed(&shared->block, NULL);
		gmm_free(block, 64);
	}
}

static void uses_the_end(void *arg)
{
	struct shared *shared = arg;
	uint64_t *block = gmm_load_relaxed(&shared->block);

	if (block)
		shared->seen[0] = gmm_load_relaxed(&block[7]);
}

static void frees_at_once(void *arg)
{
	struct shared *shared = arg;
	uint64_t *block = gmm_exchange(&shared->block, NULL);

	if (block)
		gmm_free(block, 64);
}

static void forgets(void *arg)
{
	struct shared *shared = arg;

	if (gmm_load_relaxed(&shared->words[0]))
		(void)gmm_exchange(&shared->block, NULL);
}

PROGRAM(freed_twice, NULL, takes_and_frees, takes_and_frees)
PROGRAM(freed_once, NULL, frees_at_once, frees_at_once)
PROGRAM(used_after_free, NULL, uses_the_end, frees_at_once)
PROGRAM(leaked, NULL, forgets, sends)

static void plain_store_then_flag(void *arg, bool release)
{
	struct shared *shared = arg;

	__tsan_write8(&shared->words[0]);
	shared->words[0] = 1;
	if (release)
		gmm_store_release(&shared->words[1], (uint64_t)1);
	else
		gmm_store_relaxed(&shared->words[1], (uint64_t)1);
}

static void sends_released(void *arg)
{
	plain_store_then_flag(arg, true);
}

static void sends_relaxed(void *arg)
{
	plain_store_then_flag(arg, false);
}

static void sends_fenced(void *arg)
{
	struct shared *shared = arg;

	__tsan_write8(&shared->words[0]);
	shared->words[0] = 1;
	gmm_fence();
	gmm_store_relaxed(&shared->words[1], (uint64_t)1);
}

static void receives_plain(void *arg)
{
	struct shared *shared = arg;

	if (!gmm_load_acquire(&shared->words[1]))
		return;
	__tsan_read8(&shared->words[0]);
	shared->seen[0] = shared->words[0];
}

PROGRAM(plain_released, NULL, sends_released, receives_plain)
PROGRAM(plain_relaxed, NULL, sends_relaxed, receives_plain)
PROGRAM(plain_fenced, NULL, sends_fenced, receives_plain)

/* A compare-exchange that does not write publishes nothing. */
static void fails_to_exchange(void *arg)
{
	struct shared *shared = arg;
	uint64_t expected = 7;

	__tsan_write8(&shared->words[0]);
	shared->words[0] = 1;
	gmm_compare_exchange(&shared->words[1], &expected, (uint64_t)1);
	gmm_store_relaxed(&shared->words[2], (uint64_t)1);
}

static void receives_third(void *arg)
{
	struct shared *shared = arg;

	gmm_fetch_add(&shared->words[1], (uint64_t)1);
	if (!gmm_load_relaxed(&shared->words[2]))
		return;
	__tsan_read8(&shared->words[0]);
	shared->seen[0] = shared->words[0];
}

PROGRAM(plain_exchange_fails, NULL, fails_to_exchange, receives_third)

static const struct explore_scenario *const good_programs[] = {
	&lost_updates,		 &lost_updates_of_three,  &tickets,	    &store_buffering,
	&store_buffering_fenced, &store_buffering_locked, &message_passing, &message_spinning,
	&waits_without_a_loop,	 &spinning_on_two_words,
};
static const struct explore_scenario *const bad_programs[] = {
	&lost_wake, &each_waits_for_the_other, &freed_twice, &used_after_free,
	&leaked,    &spinning_in_vain,
};

static struct explore_request request_of(const struct explore_scenario *program, uint32_t bound)
{
	return (struct explore_request){ .scenario = program, .preemptions = bound };
}

static uint32_t outcomes_of(const struct explore_request *request,
			    struct explore_findings *findings)
{
	memset(outcome_seen, 0, sizeof(outcome_seen));
	outcomes = 0;
	explore_search(request, findings);
	return outcomes;
}

/* Outcomes of a search that is complete, with nothing left out or not. */
static uint32_t complete_outcomes(struct explore_request request, bool no_seen, bool sleep_sets)
{
	struct explore_findings findings;
	uint32_t count;

	request.no_seen = no_seen;
	request.sleep_sets = sleep_sets;
	count = outcomes_of(&request, &findings);
	if (findings.failed)
		print_message("%s: %s\n", request.scenario->name, findings.result.text);
	assert_false(findings.failed);
	assert_true(findings.complete);
	explore_findings_free(&findings);
	return count;
}

static const uint32_t bounds[] = { 0, 1, 2, 3, EXPLORE_UNBOUNDED };

#define FOR_EACH(i, array) for (i = 0; i < sizeof(array) / sizeof((array)[0]); i++)

static void same_outcomes(struct explore_request request)
{
	bool all[OUTCOMES];
	uint32_t brute = complete_outcomes(request, true, false);

	memcpy(all, outcome_seen, sizeof(all));
	assert_int_equal(complete_outcomes(request, false, false), brute);
	assert_memory_equal(all, outcome_seen, sizeof(all));
	if (request.preemptions != EXPLORE_UNBOUNDED || request.store_buffers)
		return;
	assert_int_equal(complete_outcomes(request, false, true), brute);
	assert_memory_equal(all, outcome_seen, sizeof(all));
}

static void leaving_out_states_loses_no_outcome(void **state)
{
	uint32_t program, bound, kind;

	FOR_EACH(program, good_programs)
	{
		FOR_EACH(bound, bounds)
		{
			for (kind = 0; kind < 4; kind++) {
				struct explore_request request =
					request_of(good_programs[program], bounds[bound]);

				/* Too many to go through each of them. */
				if (bounds[bound] == EXPLORE_UNBOUNDED &&
				    (good_programs[program] == &lost_updates_of_three ||
				     good_programs[program] == &message_spinning))
					continue;
				if (bounds[bound] > 2 &&
				    good_programs[program] == &lost_updates_of_three)
					continue;
				request.store_buffers = kind & 1;
				request.early_wakes = kind >> 1;
				same_outcomes(request);
			}
		}
	}
}

static uint64_t schedules_of(const struct explore_scenario *program)
{
	struct explore_request request = request_of(program, EXPLORE_UNBOUNDED);
	struct explore_findings findings;

	request.no_seen = true;
	explore_search(&request, &findings);
	assert_true(findings.complete);
	explore_findings_free(&findings);
	return findings.schedules;
}

static void counts_of_orders_are_known(void **state)
{
	/* Two threads of a start, four additions and an end: 12! / (6! 6!). */
	assert_int_equal(schedules_of(&tickets), 924);
	/* Of a start, two accesses and an end: 8! / (4! 4!). */
	assert_int_equal(schedules_of(&message_passing), 70);
}

static bool has_outcome(const struct explore_scenario *program, bool store_buffers, uint32_t number)
{
	struct explore_request request = request_of(program, EXPLORE_UNBOUNDED);

	request.store_buffers = store_buffers;
	complete_outcomes(request, false, false);
	return outcome_seen[number];
}

static void outcomes_are_those_of_the_memory_model(void **state)
{
	/* Both loads find 0: with delayed stores only, and not past a fence. */
	assert_false(has_outcome(&store_buffering, false, 0));
	assert_true(has_outcome(&store_buffering, true, 0));
	assert_false(has_outcome(&store_buffering_fenced, true, 0));
	assert_true(has_outcome(&store_buffering_locked, true, 0));
	assert_false(has_outcome(&store_buffering_locked, false, 0));
	/* The flag without the message: never, for stores are seen in their order. */
	assert_false(has_outcome(&message_passing, true, 8));
	assert_true(has_outcome(&message_passing, true, 1));
	assert_false(has_outcome(&message_spinning, true, 8));
}

static void a_wait_may_end_by_itself(void **state)
{
	struct explore_request request = request_of(&waits_without_a_loop, EXPLORE_UNBOUNDED);

	complete_outcomes(request, false, false);
	assert_false(outcome_seen[0]);
	request.early_wakes = 1;
	complete_outcomes(request, false, false);
	assert_true(outcome_seen[0]);
}

/* Whether it is found; a schedule that fails does so again, and when it is made shorter. */
static bool fails(struct explore_request request)
{
	struct explore_findings findings, again;
	struct explore_request replay = request;

	explore_search(&request, &findings);
	if (!findings.failed) {
		assert_true(findings.complete);
		return false;
	}
	replay.mode = EXPLORE_REPLAY;
	replay.choices = findings.choices;
	replay.choice_count = findings.choice_count;
	explore_search(&replay, &again);
	assert_true(again.failed);
	assert_string_equal(again.result.text, findings.result.text);
	explore_findings_free(&again);

	explore_shrink(&request, &findings);
	replay.choices = findings.choices;
	replay.choice_count = findings.choice_count;
	explore_search(&replay, &again);
	assert_true(again.failed);
	assert_string_equal(again.result.text, findings.result.text);
	explore_findings_free(&again);
	explore_findings_free(&findings);
	return true;
}

static void defects_are_found_with_each_way_of_searching(void **state)
{
	uint32_t program, bound, way;

	FOR_EACH(program, bad_programs)
	{
		FOR_EACH(bound, bounds)
		{
			bool found[3];

			for (way = 0; way < 3; way++) {
				struct explore_request request =
					request_of(bad_programs[program], bounds[bound]);

				request.no_seen = way == 0;
				request.sleep_sets = way == 2;
				found[way] = fails(request);
			}
			assert_int_equal(found[1], found[0]);
			assert_int_equal(found[2], found[0]);
			if (bounds[bound] == EXPLORE_UNBOUNDED)
				assert_true(found[0]);
		}
	}
	assert_false(fails(request_of(&freed_once, EXPLORE_UNBOUNDED)));
}

static bool races(const struct explore_scenario *program, bool sleep_sets)
{
	struct explore_request request = request_of(program, EXPLORE_UNBOUNDED);

	request.races = true;
	request.sleep_sets = sleep_sets;
	return fails(request);
}

static void races_are_what_c_says(void **state)
{
	uint32_t way;

	for (way = 0; way < 2; way++) {
		assert_false(races(&plain_released, way));
		assert_true(races(&plain_relaxed, way));
		assert_false(races(&plain_fenced, way));
		assert_true(races(&plain_exchange_fails, way));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leaving_out_states_loses_no_outcome),
		cmocka_unit_test(counts_of_orders_are_known),
		cmocka_unit_test(outcomes_are_those_of_the_memory_model),
		cmocka_unit_test(a_wait_may_end_by_itself),
		cmocka_unit_test(defects_are_found_with_each_way_of_searching),
		cmocka_unit_test(races_are_what_c_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
