/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Second-stage tables of 1 GiB of 4K pages, x86-npt, against bare loops over the same number of
 * entries in the same number of tables. Building is done on fresh tables each time, taken from a
 * pool on both sides, so that the kernel's page faults are in neither. An operation is one run.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <guestmm/stage2_table.h>

#include <gmm_port/atomic.h>

#include "harness.h"

#define PAGES (1u << 18)
#define ENTRIES 512u
#define TABLES (PAGES / ENTRIES)
#define POOL (2 * TABLES)
#define LEAF (GMM_LEAF_READ | GMM_LEAF_WRITE | GMM_LEAF_EXEC | GMM_LEAF_YOUNG | GMM_LEAF_DIRTY)
#define ENTRY 0x267ull
#define BIT_ACCESSED (1ull << 5)
#define BIT_DIRTY (1ull << 6)
#define THREADS 2u
#define HALF ((uint64_t)PAGES / THREADS)

struct stage2_bench {
	uint64_t *pool; /* page-aligned tables */
	uint32_t free[POOL];
	uint32_t frees;
	struct gmm_stage2_table *table;
	struct gmm_stage2_walker *walker;
	struct gmm_stage2_walker *walkers[THREADS];
	uint64_t *bare; /* TABLES tables */
	uint64_t words[PAGES / 64];
	uint32_t order[PAGES]; /* of random maps */
	uint32_t percent;      /* of entries that have the bit */
	struct bench *bench;
	/* of the second thread; atomic, and changed by one thread each */
	uint32_t asked;
	uint32_t answered;
	void (*job)(struct stage2_bench *stage2, uint32_t half);
};

static void *table_alloc(void *owner, uint64_t bytes)
{
	struct stage2_bench *stage2 = owner;

	/* Concurrent top-ups happen before measuring only. */
	if (bytes != 4096 || !stage2->frees)
		bench_broken("a pool of tables");
	return stage2->pool + (uint64_t)stage2->free[--stage2->frees] * ENTRIES;
}

static void table_free(void *owner, void *table, uint64_t bytes)
{
	struct stage2_bench *stage2 = owner;

	memset(table, 0, bytes);
	stage2->free[stage2->frees++] = (uint32_t)(((uint64_t *)table - stage2->pool) / ENTRIES);
}

static void flush(void *owner, const struct gmm_stage2_flush *what)
{
}

static const struct gmm_stage2_table_ops ops = {
	.version = GMM_STAGE2_TABLE_OPS_VERSION,
	.name = "bench",
	.table_alloc = table_alloc,
	.table_free = table_free,
	.flush = flush,
};

static struct gmm_stage2_mapping all = { .count = PAGES, .leaf = LEAF };

static void unmap_all(void *context)
{
	struct stage2_bench *stage2 = context;

	if (gmm_stage2_table_unmap(stage2->walker, 0, PAGES, NULL) < 0)
		bench_broken("unmapping");
}

static void clear_bare(void *context)
{
	struct stage2_bench *stage2 = context;

	memset(stage2->bare, 0, PAGES * sizeof(uint64_t));
}

/* Tables that exist, and are empty: one page of each stays mapped. */
static void empty_part(struct gmm_stage2_walker *walker, uint64_t first, uint64_t count)
{
	struct gmm_stage2_mapping part = {
		.gfn = first, .count = count, .pfn = first, .leaf = LEAF
	};
	uint64_t gfn;

	bench_must(gmm_stage2_table_map(walker, &part, NULL), "mapping");
	bench_must(gmm_stage2_change_begin(walker, first, count), "a change");
	for (gfn = first; gfn < first + count; gfn += ENTRIES)
		if (gmm_stage2_table_unmap(walker, gfn, ENTRIES - 1, NULL) < 0)
			bench_broken("unmapping");
	gmm_stage2_change_end(walker);
}

static void empty_tables(void *context)
{
	struct stage2_bench *stage2 = context;

	bench_must(gmm_stage2_table_populate(stage2->walker, &all, NULL), "mapping");
	empty_part(stage2->walker, 0, PAGES);
}

