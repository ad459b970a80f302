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
	GMM_SIM_EVENT, /* of no thread */
	GMM_SIM_READ,  /* plain accesses: only where code is compiled for it */
	GMM_SIM_WRITE,
	GMM_SIM_OP_COUNT
};

/* What an atomic access orders; a set of bits. */
#define GMM_SIM_ACQUIRE 1
#define GMM_SIM_RELEASE 2

struct gmm_sim_site {
	const char *file;
	const char *name; /* the object's expression in the source */
	int line;
	int order;
};

#define GMM_SIM_SITE_ORDER(text, orders)                                                           \
	__extension__({                                                                            \
		static const struct gmm_sim_site site_here = { __FILE__, text, __LINE__, orders }; \
		&site_here;                                                                        \
	})
#define GMM_SIM_SITE(text) GMM_SIM_SITE_ORDER(text, 0)

/* A yield point: the scheduler may let another thread run before this returns. */
void gmm_sim_point(enum gmm_sim_op op, const struct gmm_sim_site *site);

#endif
