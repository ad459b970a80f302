/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Caches and leases over slots that change: a cache that says it is valid has the pointer, the
 * frames and the rights that there are now; what an operation does not touch stays valid; what
 * cannot be is refused for the right reason and changes nothing.
 */
#include <string.h>

#include "model.h"

#define CACHES 6u
#define FIRST_GFN 500u
#define SPACE 230u /* frames from there on that slots are in, with holes */

struct reference {
	struct run *run;
	struct gmm_cache *cache;
	bool active;
	enum gmm_range_kind kind;
	uint64_t target;
	uint64_t length;
	uint32_t uses;
	uint32_t leases;
	bool valid;
	bool touched; /* by the operation under way: may become invalid */
};

struct run {
	struct model model;
	struct program *program;
	struct reference caches[CACHES];
	struct gmm_range changing; /* end 0: nothing is */
	enum gmm_range_kind changing_kind;
};

/* What a target is, by the reference. */
struct truth {
	struct fuzz_errors errors;
	struct model_memory *memory;
	uint32_t page;
	uint32_t count;
	bool writable;
	bool resident;
};

/* The slots as they are at the start, side by side or with holes. */
static struct gmm_slot_config first_slot(struct run *run, uint32_t id)
{
	static const struct {
		uint32_t memory, gfn, page, count, flags;
	} slots[MODEL_SLOTS] = {
		{ MODEL_LAZY, 0, 0, 40, 0 },
		{ MODEL_LAZY, 40, 40, 30, GMM_SLOT_LOG_DIRTY },
		{ MODEL_LAZY, 70, 70, 26, GMM_SLOT_READ_ONLY },
		{ MODEL_RESIDENT, 100, 0, 30, 0 },
		{ MODEL_RESIDENT, 130, 30, 30, 0 },
		{ MODEL_RESIDENT, 162, 60, 36, GMM_SLOT_READ_ONLY },
	};

	return model_slot(&run->model, id, slots[id].memory, FIRST_GFN + slots[id].gfn,
			  slots[id].page, slots[id].count, slots[id].flags);
}

static const struct gmm_slot_config *slot_at_hva(const struct run *run, gmm_hva_t hva)
{
	uint32_t i;

	for (i = 0; i < MODEL_SLOTS; i++) {
		const struct gmm_slot_config *slot = &run->model.slots[i];

		if (hva >= slot->hva && hva - slot->hva < slot->count << 12)
			return slot;
	}
	return NULL;
}

/* The slot of a page of the target, and which frame it is. */
static const struct gmm_slot_config *slot_of(const struct run *run, const struct reference *cache,
					     uint32_t page, gmm_gfn_t *gfn)
{
	uint64_t at = (cache->target & ~(uint64_t)4095) + ((uint64_t)page << 12);
	const struct gmm_slot_config *slot;

	*gfn = at >> 12;
	if (cache->kind == GMM_RANGE_GFN)
		return model_slot_at(&run->model, *gfn);
	slot = slot_at_hva(run, at);
	if (slot)
		*gfn = slot->gfn + ((at - slot->hva) >> 12);
	return slot;
}

static uint32_t pages_of(const struct reference *cache)
{
	return (uint32_t)(((cache->target + cache->length - 1) >> 12) - (cache->target >> 12) + 1);
}

static void find_truth(const struct run *run, const struct reference *cache, struct truth *truth)
{
	const struct gmm_slot_config *first = NULL, *slot;
	bool hole = false, split = false;
	uint32_t i;
	gmm_gfn_t gfn;

	*truth = (struct truth){ .count = pages_of(cache), .resident = true };
	for (i = 0; i < truth->count; i++) {
		struct model_page *page;

		slot = slot_of(run, cache, i, &gfn);
		hole |= !slot;
		split |= first && slot && slot != first && cache->kind == GMM_RANGE_HVA;
		if (!slot)
			continue;
		page = model_page_of(slot, gfn);
		if (!first) {
			first = slot;
			truth->memory = slot->memory;
			truth->page = (uint32_t)(page - truth->memory->pages);
			truth->writable = !(slot->flags & GMM_SLOT_READ_ONLY);
		}
		truth->resident &= page->resident;
		split |= slot->memory != truth->memory ||
			 page - truth->memory->pages != (ptrdiff_t)(truth->page + i) ||
			 truth->writable != !(slot->flags & GMM_SLOT_READ_ONLY);
		if ((cache->uses & GMM_CACHE_HOST) && i &&
		    page->frame != truth->memory->pages[truth->page].frame + i)
			split = true;
	}
	if (hole && (cache->kind == GMM_RANGE_GFN || !first))
		fuzz_expect(&truth->errors, GMM_EFAULT);
	if (split || (hole && cache->kind == GMM_RANGE_HVA))
		fuzz_expect(&truth->errors, GMM_EXDEV);
	truth->writable &= (cache->uses & GMM_CACHE_WRITE) != 0;
}

