/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Runs each case under many schedules. Arguments: [case ...]. Environment:
 *	GMM_SIM_SEEDS=n		 schedules of each case, from seed 1 (200)
 *	GMM_SIM_SEED=n		 only this one, with its steps on stderr
 *	GMM_SIM_STORE_BUFFERS=b	 0 never, 1 always delay stores (otherwise with every odd seed)
 *	GMM_SIM_STEPS=n		 steps after which a schedule counts as a livelock (200,000)
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gmm_test.h"
#include "sim.h"

#define SEEDS_DEFAULT 200
#define SIGNAL_STACK_SIZE (64u << 10)

static const char *program;
static char **selected;
static int selected_count;
static const char *running = "no case";

extern void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

void gmm_test_print(const char *text)
{
	fputs(text, stdout);
	fflush(stdout);
}

int gmm_test_format(char *text, size_t size, const char *format, __builtin_va_list arguments)
{
	return vsnprintf(text, size, format, arguments);
}

void gmm_test_world_exit(int status)
{
	_exit(status);
}

bool gmm_test_world_selects(const char *name)
{
	int i;

	for (i = 0; i < selected_count; i++)
		if (!strcmp(selected[i], name))
			return true;
	return !selected_count;
}

void gmm_test_world_check_failed(const char *text)
{
	gmm_sim_fail("%s", text);
}

static uint64_t number_from_environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

/* A seed stands for a kind of schedule too, so that it is all that a replay needs. */
static struct gmm_sim_config config_of(uint64_t seed)
{
	static const uint32_t switches[] = { 256, 512, 64, 256 };
	struct gmm_sim_config config = {
		.seed = seed,
		.max_steps = number_from_environment("GMM_SIM_STEPS", 0),
		.switch_per_1024 = switches[seed / 2 % 4],
		.priority_changes = seed % 4 == 3 ? 3 : 0,
		.store_buffers = number_from_environment("GMM_SIM_STORE_BUFFERS", seed & 1),
	};

	return config;
}

static void case_main(void *arg)
{
	const struct gmm_test_case *test = arg;

	gmm_test_reset();
	test->run();
	gmm_test_reset();
}

static void print_commented(const char *text)
{
	while (*text) {
		size_t length = strcspn(text, "\n");

		printf("# %.*s\n", (int)length, text);
		text += length + (text[length] == '\n');
	}
}

static void print_replay(uint64_t seed, bool store_buffers)
{
	printf("# seed %llu%s; GMM_SIM_SEED=%llu %s %s replays it\n", (unsigned long long)seed,
	       store_buffers ? ", stores delayed" : "", (unsigned long long)seed, program, running);
}

static bool run_seed(const struct gmm_test_case *test, uint64_t seed, FILE *trace)
{
	static struct gmm_sim_result result;
	struct gmm_sim_config config = config_of(seed);

	config.trace = trace;
	if (!gmm_sim_run(&config, case_main, (void *)(uintptr_t)test, &result)) {
		if (trace)
			fprintf(trace, "trace hash %016llx, %llu steps\n",
				(unsigned long long)result.trace_hash,
				(unsigned long long)result.steps);
		return true;
	}
	print_commented(result.text);
	print_replay(seed, config.store_buffers);
	return false;
}

void gmm_test_world_run(const struct gmm_test_case *test)
{
	uint64_t only = number_from_environment("GMM_SIM_SEED", 0);
	uint64_t last = number_from_environment("GMM_SIM_SEEDS", SEEDS_DEFAULT);
	uint64_t seed = 1;

	running = test->name;
	if (only)
		seed = last = only;
	for (; seed <= last; seed++) {
		if (!run_seed(test, seed, only ? stderr : NULL)) {
			gmm_test_note_failure();
			return;
		}
		if (gmm_test_case_skipped())
			return;
	}
}

uint64_t gmm_test_seed(void)
{
	return gmm_sim_seed();
}

uint32_t gmm_test_turns(uint32_t turns)
{
	return turns;
}

void gmm_test_thread_start_named(struct gmm_test_thread *thread, void (*fn)(void *arg), void *arg,
				 const char *name)
{
	thread->fn = fn;
	thread->arg = arg;
	thread->world = (uintptr_t)gmm_sim_thread_start(fn, arg, name);
}

void gmm_test_thread_join(struct gmm_test_thread *thread)
{
	gmm_sim_thread_join((struct gmm_sim_thread *)thread->world);
}

void gmm_test_word_wait(uint32_t *word, uint32_t seen)
{
	gmm_sim_word_wait(word, seen);
}

void gmm_test_word_wake(uint32_t *word)
{
	gmm_sim_word_wake(word);
}

static void report_crash(void)
{
	print_replay(gmm_sim_seed(), config_of(gmm_sim_seed()).store_buffers);
	fflush(stdout);
}

static void crashed(int signal_number)
{
	signal(signal_number, SIG_DFL);
	printf("# signal %d\n", signal_number);
	report_crash();
	raise(signal_number);
}

static void catch_crashes(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
	static char stack[SIGNAL_STACK_SIZE];
	stack_t alternate = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction action = { .sa_handler = crashed, .sa_flags = SA_ONSTACK };
	size_t i;

	if (__sanitizer_set_death_callback) {
		__sanitizer_set_death_callback(report_crash);
		return;
	}
	sigaltstack(&alternate, NULL);
	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &action, NULL);
}

int main(int argc, char **argv)
{
	program = argv[0];
	selected = argv + 1;
	selected_count = argc - 1;
	catch_crashes();
	return gmm_test_run_cases() ? 1 : 0;
}
