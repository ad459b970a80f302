/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Tables in formats of hardware: installed, walked and taken away by several threads at once. */
#include <guestmm/stage2_table.h>

#include <gmm_port/alloc.h>
#include <gmm_port/atomic.h>
#include <gmm_port/lock.h>

#include "hardware.h"
#include "machine.h"
#include "scenario.h"

#define RANK_RUNNING 200 /* of no lock of the engine */
#define TABLE_BYTES 4096u
#define TABLES 12u
#define LEAF (GMM_LEAF_READ | GMM_LEAF_WRITE | GMM_LEAF_YOUNG | GMM_LEAF_DIRTY)
#define GFN 3u
#define PFN 100u
/* A leaf of level 1, and its parts. */
#define LARGE 512u
#define PARTS 512u
#define CLEAN (GMM_LEAF_READ | GMM_LEAF_WRITE | GMM_LEAF_YOUNG)

struct state {
	struct gmm_stage2_table *table;
	struct gmm_stage2_walker *walkers[2];
	unsigned char *memory; /* of tables; not given back one by one, but poisoned */
	uint32_t used;
	uint32_t current; /* atomic; which frame GFN is */
	/* Of the guest that the second thread runs; it forgets no translation within an access. */
	struct hardware hardware;
	struct gmm_spinlock running;
	bool may_conflict; /* both sizes of a leaf may be remembered */
};

struct plan {
	uint32_t format;
	uint32_t flags;
	bool processor;
	void (*prepare)(struct state *state);
	void (*threads[2])(void *state);
	void (*check)(struct state *state);
};

static void *table_alloc(void *owner, uint64_t bytes)
{
	struct state *state = owner;
	uintptr_t first = ((uintptr_t)state->memory + 2 * TABLE_BYTES - 1) &
			  ~(2 * TABLE_BYTES - 1ul);

	/* Roots of two tables begin at a multiple of that. */
	state->used = (state->used + (uint32_t)(bytes / TABLE_BYTES) - 1) &
		      ~((uint32_t)(bytes / TABLE_BYTES) - 1);
	machine_check(bytes <= 2 * TABLE_BYTES && state->used + 2 <= TABLES);
	state->used += (uint32_t)(bytes / TABLE_BYTES);
	return (void *)(first + state->used * TABLE_BYTES - bytes);
}

static void table_free(void *owner, void *table, uint64_t bytes)
{
	gmm_memset(table, 0xff, bytes);
}

static void flush(void *owner, const struct gmm_stage2_flush *what)
{
	struct state *state = owner;

	if (!state->hardware.remembers)
		return;
	gmm_spin_lock(&state->running);
	hardware_forget(&state->hardware, what->gfn << 12, what->count << 12);
	gmm_spin_unlock(&state->running);
}

static const struct gmm_stage2_table_ops ops = {
	.version = GMM_STAGE2_TABLE_OPS_VERSION,
	.name = "explore",
	.table_alloc = table_alloc,
	.table_free = table_free,
	.flush = flush,
};

static void play(const struct plan *plan)
{
	struct state *state = gmm_zalloc(sizeof(*state));
	struct gmm_stage2_table_config config = {
		.format = plan->format,
		.flags = plan->flags,
		.ops = &ops,
		.owner = state,
	};
	struct gmm_sim_thread *threads[2];
	uint32_t i;

	machine_check(state);
	state->memory = gmm_zalloc((TABLES + 2) * TABLE_BYTES);
	machine_check(state->memory);
	machine_must(gmm_stage2_table_create(&config, &state->table));
	for (i = 0; i < 2; i++) {
		machine_must(gmm_stage2_walker_create(state->table, &state->walkers[i]));
		machine_must(gmm_stage2_walker_top_up(state->walkers[i], 0));
	}
	gmm_spin_init(&state->running, RANK_RUNNING);
	state->hardware.format = plan->format;
	state->hardware.sets_bits = state->hardware.remembers = plan->processor;
	gmm_stage2_table_read_root(state->table, &state->hardware.root);
	state->may_conflict = !(gmm_stage2_format_read_facts(plan->format)->facts &
				GMM_STAGE2_BREAKS_BEFORE_MAKE);
	if (plan->prepare)
		plan->prepare(state);
	for (i = 0; i < 2; i++)
		threads[i] = gmm_sim_thread_start(plan->threads[i], state, i ? "second" : "first");
	gmm_sim_checkpoint();
	for (i = 0; i < 2; i++)
		gmm_sim_thread_join(threads[i]);
	plan->check(state);
	for (i = 0; i < 2; i++)
		gmm_stage2_walker_destroy(state->walkers[i]);
	machine_must(gmm_stage2_table_destroy(state->table));
	gmm_spin_destroy(&state->running);
	gmm_free(state->memory, (TABLES + 2) * TABLE_BYTES);
	gmm_free(state, sizeof(*state));
}

