/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_CORE_CACHE_IMPL_H
#define GMM_CORE_CACHE_IMPL_H

#include <guestmm/lease.h>
#include <guestmm/static/cache.h>

#include "guest_impl.h"

#define GMM_CACHE_HIT_WORDS (GMM_CACHE_PAGES_MAX / 64)

/* What an invalidation touches comes first, on three cache lines. */
struct gmm_cache {
	/*
	 * Changes only while `valid` is 0 and no section can still be using it; `valid` itself is
	 * set and cleared under the invalidation's lock.
	 */
	struct gmm_cache_hot hot;

	/* under the invalidation's lock */
	uint32_t overtaken; /* hit since the refresh began to resolve */
	/* In the index: every invalidation sees the cache (P10, P11). Also atomic, for vCPUs. */
	uint32_t active;
	uint64_t *vcpus; /* set of ids, or NULL */
	struct gmm_interval node;
	uint64_t hits[GMM_CACHE_HIT_WORDS]; /* pages to resolve again */
	uint32_t pins;			    /* others who look at it: it is not freed */
	uint32_t leases;
	bool asked;	/* the holder of these leases, to drop them */
	bool replacing; /* a refresh needs another mapping, and waits for them */

	/* under mutex and the invalidation's lock; either is enough to read */
	enum gmm_range_kind kind;
	uint32_t page_count;
	uint64_t target; /* GPA or HVA of the first byte */
	uint64_t length;

	/* changes only while inactive, under mutex */
	gmm_lease_ask_fn ask;
	void *ask_opaque;

	struct gmm_guest *guest; /* immutable */

	/* under mutex */
	struct gmm_mutex mutex;
	uint32_t uses;
	uint32_t capacity; /* of pfns[] */
	/*
	 * Of the pages, GMM_PFN_NONE: not resolved; vCPUs of the set read them while valid. As many
	 * behind.
	 */
	gmm_pfn_t *pfns;
	void *mapping; /* page-aligned, or NULL; atomic */
	uint32_t mapping_pages;
	uint32_t mapping_access;
	const struct gmm_memory_ops *ops; /* of the mapping and the frames */
	void *memory;
};

/*
 * An invalidation of [start, last] meets the cache, in the unit of its kind, whose pages are of
 * 1 << page_shift units; the set has `words` words: clears valid, notes
 * the pages, adds its vCPUs to kick[]. Returns whether it was valid. Under the invalidation's lock.
 */
bool gmm_cache_hit(struct gmm_cache *cache, uint32_t page_shift, uint32_t words, uint64_t start,
		   uint64_t last, uint64_t *kick);

/* Whether the cache is active and valid now; for a vCPU about to enter. */
GMM_INLINE bool gmm_cache_is_valid(const struct gmm_cache *cache)
{
	return gmm_load_acquire(&cache->hot.valid);
}

GMM_INLINE uint64_t gmm_cache_page_mask(const struct gmm_cache *cache)
{
	return ((uint64_t)1 << cache->guest->hot.page_shift) - 1;
}

/* Under mutex, or as a hint. */
GMM_INLINE void *gmm_cache_mapping(const struct gmm_cache *cache)
{
	return gmm_load_relaxed(&cache->mapping);
}

/* Pages first … last are to be resolved again. Under the invalidation's lock. */
void gmm_cache_set_hits(struct gmm_cache *cache, uint32_t first, uint32_t last);

/* Lets go of a cache that was pinned. Under the invalidation's lock. */
void gmm_cache_unpin_locked(struct gmm_cache *cache);

/* Undoes the mapping. The cache is not valid, no section uses it, no lease. Under mutex. */
void gmm_cache_unmap(struct gmm_cache *cache);
/* No vCPU uses a frame of it either. Under mutex. */
void gmm_cache_forget_frames(struct gmm_cache *cache);

/* Under mutex: 0, or an error of gmm_cache_refresh(), or -GMM_EBUSY: somebody changes the range. */
int gmm_cache_refresh_locked(struct gmm_cache *cache);
/* Without it: waits for changes. Not in a section. */
int gmm_cache_refresh_waiting(struct gmm_cache *cache);
/* Refreshes, but does not wait for a change: -GMM_EBUSY. Not in a section. */
int gmm_cache_try_refresh(struct gmm_cache *cache);
/*
 * Undoes the mappings that caches over [start, last] of `kind` have kept although they are not
 * valid: the memory is about to go. May sleep.
 */
void gmm_caches_drop_mappings(struct gmm_guest *guest, enum gmm_range_kind kind, uint64_t start,
			      uint64_t last);

GMM_INLINE bool gmm_cache_is_active(const struct gmm_cache *cache)
{
	return gmm_load_acquire(&cache->active);
}

/* A vCPU leaves the cache's set, or joins it. Under the vCPU's uses_mutex. */
int gmm_vcpu_use_add(struct gmm_vcpu *vcpu, struct gmm_cache *cache);
int gmm_vcpu_use_remove(struct gmm_vcpu *vcpu, struct gmm_cache *cache);

#endif
