/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Slots that come, go, move and change their length while they are read, written and harvested. */
#include "scene.h"

#include <guestmm/static/slot.h>

#define RESULT 0

static void activate_page_0(struct scene *scene)
{
	machine_must(gmm_cache_activate(scene->cache, 0, 8, SCENE_WRITE));
}

static void add_slot(struct scene *scene)
{
	struct gmm_slot_config slot = machine_slot(&scene->machine, 0, 0, 0, MACHINE_PAGES);

	machine_must(gmm_slot_add(scene->machine.guest, &slot));
}

static void add_and_activate(struct scene *scene)
{
	add_slot(scene);
	activate_page_0(scene);
}

/* Over the frame to which the slot is to move. */
static void add_and_activate_page_1(struct scene *scene)
{
	add_slot(scene);
	machine_must(gmm_cache_activate(scene->cache, SCENE_PAGE, 8, SCENE_WRITE));
}

static void add_direct(struct scene *scene)
{
	struct gmm_slot_config slot = machine_slot(&scene->machine, 0, 0, 0, MACHINE_PAGES);

	slot.pointer = scene->machine.frames;
	machine_must(gmm_slot_add(scene->machine.guest, &slot));
}

static void adds(void *arg)
{
	add_slot(arg);
}

static void removes(void *arg)
{
	struct scene *scene = arg;

	machine_must(gmm_slot_remove(scene->machine.guest, 0));
	/* Its memory is the caller's again. */
	gmm_exchange(machine_frame(&scene->machine, 0), MACHINE_POISON);
	machine_check(!scene->machine.references[0] && !scene->machine.mappings[0]);
}

static void removes_lazily(void *arg)
{
	struct scene *scene = arg;

	machine_must(gmm_slot_remove(scene->machine.guest, 0));
}

static void removes_and_adds(void *arg)
{
	removes(arg);
	gmm_exchange(machine_frame(&((struct scene *)arg)->machine, 0), machine_word(0));
	adds(arg);
}

static void moves_slot(void *arg)
{
	struct scene *scene = arg;

	machine_must(gmm_slot_move(scene->machine.guest, 0, 1));
}

static void moves_slot_back(void *arg)
{
	struct scene *scene = arg;

	moves_slot(arg);
	machine_must(gmm_slot_move(scene->machine.guest, 0, 0));
}

static void shrinks(void *arg)
{
	struct scene *scene = arg;

	machine_must(gmm_slot_resize(scene->machine.guest, 0, 1));
}

static void moves_page_0(void *arg)
{
	struct scene *scene = arg;

	machine_move(&scene->machine, 0);
}

/* Frame 0 changes, and what is in it moves. */
static void moves_what_is_in_frame_0(void *arg)
{
	struct scene *scene = arg;
	struct gmm_guest *guest = scene->machine.guest;
	struct gmm_range range = { 0, 1 };
	struct gmm_slot_config config;

	machine_must(gmm_invalidate_begin(guest, GMM_RANGE_GFN, &range, 1, 0, NULL));
	machine_must(gmm_slot_get(guest, 0, &config));
	if (config.gfn == 0)
		machine_move_frame(&scene->machine, 0);
	gmm_invalidate_end(guest, GMM_RANGE_GFN, &range, 1);
}

static void moves_slot_and_reads(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader = scene_reader(scene);

	moves_slot(arg);
	machine_check(machine_read(&scene->machine, scene->cache, reader, 0) == machine_word(0));
	gmm_reader_unregister(reader);
}

/* What the cache shows is of page `of`; or the frame is in no slot. */
static void reads_frame_0(void *arg)
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
	machine_check(!answer || answer == -GMM_EFAULT);
	machine_check(!pointer || gmm_load_relaxed(pointer) == machine_word(0));
	gmm_section_exit(reader);
	gmm_reader_unregister(reader);
}

