/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Faults on resident memory: the entry is a translation, which a change takes away (machine_check_quiet()). */
#include "scene.h"

static void serve(struct scene *scene, uint64_t gfn, uint32_t access)
{
	int answer = machine_again(gmm_fault_serve(scene->machine.guest, gfn, access));

	machine_check(answer == 0 || answer == GMM_FAULT_HELD);
}

static void mapped_page_0(struct scene *scene)
{
	serve(scene, 0, GMM_ACCESS_READ);
}

static void faults(void *arg)
{
	serve(arg, 0, GMM_ACCESS_READ);
}

static void faults_to_write(void *arg)
{
	serve(arg, 0, GMM_ACCESS_READ | GMM_ACCESS_WRITE);
}

/* Nobody changes page 1. */
static void faults_on_page_1(void *arg)
{
	struct scene *scene = arg;

	machine_must(gmm_fault_serve(scene->machine.guest, 1, GMM_ACCESS_READ));
}

static void moves(void *arg)
{
	struct scene *scene = arg;

	machine_move(&scene->machine, 0);
}

static void moves_by_hva(void *arg)
{
	struct scene *scene = arg;

	machine_move_by_hva(&scene->machine, 0);
}

SCENARIO(fault_move, .threads = { faults, moves })
SCENARIO(fault_move_by_hva, .threads = { faults, moves_by_hva })
SCENARIO(fault_again_move, .prepare = mapped_page_0, .threads = { faults, moves })
SCENARIO(two_faults_move, .traits = MACHINE_LOG, .prepare = mapped_page_0,
	 .threads = { faults, faults_to_write, moves })
SCENARIO(unrelated_move, .threads = { faults_on_page_1, moves })

const struct explore_scenario explore_resident_scenarios[] = {
	{ "resident-fault-move", "L1 L5", "a page is mapped while its frame changes", fault_move, 4,
	  true },
	{ "resident-fault-move-by-hva", "L1 G1", "... told by HVA", fault_move_by_hva, 3, false },
	{ "resident-fault-again-move", "L5 L12", "... a page that is mapped already",
	  fault_again_move, 4, true },
	{ "resident-two-faults-move", "L1 L5", "... by two vCPUs", two_faults_move, 2, false },
	{ "resident-unrelated-move", "L11", "another page changes: the fault is not held",
	  unrelated_move, 3, false },
	{ .name = NULL },
};
