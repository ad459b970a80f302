/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Reading and writing guest memory through a cache. */
#include <guestmm/dirty.h>
#include <guestmm/section.h>
#include <guestmm/static/cache.h>

#include "reference/reference.h"
#include "support/guest.h"

#define DIRTY_PAGES 64u

struct access_bench {
	struct bench_memory memory;
	struct gmm_guest *guest;
	struct gmm_cache *cache;
	struct reference_rwlock_cache rwlock_cache;
};

/* Of the thread that measures: each has its own. */
static __thread struct gmm_reader *reader;

static void register_reader(void *context)
{
	struct access_bench *access = context;

	bench_must(gmm_reader_register(access->guest, &reader), "registering a reader");
}

static void unregister_reader(void *context)
{
	gmm_reader_unregister(reader);
}

static inline volatile uint64_t *checked(const struct gmm_cache *cache, uint64_t index)
{
	volatile uint64_t *word = gmm_cache_pointer_inline(cache, index * BENCH_STRIDE, 8);

	if (__builtin_expect(!word, 0))
		bench_broken("a valid cache's pointer");
	return word;
}

static uint64_t load_burst(void *context, uint64_t count)
{
	struct access_bench *access = context;
	const struct gmm_cache *cache = access->cache;
	struct gmm_reader *mine = reader;
	uint64_t sum = 0, done, i;

	for (done = 0; done < count; done += BENCH_BURST) {
		gmm_section_enter_inline(mine);
		for (i = 0; i < BENCH_BURST; i++)
			sum += *checked(cache, i);
		gmm_section_exit_inline(mine);
	}
	return sum;
}

static uint64_t load_each(void *context, uint64_t count)
{
	struct access_bench *access = context;
	const struct gmm_cache *cache = access->cache;
	struct gmm_reader *mine = reader;
	uint64_t sum = 0, done;

	for (done = 0; done < count; done++) {
		gmm_section_enter_inline(mine);
		sum += *checked(cache, done % BENCH_BURST);
		gmm_section_exit_inline(mine);
	}
	return sum;
}

static uint64_t load_each_by_calls(void *context, uint64_t count)
{
	struct access_bench *access = context;
	uint64_t sum = 0, done;

	for (done = 0; done < count; done++) {
		volatile uint64_t *word;

		gmm_section_enter(reader);
		word = gmm_cache_pointer(access->cache, done % BENCH_BURST * BENCH_STRIDE, 8);
		if (__builtin_expect(!word, 0))
			bench_broken("a valid cache's pointer");
		sum += *word;
		gmm_section_exit(reader);
	}
	return sum;
}

static uint64_t store_burst(void *context, uint64_t count)
{
	struct access_bench *access = context;
	const struct gmm_cache *cache = access->cache;
	struct gmm_reader *mine = reader;
	uint64_t done, i;

	for (done = 0; done < count; done += BENCH_BURST) {
		gmm_section_enter_inline(mine);
		for (i = 0; i < BENCH_BURST; i++) {
			*checked(cache, i) = done;
			gmm_cache_mark_dirty_inline(cache, i * BENCH_STRIDE, 8);
		}
		gmm_section_exit_inline(mine);
	}
	return done;
}

static uint64_t store_each(void *context, uint64_t count)
{
	struct access_bench *access = context;
	const struct gmm_cache *cache = access->cache;
	struct gmm_reader *mine = reader;
	uint64_t done;

	for (done = 0; done < count; done++) {
		uint64_t index = done % BENCH_BURST;

		gmm_section_enter_inline(mine);
		*checked(cache, index) = done;
		gmm_cache_mark_dirty_inline(cache, index * BENCH_STRIDE, 8);
		gmm_section_exit_inline(mine);
	}
	return done;
}

static void make(struct access_bench *access, uint32_t slot_flags)
{
	struct gmm_slot_config slot;

	bench_memory_make(&access->memory, DIRTY_PAGES);
	access->guest = bench_guest_make(NULL);
	slot = bench_slot(0, 0, DIRTY_PAGES, slot_flags, &bench_resident_ops, &access->memory, 0);
	bench_slot_add(access->guest, &slot);
	access->cache = bench_cache_make(access->guest, 0, BENCH_PAGE_SIZE,
					 GMM_CACHE_HOST | GMM_CACHE_WRITE);
	/* Resident before anything is measured; and its own page, not the zero page. */
	reference_store_burst(access->memory.bytes, BENCH_BURST);
	reference_rwlock_make(&access->rwlock_cache, access->memory.bytes, BENCH_PAGE_SIZE);
}

static void end(struct access_bench *access)
{
	reference_rwlock_end(&access->rwlock_cache);
	bench_must(gmm_cache_destroy(access->cache), "destroying a cache");
	bench_must(gmm_slot_remove(access->guest, 0), "removing a slot");
	bench_guest_end(access->guest);
	bench_memory_end(&access->memory);
}

static void against_raw(struct bench *bench, struct access_bench *access, const char *name,
			uint64_t (*run)(void *, uint64_t), const char *raw_name,
			uint64_t (*raw)(void *, uint64_t), double limit)
{
	struct bench_pair pair = {
		.name = name,
		.ours = { .run = run, .context = access },
		.reference = { .name = raw_name, .run = raw, .context = access->memory.bytes },
		.goal = limit > 0 ? BENCH_GOAL_ADDS : BENCH_GOAL_NONE,
		.limit = limit,
		.thread_begin = register_reader,
		.thread_end = unregister_reader,
		.thread_context = access,
	};

	bench_measure(bench, &pair);
}

static void against_rwlock(struct bench *bench, struct access_bench *access, const char *name,
			   uint32_t threads, double limit)
{
	struct bench_pair pair = {
		.name = name,
		.ours = { .run = load_each, .context = access },
		.reference = { .name = "pthread_rwlock around each",
			       .run = reference_rwlock_access,
			       .context = &access->rwlock_cache },
		.goal = BENCH_GOAL_AHEAD,
		.limit = limit,
		.threads = threads,
		.thread_begin = register_reader,
		.thread_end = unregister_reader,
		.thread_context = access,
	};

	bench_measure(bench, &pair);
}

void bench_access(struct bench *bench)
{
	static struct access_bench access;

	make(&access, 0);
	against_raw(bench, &access, "access in a burst of 64 in one section", load_burst,
		    "raw load", reference_load_burst, 1.0);
	against_raw(bench, &access, "access each in its own section", load_each, "raw load",
		    reference_load_each, 1.5);
	against_raw(bench, &access, "access each in its own section by calls", load_each_by_calls,
		    "raw load", reference_load_each, 0);
	against_rwlock(bench, &access, "access each in its own section with 1 thread", 1, 5);
	against_rwlock(bench, &access, "access each in its own section with 2 threads", 2, 20);
	end(&access);
}

void bench_write(struct bench *bench)
{
	static struct access_bench access;

	make(&access, GMM_SLOT_LOG_DIRTY);
	gmm_dirty_mark(access.guest, 0, 1);
	against_raw(bench, &access, "write and mark dirty page in a burst of 64", store_burst,
		    "raw store", reference_store_burst, 2.0);
	against_raw(bench, &access, "write and mark dirty page in own section each", store_each,
		    "raw store", reference_store_each, 0);
	end(&access);
}