/* Whether a cache would be over [gfn, gfn + count), by the slots there are now. */
static bool is_over(const struct run *run, const struct reference *cache, gmm_gfn_t gfn,
		    uint64_t count)
{
	uint32_t i;
	gmm_gfn_t at;

	for (i = 0; i < pages_of(cache); i++) {
		const struct gmm_slot_config *slot = slot_of(run, cache, i, &at);

		if ((slot || cache->kind == GMM_RANGE_GFN) && at >= gfn && at - gfn < count)
			return true;
	}
	return false;
}

static bool is_changing(const struct run *run, const struct reference *cache)
{
	const struct gmm_range *range = &run->changing;
	uint32_t i;

	if (!range->end)
		return false;
	if (run->changing_kind == GMM_RANGE_GFN)
		return is_over(run, cache, range->start, range->end - range->start);
	for (i = 0; i < pages_of(cache); i++) {
		gmm_gfn_t gfn;
		const struct gmm_slot_config *slot = slot_of(run, cache, i, &gfn);
		gmm_hva_t hva = slot ? slot->hva + ((gfn - slot->gfn) << 12) : 0;

		if (cache->kind == GMM_RANGE_HVA)
			hva = (cache->target & ~(uint64_t)4095) + ((uint64_t)i << 12);
		if (hva && hva < range->end && range->start <= hva + 4095)
			return true;
	}
	return false;
}

static void touch(struct run *run, gmm_gfn_t gfn, uint64_t count)
{
	uint32_t i;

	for (i = 0; i < CACHES; i++)
		if (run->caches[i].active)
			run->caches[i].touched |= is_over(run, &run->caches[i], gfn, count);
}

/* What must hold of a cache between operations. */

static void check_valid(const struct reference *cache, const struct truth *truth)
{
	struct gmm_cache *it = cache->cache;
	struct model_page *page = &truth->memory->pages[truth->page];
	uint8_t *start = (uint8_t *)model_frame(truth->memory, page->frame) + cache->target % 4096;
	uint32_t i;

	fuzz_check(!truth->errors.count, "a cache of what is no area is valid");
	fuzz_check(truth->resident, "a cache of pages that are not there is valid");
	for (i = 0; i < truth->count; i++)
		fuzz_check(gmm_cache_pfn(it, i) == page[i].frame, "page %u has another frame", i);
	fuzz_check(gmm_cache_pfn(it, i) == GMM_PFN_NONE, "there is a frame behind the area");
	fuzz_check(gmm_cache_writable(it) == truth->writable, "a cache has other rights");
	if (!(cache->uses & GMM_CACHE_HOST)) {
		fuzz_check(!gmm_cache_pointer(it, 0, 1), "a cache for the guest has a pointer");
		return;
	}
	fuzz_check(gmm_cache_pointer(it, 0, cache->length) == start, "a cache points elsewhere");
	fuzz_check(gmm_cache_pointer(it, cache->length - 1, 1) == start + cache->length - 1,
		   "the last byte is elsewhere");
	for (i = 0; i < truth->count; i++)
		fuzz_check(*model_frame(truth->memory, page[i].frame) == page[i].word,
			   "a page holds something else");
	fuzz_check(!gmm_cache_pointer(it, 0, cache->length + 1) &&
			   !gmm_cache_pointer(it, cache->length, 1) &&
			   !gmm_cache_pointer(it, 1, ~(uint64_t)0) &&
			   !gmm_cache_pointer(it, ~(uint64_t)0, 2),
		   "a pointer leads out of the area");
}

