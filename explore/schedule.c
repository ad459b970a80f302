/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "schedule.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_LINE "gmm-explore schedule "
#define PROGRAM (EXPLORE_PLAIN ? "gmm-explore-plain" : "gmm-explore")
#define CHOICES_MOST (1u << 20)
#define LINE_BYTES 512u
#define RUNS_OF_LINE 16u

static const char *kind_of(uint8_t choice)
{
	return choice & GMM_SIM_CHOOSE_STORE ? "s" :
	       choice & GMM_SIM_CHOOSE_WAKE  ? "w" :
	       choice & GMM_SIM_CHOOSE_EVENT ? "e" :
					       "";
}

/* Equal choices that follow each other stand together: 1x12. */
static void write_choices(FILE *file, const uint8_t *choices, uint32_t count)
{
	uint32_t first, end, runs = 0;

	for (first = 0; first < count; first = end) {
		for (end = first; end < count && choices[end] == choices[first];)
			end++;
		fprintf(file, "%s%s%u",
			runs % RUNS_OF_LINE ? " " :
			runs		    ? "\n" :
					      "",
			kind_of(choices[first]), choices[first] % GMM_SIM_EXPLORED_THREADS);
		if (end - first > 1)
			fprintf(file, "x%u", end - first);
		runs++;
	}
	fprintf(file, "%send\n", runs ? "\n" : "");
}

int explore_schedule_write(const char *path, const struct explore_request *request,
			   const struct explore_findings *findings)
{
	FILE *file = fopen(path, "w");

	if (!file)
		return -1;
	fprintf(file, FIRST_LINE "%d\nprogram %s\nscenario %s\nmemory %s\nearly-wakes %u\n",
		SCHEDULE_VERSION, PROGRAM, request->scenario->name,
		request->store_buffers ? "tso" : "sc", request->early_wakes);
	fprintf(file, "fail-allocation %llu\nfail-resolve %llu\nfail-map %llu\nchoices %u\n",
		(unsigned long long)request->fail_at[EXPLORE_FAIL_ALLOCATION],
		(unsigned long long)request->fail_at[EXPLORE_FAIL_RESOLVE],
		(unsigned long long)request->fail_at[EXPLORE_FAIL_MAP], findings->choice_count);
	write_choices(file, findings->choices, findings->choice_count);
	return fclose(file);
}

/* A file that is being read. */
struct reading {
	FILE *file;
	const char *path;
	char line[LINE_BYTES];
	uint32_t number; /* of the line */
};

static int GMM_PRINTF(2, 3) bad_file(const struct reading *reading, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "gmm-explore: %s", reading->path);
	if (reading->number)
		fprintf(stderr, ":%u", reading->number);
	fprintf(stderr, ": ");
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "\n");
	return -1;
}

/* The next line that is no comment, without its end. */
static bool next_line(struct reading *reading)
{
	do {
		reading->number++;
		if (!fgets(reading->line, sizeof(reading->line), reading->file))
			return false;
	} while (reading->line[0] == '#');
	reading->line[strcspn(reading->line, "\n")] = 0;
	return true;
}

static int read_version(struct reading *reading)
{
	char *end;
	long version;

	if (!next_line(reading) || strncmp(reading->line, FIRST_LINE, strlen(FIRST_LINE)) != 0)
		return bad_file(reading, "this is no schedule: give a file that gmm-explore wrote");
	version = strtol(reading->line + strlen(FIRST_LINE), &end, 10);
	if (*end || version != SCHEDULE_VERSION)
		return bad_file(reading,
				"the format of this schedule is version '%s', and this program "
				"reads version %d: find the schedule again",
				reading->line + strlen(FIRST_LINE), SCHEDULE_VERSION);
	return 0;
}

/* What stands behind a word that the next line must begin with. */
static const char *read_field(struct reading *reading, const char *name)
{
	size_t length = strlen(name);

	if (!next_line(reading)) {
		bad_file(reading, "the file ends where '%s' should stand: it is cut off", name);
		return NULL;
	}
	if (strncmp(reading->line, name, length) != 0 || reading->line[length] != ' ') {
		bad_file(reading,
			 "'%.40s' stands where '%s' should: give a file that "
			 "gmm-explore wrote",
			 reading->line, name);
		return NULL;
	}
	return reading->line + length + 1;
}

