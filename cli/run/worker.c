/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "worker.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "../command.h"
#include "run.h"

#define JOIN_SECONDS 60

int run_sync_init(struct run_sync *sync)
{
	pthread_condattr_t attributes;
	int error;

	error = pthread_condattr_init(&attributes);
	if (error)
		return -GMM_ENOMEM;
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	error = pthread_cond_init(&sync->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	if (error)
		return -GMM_ENOMEM;
	if (pthread_mutex_init(&sync->lock, NULL)) {
		pthread_cond_destroy(&sync->changed);
		return -GMM_ENOMEM;
	}
	sync->phase = RUN_GOING;
	return 0;
}

void run_sync_destroy(struct run_sync *sync)
{
	pthread_cond_destroy(&sync->changed);
	pthread_mutex_destroy(&sync->lock);
}

enum run_phase run_phase(const struct run *run)
{
	return (enum run_phase)__atomic_load_n(&run->sync.phase, __ATOMIC_ACQUIRE);
}

void run_phase_set(struct run *run, enum run_phase phase)
{
	pthread_mutex_lock(&run->sync.lock);
	if (run->sync.phase < (uint32_t)phase)
		__atomic_store_n(&run->sync.phase, (uint32_t)phase, __ATOMIC_RELEASE);
	pthread_cond_broadcast(&run->sync.changed);
	pthread_mutex_unlock(&run->sync.lock);
}

void run_changed(struct run *run)
{
	pthread_mutex_lock(&run->sync.lock);
	pthread_cond_broadcast(&run->sync.changed);
	pthread_mutex_unlock(&run->sync.lock);
}

uint64_t run_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void run_pause(struct run *run, enum run_phase now, uint64_t nanoseconds)
{
	uint64_t until = run_now() + nanoseconds;
	struct timespec deadline = {
		.tv_sec = (time_t)(until / 1000000000u),
		.tv_nsec = (long)(until % 1000000000u),
	};

	pthread_mutex_lock(&run->sync.lock);
	if (run->sync.phase == (uint32_t)now)
		pthread_cond_timedwait(&run->sync.changed, &run->sync.lock, &deadline);
	pthread_mutex_unlock(&run->sync.lock);
}

void run_phase_wait(struct run *run, enum run_phase phase)
{
	pthread_mutex_lock(&run->sync.lock);
	while (run->sync.phase < (uint32_t)phase)
		pthread_cond_wait(&run->sync.changed, &run->sync.lock);
	pthread_mutex_unlock(&run->sync.lock);
}

int run_worker_start(struct run *run, struct run_worker *worker, const char *name,
		     void *(*function)(void *opaque), void *opaque)
{
	int error = pthread_create(&worker->thread, NULL, function, opaque);

	if (error) {
		run_abandon(
			run, GMM_EXIT_REFUSED,
			"no thread for %s (%s): end other programs, or raise the limit (ulimit -u, -v)",
			name, strerror(error));
		return -1;
	}
	pthread_setname_np(worker->thread, name);
	worker->name = name;
	worker->started = true;
	return 0;
}

void run_worker_join(struct run *run, struct run_worker *worker)
{
	struct timespec deadline;

	if (!worker->started)
		return;
	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += JOIN_SECONDS;
	if (pthread_clockjoin_np(worker->thread, NULL, CLOCK_MONOTONIC, &deadline)) {
		run_abandon(run, GMM_EXIT_LOST, "the %s thread does not end", worker->name);
		run_die(run);
	}
	worker->started = false;
}
