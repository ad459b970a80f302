/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What a run looked like over time, in bounded memory: columns of time, in each a number for each
 * series, and for each row (a bucket of addresses) counts of its pages. When the columns are used
 * up, two neighbours become one, and a column is twice as long. Of one thread at a time.
 */
#ifndef GMM_CLI_RUN_HISTORY_H
#define GMM_CLI_RUN_HISTORY_H

#include <stdint.h>

#define RUN_HISTORY_COLUMNS 256u

/* What is counted of the pages of a row. */
enum run_history_cell {
	RUN_CELL_PAGES, /* in a slot */
	RUN_CELL_ABSENT,
	RUN_CELL_ZERO,
	RUN_CELL_PRESENT,
	RUN_CELL_EVICTED,
	RUN_CELL_YOUNG,
	RUN_CELL_DIRTY,
	RUN_CELLS,
};

struct run_history {
	uint32_t rows, series; /* immutable */
	uint32_t used;	       /* columns */
	uint64_t width;	       /* of a column, in ns */
	struct run_history_column {
		uint64_t samples; /* 0: the run was too busy to be looked at */
		uint64_t at;	  /* ns since the start, of the last sample */
	} column[RUN_HISTORY_COLUMNS];
	uint64_t *numbers; /* [column][series]: of the last sample */
	uint64_t *cells;   /* [column][row][RUN_CELLS]: sums over the samples */
};

/* -GMM_ENOMEM. */
int run_history_init(struct run_history *history, uint32_t rows, uint32_t series, uint64_t width);
void run_history_destroy(struct run_history *history);

/*
 * One sample, `at` ns after the start; times do not go back. `numbers`: a value of each series.
 * `cells`: [row][RUN_CELLS].
 */
void run_history_add(struct run_history *history, uint64_t at, const uint64_t *numbers,
		     const uint64_t *cells);

uint64_t run_history_number(const struct run_history *history, uint32_t column, uint32_t series);
/* The mean of the column's samples; 0 without samples. */
uint64_t run_history_cell(const struct run_history *history, uint32_t column, uint32_t row,
			  enum run_history_cell cell);

/* A part of the guest's address space that gets rows. */
struct run_region {
	const char *name;
	uint64_t gfn, pages;
	/* from run_regions_layout() */
	uint32_t first_row, rows;
};

/*
 * Gives `most` rows, and up to one more a region, to regions of as many pages as they have. Returns
 * the pages of a row, a power of two; the last row of a region may have fewer.
 */
uint64_t run_regions_layout(struct run_region *regions, uint32_t count, uint32_t most);

#endif
