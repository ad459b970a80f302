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

static void search(const struct explore_scenario *scenario, uint32_t preemptions, bool no_seen,
		   struct outcomes *outcomes)
{
	struct explore_request request = { .scenario = scenario,
					   .preemptions = preemptions,
					   .no_seen = no_seen };
	struct explore_findings findings;

	outcomes->count = 0;
	gathered = outcomes;
	scene_outcome = gather;
	explore_search(&request, &findings);
	scene_outcome = NULL;
	if (findings.failed)
		print_message("%s: %s\n", scenario->name, findings.result.text);
	assert_false(findings.failed);
	assert_true(findings.complete);
	explore_findings_free(&findings);
}

/*
 * Accesses and nothing else: no page is claimed, no translation made, so their order is in no other
 * record. Each thread writes three pages.
 */
#define WRITTEN_PAGES 3u
#define WRITTEN_OUTCOMES (1u << WRITTEN_PAGES) /* each page has the word of either */

static void writable_pages(struct scene *scene)
{
	uint32_t page;

	for (page = 0; page < WRITTEN_PAGES; page++)
		machine_guest_write(&scene->machine, page, 55);
	machine_must(gmm_cache_activate(scene->cache, 0, WRITTEN_PAGES * SCENE_PAGE, SCENE_WRITE));
	machine_must(gmm_cache_refresh(scene->cache));
	/* Nobody changes the memory: the pointer is good without a section. */
	scene->numbers[0] = (uintptr_t)gmm_cache_pointer(scene->cache, 0, 8);
}

static void guest_writes(struct scene *scene, uint64_t word)
{
	uint32_t page;

	for (page = 0; page < WRITTEN_PAGES; page++)
		machine_guest_write(&scene->machine, page, word);
}

static void guest_writes_77(void *arg)
{
	guest_writes(arg, 77);
}

static void guest_writes_88(void *arg)
{
	guest_writes(arg, 88);
}

static void device_writes(struct scene *scene, uint64_t word)
{
	uint64_t *pointer = (uint64_t *)(uintptr_t)scene->numbers[0];
	uint32_t page;

	for (page = 0; page < WRITTEN_PAGES; page++)
		machine_store(&scene->machine, pointer + page * SCENE_PAGE / sizeof(*pointer),
			      word);
}

static void device_writes_77(void *arg)
{
	device_writes(arg, 77);
}

static void device_writes_88(void *arg)
{
	device_writes(arg, 88);
}

#define GUEST (MACHINE_LAZY | MACHINE_OWNER)
SCENARIO(two_write, .traits = GUEST, .prepare = writable_pages,
	 .threads = { guest_writes_77, guest_writes_88 })
SCENARIO(two_write_kept, .traits = GUEST | MACHINE_TLB, .prepare = writable_pages,
	 .threads = { guest_writes_77, guest_writes_88 })
SCENARIO(two_devices_write, .traits = GUEST, .prepare = writable_pages,
	 .threads = { device_writes_77, device_writes_88 })
SCENARIO(two_devices_write_where_pages_go, .traits = GUEST | MACHINE_LOSES,
	 .prepare = writable_pages, .threads = { device_writes_77, device_writes_88 })

static const struct explore_scenario accesses[] = {
	{ .name = "two_write", .run = two_write },
	{ .name = "two_write_kept", .run = two_write_kept },
	{ .name = "two_devices_write", .run = two_devices_write },
	{ .name = "two_devices_write_where_pages_go", .run = two_devices_write_where_pages_go },
};

/*
 * The same outcomes with states seen left out and without. A change that the search is not told of
 * makes states look alike that are not, and loses some.
 */
static uint32_t same_outcomes(const struct explore_scenario *scenario, uint32_t preemptions)
{
	static struct outcomes all, some;
	uint32_t i;

	search(scenario, preemptions, true, &all);
	search(scenario, preemptions, false, &some);
	assert_true(all.count);
	if (all.count != some.count)
		print_message("%s: %u outcomes, %u without what was seen\n", scenario->name,
			      some.count, all.count);
	assert_int_equal(some.count, all.count);
	for (i = 0; i < all.count; i++)
		assert_true(has(&some, all.of[i]));
	return all.count;
}

static void accesses_are_told(void **state)
{
	uint32_t i;

	for (i = 0; i < sizeof(accesses) / sizeof(accesses[0]); i++)
		assert_int_equal(same_outcomes(&accesses[i], 6), WRITTEN_OUTCOMES);
}

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
	uint32_t i;

	for (i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
		same_outcomes(explore_scenario_find(scenarios[i].name), scenarios[i].preemptions);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_flush_that_is_left_out_is_found),
		cmocka_unit_test(a_wait_for_an_unmap_that_is_left_out_is_found),
		cmocka_unit_test(accesses_are_told),
		cmocka_unit_test(states_seen_lose_no_outcome),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
