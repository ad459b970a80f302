/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <guestmm/linux/fault_service.h>
#include <guestmm/linux/repair_service.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "fault_pacing.h"
#include "live_stage2_impl.h"

#define PAGE_BYTES 4096u
#define BATCH 16
#define THREADS_MAX 16u
/* Reads in a row that gave as many faults as they could, with some that could not be served. */
#define FULL_READS 4u
#define PARKED_NS_MIN 50000
#define PARKED_NS_MAX 2000000

struct service_thread {
	struct gmm_fault_service *service;
	int epoll; /* its own, so that an event wakes each thread */
	pthread_t thread;
	/* Of the thread alone. */
	uint32_t full_reads;
	long parked_ns;
};

struct gmm_fault_service {
	struct gmm_fault_service_config config;		/* immutable */
	int stop_descriptor;				/* immutable */
	int load_descriptor;				/* immutable: /proc/loadavg, or -1 */
	uint32_t started;				/* of the thread that starts and stops */
	struct service_thread thread[THREADS_MAX];	/* likewise */
	uint32_t stopping;				/* atomic */
	struct gmm_fault_service_statistics statistics; /* atomic */
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

/* A lone thread needs no locked operation. */
static void count(const struct gmm_fault_service *service, uint64_t *counter)
{
	if (service->config.threads == 1)
		__atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + 1,
				 __ATOMIC_RELAXED);
	else
		__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

/* Threads of the whole machine that run or want to: the fourth field, "2/108". */
static int64_t host_running(void *opaque)
{
	const struct gmm_fault_service *service = opaque;
	char text[64];
	ssize_t got = pread(service->load_descriptor, text, sizeof(text) - 1, 0);
	int64_t running = -1;
	int fields = 0;
	ssize_t i;

	for (i = 0; i < got && fields < 3; i++)
		fields += text[i] == ' ';
	for (; i < got && text[i] >= '0' && text[i] <= '9'; i++)
		running = (running < 0 ? 0 : running * 10) + (text[i] - '0');
	return running;
}

static int64_t host_preemptions(void *opaque)
{
	struct rusage usage;

	return getrusage(RUSAGE_THREAD, &usage) ? 0 : usage.ru_nivcsw;
}

static struct gmm_pacing_host pacing_host(struct gmm_fault_service *service)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);

	return (struct gmm_pacing_host){
		.running = host_running,
		.preemptions = host_preemptions,
		.processors = online > 0 ? (uint32_t)online : 1,
		.opaque = service,
	};
}

/* Returns whether the fault was held. */
static bool serve_fault(struct gmm_fault_service *service, const struct gmm_userfault_event *event,
			uint64_t read_at)
{
	const struct gmm_fault_service_config *config = &service->config;
	uint32_t kind = event->kind == GMM_USERFAULT_EVENT_MISSING ? GMM_FAULT_SERVICE_MISSING :
			event->kind == GMM_USERFAULT_EVENT_MINOR   ? GMM_FAULT_SERVICE_MINOR :
								     GMM_FAULT_SERVICE_WP;
	uint32_t access = event->access |
			  (kind == GMM_FAULT_SERVICE_MISSING ? GMM_FAULT_MISSING : 0);
	int result = config->serve ? config->serve(config->opaque, event->start, access) :
				     gmm_fault_serve_at(config->guest, NULL, event->start, access);

	if (result == -GMM_EFAULT && config->repair && kind == GMM_FAULT_SERVICE_MISSING) {
		int touched = gmm_repair_service_touched(config->repair, event->start);

		if (touched >= 0)
			return false;
		if (touched != -GMM_ENOENT)
			result = touched;
	}
	if (result == -GMM_EFAULT) {
		/* In no slot any more: it finds what there is now. */
		count(service, &service->statistics.unknown);
		gmm_userfault_wake(config->userfault, event->start, PAGE_BYTES);
		return false;
	}
	if (result == 0) {
		count(service, &service->statistics.kind[kind].served);
	} else if (result == GMM_FAULT_HELD) {
		count(service, &service->statistics.kind[kind].held);
	} else if (result == -GMM_EAGAIN) {
		/* Somebody changes the mapping: it faults again. */
		count(service, &service->statistics.kind[kind].held);
		gmm_userfault_wake(config->userfault, event->start, PAGE_BYTES);
	} else {
		count(service, &service->statistics.kind[kind].failed);
		if (config->failed)
			config->failed(config->opaque, event->start, event->access, result);
	}
	gmm_latency_add(&service->statistics.kind[kind].latency, now_ns() - read_at);
	return result == GMM_FAULT_HELD || result == -GMM_EAGAIN;
}

