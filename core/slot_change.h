/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Changes of slots, core/slot_change.c, and what they are made of: checks and lists, core/slot.c;
 * phases, core/slot_phases.c. All under slots.mutex, except checks that need none.
 */
#ifndef GMM_CORE_SLOT_CHANGE_H
#define GMM_CORE_SLOT_CHANGE_H

#include "guest_impl.h"

/* Combinations that a slot's flags may not have. -GMM_EINVAL. Any context. */
int gmm_slot_check_flags(uint32_t flags);
/* Sums that wrap, and frames beyond the address space. -GMM_ERANGE. Any context. */
int gmm_slot_check_range(const struct gmm_guest *guest, const struct gmm_slot_config *config);
/* Both, and all else that a config may not be. Any context. */
int gmm_slot_check_config(const struct gmm_guest *guest, const struct gmm_slot_config *config);
/* Whether frames are taken by a slot other than `self`. */
bool gmm_slot_is_taken(struct gmm_guest *guest, const struct gmm_slot *self, gmm_gfn_t gfn,
		       uint64_t count);

/* From here on the slot is found by what its config says, or not. Under the lock too. */
void gmm_slot_list(struct gmm_guest *guest, struct gmm_slot *slot);
void gmm_slot_unlist(struct gmm_guest *guest, struct gmm_slot *slot);

/* A change of one slot: what it was and what it becomes (NULL: nothing), and where that shows. */
struct gmm_slot_change {
	const struct gmm_slot_config *old;
	const struct gmm_slot_config *now;
	struct gmm_range frames[2];
	uint32_t count;
	struct gmm_range addresses; /* that memory without a slot loses to it; end 0: none */
};

/* The configs stay the caller's, and stay as they are until the end. */
void gmm_slot_change_plan(struct gmm_guest *guest, struct gmm_slot_change *change,
			  const struct gmm_slot_config *old, const struct gmm_slot_config *now);
/* Into the first phase. -GMM_EDEADLK. Sleeps. */
int gmm_slot_change_open(struct gmm_guest *guest, const struct gmm_slot_change *change);
/* What the owner of the second stage says to it: its error, or 0. In the first phase. */
int gmm_slot_change_tell_owner(struct gmm_guest *guest, const struct gmm_slot_change *change);
/* Into the second phase. Sleeps. */
void gmm_slot_change_hold(struct gmm_guest *guest, const struct gmm_slot_change *change);
/* All three; an error, of the first or the owner's, leaves nothing begun. */
int gmm_slot_change_begin(struct gmm_guest *guest, const struct gmm_slot_change *change);
/* The end of the second phase: what was held at the old slot's addresses is woken. */
void gmm_slot_change_end(struct gmm_guest *guest, const struct gmm_slot_change *change);
/* Wakes what was held at a slot's addresses meanwhile. */
void gmm_slot_wake_vcpus(struct gmm_guest *guest, const struct gmm_slot_config *config);

#endif
