/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What the rest of the engine asks about leases. Counts change under the invalidation's lock: "is
 * it leased?" and "nobody can lease it any more" are one step with a change of its range.
 */
#ifndef GMM_CORE_LEASE_IMPL_H
#define GMM_CORE_LEASE_IMPL_H

#include <guestmm/lease.h>

#include "cache_impl.h"

/* Frames that one look-up covers: those of a table. */
#define GMM_LEASED_FRAMES 512u

/* Whether a cache over [start, last] of `kind`, directly or through slots, is leased. Under lock. */
bool gmm_lease_any(struct gmm_guest *guest, enum gmm_range_kind kind, uint64_t start, uint64_t last)
	GMM_REQUIRES(gmm_rank_invalidate);

/* The same, asking and sleeping until there is none: the caller's change keeps new ones out. */
void gmm_lease_wait(struct gmm_guest *guest, enum gmm_range_kind kind, uint64_t start,
		    uint64_t last);

/* Whether anything of the guest was leased a moment ago. Without the lock. */
GMM_INLINE bool gmm_lease_any_hint(const struct gmm_guest *guest)
{
	return gmm_load_relaxed(&guest->invalidation.leases);
}

/*
 * Sets bit i of bits[] when frame gfn + i is leased, for `count` frames, GMM_LEASED_FRAMES at most,
 * and clears the others. Returns whether there is one.
 */
bool gmm_lease_frames(struct gmm_guest *guest, gmm_gfn_t gfn, uint32_t count, uint64_t *bits);

/* Whether the cache is leased now. It is not valid: so it stays unleased, once it is. */
bool gmm_lease_held(struct gmm_cache *cache);

/*
 * Whether the mapping has to stay because of a lease; then gmm_lease_wait_change() waits for its
 * end. Under the cache's mutex, not valid.
 */
bool gmm_lease_keeps_mapping(struct gmm_cache *cache);

/*
 * Sleeps until nobody changes [start, last] of `kind`, and no cache over it is held back by leases
 * on a mapping that is to be replaced. -GMM_EDEADLK: it would, and this thread changes something.
 */
int gmm_lease_wait_change(struct gmm_guest *guest, enum gmm_range_kind kind, uint64_t start,
			  uint64_t last);

#endif
