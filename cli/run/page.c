/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "../command.h"
#include "../size.h"
#include "file.h"
#include "json.h"
#include "report.h"
#include "results.h"
#include "run.h"

/* cli/page/, as built in. */
static const char style[] = {
#include "page.css.inc"
	0
};
static const char body[] = {
#include "page.html.inc"
	0
};
static const char script[] = {
#include "page.js.inc"
	'\n',
#include "heatmap.js.inc"
	'\n',
#include "charts.js.inc"
	0
};

static uint64_t since_start(const struct run *run, uint64_t at)
{
	return at > run->began_at ? at - run->began_at : 0;
}

static void add_option(json_t *options, const char *name, const char *value)
{
	json_array_append_new(options, json_pack("[s, o]", name, run_json_text(value)));
}

static json_t *make_options(const struct run *run)
{
	json_t *options = json_array();
	char text[GMM_SIZE_TEXT], number[32];

	add_option(options, "accelerator", run->ops->name);
	if (run->ops->caveat)
		add_option(options, "note", run->ops->caveat);
	if (*run->accel_reason)
		add_option(options, "KVM cannot be used", run->accel_reason);
	snprintf(number, sizeof(number), "%u", run->options.vcpus);
	add_option(options, "vCPUs", number);
	add_option(options, "memory", gmm_size_format(run->memory_bytes, text));
	add_option(options, "memory kind", run_memory_kind_name(&run->options));
	add_option(options, "first contents",
		   run->options.snapshot ? run->options.snapshot : "generated");
	add_option(options, "resident at most",
		   gmm_size_format(run->evictor.limit << RUN_PAGE_SHIFT, text));
	add_option(options, "dirty log", run_dirty_name(&run->options));
	add_option(options, "duration", gmm_time_format(run->options.duration_ms * 1000000u, text));
	snprintf(number, sizeof(number), "%llu", (unsigned long long)run->options.seed);
	add_option(options, "seed", number);
	add_option(options, "guestmm", GMM_VERSION);
	return options;
}

static json_t *make_command(const struct run *run)
{
	json_t *command = json_array();
	int i;

	json_array_append_new(command, json_string("gmm run"));
	for (i = 1; i < run->options.argument_count; i++)
		json_array_append_new(command, run_json_text(run->options.arguments[i]));
	return command;
}

static json_t *make_losses(const struct run *run)
{
	const struct run_outcome *outcome = &run->outcome;
	json_t *losses = json_array();
	uint32_t i;

	for (i = 0; i < outcome->lines; i++)
		json_array_append_new(losses,
				      json_pack("{s:I, s:o}", "at",
						(json_int_t)since_start(run, outcome->line_at[i]),
						"text", run_json_text(outcome->line[i])));
	return losses;
}

static json_t *make_log(const struct run *run)
{
	json_t *lines = json_array();
	uint32_t count = run_log_lines(&run->log), i;

	for (i = 0; i < count; i++) {
		const struct run_log_line *line = &run->log.line[i];

		json_array_append_new(lines, json_pack("{s:I, s:s, s:o}", "at",
						       (json_int_t)since_start(run, line->at),
						       "level", run_log_level_name(line->level),
						       "text", run_json_text(line->text)));
	}
	return lines;
}

static void add_mark(json_t *marks, const struct run *run, uint64_t at, const char *kind,
		     const char *text)
{
	json_array_append_new(marks,
			      json_pack("{s:I, s:s, s:o}", "at", (json_int_t)since_start(run, at),
					"kind", kind, "text", run_json_text(text)));
}

static json_t *make_marks(const struct run *run)
{
	json_t *marks = json_array();
	uint32_t count = run_log_lines(&run->log), i;

	if (run->stopped_at)
		add_mark(marks, run, run->stopped_at, "phase", "vCPUs are stopped");
	for (i = 0; i < run->outcome.lines; i++)
		add_mark(marks, run, run->outcome.line_at[i], "loss", run->outcome.line[i]);
	for (i = 0; i < count; i++)
		add_mark(marks, run, run->log.line[i].at, "log", run->log.line[i].text);
	return marks;
}

