/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Slots: which frame is what, found by GPA, by HVA and directly, after every change and every
 * refused one. This file has the operations, each with its effect on the reference (slot_reference.h)
 * and the errors that it may answer with.
 */
#include <string.h>

#include <gmm_port/alloc.h>

#include "slot_reference.h"

static uint32_t take_id(void)
{
	uint32_t index = program_take(run.program, SLOTS + 1);

	return index == SLOTS - 1 ? GMM_SLOTS_MAX - 1 : index == SLOTS ? GMM_SLOTS_MAX : index;
}

/* Sizes: small ones, whole chunks and a few more or fewer, and absurd ones. */
static uint64_t take_count(void)
{
	uint32_t how = program_byte(run.program);
	uint32_t number = program_byte(run.program);

	switch (how % 8) {
	case 0:
		return (uint64_t)(number % 5) * 512;
	case 1:
		return 512 + number % 7 - 3;
	case 2:
		return number * 16;
	case 3:
		return number & 1 ? ~(uint64_t)0 >> (number >> 1) % 64 : 0;
	default:
		return 1 + number % 40;
	}
}

static uint64_t take_gfn(void)
{
	uint32_t how = program_byte(run.program);
	uint32_t number = program_byte(run.program);

	switch (how % 8) {
	case 0:
		return (number % 9) * 512;
	case 1:
		return 512 * (1 + (number >> 4)) + number % 16 - 8;
	case 2:
		return run.frames - 1 - number % 64;
	case 3:
		return number & 1 ? ~(uint64_t)0 >> (number >> 1) % 64 : number;
	default:
		return ((how >> 3) * 256 + number) % run.frames;
	}
}

static void expect_range(struct fuzz_errors *expected, const struct gmm_slot_config *config)
{
	uint64_t most = ~(uint64_t)0 >> run.shift;
	uint64_t bytes = config->count << run.shift;

	if (config->gfn >= run.frames || config->count > run.frames - config->gfn ||
	    config->count > most || config->hva + bytes - 1 < config->hva ||
	    config->memory_page > most || config->count > most - config->memory_page ||
	    (uintptr_t)config->pointer + bytes - 1 < (uintptr_t)config->pointer)
		fuzz_expect(expected, GMM_ERANGE);
}

static bool bad_flags(uint32_t flags)
{
	return flags > 7 || flags == 3 || flags == 7 || (flags & 4 && !(flags & 1));
}

static void expect_deadlock(struct fuzz_errors *expected)
{
	if (run.changing.end)
		fuzz_expect(expected, GMM_EDEADLK);
}

static void inject(void)
{
	uint32_t how = program_byte(run.program);

	run.faults = how & 0x80;
	if (how & 1)
		gmm_port_alloc_fail_at(1 + (how >> 1) % 16);
	else
		run.owner_fails_at = 1 + (how >> 1) % 2;
}

static bool injected(void)
{
	bool failed = run.failed || gmm_port_alloc_failed();

	gmm_port_alloc_fail_at(0);
	run.owner_fails_at = 0;
	run.faults = false;
	run.failed = false;
	return failed;
}

static struct gmm_slot_config take_config(uint32_t id)
{
	uint32_t index = index_of(id) % SLOTS;
	uint32_t how = program_byte(run.program);
	const struct reference *before;
	struct gmm_slot_config config = {
		.id = id,
		.memory = &run.slots[index].memory,
		.hva = ADDRESSES + ((uint64_t)index << 32),
		.pointer = (void *)(uintptr_t)(POINTERS + ((uint64_t)index << 32)),
	};

