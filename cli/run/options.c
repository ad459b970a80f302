/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <guestmm/static/step_points.h>

#include "../command.h"
#include "../size.h"
#include "guest/abi.h"
#include "device.h"
#include "file.h"
#include "memory_kind.h"
#include "outcome.h"

#define DURATION_MOST_MS ((uint64_t)7 * 24 * 3600 * 1000)

enum run_option {
	OPTION_HELP = 256,
	OPTION_SNAPSHOT,
	OPTION_MEMORY,
	OPTION_VCPUS,
	OPTION_ACCEL,
	OPTION_DIRTY,
	OPTION_RESIDENT,
	OPTION_DURATION,
	OPTION_SEED,
	OPTION_JSON,
	OPTION_REPORT,
	OPTION_MEMORY_KIND,
	OPTION_MAPPING,
	OPTION_EVENTS,
	OPTION_SAVE,
	OPTION_SAVE_EVERY,
	OPTION_DEVICES,
	OPTION_HANG_AFTER,
	OPTION_FAIL_ONE_IN,
	OPTION_LEAVE_OUT,
	OPTION_LOSE_SAVED,
	OPTION_HOLD,
};

static const struct option long_options[] = {
	{ "help", no_argument, NULL, OPTION_HELP },
	{ "snapshot", required_argument, NULL, OPTION_SNAPSHOT },
	{ "memory", required_argument, NULL, OPTION_MEMORY },
	{ "vcpus", required_argument, NULL, OPTION_VCPUS },
	{ "accel", required_argument, NULL, OPTION_ACCEL },
	{ "dirty", required_argument, NULL, OPTION_DIRTY },
	{ "resident", required_argument, NULL, OPTION_RESIDENT },
	{ "duration", required_argument, NULL, OPTION_DURATION },
	{ "seed", required_argument, NULL, OPTION_SEED },
	{ "json", required_argument, NULL, OPTION_JSON },
	{ "report", required_argument, NULL, OPTION_REPORT },
	{ "memory-kind", required_argument, NULL, OPTION_MEMORY_KIND },
	{ "mapping", required_argument, NULL, OPTION_MAPPING },
	{ "events", required_argument, NULL, OPTION_EVENTS },
	{ "save", required_argument, NULL, OPTION_SAVE },
	{ "save-every", required_argument, NULL, OPTION_SAVE_EVERY },
	{ "devices", required_argument, NULL, OPTION_DEVICES },
	{ "hang-after", required_argument, NULL, OPTION_HANG_AFTER },
#if GMM_STEPS
	{ "fail-one-in", required_argument, NULL, OPTION_FAIL_ONE_IN },
	{ "leave-out", required_argument, NULL, OPTION_LEAVE_OUT },
	{ "lose-saved", no_argument, NULL, OPTION_LOSE_SAVED },
	{ "hold", required_argument, NULL, OPTION_HOLD },
#endif
	{ NULL, 0, NULL, 0 },
};

/* By enum. */
static const char *const dirty_words[] = {
	[GMM_ACCEL_DIRTY_BITMAP] = "bitmap",
	[GMM_ACCEL_DIRTY_RING] = "ring",
	NULL,
};

const char *run_memory_kind_name(const struct run_options *options)
{
	return gmm_memory_kind_name(options->memory_kind);
}

const char *run_dirty_name(const struct run_options *options)
{
	return run_has_log(options) ? dirty_words[options->dirty] : "none";
}

