/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What most scenarios are made of: a machine, a cache, two vCPUs, some numbers, and up to three
 * threads whose functions get the scene.
 */
#ifndef GMM_EXPLORE_SCENE_H
#define GMM_EXPLORE_SCENE_H

#include <guestmm/lease.h>

#include "machine.h"
#include "scenario.h"

#define SCENE_HOST (GMM_CACHE_HOST)
#define SCENE_WRITE (GMM_CACHE_HOST | GMM_CACHE_WRITE)
#define SCENE_PAGE ((uint64_t)MACHINE_PAGE_BYTES)

#define SCENE_OTHERS 4u

struct scene {
	struct machine machine;
	struct gmm_cache *cache;
	struct gmm_cache *others[SCENE_OTHERS]; /* what prepare() makes; destroyed at the end */
	struct gmm_vcpu *vcpus[2];
	uint64_t numbers[8];	 /* atomic where threads share them */
	uint32_t vcpu_kicked[2]; /* atomic */
};

typedef void (*scene_fn)(void *scene);

struct scene_plan {
	uint32_t traits;		      /* MACHINE_* */
	void (*prepare)(struct scene *scene); /* before the threads; may be NULL */
	scene_fn threads[3];
	void (*check)(struct scene *scene); /* after them; may be NULL */
};

/* The whole scenario: made, explored, checked, unmade. */
void scene_play(const struct scene_plan *plan);

/*
 * For tests: gets a number for what there is at the end of each schedule: equal for equal memory,
 * page states and counters. NULL: nobody asks.
 */
extern void (*scene_outcome)(uint64_t outcome);

/* A reader of the calling thread. */
struct gmm_reader *scene_reader(struct scene *scene);

/* The run() of a scenario that is a plan. */
#define SCENARIO(function, ...)                                        \
	static void function(void *arg)                                \
	{                                                              \
		static const struct scene_plan plan = { __VA_ARGS__ }; \
                                                                       \
		scene_play(&plan);                                     \
	}

#endif
