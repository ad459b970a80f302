/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <errno.h>

#include <gmm_port/lock.h>

#include "futex_impl.h"

/* Critical sections are short: the owner is usually done before a system call would be. */
#define SPIN_TURNS 100

static bool lock_spin(struct gmm_port_lock *lock)
{
	uint32_t turn;

	for (turn = 0; turn < SPIN_TURNS; turn++) {
		uint32_t seen = gmm_load_relaxed(&lock->state);

		if (seen == GMM_PORT_LOCK_CONTENDED)
			return false;
		if (seen == GMM_PORT_LOCK_FREE &&
		    __atomic_compare_exchange_n(&lock->state, &seen, GMM_PORT_LOCK_TAKEN, false,
						__ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return true;
		gmm_port_pause();
	}
	return false;
}

void gmm_port_lock_slow(struct gmm_port_lock *lock)
{
	int saved_errno = errno;

	if (!lock_spin(lock)) {
		while (__atomic_exchange_n(&lock->state, GMM_PORT_LOCK_CONTENDED,
					   __ATOMIC_ACQUIRE) != GMM_PORT_LOCK_FREE)
			futex_wait(&lock->state, GMM_PORT_LOCK_CONTENDED);
	}
	errno = saved_errno;
}

void gmm_port_unlock_slow(struct gmm_port_lock *lock)
{
	int saved_errno = errno;

	futex_wake(&lock->state, 1);
	errno = saved_errno;
}
