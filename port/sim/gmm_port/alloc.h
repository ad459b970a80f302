/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_PORT_ALLOC_H
#define GMM_PORT_ALLOC_H

#include <string.h>

#include <gmm_port/debug.h>

GMM_MUST_CHECK void *gmm_sim_zalloc(size_t size, bool sleeps, const struct gmm_sim_site *site);
void gmm_sim_free(void *pointer, size_t size, const struct gmm_sim_site *site);

#define gmm_zalloc(size) gmm_sim_zalloc(size, true, GMM_SIM_SITE(#size))
#define gmm_zalloc_atomic(size) gmm_sim_zalloc(size, false, GMM_SIM_SITE(#size))
#define gmm_free(pointer, size) gmm_sim_free(pointer, size, GMM_SIM_SITE(#pointer))

#define gmm_memset(to, value, size) memset(to, value, size)
#define gmm_memcpy(to, from, size) memcpy(to, from, size)
#define gmm_memcmp(a, b, size) memcmp(a, b, size)

/* For tests: the nth allocation of the run from now on fails, once; 1 is the next, 0 is none. */
void gmm_port_alloc_fail_at(uint64_t nth);
/* Whether the failure asked for has happened. */
bool gmm_port_alloc_failed(void);
/* Allocations of the run not yet freed. */
uint64_t gmm_port_alloc_live(void);

#endif
