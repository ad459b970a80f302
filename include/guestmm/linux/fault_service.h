/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Threads that answer the faults of vCPUs: they read userfaultfd events and call
 * gmm_fault_serve_at(). They never wait for sections, kicks, invalidations or evictions (W2): a fault
 * on a page that somebody is changing is held, and whoever changes it wakes the vCPU.
 */
#ifndef GUESTMM_LINUX_FAULT_SERVICE_H
#define GUESTMM_LINUX_FAULT_SERVICE_H

#include <guestmm/fault.h>
#include <guestmm/linux/latency.h>
#include <guestmm/linux/live_stage2.h>
#include <guestmm/linux/userfault.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gmm_fault_service;
struct gmm_repair_service;

/* What the numbers below are kept for. */
enum gmm_fault_service_kind {
	GMM_FAULT_SERVICE_MISSING, /* no page */
	GMM_FAULT_SERVICE_MINOR,   /* a page, not mapped for vCPUs */
	GMM_FAULT_SERVICE_WP,	   /* a write to a protected page */
	GMM_FAULT_SERVICE_KINDS,
};

/* How a thread waits for the next event. */
enum gmm_fault_service_wait {
	/*
	 * By looking again and again while events come fast and a processor is free for that; else
	 * asleep. Whether one is free is asked of the host (/proc/loadavg) and learned.
	 */
	GMM_FAULT_SERVICE_ADAPTIVE,
	GMM_FAULT_SERVICE_SLEEP,
	GMM_FAULT_SERVICE_SPIN, /* never sleeps: with a processor of its own, and to measure */
};

struct gmm_fault_service_config {
	struct gmm_guest *guest;
	struct gmm_userfault *userfault; /* both outlive the service */
	uint32_t threads;		 /* 0 is 1 */
	enum gmm_fault_service_wait wait;
	/*
	 * A hint, used only where the host does not say how many threads run: those that are busy
	 * besides the service, usually the vCPUs. With fewer processors than these and the service
	 * need, it then never spins.
	 */
	uint32_t busy_threads;
	/* ADAPTIVE: how long to spin for the next event before sleeping, in ns; 0 chooses 50 us. */
	uint32_t spin_ns;

	/*
	 * A fault that could not be served: an error of gmm_fault_serve_at() other than
	 * -GMM_EFAULT. The vCPU still waits; the callee ends the run, or repairs and wakes. Called
	 * on a service thread; it must not wait for vCPUs. `hva` is the page's address.
	 */
	void (*failed)(void *opaque, gmm_hva_t hva, uint32_t access, int error);
	/*
	 * Somebody freed, unmapped or moved registered memory without guestmm (W9). Repairs page
	 * states; no change of mappings from here. NULL: it is only counted.
	 */
	void (*foreign)(void *opaque, const struct gmm_userfault_event *event);
	/* Gets those events, and faults in the mappings that it watches (repair_service.h); or NULL. */
	struct gmm_repair_service *repair;
	void *opaque;

	/*
	 * Instead of gmm_fault_serve_at(guest, NULL, ...), for who knows whose fault it is; its
	 * first argument is `opaque`. `access` may have GMM_FAULT_MISSING, to be passed on.
	 */
	int (*serve)(void *opaque, gmm_hva_t hva, uint32_t access);
};

struct gmm_fault_service_statistics {
	struct {
		/* From the moment the event was read until its page was served or held. */
		struct gmm_latency latency;
		uint64_t served;
		uint64_t held;
		uint64_t failed;
	} kind[GMM_FAULT_SERVICE_KINDS];
	uint64_t unknown; /* faults outside every slot: it was being removed */
	uint64_t foreign; /* events of freed, unmapped or moved memory */
	uint64_t parked;  /* times that faults were left alone until those events had been read */
	uint64_t batches; /* reads that gave events */
	uint64_t sleeps;  /* times a thread went to sleep for lack of events */
	uint64_t spins;	  /* times one waited by spinning, and it was worth it */
};

/* -GMM_EINVAL, -GMM_ENOMEM, -GMM_EIO (no thread or eventfd). */
GMM_API int gmm_fault_service_start(const struct gmm_fault_service_config *config,
				    struct gmm_fault_service **service);
/* Ends the threads; faults not yet read stay unserved. Not from a service thread. */
GMM_API void gmm_fault_service_stop(struct gmm_fault_service *service);
/* Any thread, at any time before stop. */
GMM_API void gmm_fault_service_read_statistics(const struct gmm_fault_service *service,
					       struct gmm_fault_service_statistics *statistics);

#ifdef __cplusplus
}
#endif

#endif