static int map(struct state *state, uint32_t walker, uint64_t gfn, uint64_t pfn)
{
	struct gmm_stage2_mapping mapping = { .gfn = gfn, .count = 1, .pfn = pfn, .leaf = LEAF };
	struct gmm_stage2_leaf leaf;

	return gmm_stage2_table_map_leaf(state->walkers[walker], &mapping, gfn, &leaf);
}

static uint64_t pfn_of(struct state *state, uint64_t gfn)
{
	struct gmm_stage2_leaf leaf;
	int error = gmm_stage2_table_look_up(state->walkers[0], gfn, &leaf);

	machine_check(!error || error == -GMM_ENOENT || error == -GMM_EAGAIN);
	return error ? GMM_PFN_NONE : leaf.pfn;
}

static void map_page(struct state *state)
{
	machine_must(map(state, 0, GFN, PFN));
	machine_must(gmm_stage2_walker_top_up(state->walkers[0], 0));
}

static void faults(void *arg)
{
	struct state *state = arg;
	int error = gmm_stage2_watch_begin(state->walkers[0], GFN, 1);

	machine_check(!error || error == -GMM_EAGAIN);
	if (error)
		return;
	error = map(state, 0, GFN, PFN + gmm_load_acquire(&state->current));
	machine_check(!error || error == -GMM_EAGAIN);
	gmm_stage2_watch_end(state->walkers[0]);
}

static void moves(void *arg)
{
	struct state *state = arg;

	machine_must(gmm_stage2_change_begin(state->walkers[1], GFN, 1));
	gmm_store_release(&state->current, 1u);
	machine_check(gmm_stage2_table_unmap(state->walkers[1], GFN, 1, NULL) >= 0);
	gmm_stage2_change_end(state->walkers[1]);
}

static void the_old_frame_is_not_mapped(struct state *state)
{
	uint64_t pfn = pfn_of(state, GFN);

	machine_check(pfn == PFN + 1 || pfn == GMM_PFN_NONE);
}

static void looks(void *arg)
{
	struct state *state = arg;
	uint64_t pfn = pfn_of(state, GFN);

	machine_check(pfn == PFN || pfn == GMM_PFN_NONE);
}

static void unmaps_all(void *arg)
{
	struct state *state = arg;

	machine_check(gmm_stage2_table_unmap(state->walkers[1], 0, 512, NULL) == 1);
}

static void nothing_is_mapped(struct state *state)
{
	struct gmm_stage2_statistics statistics;

	machine_check(pfn_of(state, GFN) == GMM_PFN_NONE);
	gmm_stage2_table_read_statistics(state->table, &statistics);
	machine_check(!statistics.tables[0] && !statistics.leaves[0]);
}

static void maps_one(void *arg)
{
	machine_check(!map(arg, 0, GFN, PFN));
}

static void maps_next(void *arg)
{
	machine_check(!map(arg, 1, GFN + 1, PFN + 1));
}

static void both_are_in_one_table(struct state *state)
{
	struct gmm_stage2_statistics statistics;

	machine_check(pfn_of(state, GFN) == PFN && pfn_of(state, GFN + 1) == PFN + 1);
	gmm_stage2_table_read_statistics(state->table, &statistics);
	machine_check(statistics.tables[0] == 1 && statistics.leaves[0] == 2);
}

static void replaces(void *arg)
{
	struct state *state = arg;

	machine_check(gmm_stage2_table_replace(state->walkers[0], GFN, PFN + 9, LEAF) == 1);
}

static void protects(void *arg)
{
	struct state *state = arg;

	machine_check(gmm_stage2_table_write_protect(state->walkers[1], GFN, 1, NULL, NULL, 0) ==
		      1);
}

static void the_new_frame_is_protected(struct state *state)
{
	struct gmm_stage2_leaf leaf;

	machine_must(gmm_stage2_table_look_up(state->walkers[0], GFN, &leaf));
	machine_check(leaf.pfn == PFN + 9 && (leaf.leaf & GMM_LEAF_PROTECTED) &&
		      (leaf.leaf & GMM_LEAF_DIRTY));
}

static void map_large(struct state *state, uint32_t level_max)
{
	struct gmm_stage2_mapping mapping = {
		.gfn = LARGE, .count = PARTS, .pfn = LARGE, .leaf = CLEAN, .level_max = level_max
	};

	machine_must(gmm_stage2_table_map(state->walkers[0], &mapping, NULL));
	machine_must(gmm_stage2_walker_top_up(state->walkers[0], 0));
}

static void map_leaf(struct state *state)
{
	map_large(state, 1);
}

static void map_parts(struct state *state)
{
	map_large(state, 0);
}

