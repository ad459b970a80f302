/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Scenarios: a few threads that do to the engine what goes wrong in some order, and what must hold
 * in every order. run() is the first thread: it makes what the others share, starts them, calls
 * gmm_sim_checkpoint(), joins them and looks at what is left. Behind the checkpoint whatever fails
 * for want of memory is done again: sweeps make each such call fail once.
 */
#ifndef GMM_EXPLORE_SCENARIO_H
#define GMM_EXPLORE_SCENARIO_H

#include "sim.h"

struct explore_scenario {
	const char *name;
	const char *rules; /* of docs/RULES.md: "P2 P3" */
	const char *what;  /* one line */
	void (*run)(void *arg);
	uint32_t preemptions; /* of `make explore` */
	/*
	 * Whether looked at with them, too: false, or true: with 2 preemptions at most, for the
	 * delays come on top; or the number of preemptions then, when it is more than that.
	 */
	uint8_t store_buffers;
};

/* The tables of scenarios/: each ends with a row without a name. */
extern const struct explore_scenario *const explore_tables[];
/* What a test expects to fail. */
extern const struct explore_scenario explore_tlb_defects[];
extern const struct explore_scenario explore_lines_defects[];
extern const struct explore_scenario explore_repair_defects[];

/* NULL when there is none of that name. */
const struct explore_scenario *explore_scenario_find(const char *name);

#endif
