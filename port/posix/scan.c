/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <gmm_port/atomic.h>
#include <gmm_port/scan.h>

#include "../scan_plain.h"

/* enum gmm_scan_variant; 0: not chosen yet. Every thread would choose the same. */
static uint32_t chosen;

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,popcnt")))
#define AVX512 __attribute__((target("avx512f,avx512vpopcntdq,popcnt")))

static bool has(enum gmm_scan_variant variant)
{
	__builtin_cpu_init();
	if (variant == GMM_SCAN_AVX512)
		return __builtin_cpu_supports("avx512f") &&
		       __builtin_cpu_supports("avx512vpopcntdq") &&
		       __builtin_cpu_supports("popcnt");
	if (variant == GMM_SCAN_AVX2)
		return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt");
	return variant == GMM_SCAN_PLAIN;
}

AVX2 static inline uint32_t mask_of_4(const uint64_t *words)
{
	__m256i four = _mm256_loadu_si256((const __m256i *)words);
	__m256i zero = _mm256_cmpeq_epi64(four, _mm256_setzero_si256());

	return ~(uint32_t)_mm256_movemask_pd(_mm256_castsi256_pd(zero)) & 0xf;
}

AVX2 static uint64_t mask_avx2(const uint64_t *words, uint32_t count)
{
	uint64_t mask = 0;
	uint32_t i;

	for (i = 0; i + 4 <= count; i += 4)
		mask |= (uint64_t)mask_of_4(words + i) << i;
	for (; i < count; i++)
		mask |= (uint64_t)(words[i] != 0) << i;
	return mask;
}

AVX2 static uint64_t next_avx2(const uint64_t *words, uint64_t from, uint64_t end)
{
	for (; from + 16 <= end; from += 16) {
		const __m256i *at = (const __m256i *)(words + from);
		__m256i low = _mm256_or_si256(_mm256_loadu_si256(at), _mm256_loadu_si256(at + 1));
		__m256i high =
			_mm256_or_si256(_mm256_loadu_si256(at + 2), _mm256_loadu_si256(at + 3));
		__m256i all = _mm256_or_si256(low, high);

		if (!_mm256_testz_si256(all, all))
			break;
	}
	return gmm_scan_next_plain(words, from, end);
}

AVX2 static uint64_t count_avx2(const uint64_t *words, uint64_t count)
{
	uint64_t first = 0, second = 0, third = 0, fourth = 0, i;

	for (i = 0; i + 4 <= count; i += 4) {
		first += (uint64_t)_mm_popcnt_u64(words[i]);
		second += (uint64_t)_mm_popcnt_u64(words[i + 1]);
		third += (uint64_t)_mm_popcnt_u64(words[i + 2]);
		fourth += (uint64_t)_mm_popcnt_u64(words[i + 3]);
	}
	for (; i < count; i++)
		first += (uint64_t)_mm_popcnt_u64(words[i]);
	return first + second + third + fourth;
}

AVX512 static uint64_t mask_avx512(const uint64_t *words, uint32_t count)
{
	uint64_t mask = 0;
	uint32_t i;

	for (i = 0; i + 8 <= count; i += 8) {
		__m512i eight = _mm512_loadu_si512(words + i);

		mask |= (uint64_t)_mm512_test_epi64_mask(eight, eight) << i;
	}
	if (i < count) {
		__mmask8 rest = (__mmask8)((1u << (count - i)) - 1);
		__m512i eight = _mm512_maskz_loadu_epi64(rest, words + i);

		mask |= (uint64_t)_mm512_test_epi64_mask(eight, eight) << i;
	}
	return mask;
}

AVX512 static uint64_t next_avx512(const uint64_t *words, uint64_t from, uint64_t end)
{
	for (; from + 32 <= end; from += 32) {
		const uint64_t *at = words + from;
		__m512i low = _mm512_or_si512(_mm512_loadu_si512(at), _mm512_loadu_si512(at + 8));
		__m512i high =
			_mm512_or_si512(_mm512_loadu_si512(at + 16), _mm512_loadu_si512(at + 24));
		__m512i all = _mm512_or_si512(low, high);

		if (_mm512_test_epi64_mask(all, all))
			break;
	}
	return gmm_scan_next_plain(words, from, end);
}

AVX512 static uint64_t count_avx512(const uint64_t *words, uint64_t count)
{
	__m512i first = _mm512_setzero_si512(), second = first;
	uint64_t i;

	for (i = 0; i + 16 <= count; i += 16) {
		first = _mm512_add_epi64(first, _mm512_popcnt_epi64(_mm512_loadu_si512(words + i)));
		second = _mm512_add_epi64(second,
					  _mm512_popcnt_epi64(_mm512_loadu_si512(words + i + 8)));
	}
	return (uint64_t)_mm512_reduce_add_epi64(_mm512_add_epi64(first, second)) +
	       gmm_scan_count_plain(words + i, count - i);
}

#else

static bool has(enum gmm_scan_variant variant)
{
	return variant == GMM_SCAN_PLAIN;
}

/* Never chosen. */
#define mask_avx2 gmm_scan_mask_plain
#define next_avx2 gmm_scan_next_plain
#define count_avx2 gmm_scan_count_plain
#define mask_avx512 gmm_scan_mask_plain
#define next_avx512 gmm_scan_next_plain
#define count_avx512 gmm_scan_count_plain

#endif

bool gmm_scan_use(enum gmm_scan_variant variant)
{
	if (!has(variant))
		return false;
	gmm_store_relaxed(&chosen, (uint32_t)variant);
	return true;
}

enum gmm_scan_variant gmm_scan_variant(void)
{
	uint32_t variant = gmm_load_relaxed(&chosen);

	if (gmm_likely(variant))
		return (enum gmm_scan_variant)variant;
	for (variant = GMM_SCAN_AVX512; !gmm_scan_use((enum gmm_scan_variant)variant); variant--)
		;
	return (enum gmm_scan_variant)variant;
}

uint64_t gmm_scan_mask(const uint64_t *words, uint32_t count)
{
	switch (gmm_scan_variant()) {
	case GMM_SCAN_AVX512:
		return mask_avx512(words, count);
	case GMM_SCAN_AVX2:
		return mask_avx2(words, count);
	default:
		return gmm_scan_mask_plain(words, count);
	}
}

uint64_t gmm_scan_next(const uint64_t *words, uint64_t from, uint64_t end)
{
	switch (gmm_scan_variant()) {
	case GMM_SCAN_AVX512:
		return next_avx512(words, from, end);
	case GMM_SCAN_AVX2:
		return next_avx2(words, from, end);
	default:
		return gmm_scan_next_plain(words, from, end);
	}
}

uint64_t gmm_scan_count(const uint64_t *words, uint64_t count)
{
	switch (gmm_scan_variant()) {
	case GMM_SCAN_AVX512:
		return count_avx512(words, count);
	case GMM_SCAN_AVX2:
		return count_avx2(words, count);
	default:
		return gmm_scan_count_plain(words, count);
	}
}
