/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Leases (W7) and rings of dirty pages. */
#include "scene.h"

#define POINTER 0 /* numbers: what the lease gave */
#define ASKED 1

static void ask(void *opaque, struct gmm_cache *cache)
{
	struct scene *scene = opaque;

	gmm_fetch_add(&scene->numbers[ASKED], (uint64_t)1);
}

static void activate_page_0(struct scene *scene)
{
	machine_must(gmm_lease_set_ask(scene->cache, ask, scene));
	machine_must(gmm_cache_activate(scene->cache, 0, 8, SCENE_WRITE));
}

static void lease_page_0(struct scene *scene)
{
	void *pointer;

	activate_page_0(scene);
	machine_must(gmm_lease_take(scene->cache, 0, 8, GMM_LEASE_WRITE, &pointer));
	scene->numbers[POINTER] = (uintptr_t)pointer;
}

static void add_and_lease(struct scene *scene)
{
	struct gmm_slot_config slot = machine_slot(&scene->machine, 0, 0, 0, MACHINE_PAGES);

	machine_must(gmm_slot_add(scene->machine.guest, &slot));
	lease_page_0(scene);
}

static void moves_slot(void *arg)
{
	struct scene *scene = arg;

	machine_must(gmm_slot_move(scene->machine.guest, 0, 1));
}

/* The log goes with the slot, and has what was written before. */
static void moved_log_has_page_0(struct scene *scene)
{
	uint64_t bitmap = 0;

	machine_check(gmm_dirty_harvest(scene->machine.guest, 0, 0, MACHINE_PAGES, &bitmap) >= 0);
	machine_check(bitmap == 1);
	machine_must(gmm_cache_deactivate(scene->cache));
	machine_must(gmm_slot_remove(scene->machine.guest, 0));
}

/* I/O outside any section. */
static void does_io(void *arg)
{
	struct scene *scene = arg;
	void *pointer;

	machine_must(gmm_lease_take(scene->cache, 0, 8, GMM_LEASE_WRITE, &pointer));
	machine_check(gmm_load_relaxed((uint64_t *)pointer) == machine_word(0));
	gmm_store_relaxed((uint64_t *)pointer, (uint64_t)77);
	gmm_lease_drop(scene->cache, 0, 8);
}

static void lease_page_0_twice(struct scene *scene)
{
	void *pointer;

	lease_page_0(scene);
	machine_must(gmm_lease_take(scene->cache, 0, 8, GMM_LEASE_WRITE, &pointer));
}

/* Its frame may have gone under it: a change that does not wait does that. Its mapping has not. */
static void still_uses_mapping(void *arg)
{
	struct scene *scene = arg;
	uint64_t *pointer = (uint64_t *)(uintptr_t)scene->numbers[POINTER];

	machine_load(&scene->machine, pointer);
	machine_load(&scene->machine, pointer);
	gmm_lease_drop(scene->cache, 0, 0);
}

static void moves_without_blocking_and_reads(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader = scene_reader(scene);
	struct gmm_range range = { 0, 1 };

	machine_must(gmm_invalidate_begin(scene->machine.guest, GMM_RANGE_GFN, &range, 1,
					  GMM_INVALIDATE_NONBLOCKING, NULL));
	machine_move_frame(&scene->machine, 0);
	gmm_invalidate_end(scene->machine.guest, GMM_RANGE_GFN, &range, 1);
	machine_check(machine_read(&scene->machine, scene->cache, reader, 0) == machine_word(0));
	gmm_reader_unregister(reader);
}

static void completes_one(void *arg)
{
	struct scene *scene = arg;
	uint64_t *pointer = (uint64_t *)(uintptr_t)scene->numbers[POINTER];
	uint64_t word = machine_load(&scene->machine, pointer);

	machine_check(word == machine_word(0) || word == 77);
	machine_store(&scene->machine, pointer, 77);
	gmm_lease_drop(scene->cache, 0, 8);
}

/* Taken before, completed on this thread. */
static void completes_io(void *arg)
{
	struct scene *scene = arg;
	uint64_t *pointer = (uint64_t *)(uintptr_t)scene->numbers[POINTER];

	machine_check(gmm_load_relaxed(pointer) == machine_word(0));
	gmm_store_relaxed(pointer, (uint64_t)77);
	gmm_lease_drop(scene->cache, 0, 8);
}

static void moves(void *arg)
{
	struct scene *scene = arg;

	machine_move(&scene->machine, 0);
}

