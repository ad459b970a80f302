/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Rows: the table on standard output and the CSV file. No name holds a comma. */
#ifndef GMM_BENCH_REPORT_H
#define GMM_BENCH_REPORT_H

#include "harness.h"

struct bench_spread {
	double median;
	double p10;
	double p90;
};

struct bench_row {
	const char *name;
	const char *reference; /* NULL: none */
	enum bench_unit unit;
	enum bench_goal goal;
	double limit;
	uint32_t pairs; /* 0: counted */
	/* In the unit. */
	struct bench_spread value;
	struct bench_spread reference_value;
	struct bench_spread difference;
	struct bench_spread ratio; /* ours to the reference's */
};

struct bench_report;

struct bench_report *bench_report_open(const char *path);
void bench_report_row(struct bench_report *report, const struct bench_row *row);
void bench_report_note(struct bench_report *report, const char *name, const char *text);
/* Prints the summary; *missed: goals. Returns false when the file could not be written. */
bool bench_report_close(struct bench_report *report, uint32_t *missed);

#endif
