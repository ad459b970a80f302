/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What read sections need, port/CONTRACT.md: a reader is a CPU, on which nothing else runs; the
 * heavy barrier is an interrupt to every other CPU.
 */
#ifndef GMM_PORT_SECTION_H
#define GMM_PORT_SECTION_H

#include <gmm_port/atomic.h>

#define GMM_SECTION_PER_CPU 1

#define gmm_section_pin() gmm_compiler_barrier()
#define gmm_section_unpin() gmm_compiler_barrier()

uint32_t gmm_cpu_count(void);
uint32_t gmm_cpu_index(void);

GMM_MUST_CHECK int gmm_section_barrier_init(void);
void gmm_section_heavy_barrier(void);

/* For tests: gmm_section_barrier_init() answers -GMM_ENOSYS from now on, or no longer does. */
void gmm_port_section_barrier_refuse(bool refuse);

GMM_INLINE void gmm_section_light_barrier(bool full)
{
	if (full)
		gmm_fence();
	else
		gmm_compiler_barrier();
}

#endif
