/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Making a cache valid. What makes a refresh right: the cache is in the index before anything is
 * resolved, so every change of its range marks it; the mark is tested and `valid` set under the
 * lock that changes take to look for caches. Everything between may sleep.
 */
#include <guestmm/fault.h>

#include <gmm_port/alloc.h>
#include <gmm_port/step.h>

#include "cache_impl.h"
#include "dirty_impl.h"
#include "lease_impl.h"
#include "page_impl.h"

/* What an area consists of, found under the invalidation's lock. */
struct area {
	const struct gmm_memory_ops *ops;
	void *memory;
	uint64_t memory_page;
	gmm_gfn_t gfn;	       /* of the first page; only with `slot` */
	struct gmm_slot *slot; /* of the first page, or NULL */
	bool lazy;
	bool writable;
	struct gmm_dirty_map *dirty;
	uint64_t dirty_page;
	bool mark_slow;
};

static void area_start(struct area *area, struct gmm_slot *slot, gmm_gfn_t gfn)
{
	uint64_t page = gfn - slot->by_gfn.start;

	area->ops = slot->config.memory_ops;
	area->memory = slot->config.memory;
	area->memory_page = slot->config.memory_page + page;
	area->gfn = gfn;
	area->slot = slot;
	area->lazy = gmm_slot_is_lazy(slot);
	area->writable = !(slot->config.flags & GMM_SLOT_READ_ONLY);
	area->dirty = slot->dirty;
	area->dirty_page = page;
}

/* Adds the next slot of an area that crosses slots. Frames stay one range of one memory. */
static int area_extend(struct area *area, const struct gmm_slot *slot, uint64_t pages)
{
	if (slot->config.memory_ops != area->ops || slot->config.memory != area->memory ||
	    slot->config.memory_page != area->memory_page + pages ||
	    !(slot->config.flags & GMM_SLOT_READ_ONLY) != area->writable)
		return -GMM_EXDEV;
	area->mark_slow |= slot->dirty || area->dirty;
	return 0;
}

static int describe_gfn(struct gmm_cache *cache, struct area *area)
{
	gmm_gfn_t gfn = cache->node.start;
	struct gmm_slot *slot = gmm_slot_find(cache->guest, gfn);
	int error;

	if (!slot)
		return -GMM_EFAULT;
	area_start(area, slot, gfn);
	while (slot->by_gfn.last < cache->node.last) {
		gfn = slot->by_gfn.last + 1;
		slot = gmm_slot_find(cache->guest, gfn);
		if (!slot)
			return -GMM_EFAULT;
		error = area_extend(area, slot, gfn - cache->node.start);
		if (error)
			return error;
	}
	if (area->mark_slow)
		area->dirty = NULL;
	return 0;
}

/*
 * An HVA has no slot (1.6 of the contract): nothing is logged, even when it lies in the range of
 * one.
 */
static int describe_hva(struct gmm_cache *cache, struct area *area)
{
	struct gmm_guest *guest = cache->guest;
	struct gmm_interval *node =
		gmm_interval_first(&guest->slots.by_hva, cache->node.start, cache->node.last);
	struct gmm_slot *slot = node ? gmm_container_of(node, struct gmm_slot, by_hva) : NULL;

	if (!slot) {
		if (!guest->config.hva_ops)
			return -GMM_EFAULT;
		area->ops = guest->config.hva_ops;
		area->memory = guest->config.hva_memory;
		area->memory_page = cache->node.start >> guest->hot.page_shift;
		area->lazy = false;
		area->writable = true;
		return 0;
	}
	if (cache->node.start < slot->by_hva.start || cache->node.last > slot->by_hva.last)
		return -GMM_EXDEV;
	area_start(area, slot,
		   slot->by_gfn.start +
			   ((cache->node.start - slot->by_hva.start) >> guest->hot.page_shift));
	area->dirty = NULL;
	return 0;
}

static uint32_t first_hit(const uint64_t *hits, uint32_t from, uint32_t count)
{
	while (from < count && !((hits[from / 64] >> (from % 64)) & 1))
		from++;
	return from;
}

static uint32_t first_clear(const uint64_t *hits, uint32_t from, uint32_t count)
{
	while (from < count && ((hits[from / 64] >> (from % 64)) & 1))
		from++;
	return from;
}

static void put_hits(struct gmm_cache *cache, const struct area *area, const uint64_t *hits,
		     uint32_t until)
{
	uint32_t page = first_hit(hits, 0, until);

	while (page < until) {
		uint32_t end = first_clear(hits, page, until);

		area->ops->put(area->memory, &cache->pfns[page], end - page);
		page = first_hit(hits, end, until);
	}
}

