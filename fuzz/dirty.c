/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The dirty log: what was written since a page was last reported is in the next report, whoever
 * wrote it, and nothing is that was never written (nor has been announced as such: a fault for
 * writing marks before it is known whether it comes through, and an owner that can only map
 * writable has every page that it maps marked). This file has those who write, and what changes
 * pages and slots; dirty_reports.c has those who ask.
 */
#include "dirty_reference.h"

static const uint32_t most_pages[SLOTS] = { LOWER_PAGES, MODEL_PAGES - LOWER_PAGES,
					    RESIDENT_PAGES };

static gmm_gfn_t take_gfn(struct run *run)
{
	uint32_t how = program_take(run->program, MODEL_PAGES + RESIDENT_PAGES);

	if (how < LOWER_PAGES)
		return run->model.slots[0].gfn + how;
	return how < MODEL_PAGES ? FIRST_GFN + how : RESIDENT_GFN + how - MODEL_PAGES;
}

static void do_guest(struct run *run, bool write)
{
	gmm_gfn_t gfn = take_gfn(run);
	const struct gmm_slot_config *slot = model_slot_at(&run->model, gfn);
	struct gmm_vcpu *vcpu = program_byte(run->program) & 1 ? run->vcpu : NULL;
	struct fuzz_errors expected = { 0 };
	int answer = model_guest_access(&run->model, vcpu, gfn, write);
	bool injected = model_injected(&run->model);

	if (slot && vcpu)
		dirty_note_in_ring(run, slot, gfn - slot->gfn);
	if (!slot)
		fuzz_expect(&expected, GMM_EFAULT);
	else if (slot->memory == &run->model.memories[MODEL_LAZY] &&
		 run->model.owner == MODEL_OWNER_NONE)
		fuzz_expect(&expected, GMM_EOPNOTSUPP);
	fuzz_check_answer(&expected, answer, injected, write ? "guest write" : "guest read");
	fuzz_check(answer <= 0 || injected, "a vCPU is held and nothing changes");
}

/* Stores of a device into every page of [first, last] bytes of the cache's area. */
static void store(struct run *run, gmm_gpa_t first, gmm_gpa_t last)
{
	gmm_gfn_t gfn;

	for (gfn = first >> 12; gfn <= last >> 12; gfn++) {
		const struct gmm_slot_config *slot = model_slot_at(&run->model, gfn);
		struct model_page *page = model_page_of(slot, gfn);
		uint64_t *at = model_frame(slot->memory, page->frame);

		at[0] = model_new_word(&run->model);
		model_note_write(slot, page, at[0]);
	}
}

static void do_device(struct run *run)
{
	gmm_gpa_t gpa = take_gfn(run) << 12;
	uint32_t how = program_byte(run->program);
	uint64_t length = 1 + (how & 3) * 4096, offset = program_byte(run->program) % 3 * 4095;
	uint64_t written = program_byte(run->program) % 3 * 4095 + 1;
	uint32_t uses = GMM_CACHE_HOST | GMM_CACHE_WRITE;
	struct fuzz_errors expected = { 0 };
	void *pointer = NULL;
	gmm_gfn_t gfn;
	int answer;

	gpa += how & 8 ? 4095 : 0;
	offset = offset < length ? offset : 0;
	written = written <= length - offset ? written : length - offset;
	for (gfn = gpa >> 12; gfn <= (gpa + length - 1) >> 12; gfn++)
		if (!model_slot_at(&run->model, gfn)) {
			fuzz_expect(&expected, GMM_EFAULT);
			break;
		}
	answer = gmm_cache_activate(run->cache, gpa, length, uses);
	fuzz_say("device %llx + %llu, stores %llu + %llu", (unsigned long long)gpa,
		 (unsigned long long)length, (unsigned long long)offset,
		 (unsigned long long)written);
	fuzz_check_answer(&expected, answer, model_injected(&run->model), "device write");
	if (!answer && how & 4) {
		fuzz_check(!gmm_lease_take(run->cache, offset, written, GMM_LEASE_WRITE, &pointer),
			   "no lease of a valid cache");
		store(run, gpa + offset, gpa + offset + written - 1);
		gmm_lease_drop(run->cache, offset, written);
	} else if (!answer) {
		gmm_section_enter(run->model.reader);
		pointer = gmm_cache_pointer(run->cache, offset, written);
		store(run, gpa + offset, gpa + offset + written - 1);
		gmm_cache_mark_dirty(run->cache, offset, written);
		gmm_section_exit(run->model.reader);
	}
	fuzz_check(!answer == !!pointer, "a cache that is made is not valid");
	fuzz_check(!gmm_cache_deactivate(run->cache), "a cache stays active");
}

