/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* A clock that costs little: the time stamp counter where there is one, else CLOCK_MONOTONIC. */
#ifndef GMM_BENCH_CLOCK_H
#define GMM_BENCH_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t bench_monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Neither what comes before nor what comes after is counted on the wrong side. */
static inline uint64_t bench_ticks(void)
{
#if defined(__x86_64__)
	uint64_t ticks;

	__builtin_ia32_lfence();
	ticks = __builtin_ia32_rdtsc();
	__builtin_ia32_lfence();
	return ticks;
#else
	return bench_monotonic_ns();
#endif
}

static inline double bench_ns_per_tick(void)
{
	uint64_t ns = bench_monotonic_ns(), ticks = bench_ticks(), end;

	do
		end = bench_monotonic_ns();
	while (end - ns < 50000000);
	return (double)(end - ns) / (double)(bench_ticks() - ticks);
}

#endif
