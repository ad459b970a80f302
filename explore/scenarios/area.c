/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Areas over slots, several caches in the index, and marks that go to the page that was written. */
#include "scene.h"

#define COPY 0	  /* numbers: of page 2, since its log began */
#define WRITTEN 1 /* pages that were written and marked */

static void add_two_slots(struct scene *scene)
{
	struct gmm_slot_config first = machine_slot(&scene->machine, 0, 0, 0, 2);
	struct gmm_slot_config second = machine_slot(&scene->machine, 1, 2, 2, 2);

	machine_must(gmm_slot_add(scene->machine.guest, &first));
	machine_must(gmm_slot_add(scene->machine.guest, &second));
	machine_must(gmm_cache_activate(scene->cache, SCENE_PAGE, 2 * SCENE_PAGE, SCENE_WRITE));
}

static void remove_slots(struct scene *scene)
{
	struct gmm_slot_config config;
	uint32_t id;

	machine_must(gmm_cache_deactivate(scene->cache));
	for (id = 0; id < 2; id++)
		if (!gmm_slot_get(scene->machine.guest, id, &config))
			machine_must(gmm_slot_remove(scene->machine.guest, id));
}

/* The area's second page, or that it is in no slot. */
static void reads_page_2(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader = scene_reader(scene);
	uint64_t *pointer;
	int answer = 0;

	gmm_section_enter(reader);
	while (!(pointer = gmm_cache_pointer(scene->cache, SCENE_PAGE, 8)) && !answer) {
		gmm_section_exit(reader);
		answer = machine_again(gmm_cache_refresh(scene->cache));
		gmm_section_enter(reader);
	}
	machine_check(!answer || answer == -GMM_EFAULT);
	machine_check(!pointer || gmm_load_relaxed(pointer) == machine_word(2));
	gmm_section_exit(reader);
	gmm_reader_unregister(reader);
}

static void moves_pages_1_and_2(void *arg)
{
	struct scene *scene = arg;

	machine_move_pages(&scene->machine, 1, 2);
}

static void removes_second(void *arg)
{
	struct scene *scene = arg;

	machine_must(gmm_slot_remove(scene->machine.guest, 1));
	gmm_exchange(machine_frame(&scene->machine, 2), MACHINE_POISON);
}

static void writes_page_2(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader = scene_reader(scene);

	machine_write(&scene->machine, scene->cache, reader, SCENE_PAGE, 77);
	gmm_reader_unregister(reader);
}

static uint64_t contents_of_page_2(struct scene *scene)
{
	return gmm_load_relaxed(machine_contents(&scene->machine, 2));
}

static void starts_log_of_second(void *arg)
{
	struct scene *scene = arg;

	machine_must(gmm_slot_set_flags(scene->machine.guest, 1, GMM_SLOT_LOG_DIRTY));
	scene->numbers[COPY] = contents_of_page_2(scene);
}

/* What was written since the log began is in it; and no page of the other slot. */
static void copy_is_right(struct scene *scene)
{
	uint64_t bitmap = 0;

	machine_check(gmm_dirty_harvest(scene->machine.guest, 1, 0, 2, &bitmap) >= 0);
	machine_check(!(bitmap & ~(uint64_t)1));
	machine_check((bitmap & 1) || scene->numbers[COPY] == 77);
	machine_check(contents_of_page_2(scene) == 77);
	remove_slots(scene);
}

/* The last word of page 0 and the first of page 1. */
static void activate_across(struct scene *scene)
{
	machine_must(gmm_cache_activate(scene->cache, SCENE_PAGE - 8, 16, SCENE_WRITE));
}

/* The same pages: its second word is in page 0 now. */
static void retargets_across(void *arg)
{
	struct scene *scene = arg;

	machine_must(gmm_cache_activate(scene->cache, SCENE_PAGE - 16, 24, SCENE_WRITE));
}

static void writes_second_word(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader = scene_reader(scene);
	uint64_t *pointer;

	gmm_section_enter(reader);
	pointer = gmm_cache_pointer(scene->cache, 8, 8);
	if (pointer) {
		size_t page = (size_t)((uint8_t *)pointer - scene->machine.frames) / SCENE_PAGE;

		gmm_store_relaxed(pointer, (uint64_t)77);
		gmm_cache_mark_dirty(scene->cache, 8, 8);
		scene->numbers[WRITTEN] = (uint64_t)1 << page;
	}
	gmm_section_exit(reader);
	gmm_reader_unregister(reader);
}

static void activate_two_pages(struct scene *scene)
{
	machine_must(gmm_cache_activate(scene->cache, 0, 2 * SCENE_PAGE, SCENE_WRITE));
	scene->numbers[WRITTEN] = 3;
}

static void writes_page(struct scene *scene, uint64_t page)
{
	struct gmm_reader *reader = scene_reader(scene);

	machine_write(&scene->machine, scene->cache, reader, page * SCENE_PAGE, 77);
	gmm_reader_unregister(reader);
}

static void writes_page_0(void *arg)
{
	writes_page(arg, 0);
}

static void writes_page_1(void *arg)
{
	writes_page(arg, 1);
}

static void ends_log(void *arg)
{
	struct scene *scene = arg;

	machine_must(gmm_slot_set_flags(scene->machine.guest, 0, 0));
}

static void log_has_what_was_written(struct scene *scene)
{
	uint64_t bitmap = 0;

	machine_check(gmm_dirty_harvest(scene->machine.guest, 0, 0, MACHINE_PAGES, &bitmap) >= 0);
	machine_check(bitmap == scene->numbers[WRITTEN]);
}