static void do_mark(struct run *run)
{
	gmm_gfn_t gfn = take_gfn(run);
	uint64_t count = program_byte(run->program), i;

	gmm_dirty_mark(run->model.guest, gfn, count);
	for (i = 0; i < count; i++) {
		const struct gmm_slot_config *slot = model_slot_at(&run->model, gfn + i);

		if (slot)
			model_note_write(slot, model_page_of(slot, gfn + i),
					 model_page_of(slot, gfn + i)->word);
	}
}

static void note_zero(struct run *run, gmm_gfn_t gfn, uint64_t count, int answer)
{
	uint64_t i;

	for (i = 0; i < count; i++) {
		const struct gmm_slot_config *slot = model_slot_at(&run->model, gfn + i);
		struct gmm_page_info info;

		if (!slot || slot->memory == &run->model.memories[MODEL_RESIDENT])
			continue;
		fuzz_check(!gmm_page_query(run->model.guest, gfn + i, &info), "there is a slot");
		/* It is in the log before it is tried. */
		model_page_of(slot, gfn + i)->may_log = true;
		if (info.state == GMM_PAGE_ZERO && (!answer || model_page_of(slot, gfn + i)->word))
			model_note_write(slot, model_page_of(slot, gfn + i), 0);
	}
}

/* What changes pages and not what they hold, or what they hold and says so. */
static void do_pages(struct run *run)
{
	uint32_t how = program_take(run->program, 8);
	gmm_gfn_t gfn = take_gfn(run);
	uint64_t count = 1 + program_byte(run->program) % 90;
	struct gmm_guest *guest = run->model.guest;
	int64_t answer;

	fuzz_say("pages %llu + %llu: %u", (unsigned long long)gfn, (unsigned long long)count, how);
	switch (how) {
	case 0:
	case 1:
		answer = gmm_evict(guest, gfn, count, how ? GMM_EVICT_COLD : 0);
		break;
	case 2:
		answer = gmm_discard(guest, gfn, count);
		note_zero(run, gfn, count, (int)answer);
		break;
	case 3:
		answer = gmm_age(guest, gfn, count, 0, NULL);
		break;
	case 4:
		answer = gmm_resident_trim(guest, count);
		break;
	default:
		answer = gmm_fault_populate(guest, gfn, count,
					    how & 1 ? GMM_ACCESS_READ | GMM_ACCESS_WRITE :
						      GMM_ACCESS_READ,
					    how == 7 ? 0 : GMM_POPULATE_MAP);
		break;
	}
	fuzz_say("  %lld", (long long)answer);
	fuzz_check(answer >= 0 || model_injected(&run->model) || answer == -GMM_ERANGE ||
			   answer == -GMM_EOPNOTSUPP || answer == -GMM_EFAULT,
		   "pages answer %lld", (long long)answer);
}

static void do_flags(struct run *run)
{
	uint32_t id = program_take(run->program, SLOTS);
	uint32_t how = program_take(run->program, 3), i;
	uint32_t flags = how == 2 ? GMM_SLOT_LOG_DIRTY | GMM_SLOT_LOG_ALL_SET :
			 how	  ? GMM_SLOT_LOG_DIRTY :
				    0;
	struct gmm_slot_config *slot = &run->model.slots[id];
	bool before = slot->flags & GMM_SLOT_LOG_DIRTY;
	struct fuzz_errors expected = { 0 };
	int answer;

	answer = gmm_slot_set_flags(run->model.guest, id, flags);
	fuzz_say("slot %u: flags %u", id, flags);
	fuzz_check_answer(&expected, answer, model_injected(&run->model), "flags");
	if (answer)
		return;
	slot->flags = flags;
	for (i = 0; i < slot->count; i++) {
		struct model_page *page = dirty_page(slot, i);

		if (!flags || !before)
			page->must_log = page->may_log = how == 2;
		/* Entries of an earlier log are still in the ring, or were harvested from it. */
		page->may_log |= run->had_ring;
	}
}

