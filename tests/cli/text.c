/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Numbers and sizes as people write and read them; the shadow of a run. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/run/shadow.c"
#include "cli/size.c"

static void test_sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{ "0", 0 },
		{ "3", 3 },
		{ "4096", 4096 },
		{ "64K", 65536 },
		{ "64k", 65536 },
		{ "64M", 64ull << 20 },
		{ "1G", 1ull << 30 },
		{ "1GiB", 1ull << 30 },
		{ "1GB", 1ull << 30 },
		{ "2T", 2ull << 40 },
		{ "16777215T", 16777215ull << 40 },
		{ "18446744073709551615", UINT64_MAX },
	};
	static const char *const bad[] = { "",
					   "M",
					   "-1",
					   "+1",
					   " 1",
					   "1 M",
					   "1X",
					   "1MM",
					   "0x10",
					   "1.5G",
					   "16777216T",
					   "1P",
					   "18446744073709551616" };
	uint64_t bytes;
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(gmm_size_parse(good[i].text, &bytes));
		assert_true(bytes == good[i].bytes);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (gmm_size_parse(bad[i], &bytes))
			fail_msg("'%s' is taken for a size", bad[i]);
}

static void test_numbers(void **state)
{
	uint64_t number;

	assert_true(gmm_number_parse("64", 1, 64, &number));
	assert_true(number == 64);
	assert_true(gmm_number_parse("0x10", 1, 64, &number));
	assert_true(number == 16);
	assert_true(gmm_number_parse("010", 1, 64, &number));
	assert_true(number == 10);
	assert_false(gmm_number_parse("0x", 0, 64, &number));
	assert_false(gmm_number_parse("65", 1, 64, &number));
	assert_false(gmm_number_parse("0", 1, 64, &number));
	assert_false(gmm_number_parse("-1", 0, UINT64_MAX, &number));
	assert_false(gmm_number_parse("2x", 1, 64, &number));
	assert_false(gmm_number_parse("", 0, 64, &number));
}

static void test_formats(void **state)
{
	char text[GMM_SIZE_TEXT];

	assert_string_equal(gmm_size_format(3, text), "3 bytes");
	assert_string_equal(gmm_size_format(4096, text), "4K");
	assert_string_equal(gmm_size_format(256ull << 20, text), "256M");
	assert_string_equal(gmm_size_format(3ull << 29, text), "1.5G");
	assert_string_equal(gmm_time_format(850, text), "850 ns");
	assert_string_equal(gmm_time_format(12300, text), "12.3 us");
	assert_string_equal(gmm_time_format(4500000, text), "4.5 ms");
	assert_string_equal(gmm_time_format(2000000000, text), "2.0 s");
}

static void test_shadow(void **state)
{
	char text[GMM_BACKING_TEXT_SIZE];
	struct gmm_source source;
	struct run_shadow *shadow;
	char before[4096], read[4096], mine[4096];

	assert_int_equal(gmm_source_open_generated(&source, 5, 100, 12, text, sizeof(text)), 0);
	assert_int_equal(run_shadow_create(&source, 100, &shadow), 0);
	assert_int_equal(source.ops->read(source.source, 70, 1, before), 0);
	memset(mine, 0x77, sizeof(mine));
	assert_int_equal(run_shadow_read(shadow, 70, read), 0);
	assert_memory_equal(read, before, sizeof(read));
	assert_false(run_shadow_has(shadow, 70));
	assert_int_equal(run_shadow_write(shadow, 70, mine), 0);
	assert_int_equal(run_shadow_write(shadow, 70, mine), 0);
	assert_true(run_shadow_has(shadow, 70));
	assert_int_equal(run_shadow_pages(shadow), 1);
	assert_int_equal(run_shadow_read(shadow, 70, read), 0);
	assert_memory_equal(read, mine, sizeof(read));
	/* Its neighbours are as they were. */
	assert_int_equal(source.ops->read(source.source, 71, 1, before), 0);
	assert_int_equal(run_shadow_read(shadow, 71, read), 0);
	assert_memory_equal(read, before, sizeof(read));
	run_shadow_destroy(shadow);
	gmm_source_close(&source);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_formats),
		cmocka_unit_test(test_shadow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
