/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Memory slots of a VM of /dev/kvm, for a VMM that has its own vCPU loop: the owner of the live
 * second stage whose slots are KVM's. A slot that is added through the engine becomes a slot of
 * KVM, its pages are filled on demand when its memory is lazy (live_stage2.h), and what KVM logged
 * of the guest's writes comes with gmm_dirty_harvest().
 *
 * The order of use: KVM_CREATE_VM, gmm_kvm_slots_create(), gmm_guest_create() with the operations
 * and the slots as their owner, gmm_fault_service_start(), then slots and vCPUs; the other way round
 * at the end. vCPUs need nothing but KVM_RUN: they wait in their page faults until the fault service
 * has served them. With dirty rings, KVM_EXIT_DIRTY_RING_FULL is answered by
 * gmm_kvm_slots_harvest_rings() and running on.
 *
 * While a vCPU runs, the last harvest may miss what it writes afterwards: stop it first.
 */
#ifndef GUESTMM_LINUX_KVM_SLOTS_H
#define GUESTMM_LINUX_KVM_SLOTS_H

#include <guestmm/linux/live_stage2.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gmm_kvm_slots;

struct gmm_kvm_slots_config {
	int vm; /* descriptor of the VM, which has no slots yet; stays the caller's */
	/*
	 * Serves lazily filled slots; has GMM_USERFAULT_KERNEL and outlives the slots. NULL: slots
	 * with lazy memory are refused.
	 */
	struct gmm_userfault *userfault;
	/* End of the guest's physical address space: no slot reaches beyond it. 0: no such end. */
	uint64_t gpa_bytes;
	/*
	 * 0: KVM logs into bitmaps. Else the entries with which the caller has enabled
	 * KVM_CAP_DIRTY_LOG_RING_ACQ_REL (or KVM_CAP_DIRTY_LOG_RING), a power of two.
	 */
	uint32_t ring_entries;
};

/*
 * Makes the owner of this VM's slots. Without rings it enables KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2.
 * KVM_X86_QUIRK_SLOT_ZAP_ALL is disabled where KVM lets it be: with it, each slot that goes away
 * makes the guest fault all its pages in again.
 * -GMM_EINVAL: a userfaultfd that does not get the faults of the kernel, or ring_entries is no
 * power of two; -GMM_ENOSYS: KVM lacks the manual clearing of the dirty log (Linux 5.4);
 * -GMM_ENOMEM. May sleep.
 */
GMM_API int gmm_kvm_slots_create(const struct gmm_kvm_slots_config *config,
				 struct gmm_kvm_slots **slots);

/* Frees it: after the guest. The VM is left as it is. May sleep. */
GMM_API void gmm_kvm_slots_destroy(struct gmm_kvm_slots *slots);

/*
 * The operations for gmm_guest_config.stage2_ops; stage2_owner is `slots` itself. Valid as long as
 * it is. A slot that KVM refuses is refused with -GMM_EEXIST, -GMM_EINVAL, -GMM_ENOMEM or -GMM_EIO,
 * one beyond gpa_bytes with -GMM_ERANGE, an id that KVM has no slot for with -GMM_ENOSPC, one of
 * guest_memfd (GMM_MEMORY_BY_FILE) with a log or read-only with -GMM_EOPNOTSUPP, and what
 * gmm_live_stage2_slot_change() says. A slot of GMM_MEMORY_HOST_ONLY is none of KVM's.
 *
 * What is refused has changed nothing. One case is left: a change for which KVM has to delete the
 * slot and add it again fails, and KVM has no memory to add the old one again, several times in a
 * row. Then the answer is -GMM_EIO, vCPUs find no memory there, and the slot's next change, or
 * removal, begins with what KVM has.
 */
GMM_API const struct gmm_stage2_ops *gmm_kvm_slots_ops(const struct gmm_kvm_slots *slots);

/* The live second stage inside: which slot a host address is in. Valid as long as `slots`. */
GMM_API struct gmm_live_stage2 *gmm_kvm_slots_live(struct gmm_kvm_slots *slots);

/*
 * Tells of a vCPU's descriptor, so that its dirty ring is harvested; before it runs first. Without
 * rings nothing happens. -GMM_EEXIST; -GMM_ENOMEM; -GMM_EIO: the ring cannot be mapped. May sleep.
 */
GMM_API int gmm_kvm_slots_vcpu_add(struct gmm_kvm_slots *slots, int vcpu);

/*
 * Harvests the vCPU's ring a last time and forgets it; after it ran last, before its descriptor is
 * closed. One that is not known is no error. May sleep.
 */
GMM_API void gmm_kvm_slots_vcpu_remove(struct gmm_kvm_slots *slots, int vcpu);

/*
 * Takes what is in all rings into the slots' logs and protects those pages again, so that a vCPU
 * whose ring was full can run on. Nothing is handed out: gmm_dirty_harvest() does that. -GMM_EIO.
 * May sleep.
 */
GMM_API int gmm_kvm_slots_harvest_rings(struct gmm_kvm_slots *slots);

/* Entries taken from rings so far, a page written once more each. Any context. */
GMM_API uint64_t gmm_kvm_slots_ring_entries(const struct gmm_kvm_slots *slots);

#ifdef __cplusplus
}
#endif

#endif
