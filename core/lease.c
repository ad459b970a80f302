/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Leases. A count in the cache, taken while it is valid and under the lock under which a change
 * takes `valid` away: so a change that has begun sees every lease there will be until its end.
 */
#include "lease_impl.h"

#include <gmm_port/alloc.h>
#include <gmm_port/step.h>

#include "dirty_impl.h"

static struct gmm_cache *first_leased(struct gmm_interval_tree *tree, uint64_t start, uint64_t last,
				      bool replacing)
{
	struct gmm_interval *node;

	gmm_interval_for_each(node, tree, start, last) {
		struct gmm_cache *cache = gmm_container_of(node, struct gmm_cache, node);

		if (cache->leases && (!replacing || cache->replacing))
			return cache;
	}
	return NULL;
}

/* A leased cache over [start, last] of `kind`, directly or through the slots there, or NULL. */
static struct gmm_cache *find_leased(struct gmm_guest *guest, enum gmm_range_kind kind,
				     uint64_t start, uint64_t last)
{
	struct gmm_interval_tree *caches = guest->invalidation.caches;
	enum gmm_range_kind other = gmm_other_kind(kind);
	struct gmm_cache *found;
	struct gmm_interval *node;

	if (!gmm_lease_any_hint(guest))
		return NULL;
	found = first_leased(&caches[kind], start, last, false);
	if (found)
		return found;
	gmm_interval_for_each(node, gmm_slots_by(guest, kind), start, last) {
		uint64_t other_start, other_last;

		gmm_invalidate_convert(guest, gmm_slot_of_node(node, kind), kind, start, last,
				       &other_start, &other_last);
		found = first_leased(&caches[other], other_start, other_last, false);
		if (found)
			return found;
	}
	return NULL;
}

bool gmm_lease_any(struct gmm_guest *guest, enum gmm_range_kind kind, uint64_t start, uint64_t last)
{
	return find_leased(guest, kind, start, last);
}

/* Asks the holder, without the lock, if nobody has asked yet; else sleeps until a lease goes. */
static void ask_or_sleep(struct gmm_guest *guest, struct gmm_cache *cache)
	GMM_REQUIRES(gmm_rank_invalidate)
{
	struct gmm_invalidation *invalidation = &guest->invalidation;

	if (cache->asked || !cache->ask) {
		gmm_step(GMM_STEP_LEASE_WAIT);
		invalidation->lease_waiters++;
		gmm_waitqueue_wait(&invalidation->unleased, &invalidation->lock);
		invalidation->lease_waiters--;
		return;
	}
	cache->asked = true;
	cache->pins++;
	gmm_unlock_invalidate(&invalidation->lock);
	gmm_count(guest, lease_asks, 1);
	cache->ask(cache->ask_opaque, cache);
	gmm_lock_invalidate(&invalidation->lock);
	gmm_cache_unpin_locked(cache);
}

void gmm_lease_wait(struct gmm_guest *guest, enum gmm_range_kind kind, uint64_t start,
		    uint64_t last)
{
	struct gmm_cache *cache;
	bool waited = false;

	gmm_lock_invalidate(&guest->invalidation.lock);
	while ((cache = find_leased(guest, kind, start, last))) {
		waited = true;
		ask_or_sleep(guest, cache);
	}
	gmm_unlock_invalidate(&guest->invalidation.lock);
	if (waited)
		gmm_count(guest, lease_waits, 1);
}

int gmm_lease_wait_change(struct gmm_guest *guest, enum gmm_range_kind kind, uint64_t start,
			  uint64_t last)
{
	struct gmm_invalidation *invalidation = &guest->invalidation;
	struct gmm_cache *cache;
	int error;

	gmm_lock_invalidate(&invalidation->lock);
	while (!(error = gmm_invalidate_wait_locked(guest, kind, start, last, GMM_CHANGE_ANY))) {
		cache = first_leased(&invalidation->caches[kind], start, last, true);
		if (!cache)
			break;
		if (gmm_active_any_own(invalidation)) {
			error = -GMM_EDEADLK;
			break;
		}
		ask_or_sleep(guest, cache);
	}
	gmm_unlock_invalidate(&invalidation->lock);
	return error;
}

static void set_bits(uint64_t *bits, gmm_gfn_t gfn, uint32_t count, gmm_gfn_t first, gmm_gfn_t last)
{
	uint64_t bit = first > gfn ? first - gfn : 0;

	for (; bit < count && gfn + bit <= last; bit++)
		bits[bit / 64] |= (uint64_t)1 << (bit % 64);
}

/* Caches by HVA over the part of a slot that lies in the frames. */
static void set_bits_of_addresses(struct gmm_guest *guest, struct gmm_slot *slot, gmm_gfn_t gfn,
				  uint32_t count, uint64_t *bits)
{
	struct gmm_interval *node;
	uint64_t start, last;

	gmm_invalidate_convert(guest, slot, GMM_RANGE_GFN, gfn, gfn + count - 1, &start, &last);
	gmm_interval_for_each(node, &guest->invalidation.caches[GMM_RANGE_HVA], start, last) {
		gmm_gfn_t first, end;

		if (!gmm_container_of(node, struct gmm_cache, node)->leases)
			continue;
		gmm_invalidate_convert(guest, slot, GMM_RANGE_HVA, node->start, node->last, &first,
				       &end);
		set_bits(bits, gfn, count, first, end);
	}
}