static json_t *fault_value(const char *name, uint64_t value, const char *text)
{
	return json_pack("{s:s, s:I, s:s}", "name", name, "value", (json_int_t)value, "text", text);
}

static json_t *count_value(const char *name, uint64_t value)
{
	char text[GMM_SIZE_TEXT];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	return fault_value(name, value, text);
}

static json_t *make_faults(const struct run_results *results)
{
	json_t *faults = json_array();
	char p50[GMM_SIZE_TEXT], p99[GMM_SIZE_TEXT];
	uint32_t i;

	for (i = 0; i < sizeof(results->faults) / sizeof(results->faults[0]); i++) {
		const struct run_fault_row *row = &results->faults[i];

		json_array_append_new(
			faults,
			json_pack("{s:s, s:s, s:[o, o, o, o, o]}", "name", row->name, "label",
				  row->name, "values", count_value("served", row->served),
				  count_value("held", row->held),
				  count_value("failed", row->failed),
				  fault_value("p50_ns", row->p50, gmm_time_format(row->p50, p50)),
				  fault_value("p99_ns", row->p99, gmm_time_format(row->p99, p99))));
	}
	return faults;
}

static json_t *make_rows(const struct run_results *results)
{
	json_t *rows = json_array();
	char text[GMM_SIZE_TEXT];
	uint32_t i;

	for (i = 0; i < results->count; i++) {
		const struct run_row *row = &results->rows[i];

		json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:I, s:s}", "group",
						      row->group, "name", row->name, "label",
						      row->label, "value", (json_int_t)row->value,
						      "text", run_report_value(row, text)));
	}
	return rows;
}

static json_t *make_latency(const struct run *run, const struct run_results *results)
{
	struct gmm_fault_service_statistics statistics;
	json_t *kinds = json_array();
	uint32_t kind, i;

	gmm_fault_service_read_statistics(run->faults, &statistics);
	for (kind = 0; kind < GMM_FAULT_SERVICE_KINDS; kind++) {
		json_t *buckets = json_array();

		for (i = 0; i < GMM_LATENCY_BUCKETS; i++) {
			uint64_t count = statistics.kind[kind].latency.bucket[i];

			if (count)
				json_array_append_new(buckets,
						      json_pack("[I, I]",
								(json_int_t)gmm_latency_value(i),
								(json_int_t)count));
		}
		json_array_append_new(kinds,
				      json_pack("{s:s, s:o}", "label", results->faults[kind].name,
						"buckets", buckets));
	}
	return kinds;
}

/* Shares of a row fit 16 bits: counts are shifted by `shift` when they do not. */
static json_t *make_cells(const struct run_history *history, uint32_t shift)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t count = (size_t)history->used * history->rows * RUN_CELLS;
	char *text = malloc(count * 2 / 3 * 4 + 8), *to = text;
	uint32_t bits = 0, kept = 0;
	json_t *made;
	size_t i;

	if (!text)
		return NULL;
	for (i = 0; i < count * 2; i++) {
		size_t cell = i / 2 % RUN_CELLS, row = i / 2 / RUN_CELLS % history->rows;
		uint64_t value = run_history_cell(history,
						  (uint32_t)(i / 2 / RUN_CELLS / history->rows),
						  (uint32_t)row, (enum run_history_cell)cell) >>
				 shift;

		bits = bits << 8 | (uint8_t)(i % 2 ? value >> 8 : value);
		for (kept += 8; kept >= 6; kept -= 6)
			*to++ = digits[bits >> (kept - 6) & 63];
	}
	if (kept)
		*to++ = digits[bits << (6 - kept) & 63];
	while ((to - text) % 4)
		*to++ = '=';
	made = json_stringn(text, (size_t)(to - text));
	free(text);
	return made;
}

