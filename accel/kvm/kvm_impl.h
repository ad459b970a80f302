/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* accel/kvm inside: one VM and its vCPUs; slots.c has its slots. */
#ifndef GMM_ACCEL_KVM_IMPL_H
#define GMM_ACCEL_KVM_IMPL_H

#include <stddef.h>
#include <sys/types.h>

#include <guestmm/linux/kvm_slots.h>

#include "../accel.h"
#include "../linux_uapi.h"

#include "../../guest/abi.h"

struct gmm_accel {
	/* Immutable after create. */
	struct gmm_accel_config config;
	int kvm; /* /dev/kvm */
	int vm;
	size_t run_bytes;
	uint32_t ring_entries; /* 0: bitmap mode */
	struct gmm_kvm_slots *slots;
};

struct gmm_accel_vcpu {
	/* Immutable. */
	struct gmm_accel *accel;
	struct gmm_accel_vcpu_start start;
	int descriptor;
	pid_t thread;
	struct kvm_run *run;

	/* Of the vCPU's own thread. */
	bool unfinished; /* the last exit is completed by the next entry only */
	bool has_exit;	 /* completing it gave another, which was not told yet */
	bool frame_due;	 /* `frame_number` is to be used when its instruction is over */
	uint64_t frame_number;

	/* Atomic. */
	uint32_t kicked; /* a kick signal was or is being sent and was not taken yet */
};

int kvm_vcpu_create(struct gmm_accel *accel, const struct gmm_accel_vcpu_start *start,
		    struct gmm_accel_vcpu **vcpu, char text[GMM_ACCEL_TEXT_BYTES]);
void kvm_vcpu_destroy(struct gmm_accel_vcpu *vcpu);
int kvm_vcpu_set_frame(struct gmm_accel_vcpu *vcpu, uint64_t frame_number);
void kvm_vcpu_run(struct gmm_accel_vcpu *vcpu, struct gmm_accel_exit *exit);
void kvm_vcpu_kick(struct gmm_accel_vcpu *vcpu);

#endif
