/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The second stage: what pages hold, wherever they are, whoever reads them, and whatever failed
 * meanwhile. Lazy memory is in two slots side by side, resident memory behind a hole.
 */
#include <string.h>

#include "model.h"

#define FIRST_GFN 470u /* so that the table's border at 512 is within */
#define LOWER_PAGES 70u
#define RESIDENT_GFN (FIRST_GFN + MODEL_PAGES + 3)
#define RESIDENT_PAGES 8u
#define SPACE (MODEL_PAGES + 3 + RESIDENT_PAGES + 2)

struct run {
	struct model model;
	struct program *program;
	struct gmm_cache *cache;
	struct gmm_range changing; /* end 0: nothing is */
	enum gmm_range_kind changing_kind;
	bool injected;
};

struct frames {
	gmm_gfn_t gfn;
	uint64_t count;
};

static struct frames take_frames(struct run *run)
{
	uint32_t first = program_take(run->program, SPACE);
	uint32_t count = program_byte(run->program);
	struct frames frames = { FIRST_GFN - 1 + first, 1 + (count & 0x80 ? count : count % 8) };

	fuzz_say("  frames %llu + %llu", (unsigned long long)frames.gfn,
		 (unsigned long long)frames.count);
	return frames;
}

static gmm_hva_t hva_of(const struct gmm_slot_config *slot, gmm_gfn_t gfn)
{
	return slot->hva + (gfn - slot->gfn) * MODEL_PAGE_BYTES;
}

static bool is_changing(const struct run *run, gmm_gfn_t gfn, uint64_t count)
{
	uint64_t i;

	if (!run->changing.end || run->changing_kind == GMM_RANGE_GFN)
		return gfn < run->changing.end && run->changing.start < gfn + count;
	for (i = 0; i < count; i++) {
		const struct gmm_slot_config *slot = model_slot_at(&run->model, gfn + i);

		if (slot && hva_of(slot, gfn + i) < run->changing.end &&
		    run->changing.start <= hva_of(slot, gfn + i) + MODEL_PAGE_BYTES - 1)
			return true;
	}
	return false;
}

/* Errors that a change of a range may answer with. */
static struct fuzz_errors range_errors(const struct run *run, struct frames frames, int hole,
				       int resident, int read_only)
{
	struct fuzz_errors expected = { 0 };
	bool any_hole = false, any_resident = false, any_read_only = false;
	uint64_t i;

	for (i = 0; i < frames.count; i++) {
		const struct gmm_slot_config *slot = model_slot_at(&run->model, frames.gfn + i);

		any_hole |= !slot;
		any_resident |= slot && slot->memory == &run->model.memories[MODEL_RESIDENT];
		any_read_only |= slot && (slot->flags & GMM_SLOT_READ_ONLY);
	}
	if (any_hole && hole)
		fuzz_expect(&expected, hole);
	if (any_resident && resident)
		fuzz_expect(&expected, resident);
	if (any_read_only && read_only)
		fuzz_expect(&expected, read_only);
	return expected;
}

/* A change of this thread's own is open: what would wait for it is refused. */
static void check_answer(struct run *run, struct fuzz_errors *expected, int64_t answer,
			 const char *what)
{
	run->injected = model_injected(&run->model);
	if (run->changing.end && (answer == -GMM_EDEADLK || !expected->count))
		fuzz_check(answer >= 0 || answer == -GMM_EDEADLK || run->injected,
			   "%s answered %lld", what, (long long)answer);
	else
		fuzz_check_answer(expected, answer, run->injected, what);
}

static void count_pages(const struct run *run, struct frames frames, struct gmm_page_survey *survey)
{
	fuzz_check(!gmm_page_take_survey(run->model.guest, frames.gfn, frames.count, survey),
		   "a survey fails");
}

