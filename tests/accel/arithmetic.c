/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The histogram, the hash and the layout of a page: arithmetic only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <guestmm/linux/latency.h>
#include "accel/program.h"
#include "guest/page.h"

static void test_percentiles(void **state)
{
	struct gmm_latency latency = { 0 }, copy;
	uint64_t value, i;

	assert_int_equal(gmm_latency_percentile(&latency, 500), 0);
	/* Every value lands within 19 % of the middle of its bucket. */
	for (value = 8; value < 1ull << 40; value += value / 7) {
		struct gmm_latency one = { 0 };
		uint64_t middle;

		gmm_latency_add(&one, value);
		middle = gmm_latency_percentile(&one, 500);
		assert_in_range(middle * 100, value * 81, value * 119);
	}
	gmm_latency_add(&latency, UINT64_MAX);
	gmm_latency_add(&latency, 0);
	assert_int_equal(gmm_latency_percentile(&latency, 500), 0);
	memset(&latency, 0, sizeof(latency));
	for (i = 0; i < 990; i++)
		gmm_latency_add(&latency, 1000);
	for (i = 0; i < 10; i++)
		gmm_latency_add(&latency, 1000000);
	gmm_latency_copy(&copy, &latency);
	assert_int_equal(copy.count, 1000);
	assert_in_range(gmm_latency_percentile(&copy, 500), 810, 1190);
	assert_in_range(gmm_latency_percentile(&copy, 990), 810, 1190);
	assert_in_range(gmm_latency_percentile(&copy, 991), 810000, 1190000);
	assert_in_range(gmm_latency_percentile(&copy, 1000), 810000, 1190000);
}

static void test_hash(void **state)
{
	static uint64_t page[GUEST_PAGE_WORDS];
	uint64_t zero = guest_hash(page);
	uint32_t word, bit;

	for (word = 0; word < GUEST_PAGE_WORDS; word++) {
		for (bit = 0; bit < 64; bit += 9) {
			page[word] = 1ull << bit;
			assert_true(guest_hash(page) != zero);
			page[word] = 0;
		}
	}
	/* Words that change places change it, also within a lane. */
	page[0] = 1;
	page[4] = 2;
	zero = guest_hash(page);
	page[0] = 2;
	page[4] = 1;
	assert_true(guest_hash(page) != zero);
}

/*
 * Written version by version, a page is always what one word at a time says, and no older version.
 */
static void test_page_versions(void **state)
{
	static uint64_t page[GUEST_PAGE_WORDS];
	struct guest_page_expect expect = { .seed = 3, .page = 11, .version = 1, .full_version = 1 };
	struct guest_page_expect older;
	uint32_t wrong, i;

	guest_page_write_full(page, &expect);
	for (;;) {
		wrong = GUEST_PAGE_WORDS;
		assert_true(guest_page_verify(page, &expect, &wrong));
		for (i = 0; i < GUEST_PAGE_WORDS; i++)
			assert_true(page[i] == guest_page_word(&expect, i));
		assert_true(guest_body_sum(page) == guest_body_checksum(&expect));
		older = expect;
		older.version--;
		if (older.full_version > older.version)
			older.full_version = 1;
		if (older.version) {
			assert_false(guest_page_verify(page, &older, &wrong));
			assert_int_equal(wrong, 2);
			/* Also in the body. */
			assert_false(guest_page_verify_words(page, &older, GUEST_LINE_WORDS,
							     GUEST_PAGE_WORDS, &wrong));
		}
		if (expect.version == 40)
			break;
		expect.version++;
		if (expect.version == 25) {
			expect.full_version = 25;
			guest_page_write_full(page, &expect);
		} else {
			guest_page_write(page, &expect);
		}
	}
	expect.page++;
	assert_false(guest_page_verify(page, &expect, &wrong));
	assert_int_equal(wrong, 1);
}

static void test_program_layout(void **state)
{
	struct gmm_program_config good = { .vcpus = 2,
					   .program_gpa = 2 << 20,
					   .snapshot_pages = 512 };
	struct gmm_program_config config = good;

	assert_true(gmm_program_bytes(&config) > 0);
	assert_int_equal(gmm_program_bytes(&config) % GUEST_PAGE_BYTES, 0);
	assert_int_equal(gmm_program_gpa(1), 2 << 20);
	assert_int_equal(gmm_program_gpa(2 << 20), 2 << 20);
	config.vcpus = 0;
	assert_int_equal(gmm_program_bytes(&config), 0);
	config.vcpus = GUEST_VCPUS_MAX + 1;
	assert_int_equal(gmm_program_bytes(&config), 0);
	config = good;
	config.program_gpa += 4096;
	assert_int_equal(gmm_program_bytes(&config), 0);
	config = good;
	config.snapshot_gpa = 1;
	assert_int_equal(gmm_program_bytes(&config), 0);
	config = good;
	config.snapshot_pages = 1ull << 40;
	assert_int_equal(gmm_program_bytes(&config), 0);
	config = good;
	config.program_gpa = 512ull << 30;
	assert_int_equal(gmm_program_bytes(&config), 0);
	config.program_gpa = (512ull << 30) - (2 << 20);
	assert_int_equal(gmm_program_bytes(&config), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_percentiles),
		cmocka_unit_test(test_hash),
		cmocka_unit_test(test_page_versions),
		cmocka_unit_test(test_program_layout),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