static uint32_t check_cache(struct run *run, struct reference *cache)
{
	struct truth truth;
	bool valid;

	if (!cache->cache)
		return 0;
	gmm_section_enter(run->model.reader);
	valid = gmm_cache_pfn(cache->cache, 0) != GMM_PFN_NONE;
	fuzz_check(cache->active || !valid, "a cache without a target is valid");
	fuzz_check(valid || !gmm_cache_pointer(cache->cache, 0, 0), "a pointer, but no frame");
	fuzz_check(gmm_lease_count(cache->cache) == cache->leases, "leases are counted wrongly");
	fuzz_check(valid || !cache->valid || cache->touched, "a cache is disturbed");
	if (valid) {
		find_truth(run, cache, &truth);
		check_valid(cache, &truth);
		fuzz_check(!is_changing(run, cache), "a cache of what changes is valid");
	}
	cache->valid = valid;
	cache->touched = false;
	gmm_section_exit(run->model.reader);
	return cache->active && (cache->uses & GMM_CACHE_HOST) ? pages_of(cache) : 0;
}

static void check_all(struct run *run)
{
	int64_t most = 0, mapped = 0;
	uint32_t i, memory;

	for (i = 0; i < CACHES; i++)
		most += check_cache(run, &run->caches[i]);
	for (memory = 0; memory < MODEL_MEMORIES; memory++)
		for (i = 0; i < MODEL_FRAMES; i++)
			mapped += run->model.memories[memory].mappings[i];
	fuzz_check(mapped <= most, "%lld pages are mapped, caches have %lld", (long long)mapped,
		   (long long)most);
	model_check(&run->model);
}

/* Operations */

static struct reference *take_cache(struct run *run)
{
	return &run->caches[program_take(run->program, CACHES)];
}

static void ask(void *opaque, struct gmm_cache *it)
{
	struct reference *cache = opaque;

	fuzz_say("  asked for %u leases", cache->leases);
	for (; cache->leases; cache->leases--)
		gmm_lease_drop(it, 0, 0);
}

static void do_create(struct run *run)
{
	struct reference *cache = take_cache(run);
	struct fuzz_errors expected = { 0 };
	int answer;

	if (cache->cache) {
		if (cache->leases)
			fuzz_expect(&expected, GMM_EBUSY);
		answer = gmm_cache_destroy(cache->cache);
		fuzz_check_answer(&expected, answer, false, "destroy");
		if (!answer)
			*cache = (struct reference){ .run = run };
		return;
	}
	answer = gmm_cache_create(run->model.guest, &cache->cache);
	fuzz_check_answer(&expected, answer, model_injected(&run->model), "create");
	if (!answer)
		fuzz_check(!gmm_lease_set_ask(cache->cache, ask, cache), "nobody can be asked");
	else
		cache->cache = NULL;
}

static void take_target(struct run *run, struct reference *target)
{
	uint32_t frame = program_take(run->program, SPACE);
	uint32_t how = program_byte(run->program);
	uint32_t within = how & 1 ? 0 : how & 2 ? 4095 : 8;
	static const uint64_t lengths[] = { 1, 4096, 4097, 8191, 40000, 0, 513ull << 12, 8 };

	target->length = lengths[(how >> 2) % 8];
	target->uses = (how >> 5) + 1 > 7 ? 0 : (how >> 5) + 1;
	if (target->kind == GMM_RANGE_GFN)
		target->target = ((FIRST_GFN - 2 + (uint64_t)frame) << 12) + within;
	else
		target->target = model_hva(&run->model.memories[frame & 1], frame / 2) + within;
	if (frame == SPACE - 1)
		target->target = (target->kind == GMM_RANGE_GFN ? 1ull << 23 : 0) - 8;
}

/* Errors of a refresh, and whether one is expected. */
static void expect_refresh(const struct run *run, const struct reference *cache,
			   struct fuzz_errors *expected)
{
	struct truth truth;
	uint32_t i;

	find_truth(run, cache, &truth);
	if (is_changing(run, cache))
		fuzz_expect(expected, GMM_EDEADLK);
	for (i = 0; i < truth.errors.count; i++)
		fuzz_expect(expected, truth.errors.errors[i]);
}

static bool expect_target(const struct reference *cache, const struct reference *target,
			  struct fuzz_errors *expected)
{
	uint64_t last = target->target + target->length - 1;