static uint64_t lazy_present(const struct run *run, struct frames frames, bool cold)
{
	struct gmm_page_info info;
	uint64_t count = 0, i;

	for (i = 0; i < frames.count; i++)
		if (!gmm_page_query(run->model.guest, frames.gfn + i, &info) &&
		    frames.gfn + i < RESIDENT_GFN && info.state == GMM_PAGE_PRESENT)
			count += !cold || !info.young;
	return count;
}

static bool any_taken(const struct run *run, struct frames frames)
{
	uint64_t i;

	for (i = 0; i < frames.count; i++) {
		const struct gmm_slot_config *slot = model_slot_at(&run->model, frames.gfn + i);

		if (slot && model_page_of(slot, frames.gfn + i)->taken)
			return true;
	}
	return false;
}

static void do_guest(struct run *run, bool write)
{
	gmm_gfn_t gfn = FIRST_GFN - 1 + program_take(run->program, SPACE);
	const struct gmm_slot_config *slot = model_slot_at(&run->model, gfn);
	struct fuzz_errors expected = { 0 };
	int answer = model_guest_access(&run->model, NULL, gfn, write);
	bool injected = model_injected(&run->model);
	bool held = (is_changing(run, gfn, 1) || injected) && answer == GMM_FAULT_HELD;

	if (!slot)
		fuzz_expect(&expected, GMM_EFAULT);
	else if (write && (slot->flags & GMM_SLOT_READ_ONLY))
		fuzz_expect(&expected, GMM_EROFS);
	fuzz_check_answer(&expected, held && expected.count ? -expected.errors[0] : answer,
			  injected, write ? "guest write" : "guest read");
	fuzz_check(answer <= 0 || held, "a vCPU is held and nothing changes");
}

static void do_guest_read(struct run *run)
{
	do_guest(run, false);
}

static void do_guest_write(struct run *run)
{
	do_guest(run, true);
}

/* A device's access: who touches a page that is gone is served as a thread of the host is. */
static void do_device(struct run *run, bool write)
{
	gmm_gfn_t gfn = FIRST_GFN - 1 + program_take(run->program, SPACE);
	const struct gmm_slot_config *slot = model_slot_at(&run->model, gfn);
	struct model_page *page = slot ? model_page_of(slot, gfn) : NULL;
	uint32_t uses = GMM_CACHE_HOST | (write ? GMM_CACHE_WRITE : 0);
	struct fuzz_errors expected = { 0 };
	bool injected;
	uint64_t *at;
	int answer;

	if (page && page->taken) {
		answer = gmm_repair_touched(run->model.guest, hva_of(slot, gfn));
		injected = model_injected(&run->model);
		fuzz_say("  touched: %d", answer);
		if (answer && (injected || run->changing.end))
			return;
		fuzz_check(!answer, "a touched page is not repaired: %d", answer);
	}
	answer = gmm_cache_activate(run->cache, (gfn << 12) + 8, MODEL_PAGE_BYTES - 8, uses);
	if (!slot)
		fuzz_expect(&expected, GMM_EFAULT);
	if (is_changing(run, gfn, 1))
		fuzz_expect(&expected, GMM_EDEADLK);
	injected = model_injected(&run->model);
	fuzz_check_answer(&expected, answer, injected, write ? "device write" : "device read");
	gmm_section_enter(run->model.reader);
	at = gmm_cache_pointer(run->cache, MODEL_PAGE_BYTES - 16, 8);
	fuzz_check((at != NULL) == !answer,
		   "a cache that could not be made is valid, or the other");
	if (at && write && !(slot->flags & GMM_SLOT_READ_ONLY)) {
		fuzz_check(gmm_cache_writable(run->cache), "a device may not write");
		/* The page's first word is the one that counts; the last one shows whole pages. */
		*model_frame(slot->memory, page->frame) = model_new_word(&run->model);
		*at = *model_frame(slot->memory, page->frame);
		gmm_cache_mark_dirty(run->cache, MODEL_PAGE_BYTES - 16, 8);
		model_note_write(slot, page, *at);
	} else if (at) {
		fuzz_check(!write || !gmm_cache_writable(run->cache), "a device may write");
		fuzz_check(at == model_frame(slot->memory, page->frame) + 511,
			   "a device has the wrong page");
	}
	gmm_section_exit(run->model.reader);
	fuzz_check(!gmm_cache_deactivate(run->cache), "a cache stays active");
}

