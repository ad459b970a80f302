/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * GPA to pointer at random addresses. The guest's memory is always as large, so only the number of
 * slots differs; the pointers are not followed.
 */
#include <stdio.h>

#include <guestmm/section.h>
#include <guestmm/static/section.h>
#include <guestmm/static/slot.h>

#include "reference/reference.h"
#include "support/guest.h"

/* What a slot of one chunk has; a slot that is not made of whole chunks needs tables of pages. */
#define CHUNK_PAGES 512u
#define SMALL_SLOT_PAGES 96u
#define SPAN_CHUNKS GMM_SLOTS_MAX

struct lookup_bench {
	struct bench_memory memory;
	struct gmm_guest *guest;
	struct gmm_reader *reader;
	struct reference_addresses addresses;
	uint32_t slots;
};

static void *found(void *pointer)
{
	if (__builtin_expect(!pointer, 0))
		bench_broken("looking up an address in a slot");
	return pointer;
}

static uint64_t look_up(void *context, uint64_t count)
{
	struct lookup_bench *lookup = context;
	const struct gmm_guest *guest = lookup->guest;
	uint64_t state = lookup->addresses.seed, sum = 0, done, i;

	for (done = 0; done < count; done += BENCH_BURST) {
		gmm_section_enter_inline(lookup->reader);
		for (i = 0; i < BENCH_BURST; i++) {
			gmm_gpa_t gpa = bench_below(bench_random(&state), lookup->addresses.span) &
					~7ull;

			sum += (uintptr_t)found(
				gmm_slot_pointer_inline(guest, gpa, 8, GMM_ACCESS_READ));
		}
		gmm_section_exit_inline(lookup->reader);
	}
	lookup->addresses.seed = state;
	return sum;
}

static uint64_t look_up_by_call(void *context, uint64_t count)
{
	struct lookup_bench *lookup = context;
	uint64_t state = lookup->addresses.seed, sum = 0, done, i;

	for (done = 0; done < count; done += BENCH_BURST) {
		gmm_section_enter_inline(lookup->reader);
		for (i = 0; i < BENCH_BURST; i++) {
			gmm_gpa_t gpa = bench_below(bench_random(&state), lookup->addresses.span) &
					~7ull;

			sum += (uintptr_t)found(
				gmm_slot_pointer(lookup->guest, gpa, 8, GMM_ACCESS_READ));
		}
		gmm_section_exit_inline(lookup->reader);
	}
	lookup->addresses.seed = state;
	return sum;
}

static uint64_t look_up_dependent(void *context, uint64_t count)
{
	struct lookup_bench *lookup = context;
	const struct gmm_guest *guest = lookup->guest;
	uint64_t state = lookup->addresses.seed, done, i;

	for (done = 0; done < count; done += BENCH_BURST) {
		gmm_section_enter_inline(lookup->reader);
		for (i = 0; i < BENCH_BURST; i++) {
			gmm_gpa_t gpa = bench_below(bench_random(&state), lookup->addresses.span) &
					~7ull;

			state ^= (uintptr_t)found(
					 gmm_slot_pointer_inline(guest, gpa, 8, GMM_ACCESS_READ))
				 << 24;
			state |= 1;
		}
		gmm_section_exit_inline(lookup->reader);
	}
	lookup->addresses.seed = state;
	return state;
}

/* Slots of whole units of pages, as many as there are for each, side by side from address 0. */
static void make(struct lookup_bench *lookup, uint32_t slots, uint64_t pages, uint64_t unit)
{
	uint64_t first = 0;
	uint32_t id;

	bench_memory_make(&lookup->memory, pages);
	lookup->guest = bench_guest_make(NULL);
	lookup->slots = slots;
	for (id = 0; id < slots; id++) {
		uint64_t end = pages / unit * (id + 1) / slots * unit;
		struct gmm_slot_config slot = bench_slot(
			id, first, end - first, 0, &bench_resident_ops, &lookup->memory, first);

		bench_slot_add(lookup->guest, &slot);
		first = end;
	}
	lookup->addresses.span = pages << BENCH_PAGE_SHIFT;
	lookup->addresses.seed = 0x9e3779b97f4a7c15u;
	bench_must(gmm_reader_register(lookup->guest, &lookup->reader), "registering a reader");
}

static void end(struct lookup_bench *lookup)
{
	uint32_t id;

	gmm_reader_unregister(lookup->reader);
	for (id = 0; id < lookup->slots; id++)
		bench_must(gmm_slot_remove(lookup->guest, id), "removing a slot");
	bench_guest_end(lookup->guest);
	bench_memory_end(&lookup->memory);
}

static void measure(struct bench *bench, struct lookup_bench *lookup, const char *name,
		    uint64_t (*run)(void *, uint64_t), bool dependent, bool goal)
{
	struct bench_pair pair = {
		.name = name,
		.ours = { .run = run, .context = lookup },
		.reference = { .name = dependent ? "dependent empty loop" : "empty loop",
			       .run = dependent ? reference_addresses_dependent :
						  reference_addresses_only,
			       .context = &lookup->addresses },
		.goal = goal ? BENCH_GOAL_ADDS : BENCH_GOAL_NONE,
		.limit = 0.8,
	};

	bench_measure(bench, &pair);
}

void bench_lookup(struct bench *bench)
{
	static const uint32_t slots[] = { 8, 512, GMM_SLOTS_MAX };
	static struct lookup_bench lookup;
	char name[64];
	size_t i;

	for (i = 0; i < sizeof(slots) / sizeof(slots[0]); i++) {
		make(&lookup, slots[i], (uint64_t)SPAN_CHUNKS * CHUNK_PAGES, CHUNK_PAGES);
		snprintf(name, sizeof(name), "GPA to pointer among %u slots", slots[i]);
		measure(bench, &lookup, name, look_up, false, true);
		snprintf(name, sizeof(name), "GPA to pointer among %u slots by call", slots[i]);
		measure(bench, &lookup, name, look_up_by_call, false, false);
		if (slots[i] == GMM_SLOTS_MAX) {
			snprintf(name, sizeof(name), "GPA to pointer among %u slots dependent",
				 slots[i]);
			measure(bench, &lookup, name, look_up_dependent, true, false);
		}
		end(&lookup);
	}
	/* They share chunks with their neighbours: each look-up goes through a table of pages. */
	make(&lookup, 512, 512 * SMALL_SLOT_PAGES, SMALL_SLOT_PAGES);
	measure(bench, &lookup, "GPA to pointer among 512 slots of 384 KiB", look_up, false, false);
	end(&lookup);
}
