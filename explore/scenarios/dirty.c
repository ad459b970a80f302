/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The dirty log: whatever is written is in some harvest, and what a harvest reads is whole or is in
 * the next. numbers[0] is the copy that harvests keep of page 0.
 */
#include "scene.h"

#define LOGGED (MACHINE_LAZY | MACHINE_OWNER | MACHINE_LOG)
#define COPY 0
#define COPY_1 1 /* of page 1 */
#define WORD_PAGES 64u

static uint64_t contents_of(struct scene *scene, uint32_t page)
{
	uint64_t found[MACHINE_PAGE_BYTES / sizeof(uint64_t)];

	machine_must(gmm_page_read(scene->machine.guest, page, found));
	return found[0];
}

static void writable_page_0(struct scene *scene)
{
	uint64_t bitmap;

	scene->numbers[COPY] = machine_word(0);
	machine_guest_write(&scene->machine, 0, 55);
	machine_check(gmm_dirty_harvest(scene->machine.guest, 0, 0, MACHINE_PAGES, &bitmap) == 1);
	scene->numbers[COPY] = 55;
	/* Writable again, with its bit set. */
	machine_guest_write(&scene->machine, 0, 56);
}

static void clean_page_0(struct scene *scene)
{
	uint64_t bitmap;

	writable_page_0(scene);
	machine_check(gmm_dirty_harvest(scene->machine.guest, 0, 0, MACHINE_PAGES, &bitmap) == 1);
	scene->numbers[COPY] = 56;
}

static void active_clean(struct scene *scene)
{
	clean_page_0(scene);
	machine_must(gmm_cache_activate(scene->cache, 0, 8, SCENE_WRITE));
}

static void active_with_both_copies(struct scene *scene)
{
	active_clean(scene);
	scene->numbers[COPY_1] = machine_word(1);
}

static void active_dirty(struct scene *scene)
{
	writable_page_0(scene);
	machine_must(gmm_cache_activate(scene->cache, 0, 8, SCENE_WRITE));
}

static void guest_writes(void *arg)
{
	struct scene *scene = arg;

	machine_guest_write(&scene->machine, 0, 77);
}

static void guest_writes_twice(void *arg)
{
	struct scene *scene = arg;

	machine_guest_write(&scene->machine, 0, 76);
	machine_guest_write(&scene->machine, 0, 77);
}

static void device_writes(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader = scene_reader(scene);

	machine_write(&scene->machine, scene->cache, reader, 0, 77);
	gmm_reader_unregister(reader);
}

static void harvests(void *arg)
{
	struct scene *scene = arg;
	uint64_t bitmap = 0;

	machine_check(gmm_dirty_harvest(scene->machine.guest, 0, 0, MACHINE_PAGES, &bitmap) >= 0);
	if (bitmap & 1)
		scene->numbers[COPY] = contents_of(scene, 0);
}

static void harvests_both(struct scene *scene)
{
	uint64_t bitmap = 0;

	machine_check(gmm_dirty_harvest(scene->machine.guest, 0, 0, MACHINE_PAGES, &bitmap) >= 0);
	if (bitmap & 1)
		scene->numbers[COPY] = contents_of(scene, 0);
	if (bitmap & 2)
		scene->numbers[COPY_1] = contents_of(scene, 1);
}

static void retargets_and_harvests(void *arg)
{
	struct scene *scene = arg;

	machine_must(gmm_cache_activate(scene->cache, SCENE_PAGE, 8, SCENE_WRITE));
	harvests_both(scene);
}

static void clears_by_mask(void *arg)
{
	struct scene *scene = arg;
	uint64_t bitmap = 0;

	machine_check(gmm_dirty_peek(scene->machine.guest, 0, 0, MACHINE_PAGES, &bitmap) >= 0);
	bitmap &= 1;
	machine_check(gmm_dirty_clear(scene->machine.guest, 0, 0, MACHINE_PAGES, &bitmap) >= 0);
	if (bitmap & 1)
		scene->numbers[COPY] = contents_of(scene, 0);
}

