/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The machine of the scenarios: what is left out on purpose is found, and the search is told of
 * whatever threads change in it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "scene.h"
#include "search.h"

#define OUTCOMES 1024u

static void assert_found(const struct explore_scenario *scenario)
{
	for (; scenario->name; scenario++) {
		struct explore_request request = { .scenario = scenario,
						   .preemptions = scenario->preemptions };
		struct explore_findings findings;

		explore_search(&request, &findings);
		assert_true(findings.failed);
		explore_findings_free(&findings);
	}
}

static void a_flush_that_is_left_out_is_found(void **state)
{
	assert_found(explore_tlb_defects);
}

static void a_wait_for_an_unmap_that_is_left_out_is_found(void **state)
{
	assert_found(explore_repair_defects);
}

struct outcomes {
	uint64_t of[OUTCOMES];
	uint32_t count;
};

static struct outcomes *gathered;

static void gather(uint64_t outcome)
{
	uint32_t i;

	for (i = 0; i < gathered->count; i++)
		if (gathered->of[i] == outcome)
			return;
	if (gathered->count == OUTCOMES)
		gmm_sim_fail("more than %u outcomes", OUTCOMES);
	gathered->of[gathered->count++] = outcome;
}

static bool has(const struct outcomes *outcomes, uint64_t outcome)
{
	uint32_t i;

	for (i = 0; i < outcomes->count; i++)
		if (outcomes->of[i] == outcome)
			return true;
	return false;
}

static void search(const char *name, uint32_t preemptions, bool no_seen, struct outcomes *outcomes)
{
	struct explore_request request = { .scenario = explore_scenario_find(name),
					   .preemptions = preemptions,
					   .no_seen = no_seen };
	struct explore_findings findings;

	outcomes->count = 0;
	gathered = outcomes;
	scene_outcome = gather;
	explore_search(&request, &findings);
	scene_outcome = NULL;
	if (findings.failed)
		print_message("%s: %s\n", name, findings.result.text);
	assert_false(findings.failed);
	assert_true(findings.complete);
	explore_findings_free(&findings);
}

/* A change that the search is not told of makes states look alike that are not. */
static void states_seen_lose_no_outcome(void **state)
{
	static const struct {
		const char *name;
		uint32_t preemptions;
	} scenarios[] = {
		{ "cache-read-move", 1 },	{ "cache-look-drop-refresh", 1 },
		{ "fault-fault", 2 },		{ "fault-write-evict-resident", 2 },
		{ "fault-evict-discard", 2 },	{ "dirty-write-harvest", 1 },
		{ "lease-io-evict", 1 },	{ "repair-write-loss", 3 },
		{ "repair-evict-loss", 3 },	{ "repair-device-evict", 1 },
		{ "repair-device-read", 1 },	{ "resident-fault-move", 2 },
		{ "slot-discard-remove", 2 },	{ "tlb-read-move", 1 },
		{ "table-two-lazy-faults", 2 },
	};
	static struct outcomes all, some;
	uint32_t i, j;

	for (i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
		search(scenarios[i].name, scenarios[i].preemptions, true, &all);
		search(scenarios[i].name, scenarios[i].preemptions, false, &some);
		assert_true(all.count);
		if (all.count != some.count)
			print_message("%s: %u outcomes, %u without what was seen\n",
				      scenarios[i].name, some.count, all.count);
		assert_int_equal(some.count, all.count);
		for (j = 0; j < all.count; j++)
			assert_true(has(&some, all.of[j]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_flush_that_is_left_out_is_found),
		cmocka_unit_test(a_wait_for_an_unmap_that_is_left_out_is_found),
		cmocka_unit_test(states_seen_lose_no_outcome),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
