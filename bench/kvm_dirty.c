/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Harvest of what a guest under KVM wrote, against the kernel's own calls for it. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <guestmm/dirty.h>
#include <guestmm/section.h>
#include <guestmm/slot.h>

#include "reference/reference.h"
#include "reference/vm.h"
#include "support/world.h"

#define PAGES ((1ull << 30) >> 12)
#define WORDS (PAGES / 64)

struct kvm_dirty_bench {
	struct world world;
	struct reference_vm vm;
	struct gmm_reader *reader; /* so that there is somebody to wait for */
	uint8_t *memory;	   /* of the reference */
	uint64_t pattern[WORDS];
	uint64_t dirty; /* pages of the pattern */
	uint64_t words[WORDS];
	uint64_t reference_words[WORDS];
};

static void write_pattern(void *context)
{
	struct kvm_dirty_bench *dirty = context;

	if (dirty->dirty)
		world_run(&dirty->world, 0);
}

static uint64_t harvest(void *context, uint64_t count)
{
	struct kvm_dirty_bench *dirty = context;
	int64_t taken =
		gmm_dirty_harvest(dirty->world.guest, WORLD_DATA_SLOT, 0, PAGES, dirty->words);

	if (taken < 0 || (uint64_t)taken != dirty->dirty)
		bench_broken("a harvest");
	return (uint64_t)taken;
}

static void write_pattern_reference(void *context)
{
	struct kvm_dirty_bench *dirty = context;

	if (dirty->dirty)
		reference_vm_run(&dirty->vm, 0);
}

/* Reading the log, clearing it, which protects, and one wait for readers. */
static uint64_t harvest_reference(void *context, uint64_t count)
{
	struct kvm_dirty_bench *dirty = context;

	reference_vm_log_get(&dirty->vm, 1, dirty->reference_words);
	if (dirty->dirty)
		reference_vm_log_clear(&dirty->vm, 1, dirty->reference_words, PAGES);
	return reference_membarrier(NULL, 1);
}

static void choose(struct kvm_dirty_bench *dirty, uint64_t pages)
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
	tiny_guest_touch_bitmap(dirty->world.low, 0, dirty->pattern, WORDS);
	tiny_guest_touch_bitmap(dirty->vm.low, 0, dirty->pattern, WORDS);
}

static void make(struct kvm_dirty_bench *dirty, const struct world_config *config)
{
	world_make(&dirty->world, config);
	world_add_vcpu(&dirty->world, 0);
	reference_vm_make(&dirty->vm, true);
	reference_vm_add_vcpu(&dirty->vm, 0);
	dirty->memory =
		mmap(NULL, PAGES << 12, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (dirty->memory == MAP_FAILED)
		bench_broken("mapping memory");
	reference_vm_slot(&dirty->vm, 1, TINY_DATA_GPA, dirty->memory, PAGES << 12, true);
	bench_must(gmm_reader_register(dirty->world.guest, &dirty->reader), "a reader");
	/* Everything is mapped, and was written. */
	tiny_guest_touch_range(dirty->world.low, 0, 0, PAGES);
	tiny_guest_touch_range(dirty->vm.low, 0, 0, PAGES);
	dirty->dirty = PAGES;
	write_pattern(dirty);
	write_pattern_reference(dirty);
	harvest(dirty, 1);
	harvest_reference(dirty, 1);
}

static void end(struct kvm_dirty_bench *dirty)
{
	gmm_reader_unregister(dirty->reader);
	world_drop_vcpu(&dirty->world, 0);
	world_end(&dirty->world);
	reference_vm_end(&dirty->vm);
	munmap(dirty->memory, PAGES << 12);
}

void bench_kvm_dirty(struct bench *bench)
{
	static const struct {
		const char *name;
		uint64_t pages;
		enum bench_goal goal;
		double limit;
		uint32_t pairs;
		uint32_t rounds;
	} rows[] = {
		{ "KVM: harvest of 1 GiB with 0 % dirty", 0, BENCH_GOAL_ADDS, 2.5, 0, 64 },
		{ "KVM: harvest of 1 GiB with 0.1 % dirty", PAGES / 1000, BENCH_GOAL_TIMES, 1.3, 0,
		  4 },
		{ "KVM: harvest of 1 GiB with 10 % dirty", PAGES / 10, BENCH_GOAL_TIMES, 1.3, 21,
		  1 },
	};
	struct world_config config = {
		.kvm = true, .write = true, .pages = PAGES, .slot_flags = GMM_SLOT_LOG_DIRTY
	};
	static struct kvm_dirty_bench dirty;
	char text[GMM_ACCEL_TEXT_BYTES];
	size_t i;

	if (world_lacks(&config, text)) {
		bench_left_out(bench, "KVM: harvest of 1 GiB", text);
		return;
	}
	make(&dirty, &config);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bench_pair pair = {
			.name = rows[i].name,
			.unit = BENCH_MICROSECONDS,
			.ours = { .run = harvest, .prepare = write_pattern, .context = &dirty },
			.reference = { .name = "get and clear the log and wait for readers",
				       .run = harvest_reference,
				       .prepare = write_pattern_reference,
				       .context = &dirty },
			.goal = rows[i].goal,
			.limit = rows[i].limit,
			.count = 1,
			.rounds = rows[i].rounds,
			.pairs = rows[i].pairs,
		};

		choose(&dirty, rows[i].pages);
		bench_measure(bench, &pair);
	}
	end(&dirty);
}
