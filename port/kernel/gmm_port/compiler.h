/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_PORT_COMPILER_H
#define GMM_PORT_COMPILER_H

#include <linux/build_bug.h>
#include <linux/compiler.h>

#define gmm_likely(x) likely(x)
#define gmm_unlikely(x) unlikely(x)

#define GMM_INLINE static __always_inline
#define GMM_NOINLINE noinline
#define GMM_MUST_CHECK __must_check
#define GMM_PRINTF(format_index, first_argument) __printf(format_index, first_argument)
#define GMM_API

#define GMM_STATIC_ASSERT(cond, text) _Static_assert(cond, text)

#define gmm_container_of(pointer, type, member) \
	((type *)((char *)(pointer) - __builtin_offsetof(type, member)))

/* The kernel is built by gcc here, which has no such analysis. */
#define GMM_CAPABILITY(name)
#define GMM_ACQUIRE(...)
#define GMM_RELEASE(...)
#define GMM_REQUIRES(...)
#define GMM_EXCLUDES(...)
#define GMM_ACQUIRED_AFTER(...)
#define GMM_NO_ANALYSIS

#endif
