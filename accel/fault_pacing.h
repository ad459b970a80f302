/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * How a fault service's thread waits for the next event: asleep, or by looking again and again,
 * which saves the time to wake it. Looking costs a processor, so it happens only while events come
 * fast and a processor is free for it:
 *
 * - The kernel's count of threads that run or want to (/proc/loadavg) is not above the number of
 *   processors, this thread and the vCPU it has just woken included, three times in a row. It is
 *   asked for at the start of a spin, seldom while the answer stays the same.
 * - Nobody took the processor from this thread while it looked. That shows contention for one
 *   processor of many, where vCPUs and service are bound to the same.
 * - Of the last spins one was not in vain.
 * - Events do not come faster when it sleeps (pacing_trial.h).
 */
#ifndef GMM_ACCEL_FAULT_PACING_H
#define GMM_ACCEL_FAULT_PACING_H

#include <guestmm/linux/fault_service.h>

#include "pacing_trial.h"

/* What the host says; for tests replaceable. */
struct gmm_pacing_host {
	/* Threads that run or want to; negative: it does not say. */
	int64_t (*running)(void *opaque);
	/* How often the calling thread lost its processor against its will. */
	int64_t (*preemptions)(void *opaque);
	uint32_t processors;
	void *opaque;
};

struct gmm_pacing {
	/* Immutable. */
	struct gmm_pacing_host host;
	enum gmm_fault_service_wait wait;
	uint32_t busy_threads; /* and services: used when the host does not say */
	uint64_t spin_ns;

	/* Times in ns. */
	uint64_t last_event; /* 0: none since the last sleep */
	uint64_t not_before; /* the next spin, after one that was in vain or harmful */
	uint64_t pause_ns;
	uint64_t ask_at; /* whether a processor is free */
	uint64_t ask_ns;
	uint32_t free_seen; /* answers in a row that one is */
	uint32_t useless;   /* spins in a row that ended without an event */
	bool spinning;	    /* since last_event */
	int64_t preempted;  /* when the spin began */
	struct gmm_pacing_trial trial;
};

void gmm_pacing_init(struct gmm_pacing *pacing, const struct gmm_fault_service_config *config,
		     const struct gmm_pacing_host *host);
/* So many events came. Returns whether spinning for them was worth it. */
bool gmm_pacing_events(struct gmm_pacing *pacing, uint64_t now, uint32_t events);
/* They are served: the next spin starts from here. */
void gmm_pacing_served(struct gmm_pacing *pacing, uint64_t now);
/* There is none: whether to look again at once. */
bool gmm_pacing_spin(struct gmm_pacing *pacing, uint64_t now);

#endif
