/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A thread that puts right what others do to guest memory without guestmm (W9). It gets the events of
 * freed, unmapped and moved memory from a fault service whose userfaultfd was opened with
 * GMM_USERFAULT_EVENTS:
 *
 *   freed     the pages are asked for (gmm_repair): at once, and again later, because an event
 *             comes before its pages go
 *   unmapped  the memory is mapped there again (gmm_memory_ops.restore), registered, repaired,
 *   moved     and who waits is woken; what was moved is not ours any more and is unregistered
 *
 * What somebody else has mapped there meanwhile is never replaced: it is reported. Not seen are holes
 * that are punched into a memory's file by other means: they are found at the next access.
 */
#ifndef GUESTMM_LINUX_REPAIR_SERVICE_H
#define GUESTMM_LINUX_REPAIR_SERVICE_H

#include <guestmm/linux/live_stage2.h>
#include <guestmm/linux/userfault.h>
#include <guestmm/repair.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gmm_repair_service;

struct gmm_repair_service_config {
	struct gmm_guest *guest;
	struct gmm_userfault *userfault; /* all three outlive the service */
	struct gmm_live_stage2 *live;
	/*
	 * Frames whose memory could not be mapped again: -GMM_EEXIST: somebody else has their
	 * addresses, also 200 ms later, and vCPUs reach what is his; or an error of gmm_memory_ops.restore. On the
	 * service's thread. NULL: it is only counted.
	 */
	void (*not_restored)(void *opaque, gmm_gfn_t gfn, uint64_t count, int error);
	void *opaque;
};

struct gmm_repair_service_statistics {
	uint64_t removed; /* events of freed memory, but those of guestmm's own aging */
	uint64_t unmapped;
	uint64_t moved;
	uint64_t missed;       /* events beyond the queue; everything was looked at instead */
	uint64_t repaired;     /* pages that the service found gone */
	uint64_t lost;	       /* likewise, with their contents */
	uint64_t restored;     /* pages whose addresses were mapped again */
	uint64_t not_restored; /* pages whose addresses could not be */
	uint64_t touched;      /* accesses through watched mappings that found no page */
	uint64_t failed;       /* calls of gmm_repair() that failed */
};

/* -GMM_EINVAL, -GMM_ENOMEM, -GMM_EIO (no thread). */
GMM_API int gmm_repair_service_start(const struct gmm_repair_service_config *config,
				     struct gmm_repair_service **service);
/* After the fault service that uses it. What is queued is still done; nothing is watched. */
GMM_API void gmm_repair_service_stop(struct gmm_repair_service *service);

/*
 * Another mapping of the memory that vCPUs have at `hva`, such as a memfd's for the engine: an
 * access that meets a hole there is found, too, instead of making a zero page in silence. Nobody
 * unmaps it before gmm_repair_service_unwatch(). -GMM_ENOSPC: 64 are watched; errors of
 * gmm_userfault_register().
 */
GMM_API int gmm_repair_service_watch(struct gmm_repair_service *service, gmm_hva_t mapping,
				     uint64_t bytes, gmm_hva_t hva);
GMM_API void gmm_repair_service_unwatch(struct gmm_repair_service *service, gmm_hva_t mapping);

/* Takes an event that is no fault. From the thread that read it; never waits for anybody. */
GMM_API void gmm_repair_service_event(struct gmm_repair_service *service,
				      const struct gmm_userfault_event *event);
/*
 * A fault at an address that is in no slot: serves it if it is in a watched mapping. Likewise.
 * -GMM_ENOENT: it is not; else as gmm_repair_touched().
 */
GMM_API int gmm_repair_service_touched(struct gmm_repair_service *service, gmm_hva_t address);

/* Sleeps until all events taken so far have been looked at once. */
GMM_API void gmm_repair_service_catch_up(struct gmm_repair_service *service);
/* Sleeps until all events taken so far have been looked at for the last time. */
GMM_API void gmm_repair_service_wait(struct gmm_repair_service *service);
/* Any thread. */
GMM_API void gmm_repair_service_read_statistics(struct gmm_repair_service *service,
						struct gmm_repair_service_statistics *statistics);

#ifdef __cplusplus
}
#endif

#endif
