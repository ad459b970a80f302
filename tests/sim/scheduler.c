/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The simulator finds what it promises to find. It runs schedules of its own, so this program has
 * its own main() in place of the one that puts every case into a schedule.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gmm_port/alloc.h>
#include <gmm_port/section.h>
#include <gmm_port/thread.h>
#include <gmm_port/wait.h>

#include "sim.h"

#define SEEDS 200

#ifdef __has_feature
#define ADDRESS_SANITIZER __has_feature(address_sanitizer)
#elif defined(__SANITIZE_ADDRESS__)
#define ADDRESS_SANITIZER 1
#else
#define ADDRESS_SANITIZER 0
#endif

static uint32_t failures;
static uint32_t cases;

static void report(bool passed, const char *name, const char *text)
{
	cases++;
	failures += !passed;
	printf("%sok %u - %s\n", passed ? "" : "not ", cases, name);
	if (!passed && text)
		printf("# %.300s\n", text);
}

static struct gmm_sim_result result;

static int run(uint64_t seed, void (*fn)(void *arg), void *arg)
{
	struct gmm_sim_config config = { .seed = seed };

	return gmm_sim_run(&config, fn, arg, &result);
}

/* Whether some seed of the configuration fails so. Other failures count as another finding. */
static bool found(struct gmm_sim_config config, void (*fn)(void *arg), const char *text)
{
	for (config.seed = 1; config.seed <= SEEDS; config.seed++)
		if (gmm_sim_run(&config, fn, NULL, &result))
			return strstr(result.text, text) != NULL;
	return false;
}

static void expect(void (*fn)(void *arg), const char *text, const char *name)
{
	report(found((struct gmm_sim_config){ 0 }, fn, text), name, result.text);
}

struct shared {
	struct gmm_spinlock low;
	struct gmm_spinlock high;
	struct gmm_mutex mutex;
	struct gmm_waitqueue queue;
	uint32_t counter;
	uint32_t ready;
};

static struct shared shared;

static void shared_init(void)
{
	memset(&shared, 0, sizeof(shared));
	gmm_spin_init(&shared.low, 10);
	gmm_spin_init(&shared.high, 20);
	gmm_mutex_init(&shared.mutex, 5);
	gmm_waitqueue_init(&shared.queue);
}

static void run_beside(void (*other)(void *arg), void (*own)(void *arg))
{
	struct gmm_sim_thread *thread;

	shared_init();
	thread = gmm_sim_thread_start(other, NULL, "other");
	own(NULL);
	gmm_sim_thread_join(thread);
}

static void increment_racily(void *arg)
{
	uint32_t seen = gmm_load_relaxed(&shared.counter);

	gmm_store_relaxed(&shared.counter, seen + 1);
}

static void lose_an_update(void *arg)
{
	run_beside(increment_racily, increment_racily);
	gmm_assert(gmm_load_relaxed(&shared.counter) == 2);
}

static void publish_late(void *arg)
{
	gmm_store_relaxed(&shared.ready, 1u);
}

static void wait_without_relaxing(void *arg)
{
	while (!gmm_load_relaxed(&shared.counter))
		gmm_cpu_relax(0);
}

static void never_end(void *arg)
{
	run_beside(publish_late, wait_without_relaxing);
}

static void wait_for_nobody(void *arg)
{
	gmm_spin_lock(&shared.low);
	while (!shared.ready)
		gmm_waitqueue_wait(&shared.queue, &shared.low);
	gmm_spin_unlock(&shared.low);
}

static void set_ready_without_wake(void *arg)
{
	gmm_spin_lock(&shared.low);
	shared.ready = 1;
	gmm_spin_unlock(&shared.low);
}

static void forget_a_wake(void *arg)
{
	run_beside(set_ready_without_wake, wait_for_nobody);
}

static void wait_once(void *arg)
{
	gmm_spin_lock(&shared.low);
	if (!shared.ready)
		gmm_waitqueue_wait(&shared.queue, &shared.low);
	gmm_assert(shared.ready);
	gmm_spin_unlock(&shared.low);
}

static void set_ready_and_wake(void *arg)
{
	set_ready_without_wake(NULL);
	gmm_waitqueue_wake_all(&shared.queue);
}

static void trust_a_wait(void *arg)
{
	run_beside(set_ready_and_wake, wait_once);
}

static void invert_ranks(void *arg)
{
	shared_init();
	gmm_spin_lock(&shared.high);
	gmm_spin_lock(&shared.low);
}

static void lock_twice(void *arg)
{
	shared_init();
	gmm_spin_lock(&shared.high);
	gmm_spin_lock(&shared.high);
}

static void sleep_under_spinlock(void *arg)
{
	shared_init();
	gmm_spin_lock(&shared.low);
	gmm_free(gmm_zalloc(8), 8);
}

