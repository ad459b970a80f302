/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <guestmm/linux/repair_service.h>

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <guestmm/fault.h>
#include <guestmm/memory.h>

#include "live_stage2_impl.h"

#define PAGE_SHIFT 12
#define PAGE_BYTES 4096u
#define QUEUE 256u
#define WATCHED 64u

/*
 * When an event's addresses are looked at, from it on. Of freed memory nothing tells when it is gone;
 * where memory was unmapped, somebody else's mapping may be in the way, and not for long.
 */
static const uint64_t look_after_ns[] = { 0, 1000000, 20000000, 200000000 };
#define LOOKS (sizeof(look_after_ns) / sizeof(look_after_ns[0]))

struct job {
	struct gmm_userfault_event event;
	uint64_t taken_at; /* ns */
	uint32_t looks;	   /* done so far */
};

struct watched {
	gmm_hva_t mapping;
	uint64_t bytes; /* 0: no entry */
	gmm_hva_t hva;
};

struct gmm_repair_service {
	struct gmm_repair_service_config config; /* immutable */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* under lock */
	struct job jobs[QUEUE];
	uint32_t count;
	bool missed; /* an event found no place */
	bool stopping;
	bool working;
	struct watched watched[WATCHED];
	struct gmm_repair_service_statistics statistics;
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static void add(struct gmm_repair_service *service, uint64_t *counter, uint64_t more)
{
	pthread_mutex_lock(&service->lock);
	*counter += more;
	pthread_mutex_unlock(&service->lock);
}

/* Taking and finding jobs */

static void take_locked(struct gmm_repair_service *service, const struct gmm_userfault_event *event)
{
	struct gmm_repair_service_statistics *statistics = &service->statistics;

	switch (event->kind) {
	case GMM_USERFAULT_EVENT_REMOVED:
		statistics->removed++;
		break;
	case GMM_USERFAULT_EVENT_UNMAPPED:
		statistics->unmapped++;
		break;
	default:
		statistics->moved++;
	}
	if (service->count < QUEUE) {
		service->jobs[service->count++] =
			(struct job){ .event = *event, .taken_at = now_ns() };
	} else {
		service->missed = true;
		statistics->missed++;
	}
}

void gmm_repair_service_event(struct gmm_repair_service *service,
			      const struct gmm_userfault_event *event)
{
	pthread_mutex_lock(&service->lock);
	take_locked(service, event);
	pthread_cond_broadcast(&service->changed);
	pthread_mutex_unlock(&service->lock);
}

static uint64_t due(const struct job *job)
{
	return job->taken_at + look_after_ns[job->looks];
}

/* The job that is due first, or NULL. At the end all are due. */
static struct job *first_due(struct gmm_repair_service *service, uint64_t *when)
{
	struct job *first = NULL;
	uint32_t i;

