/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <guestmm/linux/fault_service.h>

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define PAGE_BYTES 4096u
#define BATCH 16
#define THREADS_MAX 16u
#define SPIN_NS_DEFAULT 50000u
/* After spinning proved useless or took the processor from somebody, none for this long. */
#define PAUSE_NS_MIN 10000000ull
#define PAUSE_NS_MAX 1000000000ull
#define USELESS_SPINS_MAX 4u

/* When one thread spins instead of sleeping. */
struct pacing {
	bool allowed;
	uint64_t spin_ns;
	uint64_t last_event; /* ns */
	uint64_t not_before; /* ns */
	uint64_t pause_ns;
	uint32_t useless;	 /* spins in a row that ended without an event */
	bool spinning;		 /* since last_event */
	long preempted_at_start; /* involuntary switches of the thread when the spin began */
};

struct gmm_fault_service {
	struct gmm_fault_service_config config;		/* immutable */
	int stop_descriptor;				/* immutable */
	uint32_t started;				/* of the thread that starts and stops */
	pthread_t thread[THREADS_MAX];			/* likewise */
	uint32_t stopping;				/* atomic */
	struct gmm_fault_service_statistics statistics; /* atomic */
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static void count(uint64_t *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

static long preemptions(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_THREAD, &usage) ? 0 : usage.ru_nivcsw;
}

static uint32_t processors(void)
{
	cpu_set_t set;
	long online;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		return (uint32_t)CPU_COUNT(&set);
	online = sysconf(_SC_NPROCESSORS_ONLN);
	return online > 0 ? (uint32_t)online : 1;
}

static void pacing_init(struct pacing *pacing, const struct gmm_fault_service *service)
{
	const struct gmm_fault_service_config *config = &service->config;

	*pacing = (struct pacing){
		.allowed = processors() >= config->busy_threads + config->threads,
		.spin_ns = config->spin_ns ? config->spin_ns : SPIN_NS_DEFAULT,
		.pause_ns = PAUSE_NS_MIN,
	};
}

static void pacing_pause(struct pacing *pacing, uint64_t now)
{
	pacing->not_before = now + pacing->pause_ns;
	if (pacing->pause_ns < PAUSE_NS_MAX)
		pacing->pause_ns *= 2;
	pacing->useless = 0;
}

/* Events came. */
static void pacing_events(struct pacing *pacing, struct gmm_fault_service *service, uint64_t now)
{
	if (pacing->spinning) {
		pacing->useless = 0;
		count(&service->statistics.spins);
		if (preemptions() != pacing->preempted_at_start)
			pacing_pause(pacing, now);
		else
			pacing->pause_ns = PAUSE_NS_MIN;
	}
	pacing->spinning = false;
	pacing->last_event = now;
}

/* No event: whether to look again at once. */
static bool pacing_spin(struct pacing *pacing, uint64_t now)
{
	if (!pacing->allowed || now < pacing->not_before || !pacing->last_event)
		return false;
	if (!pacing->spinning) {
		pacing->spinning = true;
		pacing->preempted_at_start = preemptions();
		return true;
	}
	if (now < pacing->last_event + pacing->spin_ns)
		return true;
	/* It was in vain; or nobody is idle, and we held up a vCPU. */
	if (preemptions() != pacing->preempted_at_start || ++pacing->useless >= USELESS_SPINS_MAX)
		pacing_pause(pacing, now);
	pacing->spinning = false;
	pacing->last_event = 0;
	return false;
}

static void serve_fault(struct gmm_fault_service *service, const struct gmm_userfault_event *event,
			uint64_t read_at)
{
	const struct gmm_fault_service_config *config = &service->config;
	uint32_t kind = event->kind == GMM_USERFAULT_EVENT_MISSING ? GMM_FAULT_SERVICE_MISSING :
			event->kind == GMM_USERFAULT_EVENT_MINOR   ? GMM_FAULT_SERVICE_MINOR :
								     GMM_FAULT_SERVICE_WP;
	int result = config->serve ?
			     config->serve(config->opaque, event->start, event->access) :
			     gmm_fault_serve_at(config->guest, NULL, event->start, event->access);

	if (result == -GMM_EFAULT) {
		/* In no slot any more: it finds what there is now. */
		count(&service->statistics.unknown);
		gmm_userfault_wake(config->userfault, event->start, PAGE_BYTES);
		return;
	}
	if (result == 0) {
		count(&service->statistics.kind[kind].served);
	} else if (result == GMM_FAULT_HELD) {
		count(&service->statistics.kind[kind].held);
	} else if (result == -GMM_EAGAIN) {
		/* Somebody changes the mapping: it faults again. */
		count(&service->statistics.kind[kind].held);
		gmm_userfault_wake(config->userfault, event->start, PAGE_BYTES);
	} else {
		count(&service->statistics.kind[kind].failed);
		if (config->failed)
			config->failed(config->opaque, event->start, event->access, result);
	}
	gmm_latency_add(&service->statistics.kind[kind].latency, now_ns() - read_at);
}

static void handle_events(struct gmm_fault_service *service,
			  const struct gmm_userfault_event *events, int number, uint64_t read_at)
{
	int i;

	count(&service->statistics.batches);
	for (i = 0; i < number; i++) {
		if (events[i].kind <= GMM_USERFAULT_EVENT_WP) {
			serve_fault(service, &events[i], read_at);
			continue;
		}
		count(&service->statistics.foreign);
		if (service->config.foreign)
			service->config.foreign(service->config.opaque, &events[i]);
	}
}

/* Sleeps until there is an event or the service ends. */
static void wait_for_events(struct gmm_fault_service *service)
{
	struct pollfd wait[2] = {
		{ .fd = gmm_userfault_descriptor(service->config.userfault), .events = POLLIN },
		{ .fd = service->stop_descriptor, .events = POLLIN },
	};

	count(&service->statistics.sleeps);
	poll(wait, 2, -1);
}

static void *service_thread(void *opaque)
{
	struct gmm_fault_service *service = opaque;
	struct gmm_userfault_event events[BATCH];
	struct pacing pacing;
	uint64_t now;
	int number;

	pacing_init(&pacing, service);
	while (!__atomic_load_n(&service->stopping, __ATOMIC_RELAXED)) {
		number = gmm_userfault_read(service->config.userfault, events, BATCH);
		now = now_ns();
		if (number > 0) {
			pacing_events(&pacing, service, now);
			handle_events(service, events, number, now);
			pacing.last_event = now_ns();
		} else if (number < 0 || !pacing_spin(&pacing, now)) {
			wait_for_events(service);
		}
	}
	return NULL;
}

int gmm_fault_service_start(const struct gmm_fault_service_config *config,
			    struct gmm_fault_service **service)
{
	uint32_t threads = config->threads ? config->threads : 1;
	struct gmm_fault_service *made;

	if (threads > THREADS_MAX || !config->userfault || (!config->guest && !config->serve))
		return -GMM_EINVAL;
	made = calloc(1, sizeof(*made));
	if (!made)
		return -GMM_ENOMEM;
	made->config = *config;
	made->config.threads = threads;
	made->stop_descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (made->stop_descriptor < 0) {
		free(made);
		return -GMM_EIO;
	}
	while (made->started < threads) {
		if (pthread_create(&made->thread[made->started], NULL, service_thread, made)) {
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
	for (i = 0; i < service->started; i++)
		pthread_join(service->thread[i], NULL);
	close(service->stop_descriptor);
	free(service);
}

void gmm_fault_service_statistics(const struct gmm_fault_service *service,
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
	statistics->batches = __atomic_load_n(&from->batches, __ATOMIC_RELAXED);
	statistics->sleeps = __atomic_load_n(&from->sleeps, __ATOMIC_RELAXED);
	statistics->spins = __atomic_load_n(&from->spins, __ATOMIC_RELAXED);
}
