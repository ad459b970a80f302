/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include <gmm_port/atomic.h>
#include <gmm_port/thread.h>
#include <gmm_port/time.h>

#define NS_PER_SECOND UINT64_C(1000000000)

#if GMM_PORT_TSAN
uint32_t gmm_port_fence_word;
#endif

uintptr_t gmm_thread_self(void)
{
	return (uintptr_t)pthread_self();
}

uint64_t gmm_time_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

void gmm_port_yield(void)
{
	sched_yield();
}
