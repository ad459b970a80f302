/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Runs the cases once in a kernel module while it is being inserted; the TAP lines go to the log of
 * the kernel. Insertion fails with -EIO when a case failed.
 */
#include <linux/completion.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "gmm_test.h"

struct started {
	struct gmm_test_thread *thread;
	struct completion finished;
};

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
	return turns * 1000;
}

static int thread_main(void *arg)
{
	struct started *started = arg;

	started->thread->fn(started->thread->arg);
	complete(&started->finished);
	return 0;
}

void gmm_test_thread_start_named(struct gmm_test_thread *thread, void (*fn)(void *arg), void *arg,
				 const char *name)
{
	struct started *started = kmalloc(sizeof(*started), GFP_KERNEL);

	if (!started)
		gmm_bail("no memory for a thread");
	started->thread = thread;
	init_completion(&started->finished);
	thread->fn = fn;
	thread->arg = arg;
	thread->world = (uintptr_t)started;
	if (IS_ERR(kthread_run(thread_main, started, "%s", name)))
		gmm_bail("no thread");
}

void gmm_test_thread_join(struct gmm_test_thread *thread)
{
	struct started *started = (struct started *)thread->world;

	wait_for_completion(&started->finished);
	kfree(started);
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

static int __init gmm_test_init(void)
{
	return gmm_test_run_cases() ? -EIO : 0;
}

static void __exit gmm_test_exit(void)
{
	gmm_port_alloc_flush();
}

module_init(gmm_test_init);
module_exit(gmm_test_exit);
MODULE_LICENSE("Dual BSD/GPL");
MODULE_DESCRIPTION("guestmm test");