static void do_device_read(struct run *run)
{
	do_device(run, false);
}

static void do_device_write(struct run *run)
{
	do_device(run, true);
}

static void do_populate(struct run *run)
{
	uint32_t how = program_byte(run->program);
	struct frames frames = take_frames(run);
	uint32_t access = GMM_ACCESS_READ | (how & 1 ? GMM_ACCESS_WRITE : 0);
	struct fuzz_errors expected =
		range_errors(run, frames, GMM_EFAULT, 0, how & 1 ? GMM_EROFS : 0);
	struct gmm_page_survey survey;
	int answer = gmm_fault_populate(run->model.guest, frames.gfn, frames.count, access,
					how & 2 ? GMM_POPULATE_MAP : 0);

	check_answer(run, &expected, answer, "populate");
	if (answer)
		return;
	count_pages(run, frames, &survey);
	fuzz_check(survey.present == frames.count, "a populate leaves pages absent");
	/* A prefetch leaves pages that somebody has taken away to the faults on them. */
	fuzz_check(!(how & 2) || any_taken(run, frames) ||
			   run->model.owner != MODEL_OWNER_PROTECTS || run->changing.end ||
			   run->injected || frames.gfn + frames.count > RESIDENT_GFN ||
			   survey.mapped == frames.count,
		   "a populate leaves pages unmapped");
}

static void do_evict(struct run *run)
{
	uint32_t flags = program_byte(run->program) & 1 ? GMM_EVICT_COLD : 0;
	struct frames frames = take_frames(run);
	struct fuzz_errors expected = range_errors(run, frames, GMM_ERANGE, GMM_EOPNOTSUPP, 0);
	uint64_t before = lazy_present(run, frames, flags);
	int64_t answer = gmm_evict(run->model.guest, frames.gfn, frames.count, flags);

	check_answer(run, &expected, answer, "evict");
	if (answer < 0)
		return;
	/* What somebody took away counts in one way or the other. */
	fuzz_check((uint64_t)answer == before, "%lld of %llu pages are evicted", (long long)answer,
		   (unsigned long long)before);
	fuzz_check(!lazy_present(run, frames, flags), "pages are left by an eviction");
}

static void do_discard(struct run *run)
{
	struct frames frames = take_frames(run);
	struct fuzz_errors expected = range_errors(run, frames, GMM_ERANGE, GMM_EOPNOTSUPP, 0);
	int answer = gmm_discard(run->model.guest, frames.gfn, frames.count);
	uint64_t i;

	check_answer(run, &expected, answer, "discard");
	for (i = 0; i < frames.count; i++) {
		const struct gmm_slot_config *slot = model_slot_at(&run->model, frames.gfn + i);
		struct gmm_page_info info;

		if (!slot || slot->memory == &run->model.memories[MODEL_RESIDENT])
			continue;
		fuzz_check(!gmm_page_query(run->model.guest, frames.gfn + i, &info),
			   "there is a slot");
		fuzz_check(answer || info.state == GMM_PAGE_ZERO, "a page is left by a discard");
		if (info.state == GMM_PAGE_ZERO)
			model_note_write(slot, model_page_of(slot, frames.gfn + i), 0);
	}
}

