/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Atomic accesses and fences, port/CONTRACT.md. The compiler's builtins order read-modify-writes
 * against each other; "full" in the contract also orders the plain accesses around them, which x86
 * gives for nothing and other CPUs get from explicit fences.
 *
 * ThreadSanitizer knows no fences. In its build gmm_fence() is a read-modify-write of one word of
 * the process, so it shows no race between two threads that both passed a fence in between, even
 * where the fences would not have ordered these accesses.
 */
#ifndef GMM_PORT_ATOMIC_H
#define GMM_PORT_ATOMIC_H

#include <gmm_port/compiler.h>
#include <gmm_port/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define gmm_load_relaxed(p) __atomic_load_n(p, __ATOMIC_RELAXED)
#define gmm_store_relaxed(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define gmm_load_acquire(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define gmm_store_release(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)

#define gmm_compiler_barrier() __asm__ __volatile__("" ::: "memory")

#if GMM_PORT_TSAN
extern GMM_API uint32_t gmm_port_fence_word;
#define gmm_fence() ((void)__atomic_fetch_add(&gmm_port_fence_word, 0, __ATOMIC_SEQ_CST))
#else
#define gmm_fence() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#endif

#if GMM_PORT_TSAN || defined(__x86_64__) || defined(__i386__)
#define gmm_port_full(operation) (operation)
#else
#define gmm_port_full(operation)                               \
	__extension__({                                        \
		__atomic_thread_fence(__ATOMIC_SEQ_CST);       \
		__typeof__(operation) port_result = operation; \
		__atomic_thread_fence(__ATOMIC_SEQ_CST);       \
		port_result;                                   \
	})
#endif

#define gmm_exchange(p, v) gmm_port_full(__atomic_exchange_n(p, v, __ATOMIC_SEQ_CST))
#define gmm_fetch_add(p, v) gmm_port_full(__atomic_fetch_add(p, v, __ATOMIC_SEQ_CST))
#define gmm_fetch_or(p, v) gmm_port_full(__atomic_fetch_or(p, v, __ATOMIC_SEQ_CST))
#define gmm_fetch_and(p, v) gmm_port_full(__atomic_fetch_and(p, v, __ATOMIC_SEQ_CST))
#define gmm_compare_exchange(p, expected, v)                                               \
	gmm_port_full(__atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, \
						  __ATOMIC_ACQUIRE))

/* Gives the processor away; turns before this many only pause. */
#define GMM_PORT_RELAX_TURNS 64u
GMM_API void gmm_port_yield(void);

GMM_INLINE void gmm_port_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield" ::: "memory");
#else
	gmm_compiler_barrier();
#endif
}

GMM_INLINE void gmm_cpu_relax(uint32_t turn)
{
	if (gmm_likely(turn < GMM_PORT_RELAX_TURNS))
		gmm_port_pause();
	else
		gmm_port_yield();
}

#ifdef __cplusplus
}
#endif

#endif