static void dirty_pages_0_and_1(struct scene *scene)
{
	machine_guest_write(&scene->machine, 0, 55);
	machine_guest_write(&scene->machine, 1, 55);
}

static void clears_page_0(void *arg)
{
	struct scene *scene = arg;
	uint64_t bitmap = 1;

	machine_check(gmm_dirty_clear(scene->machine.guest, 0, 0, MACHINE_PAGES, &bitmap) == 1);
	machine_check(bitmap == 1);
}

static void guest_writes_page_1(void *arg)
{
	struct scene *scene = arg;

	machine_guest_write(&scene->machine, 1, 77);
}

/* The last thing before a stop: what this vCPU wrote is in the log then. */
static void guest_writes_and_stops(void *arg)
{
	struct scene *scene = arg;
	uint64_t bitmap = 0;

	machine_guest_write(&scene->machine, 0, 77);
	machine_check(gmm_dirty_harvest(scene->machine.guest, 0, 0, MACHINE_PAGES, &bitmap) >= 0);
	machine_check(bitmap & 1);
}

/* A slot of a whole word: a harvest takes the summary, too. Its pages are only marked. */
static void add_word_of_pages(struct scene *scene)
{
	struct gmm_slot_config slot = machine_slot(&scene->machine, 0, 0, 0, WORD_PAGES);

	machine_must(gmm_slot_add(scene->machine.guest, &slot));
}

static void marks_page_0(void *arg)
{
	struct scene *scene = arg;

	gmm_dirty_mark(scene->machine.guest, 0, 1);
}

static void harvests_word(void *arg)
{
	struct scene *scene = arg;
	uint64_t bitmap = 0;

	machine_check(gmm_dirty_harvest(scene->machine.guest, 0, 0, WORD_PAGES, &bitmap) >= 0);
	scene->numbers[COPY] |= bitmap;
}

static void mark_is_found(struct scene *scene)
{
	harvests_word(scene);
	machine_check(scene->numbers[COPY] == 1);
	machine_must(gmm_slot_remove(scene->machine.guest, 0));
}

static void page_1_is_dirty(struct scene *scene)
{
	uint64_t bitmap = 0;

	machine_check(gmm_dirty_harvest(scene->machine.guest, 0, 0, MACHINE_PAGES, &bitmap) == 1);
	machine_check(bitmap == 2);
}

static void evicts(void *arg)
{
	struct scene *scene = arg;

	machine_check(machine_again(gmm_evict(scene->machine.guest, 0, 1, 0)) >= 0);
}

static void discards(void *arg)
{
	struct scene *scene = arg;

	machine_must(gmm_discard(scene->machine.guest, 0, 1));
}

static void starts_log(void *arg)
{
	struct scene *scene = arg;

	machine_must(gmm_slot_set_flags(scene->machine.guest, 0, GMM_SLOT_LOG_DIRTY));
	/* What was there when the log began. */
	scene->numbers[COPY] = contents_of(scene, 0);
}

static void unlogged_writable(struct scene *scene)
{
	machine_guest_write(&scene->machine, 0, 56);
}

static void copy_is_right(struct scene *scene)
{
	harvests(scene);
	machine_check(scene->numbers[COPY] == contents_of(scene, 0));
}

static void both_copies_are_right(struct scene *scene)
{
	harvests_both(scene);
	machine_check(scene->numbers[COPY] == contents_of(scene, 0));
	machine_check(scene->numbers[COPY_1] == contents_of(scene, 1));
	machine_check(scene->numbers[COPY] == 77 || scene->numbers[COPY_1] == 77);
}

static void copy_is_77(struct scene *scene)
{
	copy_is_right(scene);
	machine_check(scene->numbers[COPY] == 77);
}

SCENARIO(guest_write_harvest, .traits = LOGGED, .prepare = clean_page_0,
	 .threads = { guest_writes, harvests }, .check = copy_is_77)
