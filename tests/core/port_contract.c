/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Every entry of port/CONTRACT.md, in every world that runs tests. */
#include <gmm_port/scan.h>
#include <gmm_port/section.h>
#include <gmm_port/time.h>
#include <gmm_port/wait.h>

#include <guestmm/error.h>

#include "gmm_test.h"

#define THREADS 3
#define TURNS 20
#define RANK_LOW 10u
#define RANK_HIGH 20u

GMM_STATIC_ASSERT(sizeof(uint64_t) == 8 && sizeof(uint8_t) == 1, "sized types");
GMM_STATIC_ASSERT(GMM_DEBUG == 0 || GMM_DEBUG == 1, "GMM_DEBUG is a number");
GMM_STATIC_ASSERT(GMM_SECTION_PER_CPU == 0 || GMM_SECTION_PER_CPU == 1, "a number too");

struct outer {
	uint32_t before;
	uint32_t member;
};

GMM_NOINLINE static uint32_t GMM_MUST_CHECK not_inlined(uint32_t value)
{
	return value + 1;
}

GMM_INLINE uint32_t inlined(uint32_t value)
{
	return value + 1;
}

static void compiler_words_mean_what_they_say(void)
{
	struct outer outer = { 1, 2 };
	bool yes = true;

	gmm_ok(gmm_likely(yes) && !gmm_unlikely(!yes));
	gmm_equal(not_inlined(1), inlined(1));
	gmm_ok(gmm_container_of(&outer.member, struct outer, member) == &outer);
	gmm_equal(offsetof(struct outer, member), sizeof(uint32_t));
}

static void atomics_do_arithmetic(void)
{
	uint32_t narrow = 5;
	uint64_t wide = (uint64_t)1 << 40;
	uint64_t seen = 3;
	uint32_t *pointer = NULL;
	uint32_t *nothing = NULL;

	gmm_store_relaxed(&narrow, 6u);
	gmm_equal(gmm_load_relaxed(&narrow), 6);
	gmm_store_release(&wide, (uint64_t)1 << 41);
	gmm_equal(gmm_load_acquire(&wide), (uint64_t)1 << 41);
	gmm_equal(gmm_exchange(&narrow, 9u), 6);
	gmm_equal(gmm_fetch_add(&narrow, 1u), 9);
	gmm_equal(gmm_fetch_or(&narrow, 5u), 10);
	gmm_equal(gmm_fetch_and(&narrow, 6u), 15);
	gmm_equal(gmm_load_relaxed(&narrow), 6);
	gmm_ok(!gmm_compare_exchange(&wide, &seen, (uint64_t)7));
	gmm_equal(seen, (uint64_t)1 << 41);
	gmm_ok(gmm_compare_exchange(&wide, &seen, (uint64_t)7));
	gmm_equal(gmm_load_relaxed(&wide), 7);
	gmm_store_release(&pointer, &narrow);
	gmm_ok(gmm_load_acquire(&pointer) == &narrow);
	gmm_ok(gmm_exchange(&pointer, NULL) == &narrow);
	gmm_ok(gmm_compare_exchange(&pointer, &nothing, &narrow) && pointer == &narrow);
	gmm_fence();
	gmm_compiler_barrier();
	gmm_cpu_relax(0);
	gmm_cpu_relax(1000);
}

/* Two threads that come out of meet() at about the same time, and have seen each other's stores. */
static void meet(uint32_t *arrived, uint32_t round)
{
	uint32_t turn = 0;

	gmm_fetch_add(arrived, 1u);
	while (gmm_load_acquire(arrived) < 2 * (round + 1))
		gmm_cpu_relax(turn++);
}

struct crossing {
	uint32_t store[2];
	uint32_t seen[2];
	uint32_t before; /* who meets */
	uint32_t after;
	uint32_t missed; /* rounds in which neither saw the other's store */
	uint32_t last;	 /* no round after this one; written between the two meetings */
	bool by_section;
	uint64_t until; /* ns */
};

/* Where threads seldom run at once the rounds are slow: fewer will do. */
#define CROSSING_NS 5000000000ull

