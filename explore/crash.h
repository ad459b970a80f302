/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* A scenario that touches memory that is not there fails; the process goes on. */
#ifndef GMM_EXPLORE_CRASH_H
#define GMM_EXPLORE_CRASH_H

/*
 * From now on SIGSEGV and SIGBUS end the schedule under way as a failure (gmm_sim_crashed()); where
 * none is they end the process, as ever. Ends the process when there is no memory.
 */
void explore_catch_crashes(void);

#endif
