/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_PORT_SCAN_H
#define GMM_PORT_SCAN_H

#include <gmm_port/compiler.h>
#include <gmm_port/types.h>

#ifdef __cplusplus
extern "C" {
#endif

uint64_t gmm_scan_mask(const uint64_t *words, uint32_t count);
uint64_t gmm_scan_next(const uint64_t *words, uint64_t from, uint64_t end);
uint64_t gmm_scan_count(const uint64_t *words, uint64_t count);

/* What this processor has of these is chosen at the first call. For tests and measuring: */
enum gmm_scan_variant {
	GMM_SCAN_PLAIN = 1,
	GMM_SCAN_AVX2,
	GMM_SCAN_AVX512,
};
/* Uses a variant from now on; false: this processor, or this build, does not have it. */
bool gmm_scan_use(enum gmm_scan_variant variant);
/* The one in use. */
enum gmm_scan_variant gmm_scan_variant(void);

#ifdef __cplusplus
}
#endif

#endif
