/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Reading memory as fast as one processor can: whole cache lines into registers, nothing done with them. */
#include "reference.h"

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx2"))) static uint64_t read_avx2(const uint64_t *words, uint64_t count)
{
	__m256i sum[4] = { _mm256_setzero_si256() };
	uint64_t i, lanes[4];

	sum[1] = sum[2] = sum[3] = sum[0];
	for (i = 0; i + 16 <= count; i += 16) {
		const __m256i *at = (const __m256i *)(words + i);

		sum[0] = _mm256_add_epi64(sum[0], _mm256_loadu_si256(at));
		sum[1] = _mm256_add_epi64(sum[1], _mm256_loadu_si256(at + 1));
		sum[2] = _mm256_add_epi64(sum[2], _mm256_loadu_si256(at + 2));
		sum[3] = _mm256_add_epi64(sum[3], _mm256_loadu_si256(at + 3));
	}
	sum[0] = _mm256_add_epi64(_mm256_add_epi64(sum[0], sum[1]),
				  _mm256_add_epi64(sum[2], sum[3]));
	_mm256_storeu_si256((__m256i *)lanes, sum[0]);
	return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}
#endif

uint64_t reference_read(const uint64_t *words, uint64_t count)
{
	uint64_t sum = 0, i;

#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx2"))
		return read_avx2(words, count);
#endif
	for (i = 0; i < count; i++)
		sum += ((const volatile uint64_t *)words)[i];
	return sum;
}
