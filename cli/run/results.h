/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The numbers of a run, in the order in which they are printed. */
#ifndef GMM_CLI_RUN_RESULTS_H
#define GMM_CLI_RUN_RESULTS_H

#include <stdint.h>

#define RUN_ROWS_MOST 200u

struct run;

enum run_unit {
	RUN_UNIT_COUNT,
	RUN_UNIT_BYTES,
	RUN_UNIT_NANOSECONDS,
};

struct run_row {
	const char *group; /* key in JSON; a title in the table */
	const char *name;  /* key in JSON */
	const char *label; /* in the table */
	enum run_unit unit;
	uint64_t value;
};

struct run_fault_row {
	const char *name;
	uint64_t served, held, failed;
	uint64_t p50, p99; /* ns */
};

struct run_results {
	struct run_fault_row faults[3];
	struct run_row rows[RUN_ROWS_MOST];
	uint32_t count;
};

/* One row, behind the others; rows of one group stand together. Texts are not copied. */
void run_results_add(struct run_results *results, const char *group, const char *name,
		     const char *label, enum run_unit unit, uint64_t value);

/* When all threads but the fault service have ended. */
void run_results_collect(struct run *run, struct run_results *results);

#endif