	if (!target->length || !(target->uses & (GMM_CACHE_HOST | GMM_CACHE_GUEST)))
		fuzz_expect(expected, GMM_EINVAL);
	else if (last < target->target ||
		 (target->kind == GMM_RANGE_GFN && last >= (uint64_t)1 << 23))
		fuzz_expect(expected, GMM_ERANGE);
	else if (pages_of(target) > GMM_CACHE_PAGES_MAX)
		fuzz_expect(expected, GMM_EINVAL);
	if (cache->leases)
		fuzz_expect(expected, GMM_EBUSY);
	return !expected->count;
}

static void do_activate(struct run *run, enum gmm_range_kind kind)
{
	struct reference *cache = take_cache(run), target = { .kind = kind };
	struct fuzz_errors expected = { 0 };
	bool good;
	int answer;

	take_target(run, &target);
	if (!cache->cache)
		return;
	good = expect_target(cache, &target, &expected);
	if (good || (expected.errors[0] == GMM_EBUSY))
		expect_refresh(run, &target, &expected);
	answer = (kind == GMM_RANGE_GFN ? gmm_cache_activate : gmm_cache_activate_hva)(
		cache->cache, target.target, target.length, target.uses);
	fuzz_say("activate %llx + %llu, uses %u", (unsigned long long)target.target,
		 (unsigned long long)target.length, target.uses);
	fuzz_check_answer(&expected, answer, model_injected(&run->model), "activate");
	if (!good || answer == -GMM_EDEADLK)
		return;
	cache->active = true;
	cache->kind = kind;
	cache->target = target.target;
	cache->length = target.length;
	cache->uses = target.uses;
	/* From a success on it is valid until somebody touches it. */
	cache->valid = !answer;
	cache->touched = answer;
}

static void do_refresh(struct run *run)
{
	struct reference *cache = take_cache(run);
	struct fuzz_errors expected = { 0 };
	int answer;

	if (!cache->cache)
		return;
	if (!cache->active)
		fuzz_expect(&expected, GMM_EINVAL);
	else
		expect_refresh(run, cache, &expected);
	answer = gmm_cache_refresh(cache->cache);
	/* It would wait for a lease on frames that went. */
	if (answer == -GMM_EDEADLK && cache->leases && run->changing.end)
		return;
	fuzz_check_answer(&expected, answer, model_injected(&run->model), "refresh");
	fuzz_check(!answer || !cache->valid, "the refresh of a valid cache fails");
	if (!answer)
		cache->valid = true;
}

static void do_drop(struct run *run, bool all)
{
	struct reference *cache = take_cache(run);
	struct fuzz_errors expected = { 0 };
	int answer;

	if (!cache->cache)
		return;
	if (cache->leases)
		fuzz_expect(&expected, GMM_EBUSY);
	if (!all && !cache->active)
		fuzz_expect(&expected, GMM_EINVAL);
	answer = (all ? gmm_cache_deactivate : gmm_cache_drop)(cache->cache);
	fuzz_check_answer(&expected, answer, false, all ? "deactivate" : "drop");
	if (answer)
		return;
	cache->valid = false;
	cache->active &= !all;
	gmm_section_enter(run->model.reader);
	fuzz_check(!gmm_cache_pointer(cache->cache, 0, 0), "a pointer stays");
	gmm_section_exit(run->model.reader);
}

static void do_write(struct run *run)
{
	struct reference *cache = take_cache(run);
	uint64_t offset = program_byte(run->program) * 2048;
	struct truth truth;
	struct model_page *page;

	if (!cache->cache || !cache->active)
		return;
	gmm_section_enter(run->model.reader);
	if (gmm_cache_pointer(cache->cache, offset, 1) && gmm_cache_writable(cache->cache)) {
		const struct gmm_slot_config *slot;
		uint32_t number = (uint32_t)((cache->target % 4096 + offset) >> 12);
		gmm_gfn_t gfn;

		find_truth(run, cache, &truth);
		slot = slot_of(run, cache, number, &gfn);
		page = &truth.memory->pages[truth.page + number];
		*model_frame(truth.memory, page->frame) = model_new_word(&run->model);
		gmm_cache_mark_dirty(cache->cache, offset, 1);
		model_note_write(slot, page, *model_frame(truth.memory, page->frame));
	}
	gmm_section_exit(run->model.reader);
}

