/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A histogram of times: four buckets for each power of two, so a percentile is within 19 %. Any
 * number of threads add; a reader sees each bucket right, their sum may lag.
 */
#ifndef GUESTMM_LINUX_LATENCY_H
#define GUESTMM_LINUX_LATENCY_H

#include <guestmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GMM_LATENCY_BUCKETS 160u

struct gmm_latency {
	uint64_t count;
	uint64_t bucket[GMM_LATENCY_BUCKETS];
};

GMM_API void gmm_latency_add(struct gmm_latency *latency, uint64_t nanoseconds);
/*
 * The middle of the bucket that `per_mille` of the entries do not exceed, in ns; 0 without entries.
 */
GMM_API uint64_t gmm_latency_percentile(const struct gmm_latency *latency, uint32_t per_mille);
/* The middle of bucket `bucket`, in ns. */
GMM_API uint64_t gmm_latency_value(uint32_t bucket);
/* Copies; `latency` may be added to meanwhile. */
GMM_API void gmm_latency_copy(struct gmm_latency *to, const struct gmm_latency *latency);

#ifdef __cplusplus
}
#endif

#endif
