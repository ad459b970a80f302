/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_CORE_VCPU_IMPL_H
#define GMM_CORE_VCPU_IMPL_H

#include <guestmm/dirty.h>
#include <guestmm/vcpu.h>

#include <gmm_port/wait.h>

#include "lock_rank.h"

struct gmm_dirty_ring {
	struct gmm_spinlock lock; /* the indices */
	uint32_t size;		  /* immutable; a power of two */
	uint32_t soft_limit;	  /* immutable */
	struct gmm_dirty_entry *entries;
	/* under lock; also read without */
	uint32_t pushed;
	uint32_t reset;
	uint32_t harvested; /* under lock */
};

struct gmm_vcpu_use {
	struct gmm_cache *cache;
	bool usable; /* it was valid at entry: its frames stay until the exit */
};

struct gmm_vcpu {
	/* immutable */
	struct gmm_guest *guest;
	uint32_t id;
	gmm_vcpu_kick_fn kick;
	void *opaque;
	struct gmm_stage2_walker *walker; /* of its faults, one at a time; NULL: no table */

	/* atomic */
	uint32_t mode;		     /* enum gmm_vcpu_mode */
	uint32_t requests;	     /* a bit each */
	uint32_t waiters;	     /* threads that wait for the end of a stay */
	uint64_t stays;		     /* times it left guest mode */
	struct gmm_dirty_ring *ring; /* set once */

	/* under uses_mutex, which an entry holds until the vCPU is in guest mode */
	struct gmm_mutex uses_mutex;
	struct gmm_vcpu_use *uses;
	uint32_t use_count;
	uint32_t use_capacity;

	/* under lock */
	struct gmm_spinlock lock;
	struct gmm_waitqueue left;  /* it left guest mode */
	struct gmm_waitqueue awake; /* it need not sleep */
	bool woken;

	struct gmm_vcpu *next_dead; /* under gmm_guest.vcpus_lock */
};

/* Returns when the vCPU, which was kicked, has left the stay in which it was kicked. May sleep. */
void gmm_vcpu_wait_outside(struct gmm_vcpu *vcpu);

void gmm_dirty_ring_free(struct gmm_dirty_ring *ring);
/* Frees a destroyed vCPU, with the guest. */
void gmm_vcpu_free(struct gmm_vcpu *vcpu);

#endif
