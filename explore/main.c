/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The command gmm-explore. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crash.h"
#include "jobs.h"
#include "schedule.h"
#include "search.h"
#include "table.h"

#define PREEMPTIONS_DEFAULT 2u
/* Most with delayed stores, which come on top. */
#define PREEMPTIONS_STORE_BUFFERS 2u
#define EXIT_GOOD 0
#define EXIT_FOUND 1
#define EXIT_WRONG 2

struct command {
	struct explore_request request;
	const char *replay;
	const char *output; /* directory for failing schedules */
	bool all_steps;
	bool list;
	bool deep;
	bool own_bound;
	bool sweep[EXPLORE_FAILURES]; /* each failure, one after the other */
	uint32_t jobs;
	char **names; /* of scenarios */
	uint32_t count;
	bool only_store_buffers;
};

enum explore_option {
	OPTION_HELP = 256,
	OPTION_LIST,
	OPTION_REPLAY,
	OPTION_LENIENT,
	OPTION_ALL_STEPS,
	OPTION_PREEMPTIONS,
	OPTION_STORE_BUFFERS,
	OPTION_RANDOM,
	OPTION_PRIORITIES,
	OPTION_SCHEDULES,
	OPTION_SECONDS,
	OPTION_FAIL_ALLOCATION,
	OPTION_FAIL_RESOLVE,
	OPTION_FAIL_MAP,
	OPTION_JOBS,
	OPTION_NO_SEEN,
	OPTION_SLEEP_SETS,
	OPTION_EARLY_WAKES,
	OPTION_DEEP,
	OPTION_OUTPUT,
};

static const struct option long_options[] = {
	{ "help", no_argument, NULL, OPTION_HELP },
	{ "list", no_argument, NULL, OPTION_LIST },
	{ "replay", required_argument, NULL, OPTION_REPLAY },
	{ "lenient", no_argument, NULL, OPTION_LENIENT },
	{ "all-steps", no_argument, NULL, OPTION_ALL_STEPS },
	{ "preemptions", required_argument, NULL, OPTION_PREEMPTIONS },
	{ "store-buffers", no_argument, NULL, OPTION_STORE_BUFFERS },
	{ "random", required_argument, NULL, OPTION_RANDOM },
	{ "priorities", required_argument, NULL, OPTION_PRIORITIES },
	{ "schedules", required_argument, NULL, OPTION_SCHEDULES },
	{ "seconds", required_argument, NULL, OPTION_SECONDS },
	{ "fail-allocation", required_argument, NULL, OPTION_FAIL_ALLOCATION },
	{ "fail-resolve", required_argument, NULL, OPTION_FAIL_RESOLVE },
	{ "fail-map", required_argument, NULL, OPTION_FAIL_MAP },
	{ "jobs", required_argument, NULL, OPTION_JOBS },
	{ "no-seen", no_argument, NULL, OPTION_NO_SEEN },
	{ "sleep-sets", no_argument, NULL, OPTION_SLEEP_SETS },
	{ "early-wakes", required_argument, NULL, OPTION_EARLY_WAKES },
	{ "deep", no_argument, NULL, OPTION_DEEP },
	{ "output", required_argument, NULL, OPTION_OUTPUT },
	{ NULL, 0, NULL, 0 },
};

