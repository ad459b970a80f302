/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Tables of the second stage: linked by the first fault, and there until the guest goes. */
#include "scene.h"

static void serve(struct scene *scene, uint64_t gfn)
{
	int answer = machine_again(gmm_fault_serve(scene->machine.guest, gfn, GMM_ACCESS_READ));

	machine_check(answer == 0 || answer == GMM_FAULT_HELD);
}

static void mapped_page_0(struct scene *scene)
{
	serve(scene, 0);
}

static void faults(void *arg)
{
	serve(arg, 0);
}

static void faults_on_page_1(void *arg)
{
	serve(arg, 1);
}

static void moves(void *arg)
{
	struct scene *scene = arg;

	machine_move(&scene->machine, 0);
}

static void guest_reads(void *arg)
{
	struct scene *scene = arg;

	machine_check(machine_guest_read(&scene->machine, 0) == machine_word(0));
}

static void guest_reads_page_1(void *arg)
{
	struct scene *scene = arg;

	machine_check(machine_guest_read(&scene->machine, 1) == machine_word(1));
}

static void evicts_all(void *arg)
{
	struct scene *scene = arg;

	machine_check(machine_again(gmm_evict(scene->machine.guest, 0, MACHINE_PAGES, 0)) >= 0);
}

static void harvests(void *arg)
{
	struct scene *scene = arg;
	uint64_t bitmap = 0;

	machine_check(gmm_dirty_harvest(scene->machine.guest, 0, 0, MACHINE_PAGES, &bitmap) >= 0);
}

static void page_1_is_mapped(struct scene *scene)
{
	struct gmm_page_info info;

	machine_must(gmm_page_query(scene->machine.guest, 1, &info));
	machine_check(info.mapped && info.pfn == 1);
}

static void both_are_mapped(struct scene *scene)
{
	struct gmm_page_info info;

	page_1_is_mapped(scene);
	machine_must(gmm_page_query(scene->machine.guest, 0, &info));
	machine_check(info.mapped && info.pfn == 0);
}

#define LAZY (MACHINE_TABLES | MACHINE_LAZY | MACHINE_OWNER)

SCENARIO(two_faults, .traits = MACHINE_TABLES, .threads = { faults, faults_on_page_1 },
	 .check = both_are_mapped)
SCENARIO(fault_move, .traits = MACHINE_TABLES, .prepare = mapped_page_0,
	 .threads = { faults_on_page_1, moves }, .check = page_1_is_mapped)
SCENARIO(fault_first_move, .traits = MACHINE_TABLES, .threads = { faults, moves })
SCENARIO(two_lazy_faults, .traits = LAZY, .threads = { guest_reads, guest_reads_page_1 })
SCENARIO(fault_evict, .traits = LAZY, .threads = { guest_reads, evicts_all })
SCENARIO(fault_harvest, .traits = LAZY | MACHINE_LOG, .threads = { guest_reads, harvests })

const struct explore_scenario explore_table_scenarios[] = {
	{ "table-two-faults", "L9", "two faults link one table", two_faults, 4, true },
	{ "table-fault-move", "L3",
	  "a fault is on its way in a table whose other page moves: the table stays", fault_move, 3,
	  true },
	{ "table-first-fault-move", "L3 L9", "a table is linked while its page moves",
	  fault_first_move, 3, true },
	{ "table-two-lazy-faults", "L9 L24", "two pages of one table are filled", two_lazy_faults,
	  3, false },
	{ "table-fault-evict", "L9", "a table is linked while its pages are looked for",
	  fault_evict, 2, false },
	{ "table-fault-harvest", "L9 W6", "... and harvested", fault_harvest, 2, false },
	{ .name = NULL },
};
