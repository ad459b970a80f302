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
#define GMM_API __attribute__((visibility("default")))

#ifdef __cplusplus
#define GMM_STATIC_ASSERT(cond, text) static_assert(cond, text)
#else
#define GMM_STATIC_ASSERT(cond, text) _Static_assert(cond, text)
#endif

#define gmm_container_of(pointer, type, member) \
	((type *)((char *)(pointer) - __builtin_offsetof(type, member)))

/*
 * The sanitizers replace what they cannot see. GMM_PORT_TSAN is 1 in a ThreadSanitizer build.
 */
#if defined(__SANITIZE_THREAD__)
#define GMM_PORT_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define GMM_PORT_TSAN 1
#endif
#endif
#ifndef GMM_PORT_TSAN
#define GMM_PORT_TSAN 0
#endif

#if defined(__clang__) && defined(GMM_ANALYSIS)
#define GMM_PORT_ANALYSIS(x) __attribute__((x))
#else
#define GMM_PORT_ANALYSIS(x)
#endif

#define GMM_CAPABILITY(name) GMM_PORT_ANALYSIS(capability(name))
#define GMM_ACQUIRE(...) GMM_PORT_ANALYSIS(acquire_capability(__VA_ARGS__))
#define GMM_RELEASE(...) GMM_PORT_ANALYSIS(release_capability(__VA_ARGS__))
#define GMM_REQUIRES(...) GMM_PORT_ANALYSIS(requires_capability(__VA_ARGS__))
#define GMM_EXCLUDES(...) GMM_PORT_ANALYSIS(locks_excluded(__VA_ARGS__))
#define GMM_ACQUIRED_AFTER(...) GMM_PORT_ANALYSIS(acquired_after(__VA_ARGS__))
#define GMM_NO_ANALYSIS GMM_PORT_ANALYSIS(no_thread_safety_analysis)

#endif
