/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_CORE_GUEST_IMPL_H
#define GMM_CORE_GUEST_IMPL_H

#include <guestmm/guest.h>
#include <guestmm/static/slot.h>

#include <gmm_port/step.h>
#include <gmm_port/trace.h>
#include <gmm_port/wait.h>

#include "guest_table.h"
#include "invalidate_impl.h"
#include "lock_rank.h"
#include "section_impl.h"
#include "slot_impl.h"
#include "stage2/stage2.h"

struct gmm_guest {
	struct gmm_guest_hot hot;

	/* immutable */
	struct gmm_guest_config config;
	uint64_t directory_entries;

	struct gmm_section_domain sections;
	struct gmm_invalidation invalidation;
	struct gmm_slots slots;
	struct gmm_stage2 stage2;
	struct gmm_guest_table table; /* then there is nothing in stage2 */

	/* Sleeping for a page that somebody changes; the page's state itself is in stage2. */
	struct gmm_spinlock pages_lock;
	struct gmm_waitqueue pages_free;

	/* under vcpus_lock; entries of vcpus[] are also read without it */
	struct gmm_spinlock vcpus_lock;
	struct gmm_vcpu **vcpus;    /* max_vcpus entries, atomic */
	struct gmm_vcpu *graveyard; /* destroyed, freed with the guest */
	uint32_t vcpu_count;

	gmm_gfn_t clock_hand; /* of who has set `trimming` */

	/* atomic */
	uint32_t trimming;
	uint32_t cache_count;
	uint32_t warned;
	uint64_t resident;
	struct gmm_guest_counters counters;
};

#define gmm_count(guest, counter, amount) \
	((void)gmm_fetch_add(&(guest)->counters.counter, (uint64_t)(amount)))

#define gmm_leaves_out(guest, what) (GMM_STEPS && ((guest)->config.leave_out & (what)))

/* A line to the guest's log. Any context. */
void gmm_log(const struct gmm_guest *guest, enum gmm_log_level level, const char *text);

/* Things that must not happen: a line once a guest, and the safe outcome by the caller. */
enum gmm_warning {
	GMM_WARN_NONBLOCKING_IN_GUEST = 1,
	GMM_WARN_END_WITHOUT_BEGIN = 2,
	GMM_WARN_OWNER_FAILED = 4,
	GMM_WARN_RING_FULL = 8,
	GMM_WARN_NONBLOCKING_LEASED = 16,
};
void gmm_warn_once(struct gmm_guest *guest, enum gmm_warning warning, const char *text);

/*
 * Frames that a caller names: -GMM_EINVAL: none; -GMM_ERANGE: beyond the guest's address space.
 */
int gmm_frames_check(const struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count);

/* Both kinds of range, and the slots by either. The trees under slots.mutex or the lock. */
GMM_INLINE enum gmm_range_kind gmm_other_kind(enum gmm_range_kind kind)
{
	return kind == GMM_RANGE_HVA ? GMM_RANGE_GFN : GMM_RANGE_HVA;
}

GMM_INLINE struct gmm_interval_tree *gmm_slots_by(struct gmm_guest *guest, enum gmm_range_kind kind)
{
	return kind == GMM_RANGE_HVA ? &guest->slots.by_hva : &guest->slots.by_gfn;
}

GMM_INLINE struct gmm_slot *gmm_slot_of_node(struct gmm_interval *node, enum gmm_range_kind kind)
{
	return kind == GMM_RANGE_HVA ? gmm_container_of(node, struct gmm_slot, by_hva) :
				       gmm_container_of(node, struct gmm_slot, by_gfn);
}

/* A page's owner lets go of it: wakes threads that sleep for any page. */
void gmm_pages_wake(struct gmm_guest *guest);

#endif