	/* One after the other: compilers differ in the order within an initialisation. */
	config.flags = how & 1 ? program_take(run.program, 9) : 0;
	config.memory_ops = &memory_kinds[how & 2 ? program_take(run.program, 5) : how >> 2 & 1];
	config.gfn = take_gfn();
	config.count = take_count();
	before = config.gfn && config.gfn < run.frames ? reference_at(config.gfn - 1) : NULL;
	switch (how >> 4) {
	case 1: /* at the very end of the addresses */
		config.hva = -(config.count << run.shift);
		break;
	case 2:
		config.pointer = (void *)(uintptr_t) - (config.count << run.shift);
		break;
	case 3:
		config.pointer = NULL;
		break;
	case 4:
		config.hva += 1u << (run.shift - 1);
		break;
	case 5:
		config.pointer = (uint8_t *)config.pointer + 8;
		break;
	case 6:
		config.memory_page = (~(uint64_t)0 >> run.shift) - config.count + (how >> 2 & 1);
		break;
	case 7: /* goes on where the slot before ends */
		if (before && before->config.pointer) {
			uint64_t bytes = before->config.count << run.shift;

			config.pointer = (void *)((uintptr_t)before->config.pointer + bytes);
			config.hva = before->config.hva + bytes;
		}
		break;
	case 8: /* the addresses of another slot */
		config.hva = run.slots[(index + 1) % SLOTS].config.hva & -(1ull << run.shift);
		break;
	}
	return config;
}

/* What has been filled from a page on is not any more. */
static void forget(struct reference *slot, uint64_t first)
{
	for (; first < run.frames && slot->memory.filled; first++) {
		slot->memory.filled -= slot->filled[first];
		slot->filled[first] = 0;
	}
}

static void do_add(void)
{
	uint32_t id = take_id();
	struct gmm_slot_config config = take_config(id);
	uint64_t mask = ((uint64_t)1 << run.shift) - 1;
	struct fuzz_errors expected = { 0 };
	struct reference *slot;
	int answer;

	if (bad_flags(config.flags) || id >= GMM_SLOTS_MAX || !config.count ||
	    (config.hva & mask) || ((uintptr_t)config.pointer & mask) ||
	    config.memory_ops > &memory_kinds[1])
		fuzz_expect(&expected, GMM_EINVAL);
	expect_range(&expected, &config);
	if (reference_of(id) ||
	    (config.count <= run.frames && reference_is_taken(NULL, config.gfn, config.count)))
		fuzz_expect(&expected, GMM_EEXIST);
	expect_deadlock(&expected);
	fuzz_say("add %u: %llu + %llu flags %u hva %llx", id, (unsigned long long)config.gfn,
		 (unsigned long long)config.count, config.flags, (unsigned long long)config.hva);
	/* Whoever is told of it knows the config by then. */
	run.coming = &config;
	answer = gmm_slot_add(run.guest, &config);
	run.coming = NULL;
	fuzz_check_answer(&expected, answer, injected(), "add");
	if (answer && !reference_of(id) && id < GMM_SLOTS_MAX)
		forget(&run.slots[index_of(id)], 0);
	if (answer)
		return;
	slot = &run.slots[index_of(id)];
	slot->config = config;
	memset(slot->dirty, (config.flags & GMM_SLOT_LOG_ALL_SET) != 0, config.count);
}

static void do_remove(void)
{
	uint32_t id = take_id();
	struct reference *slot = reference_of(id);
	struct fuzz_errors expected = { 0 };
	int answer = gmm_slot_remove(run.guest, id);

	if (!slot)
		fuzz_expect(&expected, GMM_ENOENT);
	expect_deadlock(&expected);
	fuzz_say("remove %u", id);
	fuzz_check_answer(&expected, answer, injected(), "remove");
	if (answer)
		return;
	forget(slot, 0);
	slot->config.count = 0;
	fuzz_check(!slot->memory.mappings && !slot->memory.references,
		   "memory that went is still used");
}