bool gmm_lease_frames(struct gmm_guest *guest, gmm_gfn_t gfn, uint32_t count, uint64_t *bits)
{
	struct gmm_invalidation *invalidation = &guest->invalidation;
	gmm_gfn_t last = gfn + count - 1;
	struct gmm_interval *node;
	uint64_t any = 0;
	uint32_t i;

	gmm_assert(count <= GMM_LEASED_FRAMES);
	gmm_memset(bits, 0, GMM_LEASED_FRAMES / 8);
	if (!gmm_lease_any_hint(guest))
		return false;
	gmm_lock_invalidate(&invalidation->lock);
	gmm_interval_for_each(node, &invalidation->caches[GMM_RANGE_GFN], gfn, last)
		if (gmm_container_of(node, struct gmm_cache, node)->leases)
			set_bits(bits, gfn, count, node->start, node->last);
	gmm_interval_for_each(node, &guest->slots.by_gfn, gfn, last)
		set_bits_of_addresses(guest, gmm_slot_of_node(node, GMM_RANGE_GFN), gfn, count,
				      bits);
	gmm_unlock_invalidate(&invalidation->lock);
	for (i = 0; i < GMM_LEASED_FRAMES / 64; i++)
		any |= bits[i];
	return any;
}

bool gmm_lease_held(struct gmm_cache *cache)
{
	return gmm_lease_count(cache);
}

bool gmm_lease_keeps_mapping(struct gmm_cache *cache)
{
	struct gmm_invalidation *invalidation = &cache->guest->invalidation;
	bool keeps;

	gmm_lock_invalidate(&invalidation->lock);
	keeps = cache->leases;
	cache->replacing |= keeps;
	gmm_unlock_invalidate(&invalidation->lock);
	return keeps;
}

/* Takes one of a valid cache. -GMM_EAGAIN: it is not valid. */
static int take_valid(struct gmm_cache *cache, uint64_t offset, uint64_t length, uint32_t flags,
		      void **pointer)
{
	struct gmm_invalidation *invalidation = &cache->guest->invalidation;
	const struct gmm_cache_hot *hot = &cache->hot;
	int error = 0;

	gmm_lock_invalidate(&invalidation->lock);
	if (!gmm_load_relaxed(&hot->valid))
		error = -GMM_EAGAIN;
	else if (!hot->pointer)
		error = -GMM_EINVAL;
	else if (offset > hot->length || length > hot->length - offset)
		error = -GMM_ERANGE;
	else if ((flags & GMM_LEASE_WRITE) && !(hot->traits & GMM_CACHE_HOT_WRITABLE))
		error = -GMM_EROFS;
	if (!error) {
		cache->leases++;
		gmm_store_relaxed(&invalidation->leases, invalidation->leases + 1);
		*pointer = hot->pointer + offset;
	}
	gmm_unlock_invalidate(&invalidation->lock);
	return error;
}

int gmm_lease_take(struct gmm_cache *cache, uint64_t offset, uint64_t length, uint32_t flags,
		   void **pointer)
{
	int error;

	if (!length || (flags & ~(GMM_LEASE_WRITE | GMM_LEASE_NO_WAIT)))
		return -GMM_EINVAL;
	if (gmm_section_inside(&cache->guest->sections))
		return -GMM_EDEADLK;
	while ((error = take_valid(cache, offset, length, flags, pointer)) == -GMM_EAGAIN) {
		error = flags & GMM_LEASE_NO_WAIT ? gmm_cache_try_refresh(cache) :
						    gmm_cache_refresh_waiting(cache);
		if (error)
			return error == -GMM_EBUSY ? -GMM_EAGAIN : error;
	}
	if (!error) {
		gmm_count(cache->guest, leases, 1);
		gmm_trace(lease_take, cache, offset, length, flags);
	}
	return error;
}

/*
 * The bit is set by a read-modify-write although it may be set already: a harvest does not wait for
 * leases, so its taking of the bit is ordered with the I/O's stores by this alone.
 */
static void mark_written(struct gmm_cache *cache, uint64_t offset, uint64_t written)
	GMM_REQUIRES(gmm_rank_invalidate)
{
	uint32_t shift = cache->guest->hot.page_shift;
	uint64_t first = cache->target + offset;

	gmm_assert(offset <= cache->length && written <= cache->length - offset);
	if (written && cache->kind == GMM_RANGE_GFN)
		gmm_dirty_mark_locked(cache->guest, first >> shift, (first + written - 1) >> shift);
}

void gmm_lease_drop(struct gmm_cache *cache, uint64_t offset, uint64_t written)
{
	struct gmm_invalidation *invalidation = &cache->guest->invalidation;

	gmm_trace(lease_drop, cache, offset, written);
	gmm_lock_invalidate(&invalidation->lock);
	gmm_assert(cache->leases);
	mark_written(cache, offset, written);
	gmm_store_relaxed(&invalidation->leases, invalidation->leases - 1);
	if (!--cache->leases) {
		cache->asked = false;
		cache->replacing = false;
		if (invalidation->lease_waiters)
			gmm_waitqueue_wake_all(&invalidation->unleased);
	}
	gmm_unlock_invalidate(&invalidation->lock);
}

int gmm_lease_set_ask(struct gmm_cache *cache, gmm_lease_ask_fn ask, void *opaque)
{
	int error = 0;

	if (gmm_section_inside(&cache->guest->sections))
		return -GMM_EDEADLK;
	gmm_lock_cache(&cache->mutex);
	if (gmm_cache_is_active(cache)) {
		error = -GMM_EBUSY;
	} else {
		cache->ask = ask;
		cache->ask_opaque = opaque;
	}
	gmm_unlock_cache(&cache->mutex);
	return error;
}

uint32_t gmm_lease_count(struct gmm_cache *cache)
{
	struct gmm_invalidation *invalidation = &cache->guest->invalidation;
	uint32_t leases;

	gmm_lock_invalidate(&invalidation->lock);
	leases = cache->leases;
	gmm_unlock_invalidate(&invalidation->lock);
	return leases;
}
