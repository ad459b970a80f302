/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Waiting, port/CONTRACT.md: by looking again and again at a count of wakes. */
#ifndef GMM_PORT_WAIT_H
#define GMM_PORT_WAIT_H

#include <gmm_port/lock.h>

struct gmm_waitqueue {
	uint32_t wakes; /* atomic */
};

GMM_INLINE void gmm_waitqueue_init(struct gmm_waitqueue *queue)
{
	queue->wakes = 0;
}

GMM_INLINE void gmm_waitqueue_destroy(struct gmm_waitqueue *queue)
{
	(void)queue;
}

GMM_INLINE void gmm_waitqueue_wait(struct gmm_waitqueue *queue, struct gmm_spinlock *lock)
{
	uint32_t seen = gmm_load_relaxed(&queue->wakes);
	uint32_t turn = 0;

	if (GMM_DEBUG)
		gmm_port_debug_only_spinlock(lock);
	gmm_spin_unlock(lock);
	while (gmm_load_acquire(&queue->wakes) == seen)
		gmm_cpu_relax(turn++);
	gmm_spin_lock(lock);
}

GMM_INLINE void gmm_waitqueue_wake_all(struct gmm_waitqueue *queue)
{
	gmm_fetch_add(&queue->wakes, 1u);
}

#endif
