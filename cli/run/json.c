/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "json.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "results.h"
#include "run.h"

/* The file that is meant: links are followed, so that none is replaced by a file. */
static char *find_target(const char *path)
{
	char *target = realpath(path, NULL);

	return target || errno != ENOENT ? target : strdup(path);
}

static int check_directory(const char *path)
{
	char *copy = strdup(path);
	int error = copy ? 0 : ENOMEM;

	if (copy && access(dirname(copy), W_OK | X_OK))
		error = errno;
	free(copy);
	return error;
}

/* Whether the file would be in that directory, whose files are those of a snapshot. */
static bool is_in(const char *path, const char *directory)
{
	char *copy = strdup(path);
	struct stat parent, info;
	bool in = copy && directory && !stat(directory, &info) && S_ISDIR(info.st_mode) &&
		  !stat(dirname(copy), &parent) && parent.st_dev == info.st_dev &&
		  parent.st_ino == info.st_ino;

	free(copy);
	return in;
}

int run_json_check(const char *path, const char *snapshot, const char *save)
{
	char *target = find_target(path);
	struct stat info, other;
	int error = 0;

	if (!target || !*target)
		error = *path ? errno : ENOENT;
	else if (stat(target, &info))
		error = errno == ENOENT ? check_directory(target) : errno;
	else if (S_ISDIR(info.st_mode))
		error = EISDIR;
	else if (!S_ISREG(info.st_mode))
		error = access(target, W_OK) ? errno : 0;
	else if (snapshot && !stat(snapshot, &other) && other.st_dev == info.st_dev &&
		 other.st_ino == info.st_ino)
		error = EBUSY;
	else
		error = check_directory(target);
	if (!error && (is_in(target, snapshot) || is_in(target, save)))
		error = EEXIST;
	free(target);
	if (error == EEXIST)
		return run_refuse("--json %s is in the directory of a snapshot: give another file",
				  path);
	if (error == EBUSY)
		return run_refuse("--json %s is the snapshot: give another file", path);
	if (error)
		return run_refuse(
			"--json %s cannot be written (%s): give a file in a directory that you may "
			"write to",
			path, strerror(error));
	return 0;
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

static json_t *make_json(const struct run *run, const struct run_results *results)
{
	const struct run_outcome *outcome = &run->outcome;
	struct run_save_counters saving;
	json_t *lines = json_array();
	json_t *root;
	uint32_t i;

	for (i = 0; i < outcome->lines; i++)
		json_array_append_new(lines, json_string(outcome->line[i]));
	root = json_pack(
		"{s:s, s:i, s:I, s:o, s:s, s:s?, s:s?, s:o?, s:I, s:s, s:s, s:I, s:i, s:s, s:I}",
		"version", GMM_VERSION, "status", outcome->status, "losses",
		(json_int_t)outcome->losses, "lines", lines, "accel", run->ops->name, "caveat",
		run->ops->caveat, "kvm_reason", *run->accel_reason ? run->accel_reason : NULL,
		"snapshot", json_string(run->options.snapshot), "memory_bytes",
		(json_int_t)run->memory_bytes, "memory_kind", run_memory_kind_name(&run->options),
		"mapping", run->options.mapping == GMM_MEMORY_MAPPING_IN_USE ? "in-use" : "linear",
		"resident_limit_bytes", (json_int_t)(run->evictor.limit << RUN_PAGE_SHIFT),
		"vcpu_count", (int)run->options.vcpus, "dirty_log", run_dirty_name(&run->options),
		"seed", (json_int_t)run->options.seed);
	if (root && run_save_counters(run, &saving)) {
		json_object_set_new(root, "save", json_string(run->options.save));
		json_object_set_new(root, "save_digest",
				    json_sprintf("%016llx", (unsigned long long)saving.digest));
	}
	if (root)
		add_rows(root, results);
	return root;
}

/* A device or a pipe takes what there is. */
static int write_in_place(const json_t *root, const char *target)
{
	FILE *file = fopen(target, "we");
	int error = 0;

	if (!file)
		return errno;
	if (json_dumpf(root, file, JSON_INDENT(2)))
		error = errno ? errno : EIO;
	if (fclose(file) && !error)
		error = errno;
	return error;
}

static int write_beside(const json_t *root, const char *target)
{
	mode_t mask = umask(0);
	char *name = NULL;
	int fd, error = 0;

	umask(mask);
	if (asprintf(&name, "%s.XXXXXX", target) < 0)
		return ENOMEM;
	fd = mkostemp(name, O_CLOEXEC);
	if (fd < 0) {
		error = errno;
	} else {
		if (json_dumpfd(root, fd, JSON_INDENT(2)) || fchmod(fd, 0666 & ~mask))
			error = errno ? errno : EIO;
		if (close(fd) && !error)
			error = errno;
		if (!error && rename(name, target))
			error = errno;
		if (error)
			unlink(name);
	}
	free(name);
	return error;
}

int run_json_write(const struct run *run, const struct run_results *results)
{
	json_t *root = make_json(run, results);
	char *target = find_target(run->options.json);
	struct stat info;
	int error;

	if (!root || !target)
		error = ENOMEM;
	else if (!stat(target, &info) && !S_ISREG(info.st_mode))
		error = write_in_place(root, target);
	else
		error = write_beside(root, target);
	json_decref(root);
	free(target);
	if (!error)
		return 0;
	fprintf(stderr,
		"gmm run: --json %s cannot be written (%s): free space there, or give another file\n",
		run->options.json, strerror(error));
	return -1;
}
