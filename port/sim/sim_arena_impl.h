/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_SIM_ARENA_IMPL_H
#define GMM_SIM_ARENA_IMPL_H

#include "sim_impl.h"

#define SIM_ARENA_PARTS (GMM_SIM_EXPLORED_THREADS + 1)

struct sim_arena {
	unsigned char *base; /* the first thread's part */
	size_t used[SIM_ARENA_PARTS];
};

/* The arena, empty. */
struct sim_arena *sim_arena_get(void);

#endif
