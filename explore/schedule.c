/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "schedule.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC "gmm-explore schedule 1"
#define CHOICES_MOST (1u << 20)

struct table {
	FILE *to;
	uint64_t line;
	uint32_t last;
};

static const char *file_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Of a kind that changes nothing that a reader would look for. */
static bool is_dull(const struct gmm_sim_access *access)
{
	return access->op == GMM_SIM_START || access->op == GMM_SIM_FINISH;
}

static void print_access(void *opaque, uint32_t thread, bool stored,
			 const struct gmm_sim_access *access)
{
	struct table *table = opaque;

	table->line++;
	if (is_dull(access))
		return;
	if (thread == GMM_SIM_NOBODY) {
		fprintf(table->to, "%5llu  --   %-7s %s  (%s:%d)\n",
			(unsigned long long)table->line, gmm_sim_op_name(access->op),
			access->site->name, file_name(access->site->file), access->site->line);
		return;
	}
	fprintf(table->to, "%5llu  T%u%-2s %*s%-7s %s%s  (%s:%d)\n",
		(unsigned long long)table->line, thread, thread != table->last ? "*" : "",
		(int)(thread * 4), "", gmm_sim_op_name(access->op), access->site->name,
		stored ? " becomes seen" : "", file_name(access->site->file), access->site->line);
	table->last = thread;
}

void explore_schedule_print(FILE *to, const struct explore_request *request,
			    const struct explore_findings *findings)
{
	struct table table = { .to = to, .last = UINT32_MAX };
	struct explore_request replay = *request;
	struct explore_findings again;

	replay.mode = EXPLORE_REPLAY;
	replay.choices = findings->choices;
	replay.choice_count = findings->choice_count;
	replay.performed = print_access;
	replay.opaque = &table;
	fprintf(to, " step  thread (* another than before), operation, object\n");
	explore_search(&replay, &again);
	explore_findings_free(&again);
}

static const char *kind_of(uint8_t choice)
{
	return choice & GMM_SIM_CHOOSE_STORE ? "s" :
	       choice & GMM_SIM_CHOOSE_WAKE  ? "w" :
	       choice & GMM_SIM_CHOOSE_EVENT ? "e" :
					       "";
}

int explore_schedule_write(const char *path, const struct explore_request *request,
			   const struct explore_findings *findings)
{
	FILE *file = fopen(path, "w");
	uint32_t i;

	if (!file)
		return -1;
	fprintf(file,
		"%s\nscenario %s\nstore-buffers %d\nearly-wakes %u\nfail %llu %llu %llu\nchoices %u\n",
		MAGIC, request->scenario->name, request->store_buffers, request->early_wakes,
		(unsigned long long)request->fail_at[0], (unsigned long long)request->fail_at[1],
		(unsigned long long)request->fail_at[2], findings->choice_count);
	for (i = 0; i < findings->choice_count; i++)
		fprintf(file, "%s%u%s", kind_of(findings->choices[i]),
			findings->choices[i] % GMM_SIM_EXPLORED_THREADS, i % 32 == 31 ? "\n" : " ");
	fprintf(file, "\n");
	return fclose(file);
}

static int bad_file(const char *path, const char *what)
{
	fprintf(stderr,
		"gmm-explore: %s is no schedule (%s): give a file that gmm-explore has written\n",
		path, what);
	return -1;
}

static bool read_choices(FILE *file, uint8_t *choices, uint32_t count)
{
	char word[8], *end;
	uint32_t i;

	for (i = 0; i < count; i++) {
		unsigned long thread;
		uint8_t kind;

		if (fscanf(file, "%7s", word) != 1)
			return false;
		kind = *word == 's' ? GMM_SIM_CHOOSE_STORE :
		       *word == 'w' ? GMM_SIM_CHOOSE_WAKE :
		       *word == 'e' ? GMM_SIM_CHOOSE_EVENT :
				      0;
		thread = strtoul(word + !!kind, &end, 10);
		if (*end || end == word + !!kind || thread >= GMM_SIM_EXPLORED_THREADS)
			return false;
		choices[i] = (uint8_t)(thread | kind);
	}
	return true;
}

static int read_open(FILE *file, const char *path, struct explore_schedule *schedule)
{
	struct explore_request *request = &schedule->request;
	unsigned long long fail_at[EXPLORE_FAILURES];
	char line[64], name[64];
	unsigned int count;
	int store_buffers;

	if (!fgets(line, sizeof(line), file) || strcmp(line, MAGIC "\n") != 0)
		return bad_file(path, "its first line");
	if (fscanf(file,
		   "scenario %63s store-buffers %d early-wakes %u fail %llu %llu %llu choices %u",
		   name, &store_buffers, &request->early_wakes, &fail_at[0], &fail_at[1],
		   &fail_at[2], &count) != 7 ||
	    count > CHOICES_MOST)
		return bad_file(path, "its head");
	request->scenario = explore_scenario_find(name);
	if (!request->scenario)
		return bad_file(path, "its scenario is unknown");
	schedule->choices = malloc(count + 1);
	if (!schedule->choices || !read_choices(file, schedule->choices, count))
		return bad_file(path, "its choices");
	request->mode = EXPLORE_REPLAY;
	request->store_buffers = store_buffers;
	request->races = EXPLORE_PLAIN;
	request->choice_count = count;
	for (count = 0; count < EXPLORE_FAILURES; count++)
		request->fail_at[count] = fail_at[count];
	request->choices = schedule->choices;
	return 0;
}

int explore_schedule_read(const char *path, struct explore_schedule *schedule)
{
	FILE *file = fopen(path, "r");
	int status;

	memset(schedule, 0, sizeof(*schedule));
	if (!file) {
		fprintf(stderr, "gmm-explore: %s cannot be read: %s\n", path, strerror(errno));
		return -1;
	}
	status = read_open(file, path, schedule);
	fclose(file);
	if (status)
		free(schedule->choices);
	return status;
}
