/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "history.h"

#include <stdlib.h>
#include <string.h>

#include <guestmm/error.h>

int run_history_init(struct run_history *history, uint32_t rows, uint32_t series, uint64_t width)
{
	memset(history, 0, sizeof(*history));
	history->rows = rows;
	history->series = series;
	history->width = width;
	history->numbers = calloc((size_t)RUN_HISTORY_COLUMNS * series, sizeof(uint64_t));
	history->cells = calloc((size_t)RUN_HISTORY_COLUMNS * rows, RUN_CELLS * sizeof(uint64_t));
	if (history->numbers && history->cells)
		return 0;
	run_history_destroy(history);
	return -GMM_ENOMEM;
}

void run_history_destroy(struct run_history *history)
{
	free(history->numbers);
	free(history->cells);
	history->numbers = NULL;
	history->cells = NULL;
}

static uint64_t *numbers_of(const struct run_history *history, uint32_t column)
{
	return &history->numbers[(size_t)column * history->series];
}

static uint64_t *cells_of(const struct run_history *history, uint32_t column)
{
	return &history->cells[(size_t)column * history->rows * RUN_CELLS];
}

static void clear(struct run_history *history, uint32_t column)
{
	history->column[column] = (struct run_history_column){ 0 };
	memset(numbers_of(history, column), 0, history->series * sizeof(uint64_t));
	memset(cells_of(history, column), 0, (size_t)history->rows * RUN_CELLS * sizeof(uint64_t));
}

/* Adds the samples of a column to those of an earlier one. */
static void merge(struct run_history *history, uint32_t to, uint32_t from)
{
	uint64_t *sums = cells_of(history, to);
	const uint64_t *more = cells_of(history, from);
	size_t i;

	if (!history->column[from].samples)
		return;
	history->column[to].samples += history->column[from].samples;
	history->column[to].at = history->column[from].at;
	memcpy(numbers_of(history, to), numbers_of(history, from),
	       history->series * sizeof(uint64_t));
	for (i = 0; i < (size_t)history->rows * RUN_CELLS; i++)
		sums[i] += more[i];
}

static void halve(struct run_history *history)
{
	uint32_t column;

	for (column = 1; column < history->used; column++) {
		if (column % 2 == 0)
			clear(history, column / 2);
		merge(history, column / 2, column);
	}
	history->used = (history->used + 1) / 2;
	for (column = history->used; column < RUN_HISTORY_COLUMNS; column++)
		clear(history, column);
	history->width *= 2;
}

void run_history_add(struct run_history *history, uint64_t at, const uint64_t *numbers,
		     const uint64_t *cells)
{
	uint64_t *sums;
	uint32_t column;
	size_t i;

	while (at / history->width >= RUN_HISTORY_COLUMNS)
		halve(history);
	column = (uint32_t)(at / history->width);
	if (column >= history->used)
		history->used = column + 1;
	history->column[column].samples++;
	history->column[column].at = at;
	memcpy(numbers_of(history, column), numbers, history->series * sizeof(uint64_t));
	sums = cells_of(history, column);
	for (i = 0; i < (size_t)history->rows * RUN_CELLS; i++)
		sums[i] += cells[i];
}

uint64_t run_history_number(const struct run_history *history, uint32_t column, uint32_t series)
{
	return numbers_of(history, column)[series];
}

uint64_t run_history_cell(const struct run_history *history, uint32_t column, uint32_t row,
			  enum run_history_cell cell)
{
	uint64_t samples = history->column[column].samples;
	uint64_t sum = cells_of(history, column)[(size_t)row * RUN_CELLS + cell];

	return samples ? (sum + samples / 2) / samples : 0;
}

uint64_t run_regions_layout(struct run_region *regions, uint32_t count, uint32_t most)
{
	uint64_t total = 0, pages = 1;
	uint32_t row = 0, i;

	for (i = 0; i < count; i++)
		total += regions[i].pages;
	while ((total + pages - 1) / pages > most)
		pages *= 2;
	for (i = 0; i < count; i++) {
		regions[i].first_row = row;
		regions[i].rows = (uint32_t)((regions[i].pages + pages - 1) / pages);
		row += regions[i].rows;
	}
	return pages;
}