static void looks_directly(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader = scene_reader(scene);
	uint64_t *pointer;

	gmm_section_enter(reader);
	pointer = gmm_slot_pointer(scene->machine.guest, SCENE_PAGE, 8, GMM_ACCESS_READ);
	machine_check(!pointer || gmm_load_relaxed(pointer) == machine_word(1) ||
		      gmm_load_relaxed(pointer) == machine_word(0));
	gmm_section_exit(reader);
	gmm_reader_unregister(reader);
}

static void looks_while_removed(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader = scene_reader(scene);
	uint64_t *pointer;

	gmm_section_enter(reader);
	pointer = gmm_slot_pointer(scene->machine.guest, 0, 8, GMM_ACCESS_READ);
	machine_check(!pointer || gmm_load_relaxed(pointer) == machine_word(0));
	gmm_section_exit(reader);
	gmm_reader_unregister(reader);
}

static void faults_frame_0(void *arg)
{
	struct scene *scene = arg;
	int answer = machine_again(gmm_fault_serve(scene->machine.guest, 0, GMM_ACCESS_READ));

	machine_check(answer == 0 || answer == GMM_FAULT_HELD || answer == -GMM_EFAULT);
}

static void add_and_populate(struct scene *scene)
{
	add_slot(scene);
	machine_must(
		gmm_fault_populate(scene->machine.guest, 0, 2, GMM_ACCESS_READ, GMM_POPULATE_MAP));
}

static void discards(void *arg)
{
	struct scene *scene = arg;
	int answer = machine_again(gmm_discard(scene->machine.guest, 0, 2));

	machine_check(answer == 0 || answer == -GMM_ERANGE);
}

static void nothing_is_resident(struct scene *scene)
{
	machine_check(gmm_resident_pages(scene->machine.guest) == 0);
}

static void marks_frame_0(void *arg)
{
	struct scene *scene = arg;

	gmm_dirty_mark(scene->machine.guest, 0, 1);
}

static void harvests(void *arg)
{
	struct scene *scene = arg;
	uint64_t bitmap;
	int64_t answer = gmm_dirty_harvest(scene->machine.guest, 0, 0, MACHINE_PAGES, &bitmap);

	machine_check(answer >= 0 || answer == -GMM_ENOENT);
}

/* Pages 0 and 1 are slot 0, pages 2 and 3 are slot 1; a vCPU uses page 2 in guest mode. */
static void two_slots_and_user(struct scene *scene)
{
	struct gmm_slot_config first = machine_slot(&scene->machine, 0, 0, 0, 2);
	struct gmm_slot_config second = machine_slot(&scene->machine, 1, 2, 2, 2);

	machine_must(gmm_slot_add(scene->machine.guest, &first));
	machine_must(gmm_slot_add(scene->machine.guest, &second));
	machine_must(gmm_cache_activate(scene->cache, 2 * SCENE_PAGE, 8, GMM_CACHE_GUEST));
	machine_must(gmm_cache_vcpu_add(scene->cache, scene->vcpus[0]));
}

/* All entries of the table of changes but one and the last; nobody waits for these. */
#define CROWD (GMM_ACTIVE_RANGES - 2)

static struct gmm_range crowd(uint32_t i)
{
	return (struct gmm_range){ 200 + 2 * i, 201 + 2 * i };
}

/* A vCPU uses page 0; what changes is slot 1, frames 2 and 3. */
static void two_slots_in_a_crowd(struct scene *scene)
{
	struct gmm_slot_config first = machine_slot(&scene->machine, 0, 0, 0, 2);
	struct gmm_slot_config second = machine_slot(&scene->machine, 1, 2, 2, 2);
	uint32_t i;

	machine_must(gmm_slot_add(scene->machine.guest, &first));
	machine_must(gmm_slot_add(scene->machine.guest, &second));
	machine_must(gmm_cache_activate(scene->cache, 0, 8, GMM_CACHE_GUEST));
	machine_must(gmm_cache_vcpu_add(scene->cache, scene->vcpus[0]));
	for (i = 0; i < CROWD; i++) {
		struct gmm_range range = crowd(i);

		machine_must(gmm_invalidate_begin(scene->machine.guest, GMM_RANGE_GFN, &range, 1,
						  GMM_INVALIDATE_NONBLOCKING, NULL));
	}
}

