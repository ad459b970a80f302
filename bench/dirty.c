/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Harvest of the dirty log of 1 GiB. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <guestmm/dirty.h>

#include "reference/reference.h"
#include "support/guest.h"

#define PAGES ((1ull << 30) >> BENCH_PAGE_SHIFT)
#define WORDS (PAGES / 64)

struct dirty_bench {
	struct bench_memory memory;
	struct gmm_guest *guest;
	uint64_t pattern[WORDS]; /* pages that are dirtied before each harvest */
	uint64_t dirty;		 /* how many that are */
	uint64_t harvest[WORDS];
	struct reference_bitmap reference;
};

static void mark_pattern(void *context)
{
	struct dirty_bench *dirty = context;
	uint64_t word;

	for (word = 0; word < WORDS; word++) {
		uint64_t bits = dirty->pattern[word];

		for (; bits; bits &= bits - 1)
			gmm_dirty_mark(dirty->guest, word * 64 + (uint64_t)__builtin_ctzll(bits),
				       1);
	}
}

static uint64_t harvest(void *context, uint64_t count)
{
	struct dirty_bench *dirty = context;
	int64_t taken = gmm_dirty_harvest(dirty->guest, 0, 0, PAGES, dirty->harvest);

	if (taken < 0 || (uint64_t)taken != dirty->dirty)
		bench_broken("a harvest");
	return (uint64_t)taken;
}

static void copy_pattern(void *context)
{
	struct dirty_bench *dirty = context;

	memcpy(dirty->reference.words, dirty->pattern, sizeof(dirty->pattern));
}

static uint64_t harvest_reference(void *context, uint64_t count)
{
	struct dirty_bench *dirty = context;

	return reference_bitmap_harvest(&dirty->reference, count);
}

static void choose_pattern(struct dirty_bench *dirty, uint64_t pages)
{
	uint64_t state = 0x9e3779b97f4a7c15u;

	memset(dirty->pattern, 0, sizeof(dirty->pattern));
	for (dirty->dirty = 0; dirty->dirty < pages;) {
		uint64_t page = bench_below(bench_random(&state), PAGES);
		uint64_t bit = 1ull << (page % 64);

		if (dirty->pattern[page / 64] & bit)
			continue;
		dirty->pattern[page / 64] |= bit;
		dirty->dirty++;
	}
}

static void make(struct dirty_bench *dirty)
{
	struct gmm_slot_config slot;

	bench_memory_make(&dirty->memory, PAGES);
	dirty->guest = bench_guest_make(NULL);
	slot = bench_slot(0, 0, PAGES, GMM_SLOT_LOG_DIRTY, &bench_resident_ops, &dirty->memory, 0);
	bench_slot_add(dirty->guest, &slot);
	dirty->reference.words = calloc(WORDS, sizeof(uint64_t));
	dirty->reference.harvest = dirty->harvest;
	dirty->reference.word_count = WORDS;
	if (!dirty->reference.words)
		bench_broken("memory for a bitmap");
}

static void end(struct dirty_bench *dirty)
{
	free(dirty->reference.words);
	bench_must(gmm_slot_remove(dirty->guest, 0), "removing a slot");
	bench_guest_end(dirty->guest);
	bench_memory_end(&dirty->memory);
}

void bench_dirty(struct bench *bench)
{
	static const uint64_t percents[] = { 0, 1, 10 };
	static struct dirty_bench dirty;
	char name[64];
	size_t i;

	make(&dirty);
	for (i = 0; i < sizeof(percents) / sizeof(percents[0]); i++) {
		struct bench_pair pair = {
			.name = name,
			.unit = BENCH_MICROSECONDS,
			.ours = { .run = harvest, .prepare = mark_pattern, .context = &dirty },
			.reference = { .name = "words of a bitmap alone",
				       .run = harvest_reference,
				       .prepare = copy_pattern,
				       .context = &dirty },
			.count = 1,
			.rounds = 2,
		};

		snprintf(name, sizeof(name), "dirty harvest of 1 GiB with %u %% dirty",
			 (unsigned int)percents[i]);
		choose_pattern(&dirty, PAGES * percents[i] / 100);
		bench_measure(bench, &pair);
	}
	end(&dirty);
}