static void do_age(struct run *run)
{
	uint32_t flags = program_byte(run->program) & 1 ? GMM_AGE_TEST_ONLY : 0;
	struct frames frames = take_frames(run);
	struct fuzz_errors expected = { 0 };
	uint64_t bitmap[8], wanted[8] = { 0 };
	struct gmm_page_info info;
	uint64_t before = 0, i;
	int64_t answer;

	for (i = 0; i < frames.count; i++)
		if (!gmm_page_query(run->model.guest, frames.gfn + i, &info) && info.young) {
			wanted[i / 64] |= (uint64_t)1 << (i % 64);
			before++;
		}
	memset(bitmap, 0xff, sizeof(bitmap));
	answer = gmm_age(run->model.guest, frames.gfn, frames.count, flags, bitmap);
	check_answer(run, &expected, answer, "age");
	if (answer < 0)
		return;
	fuzz_check((uint64_t)answer == before, "%lld of %llu pages are young", (long long)answer,
		   (unsigned long long)before);
	fuzz_check(!memcmp(bitmap, wanted, (frames.count + 63) / 64 * 8), "other pages are young");
	for (i = 0; i < frames.count && !flags; i++)
		fuzz_check(gmm_page_query(run->model.guest, frames.gfn + i, &info) || !info.young,
			   "a page stays young");
}

static void do_trim(struct run *run)
{
	uint64_t before = gmm_resident_pages(run->model.guest);
	uint64_t target = program_take(run->program, MODEL_PAGES);
	struct fuzz_errors expected = { 0 };
	int64_t answer = gmm_resident_trim(run->model.guest, target);

	check_answer(run, &expected, answer, "trim");
	fuzz_check(answer < 0 || run->changing.end ||
			   (uint64_t)answer == (before > target ? before - target : 0),
		   "a trim of %llu pages to %llu takes %lld", (unsigned long long)before,
		   (unsigned long long)target, (long long)answer);
}

static void do_read(struct run *run)
{
	static uint64_t buffer[MODEL_PAGE_BYTES / 8];
	gmm_gfn_t gfn = FIRST_GFN - 1 + program_take(run->program, SPACE);
	const struct gmm_slot_config *slot = model_slot_at(&run->model, gfn);
	struct fuzz_errors expected = { 0 };
	int answer = gmm_page_read(run->model.guest, gfn, buffer);

	if (!slot)
		fuzz_expect(&expected, GMM_EFAULT);
	check_answer(run, &expected, answer, "read");
	fuzz_check(answer || buffer[0] == model_page_of(slot, gfn)->word,
		   "a page reads as %llx, not %llx", (unsigned long long)buffer[0],
		   (unsigned long long)model_page_of(slot, gfn)->word);
}

/* The host takes a page away, or only drops the vCPUs' mapping of it. */
static void do_take(struct run *run)
{
	struct model_memory *memory = &run->model.memories[MODEL_LAZY];
	uint32_t how = program_byte(run->program), number = how % MODEL_PAGES;

	fuzz_say("  page %u is taken away", number);
	if (how < 2 * MODEL_PAGES) {
		model_take_page(memory, number);
		return;
	}
	memory->pages[number].accessible = false;
	memory->pages[number].writable = false;
}

/* A fault that another one has been served for, or a touch of a page that is there. */
static void do_again(struct run *run)
{
	gmm_gfn_t gfn = FIRST_GFN - 1 + program_take(run->program, SPACE);
	const struct gmm_slot_config *slot = model_slot_at(&run->model, gfn);
	uint32_t how = program_byte(run->program);
	struct fuzz_errors expected = { 0 };
	bool touched = how & 2, injected;
	int answer;

	if (!slot)
		fuzz_expect(&expected, GMM_EFAULT);
	else if (touched && slot->memory == &run->model.memories[MODEL_RESIDENT])
		fuzz_expect(&expected, GMM_EOPNOTSUPP);
	else if (!touched && (how & 1) && (slot->flags & GMM_SLOT_READ_ONLY))
		fuzz_expect(&expected, GMM_EROFS);
	if (touched)
		answer = gmm_repair_touched(run->model.guest, slot ? hva_of(slot, gfn) : 0);
	else
		answer = gmm_fault_serve(run->model.guest, gfn,
					 GMM_ACCESS_READ | (how & 1 ? GMM_ACCESS_WRITE : 0));
	injected = model_injected(&run->model);
	if (answer == GMM_FAULT_HELD) {
		fuzz_check(injected || is_changing(run, gfn, 1), "held, and nothing changes");
		return;
	}
	fuzz_check_answer(&expected, answer, injected, touched ? "touch" : "fault");
}