static void sleep_in_section(void *arg)
{
	shared_init();
	gmm_debug_section_enter();
	gmm_mutex_lock(&shared.mutex);
}

static void barrier_under_spinlock(void *arg)
{
	shared_init();
	gmm_spin_lock(&shared.low);
	gmm_section_heavy_barrier();
}

static void wait_with_two_spinlocks(void *arg)
{
	shared_init();
	gmm_spin_lock(&shared.low);
	gmm_spin_lock(&shared.high);
	gmm_waitqueue_wait(&shared.queue, &shared.high);
}

static void unlock_nothing(void *arg)
{
	shared_init();
	gmm_spin_unlock(&shared.low);
}

static void end_with_a_lock(void *arg)
{
	shared_init();
	gmm_spin_lock(&shared.low);
}

static void leak(void *arg)
{
	if (!gmm_zalloc(100))
		gmm_sim_fail("no memory");
}

static void free_twice(void *arg)
{
	void *pointer = gmm_zalloc(100);

	gmm_free(pointer, 100);
	gmm_free(pointer, 100);
}

static void free_wrong_size(void *arg)
{
	gmm_free(gmm_zalloc(100), 101);
}

static void load_after_free(void *arg)
{
	uint64_t *pointer = gmm_zalloc(8);

	gmm_free(pointer, 8);
	(void)gmm_load_relaxed(pointer);
}

static void lock_after_free(void *arg)
{
	struct gmm_spinlock *lock = gmm_zalloc(sizeof(*lock));

	gmm_spin_init(lock, 1);
	gmm_free(lock, sizeof(*lock));
	gmm_spin_lock(lock);
}

static void write_after_free(void *arg)
{
	volatile char *pointer = gmm_zalloc(100);

	gmm_free((void *)(uintptr_t)pointer, 100);
	pointer[50] = 1;
}

static void write_beyond_end(void *arg)
{
	volatile char *pointer = gmm_zalloc(100);

	pointer[100] = 1;
	gmm_free((void *)(uintptr_t)pointer, 100);
}

static void nothing(void *arg)
{
}

static void forget_to_join(void *arg)
{
	(void)gmm_sim_thread_start(nothing, NULL, "left");
}

static void lock_both(void *arg)
{
	uint32_t turn;

	for (turn = 0; turn < 5; turn++) {
		gmm_spin_lock(&shared.low);
		gmm_spin_lock(&shared.high);
		gmm_spin_unlock(&shared.low);
		gmm_spin_unlock(&shared.high);
		gmm_fetch_add(&shared.counter, 1u);
	}
}

static void do_right(void *arg)
{
	run_beside(lock_both, lock_both);
	gmm_assert(gmm_load_relaxed(&shared.counter) == 10);
}

static void keep_alloc_failure(void *arg)
{
	void *first = gmm_zalloc(10);
	void *second = gmm_zalloc_atomic(10);

	*(bool *)arg = first && !second;
	gmm_free(first, 10);
	gmm_free(second, 10);
}

/* Dekker's question: can both threads miss the other's store? Only behind store buffers. */
static uint32_t flags[2];
static uint32_t seen[2];
static bool with_heavy_barrier;

static void ask_lightly(void *arg)
{
	gmm_store_relaxed(&flags[0], 1u);
	gmm_section_light_barrier(false);
	seen[0] = gmm_load_relaxed(&flags[1]);
}

static void ask_heavily(void *arg)
{
	gmm_store_relaxed(&flags[1], 1u);
	if (with_heavy_barrier)
		gmm_section_heavy_barrier();
	else
		gmm_fence();
	seen[1] = gmm_load_relaxed(&flags[0]);
}

static void ask_both(void *arg)
{
	memset(flags, 0, sizeof(flags));
	run_beside(ask_lightly, ask_heavily);
	gmm_assert(seen[0] || seen[1]);
}

static void test_replay(void)
{
	uint64_t hashes[SEEDS];
	uint32_t different = 0;
	uint32_t repeated = 0;
	uint32_t i;

	for (i = 0; i < SEEDS; i++) {
		run(i, do_right, NULL);
		hashes[i] = result.trace_hash;
	}
	for (i = 0; i < SEEDS; i++) {
		run(i, do_right, NULL);
		repeated += result.trace_hash == hashes[i] && !result.failed;
		different += i && hashes[i] != hashes[i - 1];
	}
	report(repeated == SEEDS, "equal_seeds_give_equal_traces", NULL);
	report(different > SEEDS * 9 / 10, "different_seeds_give_different_traces", NULL);
}