static void do_lease(struct run *run)
{
	struct reference *cache = take_cache(run);
	uint32_t how = program_byte(run->program);
	uint64_t offset = (how >> 4) * 1024, length = how & 4 ? 1 : 4096;
	struct fuzz_errors expected = { 0 };
	struct truth truth;
	uint8_t *pointer = NULL;
	void *found = NULL;
	int answer;

	if (!cache->cache || cache->leases == 3)
		return;
	if (!cache->active || (how & 8) || !(cache->uses & GMM_CACHE_HOST))
		fuzz_expect(&expected, GMM_EINVAL);
	if (cache->active && (offset > cache->length || length > cache->length - offset))
		fuzz_expect(&expected, GMM_ERANGE);
	if (cache->active) {
		find_truth(run, cache, &truth);
		if ((how & 1) && !truth.writable)
			fuzz_expect(&expected, GMM_EROFS);
		if ((how & 2) && is_changing(run, cache))
			fuzz_expect(&expected, GMM_EAGAIN);
		expect_refresh(run, cache, &expected);
	}
	answer = gmm_lease_take(cache->cache, offset, length, how & 11, &found);
	fuzz_say("lease %llu + %llu: %d", (unsigned long long)offset, (unsigned long long)length,
		 answer);
	/* As for refresh: a lease that has to go is waited for, or not. */
	if ((answer == -GMM_EDEADLK || answer == -GMM_EAGAIN) && cache->leases)
		return;
	fuzz_check_answer(&expected, answer, model_injected(&run->model), "lease");
	if (answer)
		return;
	cache->leases++;
	find_truth(run, cache, &truth);
	pointer = (uint8_t *)model_frame(truth.memory, truth.memory->pages[truth.page].frame);
	fuzz_check(found == pointer + cache->target % 4096 + offset, "a lease is elsewhere");
}

static void do_lease_drop(struct run *run)
{
	struct reference *cache = take_cache(run);

	if (!cache->cache || !cache->leases)
		return;
	gmm_lease_drop(cache->cache, 0, 0);
	cache->leases--;
}

static void move_pages(struct run *run)
{
	uint32_t memory, i;

	/* All pages of the range that the engine has let go of. */
	for (memory = 0; memory < MODEL_MEMORIES; memory++)
		for (i = 0; i < MODEL_PAGES; i++) {
			gmm_hva_t hva = model_hva(&run->model.memories[memory], i);
			const struct gmm_slot_config *slot = slot_at_hva(run, hva);
			uint64_t at = run->changing_kind == GMM_RANGE_HVA ? hva :
				      slot ? slot->gfn + ((hva - slot->hva) >> 12) :
					     0;

			if (slot && at >= run->changing.start && at < run->changing.end)
				model_move_page(&run->model.memories[memory], i);
		}
}

static void do_change(struct run *run)
{
	uint32_t how = program_byte(run->program), frame = program_take(run->program, SPACE), i;
	uint32_t count = 1 + program_byte(run->program) % 60;
	struct gmm_range range = { FIRST_GFN - 2 + frame, FIRST_GFN - 2 + frame + count };
	struct gmm_invalidate_result result;
	uint32_t caches = 0;

	if (run->changing.end) {
		gmm_invalidate_end(run->model.guest, run->changing_kind, &run->changing, 1);
		run->changing.end = 0;
		return;
	}
	run->changing_kind = how & 1 ? GMM_RANGE_HVA : GMM_RANGE_GFN;
	if (how & 1) {
		range.start = model_hva(&run->model.memories[frame & 1], frame / 2);
		range.end = range.start + (count << 12);
	}
	run->changing = range;
	fuzz_say("change %llx to %llx, flags %u", (unsigned long long)range.start,
		 (unsigned long long)range.end, how & 2);
	for (i = 0; i < CACHES; i++) {
		struct reference *cache = &run->caches[i];

		cache->touched = cache->active && is_changing(run, cache);
		caches += cache->touched && cache->valid;
	}
	fuzz_check(!gmm_invalidate_begin(run->model.guest, run->changing_kind, &range, 1,
					 how & 2 ? GMM_INVALIDATE_NONBLOCKING : 0, &result),
		   "a change cannot begin");
	fuzz_check(result.caches == caches, "%u caches are hit, not %u", result.caches, caches);
	if (how & 4)
		move_pages(run);
}

