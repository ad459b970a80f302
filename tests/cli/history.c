/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What --report keeps of a run: columns that become twice as long, rows for regions of addresses. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "cli/run/history.c"

#define MS 1000000ull
#define WEEK (7ull * 24 * 3600 * 1000 * MS)

/* Cells of two rows, of which each number is `value` and one more than that. */
static void fill(uint64_t cells[2 * RUN_CELLS], uint64_t value)
{
	size_t i;

	for (i = 0; i < 2 * RUN_CELLS; i++)
		cells[i] = value + i / RUN_CELLS;
}

static void add(struct run_history *history, uint64_t at, uint64_t value)
{
	uint64_t cells[2 * RUN_CELLS];

	fill(cells, value);
	run_history_add(history, at, &(uint64_t){ value }, cells);
}

static void start(struct run_history *history)
{
	assert_int_equal(run_history_init(history, 2, 1, 10 * MS), 0);
}

static uint64_t samples(const struct run_history *history)
{
	uint64_t sum = 0;
	uint32_t column;

	for (column = 0; column < RUN_HISTORY_COLUMNS; column++)
		sum += history->column[column].samples;
	return sum;
}

static void test_columns(void **state)
{
	struct run_history history;

	start(&history);
	add(&history, 0, 4);
	add(&history, 9 * MS, 8);
	add(&history, 10 * MS, 100);
	add(&history, 35 * MS, 7);
	assert_int_equal(history.used, 4);
	assert_true(history.width == 10 * MS);
	/* A counter is as it was last; pages are a mean. */
	assert_int_equal(run_history_number(&history, 0, 0), 8);
	assert_int_equal(run_history_cell(&history, 0, 0, RUN_CELL_PAGES), 6);
	assert_int_equal(run_history_cell(&history, 0, 1, RUN_CELL_DIRTY), 7);
	assert_int_equal(history.column[0].samples, 2);
	assert_true(history.column[0].at == 9 * MS);
	assert_int_equal(run_history_cell(&history, 1, 0, RUN_CELL_DIRTY), 100);
	assert_int_equal(history.column[2].samples, 0);
	assert_int_equal(run_history_cell(&history, 2, 0, RUN_CELL_PAGES), 0);
	assert_int_equal(run_history_number(&history, 3, 0), 7);
	run_history_destroy(&history);
}

static void test_columns_become_longer(void **state)
{
	struct run_history history;
	uint32_t i;

	start(&history);
	for (i = 0; i < RUN_HISTORY_COLUMNS; i++)
		add(&history, i * 10 * MS, i);
	assert_int_equal(history.used, RUN_HISTORY_COLUMNS);
	assert_true(history.width == 10 * MS);
	/* One more than there is room for. */
	add(&history, RUN_HISTORY_COLUMNS * 10 * MS, 1000);
	assert_true(history.width == 20 * MS);
	assert_int_equal(history.used, RUN_HISTORY_COLUMNS / 2 + 1);
	assert_int_equal(samples(&history), RUN_HISTORY_COLUMNS + 1);
	for (i = 0; i < RUN_HISTORY_COLUMNS / 2; i++) {
		assert_int_equal(history.column[i].samples, 2);
		assert_int_equal(run_history_number(&history, i, 0), 2 * i + 1);
		/* The mean of 2i and 2i + 1, rounded up. */
		assert_int_equal(run_history_cell(&history, i, 0, RUN_CELL_YOUNG), 2 * i + 1);
		assert_true(history.column[i].at == (2 * i + 1) * 10 * MS);
	}
	assert_int_equal(run_history_cell(&history, i, 0, RUN_CELL_YOUNG), 1000);
	assert_int_equal(history.column[i].samples, 1);
	run_history_destroy(&history);
}

/* Half of a pair without a sample does not count as zeros. */
static void test_an_odd_column_that_nobody_saw(void **state)
{
	struct run_history history;

	start(&history);
	add(&history, 0, 50);
	add(&history, 30 * MS, 60);
	add(&history, RUN_HISTORY_COLUMNS * 10 * MS, 70);
	assert_int_equal(run_history_number(&history, 0, 0), 50);
	assert_int_equal(run_history_cell(&history, 0, 0, RUN_CELL_ZERO), 50);
	assert_int_equal(run_history_number(&history, 1, 0), 60);
	assert_int_equal(run_history_cell(&history, 1, 0, RUN_CELL_ZERO), 60);
	assert_int_equal(history.column[1].samples, 1);
	run_history_destroy(&history);
}

static void test_a_week(void **state)
{
	struct run_history history;
	uint64_t at, expected = 0;

	start(&history);
	for (at = 0; at < WEEK; at += WEEK / 5000) {
		add(&history, at, 9);
		expected++;
	}
	assert_int_equal(samples(&history), expected);
	assert_true(history.used > RUN_HISTORY_COLUMNS / 2 && history.used <= RUN_HISTORY_COLUMNS);
	assert_true(history.width * history.used >= WEEK - WEEK / 5000);
	assert_int_equal(run_history_cell(&history, history.used - 1, 1, RUN_CELL_PAGES), 10);
	run_history_destroy(&history);
	/* At once, with nothing in between. */
	start(&history);
	add(&history, 0, 1);
	add(&history, WEEK, 2);
	assert_int_equal(samples(&history), 2);
	assert_int_equal(run_history_number(&history, history.used - 1, 0), 2);
	assert_int_equal(run_history_number(&history, 0, 0), 1);
	run_history_destroy(&history);
}

static void test_regions(void **state)
{
	struct run_region regions[] = {
		{ .name = "a", .gfn = 0, .pages = 65536 },
		{ .name = "b", .gfn = 65536, .pages = 5 },
		{ .name = "c", .gfn = 1 << 20, .pages = 3000 },
	};
	struct run_region small = { .name = "small", .pages = 3 };
	struct run_region huge = { .name = "huge", .pages = 1ull << 52 };
	uint64_t pages = run_regions_layout(regions, 3, 192);

	assert_int_equal(pages, 512);
	assert_int_equal(regions[0].first_row, 0);
	assert_int_equal(regions[0].rows, 128);
	assert_int_equal(regions[1].first_row, 128);
	assert_int_equal(regions[1].rows, 1);
	assert_int_equal(regions[2].first_row, 129);
	assert_int_equal(regions[2].rows, 6);
	/* The last row has fewer pages, never none. */
	assert_true(regions[2].rows * pages >= 3000 && (regions[2].rows - 1) * pages < 3000);
	assert_int_equal(run_regions_layout(&small, 1, 192), 1);
	assert_int_equal(small.rows, 3);
	assert_true(run_regions_layout(&huge, 1, 192) == 1ull << 45);
	assert_int_equal(huge.rows, 128);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_columns),
		cmocka_unit_test(test_columns_become_longer),
		cmocka_unit_test(test_an_odd_column_that_nobody_saw),
		cmocka_unit_test(test_a_week),
		cmocka_unit_test(test_regions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
