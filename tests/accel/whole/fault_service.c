/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The fault service on a real userfaultfd: more faults than one read takes, and changes behind them. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include <guestmm/linux/fault_service.h>
#include <guestmm/linux/userfault.h>

#include "thread_state.h"

#define PAGE 4096u
#define THREADS 48u
#define SERVES_MAX 400u

struct toucher {
	pthread_t thread;
	volatile uint8_t *page;
	pid_t id; /* atomic; 0: not begun */
};

struct crowd {
	struct gmm_userfault *userfault;
	uint8_t *memory; /* a page each, and one that is dropped */
	struct toucher touchers[THREADS];
	uint32_t told;	 /* atomic: the change of the mapping was */
	uint32_t serves; /* of the service's thread */
	bool gave_up;	 /* likewise */
};

static void *touch(void *context)
{
	struct toucher *toucher = context;

	__atomic_store_n(&toucher->id, gettid(), __ATOMIC_RELEASE);
	*toucher->page = 1;
	return NULL;
}

static void *drop(void *context)
{
	struct crowd *crowd = context;

	assert_int_equal(madvise(crowd->memory + THREADS * PAGE, PAGE, MADV_DONTNEED), 0);
	return NULL;
}

/* Asleep in the kernel, and so in their faults: there is nothing else that they wait for. */
static void wait_for_faults(const struct crowd *crowd)
{
	uint32_t i;

	for (i = 0; i < THREADS; i++)
		while (!thread_is_asleep(__atomic_load_n(&crowd->touchers[i].id, __ATOMIC_ACQUIRE)))
			sched_yield();
}

/* As the engine does while a mapping changes: nothing can be served; all who were woken came back. */
static int serve(void *opaque, gmm_hva_t hva, uint32_t access)
{
	struct crowd *crowd = opaque;

	if (!__atomic_load_n(&crowd->told, __ATOMIC_ACQUIRE) && crowd->serves++ < SERVES_MAX) {
		wait_for_faults(crowd);
		return -GMM_EAGAIN;
	}
	crowd->gave_up = !__atomic_load_n(&crowd->told, __ATOMIC_ACQUIRE);
	while (gmm_userfault_zero(crowd->userfault, hva, PAGE, 0, NULL) == -GMM_EAGAIN)
		sched_yield();
	return 0;
}

static void told(void *opaque, const struct gmm_userfault_event *event)
{
	struct crowd *crowd = opaque;

	__atomic_store_n(&crowd->told, 1, __ATOMIC_RELEASE);
}

static void test_changes_are_told_however_many_threads_fault(void **state)
{
	static struct crowd crowd;
	struct gmm_fault_service_config config = { .serve = serve,
						   .foreign = told,
						   .opaque = &crowd };
	struct gmm_fault_service_statistics statistics;
	struct gmm_fault_service *service;
	char text[GMM_USERFAULT_TEXT_BYTES] = "";
	pthread_t dropper;
	uint32_t i;

	if (gmm_userfault_open(GMM_USERFAULT_EVENTS, 0, &crowd.userfault, text)) {
		print_message("%s\n", text);
		skip();
	}
	config.userfault = crowd.userfault;
	crowd.memory = mmap(NULL, (THREADS + 1) * PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(crowd.memory, MAP_FAILED);
	assert_int_equal(gmm_userfault_register(crowd.userfault, (uintptr_t)crowd.memory,
						(THREADS + 1) * PAGE, GMM_USERFAULT_MISSING),
			 0);
	for (i = 0; i < THREADS; i++) {
		crowd.touchers[i].page = crowd.memory + i * PAGE;
		assert_int_equal(pthread_create(&crowd.touchers[i].thread, NULL, touch,
						&crowd.touchers[i]),
				 0);
	}
	wait_for_faults(&crowd);
	assert_int_equal(pthread_create(&dropper, NULL, drop, &crowd), 0);
	assert_int_equal(gmm_fault_service_start(&config, &service), 0);
	pthread_join(dropper, NULL);
	for (i = 0; i < THREADS; i++)
		pthread_join(crowd.touchers[i].thread, NULL);
	assert_false(crowd.gave_up);
	gmm_fault_service_read_statistics(service, &statistics);
	assert_true(statistics.parked >= 1);
	gmm_fault_service_stop(service);
	gmm_userfault_close(crowd.userfault);
	munmap(crowd.memory, (THREADS + 1) * PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_changes_are_told_however_many_threads_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
