/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_PORT_WAIT_H
#define GMM_PORT_WAIT_H

#include <linux/sched.h>
#include <linux/wait.h>

#include <gmm_port/lock.h>

struct gmm_waitqueue {
	wait_queue_head_t head;
};

#define gmm_waitqueue_init(queue) init_waitqueue_head(&(queue)->head)

GMM_INLINE void gmm_waitqueue_destroy(struct gmm_waitqueue *queue)
{
	gmm_assert(!waitqueue_active(&queue->head));
}

void gmm_waitqueue_wait(struct gmm_waitqueue *queue, struct gmm_spinlock *lock);

GMM_INLINE void gmm_waitqueue_wake_all(struct gmm_waitqueue *queue)
{
	wake_up_all(&queue->head);
}

#endif