static void do_move(void)
{
	uint32_t id = take_id();
	struct reference *slot = reference_of(id);
	uint64_t gfn = take_gfn();
	struct fuzz_errors expected = { 0 };
	struct gmm_slot_config config;
	int answer = gmm_slot_move(run.guest, id, gfn);

	if (slot) {
		config = slot->config;
		config.gfn = gfn;
		expect_range(&expected, &config);
		if (reference_is_taken(slot, gfn, config.count))
			fuzz_expect(&expected, GMM_EEXIST);
	} else {
		fuzz_expect(&expected, GMM_ENOENT);
	}
	expect_deadlock(&expected);
	fuzz_say("move %u to %llu", id, (unsigned long long)gfn);
	fuzz_check_answer(&expected, answer, injected(), "move");
	if (!answer)
		slot->config.gfn = gfn;
}

static void do_resize(void)
{
	uint32_t id = take_id();
	struct reference *slot = reference_of(id);
	uint64_t count = take_count();
	struct fuzz_errors expected = { 0 };
	struct gmm_slot_config config = { .id = id };
	int answer;

	if (slot) {
		config = slot->config;
		config.count = count;
		if (count > slot->config.count)
			run.coming = &config;
	}
	answer = gmm_slot_resize(run.guest, id, count);
	run.coming = NULL;
	if (slot) {
		if (!count)
			fuzz_expect(&expected, GMM_EINVAL);
		expect_range(&expected, &config);
		if (reference_is_taken(slot, config.gfn, count))
			fuzz_expect(&expected, GMM_EEXIST);
	} else {
		fuzz_expect(&expected, GMM_ENOENT);
	}
	expect_deadlock(&expected);
	fuzz_say("resize %u to %llu", id, (unsigned long long)count);
	fuzz_check_answer(&expected, answer, injected(), "resize");
	if (answer && slot)
		forget(slot, slot->config.count);
	if (answer)
		return;
	if (count < slot->config.count)
		forget(slot, count);
	else
		memset(slot->dirty + slot->config.count, 0, count - slot->config.count);
	slot->config.count = count;
}

static void do_flags(void)
{
	uint32_t id = take_id();
	struct reference *slot = reference_of(id);
	uint32_t flags = program_take(run.program, 9);
	struct fuzz_errors expected = { 0 };
	int answer = gmm_slot_set_flags(run.guest, id, flags);

	if (!slot)
		fuzz_expect(&expected, GMM_ENOENT);
	if (bad_flags(flags))
		fuzz_expect(&expected, GMM_EINVAL);
	expect_deadlock(&expected);
	fuzz_say("flags %u: %u", id, flags);
	fuzz_check_answer(&expected, answer, injected(), "flags");
	if (answer)
		return;
	if (!(slot->config.flags & GMM_SLOT_LOG_DIRTY))
		memset(slot->dirty, (flags & GMM_SLOT_LOG_ALL_SET) != 0, slot->config.count);
	slot->config.flags = flags;
}

static void do_find_gpa(void)
{
	uint64_t gfn = take_gfn() % run.frames;
	uint64_t pages = 1 + program_take(run.program, 4), end = gfn + pages - 1;
	const struct reference *slot = reference_at(gfn), *last;
	struct fuzz_errors expected = { 0 };
	uint64_t bytes = pages << run.shift;
	int answer;

	last = end < run.frames ? reference_at(end) : NULL;
	if (end >= run.frames)
		fuzz_expect(&expected, GMM_ERANGE);
	else if (!slot || !last)
		fuzz_expect(&expected, GMM_EFAULT);
	if (slot && slot != last) {
		fuzz_expect(&expected, GMM_EXDEV);
		/* There may be a hole between the slots. */
		fuzz_expect(&expected, GMM_EFAULT);
	}
	if (reference_is_changing(gfn, pages, 1))
		fuzz_expect(&expected, GMM_EDEADLK);
	answer = gmm_cache_activate(run.cache, (gfn << run.shift) + 16, bytes - 16,
				    GMM_CACHE_HOST | GMM_CACHE_GUEST | GMM_CACHE_WRITE);
	fuzz_say("find %llu", (unsigned long long)gfn);
	fuzz_check_answer(&expected, answer, injected(), "find");
	if (!answer)
		slot_check_found(slot, gfn - slot->config.gfn, (uint32_t)pages, 16);
	fuzz_check(!gmm_cache_deactivate(run.cache), "a cache stays active");
}