static void guest_access(struct state *state, uint64_t gfn, uint32_t access)
{
	struct hardware_result result;
	struct gmm_stage2_leaf leaf;
	enum hardware_answer answer;
	uint32_t turn = 0;
	int error;

	for (;;) {
		gmm_spin_lock(&state->running);
		answer = hardware_access(&state->hardware, gfn << 12, access, &result);
		gmm_spin_unlock(&state->running);
		machine_check(answer != HARDWARE_RESERVED);
		if (answer == HARDWARE_DONE)
			break;
		if (answer == HARDWARE_CONFLICT) {
			/* Where it is allowed the processor takes either. */
			machine_check(state->may_conflict);
			break;
		}
		error = gmm_stage2_table_touch(state->walkers[1], gfn, access, 0, &leaf);
		machine_check(!error || error == -GMM_EAGAIN);
		if (error)
			gmm_cpu_relax(turn++);
	}
	machine_check(result.address >> 12 == gfn);
}

/* The write is to a page whose translation, as part of the leaf, allows reading only. */
static void runs(void *arg)
{
	guest_access(arg, LARGE + 1, GMM_LEAF_READ);
	guest_access(arg, LARGE + 2, GMM_LEAF_WRITE);
}

static void splits(void *arg)
{
	struct state *state = arg;

	machine_must(gmm_stage2_table_split(state->walkers[0], LARGE + 9, 1, 0, NULL));
}

static void collapses(void *arg)
{
	struct state *state = arg;

	machine_check(gmm_stage2_table_collapse(state->walkers[0], LARGE, PARTS, 1) == 1);
}

static void the_write_is_told(struct state *state, uint32_t level)
{
	struct gmm_stage2_leaf leaf;

	machine_must(gmm_stage2_table_look_up(state->walkers[0], LARGE + 2, &leaf));
	machine_check(leaf.level == level && (leaf.leaf & GMM_LEAF_DIRTY));
}

static void parts_are_there(struct state *state)
{
	struct gmm_stage2_statistics statistics;

	the_write_is_told(state, 0);
	gmm_stage2_table_read_statistics(state->table, &statistics);
	machine_check(statistics.leaves[0] == PARTS && !statistics.leaves[1]);
}

static void a_leaf_is_there(struct state *state)
{
	struct gmm_stage2_statistics statistics;

	the_write_is_told(state, 1);
	gmm_stage2_table_read_statistics(state->table, &statistics);
	machine_check(!statistics.leaves[0] && statistics.leaves[1] == 1);
}

#define PLAN(function, ...)                                      \
	static void function(void *arg)                          \
	{                                                        \
		static const struct plan plan = { __VA_ARGS__ }; \
                                                                 \
		play(&plan);                                     \
	}

PLAN(fault_move, .format = GMM_STAGE2_NPT, .threads = { faults, moves },
     .check = the_old_frame_is_not_mapped)
PLAN(look_unmap, .format = GMM_STAGE2_NPT, .prepare = map_page, .threads = { looks, unmaps_all },
     .check = nothing_is_mapped)
PLAN(two_maps, .format = GMM_STAGE2_NPT, .threads = { maps_one, maps_next },
     .check = both_are_in_one_table)
PLAN(replace_protect, .format = GMM_STAGE2_NPT, .prepare = map_page,
     .threads = { replaces, protects }, .check = the_new_frame_is_protected)
PLAN(break_protect, .format = GMM_STAGE2_ARM64_4K, .prepare = map_page,
     .threads = { replaces, protects }, .check = the_new_frame_is_protected)
#define RUNS(function, kind, bits, before, does, after)                               \
	PLAN(function, .format = GMM_STAGE2_##kind, .flags = bits, .processor = true, \
	     .prepare = before, .threads = { does, runs }, .check = after)
RUNS(split_run, ARM64_4K, GMM_STAGE2_HARDWARE_DIRTY, map_leaf, splits, parts_are_there)
RUNS(split_fault, ARM64_4K, 0, map_leaf, splits, parts_are_there)
RUNS(split_in_place, NPT, 0, map_leaf, splits, parts_are_there)
RUNS(collapse_run, ARM64_4K, GMM_STAGE2_HARDWARE_DIRTY, map_parts, collapses, a_leaf_is_there)
RUNS(collapse_fault, ARM64_4K, 0, map_parts, collapses, a_leaf_is_there)

const struct explore_scenario explore_format_table_scenarios[] = {
	{ "format-fault-move", "L1", "a frame goes while a fault is about to map it", fault_move, 2,
	  false },
	{ "format-look-unmap", "L3", "a table goes that somebody is walking", look_unmap, 2, true },
	{ "format-two-maps", "L9", "two faults link one table", two_maps, 2, false },
	{ "format-replace-protect", "L22", "a frame is replaced while it is protected",
	  replace_protect, 2, true },
	{ "format-break-protect", "L22", "... by break-before-make", break_protect, 2, false },
	{ "format-split-run", "W10", "a leaf is split by break-before-make under a processor",
	  split_run, 2, false },
	{ "format-split-fault", "L23", "... whose writes fault", split_fault, 2, false },
	{ "format-split-in-place", "W10", "... in place, where that is allowed", split_in_place, 2,
	  false },
	{ "format-collapse-run", "W10", "pages become a leaf under a processor", collapse_run, 1,
	  false },
	{ "format-collapse-fault", "L23", "... whose writes fault", collapse_fault, 1, false },
	{ .name = NULL },
};
