/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What read sections need, port/CONTRACT.md. Readers use a compiler barrier, writers membarrier(2),
 * MEMBARRIER_CMD_PRIVATE_EXPEDITED.
 *
 * ThreadSanitizer knows no membarrier. In its build the light barrier releases and acquires, the
 * heavy barrier too, through one word for each direction. So it shows no race between what a reader
 * did before its light barrier and what a writer does after its heavy barrier, nor between what a
 * writer did before its heavy barrier and what a reader does after its light one. Accesses inside a
 * section against accesses after the heavy barrier stay visible: a writer that does not wait for
 * the readers is still reported.
 */
#ifndef GMM_PORT_SECTION_H
#define GMM_PORT_SECTION_H

#include <gmm_port/atomic.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GMM_SECTION_PER_CPU 0

#define gmm_section_pin() gmm_compiler_barrier()
#define gmm_section_unpin() gmm_compiler_barrier()

GMM_INLINE uint32_t gmm_cpu_count(void)
{
	return 1;
}

GMM_INLINE uint32_t gmm_cpu_index(void)
{
	return 0;
}

GMM_API GMM_MUST_CHECK int gmm_section_barrier_init(void);
GMM_API void gmm_section_heavy_barrier(void);

/* For tests: gmm_section_barrier_init() answers -GMM_ENOSYS from now on, or no longer does. */
GMM_API void gmm_port_section_barrier_refuse(bool refuse);

#if GMM_PORT_TSAN
extern GMM_API uint32_t gmm_port_light_word;
extern GMM_API uint32_t gmm_port_heavy_word;
#endif

GMM_INLINE void gmm_section_light_barrier(bool full)
{
#if GMM_PORT_TSAN
	(void)__atomic_fetch_add(&gmm_port_light_word, 0, __ATOMIC_RELEASE);
	(void)__atomic_load_n(&gmm_port_heavy_word, __ATOMIC_ACQUIRE);
#endif
	if (full)
		gmm_fence();
	else
		gmm_compiler_barrier();
}

#ifdef __cplusplus
}
#endif

#endif
