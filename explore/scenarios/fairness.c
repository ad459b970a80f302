/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Nobody starves: what does not concern a reader or a refresh costs it nothing, what does costs it once. */
#include <guestmm/static/section.h>

#include "scene.h"

#define EPOCH 0	   /* numbers: before any change */
#define DONE 1	   /* the change has ended */
#define RESOLVES 2 /* calls before the threads */

static void activate_page_0(struct scene *scene)
{
	struct gmm_reader *reader = scene_reader(scene);

	machine_must(gmm_cache_activate(scene->cache, 0, 8, SCENE_WRITE));
	scene->numbers[EPOCH] = *gmm_reader_hot(reader)->epoch;
	gmm_reader_unregister(reader);
}

static void activate_page_3(struct scene *scene)
{
	machine_must(gmm_cache_activate(scene->cache, 3 * SCENE_PAGE, 8, SCENE_WRITE));
	scene->numbers[RESOLVES] = scene->machine.resolves;
}

static void activate_page_0_and_count(struct scene *scene)
{
	activate_page_0(scene);
	scene->numbers[RESOLVES] = scene->machine.resolves;
}

/* In a section that begins when the change waits for sections, until the change is over. */
static void stays_in_a_later_section(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader = scene_reader(scene);

	gmm_section_enter(reader);
	while (gmm_load_relaxed(&gmm_reader_hot(reader)->mark) <= scene->numbers[EPOCH]) {
		gmm_section_exit(reader);
		gmm_cpu_relax(0);
		gmm_section_enter(reader);
	}
	while (!gmm_load_acquire(&scene->numbers[DONE]))
		gmm_cpu_relax(0);
	gmm_section_exit(reader);
	gmm_reader_unregister(reader);
}

static void moves_and_tells(void *arg)
{
	struct scene *scene = arg;

	machine_move(&scene->machine, 0);
	gmm_store_release(&scene->numbers[DONE], (uint64_t)1);
}

static void always_finds_its_pointer(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader = scene_reader(scene);
	uint32_t i;

	for (i = 0; i < 2; i++) {
		uint64_t *pointer;

		gmm_section_enter(reader);
		pointer = gmm_cache_pointer(scene->cache, 0, 8);
		machine_check(pointer);
		machine_check(machine_load(&scene->machine, pointer) == machine_word(0));
		gmm_section_exit(reader);
	}
	gmm_reader_unregister(reader);
}

static void retargets_to_page_0(void *arg)
{
	struct scene *scene = arg;

	machine_must(gmm_cache_activate(scene->cache, 0, 8, SCENE_WRITE));
}

static void reads(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader = scene_reader(scene);

	machine_check(machine_read(&scene->machine, scene->cache, reader, 0) == machine_word(0));
	gmm_reader_unregister(reader);
}

static void moves_page_1(void *arg)
{
	struct scene *scene = arg;

	machine_move(&scene->machine, 1);
}

static void moves_page_2_twice(void *arg)
{
	struct scene *scene = arg;

	machine_move(&scene->machine, 2);
	machine_move(&scene->machine, 2);
}

static void moves_twice(void *arg)
{
	struct scene *scene = arg;

	machine_move(&scene->machine, 0);
	machine_move(&scene->machine, 0);
}

static struct gmm_guest_counters counters_of(struct scene *scene)
{
	struct gmm_guest_counters counters;

	gmm_guest_read_counters(scene->machine.guest, &counters);
	return counters;
}

/* One attempt: nobody overtook it, and it slept for nobody. */
static void was_never_delayed(struct scene *scene)
{
	struct gmm_guest_counters counters = counters_of(scene);

	machine_check(counters.cache_retries == 0 && counters.range_waits == 0);
	machine_check(scene->machine.resolves == scene->numbers[RESOLVES] + 1 ||
		      gmm_port_alloc_failed());
}

/* Each of two changes overtakes one attempt at most, and makes one page be resolved once more. */
static void was_delayed_once_by_each(struct scene *scene)
{
	struct gmm_guest_counters counters = counters_of(scene);

	machine_check(counters.cache_retries <= 2);
	machine_check(scene->machine.resolves <= scene->numbers[RESOLVES] + 3 ||
		      gmm_port_alloc_failed());
}

SCENARIO(later_section, .prepare = activate_page_0,
	 .threads = { stays_in_a_later_section, moves_and_tells })
SCENARIO(look_beside_changes, .prepare = activate_page_0,
	 .threads = { always_finds_its_pointer, moves_page_1, moves_page_2_twice })
SCENARIO(refresh_beside_changes, .prepare = activate_page_3,
	 .threads = { retargets_to_page_0, moves_page_1, moves_page_2_twice },
	 .check = was_never_delayed)
SCENARIO(refresh_under_changes, .prepare = activate_page_0_and_count,
	 .threads = { reads, moves_twice }, .check = was_delayed_once_by_each)

const struct explore_scenario explore_fairness_scenarios[] = {
	{ "fair-later-section", "W1 P29",
	  "a change does not wait for a section that began after it did", later_section, 3, false },
	{ "fair-look-beside-changes", "P27 P29",
	  "changes elsewhere, one after the other: a look never fails", look_beside_changes, 1,
	  false },
	{ "fair-refresh-beside-changes", "P31", "... a refresh is one attempt, and sleeps for none",
	  refresh_beside_changes, 1, false },
	{ "fair-refresh-under-changes", "P31",
	  "two changes of its page cost a refresh two attempts at most", refresh_under_changes, 2,
	  false },
	{ .name = NULL },
};
