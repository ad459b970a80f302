/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct bench_report {
	FILE *csv;
	uint32_t goals;
	uint32_t missed;
};

static const char *unit_name(enum bench_unit unit)
{
	switch (unit) {
	case BENCH_NANOSECONDS:
		return "ns";
	case BENCH_MICROSECONDS:
		return "us";
	default:
		return "";
	}
}

static void format_goal(const struct bench_row *row, char *text, size_t size)
{
	switch (row->goal) {
	case BENCH_GOAL_ADDS:
		snprintf(text, size, "reference + %.1f %s", row->limit, unit_name(row->unit));
		break;
	case BENCH_GOAL_AHEAD:
		snprintf(text, size, ">= %.3g times ahead", row->limit);
		break;
	case BENCH_GOAL_TIMES:
		snprintf(text, size, "<= %.3g times", row->limit);
		break;
	case BENCH_GOAL_WITHIN:
		snprintf(text, size, "within %.0f times", row->limit);
		break;
	case BENCH_GOAL_EQUALS:
		snprintf(text, size, "= %.0f", row->limit);
		break;
	default:
		text[0] = '\0';
	}
}

static bool is_met(const struct bench_row *row)
{
	switch (row->goal) {
	case BENCH_GOAL_ADDS:
		return row->difference.median <= row->limit;
	case BENCH_GOAL_AHEAD:
		return row->ratio.median * row->limit <= 1;
	case BENCH_GOAL_TIMES:
		return row->ratio.median <= row->limit;
	case BENCH_GOAL_WITHIN:
		return row->ratio.median <= row->limit && row->ratio.median * row->limit >= 1;
	case BENCH_GOAL_EQUALS:
		return fabs(row->value.median - row->limit) < 1e-9;
	default:
		return true;
	}
}

static const char *verdict(const struct bench_row *row)
{
	if (row->goal == BENCH_GOAL_NONE)
		return "";
	return is_met(row) ? "yes" : "missed";
}

struct bench_report *bench_report_open(const char *path)
{
	struct bench_report *report = calloc(1, sizeof(*report));

	if (!report)
		bench_broken("no memory");
	report->csv = fopen(path, "w");
	if (!report->csv)
		bench_broken(path);
	fprintf(report->csv,
		"name,value,unit,reference,reference_value,ratio,goal,met,"
		"value_p10,value_p90,reference_p10,reference_p90,"
		"difference,difference_p10,difference_p90,ratio_p10,ratio_p90,pairs\n");
	printf("%-47s %10s %-17s %10s %-34s %9s %9s  %-20s %s\n", "", "value", "  p10 .. p90",
	       "reference", "", "more by", "times", "goal", "met");
	return report;
}

static void print_csv(FILE *csv, const struct bench_row *row, const char *goal)
{
	fprintf(csv, "%s,%.4g,%s,", row->name, row->value.median, unit_name(row->unit));
	if (row->reference)
		fprintf(csv, "%s,%.4g,%.4g,", row->reference, row->reference_value.median,
			row->ratio.median);
	else
		fprintf(csv, ",,,");
	fprintf(csv, "%s,%s,", goal, verdict(row));
	if (!row->pairs)
		fprintf(csv, ",,,,,,,,,\n");
	else if (!row->reference)
		fprintf(csv, "%.4g,%.4g,,,,,,,,%u\n", row->value.p10, row->value.p90, row->pairs);
	else
		fprintf(csv, "%.4g,%.4g,%.4g,%.4g,%.4g,%.4g,%.4g,%.4g,%.4g,%u\n", row->value.p10,
			row->value.p90, row->reference_value.p10, row->reference_value.p90,
			row->difference.median, row->difference.p10, row->difference.p90,
			row->ratio.p10, row->ratio.p90, row->pairs);
	fflush(csv);
}

static void print_table(const struct bench_row *row, const char *goal)
{
	char spread[32] = "";
	int decimals = row->value.median < 100 && row->unit != BENCH_COUNT ? 2 : 0;

	if (row->pairs)
		snprintf(spread, sizeof(spread), "%.*f .. %.*f", decimals, row->value.p10, decimals,
			 row->value.p90);
	printf("%-47s %7.*f %-2s %-17s ", row->name, row->unit == BENCH_COUNT ? 1 : decimals,
	       row->value.median, unit_name(row->unit), spread);
	if (row->reference)
		printf("%10.*f %-34s %9.*f %9.*f", decimals, row->reference_value.median,
		       row->reference, decimals, row->difference.median,
		       row->ratio.median < 0.1 ? 4 : 2, row->ratio.median);
	else
		printf("%65s", "");
	printf("  %-20s %s", goal, verdict(row));
	if (row->goal == BENCH_GOAL_AHEAD)
		printf(" (%.1f times)", 1 / row->ratio.median);
	printf("\n");
	fflush(stdout);
}

void bench_report_row(struct bench_report *report, const struct bench_row *row)
{
	char goal[48];

	format_goal(row, goal, sizeof(goal));
	if (row->goal != BENCH_GOAL_NONE) {
		report->goals++;
		report->missed += !is_met(row);
	}
	print_csv(report->csv, row, goal);
	print_table(row, goal);
}

void bench_report_note(struct bench_report *report, const char *name, const char *text)
{
	(void)report;
	printf("%-47s left out: %s\n", name, text);
}

bool bench_report_close(struct bench_report *report, uint32_t *missed)
{
	bool written = !ferror(report->csv);

	*missed = report->missed;

	written &= !fclose(report->csv);
	printf("%u of %u goals met", report->goals - report->missed, report->goals);
	printf(report->missed ? "; %u missed\n" : "\n", report->missed);
	free(report);
	return written;
}