static uint64_t build(void *context, uint64_t count)
{
	struct stage2_bench *stage2 = context;
	uint64_t done;

	if (gmm_stage2_table_populate(stage2->walker, &all, &done))
		bench_broken("mapping");
	return done;
}

static uint64_t bare_stores(void *context, uint64_t count)
{
	struct stage2_bench *stage2 = context;
	uint64_t i;

	for (i = 0; i < PAGES; i++)
		stage2->bare[i] = ENTRY + (i << 12);
	gmm_compiler_barrier();
	return i;
}

static uint64_t bare_exchanges(void *context, uint64_t count)
{
	struct stage2_bench *stage2 = context;
	uint64_t i;

	for (i = 0; i < PAGES; i++) {
		uint64_t none = 0;

		if (!gmm_compare_exchange(&stage2->bare[i], &none, ENTRY + (i << 12)))
			bench_broken("a bare exchange");
	}
	return i;
}

/* The table's part of a fault: the frame is looked up between watch and map. */
static void map_one(struct gmm_stage2_walker *walker, uint64_t gfn)
{
	struct gmm_stage2_mapping one = { .gfn = gfn, .count = 1, .pfn = gfn, .leaf = LEAF };
	struct gmm_stage2_leaf leaf;

	if (gmm_stage2_watch_begin(walker, gfn, 1) ||
	    gmm_stage2_table_map_leaf(walker, &one, gfn, &leaf))
		bench_broken("a fault");
	gmm_stage2_watch_end(walker);
}

static uint64_t map_random(void *context, uint64_t count)
{
	struct stage2_bench *stage2 = context;
	uint64_t i;

	for (i = 0; i < PAGES; i++)
		if (stage2->order[i] % ENTRIES != ENTRIES - 1)
			map_one(stage2->walker, stage2->order[i]);
	return i;
}

static uint64_t bare_random(void *context, uint64_t count)
{
	struct stage2_bench *stage2 = context;
	uint64_t i;

	for (i = 0; i < PAGES; i++) {
		uint64_t none = 0, gfn = stage2->order[i];

		if (gfn % ENTRIES != ENTRIES - 1 &&
		    !gmm_compare_exchange(&stage2->bare[gfn], &none, ENTRY + (gfn << 12)))
			bench_broken("a bare exchange");
	}
	return i;
}

static bool chosen(const struct stage2_bench *stage2, uint64_t i)
{
	return i * 2654435761u % 100 < stage2->percent;
}

/* So many entries are young and dirty; the table is mapped as a whole. */
static void some_bits(void *context)
{
	struct stage2_bench *stage2 = context;
	struct gmm_stage2_leaf leaf;
	uint64_t i;

	if (gmm_stage2_table_clean(stage2->walker, 0, PAGES, NULL, NULL, 0) < 0 ||
	    gmm_stage2_table_age(stage2->walker, 0, PAGES, NULL, 0) < 0)
		bench_broken("cleaning");
	for (i = 0; i < PAGES; i++)
		if (chosen(stage2, i) &&
		    gmm_stage2_table_touch(stage2->walker, i, GMM_LEAF_WRITE, 0, &leaf))
			bench_broken("a touch");
	memset(stage2->words, 0, sizeof(stage2->words));
}

static void some_bare_bits(void *context)
{
	struct stage2_bench *stage2 = context;
	uint64_t i;

	for (i = 0; i < PAGES; i++)
		stage2->bare[i] = (ENTRY & ~(BIT_ACCESSED | BIT_DIRTY)) + (i << 12) +
				  (chosen(stage2, i) ? BIT_ACCESSED | BIT_DIRTY : 0);
	memset(stage2->words, 0, sizeof(stage2->words));
}

static uint64_t clean(void *context, uint64_t count)
{
	struct stage2_bench *stage2 = context;

	return (uint64_t)gmm_stage2_table_clean(stage2->walker, 0, PAGES, NULL, stage2->words, 0);
}

static uint64_t age(void *context, uint64_t count)
{
	struct stage2_bench *stage2 = context;

	return (uint64_t)gmm_stage2_table_age(stage2->walker, 0, PAGES, stage2->words, 0);
}