static void do_repair(struct run *run)
{
	struct frames frames = take_frames(run);
	struct gmm_repair_result result = { 0 };
	struct fuzz_errors expected = { 0 };
	uint64_t gone = 0, i, lost = run->model.lost;
	int answer;

	for (i = 0; i < frames.count; i++) {
		const struct gmm_slot_config *slot = model_slot_at(&run->model, frames.gfn + i);

		gone += slot && model_page_of(slot, frames.gfn + i)->taken;
	}
	answer = gmm_repair(run->model.guest, frames.gfn, frames.count, &result);
	check_answer(run, &expected, answer, "repair");
	fuzz_check(answer || result.repaired + result.lost == gone, "pages are left by a repair");
	fuzz_check(result.lost == run->model.lost - lost, "a loss is not told");
}

static void do_flags(struct run *run)
{
	static const uint32_t flags[] = { 0, GMM_SLOT_LOG_DIRTY, GMM_SLOT_READ_ONLY,
					  GMM_SLOT_LOG_DIRTY | GMM_SLOT_LOG_ALL_SET };
	uint32_t id = program_take(run->program, 2);
	uint32_t now = flags[program_take(run->program, 4)];
	struct fuzz_errors expected = { 0 };
	int answer = gmm_slot_set_flags(run->model.guest, id, now);

	check_answer(run, &expected, answer, "flags");
	if (!answer)
		run->model.slots[id].flags = now;
}

/* By frames, or by the addresses of a slot's frames and what lies behind them. */
static bool take_change(struct run *run, struct frames frames, bool by_hva)
{
	const struct gmm_slot_config *slot = model_slot_at(&run->model, frames.gfn);

	run->changing_kind = by_hva ? GMM_RANGE_HVA : GMM_RANGE_GFN;
	run->changing = (struct gmm_range){ frames.gfn, frames.gfn + frames.count };
	if (by_hva && slot)
		run->changing = (struct gmm_range){ hva_of(slot, frames.gfn),
						    hva_of(slot, frames.gfn + frames.count) - 8 };
	return slot || !by_hva;
}

/* The frames of the pages are others afterwards, those of resident ones only. */
static void do_change(struct run *run)
{
	struct frames frames = take_frames(run);
	uint32_t how = program_byte(run->program);
	uint32_t flags = how & 1 ? GMM_INVALIDATE_NONBLOCKING : 0, i;

	if (run->changing.end) {
		fuzz_say("  end");
		gmm_invalidate_end(run->model.guest, run->changing_kind, &run->changing, 1);
		run->changing.end = 0;
		return;
	}
	if (!take_change(run, frames, how & 2)) {
		run->changing.end = 0;
		return;
	}
	fuzz_check(!gmm_invalidate_begin(run->model.guest, run->changing_kind, &run->changing, 1,
					 flags, NULL),
		   "a change cannot begin");
	for (i = 0; i < RESIDENT_PAGES; i++)
		if (is_changing(run, RESIDENT_GFN + i, 1))
			model_move_page(&run->model.memories[MODEL_RESIDENT], i);
}