static void print_help(void)
{
	printf("Usage: gmm-explore [OPTION]... [SCENARIO]...\n"
	       "\n"
	       "Runs scenarios of the engine in every order of their threads' steps, within a bound.\n"
	       "\n"
	       "  --list               print the scenarios\n"
	       "  --preemptions N|all  threads interrupted where they could go on (each scenario's own)\n"
	       "  --store-buffers      only with delayed stores, as x86 has them\n"
	       "  --no-seen            do not leave out what leads to states seen before\n"
	       "  --early-wakes N      waits of a schedule that end though nobody wakes (0)\n"
	       "  --sleep-sets         where nothing bounds preemptions: sleep sets instead of states\n"
	       "  --random SEED        schedules at random instead, without end\n"
	       "  --priorities SEED    at random by priorities (PCT), without end\n"
	       "  --schedules N        end after so many schedules of a scenario\n"
	       "  --seconds N          end after so many seconds of a scenario\n"
	       "  --fail-allocation N|all  the Nth allocation behind the checkpoint fails; all: each N,\n"
	       "                       until there are no more\n"
	       "  --fail-resolve N|all, --fail-map N|all  so do operations of guest memory\n"
	       "  --jobs N             scenarios at a time (1)\n"
	       "  --deep               one preemption more for each scenario\n"
	       "  --output DIR         where failing schedules are written (.)\n"
	       "  --replay FILE        run one schedule from a file and print it\n"
	       "  --lenient            pass over choices that cannot be made any more, and print only\n"
	       "                       what fails: for schedules that are kept while code changes\n"
	       "  --all-steps          print those, too, that no other thread can tell\n"
	       "  --help               print this\n"
	       "\n"
	       "Exit status: 0 no scenario fails; 1 one does: the schedule is printed and written to a\n"
	       "file; 2 wrong use.\n");
}

static int wrong(const char *what, const char *which)
{
	fprintf(stderr, "gmm-explore: %s '%s': see gmm-explore --help\n", what, which);
	return EXIT_WRONG;
}

/* -1: go on. */
static int read_number(const char *text, uint64_t *number)
{
	char *end;

	errno = 0;
	*number = strtoull(text, &end, 0);
	if (errno || end == text || *end || *text == '-')
		return wrong("this is no number", text);
	return -1;
}

static int read_failure(struct command *command, uint32_t kind, const char *text)
{
	command->request.fail_at[kind] = 1;
	command->sweep[kind] = !strcmp(text, "all");
	return command->sweep[kind] ? -1 : read_number(text, &command->request.fail_at[kind]);
}

static int read_option(struct command *command, int option, const char *text)
{
	struct explore_request *request = &command->request;
	uint64_t number = 0;
	int status = -1;

	switch (option) {
	case OPTION_HELP:
		print_help();
		return EXIT_GOOD;
	case OPTION_LIST:
		command->list = true;
		return -1;
	case OPTION_REPLAY:
		command->replay = text;
		return -1;
	case OPTION_LENIENT:
		request->lenient = true;
		return -1;
	case OPTION_ALL_STEPS:
		command->all_steps = true;
		return -1;
	case OPTION_PREEMPTIONS:
		command->own_bound = true;
		request->preemptions = EXPLORE_UNBOUNDED;
		if (!strcmp(text, "all"))
			return -1;
		status = read_number(text, &number);
		request->preemptions = (uint32_t)number;
		return status;
	case OPTION_STORE_BUFFERS:
		command->only_store_buffers = true;
		return -1;
	case OPTION_RANDOM:
	case OPTION_PRIORITIES:
		request->mode = option == OPTION_RANDOM ? EXPLORE_RANDOM : EXPLORE_PRIORITIES;
		return read_number(text, &request->seed);
	case OPTION_SCHEDULES:
		return read_number(text, &request->schedules);
	case OPTION_SECONDS:
		return read_number(text, &request->seconds);
	case OPTION_FAIL_ALLOCATION:
	case OPTION_FAIL_RESOLVE:
	case OPTION_FAIL_MAP:
		return read_failure(command, (uint32_t)(option - OPTION_FAIL_ALLOCATION), text);
	case OPTION_JOBS:
		status = read_number(text, &number);
		command->jobs = (uint32_t)number;
		return status;
	case OPTION_NO_SEEN:
		request->no_seen = true;
		return -1;
	case OPTION_EARLY_WAKES:
		status = read_number(text, &number);
		request->early_wakes = (uint32_t)number;
		return status;
	case OPTION_SLEEP_SETS:
		request->sleep_sets = true;
		return -1;
	case OPTION_DEEP:
		command->deep = true;
		return -1;
	case OPTION_OUTPUT:
		command->output = text;
		return -1;
	default:
		return EXIT_WRONG;
	}
}

static void list_scenarios(void)
{
	uint32_t table;
	const struct explore_scenario *scenario;

	for (table = 0; explore_tables[table]; table++)
		for (scenario = explore_tables[table]; scenario->name; scenario++)
			printf("%-28s %-16s %s\n", scenario->name, scenario->rules, scenario->what);
}

