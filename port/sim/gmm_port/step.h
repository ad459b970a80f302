/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_PORT_STEP_H
#define GMM_PORT_STEP_H

#include <gmm_port/debug.h>

#include <guestmm/static/step_points.h>

void gmm_sim_step(enum gmm_step_point point, const struct gmm_sim_site *site);

/* Called at every gmm_step() of every thread of the run, which it ends with; NULL is none. */
void gmm_step_hook_set(void (*hook)(enum gmm_step_point point));

#define gmm_step(point) gmm_sim_step(point, GMM_SIM_SITE(#point))

#endif
