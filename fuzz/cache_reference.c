/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "cache_reference.h"

struct gmm_slot_config reference_first_slot(struct run *run, uint32_t id)
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

const struct gmm_slot_config *reference_slot_at_hva(const struct run *run, gmm_hva_t hva)
{
	uint32_t i;

	for (i = 0; i < MODEL_SLOTS; i++) {
		const struct gmm_slot_config *slot = &run->model.slots[i];

		if (hva >= slot->hva && hva - slot->hva < slot->count << 12)
			return slot;
	}
	return NULL;
}

const struct gmm_slot_config *reference_slot_of(const struct run *run,
						const struct reference *cache, uint32_t page,
						gmm_gfn_t *gfn)
{
	uint64_t at = (cache->target & ~(uint64_t)4095) + ((uint64_t)page << 12);
	const struct gmm_slot_config *slot;

	*gfn = at >> 12;
	if (cache->kind == GMM_RANGE_GFN)
		return model_slot_at(&run->model, *gfn);
	slot = reference_slot_at_hva(run, at);
	if (slot)
		*gfn = slot->gfn + ((at - slot->hva) >> 12);
	return slot;
}

uint32_t reference_pages(const struct reference *cache)
{
	return (uint32_t)(((cache->target + cache->length - 1) >> 12) - (cache->target >> 12) + 1);
}

/* Memory at addresses that are in no slot. */
static void adopted_truth(const struct run *run, const struct reference *cache, struct truth *truth)
{
	const struct model_memory *memory = &run->model.memories[MODEL_RESIDENT];
	uint64_t page = (cache->target - model_hva(memory, 0)) / MODEL_PAGE_BYTES;
	uint32_t i;

	truth->memory = &((struct run *)run)->model.memories[MODEL_RESIDENT];
	truth->page = (uint32_t)page;
	truth->writable = true;
	if (page >= MODEL_PAGES || truth->count > MODEL_PAGES - page) {
		fuzz_expect(&truth->errors, GMM_EFAULT);
		return;
	}
	for (i = 1; (cache->uses & GMM_CACHE_HOST) && i < truth->count; i++)
		if (memory->pages[page + i].frame != memory->pages[page].frame + i) {
			fuzz_expect(&truth->errors, GMM_EXDEV);
			return;
		}
}

void reference_truth(const struct run *run, const struct reference *cache, struct truth *truth)
{
	const struct gmm_slot_config *first = NULL, *slot;
	bool hole = false, split = false;
	uint32_t i;
	gmm_gfn_t gfn;

	*truth = (struct truth){ .count = reference_pages(cache), .resident = true };
	for (i = 0; i < truth->count; i++) {
		struct model_page *page;

		slot = reference_slot_of(run, cache, i, &gfn);
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
	if (!first && cache->kind == GMM_RANGE_HVA && run->model.adopts) {
		adopted_truth(run, cache, truth);
	} else {
		if (hole && (cache->kind == GMM_RANGE_GFN || !first))
			fuzz_expect(&truth->errors, GMM_EFAULT);
		if (split || (hole && cache->kind == GMM_RANGE_HVA))
			fuzz_expect(&truth->errors, GMM_EXDEV);
	}
	truth->writable &= (cache->uses & GMM_CACHE_WRITE) != 0;
}

bool reference_is_over(const struct run *run, const struct reference *cache, gmm_gfn_t gfn,
		       uint64_t count)
{
	uint32_t i;
	gmm_gfn_t at;

	for (i = 0; i < reference_pages(cache); i++) {
		const struct gmm_slot_config *slot = reference_slot_of(run, cache, i, &at);

		if ((slot || cache->kind == GMM_RANGE_GFN) && at >= gfn && at - gfn < count)
			return true;
	}
	return false;
}

bool reference_is_changing(const struct run *run, const struct reference *cache)
{
	const struct gmm_range *range = &run->changing;
	uint32_t i;

	if (!range->end)
		return false;
	if (run->changing_kind == GMM_RANGE_GFN)
		return reference_is_over(run, cache, range->start, range->end - range->start);
	for (i = 0; i < reference_pages(cache); i++) {
		gmm_gfn_t gfn;
		const struct gmm_slot_config *slot = reference_slot_of(run, cache, i, &gfn);
		gmm_hva_t hva = slot ? slot->hva + ((gfn - slot->gfn) << 12) : 0;

		if (cache->kind == GMM_RANGE_HVA)
			hva = (cache->target & ~(uint64_t)4095) + ((uint64_t)i << 12);
		if (hva && hva < range->end && range->start <= hva + 4095)
			return true;
	}
	return false;
}

void reference_touch(struct run *run, gmm_gfn_t gfn, uint64_t count)
{
	uint32_t i;

	for (i = 0; i < CACHES; i++)
		if (run->caches[i].active)
			run->caches[i].touched |=
				reference_is_over(run, &run->caches[i], gfn, count);
}

void reference_touch_addresses(struct run *run, gmm_hva_t hva, uint64_t count)
{
	uint32_t i;

	for (i = 0; i < CACHES; i++) {
		struct reference *cache = &run->caches[i];

		if (cache->active && cache->kind == GMM_RANGE_HVA)
			cache->touched |= cache->target < hva + count * MODEL_PAGE_BYTES &&
					  hva < cache->target + cache->length;
	}
}

bool reference_is_taken(const struct run *run, uint32_t id, gmm_gfn_t gfn, uint64_t count)
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

void reference_expect_refresh(const struct run *run, const struct reference *cache,
			      struct fuzz_errors *expected)
{
	struct truth truth;
	uint32_t i;

	reference_truth(run, cache, &truth);
	if (reference_is_changing(run, cache))
		fuzz_expect(expected, GMM_EDEADLK);
	for (i = 0; i < truth.errors.count; i++)
		fuzz_expect(expected, truth.errors.errors[i]);
}

bool reference_is_used(const struct run *run, const struct reference *cache)
{
	uint32_t i;

	for (i = 0; i < VCPUS; i++)
		if (run->users[i].uses[cache - run->caches])
			return true;
	return false;
}