static void do_pages(struct run *run)
{
	uint32_t how = program_take(run->program, 6);
	gmm_gfn_t gfn = FIRST_GFN - 2 + program_take(run->program, SPACE);
	uint64_t count = 1 + program_byte(run->program) % 60, i;
	struct gmm_guest *guest = run->model.guest;
	int64_t answer;

	if (how == 3)
		touch(run, 0, 2048);
	else if (how < 3)
		touch(run, gfn, count);
	fuzz_say("pages %llu + %llu: %u", (unsigned long long)gfn, (unsigned long long)count, how);
	switch (how) {
	case 0:
	case 1:
		answer = gmm_evict(guest, gfn, count, how ? GMM_EVICT_COLD : 0);
		break;
	case 2:
		answer = gmm_discard(guest, gfn, count);
		break;
	case 3:
		answer = gmm_resident_trim(guest, count);
		break;
	case 4:
		answer = gmm_age(guest, gfn, count, 0, NULL);
		break;
	default:
		answer = gmm_fault_populate(guest, gfn, count, GMM_ACCESS_READ, 0);
		break;
	}
	fuzz_say("  %lld", (long long)answer);
	fuzz_check(answer >= 0 || model_injected(&run->model) || answer == -GMM_ERANGE ||
			   answer == -GMM_EOPNOTSUPP || answer == -GMM_EFAULT ||
			   (run->changing.end && answer == -GMM_EDEADLK),
		   "pages answer %lld", (long long)answer);
	for (i = 0; how == 2 && i < count; i++) {
		const struct gmm_slot_config *slot = model_slot_at(&run->model, gfn + i);
		struct gmm_page_info info;

		if (slot && !gmm_page_query(guest, gfn + i, &info) && info.state == GMM_PAGE_ZERO)
			model_note_write(slot, model_page_of(slot, gfn + i), 0);
	}
}

static bool is_taken(const struct run *run, uint32_t id, gmm_gfn_t gfn, uint64_t count)
{
	uint32_t i;

	for (i = 0; i < MODEL_SLOTS; i++) {
		const struct gmm_slot_config *slot = &run->model.slots[i];

		if (i != id && slot->count && gfn < slot->gfn + slot->count &&
		    slot->gfn < gfn + count)
			return true;
	}
	return false;
}

/* A slot is removed, or added as it was at the start. */
static int change_presence(struct run *run, uint32_t id, struct fuzz_errors *expected)
{
	struct gmm_slot_config *slot = &run->model.slots[id], now = first_slot(run, id);
	int answer;

	if (slot->count) {
		answer = gmm_slot_remove(run->model.guest, id);
		if (!answer) {
			model_forget_pages(slot, 0, slot->count);
			slot->count = 0;
		}
		return answer;
	}
	if (is_taken(run, id, now.gfn, now.count))
		fuzz_expect(expected, GMM_EEXIST);
	touch(run, now.gfn, now.count);
	answer = gmm_slot_add(run->model.guest, &now);
	if (!answer)
		*slot = now;
	return answer;
}

static int resize(struct run *run, uint32_t id, uint64_t count, struct fuzz_errors *expected)
{
	struct gmm_slot_config *slot = &run->model.slots[id];
	int answer;

	if (!count)
		fuzz_expect(expected, GMM_EINVAL);
	if (is_taken(run, id, slot->gfn, count))
		fuzz_expect(expected, GMM_EEXIST);
	touch(run, slot->gfn, count);
	answer = gmm_slot_resize(run->model.guest, id, count);
	if (answer)
		return answer;
	if (count < slot->count)
		model_forget_pages(slot, count, slot->count - count);
	slot->count = count;
	return 0;
}

