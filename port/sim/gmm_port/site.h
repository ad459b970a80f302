/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Where in the source an operation of the port stands: what traces and failures show.
 */
#ifndef GMM_PORT_SITE_H
#define GMM_PORT_SITE_H

#include <gmm_port/compiler.h>
#include <gmm_port/types.h>

/* What a simulated thread is about to do. */
enum gmm_sim_op {
	GMM_SIM_START,
	GMM_SIM_JOIN,
	GMM_SIM_FINISH,
	GMM_SIM_LOAD,
	GMM_SIM_STORE,
	GMM_SIM_UPDATE,
	GMM_SIM_FENCE,
	GMM_SIM_RELAX,
	GMM_SIM_LOCK,
	GMM_SIM_UNLOCK,
	GMM_SIM_UNLOCKED,
	GMM_SIM_WAIT,
	GMM_SIM_WAKE,
	GMM_SIM_ALLOC,
	GMM_SIM_FREE,
	GMM_SIM_PIN,
	GMM_SIM_UNPIN,
	GMM_SIM_LIGHT_BARRIER,
	GMM_SIM_HEAVY_BARRIER,
	GMM_SIM_STEP,
	GMM_SIM_OP_COUNT
};

struct gmm_sim_site {
	const char *file;
	const char *name; /* the object's expression in the source */
	int line;
};

#define GMM_SIM_SITE(text)                                                                 \
	__extension__({                                                                    \
		static const struct gmm_sim_site site_here = { __FILE__, text, __LINE__ }; \
		&site_here;                                                                \
	})

/* A yield point: the scheduler may let another thread run before this returns. */
void gmm_sim_point(enum gmm_sim_op op, const struct gmm_sim_site *site);

#endif