static void do_resize(struct run *run)
{
	uint32_t id = program_take(run->program, SLOTS);
	struct gmm_slot_config *slot = &run->model.slots[id];
	uint64_t count = 1 + program_take(run->program, most_pages[id]), i;
	struct fuzz_errors expected = { 0 };
	int answer = gmm_slot_resize(run->model.guest, id, count);

	fuzz_say("slot %u: %llu pages", id, (unsigned long long)count);
	fuzz_check_answer(&expected, answer, model_injected(&run->model), "resize");
	if (answer)
		return;
	if (count < slot->count)
		model_forget_pages(slot, count, slot->count - count);
	for (i = count; i < slot->count; i++) {
		dirty_page(slot, i)->may_log = run->had_ring;
		*dirty_pending(run, slot, i) = false;
	}
	slot->count = count;
}

/* Down a few frames and back. */
static void do_move(struct run *run)
{
	struct gmm_slot_config *slot = &run->model.slots[0];
	gmm_gfn_t gfn = FIRST_GFN - program_take(run->program, 100);
	struct fuzz_errors expected = { 0 };
	int answer = gmm_slot_move(run->model.guest, 0, gfn);

	fuzz_check_answer(&expected, answer, model_injected(&run->model), "move");
	if (!answer)
		slot->gfn = gfn;
}

static void do_guest_read(struct run *run)
{
	do_guest(run, false);
}

static void do_guest_write(struct run *run)
{
	do_guest(run, true);
}

static void step(struct run *run)
{
	static void (*const operations[])(struct run * run) = {
		do_guest_read,	 do_guest_write, do_device, do_mark,	     do_harvest,
		do_peek,	 do_clear,	 do_pages,  do_ring_harvest, do_ring_reset,
		do_ring_push,	 do_flags,	 do_resize, do_move,	     do_vcpu,
		do_ring_outside, do_misuse,
	};
	uint32_t operation = program_byte(run->program);
	uint32_t number = (operation & 0x7f) % (sizeof(operations) / sizeof(*operations));

	fuzz_say("operation %u", number);
	if (operation & 0x80)
		model_inject(&run->model, run->program);
	operations[number](run);
	model_injected(&run->model);
	model_check(&run->model);
}

static void add_slot(struct run *run, uint32_t id, uint32_t memory, gmm_gfn_t gfn, uint32_t page)
{
	run->model.slots[id] =
		model_slot(&run->model, id, memory, gfn, page, most_pages[id], GMM_SLOT_LOG_DIRTY);
	fuzz_check(!gmm_slot_add(run->model.guest, &run->model.slots[id]), "a slot is refused");
}

/* The last harvest of all finds everything that is left. */
static void finish(struct run *run)
{
	uint32_t id;

	if (run->vcpu)
		dirty_vcpu_destroy(run);
	for (id = 0; id < SLOTS; id++) {
		struct dirty_part part = { .slot = &run->model.slots[id] };

		part.count = part.slot->count;
		if (!(part.slot->flags & GMM_SLOT_LOG_DIRTY))
			continue;
		dirty_harvest(run, &part);
	}
	fuzz_check(!gmm_cache_destroy(run->cache), "a cache stays");
	model_fini(&run->model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct program program = { data, data + size };
	static struct run run;
	uint32_t how = program_byte(&program);

	run = (struct run){ .program = &program };
	model_init(&run.model, how % MODEL_OWNERS, how & 0x40 ? MODEL_PRIVATE : 0);
	add_slot(&run, 0, MODEL_LAZY, FIRST_GFN, 0);
	add_slot(&run, 1, MODEL_LAZY, FIRST_GFN + LOWER_PAGES, LOWER_PAGES);
	add_slot(&run, 2, MODEL_RESIDENT, RESIDENT_GFN, 0);
	fuzz_check(!gmm_cache_create(run.model.guest, &run.cache), "no memory for a cache");
	if (program_byte(&program) & 1)
		do_vcpu(&run);
	while (program_more(&program))
		step(&run);
	finish(&run);
	return 0;
}