/* Pages 0 and 1 are slot 0. */
static void add_first_slot(struct scene *scene)
{
	struct gmm_slot_config slot = machine_slot(&scene->machine, 0, 0, 0, 2);

	machine_must(gmm_slot_add(scene->machine.guest, &slot));
	machine_must(gmm_cache_activate(scene->cache, 0, 8, SCENE_WRITE));
}

/* Where the cache is now, or nowhere: there may be no slot. */
static void writes_where_it_is(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader = scene_reader(scene);
	uint64_t *pointer;
	int answer = 0;

	gmm_section_enter(reader);
	while (!(pointer = gmm_cache_pointer(scene->cache, 0, 8)) && !answer) {
		gmm_section_exit(reader);
		answer = machine_again(gmm_cache_refresh(scene->cache));
		gmm_section_enter(reader);
	}
	if (pointer) {
		machine_store(&scene->machine, pointer, 77);
		gmm_cache_mark_dirty(scene->cache, 0, 8);
	}
	gmm_section_exit(reader);
	gmm_reader_unregister(reader);
}

/* Frame 0 becomes page 2, in a slot with a log of its own. */
static void replaces_slot(void *arg)
{
	struct scene *scene = arg;
	struct gmm_slot_config slot = machine_slot(&scene->machine, 1, 0, 2, 2);

	machine_must(gmm_slot_remove(scene->machine.guest, 0));
	machine_must(gmm_slot_add(scene->machine.guest, &slot));
}

/* The new log has what was written to the new slot's memory, and nothing else. */
static void right_slot_is_marked(struct scene *scene)
{
	uint64_t bitmap = 0;

	machine_must(gmm_cache_deactivate(scene->cache));
	machine_check(gmm_dirty_harvest(scene->machine.guest, 1, 0, 2, &bitmap) >= 0);
	machine_check(bitmap == (contents_of_page_2(scene) == 77));
	remove_slots(scene);
}

/* Caches over one page each, and one over all. */
static void activate_several(struct scene *scene)
{
	uint32_t i;

	for (i = 0; i < SCENE_OTHERS; i++) {
		machine_must(gmm_cache_create(scene->machine.guest, &scene->others[i]));
		machine_must(gmm_cache_activate(scene->others[i], i * SCENE_PAGE, 8, SCENE_WRITE));
	}
	machine_must(gmm_cache_activate(scene->cache, 3 * SCENE_PAGE, 8, SCENE_WRITE));
}

static void retargets_first_to_last(void *arg)
{
	struct scene *scene = arg;

	machine_must(gmm_cache_deactivate(scene->others[1]));
	machine_must(gmm_cache_activate(scene->others[0], 3 * SCENE_PAGE, 8, SCENE_WRITE));
}

static void moves_last(void *arg)
{
	struct scene *scene = arg;

	machine_move(&scene->machine, 3);
}

static void all_show_their_pages(struct scene *scene)
{
	static const uint32_t shown[SCENE_OTHERS] = { 3, 1, 2, 3 };
	struct gmm_reader *reader = scene_reader(scene);
	uint32_t i;

	for (i = 0; i < SCENE_OTHERS; i++)
		machine_check(i == 1 || machine_read(&scene->machine, scene->others[i], reader,
						     0) == machine_word(shown[i]));
	machine_check(machine_read(&scene->machine, scene->cache, reader, 0) == machine_word(3));
	gmm_reader_unregister(reader);
}

SCENARIO(slots_move, .traits = MACHINE_NO_SLOT, .prepare = add_two_slots,
	 .threads = { reads_page_2, moves_pages_1_and_2 }, .check = remove_slots)
SCENARIO(slot_goes, .traits = MACHINE_NO_SLOT, .prepare = add_two_slots,
	 .threads = { reads_page_2, removes_second }, .check = remove_slots)
SCENARIO(log_starts, .traits = MACHINE_NO_SLOT, .prepare = add_two_slots,
	 .threads = { writes_page_2, starts_log_of_second }, .check = copy_is_right)
SCENARIO(mark_retarget, .traits = MACHINE_LOG, .prepare = activate_across,
	 .threads = { writes_second_word, retargets_across }, .check = log_has_what_was_written)
SCENARIO(mark_slot_replaced, .traits = MACHINE_NO_SLOT | MACHINE_LOG, .prepare = add_first_slot,
	 .threads = { writes_where_it_is, replaces_slot }, .check = right_slot_is_marked)
SCENARIO(two_mark, .traits = MACHINE_LOG, .prepare = activate_two_pages,
	 .threads = { writes_page_0, writes_page_1 }, .check = log_has_what_was_written)
SCENARIO(mark_log_ends, .traits = MACHINE_LOG, .prepare = activate_two_pages,
	 .threads = { writes_page_0, ends_log })
SCENARIO(several, .prepare = activate_several, .threads = { retargets_first_to_last, moves_last },
	 .check = all_show_their_pages)

const struct explore_scenario explore_area_scenarios[] = {
	{ "area-slots-move", "W5", "an area over two slots whose pages move", slots_move, 2,
	  false },
	{ "area-slot-goes", "W5 G2", "one of its slots is removed", slot_goes, 2, true },
	{ "area-log-starts", "W5 P24", "one of its slots begins to log while it is written",
	  log_starts, 2, true },
	{ "area-mark-retarget", "P26", "written and marked while its target moves within the pages",
	  mark_retarget, 3, true },
	{ "area-mark-slot-replaced", "P25",
	  "... while another slot takes its slot's place: that one's log is its own",
	  mark_slot_replaced, 2, false },
	{ "area-two-mark", "W6", "two pages are marked at once", two_mark, 3, true },
	{ "area-mark-log-ends", "L3 P25", "marked while its slot's log ends", mark_log_ends, 2,
	  true },
	{ "area-several-caches", "P11 P30", "caches come and go beside a page that moves", several,
	  3, false },
	{ .name = NULL },
};
