/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Named points of the engine's protocols at which a test can hold a thread, and protections that a
 * test can leave out to see that their absence is noticed. Both exist in test builds only
 * (GMM_STEPS=1); elsewhere they compile to nothing.
 */
#ifndef GUESTMM_STATIC_STEP_POINTS_H
#define GUESTMM_STATIC_STEP_POINTS_H

enum gmm_step_point {
	GMM_STEP_NONE,
	GMM_STEP_INVALIDATE_REGISTERED, /* begin: ranges active, caches cleared, lock dropped */
	GMM_STEP_INVALIDATE_READERS,	/* begin: about to wait for readers' sections */
	GMM_STEP_INVALIDATE_KICK,	/* begin: about to kick the vCPUs that use a frame */
	GMM_STEP_LEASE_WAIT,		/* somebody is about to sleep until leases are dropped */
	GMM_STEP_INVALIDATE_CHANGING,	/* begin: everybody is out, the change may start */
	GMM_STEP_INVALIDATE_END,	/* end: about to take the range out */
	GMM_STEP_INVALIDATE_WAIT,	/* somebody is about to sleep until a range ends */
	GMM_STEP_REFRESH_RESOLVE,	/* refresh: watched, before frames are resolved */
	GMM_STEP_REFRESH_MAP,		/* refresh: frames resolved, before they are mapped */
	GMM_STEP_REFRESH_PUBLISH,	/* refresh: mapped, before the retry check */
	GMM_STEP_DEACTIVATE_UNLISTED, /* deactivate: out of the index, before undoing the mapping */
	GMM_STEP_FAULT_CLAIMED,	      /* fault: owns the page's state, before filling */
	GMM_STEP_FAULT_INSTALL,	      /* fault: filled or resolved, before the retry check */
	GMM_STEP_FAULT_MAPPED,	      /* fault: mapped, before the state is released */
	GMM_STEP_EVICT_PICKED,	      /* evict: pages chosen, before their change begins */
	GMM_STEP_EVICT_CLAIMED,	      /* evict: owns the pages, before write protection */
	GMM_STEP_EVICT_PROTECTED,     /* evict: write-protected, before writing out */
	GMM_STEP_EVICT_WRITTEN,	      /* evict: written out, before discarding */
	GMM_STEP_EVICT_RELEASED,      /* evict: discarded and released, before waking */
	GMM_STEP_REPAIR_CLAIMED,      /* repair: owns the pages, before the memory is asked */
	GMM_STEP_DIRTY_CLEARED,	      /* harvest: bits taken, before the wait for sections */
	GMM_STEP_VCPU_ENTERING,	      /* vCPU: in guest mode, before requests are checked again */
	GMM_STEP_VCPU_KICKED,	      /* kick: sent, before waiting for the vCPU */
	GMM_STEP_SLOT_INVALID,	      /* slot change: the range is unreachable */
	GMM_STEP_SLOT_PUBLISH,	      /* slot change: about to publish the result */
	GMM_STEP_COUNT
};

/* A set of bits in gmm_guest_config.leave_out. */
#define GMM_LEAVE_OUT_PROTECT 1u  /* write-protect before write-out (W10) */
#define GMM_LEAVE_OUT_WAKE 2u	  /* wake after a page's state is released (W10) */
#define GMM_LEAVE_OUT_SECTIONS 4u /* waiting for sections in begin and harvest (W3, W6) */
#define GMM_LEAVE_OUT_RETRY 8u	  /* retry of a refresh or fault that was overtaken */

#endif