static uint32_t access_of(const struct gmm_cache *cache, const struct area *area)
{
	return GMM_ACCESS_READ |
	       ((cache->uses & GMM_CACHE_WRITE) && area->writable ? GMM_ACCESS_WRITE : 0);
}

/* Errors that have a meaning of their own here are none of the memory's. */
static int memory_error(int error)
{
	return error == -GMM_EAGAIN || error == -GMM_EBUSY || error == -GMM_EDEADLK ? -GMM_EIO :
										      error;
}

/* Resolves one run of pages, with a reference each. Nothing is kept on failure. */
static int resolve_run(struct gmm_cache *cache, const struct area *area, uint32_t page,
		       uint32_t count, bool *changed)
{
	uint32_t access = access_of(cache, area);
	gmm_pfn_t *fresh = cache->pfns + cache->capacity;
	uint32_t i;
	int error;

	error = memory_error(
		area->ops->resolve(area->memory, area->memory_page + page, count, access, fresh));
	if (error)
		return error;
	for (i = 0; i < count; i++) {
		*changed |= fresh[i] != cache->pfns[page + i];
		cache->pfns[page + i] = fresh[i];
	}
	return 0;
}

/*
 * Resolves the pages in hits[]. Sets *changed when a frame is another one than before. On failure
 * no reference is held.
 */
static int resolve_hits(struct gmm_cache *cache, const struct area *area, const uint64_t *hits,
			bool *changed)
{
	uint32_t page = first_hit(hits, 0, cache->page_count);

	*changed = false;
	while (page < cache->page_count) {
		uint32_t end = first_clear(hits, page, cache->page_count);
		int error = resolve_run(cache, area, page, end - page, changed);

		if (error) {
			put_hits(cache, area, hits, page);
			return error;
		}
		page = first_hit(hits, end, cache->page_count);
	}
	return 0;
}

/*
 * Makes absent pages resident. They may go again before they are resolved. -GMM_EAGAIN: somebody
 * began to change them.
 */
static int populate_hits(struct gmm_cache *cache, const struct area *area, const uint64_t *hits)
{
	uint32_t page = first_hit(hits, 0, cache->page_count);
	int error = 0;

	while (area->lazy && !error && page < cache->page_count) {
		uint32_t end = first_clear(hits, page, cache->page_count);

		error = gmm_fault_try_populate(cache->guest, area->gfn + page, end - page,
					       access_of(cache, area));
		page = first_hit(hits, end, cache->page_count);
	}
	return error;
}

/* Undoes the mapping. The cache is not valid and no section uses it. Under mutex. */
void gmm_cache_unmap(struct gmm_cache *cache)
{
	if (gmm_cache_mapping(cache))
		cache->ops->unmap(cache->memory, gmm_cache_mapping(cache), cache->mapping_pages);
	gmm_store_relaxed(&cache->mapping, (void *)NULL);
	cache->mapping_pages = 0;
}

void gmm_cache_forget_frames(struct gmm_cache *cache)
{
	uint32_t i;

	for (i = 0; i < cache->capacity; i++)
		cache->pfns[i] = GMM_PFN_NONE;
}

/*
 * After a failure nothing may look as if it could be used again (P13, P14). Only frames that this
 * attempt was to resolve are forgotten: their users were waited for when they were hit. A vCPU may
 * be using the others, and those that were hit since. A mapping that is leased stays until the next
 * refresh finds it unleased.
 */
static void purge(struct gmm_cache *cache, const uint64_t *hits)
{
	uint32_t page, i;

	if (!gmm_lease_held(cache))
		gmm_cache_unmap(cache);
	for (page = first_hit(hits, 0, cache->page_count); page < cache->page_count;
	     page = first_hit(hits, page + 1, cache->page_count))
		cache->pfns[page] = GMM_PFN_NONE;
	gmm_lock_invalidate(&cache->guest->invalidation.lock);
	for (i = 0; i < GMM_CACHE_HIT_WORDS; i++)
		cache->hits[i] |= hits[i];
	gmm_unlock_invalidate(&cache->guest->invalidation.lock);
}

/*
 * Starts an attempt: finds out what is there, and from then on notes whoever begins to change it.
 * -GMM_EBUSY: somebody is changing it.
 */