static void faults_page_2_in_guest_mode(void *arg)
{
	struct scene *scene = arg;

	machine_must(gmm_vcpu_enter(scene->vcpus[0]));
	machine_check(machine_guest_read(&scene->machine, 2) == machine_word(2));
	gmm_vcpu_exit(scene->vcpus[0]);
}

static void starts_log_of_slot_1(void *arg)
{
	struct scene *scene = arg;

	machine_must(gmm_slot_set_flags(scene->machine.guest, 1, GMM_SLOT_LOG_DIRTY));
}

/* Neither frame is slot 1's, but what encloses both is over it. */
static void changes_around_slot_1(void *arg)
{
	struct scene *scene = arg;
	struct gmm_range ranges[2] = { { 0, 1 }, { 100, 101 } };

	machine_must(gmm_invalidate_begin(scene->machine.guest, GMM_RANGE_GFN, ranges, 2, 0, NULL));
	gmm_invalidate_end(scene->machine.guest, GMM_RANGE_GFN, ranges, 2);
}

static void faults_in_guest_mode(void *arg)
{
	struct scene *scene = arg;

	machine_must(gmm_vcpu_enter(scene->vcpus[0]));
	machine_check(machine_guest_read(&scene->machine, 0) == machine_word(0));
	gmm_vcpu_exit(scene->vcpus[0]);
}

static void starts_log_of_slot_0(void *arg)
{
	struct scene *scene = arg;

	machine_must(gmm_slot_set_flags(scene->machine.guest, 0, GMM_SLOT_LOG_DIRTY));
}

static void changes_both_slots(void *arg)
{
	struct scene *scene = arg;
	struct gmm_range range = { 0, MACHINE_PAGES };

	machine_must(gmm_invalidate_begin(scene->machine.guest, GMM_RANGE_GFN, &range, 1, 0, NULL));
	gmm_invalidate_end(scene->machine.guest, GMM_RANGE_GFN, &range, 1);
}

static void remove_both_slots(struct scene *scene)
{
	machine_must(gmm_cache_deactivate(scene->cache));
	machine_must(gmm_slot_remove(scene->machine.guest, 0));
	machine_must(gmm_slot_remove(scene->machine.guest, 1));
}

static void end_crowd(struct scene *scene)
{
	uint32_t i;

	for (i = 0; i < CROWD; i++) {
		struct gmm_range range = crowd(i);

		gmm_invalidate_end(scene->machine.guest, GMM_RANGE_GFN, &range, 1);
	}
	remove_both_slots(scene);
}

static void deactivate(struct scene *scene)
{
	machine_must(gmm_cache_deactivate(scene->cache));
}

static void remove_slot(struct scene *scene)
{
	struct gmm_slot_config config;

	machine_must(gmm_cache_deactivate(scene->cache));
	if (!gmm_slot_get(scene->machine.guest, 0, &config))
		machine_must(gmm_slot_remove(scene->machine.guest, 0));
}

#define OWN MACHINE_NO_SLOT

SCENARIO(read_remove, .traits = OWN, .prepare = add_and_activate,
	 .threads = { reads_frame_0, removes }, .check = deactivate)
SCENARIO(read_remove_add, .traits = OWN, .prepare = add_and_activate,
	 .threads = { reads_frame_0, removes_and_adds }, .check = remove_slot)
SCENARIO(read_move_back, .traits = OWN, .prepare = add_and_activate,
	 .threads = { reads_frame_0, moves_slot_back }, .check = remove_slot)
SCENARIO(read_shrink, .traits = OWN, .prepare = add_and_activate,
	 .threads = { reads_frame_0, shrinks }, .check = remove_slot)
SCENARIO(page_moves_slot_moves, .traits = OWN, .prepare = add_and_activate,
	 .threads = { moves_page_0, moves_slot_back }, .check = remove_slot)
