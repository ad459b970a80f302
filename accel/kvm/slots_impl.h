/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* KVM's memory slots inside: slots.c changes them, slot_log.c has their dirty logs and the rings. */
#ifndef GMM_ACCEL_KVM_SLOTS_IMPL_H
#define GMM_ACCEL_KVM_SLOTS_IMPL_H

#include <guestmm/linux/kvm_slots.h>

#include <guestmm/memory.h>
#include <guestmm/slot.h>

#include "../linux_uapi.h"
#include "../live_stage2_impl.h"

#define KVM_SLOTS_PAGE_SHIFT 12

struct kvm_slot {
	struct gmm_slot_info info; /* as the engine has it */
	/* What KVM has of it (count 0: nothing): another only after a failure that stayed. */
	struct gmm_slot_info told;
	uint64_t words; /* of each bitmap */
	/*
	 * Pages known to be written and not yet collected: from rings, or from a log that went
	 * away.
	 */
	uint64_t *pending;
	bool has_pending; /* false: there are none */
	/*
	 * Bitmap mode: KVM's answer of a while ago. What lies at `log_next` or behind it was not
	 * handed out yet, and is set in KVM too.
	 */
	uint64_t *log;
	uint64_t log_next; /* page; `count`: there is none */
};

struct kvm_ring {
	struct kvm_ring *next;
	int vcpu;
	struct kvm_dirty_gfn *entries;
	uint64_t taken; /* so far */
};

struct gmm_kvm_slots {
	struct gmm_live_stage2 live; /* first: the owner of the operations is both */

	/* Immutable after create. */
	struct gmm_kvm_slots_config config;
	uint32_t slots_max;

	/* Slots, rings and the calls of KVM that change them. */
	pthread_mutex_t lock;
	struct kvm_slot **slots; /* by id; NULL: there is none */
	struct kvm_ring *rings;
	uint64_t unreset;	     /* entries taken that KVM has not reset yet */
	uint64_t ring_entries_taken; /* atomic */
};

static inline bool kvm_memory_has(const struct gmm_memory_ops *ops, uint32_t flag)
{
	return ops && ops->flags & flag;
}

/* Bitmaps of a slot that logs. -GMM_ENOMEM; slot_log_free() in any case. */
int gmm_kvm_slot_log_make(const struct gmm_kvm_slots *owner, struct kvm_slot *slot);
void gmm_kvm_slot_log_free(struct kvm_slot *slot);
/* Both with owner->lock. Takes what KVM's log knows before the log goes away. -GMM_EIO. */
int gmm_kvm_slot_log_save(struct gmm_kvm_slots *owner, struct kvm_slot *slot);
void gmm_kvm_slot_log_carry(const struct kvm_slot *from, struct kvm_slot *to);

/* gmm_stage2_ops. */
int gmm_kvm_slots_collect_dirty(void *opaque, const struct gmm_span *span, uint64_t *words);
int gmm_kvm_slots_collect_dirty_next(void *opaque, const struct gmm_span *span, uint64_t *words);

void gmm_kvm_slots_rings_free(struct gmm_kvm_slots *owner);

#endif
