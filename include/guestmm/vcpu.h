/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * vCPUs: modes, requests and kicks. Who makes memory go away tells the vCPUs that use it, and waits
 * until they have left guest mode. A vCPU leaves guest mode before it sleeps (W8).
 */
#ifndef GUESTMM_VCPU_H
#define GUESTMM_VCPU_H

#include <guestmm/guest.h>
#include <guestmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

enum gmm_vcpu_mode {
	GMM_VCPU_OUTSIDE,  /* not running guest code */
	GMM_VCPU_ENTERING, /* in gmm_vcpu_enter(): counts as in guest for who kicks */
	GMM_VCPU_IN_GUEST,
	GMM_VCPU_EXITING, /* was kicked and has not left yet */
};

/*
 * Makes the vCPU leave guest mode soon, on whatever thread it runs. Called outside spinning locks,
 * maybe more than once for one stay; must not sleep, fail or wait for the vCPU.
 */
typedef void (*gmm_vcpu_kick_fn)(void *opaque, uint32_t id);

/* -GMM_EINVAL: id not below max_vcpus; -GMM_EEXIST; -GMM_ENOMEM. May sleep. */
GMM_API int gmm_vcpu_create(struct gmm_guest *guest, uint32_t id, gmm_vcpu_kick_fn kick,
			    void *opaque, struct gmm_vcpu **vcpu);
/* -GMM_EBUSY: in guest mode or in the set of a cache; -GMM_EDEADLK in a section. May sleep. */
GMM_API int gmm_vcpu_destroy(struct gmm_vcpu *vcpu);

/*
 * Enters guest mode on the vCPU's thread: refreshes the caches of its sets, then becomes visible as
 * in guest, then checks again that no request is pending and every cache still is valid; what it
 * finds is repeated, so a stale frame or an unseen request is never taken into the guest. Returns 0
 * in guest mode; -GMM_EAGAIN outside it: a request is pending (take it with
 * gmm_vcpu_take_requests()), or its dirty ring is full; -GMM_EDEADLK in a section; or the error of a
 * refresh, outside. Orders
 * everything that who kicked it did before against everything the guest does. May sleep.
 */
GMM_API int gmm_vcpu_enter(struct gmm_vcpu *vcpu);

/*
 * Leaves guest mode; wakes who waits for it. On the vCPU's thread, before anything that may sleep.
 * Returns whether it had been kicked. Never sleeps.
 */
GMM_API bool gmm_vcpu_exit(struct gmm_vcpu *vcpu);

/*
 * The frame of page `page` of a cache in whose set the vCPU is, for use by the guest: on the vCPU's
 * thread, in guest mode. It stays right until gmm_vcpu_exit(), because who makes it go away waits
 * for that. GMM_PFN_NONE: the cache had no target at entry, or the vCPU is not in its set.
 */
GMM_API gmm_pfn_t gmm_vcpu_pfn(const struct gmm_vcpu *vcpu, const struct gmm_cache *cache,
			       uint32_t page);

/* The mode now; a hint for anybody but the vCPU's own thread. Any context. */
GMM_API enum gmm_vcpu_mode gmm_vcpu_mode(const struct gmm_vcpu *vcpu);

/* Requests: numbers 0 … 31. What they mean is the caller's business. */
#define GMM_REQUEST_NONE 32u /* leave guest mode, and nothing else: no bit is set (P23) */

#define GMM_REQUEST_WAIT 1u	 /* return only when the vCPU has left guest mode */
#define GMM_REQUEST_NO_WAKEUP 2u /* do not wake a vCPU that sleeps in gmm_vcpu_sleep() */

/*
 * Makes a request and kicks the vCPU if it is in guest mode. Everything the caller did before is
 * seen by the vCPU when it takes the request. Returns 1 when it was in guest mode or entering, else
 * 0; -GMM_EINVAL; -GMM_EDEADLK: WAIT in a section. With WAIT may sleep; not by the vCPU itself in
 * guest mode.
 */
GMM_API int gmm_vcpu_request(struct gmm_vcpu *vcpu, uint32_t request, uint32_t flags);

/*
 * The same for every vCPU whose bit is set in `ids` (bit i of word i/64), kicking all before
 * waiting for any. Returns how many were in guest mode or entering.
 */
GMM_API int gmm_vcpus_request(struct gmm_guest *guest, const uint64_t *ids, uint32_t words,
			      uint32_t request, uint32_t flags);

/* Takes all pending requests as a set of bits; each is handed out once. On the vCPU's thread. */
GMM_API uint32_t gmm_vcpu_take_requests(struct gmm_vcpu *vcpu);

/*
 * Sleeps outside guest mode until a request is made (not with NO_WAKEUP) or gmm_vcpu_wake() is
 * called. -GMM_EBUSY: in guest mode; -GMM_EDEADLK: in a section.
 */
GMM_API int gmm_vcpu_sleep(struct gmm_vcpu *vcpu);
GMM_API void gmm_vcpu_wake(struct gmm_vcpu *vcpu);

#ifdef __cplusplus
}
#endif

#endif
