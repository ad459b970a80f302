/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Looking through the dirty bitmap of a 1 TiB guest, out of memory: 32 MiB. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <gmm_port/scan.h>

#include "reference/reference.h"

#define PAGES ((1ull << 40) >> 12)
#define WORDS (PAGES / 64)
/* More than the processor's caches hold. */
#define EVICTING_BYTES (256ull << 20)

struct scan_bench {
	uint64_t *words;
	uint8_t *evicting;
	uint64_t dirty; /* words that are not 0, and bits */
	uint64_t bits;
};

static void evict(void *context)
{
	const struct scan_bench *scan = context;
	uint64_t i;

	for (i = 0; i < EVICTING_BYTES; i += 64)
		((volatile uint8_t *)scan->evicting)[i]++;
}

/* Which words are not 0. */
static uint64_t scan_words(void *context, uint64_t count)
{
	const struct scan_bench *scan = context;
	uint64_t found = 0, i;

	for (i = 0; i < WORDS; i += 64)
		found += (uint64_t)__builtin_popcountll(gmm_scan_mask(scan->words + i, 64));
	if (found != scan->dirty)
		bench_broken("a scan");
	return found;
}

static uint64_t count_bits(void *context, uint64_t count)
{
	const struct scan_bench *scan = context;
	uint64_t found = gmm_scan_count(scan->words, WORDS);

	if (found != scan->bits)
		bench_broken("a count");
	return found;
}

static uint64_t read_words(void *context, uint64_t count)
{
	const struct scan_bench *scan = context;

	return reference_read(scan->words, WORDS);
}

static void choose(struct scan_bench *scan, uint64_t pages)
{
	uint64_t state = 0x9e3779b97f4a7c15u, i;

	memset(scan->words, 0, WORDS * sizeof(uint64_t));
	for (i = 0; i < pages; i++) {
		uint64_t page = bench_below(bench_random(&state), PAGES);

		scan->words[page / 64] |= 1ull << (page % 64);
	}
	scan->dirty = 0;
	scan->bits = 0;
	for (i = 0; i < WORDS; i++) {
		scan->dirty += scan->words[i] != 0;
		scan->bits += (uint64_t)__builtin_popcountll(scan->words[i]);
	}
}

static void measure(struct bench *bench, struct scan_bench *scan, const char *name,
		    uint64_t (*run)(void *context, uint64_t count))
{
	struct bench_pair pair = {
		.name = name,
		.unit = BENCH_MICROSECONDS,
		.ours = { .run = run, .prepare = evict, .context = scan },
		.reference = { .name = "reading it",
			       .run = read_words,
			       .prepare = evict,
			       .context = scan },
		.goal = BENCH_GOAL_TIMES,
		.limit = 2,
		.count = 1,
	};

	bench_measure(bench, &pair);
}

static void *map(uint64_t bytes)
{
	void *memory =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		bench_broken("mapping memory");
	memset(memory, 1, bytes);
	return memory;
}

void bench_scan(struct bench *bench)
{
	static const char *const variants[] = { "", "plain C", "AVX2", "AVX-512" };
	struct scan_bench scan = { .words = map(WORDS * sizeof(uint64_t)),
				   .evicting = map(EVICTING_BYTES) };
	char name[64];

	choose(&scan, 1000);
	snprintf(name, sizeof(name), "scan of 1 TiB's bitmap by %s: 1000 pages",
		 variants[gmm_scan_variant()]);
	measure(bench, &scan, name, scan_words);
	choose(&scan, PAGES / 100);
	snprintf(name, sizeof(name), "scan of 1 TiB's bitmap by %s: 1 %% dirty",
		 variants[gmm_scan_variant()]);
	measure(bench, &scan, name, scan_words);
	snprintf(name, sizeof(name), "count of 1 TiB's bitmap by %s: 1 %% dirty",
		 variants[gmm_scan_variant()]);
	measure(bench, &scan, name, count_bits);
	munmap(scan.words, WORDS * sizeof(uint64_t));
	munmap(scan.evicting, EVICTING_BYTES);
}
