/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What read sections need, port/CONTRACT.md. With store buffers on the light barrier leaves the
 * thread's stores pending and the heavy barrier does the stores of every thread, so an algorithm
 * that forgets one of the two fails here.
 */
#ifndef GMM_PORT_SECTION_H
#define GMM_PORT_SECTION_H

#include <gmm_port/atomic.h>

#define GMM_SECTION_PER_CPU 0

#define gmm_section_pin() gmm_sim_point(GMM_SIM_PIN, GMM_SIM_SITE("pin"))
#define gmm_section_unpin() gmm_sim_point(GMM_SIM_UNPIN, GMM_SIM_SITE("unpin"))

GMM_INLINE uint32_t gmm_cpu_count(void)
{
	return 1;
}

GMM_INLINE uint32_t gmm_cpu_index(void)
{
	return 0;
}

GMM_MUST_CHECK int gmm_section_barrier_init(void);
void gmm_sim_light_barrier(bool full, const struct gmm_sim_site *site);
void gmm_sim_heavy_barrier(const struct gmm_sim_site *site);

/* For tests: gmm_section_barrier_init() answers -GMM_ENOSYS from now on, or no longer does. */
void gmm_port_section_barrier_refuse(bool refuse);

#define gmm_section_light_barrier(full) gmm_sim_light_barrier(full, GMM_SIM_SITE("light barrier"))
#define gmm_section_heavy_barrier() gmm_sim_heavy_barrier(GMM_SIM_SITE("heavy barrier"))

#endif