static inline uint64_t bare_clear(struct stage2_bench *stage2, uint64_t bit)
{
	uint64_t found = 0, i;

	for (i = 0; i < PAGES; i++) {
		uint64_t seen = gmm_load_relaxed(&stage2->bare[i]);

		if (gmm_likely(!(seen & bit)))
			continue;
		while (!gmm_compare_exchange(&stage2->bare[i], &seen, seen & ~bit))
			;
		stage2->words[i / 64] |= 1ull << (i % 64);
		found++;
	}
	return found;
}

static uint64_t bare_clean(void *context, uint64_t count)
{
	return bare_clear(context, BIT_DIRTY);
}

static uint64_t bare_age(void *context, uint64_t count)
{
	return bare_clear(context, BIT_ACCESSED);
}

static void measure(struct bench *bench, struct stage2_bench *stage2, const char *name,
		    uint64_t (*run)(void *context, uint64_t count), void (*prepare)(void *context),
		    const char *reference, uint64_t (*bare)(void *context, uint64_t count),
		    void (*prepare_bare)(void *context), double limit)
{
	struct bench_pair pair = {
		.name = name,
		.unit = BENCH_MICROSECONDS,
		.ours = { .run = run, .prepare = prepare, .context = stage2 },
		.reference = { .name = reference,
			       .run = bare,
			       .prepare = prepare_bare,
			       .context = stage2 },
		.goal = limit ? BENCH_GOAL_TIMES : BENCH_GOAL_NONE,
		.limit = limit,
		.count = 1,
		.pairs = 25,
	};

	bench_measure(bench, &pair);
}

static void measure_bits(struct bench *bench, struct stage2_bench *stage2)
{
	static const struct {
		const char *clean, *age;
		uint32_t percent;
	} densities[] = {
		{ "stage 2: clean 1 GiB; 0 % dirty", "stage 2: age 1 GiB; 0 % young", 0 },
		{ "stage 2: clean 1 GiB; 10 % dirty", "stage 2: age 1 GiB; 10 % young", 10 },
		{ "stage 2: clean 1 GiB; 100 % dirty", "stage 2: age 1 GiB; 100 % young", 100 },
	};
	uint32_t i;

	unmap_all(stage2);
	build(stage2, 1);
	for (i = 0; i < 3; i++) {
		stage2->percent = densities[i].percent;
		measure(bench, stage2, densities[i].clean, clean, some_bits,
			"the same exchanges in a bare loop", bare_clean, some_bare_bits, 1.5);
		measure(bench, stage2, densities[i].age, age, some_bits,
			"the same exchanges in a bare loop", bare_age, some_bare_bits, 1.5);
	}
}

/* Half of the pages, in order, in tables that are there. */
static void fault_half(struct stage2_bench *stage2, uint32_t half)
{
	uint64_t first = half * HALF, i;

	for (i = first; i < first + HALF; i++)
		if (i % ENTRIES != ENTRIES - 1)
			map_one(stage2->walkers[half], i);
}

/* Each half is prepared by who faults it, and so in the caches of its CPU. */
static void empty_half(struct stage2_bench *stage2, uint32_t half)
{
	empty_part(stage2->walkers[half], half * HALF, HALF);
}

static uint64_t fault_first(void *context, uint64_t count)
{
	fault_half(context, 0);
	return HALF;
}

static void empty_first(void *context)
{
	empty_half(context, 0);
}

/* The second thread does what the first asks for. */
static void *second_thread(void *context)
{
	struct stage2_bench *stage2 = context;
	uint32_t turn = 0;

	bench_pin(stage2->bench, 1);
	for (;;) {
		while (gmm_load_acquire(&stage2->asked) == turn)
			gmm_cpu_relax(0);
		turn++;
		if (!stage2->job)
			return NULL;
		stage2->job(stage2, 1);
		gmm_store_release(&stage2->answered, turn);
	}
}

static void ask(struct stage2_bench *stage2, void (*job)(struct stage2_bench *, uint32_t))
{
	stage2->job = job;
	gmm_store_release(&stage2->asked, stage2->asked + 1);
}

static void do_both(struct stage2_bench *stage2, void (*job)(struct stage2_bench *, uint32_t))
{
	ask(stage2, job);
	job(stage2, 0);
	while (gmm_load_acquire(&stage2->answered) != stage2->asked)
		gmm_cpu_relax(0);
}