static void print_help(void)
{
	printf("Usage: gmm run [OPTION]...\n"
	       "\n"
	       "Runs a guest on memory that guestmm manages: it is paged in from a snapshot,\n"
	       "changed by vCPUs and devices, evicted and harvested, and every page is verified.\n"
	       "Every option may be left out; what is then taken is in parentheses.\n"
	       "\n"
	       "Memory:\n"
	       "  --memory SIZE         guest memory (256M, or the size of the snapshot)\n"
	       "  --memory-kind KIND    memfd, anonymous, hugetlb or guest-memfd (memfd)\n"
	       "  --mapping HOW         the engine maps all, linear, or what is in-use (linear)\n"
	       "  --resident SIZE       how much is kept resident; more is evicted (half of it)\n"
	       "\n"
	       "Who uses it:\n"
	       "  --accel WHO           who runs vCPUs: kvm or process (kvm where it is usable)\n"
	       "  --vcpus N             vCPUs, 1 to %u (%u)\n"
	       "  --devices N           devices, 1 to %u, at most one a vCPU (%u)\n"
	       "  --dirty LOG           ring: one a vCPU, a bitmap for devices;\n"
	       "                        or bitmap: all in it (ring where there are rings)\n"
	       "\n"
	       "The run:\n"
	       "  --duration SECONDS    how long vCPUs run (%u)\n"
	       "  --events LIST         what else happens to the memory, see below (all)\n"
	       "  --seed N              of the guest's choices and of generated memory (%u)\n"
	       "  --hang-after SECONDS  a vCPU without a step for so long has failed (%u)\n"
	       "\n"
	       "Snapshots:\n"
	       "  --snapshot PATH       a file of raw memory, or a DIR of --save (generated)\n"
	       "  --save DIR            saves memory there; on a failure what was there stays\n"
	       "  --save-every SECONDS  how often meanwhile, with --save (once, at half time)\n"
	       "\n"
	       "Results:\n"
	       "  --json FILE           the numbers, for programs\n"
	       "  --report FILE         a page for browsers: memory by address and time\n"
	       "\n"
	       "  --help                print this\n",
	       GUEST_VCPUS_MAX, RUN_VCPUS_DEFAULT, RUN_DEVICES_MOST, RUN_DEVICES_DEFAULT,
	       RUN_DURATION_DEFAULT_MS / 1000, RUN_SEED_DEFAULT, RUN_HANG_DEFAULT_MS / 1000);
	run_events_print_help();
	printf("\n"
	       "SIZE is in bytes, or with K, M, G or T. Exit status: 0 nothing was lost and\n"
	       "every check passed; 1 something was lost or failed, in named lines; 2 wrong use\n"
	       "or unusable input.\n");
}

static int read_size(const char *option, const char *text, uint64_t *bytes)
{
	if (!gmm_size_parse(text, bytes))
		return run_refuse("--%s %s is no size: give bytes, or 64M, 1G", option, text);
	if (*bytes == 0)
		return run_refuse("--%s %s is nothing: give at least one page of %llu bytes",
				  option, text, (unsigned long long)RUN_PAGE_BYTES);
	if (*bytes % RUN_PAGE_BYTES)
		return run_refuse(
			"--%s %s is not a multiple of the page size: give a multiple of %llu bytes",
			option, text, (unsigned long long)RUN_PAGE_BYTES);
	return -1;
}

static int read_seconds(const char *option, const char *text, uint64_t *milliseconds)
{
	double seconds;
	char *end;

	errno = 0;
	seconds = strtod(text, &end);
	if (errno || end == text || *end || !(seconds >= 0.001) ||
	    seconds > (double)DURATION_MOST_MS / 1000)
		return run_refuse("--%s %s is refused: give seconds, 0.001 to %llu", option, text,
				  (unsigned long long)DURATION_MOST_MS / 1000);
	*milliseconds = (uint64_t)(seconds * 1000);
	return -1;
}

static int read_vcpus(const char *text, uint32_t *vcpus)
{
	uint64_t number;

	if (!gmm_number_parse(text, 1, GUEST_VCPUS_MAX, &number))
		return run_refuse("--vcpus %s is refused: give 1 to %u vCPUs", text,
				  GUEST_VCPUS_MAX);
	*vcpus = (uint32_t)number;
	return -1;
}

static int read_devices(const char *text, uint32_t *devices)
{
	uint64_t number;

	if (!gmm_number_parse(text, 1, RUN_DEVICES_MOST, &number))
		return run_refuse("--devices %s is refused: give 1 to %u devices", text,
				  RUN_DEVICES_MOST);
	*devices = (uint32_t)number;
	return -1;
}

/* Index of `text` in the list, which ends with NULL, or -1. */
static int find_word(const char *const *words, const char *text)
{
	int i;

	for (i = 0; words[i]; i++)
		if (!strcmp(words[i], text))
			return i;
	return -1;
}

static int read_accel(const char *text, const struct gmm_accel_ops **accel)
{
	if (!strcmp(text, gmm_accel_kvm.name))
		*accel = &gmm_accel_kvm;
	else if (!strcmp(text, gmm_accel_process.name))
		*accel = &gmm_accel_process;
	else
		return run_refuse("--accel %s is unknown: give kvm or process", text);
	return -1;
}

static int read_dirty(const char *text, enum gmm_accel_dirty *dirty)
{
	int word = find_word(dirty_words, text);

	if (word < 0)
		return run_refuse("--dirty %s is unknown: give bitmap or ring", text);
	*dirty = (enum gmm_accel_dirty)word;
	return -1;
}

static int read_protection(const char *option, const char *text, uint32_t *bit)
{
	static const char *const words[] = { "protect", "wake", "sections", "retry", NULL };
	int word = find_word(words, text);

	if (word < 0)
		return run_refuse("--%s %s is unknown: give protect, wake, sections or retry",
				  option, text);
	*bit = 1u << word;
	return -1;
}