	for (i = 0; i < service->count; i++)
		if (!first || due(&service->jobs[i]) < due(first))
			first = &service->jobs[i];
	*when = first && !service->stopping ? due(first) : 0;
	return first;
}

/* Doing them */

/* The guest's part of some addresses. */
struct part {
	struct gmm_live_range range; /* of its slot */
	gmm_hva_t start;
	uint64_t bytes;
};

static gmm_gfn_t gfn_of(const struct part *part, gmm_hva_t hva)
{
	return part->range.gfn + ((hva - part->range.hva) >> PAGE_SHIFT);
}

/* One look at the addresses of an event. */
struct look {
	struct gmm_repair_service *service;
	bool last;
	bool in_the_way; /* somebody's mapping is, so one more look is worth it */
};

struct restoring {
	struct gmm_repair_service *service;
	const struct part *part;
};

static int make_ready(void *opaque, gmm_hva_t hva, uint64_t bytes)
{
	struct restoring *restoring = opaque;
	struct gmm_repair_service *service = restoring->service;
	int error = gmm_userfault_register(service->config.userfault, hva, bytes,
					   restoring->part->range.modes);

	if (!error)
		add(service, &service->statistics.restored, bytes >> PAGE_SHIFT);
	return error;
}

/* Addresses where nothing of ours is. */
static void restore_run(struct look *look, const struct part *part, gmm_hva_t hva, uint64_t bytes)
{
	struct gmm_repair_service *service = look->service;
	const struct gmm_memory_ops *ops = part->range.memory_ops;
	struct restoring restoring = { service, part };
	uint64_t left = 0, at;
	int error = ops->restore ?
			    ops->restore(part->range.memory, hva, bytes, make_ready, &restoring) :
			    -GMM_EOPNOTSUPP;

	if (!error)
		return;
	if (error == -GMM_EEXIST && !look->last) {
		look->in_the_way = true;
		return;
	}
	for (at = hva; at < hva + bytes; at += PAGE_BYTES)
		left += !gmm_userfault_is_registered(service->config.userfault, at);
	add(service, &service->statistics.not_restored, left);
	if (left && service->config.not_restored)
		service->config.not_restored(service->config.opaque, gfn_of(part, hva),
					     bytes >> PAGE_SHIFT, error);
}

/* The range's slot stays as long as the caller has the live second stage. */
static void restore_part(void *opaque, const struct gmm_live_range *range, gmm_hva_t start,
			 uint64_t bytes)
{
	struct look *look = opaque;
	struct gmm_userfault *userfault = look->service->config.userfault;
	struct part part = { *range, start, bytes };
	gmm_hva_t at = start, end = start + bytes, from;

	if (!range->modes)
		return;
	while (at < end) {
		from = at;
		while (at < end && !gmm_userfault_is_registered(userfault, at))
			at += PAGE_BYTES;
		if (at > from)
			restore_run(look, &part, from, at - from);
		else
			at += PAGE_BYTES;
	}
}

static void repair_addresses(struct gmm_repair_service *service, gmm_hva_t start, uint64_t bytes)
{
	struct gmm_repair_result result = { 0 };
	gmm_hva_t end = start + bytes;
	struct gmm_live_range range;
	int error = 0;

	while (start < end && gmm_live_stage2_next(service->config.live, start, &range) &&
	       range.hva < end) {
		gmm_hva_t from = range.hva > start ? range.hva : start;
		gmm_hva_t to = range.hva + range.bytes < end ? range.hva + range.bytes : end;

		error = gmm_repair(service->config.guest,
				   range.gfn + ((from - range.hva) >> PAGE_SHIFT),
				   (to - from) >> PAGE_SHIFT, &result);
		if (error)
			add(service, &service->statistics.failed, 1);
		gmm_userfault_wake(service->config.userfault, from, to - from);
		start = to;
	}
	add(service, &service->statistics.repaired, result.repaired);
	add(service, &service->statistics.lost, result.lost);
}

/* Events at watched mappings are about the same pages. */
static void repair_watched(struct gmm_repair_service *service, gmm_hva_t start, uint64_t bytes)
{
	uint32_t i;

	for (i = 0; i < WATCHED; i++) {
		struct watched watched;
		gmm_hva_t from, to;

		pthread_mutex_lock(&service->lock);
		watched = service->watched[i];
		pthread_mutex_unlock(&service->lock);
		from = start > watched.mapping ? start : watched.mapping;
		to = start + bytes < watched.mapping + watched.bytes ?
			     start + bytes :
			     watched.mapping + watched.bytes;
		if (watched.bytes && from < to)
			repair_addresses(service, watched.hva + (from - watched.mapping),
					 to - from);
	}
}

static void unregister_unwatched(void *opaque, gmm_hva_t start, uint64_t bytes)
{
	struct gmm_repair_service *service = opaque;
	gmm_hva_t end = start + bytes, next;
	uint32_t i;

	pthread_mutex_lock(&service->lock);
	for (; start < end; start = next) {
		bool watched = false;

		next = end;
		for (i = 0; i < WATCHED && !watched; i++) {
			gmm_hva_t from = service->watched[i].mapping;
			uint64_t size = service->watched[i].bytes;

			watched = start >= from && start - from < size;
			if (watched)
				next = from + size;
			else if (size && from > start && from < next)
				next = from;
		}
		if (!watched)
			gmm_userfault_unregister(service->config.userfault, start, next - start);
	}
	pthread_mutex_unlock(&service->lock);
}

/*
 * What was moved is somebody else's now and still tells its faults. By now other memory may be there,
 * and where that is guest memory it stays registered.
 */
static void let_go_of_moved(struct gmm_repair_service *service,
			    const struct gmm_userfault_event *event)
{
	gmm_live_stage2_visit_outside(service->config.live, event->target, event->bytes,
				      unregister_unwatched, service);
}

/* Returns whether one more look is worth it. */
static bool do_event(struct gmm_repair_service *service, const struct gmm_userfault_event *event,
		     uint32_t looks)
{
	struct look look = { .service = service, .last = looks == LOOKS };

	if (event->kind == GMM_USERFAULT_EVENT_MOVED && looks == 1)
		let_go_of_moved(service, event);
	if (event->kind != GMM_USERFAULT_EVENT_REMOVED)
		gmm_live_stage2_visit(service->config.live, event->start, event->bytes,
				      restore_part, &look);
	repair_addresses(service, event->start, event->bytes);
	repair_watched(service, event->start, event->bytes);
	return look.in_the_way || (event->kind == GMM_USERFAULT_EVENT_REMOVED && !look.last);
}

static void do_everything(struct gmm_repair_service *service)
{
	const struct gmm_userfault_event all = {
		.kind = GMM_USERFAULT_EVENT_UNMAPPED,
		.bytes = ~(uint64_t)(PAGE_BYTES - 1),
	};

	do_event(service, &all, LOOKS);
}

/* One job, or a sleep. False: it is over. Under the lock, which is dropped meanwhile. */
static bool work(struct gmm_repair_service *service)
{
	uint64_t when;
	struct job *job = first_due(service, &when);
	struct timespec until;
	struct job taken;
	bool everything = service->missed, again = false;

	if (!job && !everything) {
		pthread_cond_broadcast(&service->changed);
		if (service->stopping)
			return false;
		pthread_cond_wait(&service->changed, &service->lock);
		return true;
	}
	if (!everything && when > now_ns()) {
		until = (struct timespec){ .tv_sec = (time_t)(when / 1000000000u),
					   .tv_nsec = (long)(when % 1000000000u) };
		pthread_cond_timedwait(&service->changed, &service->lock, &until);
		return true;
	}
	service->missed = false;
	service->working = true;
	if (!everything) {
		taken = *job;
		*job = service->jobs[--service->count];
	}
	pthread_mutex_unlock(&service->lock);
	if (everything)
		do_everything(service);
	else
		again = do_event(service, &taken.event, ++taken.looks);
	pthread_mutex_lock(&service->lock);
	if (again && service->count < QUEUE)
		service->jobs[service->count++] = taken;
	else if (again)
		service->missed = true;
	service->working = false;
	pthread_cond_broadcast(&service->changed);
	return true;
}

static void *service_thread(void *opaque)
{
	struct gmm_repair_service *service = opaque;

	pthread_mutex_lock(&service->lock);
	while (work(service))
		;
	pthread_mutex_unlock(&service->lock);
	return NULL;
}

/* Watched mappings */

int gmm_repair_service_watch(struct gmm_repair_service *service, gmm_hva_t mapping, uint64_t bytes,
			     gmm_hva_t hva)
{
	int error = -GMM_ENOSPC;
	uint32_t i;

	pthread_mutex_lock(&service->lock);
	for (i = 0; i < WATCHED && service->watched[i].bytes; i++)
		;
	if (i < WATCHED)
		error = gmm_userfault_register(service->config.userfault, mapping, bytes,
					       GMM_USERFAULT_MISSING);
	if (!error)
		service->watched[i] = (struct watched){ mapping, bytes, hva };
	pthread_mutex_unlock(&service->lock);
	return error;
}

void gmm_repair_service_unwatch(struct gmm_repair_service *service, gmm_hva_t mapping)
{
	uint32_t i;

	pthread_mutex_lock(&service->lock);
	for (i = 0; i < WATCHED; i++) {
		struct watched *watched = &service->watched[i];

		if (!watched->bytes || watched->mapping != mapping)
			continue;
		gmm_userfault_unregister(service->config.userfault, mapping, watched->bytes);
		watched->bytes = 0;
	}
	pthread_mutex_unlock(&service->lock);
}

int gmm_repair_service_touched(struct gmm_repair_service *service, gmm_hva_t address)
{
	int error = -GMM_ENOENT;
	gmm_hva_t hva = 0;
	uint32_t i;

	pthread_mutex_lock(&service->lock);
	for (i = 0; i < WATCHED; i++) {
		const struct watched *watched = &service->watched[i];

		if (address >= watched->mapping && address - watched->mapping < watched->bytes) {
			hva = watched->hva + (address - watched->mapping);
			service->statistics.touched++;
			error = 0;
		}
	}
	pthread_mutex_unlock(&service->lock);
	if (error)
		return error;
	error = gmm_repair_touched(service->config.guest, hva);
	if (error == GMM_FAULT_HELD)
		/* Whoever changes the page wakes vCPUs only: it touches it again. */
		sched_yield();
	if (error >= 0)
		gmm_userfault_wake(service->config.userfault,
				   address & ~(gmm_hva_t)(PAGE_BYTES - 1), PAGE_BYTES);
	return error;
}

int gmm_repair_service_start(const struct gmm_repair_service_config *config,
			     struct gmm_repair_service **service)
{
	struct gmm_repair_service *made;
	pthread_condattr_t attributes;

