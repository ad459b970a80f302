/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "json.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "file.h"
#include "results.h"
#include "run.h"

json_t *run_json_text(const char *text)
{
	char *copy, *at;
	json_t *made = json_string(text);

	if (made || !text)
		return made ? made : json_null();
	copy = strdup(text);
	for (at = copy; at && *at; at++)
		if ((unsigned char)*at >= 0x80)
			*at = '?';
	made = copy ? json_string(copy) : NULL;
	free(copy);
	return made;
}

static void add_rows(json_t *root, const struct run_results *results)
{
	json_t *faults = json_object();
	uint32_t i;

	for (i = 0; i < sizeof(results->faults) / sizeof(results->faults[0]); i++) {
		const struct run_fault_row *row = &results->faults[i];

		json_object_set_new(
			faults, row->name,
			json_pack("{s:I, s:I, s:I, s:I, s:I}", "served", (json_int_t)row->served,
				  "held", (json_int_t)row->held, "failed", (json_int_t)row->failed,
				  "p50_ns", (json_int_t)row->p50, "p99_ns", (json_int_t)row->p99));
	}
	json_object_set_new(root, "faults", faults);
	for (i = 0; i < results->count; i++) {
		const struct run_row *row = &results->rows[i];

		if (!json_object_get(root, row->group))
			json_object_set_new(root, row->group, json_object());
		json_object_set_new(json_object_get(root, row->group), row->name,
				    json_integer((json_int_t)row->value));
	}
}

/* The names of the events that there were. */
static json_t *events_of(const struct run *run)
{
	json_t *names = json_array();
	uint32_t i;

	for (i = 0; i < RUN_EVENTS_MOST; i++)
		if (run->events[i].on)
			json_array_append_new(names, json_string(run->events[i].ops->name));
	return names;
}

json_t *run_json_make(const struct run *run, const struct run_results *results)
{
	const struct run_outcome *outcome = &run->outcome;
	struct run_save_counters saving;
	json_t *lines = json_array();
	json_t *root;
	uint32_t i;

	for (i = 0; i < outcome->lines; i++)
		json_array_append_new(lines, run_json_text(outcome->line[i]));
	root = json_pack(
		"{s:s, s:i, s:I, s:o, s:s, s:s?, s:s?, s:o?, s:I, s:s, s:s, s:I, s:i, s:s, s:I, s:o}",
		"version", GMM_VERSION, "status", outcome->status, "losses",
		(json_int_t)outcome->losses, "lines", lines, "accel", run->ops->name, "caveat",
		run->ops->caveat, "kvm_reason", *run->accel_reason ? run->accel_reason : NULL,
		"snapshot", run_json_text(run->options.snapshot), "memory_bytes",
		(json_int_t)run->memory_bytes, "memory_kind", run_memory_kind_name(&run->options),
		"mapping", run->options.mapping == GMM_MEMORY_MAPPING_IN_USE ? "in-use" : "linear",
		"resident_limit_bytes", (json_int_t)(run->evictor.limit << RUN_PAGE_SHIFT),
		"vcpu_count", (int)run->options.vcpus, "dirty_log", run_dirty_name(&run->options),
		"seed", (json_int_t)run->options.seed, "events", events_of(run));
	if (root && run_save_counters(run, &saving)) {
		json_object_set_new(root, "save", json_string(run->options.save));
		json_object_set_new(root, "save_digest",
				    json_sprintf("%016llx", (unsigned long long)saving.digest));
	}
	if (root)
		add_rows(root, results);
	return root;
}

int run_json_write(const struct run *run, const struct run_results *results)
{
	json_t *root = run_json_make(run, results);
	char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
	int status = run_file_write("--json", run->options.json, text, text ? strlen(text) : 0);

	free(text);
	json_decref(root);
	return status;
}