static int begin_attempt(struct gmm_cache *cache, struct area *area, uint64_t *hits)
{
	struct gmm_invalidation *invalidation = &cache->guest->invalidation;
	int error;
	uint32_t i;

	gmm_lock_invalidate(&invalidation->lock);
	error = gmm_invalidate_find(cache->guest, cache->kind, cache->node.start, cache->node.last,
				    GMM_CHANGE_ANY) ?
			-GMM_EBUSY :
			0;
	if (!error)
		error = cache->kind == GMM_RANGE_HVA ? describe_hva(cache, area) :
						       describe_gfn(cache, area);
	if (!error) {
		cache->overtaken = false;
		for (i = 0; i < GMM_CACHE_HIT_WORDS; i++) {
			hits[i] = cache->hits[i];
			cache->hits[i] = 0;
		}
	}
	gmm_unlock_invalidate(&invalidation->lock);
	return error;
}

static void publish_locked(struct gmm_cache *cache, const struct area *area)
{
	struct gmm_cache_hot *hot = &cache->hot;
	uint64_t within = cache->target & gmm_cache_page_mask(cache);

	hot->length = cache->length;
	hot->pointer = gmm_cache_mapping(cache) ? (uint8_t *)gmm_cache_mapping(cache) + within :
						  NULL;
	hot->traits = (access_of(cache, area) & GMM_ACCESS_WRITE ? GMM_CACHE_HOT_WRITABLE : 0) |
		      (area->mark_slow ? GMM_CACHE_HOT_MARK_SLOW : 0);
	hot->dirty = area->dirty;
	hot->dirty_offset = (area->dirty_page << hot->page_shift) + within;
	gmm_store_release(&hot->valid, 1u);
}

/* Valid, unless a change has overtaken the attempt. */
static bool publish(struct gmm_cache *cache, const struct area *area)
{
	struct gmm_invalidation *invalidation = &cache->guest->invalidation;
	bool good;

	gmm_step(GMM_STEP_REFRESH_PUBLISH);
	gmm_lock_invalidate(&invalidation->lock);
	good = !cache->overtaken || gmm_leaves_out(cache->guest, GMM_LEAVE_OUT_RETRY);
	if (good)
		publish_locked(cache, area);
	gmm_unlock_invalidate(&invalidation->lock);
	return good;
}

/*
 * Makes the mapping match the frames and the rights; keeps it when they are the same (W4, P32).
 * -GMM_EBUSY: it would have to go, and it is leased: a change that did not wait went over it.
 */
static int map_frames(struct gmm_cache *cache, const struct area *area, bool changed)
{
	uint32_t access = access_of(cache, area);
	void *mapping = NULL;
	int error;

	if (changed || !(cache->uses & GMM_CACHE_HOST) || cache->ops != area->ops ||
	    cache->memory != area->memory || cache->mapping_pages != cache->page_count ||
	    cache->mapping_access != access) {
		if (gmm_lease_keeps_mapping(cache))
			return -GMM_EBUSY;
		gmm_cache_unmap(cache);
	}
	cache->ops = area->ops;
	cache->memory = area->memory;
	if (gmm_cache_mapping(cache) || !(cache->uses & GMM_CACHE_HOST))
		return 0;
	gmm_step(GMM_STEP_REFRESH_MAP);
	error = memory_error(
		area->ops->map(area->memory, cache->pfns, cache->page_count, access, &mapping));
	if (error)
		return error;
	gmm_store_relaxed(&cache->mapping, mapping);
	cache->mapping_pages = cache->page_count;
	cache->mapping_access = access;
	return 0;
}

/*
 * From here to the end of the operation the slot cannot change, so its memory may be called. False:
 * a change has overtaken the attempt already.
 */
static bool hold_slot(struct gmm_cache *cache, const struct area *area,
		      struct gmm_operation *operation)
{
	struct gmm_guest *guest = cache->guest;
	bool good;

	gmm_lock_invalidate(&guest->invalidation.lock);
	good = !cache->overtaken || gmm_leaves_out(guest, GMM_LEAVE_OUT_RETRY);
	if (good)
		gmm_operation_open_locked(guest, area->slot, area->gfn,
					  area->gfn + cache->page_count - 1, operation);
	gmm_unlock_invalidate(&guest->invalidation.lock);
	return good;
}

static bool was_overtaken(struct gmm_cache *cache)
{
	bool overtaken;

	gmm_lock_invalidate(&cache->guest->invalidation.lock);
	overtaken = cache->overtaken;
	gmm_unlock_invalidate(&cache->guest->invalidation.lock);
	return overtaken;
}

