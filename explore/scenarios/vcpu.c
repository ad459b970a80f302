/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* vCPUs: frames used in guest mode, requests, kicks and sleep. */
#include "scene.h"

#define SERVED 0 /* numbers: requests that were taken */
#define TOLD 1	 /* what the requester wrote before */

static void guest_uses_page_0(struct scene *scene)
{
	machine_must(gmm_cache_activate(scene->cache, 0, 8, GMM_CACHE_GUEST));
	machine_must(gmm_cache_vcpu_add(scene->cache, scene->vcpus[0]));
}

static void both_use_page_0(struct scene *scene)
{
	guest_uses_page_0(scene);
	machine_must(gmm_cache_vcpu_add(scene->cache, scene->vcpus[1]));
}

static bool take(struct scene *scene, uint32_t id)
{
	uint32_t requests = gmm_vcpu_take_requests(scene->vcpus[id]);

	if (requests)
		gmm_fetch_add(&scene->numbers[SERVED], (uint64_t)__builtin_popcount(requests));
	return requests != 0;
}

/* Enters once and uses its frame there, twice. */
static void runs(struct scene *scene, uint32_t id)
{
	struct gmm_vcpu *vcpu = scene->vcpus[id];
	gmm_pfn_t pfn;
	uint64_t *word;
	int answer;

	while ((answer = machine_again(gmm_vcpu_enter(vcpu))) == -GMM_EAGAIN)
		take(scene, id);
	machine_must(answer);
	pfn = gmm_vcpu_pfn(vcpu, scene->cache, 0);
	if (pfn != GMM_PFN_NONE) {
		word = machine_frame(&scene->machine, pfn);
		machine_check(gmm_load_relaxed(word) == machine_word(0));
		machine_check(gmm_load_relaxed(word) == machine_word(0));
	}
	gmm_vcpu_exit(vcpu);
}

static void vcpu_0_runs(void *arg)
{
	runs(arg, 0);
}

static void vcpu_0_runs_twice(void *arg)
{
	runs(arg, 0);
	runs(arg, 0);
}

static void vcpu_1_runs(void *arg)
{
	runs(arg, 1);
}

static void moves(void *arg)
{
	struct scene *scene = arg;

	machine_move(&scene->machine, 0);
}

/* Out of the set it is not kicked, and uses no frame; in guest mode it stays in. */
static void leaves_set_and_moves(void *arg)
{
	struct scene *scene = arg;
	int answer = gmm_cache_vcpu_remove(scene->cache, scene->vcpus[0]);

	machine_check(answer == 0 || answer == -GMM_EBUSY);
	moves(arg);
}

static void joins_set(void *arg)
{
	struct scene *scene = arg;
	int answer = machine_again(gmm_cache_vcpu_add(scene->cache, scene->vcpus[1]));

	machine_check(answer == 0 || answer == -GMM_EBUSY);
}

static void deactivates(void *arg)
{
	struct scene *scene = arg;

	machine_must(gmm_cache_deactivate(scene->cache));
}

/* Enters; while it is in guest mode nobody who waited for it has gone on. */
static void runs_once(void *arg)
{
	struct scene *scene = arg;
	struct gmm_vcpu *vcpu = scene->vcpus[0];
	int answer;

	while ((answer = machine_again(gmm_vcpu_enter(vcpu))) == -GMM_EAGAIN)
		take(scene, 0);
	machine_must(answer);
	/* 2: the request has returned. While it was not taken, it does not while we are in here. */
	machine_check(gmm_load_relaxed(&scene->numbers[SERVED]) == 1 ||
		      gmm_load_relaxed(&scene->numbers[TOLD]) < 2);
	gmm_vcpu_exit(vcpu);
	take(scene, 0);
}

static void requests_and_waits(void *arg)
{
	struct scene *scene = arg;

	gmm_store_relaxed(&scene->numbers[TOLD], (uint64_t)1);
	machine_check(gmm_vcpu_request(scene->vcpus[0], 3, GMM_REQUEST_WAIT) >= 0);
	gmm_store_release(&scene->numbers[TOLD], (uint64_t)2);
}

static void request_was_taken(struct scene *scene)
{
	take(scene, 0);
	machine_check(scene->numbers[SERVED] == 1);
}