static void print_findings(const struct explore_request *request,
			   const struct explore_findings *findings)
{
	char bound[16] = "all";

	if (request->mode != EXPLORE_EXHAUSTIVE)
		snprintf(bound, sizeof(bound), "random");
	else if (request->preemptions != EXPLORE_UNBOUNDED)
		snprintf(bound, sizeof(bound), "%u", request->preemptions);
	printf("%-28s %-6s %-6s %10llu %10llu %6u %8.2f  %s\n", request->scenario->name,
	       request->store_buffers ? "tso" : "sc", bound,
	       (unsigned long long)(findings->schedules + findings->left),
	       (unsigned long long)findings->states, findings->depth, findings->seconds,
	       findings->failed	  ? "FAILS" :
	       findings->complete ? "complete" :
				    "ended by its limit");
	fflush(stdout);
}

/* Colours are for people at a terminal that has them. */
static struct table_options table_options(const struct command *command)
{
	const char *terminal = getenv("TERM"), *none = getenv("NO_COLOR");

	return (struct table_options){
		.all_steps = command->all_steps,
		.colours = isatty(STDOUT_FILENO) && !(none && *none) && terminal &&
			   strcmp(terminal, "dumb") != 0,
	};
}

static void report_failure(const struct command *command, const struct explore_request *request,
			   struct explore_findings *findings)
{
	struct table_options options = table_options(command);
	char path[512];

	explore_shrink(request, findings);
	explore_table_print(stdout, request, findings->choices, findings->choice_count, &options);
	snprintf(path, sizeof(path), "%s/%s%s.schedule", command->output, request->scenario->name,
		 request->store_buffers ? "-tso" : "");
	if (explore_schedule_write(path, request, findings))
		fprintf(stderr, "gmm-explore: %s cannot be written: %s\n", path, strerror(errno));
	else
		printf("replay: gmm-explore%s --replay %s\n", EXPLORE_PLAIN ? "-plain" : "", path);
	fflush(stdout);
}

static uint32_t bound_of(const struct explore_scenario *scenario, bool store_buffers)
{
	if (store_buffers && scenario->store_buffers > PREEMPTIONS_STORE_BUFFERS)
		return scenario->store_buffers;
	return store_buffers && scenario->preemptions > PREEMPTIONS_STORE_BUFFERS ?
		       PREEMPTIONS_STORE_BUFFERS :
		       scenario->preemptions;
}

static bool search_and_report(const struct command *command, struct explore_request *request,
			      struct explore_findings *findings)
{
	explore_search(request, findings);
	if (findings->failed) {
		print_findings(request, findings);
		report_failure(command, request, findings);
	}
	explore_findings_free(findings);
	return !findings->failed;
}

/* Each failure of a kind in turn, until no schedule has so many. */
static bool sweep(const struct command *command, struct explore_request *request, uint32_t kind)
{
	static const char *const names[] = { "allocation", "resolve", "map" };
	struct explore_findings sum = { .complete = true }, findings;
	uint64_t nth = 0;

	do {
		request->fail_at[kind] = ++nth;
		if (!search_and_report(command, request, &findings))
			return false;
		sum.schedules += findings.schedules;
		sum.left += findings.left;
		sum.states += findings.states;
		sum.seconds += findings.seconds;
		sum.complete &= findings.complete;
		sum.depth = findings.depth > sum.depth ? findings.depth : sum.depth;
	} while (findings.fail_reached);
	print_findings(request, &sum);
	printf("  each of at most %llu failures of %s\n", (unsigned long long)nth - 1, names[kind]);
	return true;
}

static bool explore_one(const struct command *command, const struct explore_scenario *scenario,
			bool store_buffers)
{
	struct explore_request request = command->request;
	struct explore_findings findings;
	uint32_t kind;

	request.scenario = scenario;
	request.store_buffers = store_buffers;
	if (!command->own_bound)
		request.preemptions = bound_of(scenario, store_buffers) + command->deep;
	for (kind = 0; kind < EXPLORE_FAILURES; kind++)
		if (command->sweep[kind])
			return sweep(command, &request, kind);
	if (!search_and_report(command, &request, &findings))
		return false;
	print_findings(&request, &findings);
	return true;
}

