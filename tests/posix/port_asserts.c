/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Debug builds of the posix port end the program where the contract is broken. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <gmm_port/alloc.h>
#include <gmm_port/section.h>
#include <gmm_port/wait.h>

static struct gmm_spinlock low;
static struct gmm_spinlock high;
static struct gmm_mutex mutex;
static struct gmm_waitqueue queue;

static bool ends_by_abort(void (*broken)(void))
{
	struct rlimit no_core = { 0, 0 };
	int status;
	pid_t child;

	fflush(NULL);
	child = fork();
	if (child == 0) {
		setrlimit(RLIMIT_CORE, &no_core);
		signal(SIGABRT, SIG_DFL);
		if (!freopen("/dev/null", "w", stderr))
			_exit(2);
		gmm_mutex_init(&mutex, 5);
		gmm_spin_init(&low, 10);
		gmm_spin_init(&high, 20);
		gmm_waitqueue_init(&queue);
		broken();
		_exit(0);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		return false;
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void require_debug(void)
{
	if (!GMM_DEBUG) {
		print_message("skipped: built without debug checks\n");
		skip();
	}
}

static void keep_the_rules(void)
{
	gmm_mutex_lock(&mutex);
	gmm_spin_lock(&low);
	gmm_spin_lock(&high);
	gmm_spin_unlock(&low);
	gmm_spin_assert_held(&high);
	gmm_spin_unlock(&high);
	gmm_free(gmm_zalloc(1), 1);
	gmm_mutex_unlock(&mutex);
	gmm_debug_section_enter();
	gmm_spin_lock(&low);
	gmm_spin_unlock(&low);
	gmm_debug_section_exit();
	gmm_assert_may_sleep();
	gmm_spin_destroy(&low);
}

static void invert_ranks(void)
{
	gmm_spin_lock(&high);
	gmm_spin_lock(&low);
}

static void lock_twice(void)
{
	gmm_spin_lock(&low);
	gmm_spin_lock(&low);
}

static void sleep_under_spinlock(void)
{
	gmm_spin_lock(&low);
	gmm_free(gmm_zalloc(1), 1);
}

static void sleep_in_section(void)
{
	gmm_debug_section_enter();
	gmm_mutex_lock(&mutex);
}

static void wait_with_two_locks(void)
{
	gmm_spin_lock(&low);
	gmm_spin_lock(&high);
	gmm_waitqueue_wait(&queue, &high);
}

static void wait_without_lock(void)
{
	gmm_waitqueue_wait(&queue, &low);
}

static void barrier_under_spinlock(void)
{
	gmm_spin_lock(&low);
	gmm_section_heavy_barrier();
}

static void unlock_nothing(void)
{
	gmm_mutex_unlock(&mutex);
}

static void assert_held_of_nothing(void)
{
	gmm_spin_assert_held(&low);
}

static void destroy_held(void)
{
	gmm_spin_lock(&low);
	gmm_spin_destroy(&low);
}

static void leave_no_section(void)
{
	gmm_debug_section_exit();
}

static void assert_untruth(void)
{
	gmm_assert(1 + 1 == 3);
}

static void test_rules_kept(void **state)
{
	assert_false(ends_by_abort(keep_the_rules));
}

static void test_rank_inversion(void **state)
{
	require_debug();
	assert_true(ends_by_abort(invert_ranks));
	assert_true(ends_by_abort(lock_twice));
}

static void test_sleep_in_atomic(void **state)
{
	require_debug();
	assert_true(ends_by_abort(sleep_under_spinlock));
	assert_true(ends_by_abort(sleep_in_section));
	assert_true(ends_by_abort(wait_with_two_locks));
	assert_true(ends_by_abort(barrier_under_spinlock));
}

static void test_lock_not_held(void **state)
{
	require_debug();
	assert_true(ends_by_abort(wait_without_lock));
	assert_true(ends_by_abort(unlock_nothing));
	assert_true(ends_by_abort(assert_held_of_nothing));
	assert_true(ends_by_abort(destroy_held));
}

static void test_plain_assertions(void **state)
{
	require_debug();
	assert_true(ends_by_abort(leave_no_section));
	assert_true(ends_by_abort(assert_untruth));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules_kept),	 cmocka_unit_test(test_rank_inversion),
		cmocka_unit_test(test_sleep_in_atomic),	 cmocka_unit_test(test_lock_not_held),
		cmocka_unit_test(test_plain_assertions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