	if (!config->guest || !config->userfault || !config->live)
		return -GMM_EINVAL;
	made = calloc(1, sizeof(*made));
	if (!made)
		return -GMM_ENOMEM;
	made->config = *config;
	pthread_mutex_init(&made->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&made->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	if (pthread_create(&made->thread, NULL, service_thread, made)) {
		pthread_cond_destroy(&made->changed);
		pthread_mutex_destroy(&made->lock);
		free(made);
		return -GMM_EIO;
	}
	*service = made;
	return 0;
}

void gmm_repair_service_stop(struct gmm_repair_service *service)
{
	if (!service)
		return;
	pthread_mutex_lock(&service->lock);
	service->stopping = true;
	pthread_cond_broadcast(&service->changed);
	pthread_mutex_unlock(&service->lock);
	pthread_join(service->thread, NULL);
	pthread_cond_destroy(&service->changed);
	pthread_mutex_destroy(&service->lock);
	free(service);
}

static bool has_new(const struct gmm_repair_service *service)
{
	uint32_t i;

	for (i = 0; i < service->count; i++)
		if (!service->jobs[i].looks)
			return true;
	return service->missed || service->working;
}

void gmm_repair_service_catch_up(struct gmm_repair_service *service)
{
	pthread_mutex_lock(&service->lock);
	while (has_new(service))
		pthread_cond_wait(&service->changed, &service->lock);
	pthread_mutex_unlock(&service->lock);
}

void gmm_repair_service_wait(struct gmm_repair_service *service)
{
	pthread_mutex_lock(&service->lock);
	while (service->count || service->missed || service->working)
		pthread_cond_wait(&service->changed, &service->lock);
	pthread_mutex_unlock(&service->lock);
}

void gmm_repair_service_read_statistics(struct gmm_repair_service *service,
					struct gmm_repair_service_statistics *statistics)
{
	pthread_mutex_lock(&service->lock);
	*statistics = service->statistics;
	pthread_mutex_unlock(&service->lock);
}
