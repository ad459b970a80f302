/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_PORT_ALLOC_H
#define GMM_PORT_ALLOC_H

#include <gmm_port/debug.h>

GMM_MUST_CHECK void *gmm_zalloc(size_t size);
GMM_MUST_CHECK void *gmm_zalloc_atomic(size_t size);
void gmm_free(void *pointer, size_t size);

#define gmm_memset(to, value, size) __builtin_memset(to, value, size)
#define gmm_memcpy(to, from, size) __builtin_memcpy(to, from, size)
#define gmm_memcmp(a, b, size) __builtin_memcmp(a, b, size)

#if GMM_DEBUG || GMM_STEPS
/* For tests: the nth allocation from now on fails, once; 1 is the next, 0 is none. */
void gmm_port_alloc_fail_at(uint64_t nth);
/* Whether the failure asked for has happened. */
bool gmm_port_alloc_failed(void);
/* Allocations not yet freed. */
uint64_t gmm_port_alloc_live(void);
#endif

#endif
