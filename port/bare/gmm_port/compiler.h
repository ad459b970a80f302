/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_PORT_COMPILER_H
#define GMM_PORT_COMPILER_H

#define gmm_likely(x) __builtin_expect(!!(x), 1)
#define gmm_unlikely(x) __builtin_expect(!!(x), 0)

#define GMM_INLINE static inline __attribute__((always_inline))
#define GMM_NOINLINE __attribute__((noinline))
#define GMM_MUST_CHECK __attribute__((warn_unused_result))
#define GMM_PRINTF(format_index, first_argument) \
	__attribute__((format(printf, format_index, first_argument)))
#define GMM_API

#define GMM_STATIC_ASSERT(cond, text) _Static_assert(cond, text)

#define gmm_container_of(pointer, type, member) \
	((type *)((char *)(pointer) - __builtin_offsetof(type, member)))

/* Ranks are analysed in the posix world. */
#define GMM_CAPABILITY(name)
#define GMM_ACQUIRE(...)
#define GMM_RELEASE(...)
#define GMM_REQUIRES(...)
#define GMM_EXCLUDES(...)
#define GMM_ACQUIRED_AFTER(...)
#define GMM_NO_ANALYSIS

#endif