static bool explore(const struct command *command, const struct explore_scenario *scenario)
{
	bool good = true;

	if (!command->only_store_buffers)
		good = explore_one(command, scenario, false);
	if (good && (scenario->store_buffers || command->only_store_buffers))
		good = explore_one(command, scenario, true);
	return good;
}

static const struct explore_scenario *scenario_at(uint32_t number)
{
	uint32_t table, i;

	for (table = 0; explore_tables[table]; table++)
		for (i = 0; explore_tables[table][i].name; i++)
			if (!number--)
				return &explore_tables[table][i];
	return NULL;
}

static int explore_number(void *opaque, uint32_t number)
{
	const struct command *command = opaque;

	return !explore(command, command->count ? explore_scenario_find(command->names[number]) :
						  scenario_at(number));
}

static int explore_all(struct command *command)
{
	uint32_t i, count = command->count, bad;

	for (i = 0; i < command->count; i++)
		if (!explore_scenario_find(command->names[i]))
			return wrong("there is no scenario", command->names[i]);
	while (!command->count && scenario_at(count))
		count++;
	bad = explore_jobs_run(command->jobs, count, explore_number, command);
	printf("%u scenarios, %u fail\n", count, bad);
	return bad ? EXIT_FOUND : EXIT_GOOD;
}

/* One that is kept: what it shows is whether the defect is back. */
static int replay_kept(const struct command *command, const struct explore_schedule *schedule,
		       const struct explore_findings *findings)
{
	struct table_options options = table_options(command);

	printf("%s: %s %s, %u of %u choices made\n", command->replay,
	       schedule->request.scenario->name, findings->failed ? "FAILS" : "passes",
	       findings->made, schedule->request.choice_count);
	if (!findings->failed)
		return EXIT_GOOD;
	explore_table_print(stdout, &schedule->request, schedule->choices,
			    schedule->request.choice_count, &options);
	return EXIT_FOUND;
}

static int replay(const struct command *command)
{
	struct table_options options = table_options(command);
	struct explore_schedule schedule;
	struct explore_findings findings;
	int status = EXIT_GOOD;

	if (explore_schedule_read(command->replay, &schedule))
		return EXIT_WRONG;
	schedule.request.lenient = command->request.lenient;
	/* What it does has to be known before it is told. */
	explore_search(&schedule.request, &findings);
	if (findings.impossible) {
		fprintf(stderr,
			"gmm-explore: %s: its choice %u of %u cannot be made: the code has changed "
			"since; --lenient goes on without it\n",
			command->replay, findings.impossible, schedule.request.choice_count);
		status = EXIT_WRONG;
	} else if (schedule.request.lenient) {
		status = replay_kept(command, &schedule, &findings);
	} else {
		printf("%s %s\n", schedule.request.scenario->name,
		       findings.failed ? "fails:" : "passes: nothing fails in this schedule");
		if (explore_table_print(stdout, &schedule.request, schedule.choices,
					schedule.request.choice_count, &options))
			status = EXIT_FOUND;
	}
	explore_findings_free(&findings);
	free(schedule.choices);
	return status;
}

int main(int argc, char **argv)
{
	struct command command = { .request.preemptions = PREEMPTIONS_DEFAULT,
				   .request.races = EXPLORE_PLAIN,
				   .output = "." };
	int option, status;

	opterr = 0;
	while ((option = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
		if (option == ':')
			return wrong("this needs a value", argv[optind - 1]);
		if (option == '?')
			return wrong("there is no option", argv[optind - 1]);
		status = read_option(&command, option, optarg);
		if (status >= 0)
			return status;
	}
	if (command.list) {
		list_scenarios();
		return EXIT_GOOD;
	}
	explore_catch_crashes();
	if (command.replay)
		return replay(&command);
	command.names = argv + optind;
	command.count = (uint32_t)(argc - optind);
	return explore_all(&command);
}
