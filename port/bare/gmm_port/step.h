/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_PORT_STEP_H
#define GMM_PORT_STEP_H

#include <gmm_port/atomic.h>
#include <gmm_port/debug.h>

#include <guestmm/static/step_points.h>

#if GMM_STEPS
typedef void (*gmm_step_hook_t)(enum gmm_step_point point);

extern gmm_step_hook_t gmm_port_step_hook;

/* Called at every gmm_step() of every CPU; NULL is none. */
void gmm_step_hook_set(void (*hook)(enum gmm_step_point point));

#define gmm_step(point)                                                        \
	do {                                                                   \
		gmm_step_hook_t hook_ = gmm_load_acquire(&gmm_port_step_hook); \
		if (gmm_unlikely(hook_))                                       \
			hook_(point);                                          \
	} while (0)
#else
#define gmm_step(point) ((void)(point))
#endif

#endif
