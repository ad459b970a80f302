/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The live second stage of userspace: the vCPUs' mapping of guest memory with a userfaultfd on it.
 * It knows which slot each range of host addresses belongs to, registers the ranges of lazy slots,
 * and does what gmm_stage2_ops asks for by the calls of userfault.h. Given to the engine, it makes
 * memory lazy for whoever reaches it through that mapping: an emulator's threads as it is, a VM of
 * KVM with the slots of kvm_slots.h, which has a live second stage inside.
 *
 * Shared memory (GMM_MEMORY_AGEABLE: dropping the mapping keeps the contents) is mapped by continue
 * and unmapped by MADV_DONTNEED. Private memory was put in place, write-protected, by its fill; its
 * map only lets writes through and wakes, and it cannot be unmapped without losing it.
 *
 * The order of use: gmm_userfault_open(), gmm_live_stage2_create(), gmm_guest_create() with the
 * operations and the object as their owner, gmm_fault_service_start(), then slots; the other way
 * round at the end, where slots are removed before the fault service stops.
 */
#ifndef GUESTMM_LINUX_LIVE_STAGE2_H
#define GUESTMM_LINUX_LIVE_STAGE2_H

#include <guestmm/linux/userfault.h>
#include <guestmm/stage2.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gmm_live_stage2;

/* A slot, as it is in the vCPUs' mapping. */
struct gmm_live_range {
	gmm_hva_t hva;
	uint64_t bytes;
	gmm_gfn_t gfn;
	uint32_t slot;
	uint32_t modes; /* GMM_USERFAULT_MISSING, MINOR, WP it is registered for; 0: it is not */
	void *memory;	/* of the slot */
	const struct gmm_memory_ops *memory_ops;
};

/*
 * Makes one without slots. `userfault` stays the caller's and outlives it; NULL: all memory is
 * there from the start, and slots with lazy memory are refused. -GMM_ENOMEM. May sleep.
 */
GMM_API int gmm_live_stage2_create(struct gmm_userfault *userfault, struct gmm_live_stage2 **live);

/* Frees it: after the guest, whose slots it followed. May sleep. */
GMM_API void gmm_live_stage2_destroy(struct gmm_live_stage2 *live);

/*
 * The operations for gmm_guest_config.stage2_ops; stage2_owner is `live` itself. They are valid as
 * long as it is. Their flags are what this machine's userfaultfd gives: MAPS_PROTECTED with
 * GMM_USERFAULT_CONTINUE_WP. An owner that does more (moves its own slots, logs writes) copies the
 * table, replaces slot_change, and calls gmm_live_stage2_slot_change() from there.
 */
GMM_API const struct gmm_stage2_ops *gmm_live_stage2_ops(const struct gmm_live_stage2 *live);

/*
 * Follows a slot's change (as gmm_stage2_ops.slot_change): registers and unregisters.
 * -GMM_EOPNOTSUPP: lazy memory without a userfaultfd that can serve it; without KVM, memory that
 * shall be logged or read-only and is there from the start, or is shared and the userfaultfd cannot
 * protect it (log: SHARED_WP, read-only: CONTINUE_WP); -GMM_EEXIST: host addresses are in another
 * slot; -GMM_ENOMEM; -GMM_EIO. When it fails nothing has changed. A slot of GMM_MEMORY_HOST_ONLY is
 * accepted, and nothing is done for it here or in the operations. May sleep.
 */
GMM_API int gmm_live_stage2_slot_change(struct gmm_live_stage2 *live,
					const struct gmm_slot_info *old,
					const struct gmm_slot_info *now);

/*
 * Whether `hva` is in a slot; if so its range and frame. Any thread; waits for a slot's change, so
 * it may sleep for a short time.
 */
GMM_API bool gmm_live_stage2_find(struct gmm_live_stage2 *live, gmm_hva_t hva,
				  struct gmm_live_range *range, gmm_gfn_t *gfn);

#ifdef __cplusplus
}
#endif

#endif
