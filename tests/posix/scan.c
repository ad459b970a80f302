/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * gmm_port/scan.h: every variant of this processor answers as plain C does, on random bitmaps, at
 * every alignment, and reads nothing outside of its words (they end at an unmapped page).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include <gmm_port/scan.h>

#include "../../port/scan_plain.h"

#define WORDS 300u
#define ROUNDS 400u

static uint64_t random_state = 88172645463325252u;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* One word in `sparseness` is not 0; 0: none is. */
static void fill(uint64_t *words, uint32_t count, uint32_t sparseness)
{
	uint32_t i;

	for (i = 0; i < count; i++) {
		words[i] = 0;
		if (sparseness && next_random() % sparseness == 0)
			words[i] = next_random() % 2 ? (uint64_t)1 << next_random() % 64 :
						       next_random();
	}
}

static void compare(const uint64_t *words, uint32_t count)
{
	uint32_t from = (uint32_t)(next_random() % (count + 1));
	uint32_t few = count < 64 ? count : 64;

	assert_true(gmm_scan_mask(words, few) == gmm_scan_mask_plain(words, few));
	few = few ? (uint32_t)(next_random() % few) : 0;
	assert_true(gmm_scan_mask(words, few) == gmm_scan_mask_plain(words, few));
	assert_true(gmm_scan_next(words, from, count) == gmm_scan_next_plain(words, from, count));
	assert_true(gmm_scan_next(words, 0, count) == gmm_scan_next_plain(words, 0, count));
	assert_true(gmm_scan_count(words, count) == gmm_scan_count_plain(words, count));
}

/* Words at the end of a mapping whose next page is not there. */
static uint64_t *make_words(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *start =
		mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(start != MAP_FAILED && WORDS * sizeof(uint64_t) <= page);
	assert_int_equal(munmap(start + page, page), 0);
	return (uint64_t *)(start + page) - WORDS;
}

static void check_variant(enum gmm_scan_variant variant)
{
	enum gmm_scan_variant before = gmm_scan_variant();
	uint64_t *words = make_words();
	uint32_t round;

	if (!gmm_scan_use(variant)) {
		print_message("this processor has no variant %u\n", (unsigned int)variant);
		skip();
	}
	assert_int_equal(gmm_scan_variant(), variant);
	for (round = 0; round < ROUNDS; round++) {
		uint32_t count = (uint32_t)(next_random() % (WORDS + 1));

		fill(words, WORDS, (uint32_t)(next_random() % 40));
		compare(words + WORDS - count, count);
		compare(words, count);
	}
	assert_true(gmm_scan_use(before));
}

static void plain_c(void **state)
{
	check_variant(GMM_SCAN_PLAIN);
}

static void avx2(void **state)
{
	check_variant(GMM_SCAN_AVX2);
}

static void avx512(void **state)
{
	check_variant(GMM_SCAN_AVX512);
}

static void an_unknown_variant_is_refused(void **state)
{
	enum gmm_scan_variant before = gmm_scan_variant();

	assert_false(gmm_scan_use((enum gmm_scan_variant)9));
	assert_int_equal(gmm_scan_variant(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_c),
		cmocka_unit_test(avx2),
		cmocka_unit_test(avx512),
		cmocka_unit_test(an_unknown_variant_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
