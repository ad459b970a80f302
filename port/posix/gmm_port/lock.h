/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Locks, port/CONTRACT.md. Both kinds are one futex word; they differ in what debug builds allow
 * their holder. The layout does not depend on GMM_DEBUG.
 */
#ifndef GMM_PORT_LOCK_H
#define GMM_PORT_LOCK_H

#include <gmm_port/atomic.h>
#include <gmm_port/debug.h>
#include <gmm_port/thread.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GMM_PORT_LOCK_FREE 0u
#define GMM_PORT_LOCK_TAKEN 1u
#define GMM_PORT_LOCK_CONTENDED 2u

struct gmm_port_lock {
	uint32_t state; /* GMM_PORT_LOCK_* and the futex word */
	uint32_t rank;
	uintptr_t owner; /* debug builds: gmm_thread_self() of the holder, else 0 */
};

struct gmm_spinlock {
	struct gmm_port_lock port;
};

struct gmm_mutex {
	struct gmm_port_lock port;
};

GMM_API void gmm_port_lock_slow(struct gmm_port_lock *lock);
GMM_API void gmm_port_unlock_slow(struct gmm_port_lock *lock);

GMM_INLINE void gmm_port_lock_init(struct gmm_port_lock *lock, uint32_t rank)
{
	gmm_assert(rank > 0);
	lock->state = GMM_PORT_LOCK_FREE;
	lock->rank = rank;
	lock->owner = 0;
}

GMM_INLINE void gmm_port_lock_destroy(struct gmm_port_lock *lock)
{
	gmm_assert(gmm_load_relaxed(&lock->state) == GMM_PORT_LOCK_FREE);
	(void)lock;
}

GMM_INLINE void gmm_port_lock_take(struct gmm_port_lock *lock, bool sleeps)
{
	uint32_t seen = GMM_PORT_LOCK_FREE;

	if (GMM_DEBUG)
		gmm_port_debug_lock_wanted(lock, lock->rank, sleeps);
	if (gmm_unlikely(!__atomic_compare_exchange_n(&lock->state, &seen, GMM_PORT_LOCK_TAKEN,
						      false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)))
		gmm_port_lock_slow(lock);
	if (GMM_DEBUG) {
		gmm_store_relaxed(&lock->owner, gmm_thread_self());
		gmm_port_debug_lock_taken(lock, lock->rank, sleeps);
	}
}

GMM_INLINE void gmm_port_lock_assert_held(const struct gmm_port_lock *lock)
{
	gmm_assert(gmm_load_relaxed(&lock->owner) == gmm_thread_self());
	(void)lock;
}

GMM_INLINE void gmm_port_lock_drop(struct gmm_port_lock *lock)
{
	if (GMM_DEBUG) {
		gmm_port_lock_assert_held(lock);
		gmm_port_debug_lock_dropped(lock);
		gmm_store_relaxed(&lock->owner, 0);
	}
	if (gmm_unlikely(__atomic_exchange_n(&lock->state, GMM_PORT_LOCK_FREE, __ATOMIC_RELEASE) ==
			 GMM_PORT_LOCK_CONTENDED))
		gmm_port_unlock_slow(lock);
}

GMM_INLINE void gmm_spin_init(struct gmm_spinlock *lock, uint32_t rank)
{
	gmm_port_lock_init(&lock->port, rank);
}

GMM_INLINE void gmm_spin_destroy(struct gmm_spinlock *lock)
{
	gmm_port_lock_destroy(&lock->port);
}

GMM_INLINE void gmm_spin_lock(struct gmm_spinlock *lock)
{
	gmm_port_lock_take(&lock->port, false);
}

GMM_INLINE void gmm_spin_unlock(struct gmm_spinlock *lock)
{
	gmm_port_lock_drop(&lock->port);
}

GMM_INLINE void gmm_spin_assert_held(const struct gmm_spinlock *lock)
{
	gmm_port_lock_assert_held(&lock->port);
}

GMM_INLINE void gmm_mutex_init(struct gmm_mutex *lock, uint32_t rank)
{
	gmm_port_lock_init(&lock->port, rank);
}

GMM_INLINE void gmm_mutex_destroy(struct gmm_mutex *lock)
{
	gmm_port_lock_destroy(&lock->port);
}

GMM_INLINE void gmm_mutex_lock(struct gmm_mutex *lock)
{
	gmm_port_lock_take(&lock->port, true);
}

GMM_INLINE void gmm_mutex_unlock(struct gmm_mutex *lock)
{
	gmm_port_lock_drop(&lock->port);
}

GMM_INLINE void gmm_mutex_assert_held(const struct gmm_mutex *lock)
{
	gmm_port_lock_assert_held(&lock->port);
}

#ifdef __cplusplus
}
#endif

#endif
