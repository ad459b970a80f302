/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <errno.h>

#include <gmm_port/wait.h>

#include "futex_impl.h"

void gmm_waitqueue_wait(struct gmm_waitqueue *queue, struct gmm_spinlock *lock)
{
	uint32_t sequence = gmm_load_relaxed(&queue->sequence);
	int saved_errno = errno;

	if (GMM_DEBUG) {
		gmm_spin_assert_held(lock);
		gmm_port_debug_only_spinlock(lock);
	}
	gmm_fetch_add(&queue->waiters, 1u);
	gmm_spin_unlock(lock);
	futex_wait(&queue->sequence, sequence);
	(void)gmm_load_acquire(&queue->sequence);
	gmm_fetch_add(&queue->waiters, -1u);
	gmm_spin_lock(lock);
	errno = saved_errno;
}

void gmm_port_waitqueue_wake(struct gmm_waitqueue *queue)
{
	int saved_errno = errno;

	futex_wake(&queue->sequence, INT_MAX);
	errno = saved_errno;
}
