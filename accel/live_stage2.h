/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The live second stage of userspace, shared by both accelerators: the vCPUs' mapping of guest
 * memory with a userfaultfd on it. It knows which slot each range of host addresses belongs to,
 * registers the ranges of lazy slots, and does what gmm_stage2_ops asks for by the calls of
 * userfault.h.
 *
 * Shared memory (GMM_MEMORY_AGEABLE: dropping the mapping keeps the contents) is mapped by continue
 * and unmapped by MADV_DONTNEED. Private memory was put in place, write-protected, by its fill; its
 * map only lets writes through and wakes, and it cannot be unmapped without losing it.
 */
#ifndef GMM_ACCEL_LIVE_STAGE2_H
#define GMM_ACCEL_LIVE_STAGE2_H

#include <pthread.h>

#include <guestmm/stage2.h>

struct gmm_userfault;

struct gmm_live_range {
	gmm_hva_t hva;
	uint64_t bytes;
	gmm_gfn_t gfn;
	uint32_t slot;
	uint32_t modes; /* GMM_USERFAULT_* it is registered for; 0: not registered */
};

struct gmm_live_stage2 {
	struct gmm_userfault *userfault; /* or NULL */
	bool logs_writes;		 /* the accelerator has a log of its own */

	/* Under `lock`: readers look an address up, a slot's change writes. */
	pthread_rwlock_t lock;
	struct gmm_live_range *ranges; /* sorted by hva */
	uint32_t count;
	uint32_t capacity;
};

int gmm_live_stage2_init(struct gmm_live_stage2 *live, struct gmm_userfault *userfault,
			 bool logs_writes);
void gmm_live_stage2_destroy(struct gmm_live_stage2 *live);

/*
 * Operations whose owner is `live`: all but slot_change, which the accelerator adds. The flags are
 * what this machine's userfaultfd gives: MAPS_PROTECTED with CONTINUE_WP.
 */
struct gmm_stage2_ops gmm_live_stage2_ops(const struct gmm_live_stage2 *live, const char *name);

/*
 * Follows a slot's change (as gmm_stage2_ops.slot_change): registers and unregisters.
 * -GMM_EOPNOTSUPP: lazy memory without a userfaultfd that can serve it; without KVM, memory that
 * shall be logged or read-only and is there from the start, or is shared and the userfaultfd cannot
 * protect it (log: SHARED_WP, read-only: CONTINUE_WP); -GMM_EEXIST: host addresses are in another
 * slot; -GMM_ENOMEM; -GMM_EIO. When it fails nothing has changed.
 */
int gmm_live_stage2_slot_change(struct gmm_live_stage2 *live, const struct gmm_slot_info *old,
				const struct gmm_slot_info *now);

/* Whether `hva` is in a slot; if so its range and frame. Any thread. */
bool gmm_live_stage2_find(struct gmm_live_stage2 *live, gmm_hva_t hva, struct gmm_live_range *range,
			  gmm_gfn_t *gfn);

#endif
