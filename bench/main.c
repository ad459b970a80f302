/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * bench-core CSV [--pairs N] [TOPIC...]: measures the engine, prints a table and writes CSV. Exits 0
 * when every goal of the rows that could be measured is met, 1 when one is missed or something
 * fails, 2 for wrong use. No test runs it: timings of a shared machine decide nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness_impl.h"

#if (defined(GMM_DEBUG) && GMM_DEBUG) || (defined(GMM_STEPS) && GMM_STEPS) || !defined(__OPTIMIZE__)
#error "figures of a debug build mean nothing"
#endif

static const struct topic {
	const char *name;
	void (*run)(struct bench *bench);
} topics[] = {
	{ "access", bench_access },
	{ "write", bench_write },
	{ "lookup", bench_lookup },
	{ "invalidation", bench_invalidation },
	{ "slots", bench_slots },
	{ "dirty", bench_dirty },
	{ "vcpu", bench_vcpu },
	{ "fault", bench_fault },
	{ "scan", bench_scan },
	{ "kvm-dirty", bench_kvm_dirty },
	{ "kvm-slots", bench_kvm_slots },
	{ "evict", bench_evict },
	{ "fault-service", bench_fault_service },
	/* Only when it is named: it has a file of its own. */
	{ "stage2", bench_stage2 },
};

#define TOPICS (sizeof(topics) / sizeof(topics[0]))
#define TOPICS_TOGETHER ((1u << (TOPICS - 1)) - 1)

static int usage(const char *program)
{
	size_t i;

	fprintf(stderr, "usage: %s CSV [--pairs N] [TOPIC...]; N is %u to %u; topics:", program,
		BENCH_PAIRS_MIN, BENCH_PAIRS_MAX);
	for (i = 0; i < TOPICS; i++)
		fprintf(stderr, " %s", topics[i].name);
	fprintf(stderr, "\n");
	return 2;
}

/* Which topics were named: a bit each; 0 for a name that is none. */
static uint32_t topic_bit(const char *name)
{
	size_t i;

	for (i = 0; i < TOPICS; i++)
		if (!strcmp(topics[i].name, name))
			return 1u << i;
	return 0;
}

int main(int argc, char **argv)
{
	struct bench bench = { .pairs = BENCH_PAIRS_DEFAULT };
	uint32_t wanted = 0, missed;
	int i = 2;

	if (argc < 2)
		return usage(argv[0]);
	if (argc > 3 && !strcmp(argv[2], "--pairs")) {
		bench.pairs = (uint32_t)strtoul(argv[3], NULL, 10);
		i = 4;
	}
	for (; i < argc; i++) {
		if (!topic_bit(argv[i]))
			return usage(argv[0]);
		wanted |= topic_bit(argv[i]);
	}
	if (bench.pairs < BENCH_PAIRS_MIN || bench.pairs > BENCH_PAIRS_MAX)
		return usage(argv[0]);
	if (!wanted)
		wanted = TOPICS_TOGETHER;
	bench_start(&bench);
	printf("medians of %u interleaved pairs; `more by` and `times` are medians of the pairs'\n",
	       bench.pairs);
	bench.report = bench_report_open(argv[1]);
	for (i = 0; i < (int)TOPICS; i++)
		if ((wanted >> i) & 1)
			topics[i].run(&bench);
	if (!bench_report_close(bench.report, &missed))
		bench_broken(argv[1]);
	printf("written: %s\n", argv[1]);
	return missed ? 1 : 0;
}
