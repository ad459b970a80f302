/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Which events of freed memory are guestmm's own, and that nothing of a drop outlives it. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "accel/own_change.h"

#define START 0x10000u
#define PAGE 0x1000u

/* Who waits for readers yields: that is seen here. */
static _Thread_local uint32_t *yields;

int sched_yield(void)
{
	if (yields)
		__atomic_fetch_add(yields, 1, __ATOMIC_SEQ_CST);
	return (int)syscall(SYS_sched_yield);
}

static void test_each_address_once(void **state)
{
	struct gmm_own_changes changes;
	struct gmm_own_change change;

	gmm_own_changes_init(&changes);
	assert_false(gmm_own_changes_has(&changes, START, PAGE));
	gmm_own_change_begin(&changes, &change, START, 8 * PAGE);
	/* The kernel tells mapping by mapping, and passes over what is not registered. */
	assert_true(gmm_own_changes_has(&changes, START, 2 * PAGE));
	assert_false(gmm_own_changes_has(&changes, START, PAGE));
	assert_true(gmm_own_changes_has(&changes, START + 5 * PAGE, PAGE));
	assert_false(gmm_own_changes_has(&changes, START + 3 * PAGE, PAGE));
	assert_false(gmm_own_changes_has(&changes, START + 7 * PAGE, 2 * PAGE));
	assert_false(gmm_own_changes_has(&changes, START + 8 * PAGE, PAGE));
	gmm_own_change_end(&changes, &change);
	/* What was not told of it is nobody's any more. */
	assert_false(gmm_own_changes_has(&changes, START + 7 * PAGE, PAGE));
	gmm_own_changes_fini(&changes);
}

static void test_any_number_at_once(void **state)
{
	struct gmm_own_change change[100];
	struct gmm_own_changes changes;
	uint32_t i;

	gmm_own_changes_init(&changes);
	for (i = 0; i < 100; i++)
		gmm_own_change_begin(&changes, &change[i], START + i * PAGE, PAGE);
	for (i = 0; i < 100; i += 2)
		gmm_own_change_end(&changes, &change[i]);
	for (i = 0; i < 100; i++)
		assert_int_equal(gmm_own_changes_has(&changes, START + i * PAGE, PAGE), i % 2);
	for (i = 1; i < 100; i += 2)
		gmm_own_change_end(&changes, &change[i]);
	assert_null(changes.first);
	gmm_own_changes_fini(&changes);
}

struct ending {
	struct gmm_own_changes changes;
	struct gmm_own_change change;
	uint32_t waiting, over;
};

static void *end_thread(void *opaque)
{
	struct ending *ending = opaque;

	yields = &ending->waiting;
	gmm_own_change_end(&ending->changes, &ending->change);
	__atomic_store_n(&ending->over, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

/* The event was read, the drop goes on by that, and is over before the reader looks. */
static void test_who_has_read_it_is_waited_for(void **state)
{
	struct ending ending = { .waiting = 0 };
	uint32_t turn, round;
	pthread_t thread;

	gmm_own_changes_init(&ending.changes);
	/* Readers of both counts. */
	for (round = 0; round < 4; round++) {
		ending.waiting = ending.over = 0;
		if (round >= 2)
			ending.changes.turn++;
		gmm_own_change_begin(&ending.changes, &ending.change, START, PAGE);
		turn = gmm_own_changes_read_begin(&ending.changes);
		if (round % 2)
			ending.changes.turn++;
		assert_int_equal(pthread_create(&thread, NULL, end_thread, &ending), 0);
		while (!__atomic_load_n(&ending.waiting, __ATOMIC_SEQ_CST) &&
		       !__atomic_load_n(&ending.over, __ATOMIC_SEQ_CST))
			sched_yield();
		assert_false(__atomic_load_n(&ending.over, __ATOMIC_SEQ_CST));
		assert_true(gmm_own_changes_has(&ending.changes, START, PAGE));
		gmm_own_changes_read_end(&ending.changes, turn);
		pthread_join(thread, NULL);
		assert_null(ending.changes.first);
	}
	gmm_own_changes_fini(&ending.changes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_address_once),
		cmocka_unit_test(test_any_number_at_once),
		cmocka_unit_test(test_who_has_read_it_is_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