static void do_slot(struct run *run)
{
	uint32_t id = program_take(run->program, MODEL_SLOTS), how = program_byte(run->program);
	uint32_t number = program_byte(run->program), flags;
	struct gmm_slot_config *slot = &run->model.slots[id];
	struct fuzz_errors expected = { 0 };
	gmm_gfn_t gfn = FIRST_GFN + number % SPACE;
	uint64_t count = slot->count;
	int answer;

	touch(run, slot->gfn, slot->count);
	fuzz_say("slot %u: %u, %u", id, how % 4, number);
	if (how % 4 && !count)
		return;
	switch (how % 4) {
	case 0:
		answer = change_presence(run, id, &expected);
		break;
	case 1:
		answer = resize(run, id, number % (first_slot(run, id).count + 1), &expected);
		break;
	case 2:
		if (is_taken(run, id, gfn, count))
			fuzz_expect(&expected, GMM_EEXIST);
		touch(run, gfn, count);
		answer = gmm_slot_move(run->model.guest, id, gfn);
		if (!answer)
			slot->gfn = gfn;
		break;
	default:
		flags = number & 1 ? GMM_SLOT_READ_ONLY : 0;
		answer = gmm_slot_set_flags(run->model.guest, id, flags);
		if (!answer)
			slot->flags = flags;
		break;
	}
	if (run->changing.end)
		fuzz_expect(&expected, GMM_EDEADLK);
	fuzz_check_answer(&expected, answer, model_injected(&run->model), "slot");
	touch(run, slot->gfn, slot->count);
}

/* In a section nothing that may wait is done. */
static void do_in_section(struct run *run)
{
	struct reference *cache = take_cache(run);
	void *pointer;

	if (!cache->cache)
		return;
	gmm_section_enter(run->model.reader);
	fuzz_check(gmm_cache_refresh(cache->cache) == -GMM_EDEADLK &&
			   gmm_cache_activate(cache->cache, 0, 1, GMM_CACHE_HOST) == -GMM_EDEADLK &&
			   gmm_cache_drop(cache->cache) == -GMM_EDEADLK &&
			   gmm_cache_deactivate(cache->cache) == -GMM_EDEADLK &&
			   gmm_cache_destroy(cache->cache) == -GMM_EDEADLK &&
			   gmm_lease_take(cache->cache, 0, 1, 0, &pointer) == -GMM_EDEADLK,
		   "a cache is changed in a section");
	gmm_section_exit(run->model.reader);
}

static void step(struct run *run)
{
	uint32_t operation = program_byte(run->program);

	fuzz_say("operation %u", (operation & 0x7f) % 15);
	if (operation & 0x80)
		model_inject(&run->model, run->program);
	switch ((operation & 0x7f) % 15) {
	case 0:
		do_create(run);
		break;
	case 1:
	case 2:
		do_activate(run, GMM_RANGE_GFN);
		break;
	case 3:
		do_activate(run, GMM_RANGE_HVA);
		break;
	case 4:
	case 5:
		do_refresh(run);
		break;
	case 6:
		do_drop(run, false);
		break;
	case 7:
		do_drop(run, true);
		break;
	case 8:
		do_write(run);
		break;
	case 9:
		do_lease(run);
		break;
	case 10:
		do_lease_drop(run);
		break;
	case 11:
		do_change(run);
		break;
	case 12:
		do_pages(run);
		break;
	case 13:
		do_slot(run);
		break;
	case 14:
		do_in_section(run);
		break;
	}
	model_injected(&run->model);
	check_all(run);
}

static void finish(struct run *run)
{
	uint32_t i;

	if (run->changing.end)
		gmm_invalidate_end(run->model.guest, run->changing_kind, &run->changing, 1);
	for (i = 0; i < CACHES; i++) {
		struct reference *cache = &run->caches[i];

		if (!cache->cache)
			continue;
		for (; cache->leases; cache->leases--)
			gmm_lease_drop(cache->cache, 0, 0);
		fuzz_check(!gmm_cache_destroy(cache->cache), "a cache stays");
	}
	model_fini(&run->model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct program program = { data, data + size };
	static struct run run;
	uint32_t i;

	run = (struct run){ .program = &program };
	model_init(&run.model, program_take(&program, MODEL_OWNERS));
	for (i = 0; i < MODEL_SLOTS; i++) {
		run.model.slots[i] = first_slot(&run, i);
		fuzz_check(!gmm_slot_add(run.model.guest, &run.model.slots[i]),
			   "a slot is refused");
	}
	for (i = 0; i < CACHES / 2; i++) {
		struct reference *cache = &run.caches[i];

		fuzz_check(!gmm_cache_create(run.model.guest, &cache->cache), "no memory");
		fuzz_check(!gmm_lease_set_ask(cache->cache, ask, cache), "nobody can be asked");
	}
	while (program_more(&program))
		step(&run);
	finish(&run);
	return 0;
}
