/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Locks, port/CONTRACT.md: a word that is set by whoever finds it clear. Not tickets: the CPUs are
 * threads of an emulator, and one that is not running would hold up all who come after it.
 * Nothing else runs on a CPU that waits, so a mutex spins as well; the two differ in what debug
 * builds allow their holder.
 * Interrupts stay on: the only ones are those of gmm_section_heavy_barrier() and kicks, whose
 * handler takes no lock.
 */
#ifndef GMM_PORT_LOCK_H
#define GMM_PORT_LOCK_H

#include <gmm_port/atomic.h>
#include <gmm_port/debug.h>
#include <gmm_port/thread.h>

struct gmm_port_lock {
	uint32_t taken; /* atomic */
	uint32_t rank;
	uintptr_t owner; /* debug builds: gmm_thread_self() of the holder, else 0 */
};

struct gmm_spinlock {
	struct gmm_port_lock port;
};

struct gmm_mutex {
	struct gmm_port_lock port;
};

GMM_INLINE void gmm_port_lock_init(struct gmm_port_lock *lock, uint32_t rank)
{
	gmm_assert(rank > 0);
	lock->taken = 0;
	lock->rank = rank;
	lock->owner = 0;
}

GMM_INLINE void gmm_port_lock_destroy(struct gmm_port_lock *lock)
{
	gmm_assert(!gmm_load_relaxed(&lock->taken));
	(void)lock;
}

GMM_INLINE void gmm_port_lock_take(struct gmm_port_lock *lock, bool sleeps)
{
	uint32_t turn = 0;

	if (GMM_DEBUG)
		gmm_port_debug_lock_wanted(lock->rank, sleeps);
	while (__atomic_exchange_n(&lock->taken, 1u, __ATOMIC_ACQUIRE))
		while (gmm_load_relaxed(&lock->taken))
			gmm_cpu_relax(turn++);
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
		gmm_store_relaxed(&lock->owner, (uintptr_t)0);
	}
	gmm_store_release(&lock->taken, 0u);
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

#endif