static int read_count(struct reading *reading, const char *name, uint64_t most, uint64_t *number)
{
	const char *text = read_field(reading, name);
	char *end;

	if (!text)
		return -1;
	errno = 0;
	*number = strtoull(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || *number > most)
		return bad_file(reading, "'%.40s' is no number for '%s'", text, name);
	return 0;
}

static int read_what(struct reading *reading, struct explore_request *request)
{
	const char *text = read_field(reading, "program");

	if (!text)
		return -1;
	if (strcmp(text, PROGRAM) != 0)
		return bad_file(reading,
				"this schedule is of %.40s, and this is %s: replay it there", text,
				PROGRAM);
	text = read_field(reading, "scenario");
	if (!text)
		return -1;
	request->scenario = explore_scenario_find(text);
	if (!request->scenario)
		return bad_file(reading, "there is no scenario '%.60s': %s --list names them", text,
				PROGRAM);
	text = read_field(reading, "memory");
	if (!text)
		return -1;
	if (strcmp(text, "sc") != 0 && strcmp(text, "tso") != 0)
		return bad_file(reading, "'%.20s' is no memory: sc or tso", text);
	request->store_buffers = !strcmp(text, "tso");
	return 0;
}

/* One run of a line: 1, s2, w0, 1x12. */
static int read_run(struct reading *reading, char **at, uint8_t *choices, uint32_t left,
		    uint32_t *read)
{
	char *text = *at, *end;
	uint8_t kind = *text == 's' ? GMM_SIM_CHOOSE_STORE :
		       *text == 'w' ? GMM_SIM_CHOOSE_WAKE :
		       *text == 'e' ? GMM_SIM_CHOOSE_EVENT :
				      0;
	unsigned long thread = strtoul(text + !!kind, &end, 10), run = 1, i;
	bool good = end != text + !!kind && thread < GMM_SIM_EXPLORED_THREADS;

	if (good && *end == 'x') {
		text = end + 1;
		run = strtoul(text, &end, 10);
		good = end != text && run;
	}
	if (!good || (*end && *end != ' '))
		return bad_file(reading, "'%.20s' is no choice", *at);
	if (run > left)
		return bad_file(reading, "there are more choices than the file says");
	for (i = 0; i < run; i++)
		choices[i] = (uint8_t)(thread | kind);
	*read = (uint32_t)run;
	*at = end;
	return 0;
}

static int read_choices(struct reading *reading, uint8_t *choices, uint32_t count)
{
	uint32_t have = 0, run = 0;

	while (next_line(reading)) {
		char *at = reading->line;

		if (!strcmp(at, "end")) {
			if (have == count)
				return 0;
			return bad_file(reading, "there are %u choices, and %u should be", have,
					count);
		}
		for (; *at; have += run) {
			if (read_run(reading, &at, choices + have, count - have, &run))
				return -1;
			while (*at == ' ')
				at++;
		}
	}
	return bad_file(reading, "the file ends before its 'end': it is cut off");
}

static int read_open(struct reading *reading, struct explore_schedule *schedule)
{
	static const char *const failures[] = { "fail-allocation", "fail-resolve", "fail-map" };
	struct explore_request *request = &schedule->request;
	uint64_t number;
	uint32_t i;

	if (read_version(reading) || read_what(reading, request) ||
	    read_count(reading, "early-wakes", UINT32_MAX, &number))
		return -1;
	request->early_wakes = (uint32_t)number;
	for (i = 0; i < EXPLORE_FAILURES; i++)
		if (read_count(reading, failures[i], UINT64_MAX, &request->fail_at[i]))
			return -1;
	if (read_count(reading, "choices", CHOICES_MOST, &number))
		return -1;
	schedule->choices = malloc(number + 1);
	if (!schedule->choices)
		return bad_file(reading, "there is no memory for its choices");
	if (read_choices(reading, schedule->choices, (uint32_t)number))
		return -1;
	request->mode = EXPLORE_REPLAY;
	request->races = EXPLORE_PLAIN;
	request->choice_count = (uint32_t)number;
	request->choices = schedule->choices;
	return 0;
}

int explore_schedule_read(const char *path, struct explore_schedule *schedule)
{
	struct reading reading = { .file = fopen(path, "r"), .path = path };
	int status;

	memset(schedule, 0, sizeof(*schedule));
	if (!reading.file)
		return bad_file(&reading, "it cannot be read: %s", strerror(errno));
	status = read_open(&reading, schedule);
	fclose(reading.file);
	if (status) {
		free(schedule->choices);
		schedule->choices = NULL;
	}
	return status;
}
