/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_PORT_ALLOC_H
#define GMM_PORT_ALLOC_H

#include <string.h>

#include <gmm_port/debug.h>

#ifdef __cplusplus
extern "C" {
#endif

GMM_API GMM_MUST_CHECK void *gmm_zalloc(size_t size);
GMM_API GMM_MUST_CHECK void *gmm_zalloc_atomic(size_t size);
GMM_API void gmm_free(void *pointer, size_t size);

#define gmm_memset(to, value, size) memset(to, value, size)
#define gmm_memcpy(to, from, size) memcpy(to, from, size)
#define gmm_memcmp(a, b, size) memcmp(a, b, size)

#if GMM_DEBUG || GMM_STEPS
/*
 * For tests. The nth allocation of the process from now on fails, once: 1 is the next, 0 is none.
 */
GMM_API void gmm_port_alloc_fail_at(uint64_t nth);
/* Whether the failure asked for has happened. */
GMM_API bool gmm_port_alloc_failed(void);
/* Allocations not yet freed. */
GMM_API uint64_t gmm_port_alloc_live(void);
#endif

#ifdef __cplusplus
}
#endif

#endif