/* Sleeps until it is asked; a request that is never seen is a deadlock. */
static void sleeps_until_asked(void *arg)
{
	struct scene *scene = arg;

	while (!take(scene, 0))
		machine_must(gmm_vcpu_sleep(scene->vcpus[0]));
}

static void requests(void *arg)
{
	struct scene *scene = arg;

	machine_check(gmm_vcpu_request(scene->vcpus[0], 3, 0) >= 0);
}

static void kicks_both(void *arg)
{
	struct scene *scene = arg;
	uint64_t ids = 3;

	machine_check(gmm_vcpus_request(scene->machine.guest, &ids, 1, GMM_REQUEST_NONE,
					GMM_REQUEST_WAIT) >= 0);
}

static void nothing_is_left(struct scene *scene)
{
	machine_check(!gmm_vcpu_take_requests(scene->vcpus[0]));
	machine_check(!gmm_vcpu_take_requests(scene->vcpus[1]));
}

/* A kick is no request (P23). */
static void nothing_was_asked(struct scene *scene)
{
	nothing_is_left(scene);
	machine_check(scene->numbers[SERVED] == 0);
}

SCENARIO(run_move, .traits = MACHINE_VCPUS, .prepare = guest_uses_page_0,
	 .threads = { vcpu_0_runs, moves }, .check = nothing_was_asked)
SCENARIO(run_twice_move, .traits = MACHINE_VCPUS, .prepare = guest_uses_page_0,
	 .threads = { vcpu_0_runs_twice, moves })
SCENARIO(two_run_move, .traits = MACHINE_VCPUS, .prepare = both_use_page_0,
	 .threads = { vcpu_0_runs, vcpu_1_runs, moves })
SCENARIO(leave_set_move, .traits = MACHINE_VCPUS, .prepare = guest_uses_page_0,
	 .threads = { vcpu_0_runs, leaves_set_and_moves }, .check = nothing_was_asked)
SCENARIO(join_set_move, .traits = MACHINE_VCPUS, .prepare = guest_uses_page_0,
	 .threads = { vcpu_1_runs, joins_set, moves }, .check = nothing_was_asked)
SCENARIO(run_deactivate, .traits = MACHINE_VCPUS, .prepare = guest_uses_page_0,
	 .threads = { vcpu_0_runs, deactivates })
SCENARIO(run_deactivate_move, .traits = MACHINE_VCPUS, .prepare = guest_uses_page_0,
	 .threads = { vcpu_0_runs, deactivates, moves })
SCENARIO(request_wait, .traits = MACHINE_VCPUS, .threads = { runs_once, requests_and_waits },
	 .check = request_was_taken)
SCENARIO(sleep_request, .traits = MACHINE_VCPUS, .threads = { sleeps_until_asked, requests })
SCENARIO(kick_all, .traits = MACHINE_VCPUS, .threads = { vcpu_0_runs, vcpu_1_runs, kicks_both },
	 .check = nothing_is_left)

const struct explore_scenario explore_vcpu_scenarios[] = {
	{ "vcpu-run-move", "P23 P27 L6", "a frame is used in guest mode while its page moves",
	  run_move, 2, true },
	{ "vcpu-run-twice-move", "P23 P30", "... it leaves and enters again", run_twice_move, 2,
	  false },
	{ "vcpu-two-run-move", "P23", "two vCPUs of one set", two_run_move, 1, false },
	{ "vcpu-leave-set-move", "W8",
	  "a vCPU is taken out of a set while it enters; then the page moves", leave_set_move, 2,
	  true },
	{ "vcpu-join-set-move", "W8", "... is put into it", join_set_move, 1, false },
	{ "vcpu-run-deactivate", "P10 P23", "the cache ends under a vCPU", run_deactivate, 3,
	  true },
	{ "vcpu-run-deactivate-move", "P10 P23", "... while its page moves", run_deactivate_move, 2,
	  false },
	{ "vcpu-request-wait", "P23", "a request that waits until the vCPU is out", request_wait, 3,
	  true },
	{ "vcpu-sleep-request", "P23", "a request to a vCPU that goes to sleep", sleep_request, 4,
	  true },
	{ "vcpu-kick-all", "P23", "kicked without a request: nothing is left set", kick_all, 1,
	  false },
	{ .name = NULL },
};
