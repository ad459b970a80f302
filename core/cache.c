/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The life of a cache. What makes a refresh right: the cache is in the index before anything is
 * resolved, so every change of its range marks it; the mark is tested and `valid` set under the
 * lock that changes take to look for caches. Everything between may sleep.
 */
#include <guestmm/fault.h>
#include <guestmm/vcpu.h>

#include <gmm_port/alloc.h>
#include <gmm_port/step.h>

#include "cache_impl.h"
#include "dirty_impl.h"
#include "page_impl.h"
#include "vcpu_impl.h"

static uint64_t page_mask(const struct gmm_cache *cache)
{
	return ((uint64_t)1 << cache->guest->hot.page_shift) - 1;
}

/* Under mutex, or as a hint. */
static void *mapping_of(const struct gmm_cache *cache)
{
	return gmm_load_relaxed(&cache->mapping);
}

static void set_hits(struct gmm_cache *cache, uint32_t first, uint32_t last)
{
	uint32_t page;

	for (page = first; page <= last; page++)
		cache->hits[page / 64] |= (uint64_t)1 << (page % 64);
}

bool gmm_cache_hit(struct gmm_cache *cache, uint32_t page_shift, uint32_t words, uint64_t start,
		   uint64_t last, uint64_t *kick)
{
	bool was_valid = gmm_load_relaxed(&cache->hot.valid);
	uint32_t i;

	if (start < cache->node.start)
		start = cache->node.start;
	if (last > cache->node.last)
		last = cache->node.last;
	set_hits(cache, (uint32_t)((start - cache->node.start) >> page_shift),
		 (uint32_t)((last - cache->node.start) >> page_shift));
	cache->overtaken = true;
	gmm_store_relaxed(&cache->hot.valid, 0u);
	for (i = 0; cache->vcpus && i < words; i++)
		kick[i] |= cache->vcpus[i];
	return was_valid;
}

int gmm_cache_create(struct gmm_guest *guest, struct gmm_cache **cache)
{
	struct gmm_cache *made = gmm_zalloc(sizeof(*made));

	if (!made)
		return -GMM_ENOMEM;
	made->guest = guest;
	made->hot.page_shift = guest->hot.page_shift;
	gmm_mutex_init(&made->mutex, GMM_RANK_CACHE);
	gmm_fetch_add(&guest->cache_count, 1u);
	*cache = made;
	return 0;
}

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

/* An HVA has no slot (1.6 of the contract): nothing is logged, even when it lies in the range of
 * one. */
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

