/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Goes through the schedules of a scenario. Exhaustive with a bound on preemptions: every schedule in
 * which no more than so many threads are interrupted where they could have gone on; states that
 * were reached before with as much left are not looked at again. Exhaustive without a bound: the
 * same, or sleep sets, which leave out orders of independent accesses and need no memory. Or at
 * random, with or without priorities (PCT).
 */
#ifndef GMM_EXPLORE_SEARCH_H
#define GMM_EXPLORE_SEARCH_H

#include "scenario.h"

#define EXPLORE_UNBOUNDED UINT32_MAX

enum explore_mode {
	EXPLORE_EXHAUSTIVE,
	EXPLORE_RANDOM,
	EXPLORE_PRIORITIES,
	EXPLORE_REPLAY, /* one schedule, as `choices` says; behind them nobody is interrupted */
};

/* What can fail behind the checkpoint: allocations, and the machine's operations. */
enum explore_failure {
	EXPLORE_FAIL_ALLOCATION,
	EXPLORE_FAIL_RESOLVE,
	EXPLORE_FAIL_MAP,
	EXPLORE_FAILURES,
};

struct explore_request {
	const struct explore_scenario *scenario;
	enum explore_mode mode;
	uint32_t preemptions; /* most, or EXPLORE_UNBOUNDED */
	bool store_buffers;
	bool no_seen;	      /* exhaustive, without leaving out anything */
	bool sleep_sets;      /* unbounded, without delayed stores: these instead of states seen */
	bool races;	      /* looked for; not with store_buffers */
	uint32_t early_wakes; /* most waits of a schedule that end though nobody wakes */
	uint64_t fail_at[EXPLORE_FAILURES]; /* the nth allocation, ...; 0: none */
	uint64_t seed;			    /* of random modes */
	uint64_t schedules;		    /* most; 0: no limit */
	uint64_t seconds;		    /* likewise */

	/* Replay. */
	const uint8_t *choices; /* answers of gmm_sim_explorer.choose() */
	uint32_t choice_count;
	bool lenient; /* a choice that is not there is passed over */
	/* Gets each access of a replayed schedule; may be NULL. */
	void (*performed)(void *opaque, uint32_t thread, bool stored,
			  const struct gmm_sim_access *access);
	/* For tables of steps, likewise (sim.h); ended() before the memory is put back. */
	void (*passed)(void *opaque, uint32_t thread, const struct gmm_sim_access *access);
	void (*delayed)(void *opaque, uint32_t thread, const struct gmm_sim_access *access,
			const void *value);
	void (*ended)(void *opaque);
	void *opaque;
};

struct explore_findings {
	uint64_t schedules; /* run to their end */
	uint64_t left;	    /* ended early: what follows is known */
	uint64_t states;    /* different ones seen at choices; 0 when they were not kept */
	uint64_t steps;
	uint32_t depth; /* most choices in a schedule */
	double seconds;
	bool fail_reached; /* in some schedule */
	bool complete;	   /* nothing is left to look at, within the bound */

	/* Replay: choices that were made as told; and the number of the one that could not, or 0. */
	uint32_t made;
	uint32_t impossible;

	bool failed;
	struct gmm_sim_result result; /* of the schedule that failed */
	uint8_t *choices;	      /* its choices; freed by explore_findings_free() */
	uint32_t choice_count;
	uint32_t preemptions; /* in it */
	uint32_t most_threads;
};

/* Ends the process when there is no memory, or the scenario fails before its checkpoint. */
void explore_search(const struct explore_request *request, struct explore_findings *findings);
void explore_findings_free(struct explore_findings *findings);

/*
 * Makes a schedule that fails shorter, as long as it still does: fewer interruptions. `findings` are
 * those of a search; they are replaced.
 */
void explore_shrink(const struct explore_request *request, struct explore_findings *findings);

#endif
