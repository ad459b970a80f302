/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The engine's locks by rank: a thread takes them in rising order (docs/LOCKING.md has the
 * reasons). Each rank is a capability for clang's thread-safety analysis and a number that debug
 * builds of every port check at run time.
 */
#ifndef GMM_CORE_LOCK_RANK_H
#define GMM_CORE_LOCK_RANK_H

#include <gmm_port/compiler.h>
#include <gmm_port/lock.h>

struct GMM_CAPABILITY("rank") gmm_rank {
	char unused;
};

enum gmm_lock_rank {
	GMM_RANK_SLOTS = 20,	  /* mutex: gmm_slots.mutex */
	GMM_RANK_VCPU_USES = 30,  /* mutex: gmm_vcpu.uses_mutex */
	GMM_RANK_CACHE = 40,	  /* mutex: gmm_cache.mutex */
	GMM_RANK_INVALIDATE = 60, /* spinlock: gmm_invalidation.lock */
	GMM_RANK_RING = 65,	  /* spinlock: gmm_dirty_ring.lock */
	GMM_RANK_TABLE = 68,	  /* spinlock: gmm_stage2_table.lock */
	GMM_RANK_PAGES = 70,	  /* spinlock: gmm_guest.pages_lock */
	GMM_RANK_VCPU = 80,	  /* spinlock: gmm_vcpu.lock */
	GMM_RANK_VCPUS = 85,	  /* spinlock: gmm_guest.vcpus_lock */
	GMM_RANK_READERS = 90,	  /* spinlock: gmm_section_domain.lock */
};

extern struct gmm_rank gmm_rank_slots;
extern struct gmm_rank gmm_rank_vcpu_uses GMM_ACQUIRED_AFTER(gmm_rank_slots);
extern struct gmm_rank gmm_rank_cache GMM_ACQUIRED_AFTER(gmm_rank_vcpu_uses);
extern struct gmm_rank gmm_rank_invalidate GMM_ACQUIRED_AFTER(gmm_rank_cache);
extern struct gmm_rank gmm_rank_ring GMM_ACQUIRED_AFTER(gmm_rank_invalidate);
extern struct gmm_rank gmm_rank_table GMM_ACQUIRED_AFTER(gmm_rank_ring);
extern struct gmm_rank gmm_rank_pages GMM_ACQUIRED_AFTER(gmm_rank_table);
extern struct gmm_rank gmm_rank_vcpu GMM_ACQUIRED_AFTER(gmm_rank_pages);
extern struct gmm_rank gmm_rank_vcpus GMM_ACQUIRED_AFTER(gmm_rank_vcpu);
extern struct gmm_rank gmm_rank_readers GMM_ACQUIRED_AFTER(gmm_rank_vcpus);

#define GMM_RANKED_LOCK(name, kind, type)                                                         \
	GMM_INLINE void gmm_lock_##name(struct type *name##_lock) GMM_ACQUIRE(gmm_rank_##name);   \
	GMM_INLINE void gmm_lock_##name(struct type *name##_lock) GMM_NO_ANALYSIS                 \
	{                                                                                         \
		gmm_##kind##_lock(name##_lock);                                                   \
	}                                                                                         \
	GMM_INLINE void gmm_unlock_##name(struct type *name##_lock) GMM_RELEASE(gmm_rank_##name); \
	GMM_INLINE void gmm_unlock_##name(struct type *name##_lock) GMM_NO_ANALYSIS               \
	{                                                                                         \
		gmm_##kind##_unlock(name##_lock);                                                 \
	}

GMM_RANKED_LOCK(slots, mutex, gmm_mutex)
GMM_RANKED_LOCK(vcpu_uses, mutex, gmm_mutex)
GMM_RANKED_LOCK(cache, mutex, gmm_mutex)
GMM_RANKED_LOCK(invalidate, spin, gmm_spinlock)
GMM_RANKED_LOCK(ring, spin, gmm_spinlock)
GMM_RANKED_LOCK(table, spin, gmm_spinlock)
GMM_RANKED_LOCK(pages, spin, gmm_spinlock)
GMM_RANKED_LOCK(vcpu, spin, gmm_spinlock)
GMM_RANKED_LOCK(vcpus, spin, gmm_spinlock)
GMM_RANKED_LOCK(readers, spin, gmm_spinlock)

#endif
