/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Adding and removing a slot among few and among as many as there can be. */
#include "harness.h"
#include "support/guest.h"

#define SLOT_PAGES 512u

struct slots_bench {
	struct gmm_guest *guest;
	struct bench_memory *memory;
	uint32_t others; /* slots that stay */
};

static struct gmm_slot_config nth(struct slots_bench *slots, uint32_t id)
{
	uint64_t first = (uint64_t)id * SLOT_PAGES;

	return bench_slot(id, first, SLOT_PAGES, 0, &bench_resident_ops, slots->memory, first);
}

static uint64_t add_and_remove(void *context, uint64_t count)
{
	struct slots_bench *slots = context;
	struct gmm_slot_config slot = nth(slots, slots->others);
	uint64_t i;

	for (i = 0; i < count; i++) {
		bench_slot_add(slots->guest, &slot);
		bench_must(gmm_slot_remove(slots->guest, slot.id), "removing a slot");
	}
	return count;
}

static void make(struct slots_bench *slots, uint32_t others, struct bench_memory *memory)
{
	uint32_t id;

	slots->memory = memory;
	slots->others = others;
	slots->guest = bench_guest_make(NULL);
	for (id = 0; id < others; id++) {
		struct gmm_slot_config slot = nth(slots, id);

		bench_slot_add(slots->guest, &slot);
	}
}

static void end(struct slots_bench *slots)
{
	uint32_t id;

	for (id = 0; id < slots->others; id++)
		bench_must(gmm_slot_remove(slots->guest, id), "removing a slot");
	bench_guest_end(slots->guest);
}

void bench_slots(struct bench *bench)
{
	static struct bench_memory memory;
	struct slots_bench few, many;
	struct bench_pair pair = {
		.name = "slot add and remove beside 32763 others",
		.ours = { .run = add_and_remove, .context = &many },
		.reference = { .name = "beside 7 others", .run = add_and_remove, .context = &few },
	};

	bench_memory_make(&memory, (uint64_t)GMM_SLOTS_MAX * SLOT_PAGES);
	make(&few, 7, &memory);
	make(&many, GMM_SLOTS_MAX - 1, &memory);
	bench_measure(bench, &pair);
	end(&many);
	end(&few);
	bench_memory_end(&memory);
}
