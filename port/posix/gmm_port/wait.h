/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Waiting for a condition that another thread makes true, port/CONTRACT.md. The sequence word is
 * the futex: a waiter reads it under the spinlock, so a wake that follows a change made under the
 * spinlock moves it on before or after the waiter sleeps, never unseen.
 */
#ifndef GMM_PORT_WAIT_H
#define GMM_PORT_WAIT_H

#include <gmm_port/lock.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gmm_waitqueue {
	uint32_t sequence; /* one more with each wake; the futex word */
	uint32_t waiters;
};

GMM_INLINE void gmm_waitqueue_init(struct gmm_waitqueue *queue)
{
	queue->sequence = 0;
	queue->waiters = 0;
}

GMM_INLINE void gmm_waitqueue_destroy(struct gmm_waitqueue *queue)
{
	gmm_assert(gmm_load_relaxed(&queue->waiters) == 0);
	(void)queue;
}

GMM_API void gmm_waitqueue_wait(struct gmm_waitqueue *queue, struct gmm_spinlock *lock);
GMM_API void gmm_port_waitqueue_wake(struct gmm_waitqueue *queue);

GMM_INLINE void gmm_waitqueue_wake_all(struct gmm_waitqueue *queue)
{
	gmm_fetch_add(&queue->sequence, 1u);
	if (__atomic_load_n(&queue->waiters, __ATOMIC_SEQ_CST))
		gmm_port_waitqueue_wake(queue);
}

#ifdef __cplusplus
}
#endif

#endif
