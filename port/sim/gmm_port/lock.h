/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_PORT_LOCK_H
#define GMM_PORT_LOCK_H

#include <gmm_port/atomic.h>
#include <gmm_port/debug.h>

struct gmm_sim_thread;

struct gmm_sim_lock {
	uint32_t magic; /* tells a lock that was never set up, or whose memory was freed */
	uint32_t rank;
	struct gmm_sim_thread *owner;
	const struct gmm_sim_site *taken_at;
};

struct gmm_spinlock {
	struct gmm_sim_lock spin;
};

struct gmm_mutex {
	struct gmm_sim_lock mutex;
};

void gmm_sim_lock_init(struct gmm_sim_lock *lock, uint32_t rank, const struct gmm_sim_site *site);
void gmm_sim_lock_destroy(struct gmm_sim_lock *lock, const struct gmm_sim_site *site);
void gmm_sim_lock_take(struct gmm_sim_lock *lock, bool sleeps, const struct gmm_sim_site *site);
void gmm_sim_lock_drop(struct gmm_sim_lock *lock, const struct gmm_sim_site *site);
void gmm_sim_lock_assert_held(const struct gmm_sim_lock *lock, const struct gmm_sim_site *site);

#define gmm_spin_init(lock, rank) gmm_sim_lock_init(&(lock)->spin, rank, GMM_SIM_SITE(#lock))
#define gmm_spin_destroy(lock) gmm_sim_lock_destroy(&(lock)->spin, GMM_SIM_SITE(#lock))
#define gmm_spin_lock(lock) gmm_sim_lock_take(&(lock)->spin, false, GMM_SIM_SITE(#lock))
#define gmm_spin_unlock(lock) gmm_sim_lock_drop(&(lock)->spin, GMM_SIM_SITE(#lock))
#define gmm_spin_assert_held(lock) gmm_sim_lock_assert_held(&(lock)->spin, GMM_SIM_SITE(#lock))

#define gmm_mutex_init(lock, rank) gmm_sim_lock_init(&(lock)->mutex, rank, GMM_SIM_SITE(#lock))
#define gmm_mutex_destroy(lock) gmm_sim_lock_destroy(&(lock)->mutex, GMM_SIM_SITE(#lock))
#define gmm_mutex_lock(lock) gmm_sim_lock_take(&(lock)->mutex, true, GMM_SIM_SITE(#lock))
#define gmm_mutex_unlock(lock) gmm_sim_lock_drop(&(lock)->mutex, GMM_SIM_SITE(#lock))
#define gmm_mutex_assert_held(lock) gmm_sim_lock_assert_held(&(lock)->mutex, GMM_SIM_SITE(#lock))

#endif
