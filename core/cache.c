/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The life of a cache: into the index and out of it, its target, its set of vCPUs, and what an
 * invalidation does to it. cache_refresh.c makes it valid.
 */
#include <guestmm/vcpu.h>

#include <gmm_port/alloc.h>
#include <gmm_port/step.h>

#include "cache_impl.h"
#include "dirty_impl.h"
#include "lease_impl.h"
#include "vcpu_impl.h"

void gmm_cache_set_hits(struct gmm_cache *cache, uint32_t first, uint32_t last)
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
	gmm_cache_set_hits(cache, (uint32_t)((start - cache->node.start) >> page_shift),
			   (uint32_t)((last - cache->node.start) >> page_shift));
	cache->overtaken = true;
	gmm_store_relaxed(&cache->hot.valid, 0u);
	for (i = 0; cache->vcpus && i < words; i++)
		kick[i] |= cache->vcpus[i];
	if (was_valid)
		gmm_trace(cache_invalidate, cache, start, last);
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
 * Takes the cache out of everybody's hands: not valid, readers gone, vCPUs of its set out of guest
 * mode, and only then out of the index: until they are out, who changes the range has to find them.
 * -GMM_EBUSY: it is leased. Under mutex.
 */
static int unlist(struct gmm_cache *cache)
{
	struct gmm_guest *guest = cache->guest;
	uint64_t kick[GMM_VCPUS_MAX / 64];
	uint32_t words = (guest->config.max_vcpus + 63) / 64;
	bool any = false;
	uint32_t i;

	if (!gmm_load_relaxed(&cache->active))
		return 0;
	gmm_lock_invalidate(&guest->invalidation.lock);
	if (cache->leases) {
		gmm_unlock_invalidate(&guest->invalidation.lock);
		return -GMM_EBUSY;
	}
	gmm_store_relaxed(&cache->hot.valid, 0u);
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
	gmm_cache_unmap(cache);
	gmm_cache_forget_frames(cache);
	gmm_lock_invalidate(&guest->invalidation.lock);
	gmm_interval_remove(&guest->invalidation.caches[cache->kind], &cache->node);
	gmm_unlock_invalidate(&guest->invalidation.lock);
	return 0;
}

/* Not valid from now on, for sections and leases. -GMM_EBUSY: it is leased. Under mutex. */
static int withdraw(struct gmm_cache *cache)
{
	struct gmm_guest *guest = cache->guest;
	int error = 0;

	gmm_lock_invalidate(&guest->invalidation.lock);
	if (cache->leases)
		error = -GMM_EBUSY;
	else
		gmm_store_relaxed(&cache->hot.valid, 0u);
	gmm_unlock_invalidate(&guest->invalidation.lock);
	if (!error)
		gmm_section_domain_wait(&guest->sections);
	return error;
}

/* Puts it into the index with a new target: everything is to be resolved. Under mutex, unlisted. */
static void list(struct gmm_cache *cache, enum gmm_range_kind kind, uint64_t target,
		 uint64_t length, uint32_t page_count)
{
	struct gmm_invalidation *invalidation = &cache->guest->invalidation;
	uint32_t shift = cache->guest->hot.page_shift;
	uint64_t mask = gmm_cache_page_mask(cache);
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
	gmm_cache_set_hits(cache, 0, page_count - 1);
	gmm_interval_insert(&invalidation->caches[kind], &cache->node);
	gmm_store_release(&cache->active, 1u);
	gmm_unlock_invalidate(&invalidation->lock);
}

/*
 * The same pages as before: only where in them changes, nothing is resolved again (P18, P19).
 * Readers hold the old pointer until they leave; they may still mark what they wrote, by the old
 * target (P26).
 */
