/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Atomic accesses of the simulator, port/CONTRACT.md. Each is a yield point and then happens at
 * once. With store buffers on (sim.h) a store is seen by other threads some time later, in the
 * order of its thread's stores, as on x86; what weaker CPUs do beyond that is not modelled.
 */
#ifndef GMM_PORT_ATOMIC_H
#define GMM_PORT_ATOMIC_H

#include <gmm_port/site.h>

/* Where the value that this thread sees is; what shared memory holds, or its own pending store. */
const volatile void *gmm_sim_load(const volatile void *pointer, size_t size,
				  const struct gmm_sim_site *site);
void gmm_sim_store(volatile void *pointer, const volatile void *value, size_t size,
		   const struct gmm_sim_site *site);
/* Returns the pointer, with the thread's stores done: the caller updates it. */
volatile void *gmm_sim_update(volatile void *pointer, size_t size, const struct gmm_sim_site *site);
/* The same for an update that happens only where *expected is found. */
volatile void *gmm_sim_compare(volatile void *pointer, const void *expected, size_t size,
			       const struct gmm_sim_site *site);
void gmm_sim_fence(const struct gmm_sim_site *site);
void gmm_sim_relax(const struct gmm_sim_site *site);

#define GMM_SIM_LOAD_ORDER(p, order)                                                \
	__atomic_load_n((__typeof__(p))gmm_sim_load((p), sizeof(*(p)),              \
						    GMM_SIM_SITE_ORDER(#p, order)), \
			__ATOMIC_RELAXED)
#define gmm_load_relaxed(p) GMM_SIM_LOAD_ORDER(p, 0)
#define gmm_load_acquire(p) GMM_SIM_LOAD_ORDER(p, GMM_SIM_ACQUIRE)
#define GMM_SIM_STORE_ORDER(p, v, order)                             \
	gmm_sim_store((p), &(__typeof__(*(p))){ (v) }, sizeof(*(p)), \
		      GMM_SIM_SITE_ORDER(#p " = " #v, order))
#define gmm_store_relaxed(p, v) GMM_SIM_STORE_ORDER(p, v, 0)
#define gmm_store_release(p, v) GMM_SIM_STORE_ORDER(p, v, GMM_SIM_RELEASE)

#define GMM_SIM_UPDATED(p, text)        \
	((__typeof__(p))gmm_sim_update( \
		(p), sizeof(*(p)), GMM_SIM_SITE_ORDER(text, GMM_SIM_ACQUIRE | GMM_SIM_RELEASE)))

#define gmm_exchange(p, v) \
	__atomic_exchange_n(GMM_SIM_UPDATED(p, #p " exchange " #v), v, __ATOMIC_SEQ_CST)
#define gmm_fetch_add(p, v) \
	__atomic_fetch_add(GMM_SIM_UPDATED(p, #p " += " #v), v, __ATOMIC_SEQ_CST)
#define gmm_fetch_or(p, v) __atomic_fetch_or(GMM_SIM_UPDATED(p, #p " |= " #v), v, __ATOMIC_SEQ_CST)
#define gmm_fetch_and(p, v) \
	__atomic_fetch_and(GMM_SIM_UPDATED(p, #p " &= " #v), v, __ATOMIC_SEQ_CST)
#define gmm_compare_exchange(p, expected, v)                                                  \
	__atomic_compare_exchange_n(                                                          \
		(__typeof__(p))gmm_sim_compare((p), (expected), sizeof(*(p)),                 \
					       GMM_SIM_SITE_ORDER(#p " compare-exchange " #v, \
								  GMM_SIM_ACQUIRE |           \
									  GMM_SIM_RELEASE)),  \
		expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE)

#define gmm_compiler_barrier() __asm__ __volatile__("" ::: "memory")
#define gmm_fence() gmm_sim_fence(GMM_SIM_SITE("fence"))
#define gmm_cpu_relax(turn) ((void)(turn), gmm_sim_relax(GMM_SIM_SITE("relax")))

#endif
