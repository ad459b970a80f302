/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Locks, port/CONTRACT.md. Initialisation is a macro, so that lockdep sees a class for each place
 * that sets up locks.
 */
#ifndef GMM_PORT_LOCK_H
#define GMM_PORT_LOCK_H

#include <linux/mutex.h>
#include <linux/spinlock.h>

#include <gmm_port/debug.h>

struct gmm_spinlock {
	spinlock_t lock;
	uint32_t rank;
	unsigned long flags; /* the holder's interrupt state; under lock */
};

struct gmm_mutex {
	struct mutex lock;
	uint32_t rank;
};

#define gmm_spin_init(spinlock, spinlock_rank)         \
	do {                                           \
		struct gmm_spinlock *port_ = spinlock; \
		spin_lock_init(&port_->lock);          \
		port_->rank = (spinlock_rank);         \
		port_->flags = 0;                      \
	} while (0)

#define gmm_mutex_init(mutex, mutex_rank)        \
	do {                                     \
		struct gmm_mutex *port_ = mutex; \
		mutex_init(&port_->lock);        \
		port_->rank = (mutex_rank);      \
	} while (0)

GMM_INLINE void gmm_spin_destroy(struct gmm_spinlock *lock)
{
	gmm_assert(!spin_is_locked(&lock->lock));
}

GMM_INLINE void gmm_spin_lock(struct gmm_spinlock *lock)
{
	unsigned long flags;

	if (GMM_DEBUG)
		gmm_port_debug_lock_wanted(lock->rank, false);
	spin_lock_irqsave(&lock->lock, flags);
	lock->flags = flags;
	if (GMM_DEBUG)
		gmm_port_debug_lock_taken(lock, lock->rank, false);
}

GMM_INLINE void gmm_spin_unlock(struct gmm_spinlock *lock)
{
	unsigned long flags = lock->flags;

	if (GMM_DEBUG)
		gmm_port_debug_lock_dropped(lock);
	spin_unlock_irqrestore(&lock->lock, flags);
}

GMM_INLINE void gmm_spin_assert_held(const struct gmm_spinlock *lock)
{
	lockdep_assert_held(&lock->lock);
	if (GMM_DEBUG)
		gmm_port_debug_lock_held(lock);
}

GMM_INLINE void gmm_mutex_destroy(struct gmm_mutex *lock)
{
	mutex_destroy(&lock->lock);
}

GMM_INLINE void gmm_mutex_lock(struct gmm_mutex *lock)
{
	if (GMM_DEBUG)
		gmm_port_debug_lock_wanted(lock->rank, true);
	mutex_lock(&lock->lock);
	if (GMM_DEBUG)
		gmm_port_debug_lock_taken(lock, lock->rank, true);
}

GMM_INLINE void gmm_mutex_unlock(struct gmm_mutex *lock)
{
	if (GMM_DEBUG)
		gmm_port_debug_lock_dropped(lock);
	mutex_unlock(&lock->lock);
}

GMM_INLINE void gmm_mutex_assert_held(const struct gmm_mutex *lock)
{
	lockdep_assert_held(&lock->lock);
	if (GMM_DEBUG)
		gmm_port_debug_lock_held(lock);
}

#endif
