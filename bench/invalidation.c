/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Invalidations among few and many caches, in batches, and the refreshes that follow. */
#include <stdlib.h>

#include <guestmm/invalidate.h>
#include <guestmm/section.h>

#include "reference/reference.h"
#include "support/guest.h"

#define FEW 10u
#define MANY 10000u
#define VICTIMS 10u /* of one run */
#define BATCH 1000u
#define SLOT_PAGES (4 * MANY)
#define ROUNDS 50u

struct cache_bench {
	struct bench_memory memory;
	struct gmm_guest *guest;
	struct gmm_cache **caches;
	uint32_t cache_count;
	uint32_t victims[BATCH];
	uint32_t victim_count;
	struct gmm_range ranges[BATCH];
	uint64_t random;
	uint64_t nodes;	 /* looked at by all invalidations of single ranges */
	uint64_t begins; /* of these */
};

/* Caches lie apart, so that an invalidation of one page hits one. */
static gmm_gfn_t gfn_of(uint32_t cache)
{
	return (gmm_gfn_t)cache * 4;
}

static void make(struct cache_bench *bench, uint32_t count)
{
	struct gmm_slot_config slot;
	uint32_t i;

	bench->caches = calloc(count, sizeof(struct gmm_cache *));
	if (!bench->caches)
		bench_broken("memory for caches");
	bench->cache_count = count;
	bench->random = 0x9e3779b97f4a7c15u;
	bench_memory_make(&bench->memory, SLOT_PAGES);
	bench->guest = bench_guest_make(NULL);
	slot = bench_slot(0, 0, SLOT_PAGES, 0, &bench_resident_ops, &bench->memory, 0);
	bench_slot_add(bench->guest, &slot);
	for (i = 0; i < count; i++)
		bench->caches[i] = bench_cache_make(bench->guest, gfn_of(i), 64, GMM_CACHE_HOST);
}

static void end(struct cache_bench *bench)
{
	uint32_t i;

	for (i = 0; i < bench->cache_count; i++)
		bench_must(gmm_cache_destroy(bench->caches[i]), "destroying a cache");
	free(bench->caches);
	bench_must(gmm_slot_remove(bench->guest, 0), "removing a slot");
	bench_guest_end(bench->guest);
	bench_memory_end(&bench->memory);
}

/* Caches far apart: always the same, or with `random` others each time. Among few: all. */
static void choose_victims(struct cache_bench *bench, uint32_t count, bool random)
{
	uint32_t stride = bench->cache_count / count;
	uint32_t i;

	for (i = 0; i < count; i++) {
		uint32_t within =
			random ? (uint32_t)bench_below(bench_random(&bench->random), stride) :
				 stride / 2;
		uint32_t victim = i * stride + within;
		uintptr_t start =
			(uintptr_t)bench->memory.bytes + (gfn_of(victim) << BENCH_PAGE_SHIFT);

		bench->victims[i] = victim;
		bench->ranges[i] = (struct gmm_range){ start, start + BENCH_PAGE_SIZE };
	}
	bench->victim_count = count;
}

static void refresh_victims(struct cache_bench *bench)
{
	uint32_t i;

	for (i = 0; i < bench->victim_count; i++)
		bench_must(gmm_cache_refresh(bench->caches[bench->victims[i]]),
			   "refreshing a cache");
}

static void prepare_victims(void *context)
{
	refresh_victims(context);
	choose_victims(context, VICTIMS, false);
}

static void prepare_other_victims(void *context)
{
	refresh_victims(context);
	choose_victims(context, VICTIMS, true);
}

static void prepare_batch(void *context)
{
	refresh_victims(context);
	choose_victims(context, BATCH, true);
}

static uint64_t invalidate_each(void *context, uint64_t count)
{
	struct cache_bench *bench = context;
	uint64_t i;

	for (i = 0; i < count; i++) {
		struct gmm_invalidate_result result;
		int error = gmm_invalidate_begin(bench->guest, GMM_RANGE_HVA, &bench->ranges[i], 1,
						 0, &result);

		if (error || result.caches != 1)
			bench_broken("an invalidation of one cache");
		gmm_invalidate_end(bench->guest, GMM_RANGE_HVA, &bench->ranges[i], 1);
		bench->nodes += result.nodes;
	}
	bench->begins += count;
	return bench->nodes;
}

