/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Several pieces of work at a time, each in a process of its own; what they print comes in order. */
#ifndef GMM_EXPLORE_JOBS_H
#define GMM_EXPLORE_JOBS_H

#include <gmm_port/types.h>

/*
 * Calls work(opaque, 0) … work(opaque, count - 1), at most `jobs` at a time, and returns how many
 * answered other than 0. With one job all of it happens in this process. A process that ends by a
 * signal counts as one that answered so, after a line on stderr. Ends the process when there is no
 * memory or no further process.
 */
uint32_t explore_jobs_run(uint32_t jobs, uint32_t count, int (*work)(void *opaque, uint32_t number),
			  void *opaque);

#endif
