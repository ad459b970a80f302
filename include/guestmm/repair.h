/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Foreign changes (W9): the host took pages away without guestmm: another thread's madvise, munmap
 * or mremap, a hole punched into a file. There was no begin, so nothing here undoes what somebody
 * saw meanwhile; page states are made right again, and what is lost is named.
 *
 * A page that the memory no longer has is
 *   repaired  when it had not changed: it comes again from where it came from (source, zero, store);
 *   lost      when it had: its contents are gone. It reads as zero from now on, as the host shows
 *             it to everybody else, is written in the dirty log, counted (gmm_guest_counters),
 *             told to gmm_guest_config.lost and written to the log.
 *
 * Only memory whose operations have `lost` can be asked. A fault on a page that is gone, an
 * eviction and a read find it out by themselves and do the same.
 */
#ifndef GUESTMM_REPAIR_H
#define GUESTMM_REPAIR_H

#include <guestmm/guest.h>
#include <guestmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gmm_repair_result {
	uint64_t repaired; /* pages that were gone and can be had again */
	uint64_t lost;	   /* pages whose contents are gone */
};

/*
 * Something foreign happened to [gfn, gfn + count): no cache of it is valid afterwards, and pages
 * that the memory no longer has are repaired or lost. Frames in no slot are passed over. What goes
 * away only later, because whoever takes it is still at it, is found by the next call or the next
 * access. `result` (may be NULL) is added to. -GMM_EINVAL: no pages; -GMM_ERANGE: beyond the address
 * space; -GMM_EIO: the memory cannot say; -GMM_EDEADLK. A change of this process: may sleep, waits
 * for sections, vCPUs, leases and busy pages, so never on a thread that serves faults (W2).
 */
GMM_API int gmm_repair(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count,
		       struct gmm_repair_result *result);

/*
 * Somebody has touched a mapping of the host (not the vCPUs') at a page that is not there, and waits.
 * `hva` is where vCPUs would have: makes the page resident, repairing it first. On success the caller lets that thread go on. For the
 * thread that serves faults: waits for nobody, also because who touched may be in a section.
 * GMM_FAULT_HELD (fault.h): somebody is changing the page, ask again; else as gmm_fault_serve().
 */
GMM_API int gmm_repair_touched(struct gmm_guest *guest, gmm_hva_t hva);

#ifdef __cplusplus
}
#endif

#endif