/* The part of an attempt that calls the memory. Never pins: an invalidation comes first (P22). */
static int resolve_and_publish(struct gmm_cache *cache, const struct area *area,
			       const uint64_t *hits)
{
	bool resolved = first_hit(hits, 0, cache->page_count) < cache->page_count;
	void *kept = gmm_cache_mapping(cache);
	bool changed;
	int error;

	gmm_step(GMM_STEP_REFRESH_RESOLVE);
	error = resolve_hits(cache, area, hits, &changed);
	if (error)
		return error;
	error = map_frames(cache, area, changed);
	if (!error && !publish(cache, area))
		error = -GMM_EAGAIN;
	put_hits(cache, area, hits, cache->page_count);
	if (!error && resolved) {
		gmm_count(cache->guest, cache_refreshes, 1);
		gmm_count(cache->guest, cache_refresh_kept,
			  kept && kept == gmm_cache_mapping(cache));
		gmm_trace(cache_refresh, cache, cache->target, cache->length,
			  kept && kept == gmm_cache_mapping(cache));
	}
	return error;
}

/* What follows a good start: the cache is watched. -GMM_EAGAIN: overtaken, all is undone. */
static int continue_attempt(struct gmm_cache *cache, const struct area *area, const uint64_t *hits)
{
	struct gmm_operation operation;
	int error = populate_hits(cache, area, hits);

	if (!error && area->slot && !hold_slot(cache, area, &operation))
		error = -GMM_EAGAIN;
	if (!error) {
		error = resolve_and_publish(cache, area, hits);
		if (area->slot)
			gmm_operation_end(&operation);
		if (!error || error == -GMM_EAGAIN)
			return error;
	}
	purge(cache, hits);
	/* A page may have gone again, or its slot: then this was an error of what there was before. */
	return was_overtaken(cache) ? -GMM_EAGAIN : error;
}

/* One attempt. 0: valid; -GMM_EAGAIN: overtaken; -GMM_EBUSY: being changed, or leased. */
static int attempt(struct gmm_cache *cache)
{
	struct area area = { 0 };
	uint64_t hits[GMM_CACHE_HIT_WORDS] = { 0 };
	int error = begin_attempt(cache, &area, hits);

	if (!error)
		return continue_attempt(cache, &area, hits);
	if (error != -GMM_EBUSY)
		purge(cache, hits);
	return error;
}

/* Room for the frames. No vCPU reads the old array: the cache is not valid. */
static int reserve_frames(struct gmm_cache *cache, uint32_t count)
{
	gmm_pfn_t *pfns;

	if (count <= cache->capacity)
		return 0;
	/* The second half is where a refresh resolves into. */
	pfns = gmm_zalloc(2 * count * sizeof(*pfns));
	if (!pfns)
		return -GMM_ENOMEM;
	gmm_free(cache->pfns, 2 * cache->capacity * sizeof(*pfns));
	cache->pfns = pfns;
	cache->capacity = count;
	gmm_cache_forget_frames(cache);
	return 0;
}

int gmm_cache_refresh_locked(struct gmm_cache *cache)
{
	int error;

	if (!gmm_load_relaxed(&cache->active))
		return -GMM_EINVAL;
	if (gmm_cache_is_valid(cache))
		return 0;
	error = reserve_frames(cache, cache->page_count);
	if (error)
		return error;
	while ((error = attempt(cache)) == -GMM_EAGAIN) {
		gmm_count(cache->guest, cache_retries, 1);
		gmm_trace(cache_retry, cache, cache->target, cache->length);
	}
	return error;
}

int gmm_cache_try_refresh(struct gmm_cache *cache)
{
	int error;

	gmm_lock_cache(&cache->mutex);
	error = gmm_cache_refresh_locked(cache);
	gmm_unlock_cache(&cache->mutex);
	return error;
}

static int wait_change(struct gmm_cache *cache)
{
	struct gmm_invalidation *invalidation = &cache->guest->invalidation;
	enum gmm_range_kind kind;
	uint64_t start, last;
	bool active;

	gmm_lock_invalidate(&invalidation->lock);
	active = gmm_load_relaxed(&cache->active);
	kind = cache->kind;
	start = cache->node.start;
	last = cache->node.last;
	gmm_unlock_invalidate(&invalidation->lock);
	return active ? gmm_lease_wait_change(cache->guest, kind, start, last) : 0;
}

/* Nobody sleeps for a change with the mutex: who changes something may take it. */
int gmm_cache_refresh_waiting(struct gmm_cache *cache)
{
	int error;

	while ((error = gmm_cache_try_refresh(cache)) == -GMM_EBUSY) {
		error = wait_change(cache);
		if (error)
			return error;
	}
	return error;
}

int gmm_cache_refresh(struct gmm_cache *cache)
{
	if (gmm_section_inside(&cache->guest->sections))
		return -GMM_EDEADLK;
	return gmm_cache_refresh_waiting(cache);
}
