/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Aging, evicting and discarding. All are changes that this process makes: they invalidate what
 * they touch, and are for a thread of their own, never for the one that serves faults (W2).
 */
#ifndef GUESTMM_EVICT_H
#define GUESTMM_EVICT_H

#include <guestmm/guest.h>
#include <guestmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Tests and clears young in [gfn, gfn + count), in batches: returns the number of pages that were
 * young; with `bitmap`, sets bit i when gfn + i was. The pages' mappings are dropped where the
 * memory allows it (GMM_MEMORY_AGEABLE), so that the next access tells. With GMM_AGE_TEST_ONLY
 * nothing is cleared. Pages that somebody is changing, and leased ones (lease.h), count as young;
 * frames in no slot are passed over. -GMM_EINVAL: no pages; -GMM_ERANGE: beyond the address space; -GMM_EIO, -GMM_EDEADLK. May
 * sleep.
 */
#define GMM_AGE_TEST_ONLY 1u
GMM_API int64_t gmm_age(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count, uint32_t flags,
			uint64_t *bitmap);

/*
 * Evicts the resident pages of [gfn, gfn + count): invalidate, wait, write-protect, write out,
 * discard, wake (W10). With GMM_EVICT_COLD only pages that are not young. Pages that somebody is
 * changing, and leased ones, are left. Returns the number evicted, which may be 0; -GMM_EOPNOTSUPP: memory that
 * cannot; -GMM_EINVAL: no pages; -GMM_ERANGE: not all in slots; -GMM_ENOMEM, -GMM_EDEADLK;
 * -GMM_EIO: writing out failed, and those pages stay resident. May sleep.
 */
#define GMM_EVICT_COLD 1u
GMM_API int64_t gmm_evict(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count, uint32_t flags);

/*
 * Throws the contents of [gfn, gfn + count) away: the pages read as zero from now on. The dirty log
 * has them as written. Waits for pages that somebody is changing, and for leases. Errors as for gmm_evict(). May
 * sleep.
 */
GMM_API int gmm_discard(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count);

/* Resident pages of lazy memory, over all slots. Any context. */
GMM_API uint64_t gmm_resident_pages(const struct gmm_guest *guest);

/*
 * A clock hand goes over all evictable slots: ages what it passes and evicts what was not touched
 * since it last came by, until at most `target` pages are resident, no more pages than that takes.
 * After three rounds it takes young ones too, for one. Returns pages evicted, or an error of
 * gmm_evict(). One caller at a time (-GMM_EBUSY). May sleep.
 */
GMM_API int64_t gmm_resident_trim(struct gmm_guest *guest, uint64_t target);

#ifdef __cplusplus
}
#endif

#endif
