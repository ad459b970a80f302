/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The dirty log: guest, host and device writes in one place. A bitmap a slot (GMM_SLOT_LOG_DIRTY),
 * and optionally a ring a vCPU. A writer that is no vCPU marks the bitmap even when rings are on.
 */
#ifndef GUESTMM_DIRTY_H
#define GUESTMM_DIRTY_H

#include <guestmm/guest.h>
#include <guestmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Marks pages that a write outside sections and caches changed (a copy by another engine). Pages in
 * slots without a log are passed over; so are frames in no slot. Takes a spinning lock for a
 * moment; never sleeps, also in a section.
 */
GMM_API void gmm_dirty_mark(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count);

/*
 * Harvests pages [first, first + count) of a slot: takes their bits (also from the owner's log and
 * from all vCPUs' rings), protects them so that the next write is seen, and waits once for all
 * sections that could hold a store without its mark (W6). A page whose bit is returned and which is
 * read afterwards is read whole or is dirty again. `first` is a multiple of 64; `bitmap` has a bit
 * a page. Returns the number of bits set; -GMM_ENOENT, -GMM_ERANGE, -GMM_EINVAL: no log, or
 * `first`; -GMM_EDEADLK; -GMM_EIO: bits taken are put back. May sleep. The last harvest of all
 * stops vCPUs and devices first.
 */
GMM_API int64_t gmm_dirty_harvest(struct gmm_guest *guest, uint32_t slot, uint64_t first,
				  uint64_t count, uint64_t *bitmap);

/*
 * The same for a further part of a pass over a slot that gmm_dirty_harvest() began at lower pages:
 * what vCPUs have written since the pass began may be left for the next one. An owner that can read
 * its log as a whole only (KVM) then reads it once a pass and not once a part. The last pass of all
 * begins after vCPUs and devices were stopped.
 */
GMM_API int64_t gmm_dirty_harvest_next(struct gmm_guest *guest, uint32_t slot, uint64_t first,
				       uint64_t count, uint64_t *bitmap);

/*
 * The two halves of a harvest for who wants to protect late: peek copies the bits and changes
 * nothing (but for moving the owner's and rings' bits into the slot's), clear takes exactly those
 * bits that are set in `bitmap`, and leaves there those that were set, protects their pages and
 * waits (L7: the mask is obeyed).
 */
GMM_API int64_t gmm_dirty_peek(struct gmm_guest *guest, uint32_t slot, uint64_t first,
			       uint64_t count, uint64_t *bitmap);
GMM_API int64_t gmm_dirty_clear(struct gmm_guest *guest, uint32_t slot, uint64_t first,
				uint64_t count, uint64_t *bitmap);

/*
 * Rings. One producer (the vCPU's faults), one harvester. An entry goes empty, dirty, harvested (by
 * the consumer), empty again (by reset). A push never fails: when the soft limit (size less the
 * reserve) is reached, gmm_dirty_ring_full() is true and the vCPU must not enter before a reset.
 */
struct gmm_dirty_entry {
	uint32_t flags; /* GMM_DIRTY_ENTRY_*; atomic */
	uint32_t slot;
	uint64_t page; /* of the slot */
};
#define GMM_DIRTY_ENTRY_DIRTY 1u
#define GMM_DIRTY_ENTRY_HARVESTED 2u
#define GMM_DIRTY_RING_RESERVE 64u
#define GMM_DIRTY_RING_MIN 128u
#define GMM_DIRTY_RING_MAX 65536u

/*
 * Gives the vCPU a ring of `entries` (a power of two, MIN … MAX). -GMM_EINVAL, -GMM_EEXIST,
 * -GMM_ENOMEM.
 */
GMM_API int gmm_dirty_ring_create(struct gmm_vcpu *vcpu, uint32_t entries);
/* The shared entries, to be read by a harvester that is another program. Any context. */
GMM_API struct gmm_dirty_entry *gmm_dirty_ring_entries(struct gmm_vcpu *vcpu);
/*
 * Pushes one page; by the vCPU's own thread, or by whoever serves its faults, one at a time.
 * -GMM_ENOENT when it has no ring. In case the ring is full even so, the bit goes to the slot's
 * bitmap: nothing is lost.
 */
GMM_API int gmm_dirty_ring_push(struct gmm_vcpu *vcpu, uint32_t slot, uint64_t page);
GMM_API bool gmm_dirty_ring_full(const struct gmm_vcpu *vcpu);
/* Copies up to `max` dirty entries out and marks them harvested. Returns how many. One harvester. */
GMM_API uint32_t gmm_dirty_ring_harvest(struct gmm_vcpu *vcpu, struct gmm_dirty_entry *out,
					uint32_t max);
/*
 * Takes harvested entries back and protects their pages, coalescing runs. Looks at each entry at
 * most once, however the consumer rewrites the flags; a slot or page that does not exist is
 * passed over. Returns entries taken. May sleep.
 */
GMM_API int64_t gmm_dirty_ring_reset(struct gmm_vcpu *vcpu);

#ifdef __cplusplus
}
#endif

#endif
