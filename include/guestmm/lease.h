/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Leases (W7): a use of a cache for I/O that outlives a section or ends on another thread. While a
 * cache is leased its pointer stays right: a blocking change asks the holder and sleeps until the
 * last lease is dropped, eviction passes its pages over, a refresh keeps its mapping. The pattern:
 *
 *	error = gmm_lease_take(cache, offset, length, GMM_LEASE_WRITE, &pointer);
 *	... submit a read into `pointer`; nothing of guestmm is held meanwhile ...
 *	gmm_lease_drop(cache, offset, bytes_read);    -- at its completion, on any thread
 *
 * Whoever waits for a change waits for all leases of its range. So a thread on which the drop of a
 * lease depends never sleeps for a change: further leases it takes with GMM_LEASE_NO_WAIT, it
 * refreshes nothing, and a change that it begins itself over a leased range ends only if the lease
 * can be dropped without it (by the ask function, or on another thread).
 */
#ifndef GUESTMM_LEASE_H
#define GUESTMM_LEASE_H

#include <guestmm/guest.h>
#include <guestmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GMM_LEASE_WRITE 1u   /* the I/O stores: refused over a read-only slot */
#define GMM_LEASE_NO_WAIT 2u /* does not sleep for a change of the range: -GMM_EAGAIN */

/*
 * Counts a lease of the whole area of `cache` (GMM_CACHE_HOST) and stores the pointer to [offset,
 * offset + length) in *pointer, for use until the drop, in sections or not. Refreshes first when
 * the cache is not valid. Leases are counted and have no owner: one is taken and dropped on any
 * thread, several may be held.
 *
 * Errors: those of gmm_cache_refresh(); -GMM_EINVAL also: no GMM_CACHE_HOST, unknown flags, or
 * length 0; -GMM_ERANGE: not within the area; -GMM_EROFS: GMM_LEASE_WRITE and the cache is not
 * writable; -GMM_EAGAIN: GMM_LEASE_NO_WAIT and somebody changes the range; -GMM_EDEADLK: in a
 * section. Nothing is counted then. May sleep; with NO_WAIT not for changes and leases, but still
 * for the memory and the owners of its pages.
 */
GMM_API int gmm_lease_take(struct gmm_cache *cache, uint64_t offset, uint64_t length,
			   uint32_t flags, void **pointer);

/*
 * Drops one lease. Puts the pages of [offset, offset + written), with `written` not 0, into the
 * dirty log before: all stores of the I/O have to be visible to the caller, which its completion
 * says. A cache by HVA has no log. Wakes who waits for the last lease. Any thread, also in a
 * section and in the ask function; takes a spinning lock for a moment, never sleeps.
 */
GMM_API void gmm_lease_drop(struct gmm_cache *cache, uint64_t offset, uint64_t written);

/*
 * Asks the holder of leases to drop them soon (to cancel the I/O, or let it complete). Called once
 * for all leases held when the first waiter comes, on its thread, which may have the engine's
 * mutexes: of guestmm it may call gmm_lease_drop() only, and it must not wait for a thread that
 * calls anything else.
 */
typedef void (*gmm_lease_ask_fn)(void *opaque, struct gmm_cache *cache);

/*
 * Sets that function; NULL, the default: waiters just wait. -GMM_EBUSY: the cache is active. May
 * sleep.
 */
GMM_API int gmm_lease_set_ask(struct gmm_cache *cache, gmm_lease_ask_fn ask, void *opaque);

/* Leases of the cache now. Any context. */
GMM_API uint32_t gmm_lease_count(struct gmm_cache *cache);

#ifdef __cplusplus
}
#endif

#endif