static void evicts(void *arg)
{
	struct scene *scene = arg;

	machine_check(machine_again(gmm_evict(scene->machine.guest, 0, 1, 0)) >= 0);
}

static void harvests(void *arg)
{
	struct scene *scene = arg;
	uint64_t bitmap;

	machine_check(gmm_dirty_harvest(scene->machine.guest, 0, 0, MACHINE_PAGES, &bitmap) >= 0);
	if (bitmap & 1) {
		uint64_t found[MACHINE_PAGE_BYTES / sizeof(uint64_t)];

		machine_must(gmm_page_read(scene->machine.guest, 0, found));
		scene->numbers[2] = found[0];
	}
}

static void deactivates_or_is_busy(void *arg)
{
	struct scene *scene = arg;
	int answer = gmm_cache_deactivate(scene->cache);

	machine_check(answer == 0 || answer == -GMM_EBUSY);
}

static void does_io_if_active(void *arg)
{
	struct scene *scene = arg;
	void *pointer;
	int answer = gmm_lease_take(scene->cache, 0, 8, GMM_LEASE_WRITE, &pointer);

	machine_check(answer == 0 || answer == -GMM_EINVAL);
	if (answer)
		return;
	machine_check(gmm_load_relaxed((uint64_t *)pointer) == machine_word(0));
	gmm_lease_drop(scene->cache, 0, 0);
}

static void page_0_is_77(struct scene *scene)
{
	uint64_t found[MACHINE_PAGE_BYTES / sizeof(uint64_t)];

	machine_must(gmm_page_read(scene->machine.guest, 0, found));
	machine_check(found[0] == 77);
	machine_check(gmm_lease_count(scene->cache) == 0);
}

static void harvest_has_77(struct scene *scene)
{
	harvests(scene);
	machine_check(scene->numbers[2] == 77);
}

SCENARIO(io_move, .prepare = activate_page_0, .threads = { does_io, moves }, .check = page_0_is_77)
SCENARIO(completion_move, .prepare = lease_page_0, .threads = { completes_io, moves },
	 .check = page_0_is_77)
SCENARIO(io_evict, .traits = MACHINE_LAZY | MACHINE_OWNER, .prepare = activate_page_0,
	 .threads = { does_io, evicts }, .check = page_0_is_77)
SCENARIO(completion_evict, .traits = MACHINE_LAZY | MACHINE_OWNER, .prepare = lease_page_0,
	 .threads = { completes_io, evicts, evicts }, .check = page_0_is_77)
SCENARIO(io_harvest, .traits = MACHINE_LAZY | MACHINE_OWNER | MACHINE_LOG, .prepare = lease_page_0,
	 .threads = { completes_io, harvests }, .check = harvest_has_77)
SCENARIO(completion_slot_move, .traits = MACHINE_NO_SLOT | MACHINE_LOG, .prepare = add_and_lease,
	 .threads = { completes_io, moves_slot }, .check = moved_log_has_page_0)
SCENARIO(two_completions_move, .prepare = lease_page_0_twice,
	 .threads = { completes_one, completes_one, moves }, .check = page_0_is_77)
SCENARIO(nonblocking_refresh, .prepare = lease_page_0,
	 .threads = { still_uses_mapping, moves_without_blocking_and_reads })
SCENARIO(io_deactivate, .prepare = activate_page_0,
	 .threads = { does_io_if_active, deactivates_or_is_busy })

const struct explore_scenario explore_lease_scenarios[] = {
	{ "lease-io-move", "W7", "I/O through a lease while its page moves", io_move, 3, true },
	{ "lease-completion-move", "W7", "a change waits for the completion", completion_move, 3,
	  true },
	{ "lease-two-completions-move", "W7", "... for each of two", two_completions_move, 2,
	  false },
	{ "lease-nonblocking-refresh", "W7 P34",
	  "a change that may not wait goes over it: a refresh waits before it maps anew",
	  nonblocking_refresh, 3, true },
	{ "lease-io-evict", "W7 W10", "... while it is evicted", io_evict, 2, true },
	{ "lease-completion-evict", "W7 W10", "a leased page is passed over", completion_evict, 2,
	  false },
	{ "lease-io-harvest", "W6 W7", "marked at completion, before the drop", io_harvest, 3,
	  true },
	{ "lease-completion-slot-move", "P25 W7", "... while its slot moves", completion_slot_move,
	  3, true },
	{ "lease-io-deactivate", "W7", "the cache ends, or is busy", io_deactivate, 3, true },
	{ .name = NULL },
};
