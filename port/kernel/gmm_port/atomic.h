/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_PORT_ATOMIC_H
#define GMM_PORT_ATOMIC_H

#include <linux/atomic.h>
#include <linux/compiler.h>
#include <linux/processor.h>

#include <asm/barrier.h>

#include <gmm_port/compiler.h>
#include <gmm_port/types.h>

#define gmm_load_relaxed(p) READ_ONCE(*(p))
#define gmm_store_relaxed(p, v) WRITE_ONCE(*(p), v)
#define gmm_load_acquire(p) smp_load_acquire(p)
#define gmm_store_release(p, v) smp_store_release(p, v)

#define gmm_exchange(p, v) xchg(p, v)

/* A failed compare-exchange orders nothing by the kernel's rules, and acquires by ours. */
#define gmm_compare_exchange(p, expected, v)                   \
	({                                                     \
		bool exchanged_ = try_cmpxchg(p, expected, v); \
		if (!exchanged_)                               \
			smp_acquire__after_ctrl_dep();         \
		exchanged_;                                    \
	})

/* The kernel's read-modify-writes are of its own types, which are structs of one integer. */
#define gmm_port_fetch(p, v, operation)                                                            \
	((__typeof__(*(p)))(sizeof(*(p)) == sizeof(atomic64_t) ?                                   \
				    (s64)atomic64_fetch_##operation((s64)(v), (atomic64_t *)(p)) : \
				    (s64)atomic_fetch_##operation((int)(v), (atomic_t *)(p))))

#define gmm_fetch_add(p, v) gmm_port_fetch(p, v, add)
#define gmm_fetch_or(p, v) gmm_port_fetch(p, v, or)
#define gmm_fetch_and(p, v) gmm_port_fetch(p, v, and)

#define gmm_fence() smp_mb()
#define gmm_compiler_barrier() barrier()

GMM_INLINE void gmm_cpu_relax(uint32_t turn)
{
	(void)turn;
	cpu_relax();
}

#endif