/* Pages of a slot become resident, where the memory is lazy. */
static void do_populate(void)
{
	const struct reference *slot = reference_of(take_id());
	uint64_t first = program_byte(run.program), count = 1 + program_byte(run.program) % 16;
	struct fuzz_errors expected = { 0 };
	int answer;

	if (!slot)
		return;
	first = first & 1 ? slot->config.count - 1 - (first >> 1) % slot->config.count :
			    (first >> 1) % slot->config.count;
	if (count > slot->config.count - first)
		count = slot->config.count - first;
	if (reference_is_changing(slot->config.gfn + first, count, 1))
		fuzz_expect(&expected, GMM_EDEADLK);
	answer = gmm_fault_populate(run.guest, slot->config.gfn + first, count, GMM_ACCESS_READ, 0);
	fuzz_say("populate %llu + %llu", (unsigned long long)first, (unsigned long long)count);
	fuzz_check_answer(&expected, answer, injected(), "populate");
}

/* Several slots may have one address; then any of them is found. */
static void do_find_hva(void)
{
	const struct reference *slot = &run.slots[program_take(run.program, SLOTS)], *found = NULL;
	uint64_t page = slot->config.count ? take_count() % (slot->config.count + 1) : 0;
	gmm_hva_t hva = slot->config.hva + (page << run.shift);
	uint32_t i, fitting = 0;
	bool changing = false;
	int answer;

	for (i = 0; i < SLOTS; i++) {
		const struct gmm_slot_config *config = &run.slots[i].config;

		if (!config->count || hva - config->hva >= config->count << run.shift)
			continue;
		found = &run.slots[i];
		fitting++;
		changing |= reference_is_changing(config->gfn + ((hva - config->hva) >> run.shift),
						  1, 1);
	}
	if (run.changing.end && run.changing_kind == GMM_RANGE_HVA)
		changing |= (hva >> run.shift) <= (run.changing.end - 1) >> run.shift &&
			    run.changing.start >> run.shift <= hva >> run.shift;
	answer = gmm_cache_activate_hva(run.cache, hva, 8,
					GMM_CACHE_HOST | GMM_CACHE_GUEST | GMM_CACHE_WRITE);
	fuzz_say("find hva %llx: %d, in %u slots", (unsigned long long)hva, answer, fitting);
	if (!injected() && !changing)
		fuzz_check(answer == (fitting ? 0 : -GMM_EFAULT), "an address is found: %d",
			   answer);
	if (!answer && fitting == 1)
		slot_check_found(found, (hva - found->config.hva) >> run.shift, 1, 0);
	fuzz_check(answer || fitting, "an address of no slot is found");
	fuzz_check(!gmm_cache_deactivate(run.cache), "a cache stays active");
}

static void do_mark(void)
{
	uint64_t gfn = take_gfn(), count = take_count(), i;

	fuzz_say("mark %llu + %llu", (unsigned long long)gfn, (unsigned long long)count);
	gmm_dirty_mark(run.guest, gfn, count);
	for (i = 0; gfn + count >= gfn && i < count && gfn + i < run.frames; i++) {
		struct reference *slot = reference_at(gfn + i);

		if (slot)
			slot->dirty[gfn + i - slot->config.gfn] = 1;
	}
}