static void cross_once(struct crossing *crossing, uint32_t own, uint32_t round)
{
	meet(&crossing->before, round);
	gmm_store_relaxed(&crossing->store[own], round + 1);
	if (!crossing->by_section)
		gmm_fence();
	else if (own)
		gmm_section_heavy_barrier();
	else
		gmm_section_light_barrier(false);
	gmm_store_relaxed(&crossing->seen[own], gmm_load_relaxed(&crossing->store[!own]));
	if (own && gmm_time_ns() > crossing->until)
		gmm_store_relaxed(&crossing->last, round);
	meet(&crossing->after, round);
	if (own && gmm_load_relaxed(&crossing->seen[0]) <= round &&
	    gmm_load_relaxed(&crossing->seen[1]) <= round)
		crossing->missed++;
}

static void cross(struct crossing *crossing, uint32_t own)
{
	uint32_t turns = gmm_test_turns(TURNS);
	uint32_t round;

	for (round = 0; round < turns && round <= gmm_load_relaxed(&crossing->last); round++)
		cross_once(crossing, own, round);
}

static void cross_other(void *arg)
{
	cross(arg, 0);
}

static void cross_both(bool by_section)
{
	struct crossing crossing = {
		.by_section = by_section,
		.last = ~0u,
		.until = gmm_time_ns() + CROSSING_NS,
	};
	struct gmm_test_thread other;

	gmm_test_thread_start(&other, cross_other, &crossing);
	cross(&crossing, 1);
	gmm_test_thread_join(&other);
	gmm_equal(crossing.missed, 0);
}

static void fence_orders_store_before_load(void)
{
	cross_both(false);
}

static void light_barrier_pairs_with_heavy_barrier(void)
{
	int status = gmm_section_barrier_init();

	if (status == -GMM_ENOSYS)
		gmm_skip("this machine refuses an asymmetric barrier");
	gmm_must(status == 0);
	cross_both(true);
	gmm_section_light_barrier(true);
}

static void refused_barrier_is_reported(void)
{
	int status;

	gmm_port_section_barrier_refuse(true);
	status = gmm_section_barrier_init();
	gmm_section_light_barrier(true);
	gmm_section_heavy_barrier();
	gmm_port_section_barrier_refuse(false);
	gmm_equal(status, -GMM_ENOSYS);
}

static void cpu_index_is_below_count(void)
{
	gmm_section_pin();
	gmm_ok(gmm_cpu_index() < gmm_cpu_count());
	gmm_section_unpin();
}

struct counters {
	struct gmm_spinlock spinlock;
	struct gmm_mutex mutex;
	uint64_t under_spinlock;
	uint64_t under_mutex;
	uint64_t atomic;
};

static uint64_t slow_increment(uint64_t *counter)
{
	uint64_t seen = *(volatile uint64_t *)counter;

	gmm_cpu_relax(0);
	return *counter = seen + 1;
}

static void count(void *arg)
{
	struct counters *counters = arg;
	uint32_t turns = gmm_test_turns(TURNS);
	uint32_t turn;

	for (turn = 0; turn < turns; turn++) {
		gmm_mutex_lock(&counters->mutex);
		gmm_mutex_assert_held(&counters->mutex);
		slow_increment(&counters->under_mutex);
		gmm_spin_lock(&counters->spinlock);
		gmm_spin_assert_held(&counters->spinlock);
		slow_increment(&counters->under_spinlock);
		gmm_spin_unlock(&counters->spinlock);
		gmm_mutex_unlock(&counters->mutex);
		gmm_spin_lock(&counters->spinlock);
		slow_increment(&counters->under_spinlock);
		gmm_spin_unlock(&counters->spinlock);
		gmm_fetch_add(&counters->atomic, (uint64_t)1);
	}
}

static void locks_exclude(void)
{
	struct counters counters = { .under_mutex = 0 };
	struct gmm_test_thread threads[THREADS];
	uint32_t i;

	gmm_mutex_init(&counters.mutex, RANK_LOW);
	gmm_spin_init(&counters.spinlock, RANK_HIGH);
	for (i = 0; i < THREADS; i++)
		gmm_test_thread_start(&threads[i], count, &counters);
	for (i = 0; i < THREADS; i++)
		gmm_test_thread_join(&threads[i]);
	gmm_equal(counters.under_mutex, THREADS * gmm_test_turns(TURNS));
	gmm_equal(counters.under_spinlock, 2 * THREADS * gmm_test_turns(TURNS));
	gmm_equal(counters.atomic, THREADS * gmm_test_turns(TURNS));
	gmm_spin_destroy(&counters.spinlock);
	gmm_mutex_destroy(&counters.mutex);
}

