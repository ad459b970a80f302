/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../command.h"
#include "../size.h"
#include "../terminal.h"
#include "json.h"
#include "page.h"
#include "results.h"
#include "run.h"

void run_report_begin(const struct run *run)
{
	char memory[GMM_SIZE_TEXT], resident[GMM_SIZE_TEXT], time[GMM_SIZE_TEXT];

	if (*run->accel_reason)
		printf("KVM cannot be used: %s\n", run->accel_reason);
	printf("accel %s%s%s%s: %u vCPUs, %s of %s memory from %s, resident %s, dirty %s, %s, seed "
	       "%llu\n",
	       run->ops->name, run->ops->caveat ? " (" : "",
	       run->ops->caveat ? run->ops->caveat : "", run->ops->caveat ? ")" : "",
	       run->options.vcpus, gmm_size_format(run->memory_bytes, memory),
	       run_memory_kind_name(&run->options),
	       run->options.snapshot ? run->options.snapshot : "the generator",
	       gmm_size_format(run->evictor.limit << RUN_PAGE_SHIFT, resident),
	       run_dirty_name(&run->options),
	       gmm_time_format(run->options.duration_ms * 1000000u, time),
	       (unsigned long long)run->options.seed);
	run_memory_kind_print(run);
	if (*run->ring_reason)
		printf("not here: dirty rings: %s\n", run->ring_reason);
	run_events_print(run);
	fflush(stdout);
}

const char *run_report_value(const struct run_row *row, char text[GMM_SIZE_TEXT])
{
	switch (row->unit) {
	case RUN_UNIT_BYTES:
		return gmm_size_format(row->value, text);
	case RUN_UNIT_NANOSECONDS:
		return gmm_time_format(row->value, text);
	default:
		snprintf(text, GMM_SIZE_TEXT, "%llu", (unsigned long long)row->value);
		return text;
	}
}

static void print_title(const char *title)
{
	printf("%s%s%s\n", gmm_colour(stdout, GMM_COLOUR_TITLE), title,
	       gmm_colour(stdout, GMM_COLOUR_NONE));
}

static void print_table(const struct run_results *results)
{
	char p50[GMM_SIZE_TEXT], p99[GMM_SIZE_TEXT], text[GMM_SIZE_TEXT];
	const char *group = "";
	uint32_t i;

	print_title("faults            served       held     failed        p50        p99");
	for (i = 0; i < sizeof(results->faults) / sizeof(results->faults[0]); i++) {
		const struct run_fault_row *row = &results->faults[i];

		printf("  %-14s %8llu   %8llu   %8llu %10s %10s\n", row->name,
		       (unsigned long long)row->served, (unsigned long long)row->held,
		       (unsigned long long)row->failed, gmm_time_format(row->p50, p50),
		       gmm_time_format(row->p99, p99));
	}
	for (i = 0; i < results->count; i++) {
		const struct run_row *row = &results->rows[i];

		if (strcmp(group, row->group))
			print_title(row->group);
		group = row->group;
		printf("  %-34s %16s\n", row->label, run_report_value(row, text));
	}
}

void run_report_verdict(const struct run *run, char *text, size_t size)
{
	const struct run_outcome *outcome = &run->outcome;

	if (outcome->status == GMM_EXIT_GOOD)
		snprintf(
			text, size,
			"nothing was lost: %llu pages of %llu seen and verified, all that were touched "
			"compared at the end%s%s",
			(unsigned long long)run_load(&run->verifier.verified),
			(unsigned long long)run->page_count, run->ops->caveat ? "; " : "",
			run->ops->caveat ? run->ops->caveat : "");
	else
		snprintf(text, size, "the run is no success: %llu losses%s",
			 (unsigned long long)outcome->losses,
			 outcome->abandoned ? ", and it ended early" : "");
}

static void print_verdict(const struct run *run)
{
	const struct run_outcome *outcome = &run->outcome;
	char text[RUN_VERDICT_BYTES];
	uint32_t i;

	for (i = 0; i < outcome->lines; i++)
		printf("%s%s:%s %s\n", gmm_colour(stdout, GMM_COLOUR_BAD),
		       outcome->abandoned && i == outcome->lines - 1 ? "FAILED" : "LOST",
		       gmm_colour(stdout, GMM_COLOUR_NONE), outcome->line[i]);
	if (outcome->losses > outcome->lines)
		printf("... and %llu losses more\n",
		       (unsigned long long)(outcome->losses - outcome->lines));
	run_report_verdict(run, text, sizeof(text));
	printf("%s%.*s%s%s\n",
	       gmm_colour(stdout,
			  outcome->status == GMM_EXIT_GOOD ? GMM_COLOUR_GOOD : GMM_COLOUR_BAD),
	       (int)strcspn(text, ":"), text, gmm_colour(stdout, GMM_COLOUR_NONE),
	       text + strcspn(text, ":"));
}

int run_report_end(struct run *run)
{
	struct run_results *results = calloc(1, sizeof(*results));

	if (!results)
		return run_refuse("out of memory");
	run_log_print(&run->log);
	if (run->outcome.status == GMM_EXIT_REFUSED) {
		/* The numbers of a run on unusable input say nothing. */
		fflush(stdout);
		fprintf(stderr, "gmm run: %s\n", run->outcome.line[run->outcome.lines - 1]);
	} else {
		run_results_collect(run, results);
		print_table(results);
		print_verdict(run);
		if (run->options.json && run_json_write(run, results) &&
		    run->outcome.status == GMM_EXIT_GOOD)
			run->outcome.status = GMM_EXIT_LOST;
		if (run->options.report && run_page_write(run, results) &&
		    run->outcome.status == GMM_EXIT_GOOD)
			run->outcome.status = GMM_EXIT_LOST;
	}
	free(results);
	return run->outcome.status;
}
