/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Runs a case once in the kernel; a thread is a kthread, what is printed goes to the kernel's log. */
#include <linux/bitops.h>
#include <linux/completion.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/preempt.h>
#include <linux/sched.h>

#include "kernel/world.h"

/*
 * A case may start and join threads in a section, where the kernel makes none: they are there
 * before.
 */
#define WORKERS 48u

enum {
	WORKER_FREE,
	WORKER_TAKEN,
	WORKER_READY
};

struct worker {
	struct task_struct *task;
	struct gmm_test_thread *thread;
	struct completion finished;
	int state; /* WORKER_* */
};

static struct worker workers[WORKERS];

void gmm_test_print(const char *text)
{
	pr_info("%s", text);
}

int gmm_test_format(char *text, size_t size, const char *format, __builtin_va_list arguments)
{
	return vsnprintf(text, size, format, arguments);
}

void gmm_test_world_exit(int status)
{
	(void)status;
	set_current_state(TASK_IDLE);
	schedule();
}

bool gmm_test_world_selects(const char *name)
{
	(void)name;
	return true;
}

void gmm_test_world_check_failed(const char *text)
{
	pr_info("# %s\n", text);
}

void gmm_test_world_run(const struct gmm_test_case *test)
{
	uint64_t start = ktime_get_ns();

	gmm_test_reset();
	test->run();
	gmm_test_reset();
	if (ktime_get_ns() - start > 2 * (uint64_t)NSEC_PER_SEC)
		pr_info("# %s: %llu ms\n", test->name, (ktime_get_ns() - start) / NSEC_PER_MSEC);
}

uint64_t gmm_test_seed(void)
{
	return 1;
}

uint32_t gmm_test_turns(uint32_t turns)
{
	return turns * 10;
}

static int worker_main(void *arg)
{
	struct worker *worker = arg;

	while (!kthread_should_stop()) {
		set_current_state(TASK_IDLE);
		if (smp_load_acquire(&worker->state) != WORKER_READY) {
			if (!kthread_should_stop())
				schedule();
			__set_current_state(TASK_RUNNING);
			continue;
		}
		__set_current_state(TASK_RUNNING);
		worker->thread->fn(worker->thread->arg);
		WRITE_ONCE(worker->state, WORKER_TAKEN);
		complete(&worker->finished);
	}
	return 0;
}

int gmm_test_world_start(void)
{
	uint32_t i;

	for (i = 0; i < WORKERS; i++) {
		init_completion(&workers[i].finished);
		workers[i].task = kthread_run(worker_main, &workers[i], "gmm_test/%u", i);
		if (IS_ERR(workers[i].task)) {
			workers[i].task = NULL;
			return -ENOMEM;
		}
	}
	return 0;
}

void gmm_test_world_stop(void)
{
	uint32_t i;

	for (i = 0; i < WORKERS && workers[i].task; i++)
		kthread_stop(workers[i].task);
}

void gmm_test_thread_start_named(struct gmm_test_thread *thread, void (*fn)(void *arg), void *arg,
				 const char *name)
{
	uint32_t i;

	for (i = 0; i < WORKERS; i++)
		if (cmpxchg(&workers[i].state, WORKER_FREE, WORKER_TAKEN) == WORKER_FREE)
			break;
	if (i == WORKERS)
		gmm_bail("no thread for %s", name);
	thread->fn = fn;
	thread->arg = arg;
	thread->world = i;
	workers[i].thread = thread;
	smp_store_release(&workers[i].state, WORKER_READY);
	wake_up_process(workers[i].task);
}

void gmm_test_thread_join(struct gmm_test_thread *thread)
{
	struct worker *worker = &workers[thread->world];

	if (preemptible())
		wait_for_completion(&worker->finished);
	while (!preemptible() && !try_wait_for_completion(&worker->finished))
		cpu_relax();
	smp_store_release(&worker->state, WORKER_FREE);
}

/* The caller may hold locks and be in a section: it polls. */
void gmm_test_word_wait(uint32_t *word, uint32_t seen)
{
	while (READ_ONCE(*word) == seen) {
		if (preemptible())
			schedule_timeout_uninterruptible(1);
		else
			cpu_relax();
	}
}

void gmm_test_word_wake(uint32_t *word)
{
	(void)word;
}

/* The compiler calls it for __builtin_popcountll(), which tests use. */
int __popcountdi2(long long word);
int __popcountdi2(long long word)
{
	return hweight64(word);
}