struct handover {
	struct gmm_spinlock lock;
	struct gmm_waitqueue queue;
	uint32_t turn; /* under lock; even for the one, odd for the other */
	bool wake_unlocked;
};

static void hand_over(struct handover *handover, uint32_t own)
{
	uint32_t i;

	for (i = 0; i < TURNS; i++) {
		gmm_spin_lock(&handover->lock);
		while (handover->turn % 2 != own)
			gmm_waitqueue_wait(&handover->queue, &handover->lock);
		gmm_spin_assert_held(&handover->lock);
		handover->turn++;
		if (!handover->wake_unlocked)
			gmm_waitqueue_wake_all(&handover->queue);
		gmm_spin_unlock(&handover->lock);
		if (handover->wake_unlocked)
			gmm_waitqueue_wake_all(&handover->queue);
	}
}

static void hand_over_odd(void *arg)
{
	hand_over(arg, 1);
}

static void hand_over_many_times(bool wake_unlocked)
{
	struct handover handover = { .wake_unlocked = wake_unlocked };
	struct gmm_test_thread odd;

	gmm_spin_init(&handover.lock, RANK_LOW);
	gmm_waitqueue_init(&handover.queue);
	gmm_test_thread_start(&odd, hand_over_odd, &handover);
	hand_over(&handover, 0);
	gmm_test_thread_join(&odd);
	gmm_equal(handover.turn, 2 * TURNS);
	gmm_waitqueue_destroy(&handover.queue);
	gmm_spin_destroy(&handover.lock);
}

static void no_wake_is_lost_under_the_lock(void)
{
	hand_over_many_times(false);
}

static void no_wake_is_lost_after_the_lock(void)
{
	hand_over_many_times(true);
}

static void check_allocation(unsigned char *bytes, size_t size)
{
	gmm_must(bytes, "%zu bytes", size);
	if (size >= 64)
		gmm_equal((uintptr_t)bytes % (size < 128 ? 64 : 128), 0);
	gmm_ok(bytes[0] == 0 && !gmm_memcmp(bytes, bytes + 1, size - 1), "%zu zeroed bytes", size);
	gmm_memset(bytes, 0xa5, size);
	gmm_ok(bytes[size - 1] == 0xa5);
	gmm_memcpy(bytes, bytes + size - 1, 1);
	gmm_free(bytes, size);
}

static void allocations_are_zeroed_and_aligned(void)
{
	static const size_t sizes[] = { 1,   63,   64,	 65,	 127,	 128,
					200, 4095, 4096, 131071, 131072, 3u << 20 };
	uint64_t live = gmm_port_alloc_live();
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		check_allocation(gmm_zalloc(sizes[i]), sizes[i]);
	for (i = 0; sizes[i] <= 4096; i++)
		check_allocation(gmm_zalloc_atomic(sizes[i]), sizes[i]);
	gmm_free(NULL, 1);
	gmm_equal(gmm_port_alloc_live(), live);
}

static void nth_allocation_fails_once(void)
{
	void *pointers[3];

	gmm_port_alloc_fail_at(2);
	pointers[0] = gmm_zalloc(64);
	pointers[1] = gmm_zalloc(64);
	gmm_ok(gmm_port_alloc_failed());
	pointers[2] = gmm_zalloc_atomic(64);
	gmm_port_alloc_fail_at(0);
	gmm_ok(pointers[0] && !pointers[1] && pointers[2]);
	gmm_free(pointers[0], 64);
	gmm_free(pointers[2], 64);
}

static void keep_self(void *arg)
{
	*(uintptr_t *)arg = gmm_thread_self();
}