static int refuse_unknown(char **argv)
{
	/* Short options may stand together: only getopt knows which one it is. */
	if (optopt > 0 && optopt < OPTION_HELP)
		return run_refuse("there is no option '-%c': see `gmm run --help`", optopt);
	return run_refuse("there is no option '%s': see `gmm run --help`", argv[optind - 1]);
}

static int read_option(int option, const char *text, struct run_options *options)
{
	switch (option) {
	case 'h':
	case OPTION_HELP:
		print_help();
		return GMM_EXIT_GOOD;
	case OPTION_SNAPSHOT:
		options->snapshot = text;
		return -1;
	case OPTION_MEMORY:
		return read_size("memory", text, &options->memory);
	case OPTION_VCPUS:
		return read_vcpus(text, &options->vcpus);
	case OPTION_ACCEL:
		return read_accel(text, &options->accel);
	case OPTION_DIRTY:
		options->dirty_given = true;
		return read_dirty(text, &options->dirty);
	case OPTION_RESIDENT:
		return read_size("resident", text, &options->resident);
	case OPTION_DURATION:
		return read_seconds("duration", text, &options->duration_ms);
	case OPTION_SEED:
		/* JSON libraries have no larger numbers. */
		if (!gmm_number_parse(text, 0, INT64_MAX, &options->seed))
			return run_refuse("--seed %s is no number: give 0 to 2^63-1", text);
		return -1;
	case OPTION_JSON:
		options->json = text;
		return -1;
	case OPTION_REPORT:
		options->report = text;
		return -1;
	case OPTION_MEMORY_KIND:
		return run_memory_kind_parse(text, &options->memory_kind);
	case OPTION_MAPPING:
		return run_mapping_parse(text, &options->mapping);
	case OPTION_EVENTS:
		return run_events_parse(text, &options->events);
	case OPTION_SAVE:
		options->save = text;
		return -1;
	case OPTION_SAVE_EVERY:
		return read_seconds("save-every", text, &options->save_every_ms);
	case OPTION_DEVICES:
		return read_devices(text, &options->devices);
	case OPTION_HANG_AFTER:
		return read_seconds("hang-after", text, &options->hang_ms);
	case OPTION_FAIL_ONE_IN:
		if (!gmm_number_parse(text, 2, UINT32_MAX, &options->fail_one_in))
			return run_refuse("--fail-one-in %s is refused: give 2 to %u", text,
					  UINT32_MAX);
		return -1;
	case OPTION_LEAVE_OUT:
		return read_protection("leave-out", text, &options->leave_out);
	case OPTION_LOSE_SAVED:
		options->lose_saved = true;
		return -1;
	case OPTION_HOLD:
		return read_protection("hold", text, &options->hold);
	default:
		return GMM_EXIT_REFUSED;
	}
}

static int check_file(const char *option, const char *path, const struct run_options *options)
{
	return run_file_check(option, path, options->snapshot, options->save);
}

static int check_files(const struct run_options *options)
{
	if (options->json && check_file("--json", options->json, options))
		return GMM_EXIT_REFUSED;
	if (options->report && check_file("--report", options->report, options))
		return GMM_EXIT_REFUSED;
	if (options->json && options->report && run_file_is_same(options->json, options->report))
		return run_refuse("--report %s is the file of --json: give another file",
				  options->report);
	return -1;
}

int run_options_parse(int argc, char **argv, struct run_options *options)
{
	int option, status;

	*options = (struct run_options){
		.vcpus = RUN_VCPUS_DEFAULT,
		.dirty = GMM_ACCEL_DIRTY_RING,
		.memory_kind = GMM_MEMORY_KIND_MEMFD,
		.duration_ms = RUN_DURATION_DEFAULT_MS,
		.seed = RUN_SEED_DEFAULT,
		.devices = RUN_DEVICES_DEFAULT,
		.hang_ms = RUN_HANG_DEFAULT_MS,
	};
	run_events_all(&options->events);
	optind = 1;
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
		if (option == ':')
			return run_refuse("%s needs a value: see `gmm run --help`",
					  argv[optind - 1]);
		if (option == '?')
			return refuse_unknown(argv);
		status = read_option(option, optarg, options);
		if (status >= 0)
			return status;
	}
	if (optind < argc)
		return run_refuse("'%s' is no option: see `gmm run --help`", argv[optind]);
	options->hold |= options->leave_out;
	/* What is forced there is about the bitmap. */
	if (!options->dirty_given && (options->hold || !run_has_log(options)))
		options->dirty = GMM_ACCEL_DIRTY_BITMAP;
	if (options->save_every_ms && !options->save)
		return run_refuse("--save-every needs --save: give a directory with --save DIR");
	options->argument_count = argc;
	options->arguments = argv;
	return check_files(options);
}