static int retarget_within(struct gmm_cache *cache, uint64_t target, uint64_t length)
{
	struct gmm_guest *guest = cache->guest;

	int error = withdraw(cache);

	if (error)
		return error;
	gmm_lock_invalidate(&guest->invalidation.lock);
	cache->target = target;
	cache->length = length;
	gmm_unlock_invalidate(&guest->invalidation.lock);
	return 0;
}

/* Whether this thread is changing what the cache is to be over. */
static bool is_own_change(struct gmm_cache *cache, enum gmm_range_kind kind, uint64_t target,
			  uint64_t last)
{
	struct gmm_guest *guest = cache->guest;
	uint32_t shift = kind == GMM_RANGE_HVA ? 0 : guest->hot.page_shift;
	bool own;

	gmm_lock_invalidate(&guest->invalidation.lock);
	own = gmm_invalidate_find(guest, kind, target >> shift, last >> shift, GMM_CHANGE_OWN);
	gmm_unlock_invalidate(&guest->invalidation.lock);
	return own;
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
	if (would_deadlock(cache) || is_own_change(cache, kind, target, last))
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
	if (gmm_load_relaxed(&cache->active) && cache->kind == kind && cache->uses == uses &&
	    cache->target >> shift == target >> shift && cache->page_count == page_count) {
		error = retarget_within(cache, target, length);
	} else {
		error = unlist(cache);
		if (!error) {
			cache->uses = uses;
			list(cache, kind, target, length, page_count);
		}
	}
	if (error) {
		gmm_unlock_cache(&cache->mutex);
		return error;
	}
	error = gmm_cache_refresh_locked(cache);
	gmm_unlock_cache(&cache->mutex);
	return error == -GMM_EBUSY ? gmm_cache_refresh_waiting(cache) : error;
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
	int error;

	if (would_deadlock(cache))
		return -GMM_EDEADLK;
	gmm_lock_cache(&cache->mutex);
	error = unlist(cache);
	gmm_unlock_cache(&cache->mutex);
	return error;
}

int gmm_cache_drop(struct gmm_cache *cache)
{
	int error;

	if (would_deadlock(cache))
		return -GMM_EDEADLK;
	gmm_lock_cache(&cache->mutex);
	error = gmm_load_relaxed(&cache->active) ? withdraw(cache) : -GMM_EINVAL;
	if (!error)
		gmm_cache_unmap(cache);
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
	int error = gmm_cache_deactivate(cache);

	if (error)
		return error;
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
	gmm_interval_for_each(node, &guest->invalidation.caches[kind], *start, last) {
		struct gmm_cache *cache = gmm_container_of(node, struct gmm_cache, node);

		/* What is leased was mapped after the memory had gone: its removal waited. */
		if (gmm_cache_is_valid(cache) || !gmm_cache_mapping(cache) || cache->leases)
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

void gmm_cache_unpin_locked(struct gmm_cache *cache)
{
	struct gmm_invalidation *invalidation = &cache->guest->invalidation;

	cache->pins--;
	if (invalidation->drainers)
		gmm_waitqueue_wake_all(&invalidation->ended);
}

static void unpin(struct gmm_cache *cache)
{
	struct gmm_invalidation *invalidation = &cache->guest->invalidation;

	gmm_lock_invalidate(&invalidation->lock);
	gmm_cache_unpin_locked(cache);
	gmm_unlock_invalidate(&invalidation->lock);
}

void gmm_caches_drop_mappings(struct gmm_guest *guest, enum gmm_range_kind kind, uint64_t start,
			      uint64_t last)
{
	struct gmm_cache *cache;

	while ((cache = pin_next(guest, kind, &start, last))) {
		gmm_lock_cache(&cache->mutex);
		if (!gmm_cache_is_valid(cache) && !gmm_lease_held(cache)) {
			/* Another change may have cleared it just now, and be waiting for readers. */
			gmm_section_domain_wait(&guest->sections);
			gmm_cache_unmap(cache);
		}
		gmm_unlock_cache(&cache->mutex);
		unpin(cache);
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