/* Resolves one run of pages, with a reference each. Nothing is kept on failure. */
static int resolve_run(struct gmm_cache *cache, const struct area *area, uint32_t page,
		       uint32_t count, bool *changed)
{
	uint32_t access = access_of(cache, area);
	gmm_pfn_t *fresh = cache->pfns + cache->capacity;
	uint32_t i;
	int error;

	error = area->ops->resolve(area->memory, area->memory_page + page, count, access, fresh);
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
static void unmap(struct gmm_cache *cache)
{
	if (mapping_of(cache))
		cache->ops->unmap(cache->memory, mapping_of(cache), cache->mapping_pages);
	gmm_store_relaxed(&cache->mapping, (void *)NULL);
	cache->mapping_pages = 0;
}

static void forget_frames(struct gmm_cache *cache)
{
	uint32_t i;

	for (i = 0; i < cache->capacity; i++)
		cache->pfns[i] = GMM_PFN_NONE;
}

/*
 * After a failure nothing may look as if it could be used again (P13, P14). Only frames that were
 * hit are forgotten, whose users were waited for: a vCPU may be using the others.
 */
static void purge(struct gmm_cache *cache, const uint64_t *hits)
{
	uint32_t page, i;

	unmap(cache);
	gmm_lock_invalidate(&cache->guest->invalidation.lock);
	for (i = 0; i < GMM_CACHE_HIT_WORDS; i++)
		cache->hits[i] |= hits[i];
	for (page = first_hit(cache->hits, 0, cache->page_count); page < cache->page_count;
	     page = first_hit(cache->hits, page + 1, cache->page_count))
		cache->pfns[page] = GMM_PFN_NONE;
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
	uint64_t within = cache->target & page_mask(cache);

	hot->length = cache->length;
	hot->pointer = mapping_of(cache) ? (uint8_t *)mapping_of(cache) + within : NULL;
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

/* Makes the mapping match the frames and the rights; keeps it when they are the same (W4, P32). */
static int map_frames(struct gmm_cache *cache, const struct area *area, bool changed)
{
	uint32_t access = access_of(cache, area);
	void *mapping = NULL;
	int error;

	if (changed || !(cache->uses & GMM_CACHE_HOST) || cache->ops != area->ops ||
	    cache->memory != area->memory || cache->mapping_pages != cache->page_count ||
	    cache->mapping_access != access)
		unmap(cache);
	cache->ops = area->ops;
	cache->memory = area->memory;
	if (mapping_of(cache) || !(cache->uses & GMM_CACHE_HOST))
		return 0;
	gmm_step(GMM_STEP_REFRESH_MAP);
	error = area->ops->map(area->memory, cache->pfns, cache->page_count, access, &mapping);
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
	void *kept = mapping_of(cache);
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
		gmm_count(cache->guest, cache_refresh_kept, kept && kept == mapping_of(cache));
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
	if (error) {
		purge(cache, hits);
		return error;
	}
	error = resolve_and_publish(cache, area, hits);
	if (area->slot)
		gmm_operation_end(&operation);
	if (!error || error == -GMM_EAGAIN)
		return error;
	purge(cache, hits);
	/* Memory may refuse a page that went after it was made resident. */
	return was_overtaken(cache) ? -GMM_EAGAIN : error;
}

/* One attempt. 0: valid; -GMM_EAGAIN: overtaken; -GMM_EBUSY: being changed. */
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
	forget_frames(cache);
	return 0;
}

static int refresh_locked(struct gmm_cache *cache)
{
	int error;

	if (!cache->active)
		return -GMM_EINVAL;
	if (gmm_cache_is_valid(cache))
		return 0;
	error = reserve_frames(cache, cache->page_count);
	if (error)
		return error;
	while ((error = attempt(cache)) == -GMM_EAGAIN)
		gmm_count(cache->guest, cache_retries, 1);
	return error;
}

int gmm_cache_try_refresh(struct gmm_cache *cache)
{
	int error;

	gmm_lock_cache(&cache->mutex);
	error = refresh_locked(cache);
	gmm_unlock_cache(&cache->mutex);
	return error;
}

int gmm_cache_wait_change(struct gmm_cache *cache)
{
	struct gmm_guest *guest = cache->guest;
	int error = 0;

	gmm_lock_invalidate(&guest->invalidation.lock);
	if (cache->active)
		error = gmm_invalidate_wait_locked(guest, cache->kind, cache->node.start,
						   cache->node.last, GMM_CHANGE_ANY);
	gmm_unlock_invalidate(&guest->invalidation.lock);
	return error;
}

/* Nobody sleeps for a change with the mutex: who changes something may take it. */
static int refresh(struct gmm_cache *cache)
{
	int error;

	while ((error = gmm_cache_try_refresh(cache)) == -GMM_EBUSY) {
		error = gmm_cache_wait_change(cache);
		if (error)
			return error;
	}
	return error;
}

int gmm_cache_refresh(struct gmm_cache *cache)
{
	if (gmm_section_inside(&cache->guest->sections))
		return -GMM_EDEADLK;
	return refresh(cache);
}

/*
 * Whether taking the cache out of its users' hands could be to wait for this thread itself: it is
 * in a section, or a vCPU of the set may stand in a fault that this thread's change holds.
 */
static bool would_deadlock(struct gmm_cache *cache)
{
	struct gmm_guest *guest = cache->guest;
	uint32_t words = (guest->config.max_vcpus + 63) / 64;
	uint64_t any = 0;
	bool own;
	uint32_t i;

	if (gmm_section_inside(&guest->sections))
		return true;
	gmm_lock_invalidate(&guest->invalidation.lock);
	for (i = 0; cache->vcpus && i < words; i++)
		any |= cache->vcpus[i];
	own = any && gmm_active_any_own(&guest->invalidation);
	gmm_unlock_invalidate(&guest->invalidation.lock);
	return own;
}

/*
 * Takes the cache out of everybody's hands: not valid, out of the index, readers gone, vCPUs of its
 * set out of guest mode. Under mutex.
 */
static void unlist(struct gmm_cache *cache)
{
	struct gmm_guest *guest = cache->guest;
	uint64_t kick[GMM_VCPUS_MAX / 64];
	uint32_t words = (guest->config.max_vcpus + 63) / 64;
	bool any = false;
	uint32_t i;

	if (!cache->active)
		return;
	gmm_lock_invalidate(&guest->invalidation.lock);
	gmm_store_relaxed(&cache->hot.valid, 0u);
	gmm_interval_remove(&guest->invalidation.caches[cache->kind], &cache->node);
	gmm_store_release(&cache->active, 0u);
	for (i = 0; cache->vcpus && i < words; i++) {
		kick[i] = cache->vcpus[i];
		any |= kick[i] != 0;
	}
	gmm_unlock_invalidate(&guest->invalidation.lock);
	gmm_section_domain_wait(&guest->sections);
	if (any)
		gmm_vcpus_request(guest, kick, words, GMM_REQUEST_NONE, GMM_REQUEST_WAIT);
	gmm_step(GMM_STEP_DEACTIVATE_UNLISTED);
	unmap(cache);
	forget_frames(cache);
}

/* Puts it into the index with a new target: everything is to be resolved. Under mutex, unlisted. */
static void list(struct gmm_cache *cache, enum gmm_range_kind kind, uint64_t target,
		 uint64_t length, uint32_t page_count)
{
	struct gmm_invalidation *invalidation = &cache->guest->invalidation;
	uint32_t shift = cache->guest->hot.page_shift;
	uint64_t mask = page_mask(cache);
	uint32_t i;

	gmm_lock_invalidate(&invalidation->lock);
	cache->kind = kind;
	cache->target = target;
	cache->length = length;
	cache->page_count = page_count;
	cache->node.start = kind == GMM_RANGE_HVA ? target & ~mask : target >> shift;
	cache->node.last = kind == GMM_RANGE_HVA ? (target + length - 1) | mask :
						   (target + length - 1) >> shift;
	for (i = 0; i < GMM_CACHE_HIT_WORDS; i++)
		cache->hits[i] = 0;
	set_hits(cache, 0, page_count - 1);
	gmm_interval_insert(&invalidation->caches[kind], &cache->node);
	gmm_store_release(&cache->active, 1u);
	gmm_unlock_invalidate(&invalidation->lock);
}

/*
 * The same pages as before: only where in them changes, nothing is resolved again (P18, P19).
 * Readers hold the old pointer until they leave.
 */
static void retarget_within(struct gmm_cache *cache, uint64_t target, uint64_t length)
{
	struct gmm_guest *guest = cache->guest;

	gmm_lock_invalidate(&guest->invalidation.lock);
	gmm_store_relaxed(&cache->hot.valid, 0u);
	gmm_unlock_invalidate(&guest->invalidation.lock);
	/* A section may still mark what it wrote, by the old target (P26). */
	gmm_section_domain_wait(&guest->sections);
	gmm_lock_invalidate(&guest->invalidation.lock);
	cache->target = target;
	cache->length = length;
	gmm_unlock_invalidate(&guest->invalidation.lock);
}

static int check_target(struct gmm_cache *cache, enum gmm_range_kind kind, uint64_t target,
			uint64_t length, uint32_t uses, uint32_t *page_count)
{
	const struct gmm_guest *guest = cache->guest;
	uint64_t last = target + length - 1;
	uint64_t pages;

	if (!length || (uses & ~(GMM_CACHE_HOST | GMM_CACHE_GUEST | GMM_CACHE_WRITE)) ||
	    !(uses & (GMM_CACHE_HOST | GMM_CACHE_GUEST)))
		return -GMM_EINVAL;
	if (last < target || (kind == GMM_RANGE_GFN && last >= guest->hot.gpa_limit))
		return -GMM_ERANGE;
	pages = (last >> guest->hot.page_shift) - (target >> guest->hot.page_shift) + 1;
	if (pages > GMM_CACHE_PAGES_MAX)
		return -GMM_EINVAL;
	if (would_deadlock(cache))
		return -GMM_EDEADLK;
	*page_count = (uint32_t)pages;
	return 0;
}

static int activate(struct gmm_cache *cache, enum gmm_range_kind kind, uint64_t target,
		    uint64_t length, uint32_t uses)
{
	uint32_t shift = cache->guest->hot.page_shift;
	uint32_t page_count;
	int error = check_target(cache, kind, target, length, uses, &page_count);

	if (error)
		return error;
	gmm_lock_cache(&cache->mutex);
	if (cache->active && cache->kind == kind && cache->uses == uses &&
	    cache->target >> shift == target >> shift && cache->page_count == page_count) {
		retarget_within(cache, target, length);
	} else {
		unlist(cache);
		cache->uses = uses;
		list(cache, kind, target, length, page_count);
	}
	error = refresh_locked(cache);
	gmm_unlock_cache(&cache->mutex);
	return error == -GMM_EBUSY ? refresh(cache) : error;
}

int gmm_cache_activate(struct gmm_cache *cache, gmm_gpa_t gpa, uint64_t length, uint32_t uses)
{
	return activate(cache, GMM_RANGE_GFN, gpa, length, uses);
}

int gmm_cache_activate_hva(struct gmm_cache *cache, gmm_hva_t hva, uint64_t length, uint32_t uses)
{
	return activate(cache, GMM_RANGE_HVA, hva, length, uses);
}

int gmm_cache_deactivate(struct gmm_cache *cache)
{
	if (would_deadlock(cache))
		return -GMM_EDEADLK;
	gmm_lock_cache(&cache->mutex);
	unlist(cache);
	gmm_unlock_cache(&cache->mutex);
	return 0;
}

int gmm_cache_drop(struct gmm_cache *cache)
{
	int error = 0;

	if (would_deadlock(cache))
		return -GMM_EDEADLK;
	gmm_lock_cache(&cache->mutex);
	if (cache->active) {
		gmm_lock_invalidate(&cache->guest->invalidation.lock);
		gmm_store_relaxed(&cache->hot.valid, 0u);
		gmm_unlock_invalidate(&cache->guest->invalidation.lock);
		gmm_section_domain_wait(&cache->guest->sections);
		unmap(cache);
	} else {
		error = -GMM_EINVAL;
	}
	gmm_unlock_cache(&cache->mutex);
	return error;
}

static int remove_vcpu(struct gmm_cache *cache, struct gmm_vcpu *vcpu)
	GMM_REQUIRES(gmm_rank_vcpu_uses)
{
	int error = gmm_vcpu_use_remove(vcpu, cache);

	if (error)
		return error;
	gmm_lock_invalidate(&cache->guest->invalidation.lock);
	cache->vcpus[vcpu->id / 64] &= ~((uint64_t)1 << (vcpu->id % 64));
	gmm_unlock_invalidate(&cache->guest->invalidation.lock);
	return 0;
}

/*
 * Takes a vCPU out of the set that may be in guest mode: without the mutex it cannot enter again,
 * and it leaves without it.
 */
static void dismiss_vcpu(struct gmm_cache *cache, struct gmm_vcpu *vcpu)
{
	gmm_lock_vcpu_uses(&vcpu->uses_mutex);
	gmm_vcpu_request(vcpu, GMM_REQUEST_NONE, GMM_REQUEST_WAIT);
	remove_vcpu(cache, vcpu);
	gmm_unlock_vcpu_uses(&vcpu->uses_mutex);
}

/* Out of the index nobody finds it any more; who found it before lets go soon. */
static void wait_unpinned(struct gmm_cache *cache)
{
	struct gmm_invalidation *invalidation = &cache->guest->invalidation;

	gmm_lock_invalidate(&invalidation->lock);
	while (cache->pins) {
		invalidation->drainers++;
		gmm_waitqueue_wait(&invalidation->ended, &invalidation->lock);
		invalidation->drainers--;
	}
	gmm_unlock_invalidate(&invalidation->lock);
}

int gmm_cache_destroy(struct gmm_cache *cache)
{
	struct gmm_guest *guest = cache->guest;
	uint32_t words = (guest->config.max_vcpus + 63) / 64;
	uint32_t id;

	if (would_deadlock(cache))
		return -GMM_EDEADLK;
	gmm_cache_deactivate(cache);
	for (id = 0; cache->vcpus && id < guest->config.max_vcpus; id++) {
		if ((cache->vcpus[id / 64] >> (id % 64)) & 1)
			dismiss_vcpu(cache, gmm_load_acquire(&guest->vcpus[id]));
	}
	wait_unpinned(cache);
	gmm_free(cache->vcpus, words * sizeof(uint64_t));
	gmm_free(cache->pfns, 2 * cache->capacity * sizeof(*cache->pfns));
	gmm_mutex_destroy(&cache->mutex);
	gmm_free(cache, sizeof(*cache));
	gmm_fetch_add(&guest->cache_count, (uint32_t)-1);
	return 0;
}

/* A cache over [*start, last] that keeps a mapping without being valid, pinned. */
static struct gmm_cache *pin_next(struct gmm_guest *guest, enum gmm_range_kind kind,
				  uint64_t *start, uint64_t last)
{
	struct gmm_cache *found = NULL;
	struct gmm_interval *node;

	gmm_lock_invalidate(&guest->invalidation.lock);
	gmm_interval_for_each(node, &guest->invalidation.caches[kind], *start, last)
	{
		struct gmm_cache *cache = gmm_container_of(node, struct gmm_cache, node);

		if (gmm_cache_is_valid(cache) || !mapping_of(cache))
			continue;
		cache->pins++;
		found = cache;
		if (node->start > *start)
			*start = node->start;
		break;
	}
	gmm_unlock_invalidate(&guest->invalidation.lock);
	return found;
}

void gmm_cache_pin(struct gmm_cache *cache)
{
	gmm_lock_invalidate(&cache->guest->invalidation.lock);
	cache->pins++;
	gmm_unlock_invalidate(&cache->guest->invalidation.lock);
}

void gmm_cache_unpin(struct gmm_cache *cache)
{
	struct gmm_invalidation *invalidation = &cache->guest->invalidation;

	gmm_lock_invalidate(&invalidation->lock);
	cache->pins--;
	if (invalidation->drainers)
		gmm_waitqueue_wake_all(&invalidation->ended);
	gmm_unlock_invalidate(&invalidation->lock);
}

void gmm_caches_drop_mappings(struct gmm_guest *guest, enum gmm_range_kind kind, uint64_t start,
			      uint64_t last)
{
	struct gmm_cache *cache;

	while ((cache = pin_next(guest, kind, &start, last))) {
		gmm_lock_cache(&cache->mutex);
		if (!gmm_cache_is_valid(cache))
			unmap(cache);
		gmm_unlock_cache(&cache->mutex);
		gmm_cache_unpin(cache);
	}
}

/* Who uses it */

int gmm_cache_vcpu_add(struct gmm_cache *cache, struct gmm_vcpu *vcpu)
{
	struct gmm_guest *guest = cache->guest;
	uint32_t words = (guest->config.max_vcpus + 63) / 64;
	uint64_t *set = NULL;
	int error;

	if (gmm_section_inside(&guest->sections))
		return -GMM_EDEADLK;
	set = gmm_zalloc(words * sizeof(*set));
	if (!set)
		return -GMM_ENOMEM;
	gmm_lock_vcpu_uses(&vcpu->uses_mutex);
	error = gmm_vcpu_use_add(vcpu, cache);
	if (!error) {
		gmm_lock_invalidate(&guest->invalidation.lock);
		if (!cache->vcpus) {
			cache->vcpus = set;
			set = NULL;
		}
		cache->vcpus[vcpu->id / 64] |= (uint64_t)1 << (vcpu->id % 64);
		gmm_unlock_invalidate(&guest->invalidation.lock);
	}
	gmm_unlock_vcpu_uses(&vcpu->uses_mutex);
	gmm_free(set, words * sizeof(*set));
	return error;
}

int gmm_cache_vcpu_remove(struct gmm_cache *cache, struct gmm_vcpu *vcpu)
{
	int error;

	if (gmm_section_inside(&cache->guest->sections))
		return -GMM_EDEADLK;
	gmm_lock_vcpu_uses(&vcpu->uses_mutex);
	error = remove_vcpu(cache, vcpu);
	gmm_unlock_vcpu_uses(&vcpu->uses_mutex);
	return error;
}

/* The hot path as symbols */

void *gmm_cache_pointer(const struct gmm_cache *cache, uint64_t offset, uint64_t length)
{
	return gmm_cache_pointer_inline(cache, offset, length);
}

bool gmm_cache_writable(const struct gmm_cache *cache)
{
	return gmm_cache_writable_inline(cache);
}

void gmm_cache_mark_dirty(const struct gmm_cache *cache, uint64_t offset, uint64_t length)
{
	gmm_cache_mark_dirty_inline(cache, offset, length);
}

void gmm_cache_mark_dirty_slow(const struct gmm_cache *cache, uint64_t offset, uint64_t length)
{
	const struct gmm_cache_hot *hot = &cache->hot;
	uint32_t shift = hot->page_shift;
	gmm_gfn_t first, last;

	if (!length)
		return;
	if (hot->dirty) {
		first = (hot->dirty_offset + offset) >> shift;
		last = (hot->dirty_offset + offset + length - 1) >> shift;
		gmm_dirty_map_mark_range(hot->dirty, first, last - first + 1);
		return;
	}
	first = (cache->target + offset) >> shift;
	last = (cache->target + offset + length - 1) >> shift;
	gmm_dirty_mark(cache->guest, first, last - first + 1);
}

gmm_pfn_t gmm_cache_pfn(const struct gmm_cache *cache, uint32_t page)
{
	if (!gmm_cache_is_valid(cache) || page >= cache->page_count)
		return GMM_PFN_NONE;
	return cache->pfns[page];
}
