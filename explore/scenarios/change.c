/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Changes: more at once than there are entries, without blocking, waited for, and stays of vCPUs. */
#include "scene.h"

#define DONE 0 /* numbers: the change is over */
#define CROWD (GMM_ACTIVE_RANGES - 1)

static void activate_page_0(struct scene *scene)
{
	machine_must(gmm_cache_activate(scene->cache, 0, 8, SCENE_WRITE));
}

static struct gmm_range crowd(uint32_t i)
{
	return (struct gmm_range){ 100 + 2 * i, 101 + 2 * i };
}

/*
 * Every entry but the last is taken: a begin may not fail, so what is more shares the last. One
 * thread has them all, so they are such that wait for nobody.
 */
static void begin_crowd(struct scene *scene)
{
	uint32_t i;

	activate_page_0(scene);
	for (i = 0; i < CROWD; i++) {
		struct gmm_range range = crowd(i);

		machine_must(gmm_invalidate_begin(scene->machine.guest, GMM_RANGE_GFN, &range, 1,
						  GMM_INVALIDATE_NONBLOCKING, NULL));
	}
}

static void end_crowd(struct scene *scene)
{
	struct gmm_reader *reader = scene_reader(scene);
	uint32_t i;

	for (i = 0; i < CROWD; i++) {
		struct gmm_range range = crowd(i);

		gmm_invalidate_end(scene->machine.guest, GMM_RANGE_GFN, &range, 1);
	}
	machine_check(machine_read(&scene->machine, scene->cache, reader, 0) == machine_word(0));
	gmm_reader_unregister(reader);
}

static void reads(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader = scene_reader(scene);

	machine_check(machine_read(&scene->machine, scene->cache, reader, 0) == machine_word(0));
	gmm_reader_unregister(reader);
}

static void moves(void *arg)
{
	struct scene *scene = arg;

	machine_move(&scene->machine, 0);
}

static void moves_page_1(void *arg)
{
	struct scene *scene = arg;

	machine_move(&scene->machine, 1);
}

static void waits(void *arg)
{
	struct scene *scene = arg;
	struct gmm_range range = { 0, 1 };

	machine_must(gmm_invalidate_wait(scene->machine.guest, GMM_RANGE_GFN, range));
}

static void moves_without_blocking(void *arg)
{
	struct scene *scene = arg;
	struct gmm_range range = { 0, 1 };

	machine_must(gmm_invalidate_begin(scene->machine.guest, GMM_RANGE_GFN, &range, 1,
					  GMM_INVALIDATE_NONBLOCKING, NULL));
	machine_move_frame(&scene->machine, 0);
	gmm_invalidate_end(scene->machine.guest, GMM_RANGE_GFN, &range, 1);
	gmm_store_release(&scene->numbers[DONE], (uint64_t)1);
}

static void resident_page_0(struct scene *scene)
{
	machine_must(gmm_fault_populate(scene->machine.guest, 0, 1, GMM_ACCESS_READ, 0));
}

static void guest_reads(void *arg)
{
	struct scene *scene = arg;

	machine_check(machine_guest_read(&scene->machine, 0) == machine_word(0));
}

static void guest_uses_page_0(struct scene *scene)
{
	machine_must(gmm_cache_activate(scene->cache, 0, 8, GMM_CACHE_GUEST));
	machine_must(gmm_cache_vcpu_add(scene->cache, scene->vcpus[0]));
}

static void lease_page_0(struct scene *scene)
{
	void *pointer;

	activate_page_0(scene);
	machine_must(gmm_lease_take(scene->cache, 0, 8, GMM_LEASE_WRITE, &pointer));
}

static void enter(struct scene *scene)
{
	int answer;

	while ((answer = machine_again(gmm_vcpu_enter(scene->vcpus[0]))) == -GMM_EAGAIN)
		gmm_vcpu_take_requests(scene->vcpus[0]);
	machine_must(answer);
}