static void do_change(void)
{
	uint32_t how = program_byte(run.program);
	struct gmm_range range = { take_gfn() % run.frames, 0 };
	struct fuzz_errors expected = { 0 };
	int answer;

	if (run.changing.end) {
		fuzz_say("end");
		gmm_invalidate_end(run.guest, run.changing_kind, &run.changing, 1);
		run.changing.end = 0;
		return;
	}
	run.changing_kind = how & 1 ? GMM_RANGE_HVA : GMM_RANGE_GFN;
	range.end = range.start + take_count() % 2048;
	if (how & 1) {
		uint64_t hva = run.slots[(how >> 2) % SLOTS].config.hva;

		range.start = hva + (range.start % 64 << run.shift);
		range.end = range.start + (range.end % 64 << run.shift) + 1;
	}
	if (range.end <= range.start)
		fuzz_expect(&expected, GMM_EINVAL);
	fuzz_say("begin %llx to %llx", (unsigned long long)range.start,
		 (unsigned long long)range.end);
	answer = gmm_invalidate_begin(run.guest, run.changing_kind, &range, 1,
				      how & 2 ? GMM_INVALIDATE_NONBLOCKING : 0, NULL);
	fuzz_check_answer(&expected, answer, false, "begin");
	if (!answer)
		run.changing = range;
}

/* In a section nothing changes a slot. */
static void do_in_section(void)
{
	uint32_t id = take_id();

	gmm_section_enter(run.reader);
	fuzz_check(gmm_slot_remove(run.guest, id) == -GMM_EDEADLK &&
			   gmm_slot_resize(run.guest, id, 1) == -GMM_EDEADLK &&
			   gmm_slot_move(run.guest, id, 0) == -GMM_EDEADLK,
		   "a slot is changed in a section");
	gmm_section_exit(run.reader);
}

static void step(void)
{
	static void (*const operations[])(void) = {
		do_add,	     do_add,	  do_add,  do_remove, do_move,	     do_resize,	  do_flags,
		do_find_gpa, do_find_hva, do_mark, do_change, do_in_section, do_populate, do_resize,
	};
	uint32_t operation = program_byte(run.program);

	if (operation & 0x80)
		inject();
	operations[(operation & 0x7f) % 14]();
	injected();
	gmm_section_enter(run.reader);
	slot_check_pointer((uint64_t)program_byte(run.program) << (run.shift + 3), 8,
			   GMM_ACCESS_READ);
	gmm_section_exit(run.reader);
	slot_check_all();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct program program = { data, data + size };
	uint32_t how = program_byte(&program), i;
	uint64_t allocations = gmm_port_alloc_live();
	struct gmm_guest_config config = { .page_shift = 12 + 2 * (how % 3) };

	run.program = &program;
	run.shift = config.page_shift;
	run.frames = (uint64_t)512 << (how >> 2) % 4;
	run.has_owner = how & 0x10;
	run.changing.end = 0;
	for (i = 0; i < SLOTS; i++) {
		run.slots[i].config = (struct gmm_slot_config){ .id = i };
		run.slots[i].memory = (struct memory){ 0 };
		run.told[i].count = 0;
	}
	config.gpa_bits = config.page_shift + 9 + (how >> 2) % 4;
	config.stage2_ops = run.has_owner ? &owner_ops : NULL;
	fuzz_check(!gmm_guest_create(&config, &run.guest), "no memory for a guest");
	fuzz_check(!gmm_reader_register(run.guest, &run.reader), "no memory for a reader");
	fuzz_check(!gmm_cache_create(run.guest, &run.cache), "no memory for a cache");
	while (program_more(&program))
		step();
	if (run.changing.end)
		gmm_invalidate_end(run.guest, run.changing_kind, &run.changing, 1);
	for (i = 0; i < SLOTS; i++) {
		if (run.slots[i].config.count)
			fuzz_check(!gmm_slot_remove(run.guest, run.slots[i].config.id),
				   "a slot stays");
		forget(&run.slots[i], 0);
	}
	fuzz_check(!gmm_cache_destroy(run.cache), "a cache stays");
	gmm_reader_unregister(run.reader);
	fuzz_check(!gmm_guest_destroy(run.guest), "the guest stays");
	fuzz_check(gmm_port_alloc_live() == allocations, "memory is leaked");
	return 0;
}
