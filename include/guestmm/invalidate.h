/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Invalidation: every change of where guest memory is, or of what it holds behind the vCPUs' backs,
 * is begin, change, end (W9). Between the two nobody uses a translation of the range, and whoever
 * needs one sleeps until the end. Who does not overlap is not disturbed (P31).
 */
#ifndef GUESTMM_INVALIDATE_H
#define GUESTMM_INVALIDATE_H

#include <guestmm/guest.h>
#include <guestmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

enum gmm_range_kind {
	GMM_RANGE_HVA, /* bytes of host virtual address, in the vCPUs' mapping */
	GMM_RANGE_GFN, /* guest frames */
};

/* [start, end); end > start. HVA ranges are widened to whole pages. */
struct gmm_range {
	uint64_t start;
	uint64_t end;
};

/*
 * Host readers are excluded as always, but vCPUs that use a frame of the range are kicked without
 * being waited for; if one was in guest mode it is counted and reported once (P34). So are leases.
 */
#define GMM_INVALIDATE_NONBLOCKING 1u

/* Bits of what gmm_invalidate_begin() found; for tests and statistics. */
struct gmm_invalidate_result {
	uint32_t caches; /* valid caches that were cleared */
	uint32_t nodes;	 /* index nodes looked at */
	uint32_t kicked; /* vCPUs kicked */
	uint32_t leased; /* caches with leases */
};

/*
 * Begins a change to `count` ranges of one kind. On return: no cache of these ranges is valid, no
 * section that could have used one is still running, no vCPU of a set that uses one is in guest
 * mode and no cache is leased (both: blocking), and no fault installs a translation of the range until the end (one whose
 * installation a non-blocking begin finds under way undoes it right after). A guest's table (guest.h)
 * has no translation of the range, all are flushed, and there is no such exception. Readers are waited for
 * once, however many ranges there are. Allocates nothing and cannot fail but for
 * misuse: -GMM_EDEADLK in a section, or blocking while this thread has another change in progress;
 * -GMM_EINVAL for an empty range. Blocking may sleep (for vCPUs, leases, and the end of a slot's
 * change of these frames); non-blocking spins for readers, and for the table's flush, only. `result` may be NULL.
 *
 * GMM_ACTIVE_RANGES - 1 of each kind are told apart; what comes on top is merged into one that
 * encloses it all: waiting then covers more than asked, never less, and whose change it is is not
 * known any more.
 */
#define GMM_ACTIVE_RANGES 32u
GMM_API int gmm_invalidate_begin(struct gmm_guest *guest, enum gmm_range_kind kind,
				 const struct gmm_range *ranges, uint32_t count, uint32_t flags,
				 struct gmm_invalidate_result *result);

/* Ends it; the same ranges, any thread. Wakes who waits for them. Never sleeps, never fails. */
GMM_API void gmm_invalidate_end(struct gmm_guest *guest, enum gmm_range_kind kind,
				const struct gmm_range *ranges, uint32_t count);

/*
 * Sleeps until no active change overlaps the range. -GMM_EDEADLK: in a section, or there is one and
 * this thread has a change in progress.
 */
GMM_API int gmm_invalidate_wait(struct gmm_guest *guest, enum gmm_range_kind kind,
				struct gmm_range range);

#ifdef __cplusplus
}
#endif

#endif
