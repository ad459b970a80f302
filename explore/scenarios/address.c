/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Changes told by address: of memory in no slot (P35), and up to the end of a slot (G1). */
#include "scene.h"

#define LAST (MACHINE_PAGES - 1)

static void activate_address(struct scene *scene)
{
	machine_must(gmm_cache_activate_hva(scene->cache, MACHINE_HVA, 8, SCENE_HOST));
}

static void activate_last_page(struct scene *scene)
{
	machine_must(gmm_cache_activate(scene->cache, LAST * SCENE_PAGE, 8, SCENE_WRITE));
}

static void activate_last_address(struct scene *scene)
{
	machine_must(gmm_cache_activate_hva(scene->cache, MACHINE_HVA + LAST * SCENE_PAGE, 8,
					    SCENE_HOST));
}

static void reads(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader = scene_reader(scene);

	machine_check(machine_read(&scene->machine, scene->cache, reader, 0) == machine_word(0));
	gmm_reader_unregister(reader);
}

static void reads_last(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader = scene_reader(scene);

	machine_check(machine_read(&scene->machine, scene->cache, reader, 0) == machine_word(LAST));
	gmm_reader_unregister(reader);
}

static void moves_by_hva(void *arg)
{
	struct scene *scene = arg;

	machine_move_by_hva(&scene->machine, 0);
}

static void moves_by_hva_twice(void *arg)
{
	moves_by_hva(arg);
	moves_by_hva(arg);
}

static void adds_slot(void *arg)
{
	struct scene *scene = arg;
	struct gmm_slot_config slot = machine_slot(&scene->machine, 0, 0, 0, MACHINE_PAGES);

	machine_must(gmm_slot_add(scene->machine.guest, &slot));
}

static void adds_slot_and_moves(void *arg)
{
	struct scene *scene = arg;

	adds_slot(arg);
	machine_move(&scene->machine, 0);
}

static void remove_slot(struct scene *scene)
{
	machine_must(gmm_cache_deactivate(scene->cache));
	machine_must(gmm_slot_remove(scene->machine.guest, 0));
}

/* Tells a change of pages k ... LAST, of which the last moves. */
static void changes_to_the_end(struct scene *scene, enum gmm_range_kind kind, uint64_t k)
{
	struct gmm_range range = { k, MACHINE_PAGES };

	if (kind == GMM_RANGE_HVA)
		range = (struct gmm_range){ MACHINE_HVA + k * SCENE_PAGE,
					    MACHINE_HVA + MACHINE_PAGES * SCENE_PAGE };
	machine_must(gmm_invalidate_begin(scene->machine.guest, kind, &range, 1, 0, NULL));
	machine_move_frame(&scene->machine, LAST);
	gmm_invalidate_end(scene->machine.guest, kind, &range, 1);
}

#define CHANGE(k)                                               \
	static void addresses_from_##k(void *arg)               \
	{                                                       \
		changes_to_the_end(arg, GMM_RANGE_HVA, k);      \
	}                                                       \
	static void frames_from_##k(void *arg)                  \
	{                                                       \
		changes_to_the_end(arg, GMM_RANGE_GFN, k);      \
	}                                                       \
	SCENARIO(by_hva_##k, .prepare = activate_last_page,     \
		 .threads = { reads_last, addresses_from_##k }) \
	SCENARIO(by_gfn_##k, .prepare = activate_last_address,  \
		 .threads = { reads_last, frames_from_##k })

CHANGE(0)
CHANGE(1)
CHANGE(2)
CHANGE(3)

#define OUTSIDE (MACHINE_NO_SLOT | MACHINE_HVA_MEMORY)

SCENARIO(no_slot_move, .traits = OUTSIDE, .prepare = activate_address,
	 .threads = { reads, moves_by_hva })
SCENARIO(no_slot_two_moves, .traits = OUTSIDE, .prepare = activate_address,
	 .threads = { reads, moves_by_hva_twice })
SCENARIO(slot_comes, .traits = OUTSIDE, .prepare = activate_address,
	 .threads = { reads, adds_slot_and_moves }, .check = remove_slot)

const struct explore_scenario explore_address_scenarios[] = {
	{ "address-no-slot-move", "P35", "memory in no slot is read while it moves", no_slot_move,
	  3, true },
	{ "address-no-slot-two-moves", "P35 P3", "... twice: away and back", no_slot_two_moves, 2,
	  false },
	{ "address-slot-comes", "P35 G2", "... while a slot comes to be there, whose page moves",
	  slot_comes, 2, false },
	{ "address-end-from-0", "G1", "the whole slot changes, told by HVA; its last page is read",
	  by_hva_0, 2, false },
	{ "address-end-from-1", "G1", "... from its second page on", by_hva_1, 2, false },
	{ "address-end-from-2", "G1", "... from its third", by_hva_2, 2, false },
	{ "address-end-from-3", "G1", "... its last page alone", by_hva_3, 2, false },
	{ "address-frames-from-0", "G1", "the whole slot changes, told by GFN; a cache is by HVA",
	  by_gfn_0, 2, false },
	{ "address-frames-from-1", "G1", "... from its second page on", by_gfn_1, 2, false },
	{ "address-frames-from-2", "G1", "... from its third", by_gfn_2, 2, false },
	{ "address-frames-from-3", "G1", "... its last page alone", by_gfn_3, 2, false },
	{ .name = NULL },
};