SCENARIO(page_moves_slot_goes, .traits = OWN, .prepare = add_and_activate,
	 .threads = { moves_page_0, removes }, .check = deactivate)
SCENARIO(slot_moves_beside_page, .traits = OWN, .prepare = add_and_activate_page_1,
	 .threads = { moves_slot_and_reads, moves_what_is_in_frame_0 }, .check = remove_slot)
SCENARIO(direct_move, .traits = OWN, .prepare = add_direct,
	 .threads = { looks_directly, moves_slot }, .check = remove_slot)
SCENARIO(direct_remove, .traits = OWN, .prepare = add_direct,
	 .threads = { looks_while_removed, removes }, .check = remove_slot)
SCENARIO(fault_remove, .traits = OWN | MACHINE_LAZY | MACHINE_OWNER, .prepare = add_slot,
	 .threads = { faults_frame_0, removes_lazily }, .check = remove_slot)
SCENARIO(discard_remove, .traits = OWN | MACHINE_LAZY | MACHINE_OWNER, .prepare = add_and_populate,
	 .threads = { discards, removes_lazily }, .check = nothing_is_resident)
SCENARIO(mark_remove, .traits = OWN | MACHINE_LOG, .prepare = add_slot,
	 .threads = { marks_frame_0, removes }, .check = remove_slot)
SCENARIO(harvest_remove, .traits = OWN | MACHINE_LOG, .prepare = add_slot,
	 .threads = { harvests, removes }, .check = remove_slot)
SCENARIO(flags_fault_change, .traits = OWN | MACHINE_LAZY | MACHINE_OWNER | MACHINE_VCPUS,
	 .prepare = two_slots_and_user,
	 .threads = { faults_in_guest_mode, starts_log_of_slot_0, changes_both_slots },
	 .check = remove_both_slots)
SCENARIO(crowd_flags_fault, .traits = OWN | MACHINE_LAZY | MACHINE_OWNER | MACHINE_VCPUS,
	 .prepare = two_slots_in_a_crowd,
	 .threads = { faults_page_2_in_guest_mode, starts_log_of_slot_1, changes_around_slot_1 },
	 .check = end_crowd)

const struct explore_scenario explore_slot_scenarios[] = {
	{ "slot-read-remove", "G2 W4", "a cache over a slot that is removed", read_remove, 3,
	  true },
	{ "slot-read-remove-add", "G2 W4", "... and comes back", read_remove_add, 2, false },
	{ "slot-read-move-back", "G3 W4", "... that moves away and comes back", read_move_back, 2,
	  false },
	{ "slot-read-shrink", "G2", "... that loses other pages", read_shrink, 3, false },
	{ "slot-moves-page-moves", "G5", "a page's frame changes while its slot moves",
	  page_moves_slot_moves, 2, false },
	{ "slot-goes-page-moves", "G5", "... while its slot is removed", page_moves_slot_goes, 2,
	  false },
	{ "slot-moves-beside-page", "G5", "... and the page is read where it is then",
	  slot_moves_beside_page, 2, false },
	{ "slot-direct-move", "G4 W1", "looked up without a cache while the slot moves",
	  direct_move, 3, true },
	{ "slot-direct-remove", "G4 W1", "... while it is removed", direct_remove, 3, true },
	{ "slot-fault-remove", "L1 L11", "a fault in a slot that is removed", fault_remove, 3,
	  true },
	{ "slot-discard-remove", "L20", "its pages are discarded while it is removed",
	  discard_remove, 3, false },
	{ "slot-mark-remove", "P25", "marked dirty while it is removed", mark_remove, 3, true },
	{ "slot-harvest-remove", "W6", "harvested while it is removed", harvest_remove, 3, false },
	{ "slot-flags-fault-change", "W8 W9 G5",
	  "a change of more than the slot waits for a vCPU in a fault of the slot",
	  flags_fault_change, 1, false },
	{ "slot-crowd-flags-fault", "W3 G5",
	  "... when more changes than entries reach over the slot and none is of it",
	  crowd_flags_fault, 1, false },
	{ .name = NULL },
};
