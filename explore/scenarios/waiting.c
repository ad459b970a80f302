/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Who waits for whom: circles of threads that change something, and wakes that come too early. */
#include "scene.h"

static void activate_both(struct scene *scene)
{
	machine_must(gmm_cache_activate(scene->cache, 0, 8, SCENE_WRITE));
	machine_must(gmm_cache_create(scene->machine.guest, &scene->others[0]));
	machine_must(gmm_cache_activate(scene->others[0], SCENE_PAGE, 8, SCENE_WRITE));
}

/* Refreshes a cache over the other page meanwhile; who would wait in a circle is told so. */
static void changes_and_refreshes(struct scene *scene, uint64_t page, struct gmm_cache *other)
{
	struct gmm_range range = { page, page + 1 };
	int answer;

	machine_must(gmm_invalidate_begin(scene->machine.guest, GMM_RANGE_GFN, &range, 1, 0, NULL));
	answer = gmm_cache_refresh(other);
	machine_check(answer == 0 || answer == -GMM_EDEADLK ||
		      (answer == -GMM_ENOMEM && gmm_port_alloc_failed()));
	gmm_invalidate_end(scene->machine.guest, GMM_RANGE_GFN, &range, 1);
}

static void changes_page_0(void *arg)
{
	struct scene *scene = arg;

	changes_and_refreshes(scene, 0, scene->others[0]);
}

static void changes_page_1(void *arg)
{
	struct scene *scene = arg;

	changes_and_refreshes(scene, 1, scene->cache);
}

/* A vCPU faults in what is added, until it is served or there is no slot. */
static void faults_until_answered(void *arg)
{
	struct machine *machine = &((struct scene *)arg)->machine;
	uint64_t wakes;
	int answer;

	do {
		gmm_spin_lock(&machine->lock);
		wakes = machine->wakes;
		gmm_spin_unlock(&machine->lock);
		answer = machine_again(gmm_fault_serve(machine->guest, 0, GMM_ACCESS_READ));
		if (answer != GMM_FAULT_HELD)
			break;
		gmm_spin_lock(&machine->lock);
		while (machine->wakes == wakes)
			gmm_waitqueue_wait(&machine->woken, &machine->lock);
		gmm_spin_unlock(&machine->lock);
	} while (true);
	machine_check(answer == 0 || answer == -GMM_EFAULT);
}

static void adds_what_is_refused(void *arg)
{
	struct scene *scene = arg;
	struct gmm_slot_config slot = machine_slot(&scene->machine, 0, 0, 0, MACHINE_PAGES);

	scene->machine.slot_change_fails = -GMM_EIO;
	machine_check(machine_again(gmm_slot_add(scene->machine.guest, &slot)) == -GMM_EIO);
}

SCENARIO(two_changes, .prepare = activate_both, .threads = { changes_page_0, changes_page_1 })
SCENARIO(add_refused, .traits = MACHINE_NO_SLOT | MACHINE_LAZY | MACHINE_OWNER,
	 .threads = { faults_until_answered, adds_what_is_refused })

const struct explore_scenario explore_waiting_scenarios[] = {
	{ "waiting-two-changes", "W3 W7",
	  "two that change something refresh over each other's page", two_changes, 3, true },
	{ "waiting-add-refused", "W2", "a fault is held at the end of a slot that is refused",
	  add_refused, 3, false },
	{ .name = NULL },
};
