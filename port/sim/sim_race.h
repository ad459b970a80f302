/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Data races by C11's rules: two accesses of one word, at least one a store and one plain, of which
 * neither happens before the other. Ordering comes from locks, acquire and release, fences, starts
 * and joins of threads. The heavy barrier is a fence of its caller only: what readers order by it
 * is ordered by their acquire and release, too, or it is reported.
 */
#ifndef GMM_SIM_RACE_H
#define GMM_SIM_RACE_H

#include "sim_impl.h"

struct sim_races;

/* One for all runs; forgets everything. */
struct sim_races *sim_races_reset(void);
/* What every thread did before now happens before everything that follows: the checkpoint. */
void sim_races_access(struct sim *sim, struct gmm_sim_thread *thread,
		      const struct gmm_sim_access *access);

#endif
