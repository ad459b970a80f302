/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What a schedule did, step by step, collected while it is replayed: the search collects nothing.
 */
#ifndef GMM_EXPLORE_STEPS_H
#define GMM_EXPLORE_STEPS_H

#include "objects.h"
#include "search.h"

#define STEP_CALLS 32u
#define STEP_VALUE_BYTES 8u

enum step_kind {
	STEP_DONE,
	STEP_DELAYED, /* a store that others see later */
	STEP_SEEN,    /* it becomes seen */
	STEP_OWN,     /* nobody else can tell */
};

/* A word before and after; known only when it fits. */
struct step_value {
	bool known;
	uint32_t size;
	uint64_t before, after;
	/* What they point to. */
	struct explore_object points_before, points_after;
};

struct step {
	enum step_kind kind;
	uint32_t thread;
	struct gmm_sim_access access;
	struct explore_object object, also;
	struct step_value value, also_value;
	uint32_t holder; /* of a lock, before; or GMM_SIM_NOBODY */
	/* Code addresses, the innermost first: return addresses behind the first. */
	uintptr_t calls[STEP_CALLS];
	uint32_t call_count;
};

struct steps {
	struct step *steps;
	uint32_t count, capacity;
	struct {
		char name[16];
		uintptr_t fn;
	} threads[GMM_SIM_EXPLORED_THREADS];
	uint32_t thread_count;
	struct explore_findings findings; /* of the replay */
};

/* Replays `choices` of a request. Ends the process when there is no memory. */
void steps_collect(const struct explore_request *request, const uint8_t *choices, uint32_t count,
		   struct steps *steps);
void steps_free(struct steps *steps);

#endif
