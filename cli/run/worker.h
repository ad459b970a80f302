/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The threads of a run, and how far it is. */
#ifndef GMM_CLI_RUN_WORKER_H
#define GMM_CLI_RUN_WORKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct run;

enum run_phase {
	RUN_GOING,    /* everybody works */
	RUN_STOPPING, /* vCPUs finish what they have begun; device and verifier still serve them */
	RUN_QUIET,    /* no vCPU runs any more: the other threads end */
	RUN_OVER,     /* the vCPUs' threads end, too */
};

struct run_sync {
	pthread_mutex_t lock;
	pthread_cond_t changed; /* the phase, or a vCPU that parked */
	uint32_t phase;		/* enum run_phase; atomic, changed under lock */
};

struct run_worker {
	const char *name;
	pthread_t thread;
	bool started; /* of the thread that starts and joins */
};

int run_sync_init(struct run_sync *sync);
void run_sync_destroy(struct run_sync *sync);

enum run_phase run_phase(const struct run *run);
/* Never goes back. */
void run_phase_set(struct run *run, enum run_phase phase);
/* Wakes whoever is in run_pause() or run_wait(). */
void run_changed(struct run *run);
/* Returns after so long, or when the phase is another than `now`, or at run_changed(). */
void run_pause(struct run *run, enum run_phase now, uint64_t nanoseconds);
/* Returns when the phase is at least this. */
void run_phase_wait(struct run *run, enum run_phase phase);

/* -1 and a line in the outcome when there is no thread to be had. */
int run_worker_start(struct run *run, struct run_worker *worker, const char *name,
		     void *(*function)(void *opaque), void *opaque);
/*
 * Waits for its end. One that does not end in time is a defect: what was found so far and its name
 * are printed, and the process ends.
 */
void run_worker_join(struct run *run, struct run_worker *worker);

#endif
