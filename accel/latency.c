/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <guestmm/linux/latency.h>

/* Below 4 ns each value is a bucket; above, the highest set bit and the two bits below it. */
static uint32_t bucket_of(uint64_t nanoseconds)
{
	uint32_t top, bucket;

	if (nanoseconds < 4)
		return (uint32_t)nanoseconds;
	top = 63 - (uint32_t)__builtin_clzll(nanoseconds);
	bucket = (top - 1) * 4 + ((nanoseconds >> (top - 2)) & 3);
	return bucket < GMM_LATENCY_BUCKETS ? bucket : GMM_LATENCY_BUCKETS - 1;
}

uint64_t gmm_latency_value(uint32_t bucket)
{
	uint32_t top;

	if (bucket < 4)
		return bucket;
	top = bucket / 4 + 1;
	return ((4ull + bucket % 4) << (top - 2)) + (1ull << (top - 2)) / 2;
}

void gmm_latency_add(struct gmm_latency *latency, uint64_t nanoseconds)
{
	__atomic_fetch_add(&latency->bucket[bucket_of(nanoseconds)], 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&latency->count, 1, __ATOMIC_RELAXED);
}

uint64_t gmm_latency_percentile(const struct gmm_latency *latency, uint32_t per_mille)
{
	uint64_t total = 0, seen = 0;
	uint32_t i;

	for (i = 0; i < GMM_LATENCY_BUCKETS; i++)
		total += latency->bucket[i];
	for (i = 0; total && i < GMM_LATENCY_BUCKETS; i++) {
		seen += latency->bucket[i];
		if (seen * 1000 >= total * per_mille && seen)
			return gmm_latency_value(i);
	}
	return 0;
}

void gmm_latency_copy(struct gmm_latency *to, const struct gmm_latency *latency)
{
	uint32_t i;

	to->count = __atomic_load_n(&latency->count, __ATOMIC_RELAXED);
	for (i = 0; i < GMM_LATENCY_BUCKETS; i++)
		to->bucket[i] = __atomic_load_n(&latency->bucket[i], __ATOMIC_RELAXED);
}
