/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Runs the cases of tests/core once on bare metal: a thread is a CPU, so a case can have as many as
 * there are CPUs beside CPU 0.
 */
#include "gmm_test.h"

#include "cpus.h"
#include "print.h"

void gmm_test_print(const char *text)
{
	bare_put(text);
}

int gmm_test_format(char *text, size_t size, const char *format, __builtin_va_list arguments)
{
	return bare_format(text, size, format, arguments);
}

void gmm_test_world_exit(int status)
{
	(void)status;
	bare_machine_off();
}

bool gmm_test_world_selects(const char *name)
{
	(void)name;
	return true;
}

void gmm_test_world_check_failed(const char *text)
{
	bare_print("# %s\n", text);
}

void gmm_test_world_run(const struct gmm_test_case *test)
{
	gmm_test_reset();
	test->run();
	gmm_test_reset();
}

uint64_t gmm_test_seed(void)
{
	return 1;
}

uint32_t gmm_test_turns(uint32_t turns)
{
	return turns * 10;
}

static void thread_main(void *arg)
{
	struct gmm_test_thread *thread = arg;

	thread->fn(thread->arg);
}

void gmm_test_thread_start_named(struct gmm_test_thread *thread, void (*fn)(void *arg), void *arg,
				 const char *name)
{
	thread->fn = fn;
	thread->arg = arg;
	thread->world = bare_cpu_run(thread_main, thread);
	if (!thread->world)
		gmm_bail("no CPU is idle for %s", name);
}

void gmm_test_thread_join(struct gmm_test_thread *thread)
{
	bare_cpu_join((uint32_t)thread->world);
}

void gmm_test_word_wait(uint32_t *word, uint32_t seen)
{
	if (gmm_load_acquire(word) == seen)
		gmm_cpu_relax(0);
}

void gmm_test_word_wake(uint32_t *word)
{
	(void)word;
}
