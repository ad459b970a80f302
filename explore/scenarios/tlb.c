/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* vCPUs that keep translations: what is taken away is flushed before it is changed. */
#include "scene.h"

static void guest_reads(void *arg)
{
	struct scene *scene = arg;

	machine_check(machine_guest_read(&scene->machine, 0) == machine_word(0));
	machine_check(machine_guest_read(&scene->machine, 0) == machine_word(0));
}

static void guest_writes(void *arg)
{
	struct scene *scene = arg;

	machine_guest_write(&scene->machine, 0, 77);
	machine_guest_write(&scene->machine, 0, 78);
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

static void read_page_0(struct scene *scene)
{
	machine_check(machine_guest_read(&scene->machine, 0) == machine_word(0));
}

static void written_page_0(struct scene *scene)
{
	machine_guest_write(&scene->machine, 0, 55);
}

static void is_78(struct scene *scene)
{
	machine_check(machine_guest_read(&scene->machine, 0) == 78);
}

#define KEPT (MACHINE_LAZY | MACHINE_OWNER | MACHINE_TLB)
#define PLAN(name, kept, ...)                                                          \
	static void name(void *arg)                                                    \
	{                                                                              \
		static const struct scene_plan plan = { .traits = kept, __VA_ARGS__ }; \
                                                                                       \
		scene_play(&plan);                                                     \
	}

PLAN(read_move, KEPT, .prepare = read_page_0, .threads = { guest_reads, moves })
PLAN(two_read_move, KEPT, .prepare = read_page_0, .threads = { guest_reads, guest_reads, moves })
PLAN(write_move, KEPT, .prepare = written_page_0, .threads = { guest_writes, moves },
     .check = is_78)
PLAN(write_evict, KEPT, .prepare = written_page_0, .threads = { guest_writes, evicts },
     .check = is_78)

const struct explore_scenario explore_tlb_scenarios[] = {
	{ "tlb-read-move", "W10", "a vCPU reads with kept translations while the page moves",
	  read_move, 3, false },
	{ "tlb-two-read-move", "W10", "... two vCPUs, each with its own", two_read_move, 1, false },
	{ "tlb-write-move", "W10", "... and writes", write_move, 3, false },
	{ "tlb-write-evict", "W10", "the page is written while it is evicted", write_evict, 2,
	  false },
	{ .name = NULL },
};

/* Not in the table: a second stage that forgets to flush, which the scenarios have to find. */
#define UNFLUSHED (KEPT | MACHINE_TLB_UNFLUSHED)
PLAN(unflushed_read_move, UNFLUSHED, .prepare = read_page_0, .threads = { guest_reads, moves })
PLAN(unflushed_write_evict, UNFLUSHED, .prepare = written_page_0,
     .threads = { guest_writes, evicts }, .check = is_78)

const struct explore_scenario explore_tlb_defects[] = {
	{ "tlb-read-move-unflushed", "", "", unflushed_read_move, 3, false },
	{ "tlb-write-evict-unflushed", "", "", unflushed_write_evict, 2, false },
	{ .name = NULL },
};