static uint64_t invalidate_batch(void *context, uint64_t count)
{
	struct cache_bench *bench = context;
	struct gmm_invalidate_result result;
	int error = gmm_invalidate_begin(bench->guest, GMM_RANGE_HVA, bench->ranges,
					 (uint32_t)count, 0, &result);

	if (error || result.caches != count)
		bench_broken("an invalidation of many ranges");
	gmm_invalidate_end(bench->guest, GMM_RANGE_HVA, bench->ranges, (uint32_t)count);
	return result.nodes;
}

static void prepare_invalid(void *context)
{
	prepare_victims(context);
	invalidate_each(context, VICTIMS);
}

static uint64_t refresh_each(void *context, uint64_t count)
{
	struct cache_bench *bench = context;

	refresh_victims(bench);
	return count;
}

static uint64_t count_waits(struct cache_bench *bench, uint64_t (*run)(void *, uint64_t))
{
	struct gmm_guest_counters before, after;

	prepare_batch(bench);
	gmm_guest_read_counters(bench->guest, &before);
	run(bench, BATCH);
	gmm_guest_read_counters(bench->guest, &after);
	return after.reader_waits - before.reader_waits;
}

static void without_readers(struct bench *bench, struct cache_bench *few, struct cache_bench *many)
{
	struct bench_pair pair = {
		.name = "invalidation of one of 10000 caches",
		.ours = { .run = invalidate_each, .prepare = prepare_victims, .context = many },
		.reference = { .name = "of one of 10 caches",
			       .run = invalidate_each,
			       .prepare = prepare_victims,
			       .context = few },
		.goal = BENCH_GOAL_WITHIN,
		.limit = 2,
		.count = VICTIMS,
		.rounds = ROUNDS,
	};

	few->nodes = few->begins = many->nodes = many->begins = 0;
	bench_measure(bench, &pair);
	bench_counted(bench, "index nodes that it looks at",
		      (double)many->nodes / (double)many->begins, "of one of 10 caches",
		      (double)few->nodes / (double)few->begins, BENCH_GOAL_NONE, 0);
	/* What the caches' own size costs: their words are in no near cache of the CPU any more. */
	pair.name = "invalidation of another of 10000 each time";
	pair.ours.prepare = prepare_other_victims;
	pair.goal = BENCH_GOAL_NONE;
	bench_measure(bench, &pair);
	pair.name = "refresh of one of 10000 caches";
	pair.ours.run = refresh_each;
	pair.ours.prepare = prepare_invalid;
	pair.reference.run = refresh_each;
	pair.reference.prepare = prepare_invalid;
	bench_measure(bench, &pair);
}

static void with_reader(struct bench *bench, struct cache_bench *many)
{
	struct bench_pair pair = {
		.name = "invalidation of one with a reader outside",
		.ours = { .run = invalidate_each, .prepare = prepare_victims, .context = many },
		.reference = { .name = "membarrier alone", .run = reference_membarrier },
		.count = VICTIMS,
		.rounds = ROUNDS,
	};

	if (!reference_membarrier_works())
		pair.reference.run = NULL;
	bench_measure(bench, &pair);
	bench_counted(bench, "waits for readers of a batch of 1000 ranges",
		      (double)count_waits(many, invalidate_batch), "of 1000 ranges one by one",
		      (double)count_waits(many, invalidate_each), BENCH_GOAL_EQUALS, 1);
	pair = (struct bench_pair){
		.name = "invalidation of a range of a batch of 1000",
		.ours = { .run = invalidate_batch, .prepare = prepare_batch, .context = many },
		.reference = { .name = "of a range one by one",
			       .run = invalidate_each,
			       .prepare = prepare_batch,
			       .context = many },
		.count = BATCH,
	};
	bench_measure(bench, &pair);
}

void bench_invalidation(struct bench *bench)
{
	static struct cache_bench few, many;
	struct gmm_reader *reader;

	make(&few, FEW);
	make(&many, MANY);
	without_readers(bench, &few, &many);
	bench_must(gmm_reader_register(many.guest, &reader), "registering a reader");
	with_reader(bench, &many);
	gmm_reader_unregister(reader);
	end(&many);
	end(&few);
}