SCENARIO(guest_write_harvest_dirty, .traits = LOGGED, .prepare = writable_page_0,
	 .threads = { guest_writes_twice, harvests }, .check = copy_is_77)
SCENARIO(device_write_harvest, .traits = LOGGED, .prepare = active_clean,
	 .threads = { device_writes, harvests }, .check = copy_is_77)
SCENARIO(device_write_harvest_dirty, .traits = LOGGED, .prepare = active_dirty,
	 .threads = { device_writes, harvests }, .check = copy_is_77)
SCENARIO(device_retarget_harvest, .traits = LOGGED, .prepare = active_with_both_copies,
	 .threads = { device_writes, retargets_and_harvests }, .check = both_copies_are_right)
SCENARIO(guest_write_clear, .traits = LOGGED, .prepare = writable_page_0,
	 .threads = { guest_writes, clears_by_mask }, .check = copy_is_77)
SCENARIO(clear_neighbour, .traits = LOGGED, .prepare = dirty_pages_0_and_1,
	 .threads = { clears_page_0, guest_writes_page_1 }, .check = page_1_is_dirty)
SCENARIO(write_stop, .traits = LOGGED, .prepare = clean_page_0,
	 .threads = { guest_writes, guest_writes_and_stops })
SCENARIO(mark_harvest, .traits = MACHINE_NO_SLOT | MACHINE_LOG, .prepare = add_word_of_pages,
	 .threads = { marks_page_0, harvests_word }, .check = mark_is_found)
SCENARIO(guest_device_harvest, .traits = LOGGED, .prepare = active_dirty,
	 .threads = { device_writes, guest_writes, harvests }, .check = copy_is_77)
SCENARIO(write_evict_harvest, .traits = LOGGED, .prepare = writable_page_0,
	 .threads = { guest_writes, evicts, harvests }, .check = copy_is_77)
SCENARIO(discard_harvest, .traits = LOGGED, .prepare = writable_page_0,
	 .threads = { discards, harvests }, .check = copy_is_right)
SCENARIO(write_start_log, .traits = MACHINE_LAZY | MACHINE_OWNER, .prepare = unlogged_writable,
	 .threads = { guest_writes, starts_log }, .check = copy_is_77)

const struct explore_scenario explore_dirty_scenarios[] = {
	{ "dirty-write-harvest", "W6 L7", "a vCPU writes a clean page while the log is harvested",
	  guest_write_harvest, 3, true },
	{ "dirty-write-harvest-dirty", "W6 L3 L7", "... a page whose bit is set already",
	  guest_write_harvest_dirty, 2, true },
	{ "dirty-device-harvest", "W6 P24 P25", "a device writes a clean page",
	  device_write_harvest, 2, true },
	{ "dirty-device-harvest-dirty", "W6 P24 P26", "... a page whose bit is set already",
	  device_write_harvest_dirty, 3, true },
	{ "dirty-device-retarget-harvest", "P24 P26 W6",
	  "... while the cache gets another target, and the log is harvested then",
	  device_retarget_harvest, 2, false },
	{ "dirty-write-clear", "L7", "bits are cleared by a mask", guest_write_clear, 2, true },
	{ "dirty-clear-neighbour", "L7", "... and its neighbour is written", clear_neighbour, 3,
	  false },
	{ "dirty-write-stop", "W6 P24", "what a vCPU wrote before it stops is in the last harvest",
	  write_stop, 2, true },
	{ "dirty-mark-harvest", "W6", "a word and its summary are marked while both are taken",
	  mark_harvest, 4, true },
	{ "dirty-guest-device-harvest", "W6", "a vCPU and a device write one page",
	  guest_device_harvest, 1, false },
	{ "dirty-write-evict-harvest", "W6 W10", "written, evicted and harvested",
	  write_evict_harvest, 1, false },
	{ "dirty-discard-harvest", "W9", "discarded and harvested", discard_harvest, 2, false },
	{ "dirty-write-start-log", "L8", "a page is written while the log starts", write_start_log,
	  3, true },
	{ .name = NULL },
};
