/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Runs the cases with threads of the system. Arguments: [--repeat N] [case ...]. */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gmm_test.h"

#define HUNG_AFTER_SECONDS 60

static char **selected;
static int selected_count;
static uint64_t repeat = 1;
static uint64_t repetition;
static const char *running;

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
	flockfile(stdout);
	printf("# %s\n", text);
	fflush(stdout);
	funlockfile(stdout);
}

static void write_text(const char *text)
{
	if (write(STDOUT_FILENO, text, strlen(text)) < 0)
		_exit(1);
}

static void hung(int signal_number)
{
	(void)signal_number;
	write_text("Bail out! hung: ");
	write_text(running ? running : "no case");
	write_text(" did not end within 60 seconds\n");
	_exit(1);
}

void gmm_test_world_run(const struct gmm_test_case *test)
{
	running = test->name;
	for (repetition = 1; repetition <= repeat; repetition++) {
		alarm(HUNG_AFTER_SECONDS);
		gmm_test_reset();
		test->run();
		gmm_test_reset();
		if (gmm_test_case_failed() || gmm_test_case_skipped())
			break;
	}
	alarm(0);
}

uint64_t gmm_test_seed(void)
{
	return repetition;
}

uint32_t gmm_test_turns(uint32_t turns)
{
	return turns * 1000;
}

static void *thread_main(void *arg)
{
	struct gmm_test_thread *thread = arg;

	thread->fn(thread->arg);
	return NULL;
}

void gmm_test_thread_start_named(struct gmm_test_thread *thread, void (*fn)(void *arg), void *arg,
				 const char *name)
{
	pthread_t started;

	thread->fn = fn;
	thread->arg = arg;
	if (pthread_create(&started, NULL, thread_main, thread))
		gmm_bail("no thread");
	thread->world = (uintptr_t)started;
}

void gmm_test_thread_join(struct gmm_test_thread *thread)
{
	if (pthread_join((pthread_t)thread->world, NULL))
		gmm_bail("no thread to join");
}

void gmm_test_word_wait(uint32_t *word, uint32_t seen)
{
	(void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

void gmm_test_word_wake(uint32_t *word)
{
	(void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

int main(int argc, char **argv)
{
	char *end;

	signal(SIGALRM, hung);
	selected = argv + 1;
	selected_count = argc - 1;
	if (argc > 2 && !strcmp(argv[1], "--repeat")) {
		errno = 0;
		repeat = strtoull(argv[2], &end, 0);
		if (errno || *end || !repeat) {
			fprintf(stderr, "%s: --repeat takes a number\n", argv[0]);
			return 2;
		}
		selected += 2;
		selected_count -= 2;
	}
	return gmm_test_run_cases() ? 1 : 0;
}