static bool is_fault(const struct gmm_userfault_event *event)
{
	return event->kind <= GMM_USERFAULT_EVENT_WP;
}

static void tell_foreign(struct gmm_fault_service *service, const struct gmm_userfault_event *event)
{
	count(service, &service->statistics.foreign);
	if (service->config.repair)
		gmm_repair_service_event(service->config.repair, event);
	if (service->config.foreign)
		service->config.foreign(service->config.opaque, event);
}

/* Returns how many of the faults among them were held. */
static uint32_t handle_events(struct gmm_fault_service *service,
			      const struct gmm_userfault_event *events, int number,
			      uint64_t read_at)
{
	uint32_t held = 0;
	int i;

	count(service, &service->statistics.batches);
	for (i = 0; i < number; i++) {
		if (is_fault(&events[i]))
			held += serve_fault(service, &events[i], read_at);
		else
			tell_foreign(service, &events[i]);
	}
	return held;
}

/*
 * The kernel tells faults first, and changes of mappings only when no fault is left; while a change
 * waits to be told, no page can be mapped, and each fault comes back. Enough threads that fault keep
 * that up for ever. So here faults are read and left alone, until everything was told; then they
 * come again.
 */
static void read_what_waits_behind_faults(struct service_thread *self)
{
	struct gmm_fault_service *service = self->service;
	struct gmm_userfault *userfault = service->config.userfault;
	gmm_hva_t first = ~(gmm_hva_t)0, end = 0;
	struct gmm_userfault_event events[BATCH];
	struct timespec pause;
	int number, i;

	do {
		number = gmm_userfault_read(userfault, events, BATCH);
		for (i = 0; i < number; i++) {
			if (!is_fault(&events[i])) {
				tell_foreign(service, &events[i]);
				continue;
			}
			if (events[i].start < first)
				first = events[i].start;
			if (events[i].start + PAGE_BYTES > end)
				end = events[i].start + PAGE_BYTES;
		}
	} while (number == BATCH);
	/* Whoever changes the mapping knows that it was told when it has had a processor. */
	self->parked_ns = self->parked_ns ? 2 * self->parked_ns : PARKED_NS_MIN;
	if (self->parked_ns > PARKED_NS_MAX)
		self->parked_ns = PARKED_NS_MAX;
	pause = (struct timespec){ .tv_nsec = self->parked_ns };
	nanosleep(&pause, NULL);
	if (end)
		gmm_userfault_wake(userfault, first, end - first);
	count(service, &service->statistics.parked);
}

/* After a read of `number`, of which so many faults were held. */
static void look_behind_faults(struct service_thread *self, int number, uint32_t held)
{
	if (number < BATCH || !held) {
		self->full_reads = 0;
		self->parked_ns = 0;
	} else if (++self->full_reads == FULL_READS) {
		read_what_waits_behind_faults(self);
		self->full_reads = 0;
	}
}

/*
 * Sleeps until there is an event or the service ends. It is told of new events only: the thread has
 * read those that there were.
 */
static void wait_for_events(struct gmm_fault_service *service, int epoll)
{
	struct epoll_event event;

	count(service, &service->statistics.sleeps);
	epoll_wait(epoll, &event, 1, -1);
}

static void *service_thread(void *opaque)
{
	struct service_thread *self = opaque;
	struct gmm_fault_service *service = self->service;
	struct gmm_userfault_event events[BATCH];
	struct gmm_pacing_host host = pacing_host(service);
	struct gmm_pacing pacing;
	uint64_t now;
	int number;

	gmm_live_stage2_reads_events = true;
	gmm_pacing_init(&pacing, &service->config, &host);
	while (!__atomic_load_n(&service->stopping, __ATOMIC_RELAXED)) {
		number = gmm_userfault_read(service->config.userfault, events, BATCH);
		now = now_ns();
		if (number > 0) {
			if (gmm_pacing_events(&pacing, now, (uint32_t)number))
				count(service, &service->statistics.spins);
			look_behind_faults(self, number,
					   handle_events(service, events, number, now));
			if (service->config.wait == GMM_FAULT_SERVICE_ADAPTIVE)
				now = now_ns();
			gmm_pacing_served(&pacing, now);
			/* What came meanwhile is seen by the sleep, too, and at once. */
			if (number < BATCH && !gmm_pacing_spin(&pacing, now))
				wait_for_events(service, self->epoll);
		} else if (number < 0 || !gmm_pacing_spin(&pacing, now)) {
			wait_for_events(service, self->epoll);
		}
	}
	return NULL;
}