/* Refused before anything is done: unknown flags, no frames, frames that there are not. */
static void do_misuse(struct run *run)
{
	static uint64_t buffer[MODEL_PAGE_BYTES / 8];
	struct gmm_guest *guest = run->model.guest;
	gmm_gfn_t end = (uint64_t)1 << (23 - 12), gfn = FIRST_GFN;
	struct gmm_page_survey survey;

	fuzz_check(gmm_evict(guest, gfn, 1, 2) == -GMM_EINVAL &&
			   gmm_evict(guest, gfn, 0, 0) == -GMM_EINVAL &&
			   gmm_evict(guest, end - 1, 2, 0) == -GMM_ERANGE &&
			   gmm_discard(guest, end, 1) == -GMM_ERANGE &&
			   gmm_discard(guest, gfn, 0) == -GMM_EINVAL,
		   "pages go though they must not");
	fuzz_check(gmm_age(guest, gfn, 1, 2, NULL) == -GMM_EINVAL &&
			   gmm_age(guest, gfn, 0, 0, NULL) == -GMM_EINVAL &&
			   gmm_age(guest, gfn, ~(uint64_t)0, 0, NULL) == -GMM_ERANGE &&
			   gmm_repair(guest, gfn, 0, NULL) == -GMM_EINVAL &&
			   gmm_page_take_survey(guest, gfn, 0, &survey) == -GMM_EINVAL,
		   "no page, or one that there is not, is looked at");
	fuzz_check(gmm_fault_populate(guest, gfn, 1, GMM_ACCESS_READ, 2) == -GMM_EINVAL &&
			   !gmm_fault_populate(guest, gfn, 0, GMM_ACCESS_READ, 0) &&
			   gmm_fault_populate(guest, end, 1, GMM_ACCESS_READ, 0) == -GMM_EFAULT &&
			   gmm_repair_touched(guest, 8) == -GMM_EFAULT,
		   "what there is not becomes resident");
	gmm_section_enter(run->model.reader);
	fuzz_check(gmm_evict(guest, gfn, 1, 0) == -GMM_EDEADLK &&
			   gmm_discard(guest, gfn, 1) == -GMM_EDEADLK &&
			   gmm_age(guest, gfn, 1, 0, NULL) == -GMM_EDEADLK &&
			   gmm_resident_trim(guest, 0) == -GMM_EDEADLK &&
			   gmm_repair(guest, gfn, 1, NULL) == -GMM_EDEADLK &&
			   gmm_page_read(guest, gfn, buffer) == -GMM_EDEADLK &&
			   gmm_fault_populate(guest, gfn, 1, GMM_ACCESS_READ, 0) == -GMM_EDEADLK,
		   "something may wait in a section");
	gmm_section_exit(run->model.reader);
}

static void add_slot(struct run *run, uint32_t id, uint32_t memory, gmm_gfn_t gfn, uint32_t page,
		     uint32_t count, uint32_t flags)
{
	run->model.slots[id] = model_slot(&run->model, id, memory, gfn, page, count, flags);
	fuzz_check(!gmm_slot_add(run->model.guest, &run->model.slots[id]), "a slot is refused");
}

static void step(struct run *run)
{
	static void (*const operations[])(struct run * run) = {
		do_guest_read, do_guest_write, do_device_read, do_device_write,
		do_populate,   do_evict,       do_discard,     do_age,
		do_trim,       do_read,	       do_take,	       do_repair,
		do_flags,      do_change,      do_misuse,      do_again,
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct program program = { data, data + size };
	static struct run run;
	uint32_t how = program_byte(&program);

	run = (struct run){ .program = &program };
	model_init(&run.model, how % MODEL_OWNER_NONE, how & 0x40 ? MODEL_PRIVATE : 0);
	add_slot(&run, 0, MODEL_LAZY, FIRST_GFN, 0, LOWER_PAGES, 0);
	add_slot(&run, 1, MODEL_LAZY, FIRST_GFN + LOWER_PAGES, LOWER_PAGES,
		 MODEL_PAGES - LOWER_PAGES, 0);
	add_slot(&run, 2, MODEL_RESIDENT, RESIDENT_GFN, 0, RESIDENT_PAGES, 0);
	fuzz_check(!gmm_cache_create(run.model.guest, &run.cache), "no memory for a cache");
	model_check(&run.model);
	while (program_more(&program))
		step(&run);
	if (run.changing.end)
		gmm_invalidate_end(run.model.guest, run.changing_kind, &run.changing, 1);
	fuzz_check(!gmm_cache_destroy(run.cache), "a cache stays");
	model_fini(&run.model);
	return 0;
}