static uint64_t fault_both(void *context, uint64_t count)
{
	do_both(context, fault_half);
	return 2 * HALF;
}

static void empty_both(void *context)
{
	do_both(context, empty_half);
}

static void measure_threads(struct bench *bench, struct stage2_bench *stage2)
{
	const char *name = "stage 2: two threads fault 512 MiB each";
	pthread_t thread;
	uint32_t i;

	if (bench_cpus(bench) < THREADS) {
		bench_left_out(bench, name, "one CPU only");
		return;
	}
	empty_tables(stage2);
	for (i = 0; i < THREADS; i++) {
		bench_must(gmm_stage2_walker_create(stage2->table, &stage2->walkers[i]),
			   "a walker");
		bench_must(gmm_stage2_walker_top_up(stage2->walkers[i], 0), "a walker's stock");
	}
	bench_must(pthread_create(&thread, NULL, second_thread, stage2), "a thread");
	/* At least 1.8 times as much in the same time. */
	measure(bench, stage2, name, fault_both, empty_both, "one thread faults 512 MiB",
		fault_first, empty_first, 2 / 1.8);
	ask(stage2, NULL);
	pthread_join(thread, NULL);
	for (i = 0; i < THREADS; i++)
		gmm_stage2_walker_destroy(stage2->walkers[i]);
}

static void make_order(struct stage2_bench *stage2)
{
	uint64_t state = 0x9e3779b97f4a7c15u;
	uint32_t i;

	for (i = 0; i < PAGES; i++)
		stage2->order[i] = i;
	for (i = PAGES - 1; i; i--) {
		uint32_t j = (uint32_t)bench_below(bench_random(&state), i + 1);
		uint32_t kept = stage2->order[i];

		stage2->order[i] = stage2->order[j];
		stage2->order[j] = kept;
	}
}

static void stage2_init(struct stage2_bench *stage2, struct bench *bench)
{
	struct gmm_stage2_table_config config = { .format = GMM_STAGE2_NPT,
						  .ops = &ops,
						  .owner = stage2 };
	uint32_t i;

	stage2->bench = bench;
	stage2->pool = aligned_alloc(4096, (size_t)POOL * 4096);
	stage2->bare = aligned_alloc(4096, PAGES * sizeof(uint64_t));
	if (!stage2->pool || !stage2->bare)
		bench_broken("memory");
	memset(stage2->pool, 0, (size_t)POOL * 4096);
	clear_bare(stage2);
	for (i = 0; i < POOL; i++)
		stage2->free[stage2->frees++] = POOL - 1 - i;
	make_order(stage2);
	bench_must(gmm_stage2_table_create(&config, &stage2->table), "a table");
	bench_must(gmm_stage2_walker_create(stage2->table, &stage2->walker), "a walker");
}

void bench_stage2(struct bench *bench)
{
	struct stage2_bench *stage2 = calloc(1, sizeof(*stage2));

	if (!stage2)
		bench_broken("memory");
	stage2_init(stage2, bench);
	measure(bench, stage2, "stage 2: 1 GiB in order; unlinked tables", build, unmap_all,
		"plain stores", bare_stores, clear_bare, 1.3);
	/* With what the walker keeps in stock. */
	bench_counted(bench, "stage 2: memory of tables for 1 GiB (pages)",
		      (double)(POOL - stage2->frees), "the least there can be", TABLES + 3,
		      BENCH_GOAL_TIMES, 1.01);
	measure(bench, stage2, "stage 2: 1 GiB in order; live tables", build, empty_tables,
		"compare-and-exchange", bare_exchanges, clear_bare, 1.3);
	measure(bench, stage2, "stage 2: 1 GiB by random faults", map_random, empty_tables,
		"compare-and-exchange without a walk", bare_random, clear_bare, 0);
	measure_bits(bench, stage2);
	measure_threads(bench, stage2);
	unmap_all(stage2);
	gmm_stage2_walker_destroy(stage2->walker);
	bench_must(gmm_stage2_table_destroy(stage2->table), "a table's end");
	free(stage2->pool);
	free(stage2->bare);
	free(stage2);
}