static json_t *make_series(const struct run_sampler *sampler)
{
	static const char *const kinds[] = {
		[RUN_SERIES_LEVEL] = "level",
		[RUN_SERIES_RATE] = "rate",
		[RUN_SERIES_EVENT] = "event",
	};
	json_t *all = json_array();
	uint32_t i, column;

	for (i = 0; i < sampler->series_count; i++) {
		const struct run_series *one = &sampler->series[i];
		json_t *values = json_array();

		for (column = 0; column < sampler->history.used; column++)
			json_array_append_new(values, json_integer((json_int_t)run_history_number(
							      &sampler->history, column, i)));
		json_array_append_new(all, json_pack("{s:s, s:s, s:s, s:o}", "name", one->name,
						     "label", one->label, "kind", kinds[one->kind],
						     "values", values));
	}
	return all;
}

static json_t *make_regions(const struct run_sampler *sampler)
{
	json_t *regions = json_array();
	uint32_t i;

	for (i = 0; i < sampler->region_count; i++) {
		const struct run_region *region = &sampler->regions[i];

		json_array_append_new(regions,
				      json_pack("{s:s, s:I, s:I, s:i, s:i}", "name", region->name,
						"gpa", (json_int_t)(region->gfn << RUN_PAGE_SHIFT),
						"pages", (json_int_t)region->pages, "first_row",
						(int)region->first_row, "rows", (int)region->rows));
	}
	return regions;
}

static json_t *make_history(const struct run_sampler *sampler)
{
	const struct run_history *history = &sampler->history;
	json_t *samples = json_array(), *at = json_array();
	uint32_t shift = 0, column;

	while (sampler->row_pages >> shift > UINT16_MAX)
		shift++;
	for (column = 0; column < history->used; column++) {
		json_array_append_new(samples,
				      json_integer((json_int_t)history->column[column].samples));
		json_array_append_new(at, json_integer((json_int_t)history->column[column].at));
	}
	return json_pack("{s:i, s:i, s:I, s:I, s:i, s:o, s:o, s:o, s:o, s:o}", "columns",
			 (int)history->used, "rows", (int)history->rows, "width_ns",
			 (json_int_t)history->width, "row_pages", (json_int_t)sampler->row_pages,
			 "cell_shift", (int)shift, "samples", samples, "at", at, "regions",
			 make_regions(sampler), "series", make_series(sampler), "cells",
			 make_cells(history, shift));
}

static json_t *make_data(const struct run *run, const struct run_results *results)
{
	char verdict[RUN_VERDICT_BYTES];

	run_report_verdict(run, verdict, sizeof(verdict));
	return json_pack("{s:o, s:s, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "results",
			 run_json_make(run, results), "verdict", verdict, "page_bytes",
			 (int)RUN_PAGE_BYTES, "options", make_options(run), "command",
			 make_command(run), "losses", make_losses(run), "log", make_log(run),
			 "marks", make_marks(run), "faults", make_faults(results), "rows",
			 make_rows(results), "latency", make_latency(run, results), "history",
			 make_history(&run->sampler));
}

/* A string of it may hold what ends a script: '<' is only ever in strings. */
static int print_data(const char *text, size_t length, void *stream)
{
	size_t i;

	for (i = 0; i < length; i++)
		if ((text[i] == '<' ? fputs("\\u003c", stream) : fputc(text[i], stream)) == EOF)
			return -1;
	return 0;
}

int run_page_write(const struct run *run, const struct run_results *results)
{
	json_t *data = make_data(run, results);
	char *page = NULL;
	size_t length = 0;
	FILE *stream = open_memstream(&page, &length);
	bool made = data && stream;
	int status;

	if (made) {
		fprintf(stream,
			"<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
			"<meta name=\"viewport\" content=\"width=device-width\">\n"
			"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
			"style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n"
			"<title>gmm run</title>\n<style>\n%s</style>\n</head>\n<body>\n%s"
			"<script type=\"application/json\" id=\"data\">",
			style, body);
		made = !json_dump_callback(data, print_data, stream, JSON_COMPACT);
		fprintf(stream, "</script>\n<script>\n%s</script>\n</body>\n</html>\n", script);
		made = made && !ferror(stream);
	}
	if (stream && fclose(stream))
		made = false;
	json_decref(data);
	status = run_file_write("--report", run->options.report, made ? page : NULL, length);
	free(page);
	return status;
}
