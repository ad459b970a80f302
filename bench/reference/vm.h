/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A virtual machine by bare calls of KVM, running the tiny guest: what the engine's use of KVM is
 * compared with.
 */
#ifndef GMM_BENCH_REFERENCE_VM_H
#define GMM_BENCH_REFERENCE_VM_H

#include <stdbool.h>
#include <stdint.h>

#include "../support/tiny_guest.h"

struct reference_vm {
	int kvm;
	int vm;
	uint8_t *low;
	int vcpu[TINY_VCPUS];
	void *run[TINY_VCPUS];
};

/* Manual clearing of the log on, the quirk that empties the second stage off, as accel/kvm does. */
void reference_vm_make(struct reference_vm *vm, bool write);
void reference_vm_end(struct reference_vm *vm);
/* Slots 1 to 3 are free; bytes 0 deletes. */
void reference_vm_slot(struct reference_vm *vm, uint32_t slot, uint64_t gpa, void *memory,
		       uint64_t bytes, bool logged);
/* By the thread that runs it. */
void reference_vm_add_vcpu(struct reference_vm *vm, uint32_t vcpu);
/* One run through the list. */
void reference_vm_run(struct reference_vm *vm, uint32_t vcpu);
void reference_vm_log_get(struct reference_vm *vm, uint32_t slot, uint64_t *words);
void reference_vm_log_clear(struct reference_vm *vm, uint32_t slot, uint64_t *words,
			    uint64_t pages);

#endif
