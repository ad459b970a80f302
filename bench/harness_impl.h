/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_BENCH_HARNESS_IMPL_H
#define GMM_BENCH_HARNESS_IMPL_H

#include <sched.h>

#include "report.h"

#define BENCH_THREADS_MAX 2u

struct bench {
	struct bench_report *report;
	double ns_per_tick;
	uint32_t pairs;
	uint32_t cpu_count; /* usable here, at most BENCH_THREADS_MAX */
	int cpus[BENCH_THREADS_MAX];
	cpu_set_t allowed; /* at the start */
};

/* Finds the CPUs, pins the calling thread to the first, calibrates the clock. */
void bench_start(struct bench *bench);

#endif