static void threads_differ(void)
{
	struct gmm_test_thread thread;
	uintptr_t other;

	gmm_test_thread_start(&thread, keep_self, &other);
	gmm_test_thread_join(&thread);
	gmm_ok(other && gmm_thread_self() && other != gmm_thread_self());
	gmm_equal(gmm_thread_self(), gmm_thread_self());
}

static void time_does_not_go_back(void)
{
	uint64_t before = gmm_time_ns();
	uint64_t turn = 0;

	while (gmm_time_ns() == before)
		gmm_cpu_relax(turn++);
	gmm_ok(gmm_time_ns() > before);
}

static void assertions_hold_where_they_should(void)
{
	gmm_assert(true);
	gmm_assert_may_sleep();
	gmm_debug_section_enter();
	gmm_debug_section_enter();
	gmm_debug_section_exit();
	gmm_debug_section_exit();
	gmm_assert_may_sleep();
}

static void pass_step(void *arg)
{
	gmm_step(GMM_STEP_NONE);
	gmm_store_release((uint32_t *)arg, 1u);
}

static void thread_is_held_at_a_step(void)
{
	struct gmm_test_thread thread;
	struct gmm_gate gate;
	uint32_t passed = 0;

	if (!GMM_STEPS)
		gmm_skip("built without GMM_STEPS");
	gmm_gate_init(&gate, 2);
	gmm_test_hold_step(GMM_STEP_NONE, &gate);
	gmm_step(GMM_STEP_NONE);
	gmm_test_thread_start(&thread, pass_step, &passed);
	gmm_gate_wait_held(&gate);
	gmm_equal(gmm_load_acquire(&passed), 0);
	gmm_step(GMM_STEP_NONE);
	gmm_equal(gmm_gate_callers(&gate), 3);
	gmm_gate_open(&gate);
	gmm_test_thread_join(&thread);
	gmm_equal(gmm_load_acquire(&passed), 1);
	gmm_test_unhold_steps();
}

static void words_are_scanned(void)
{
	const uint64_t words[] = { 0, 0, 5, 0, (uint64_t)1 << 63, 0, 0, 0, ~(uint64_t)0, 0 };

	gmm_equal(gmm_scan_mask(words, 10), 0x114);
	gmm_equal(gmm_scan_mask(words + 2, 1), 1);
	gmm_equal(gmm_scan_mask(words + 2, 0), 0);
	gmm_equal(gmm_scan_next(words, 0, 10), 2);
	gmm_equal(gmm_scan_next(words, 5, 10), 8);
	gmm_equal(gmm_scan_next(words, 9, 10), 10);
	gmm_equal(gmm_scan_next(words, 5, 8), 8);
	gmm_equal(gmm_scan_next(words, 8, 8), 8);
	gmm_equal(gmm_scan_count(words, 10), 67);
	gmm_equal(gmm_scan_count(words, 8), 3);
	gmm_equal(gmm_scan_count(words, 0), 0);
}

const struct gmm_test_case gmm_test_cases[] = {
	{ "compiler_words_mean_what_they_say", compiler_words_mean_what_they_say },
	{ "atomics_do_arithmetic", atomics_do_arithmetic },
	{ "fence_orders_store_before_load", fence_orders_store_before_load },
	{ "light_barrier_pairs_with_heavy_barrier", light_barrier_pairs_with_heavy_barrier },
	{ "refused_barrier_is_reported", refused_barrier_is_reported },
	{ "cpu_index_is_below_count", cpu_index_is_below_count },
	{ "locks_exclude", locks_exclude },
	{ "no_wake_is_lost_under_the_lock", no_wake_is_lost_under_the_lock },
	{ "no_wake_is_lost_after_the_lock", no_wake_is_lost_after_the_lock },
	{ "allocations_are_zeroed_and_aligned", allocations_are_zeroed_and_aligned },
	{ "nth_allocation_fails_once", nth_allocation_fails_once },
	{ "threads_differ", threads_differ },
	{ "time_does_not_go_back", time_does_not_go_back },
	{ "assertions_hold_where_they_should", assertions_hold_where_they_should },
	{ "thread_is_held_at_a_step", thread_is_held_at_a_step },
	{ "words_are_scanned", words_are_scanned },
	{ NULL, NULL },
};