static int watch(int epoll, int descriptor, uint32_t events)
{
	struct epoll_event event = { .events = events };

	return epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event);
}

static int start_thread(struct gmm_fault_service *service, struct service_thread *thread)
{
	thread->service = service;
	thread->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (thread->epoll < 0)
		return -GMM_EIO;
	if (watch(thread->epoll, gmm_userfault_descriptor(service->config.userfault),
		  EPOLLIN | EPOLLET) ||
	    watch(thread->epoll, service->stop_descriptor, EPOLLIN) ||
	    pthread_create(&thread->thread, NULL, service_thread, thread)) {
		close(thread->epoll);
		return -GMM_EIO;
	}
	return 0;
}

int gmm_fault_service_start(const struct gmm_fault_service_config *config,
			    struct gmm_fault_service **service)
{
	uint32_t threads = config->threads ? config->threads : 1;
	struct gmm_fault_service *made;

	if (threads > THREADS_MAX || config->wait > GMM_FAULT_SERVICE_SPIN || !config->userfault ||
	    (!config->guest && !config->serve))
		return -GMM_EINVAL;
	made = calloc(1, sizeof(*made));
	if (!made)
		return -GMM_ENOMEM;
	made->config = *config;
	made->config.threads = threads;
	made->load_descriptor = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
	made->stop_descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (made->stop_descriptor < 0) {
		if (made->load_descriptor >= 0)
			close(made->load_descriptor);
		free(made);
		return -GMM_EIO;
	}
	while (made->started < threads) {
		if (start_thread(made, &made->thread[made->started])) {
			gmm_fault_service_stop(made);
			return -GMM_EIO;
		}
		made->started++;
	}
	*service = made;
	return 0;
}

void gmm_fault_service_stop(struct gmm_fault_service *service)
{
	uint32_t i;

	if (!service)
		return;
	__atomic_store_n(&service->stopping, 1, __ATOMIC_RELAXED);
	eventfd_write(service->stop_descriptor, 1);
	for (i = 0; i < service->started; i++) {
		pthread_join(service->thread[i].thread, NULL);
		close(service->thread[i].epoll);
	}
	close(service->stop_descriptor);
	if (service->load_descriptor >= 0)
		close(service->load_descriptor);
	free(service);
}

void gmm_fault_service_read_statistics(const struct gmm_fault_service *service,
				       struct gmm_fault_service_statistics *statistics)
{
	const struct gmm_fault_service_statistics *from = &service->statistics;
	uint32_t i;

	for (i = 0; i < GMM_FAULT_SERVICE_KINDS; i++) {
		gmm_latency_copy(&statistics->kind[i].latency, &from->kind[i].latency);
		statistics->kind[i].served =
			__atomic_load_n(&from->kind[i].served, __ATOMIC_RELAXED);
		statistics->kind[i].held = __atomic_load_n(&from->kind[i].held, __ATOMIC_RELAXED);
		statistics->kind[i].failed =
			__atomic_load_n(&from->kind[i].failed, __ATOMIC_RELAXED);
	}
	statistics->unknown = __atomic_load_n(&from->unknown, __ATOMIC_RELAXED);
	statistics->foreign = __atomic_load_n(&from->foreign, __ATOMIC_RELAXED);
	statistics->parked = __atomic_load_n(&from->parked, __ATOMIC_RELAXED);
	statistics->batches = __atomic_load_n(&from->batches, __ATOMIC_RELAXED);
	statistics->sleeps = __atomic_load_n(&from->sleeps, __ATOMIC_RELAXED);
	statistics->spins = __atomic_load_n(&from->spins, __ATOMIC_RELAXED);
}
