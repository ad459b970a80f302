/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_PORT_WAIT_H
#define GMM_PORT_WAIT_H

#include <gmm_port/lock.h>

struct gmm_waitqueue {
	uint32_t magic;
	uint32_t waiters;
};

void gmm_sim_queue_init(struct gmm_waitqueue *queue);
void gmm_sim_queue_destroy(struct gmm_waitqueue *queue, const struct gmm_sim_site *site);
/* Now and then returns though nobody woke it, as the contract allows. */
void gmm_sim_queue_wait(struct gmm_waitqueue *queue, struct gmm_sim_lock *lock,
			const struct gmm_sim_site *site);
void gmm_sim_queue_wake(struct gmm_waitqueue *queue, const struct gmm_sim_site *site);

#define gmm_waitqueue_init(queue) gmm_sim_queue_init(queue)
#define gmm_waitqueue_destroy(queue) gmm_sim_queue_destroy(queue, GMM_SIM_SITE(#queue))
#define gmm_waitqueue_wait(queue, lock) \
	gmm_sim_queue_wait(queue, &(lock)->spin, GMM_SIM_SITE(#queue))
#define gmm_waitqueue_wake_all(queue) gmm_sim_queue_wake(queue, GMM_SIM_SITE(#queue))

#endif