static void test_trace(void)
{
	struct gmm_sim_config config = { .seed = 7 };
	char *text[2] = { NULL, NULL };
	size_t size;
	uint32_t i;
	bool same;

	for (i = 0; i < 2; i++) {
		config.trace = open_memstream(&text[i], &size);
		gmm_sim_run(&config, do_right, NULL, &result);
		fclose(config.trace);
	}
	same = text[0] && text[1] && !strcmp(text[0], text[1]);
	report(same && strstr(text[0], "&shared.low") && strstr(text[0], "scheduler.c:") &&
		       strstr(text[0], "T1 other"),
	       "trace_names_thread_object_and_line", text[0]);
	free(text[0]);
	free(text[1]);
}

static void test_store_buffers(void)
{
	struct gmm_sim_config delayed = { .store_buffers = true };

	with_heavy_barrier = false;
	report(found(delayed, ask_both, "seen[0] || seen[1]"),
	       "missing_heavy_barrier_is_found_behind_store_buffers", result.text);
	report(!found((struct gmm_sim_config){ 0 }, ask_both, ""),
	       "without_store_buffers_stores_are_seen_at_once", result.text);
	with_heavy_barrier = true;
	report(!found(delayed, ask_both, ""), "heavy_barrier_pairs_with_light_barrier",
	       result.text);
}

static void test_priorities(void)
{
	struct gmm_sim_config config = { .priority_changes = 3, .priority_steps = 20 };

	report(found(config, lose_an_update, "== 2"), "priorities_find_the_lost_update",
	       result.text);
	report(!found(config, do_right, ""), "priorities_end_correct_code", result.text);
}

static void test_alloc_failure(void)
{
	struct gmm_sim_config config = { .seed = 1, .fail_alloc_at = 2 };
	bool second_failed = false;

	gmm_sim_run(&config, keep_alloc_failure, &second_failed, &result);
	report(!result.failed && second_failed && result.alloc_failed, "chosen_allocation_fails",
	       result.text);
	config.fail_alloc_at = 3;
	gmm_sim_run(&config, keep_alloc_failure, &second_failed, &result);
	report(!result.failed && !second_failed && !result.alloc_failed,
	       "unreached_failure_is_told_apart", result.text);
}

static void test_memory(void)
{
	expect(leak, "1 allocations of 100 bytes leaked", "leak_is_found");
	expect(free_twice, "freed twice", "double_free_is_found");
	expect(free_wrong_size, "freed with size 101", "wrong_size_is_found");
	if (ADDRESS_SANITIZER) {
		puts("# use after free is reported by the address sanitizer in this build");
		return;
	}
	expect(load_after_free, "used after T0 freed it", "atomic_use_after_free_is_found");
	expect(lock_after_free, "is no lock", "lock_use_after_free_is_found");
	expect(write_after_free, "was written after T0 freed it", "write_after_free_is_found");
	expect(write_beyond_end, "written beyond its end", "write_beyond_end_is_found");
}

static void test_locks(void)
{
	expect(invert_ranks, "lock of rank 10 taken while T0 holds &shared.high of rank 20",
	       "rank_inversion_is_found");
	expect(lock_twice, "lock of rank 20 taken", "locking_twice_is_found");
	expect(sleep_under_spinlock, "may wait, but T0 holds the spinlock &shared.low",
	       "sleep_under_spinlock_is_found");
	expect(sleep_in_section, "may sleep, but T0 is in a section", "sleep_in_section_is_found");
	expect(barrier_under_spinlock, "heavy barrier: may wait",
	       "heavy_barrier_under_spinlock_is_found");
	expect(wait_with_two_spinlocks, "holds spinlock", "wait_with_two_spinlocks_is_found");
	expect(unlock_nothing, "is not held", "unlock_without_lock_is_found");
	expect(end_with_a_lock, "ended holding a lock", "lock_kept_at_the_end_is_found");
}

int main(void)
{
	puts("TAP version 13");
	test_replay();
	test_trace();
	report(!found((struct gmm_sim_config){ 0 }, do_right, ""), "correct_code_passes",
	       result.text);
	expect(lose_an_update, "== 2", "lost_update_is_found");
	test_priorities();
	test_store_buffers();
	expect(never_end, "no end after", "livelock_is_found");
	expect(forget_a_wake, "deadlock", "lost_wake_is_found");
	report(strstr(result.text, "T0 main: wait &shared.queue (scheduler.c:") != NULL,
	       "deadlock_tells_who_waits_for_what", result.text);
	expect(trust_a_wait, "shared.ready", "wait_without_loop_is_found");
	expect(forget_to_join, "was not joined", "unjoined_thread_is_found");
	test_locks();
	test_memory();
	test_alloc_failure();
	printf("1..%u\n", cases);
	return failures ? 1 : 0;
}
