/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* accel/kvm inside: one VM, its slots with their dirty logs, its vCPUs with their rings. */
#ifndef GMM_ACCEL_KVM_IMPL_H
#define GMM_ACCEL_KVM_IMPL_H

#include <pthread.h>
#include <stddef.h>
#include <sys/types.h>

#include "../accel.h"
#include "../linux_uapi.h"
#include "../live_stage2.h"

#include "../../guest/abi.h"

/* A slot that KVM knows. All under gmm_accel.lock. */
struct kvm_slot {
	struct gmm_slot_info info; /* count 0: there is none */
	uint64_t words;		   /* of each bitmap */
	/*
	 * Pages known to be written and not yet collected: from rings, or from a log that went
	 * away.
	 */
	uint64_t *pending;
	uint64_t *log; /* bitmap mode: KVM's answer */
};

struct gmm_accel {
	/* Immutable after create. */
	struct gmm_accel_config config;
	int kvm; /* /dev/kvm */
	int vm;
	size_t run_bytes;
	uint32_t slots_max;
	uint32_t ring_entries; /* 0: bitmap mode */
	struct gmm_stage2_ops stage2_ops;
	struct gmm_live_stage2 live;

	/* Slots, rings and the calls of KVM that change them. */
	pthread_mutex_t lock;
	struct kvm_slot **slots; /* by id */
	struct gmm_accel_vcpu *vcpus[GUEST_VCPUS_MAX];
};

struct gmm_accel_vcpu {
	/* Immutable. */
	struct gmm_accel *accel;
	struct gmm_accel_vcpu_start start;
	int descriptor;
	pid_t thread;
	struct kvm_run *run;
	struct kvm_dirty_gfn *ring; /* or NULL */

	/* Of the vCPU's own thread. */
	bool unfinished; /* the last exit is completed by the next entry only */

	/* Under accel->lock. */
	uint64_t ring_next; /* entries taken so far */

	/* Atomic. */
	uint32_t kicked; /* a kick signal was or is being sent and was not taken yet */
};

/* The second stage's owner is its part that both accelerators have. */
static inline struct gmm_accel *kvm_accel_of(void *owner)
{
	return (struct gmm_accel *)((char *)owner - offsetof(struct gmm_accel, live));
}

int kvm_slot_change(void *owner, const struct gmm_slot_info *old, const struct gmm_slot_info *now);
int kvm_collect_dirty(void *owner, const struct gmm_span *span, uint64_t *words);
/* Takes what is in all rings into the slots' pending bitmaps and protects those pages again. */
int kvm_rings_harvest(struct gmm_accel *accel);
void kvm_slots_free(struct gmm_accel *accel);

int kvm_vcpu_create(struct gmm_accel *accel, const struct gmm_accel_vcpu_start *start,
		    struct gmm_accel_vcpu **vcpu, char text[GMM_ACCEL_TEXT_BYTES]);
void kvm_vcpu_destroy(struct gmm_accel_vcpu *vcpu);
int kvm_vcpu_set_frame(struct gmm_accel_vcpu *vcpu, uint64_t frame_number);
void kvm_vcpu_run(struct gmm_accel_vcpu *vcpu, struct gmm_accel_exit *exit);
void kvm_vcpu_kick(struct gmm_accel_vcpu *vcpu);

#endif