/* Leaves guest mode when the change is over, and not before. */
static void runs_until_done(void *arg)
{
	struct scene *scene = arg;

	enter(scene);
	while (!gmm_load_acquire(&scene->numbers[DONE]))
		gmm_cpu_relax(0);
	gmm_vcpu_exit(scene->vcpus[0]);
}

static void drops_lease_when_done(void *arg)
{
	struct scene *scene = arg;

	while (!gmm_load_acquire(&scene->numbers[DONE]))
		gmm_cpu_relax(0);
	gmm_lease_drop(scene->cache, 0, 0);
}

/*
 * Stays in guest mode until it is told. A kick that met it while it was entering has made it enter
 * again: that is not the stay that the kicker waits for.
 */
static void stays_until_told(void *arg)
{
	struct scene *scene = arg;

	enter(scene);
	while (!gmm_load_acquire(&scene->vcpu_kicked[0]))
		gmm_cpu_relax(0);
	gmm_vcpu_exit(scene->vcpus[0]);
}

static void kicks_and_tells(void *arg)
{
	struct scene *scene = arg;

	machine_check(gmm_vcpu_request(scene->vcpus[0], GMM_REQUEST_NONE, GMM_REQUEST_WAIT) >= 0);
	gmm_store_release(&scene->vcpu_kicked[0], 1u);
}

SCENARIO(crowded_moves, .prepare = begin_crowd, .threads = { reads, moves, moves_page_1 },
	 .check = end_crowd)
SCENARIO(crowded_move, .prepare = begin_crowd, .threads = { reads, moves }, .check = end_crowd)
SCENARIO(read_move_fences, .traits = MACHINE_FENCES, .prepare = activate_page_0,
	 .threads = { reads, moves })
SCENARIO(wait_moves, .threads = { waits, moves, moves_page_1 })
SCENARIO(wait_two_moves, .threads = { waits, moves, moves })
SCENARIO(nonblocking_read, .prepare = activate_page_0, .threads = { reads, moves_without_blocking })
SCENARIO(nonblocking_fault, .traits = MACHINE_LAZY | MACHINE_OWNER, .prepare = resident_page_0,
	 .threads = { guest_reads, moves_without_blocking })
SCENARIO(nonblocking_vcpu, .traits = MACHINE_VCPUS, .prepare = guest_uses_page_0,
	 .threads = { runs_until_done, moves_without_blocking })
SCENARIO(nonblocking_lease, .prepare = lease_page_0,
	 .threads = { drops_lease_when_done, moves_without_blocking })
SCENARIO(second_stay, .traits = MACHINE_VCPUS, .threads = { stays_until_told, kicks_and_tells })

const struct explore_scenario explore_change_scenarios[] = {
	{ "change-crowd-move", "W3", "more changes than entries: the last one covers its page",
	  crowded_move, 2, false },
	{ "change-crowd-two-moves", "W3 P2", "... and another page's", crowded_moves, 1, false },
	{ "change-read-move-fences", "W1", "without membarrier readers' barriers are fences",
	  read_move_fences, 3, true },
	{ "change-wait", "W3 L11", "who waits for a change is woken at its end", wait_moves, 2,
	  false },
	{ "change-wait-two", "W3 G5", "... at the end of the last one", wait_two_moves, 2, false },
	{ "change-nonblocking-read", "P34", "a begin that may not block waits for readers",
	  nonblocking_read, 3, true },
	{ "change-nonblocking-fault", "P34 L1",
	  "... and a fault that is installing takes its page out again", nonblocking_fault, 3,
	  false },
	{ "change-nonblocking-vcpu", "P34", "... and not for a vCPU", nonblocking_vcpu, 3, false },
	{ "change-nonblocking-lease", "P34 W7", "... and not for a lease", nonblocking_lease, 3,
	  false },
	{ "vcpu-second-stay", "W8", "who kicks waits for that stay and for no other", second_stay,
	  3, true },
	{ .name = NULL },
};
