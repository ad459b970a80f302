/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Atomic accesses and fences, port/CONTRACT.md. A full read-modify-write has a fence on either side
 * where the instruction itself orders less.
 */
#ifndef GMM_PORT_ATOMIC_H
#define GMM_PORT_ATOMIC_H

#include <gmm_port/compiler.h>
#include <gmm_port/types.h>

#define gmm_load_relaxed(p) __atomic_load_n(p, __ATOMIC_RELAXED)
#define gmm_store_relaxed(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define gmm_load_acquire(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define gmm_store_release(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)

#define gmm_compiler_barrier() __asm__ __volatile__("" ::: "memory")
#define gmm_fence() __atomic_thread_fence(__ATOMIC_SEQ_CST)

#if defined(__x86_64__)
#define gmm_port_full(operation) (operation)
#else
#define gmm_port_full(operation)                         \
	__extension__({                                  \
		__typeof__(operation) port_result;       \
		__atomic_thread_fence(__ATOMIC_SEQ_CST); \
		port_result = operation;                 \
		__atomic_thread_fence(__ATOMIC_SEQ_CST); \
		port_result;                             \
	})
#endif

#define gmm_exchange(p, v) gmm_port_full(__atomic_exchange_n(p, v, __ATOMIC_SEQ_CST))
#define gmm_fetch_add(p, v) gmm_port_full(__atomic_fetch_add(p, v, __ATOMIC_SEQ_CST))
#define gmm_fetch_or(p, v) gmm_port_full(__atomic_fetch_or(p, v, __ATOMIC_SEQ_CST))
#define gmm_fetch_and(p, v) gmm_port_full(__atomic_fetch_and(p, v, __ATOMIC_SEQ_CST))
#define gmm_compare_exchange(p, expected, v)                                               \
	gmm_port_full(__atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, \
						  __ATOMIC_ACQUIRE))

GMM_INLINE void gmm_cpu_relax(uint32_t turn)
{
	(void)turn;
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield" ::: "memory");
#else
	gmm_compiler_barrier();
#endif
}

#endif
