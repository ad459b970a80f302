/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What must hold of caches between two operations. */
#include "cache_reference.h"

static void check_valid(const struct reference *cache, const struct truth *truth)
{
	struct gmm_cache *it = cache->cache;
	struct model_page *page;
	uint8_t *start;
	uint32_t i;

	fuzz_check(!truth->errors.count, "a cache of what is no area is valid");
	page = &truth->memory->pages[truth->page];
	start = (uint8_t *)model_frame(truth->memory, page->frame) + cache->target % 4096;
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
		reference_truth(run, cache, &truth);
		check_valid(cache, &truth);
		fuzz_check(!reference_is_changing(run, cache), "a cache of what changes is valid");
	}
	cache->valid = valid;
	cache->touched = false;
	gmm_section_exit(run->model.reader);
	return cache->active && (cache->uses & GMM_CACHE_HOST) ? reference_pages(cache) : 0;
}

/* What a vCPU uses stays right until it leaves, whatever becomes of the cache. */
static void check_user(struct run *run, const struct user *user)
{
	struct truth truth;
	uint32_t i, page;

	fuzz_check(gmm_vcpu_mode(user->vcpu) ==
			   (user->inside ? GMM_VCPU_IN_GUEST : GMM_VCPU_OUTSIDE),
		   "a vCPU is in another mode");
	for (i = 0; user->inside && i < CACHES; i++) {
		const struct reference *cache = &run->caches[i];

		if (!cache->cache)
			continue;
		if (!user->usable[i]) {
			fuzz_check(gmm_vcpu_pfn(user->vcpu, cache->cache, 0) == GMM_PFN_NONE,
				   "a vCPU uses a cache that was not made for it");
			continue;
		}
		reference_truth(run, cache, &truth);
		fuzz_check(cache->active && !truth.errors.count,
			   "a vCPU uses what is no area any more");
		for (page = 0; page < truth.count; page++)
			fuzz_check(gmm_vcpu_pfn(user->vcpu, cache->cache, page) ==
					   truth.memory->pages[truth.page + page].frame,
				   "a vCPU uses another frame");
		fuzz_check(gmm_vcpu_pfn(user->vcpu, cache->cache, page) == GMM_PFN_NONE,
			   "there is a frame behind the area");
	}
}

void cache_check_all(struct run *run)
{
	int64_t most = 0, mapped = 0;
	uint32_t i, memory;

	for (i = 0; i < CACHES; i++)
		most += check_cache(run, &run->caches[i]);
	for (i = 0; i < VCPUS; i++)
		check_user(run, &run->users[i]);
	for (memory = 0; memory < MODEL_MEMORIES; memory++)
		for (i = 0; i < MODEL_FRAMES; i++)
			mapped += run->model.memories[memory].mappings[i];
	fuzz_check(mapped <= most, "%lld pages are mapped, caches have %lld", (long long)mapped,
		   (long long)most);
	model_check(&run->model);
}
