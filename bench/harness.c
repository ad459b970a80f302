/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "clock.h"
#include "harness_impl.h"

#define RUN_NS 1000000.0
/* A sample in which its thread lost the CPU says little; it is used when they all are like that. */
#define ATTEMPTS 8u

static volatile uint64_t sink;

void bench_broken(const char *what)
{
	fprintf(stderr, "bench: %s failed\n", what);
	exit(1);
}

void bench_must(int error, const char *what)
{
	if (!error)
		return;
	fprintf(stderr, "bench: %s: %s\n", what, strerror(error < 0 ? -error : error));
	exit(1);
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	bench_must(pthread_setaffinity_np(pthread_self(), sizeof(set), &set), "pinning a thread");
}

void bench_start(struct bench *bench)
{
	int cpu;

	if (sched_getaffinity(0, sizeof(bench->allowed), &bench->allowed))
		bench_broken("sched_getaffinity");
	for (cpu = 0; cpu < CPU_SETSIZE && bench->cpu_count < BENCH_THREADS_MAX; cpu++)
		if (CPU_ISSET(cpu, &bench->allowed))
			bench->cpus[bench->cpu_count++] = cpu;
	pin(bench->cpus[0]);
	bench->ns_per_tick = bench_ns_per_tick();
}

void bench_pin(const struct bench *bench, int nth)
{
	if (nth >= 0)
		pin(bench->cpus[nth]);
	else
		bench_must(pthread_setaffinity_np(pthread_self(), sizeof(bench->allowed),
						  &bench->allowed),
			   "letting a thread go");
}

uint32_t bench_cpus(const struct bench *bench)
{
	return bench->cpu_count;
}

/* Threads of a pair meet before and after each sample. */
struct crew {
	const struct bench *bench;
	const struct bench_pair *pair;
	const struct bench_side *side; /* of the next sample; NULL: the end */
	uint64_t count;
	uint32_t threads;
	uint32_t arrived;    /* atomic */
	uint32_t generation; /* atomic */
	uint64_t ticks[BENCH_THREADS_MAX];
	bool disturbed[BENCH_THREADS_MAX];
};

struct worker {
	struct crew *crew;
	uint32_t index;
};

static void meet(struct crew *crew)
{
	uint32_t generation = __atomic_load_n(&crew->generation, __ATOMIC_ACQUIRE);
	uint32_t turn = 0;

	if (__atomic_add_fetch(&crew->arrived, 1, __ATOMIC_ACQ_REL) == crew->threads) {
		__atomic_store_n(&crew->arrived, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&crew->generation, generation + 1, __ATOMIC_RELEASE);
		return;
	}
	while (__atomic_load_n(&crew->generation, __ATOMIC_ACQUIRE) == generation)
		if (++turn % 4096 == 0)
			sched_yield();
}

static long preemptions(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nivcsw;
}

static void run_sample(struct crew *crew, uint32_t index)
{
	const struct bench_side *side = crew->side;
	uint32_t rounds = crew->pair->rounds ? crew->pair->rounds : 1;
	uint64_t ticks = 0;
	long lost = 0;

	while (rounds--) {
		uint64_t start;

		if (side->prepare)
			side->prepare(side->context);
		lost -= preemptions();
		start = bench_ticks();
		sink = side->run(side->context, crew->count);
		ticks += bench_ticks() - start;
		lost += preemptions();
	}
	crew->ticks[index] = ticks;
	crew->disturbed[index] = lost && !crew->pair->crowded;
}

static void *worker_main(void *argument)
{
	struct worker *worker = argument;
	struct crew *crew = worker->crew;
	const struct bench_pair *pair = crew->pair;

	pin(crew->bench->cpus[worker->index]);
	if (pair->thread_begin)
		pair->thread_begin(pair->thread_context);
	for (;;) {
		meet(crew);
		if (!crew->side)
			break;
		run_sample(crew, worker->index);
		meet(crew);
	}
	if (pair->thread_end)
		pair->thread_end(pair->thread_context);
	return NULL;
}

/* Nanoseconds of one operation, on average over the threads. */
static double sample(struct crew *crew, const struct bench_side *side, uint64_t count)
{
	uint32_t rounds = crew->pair->rounds ? crew->pair->rounds : 1;
	bool disturbed = true;
	uint64_t ticks = 0;
	uint32_t attempt, i;

	for (attempt = 0; attempt < ATTEMPTS && disturbed; attempt++) {
		crew->side = side;
		crew->count = count;
		meet(crew);
		run_sample(crew, 0);
		meet(crew);
		disturbed = false;
		for (i = 0, ticks = 0; i < crew->threads; i++) {
			ticks += crew->ticks[i];
			disturbed |= crew->disturbed[i];
		}
	}
	return (double)ticks * crew->bench->ns_per_tick / crew->threads / rounds / (double)count;
}

/* Operations that take about RUN_NS; also warms up. */
static uint64_t choose_count(struct crew *crew, const struct bench_side *side)
{
	uint64_t count = 16 * BENCH_BURST;

	if (crew->pair->count) {
		sample(crew, side, crew->pair->count);
		return crew->pair->count;
	}
	for (;;) {
		double ns = sample(crew, side, count) * (double)count;

		if (ns >= RUN_NS / 2)
			return count;
		count *= ns < RUN_NS / 16 ? 8 : 2;
	}
}

static int by_value(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;

	return (a > b) - (a < b);
}

static struct bench_spread spread(double *values, uint32_t count)
{
	qsort(values, count, sizeof(*values), by_value);
	return (struct bench_spread){
		.median = count % 2 ? values[count / 2] :
				      (values[count / 2 - 1] + values[count / 2]) / 2,
		.p10 = values[(count - 1) / 10],
		.p90 = values[count - 1 - (count - 1) / 10],
	};
}

static void take_pairs(struct crew *crew, struct bench_row *row)
{
	static double value[BENCH_PAIRS_MAX], reference[BENCH_PAIRS_MAX];
	static double difference[BENCH_PAIRS_MAX], ratio[BENCH_PAIRS_MAX];
	const struct bench_pair *pair = crew->pair;
	double unit = pair->unit == BENCH_MICROSECONDS ? 1000 : 1;
	uint64_t count = choose_count(crew, &pair->ours);
	uint64_t reference_count = pair->reference.run ? choose_count(crew, &pair->reference) : 0;
	uint32_t i;

	for (i = 0; i < row->pairs; i++) {
		value[i] = sample(crew, &pair->ours, count) / unit;
		if (!reference_count)
			continue;
		reference[i] = sample(crew, &pair->reference, reference_count) / unit;
		difference[i] = value[i] - reference[i];
		ratio[i] = value[i] / reference[i];
	}
	row->value = spread(value, row->pairs);
	if (!reference_count)
		return;
	row->reference_value = spread(reference, row->pairs);
	row->difference = spread(difference, row->pairs);
	row->ratio = spread(ratio, row->pairs);
}

void bench_measure(struct bench *bench, const struct bench_pair *pair)
{
	struct crew crew = { .bench = bench,
			     .pair = pair,
			     .threads = pair->threads ? pair->threads : 1 };
	struct worker workers[BENCH_THREADS_MAX];
	pthread_t threads[BENCH_THREADS_MAX];
	struct bench_row row = {
		.name = pair->name,
		.reference = pair->reference.run ? pair->reference.name : NULL,
		.unit = pair->unit,
		.goal = pair->goal,
		.limit = pair->limit,
		.pairs = pair->pairs && pair->pairs < bench->pairs ? pair->pairs : bench->pairs,
	};
	uint32_t i;

	if (crew.threads > bench->cpu_count) {
		bench_left_out(bench, pair->name, "too few CPUs for its threads");
		return;
	}
	if (pair->thread_begin)
		pair->thread_begin(pair->thread_context);
	for (i = 1; i < crew.threads; i++) {
		workers[i] = (struct worker){ .crew = &crew, .index = i };
		bench_must(pthread_create(&threads[i], NULL, worker_main, &workers[i]), "a thread");
	}
	take_pairs(&crew, &row);
	crew.side = NULL;
	meet(&crew);
	for (i = 1; i < crew.threads; i++)
		pthread_join(threads[i], NULL);
	if (pair->thread_end)
		pair->thread_end(pair->thread_context);
	bench_report_row(bench->report, &row);
}

void bench_counted(struct bench *bench, const char *name, double value, const char *reference,
		   double reference_value, enum bench_goal goal, double limit)
{
	struct bench_row row = {
		.name = name,
		.reference = reference,
		.unit = BENCH_COUNT,
		.goal = goal,
		.limit = limit,
		.value = { .median = value },
		.reference_value = { .median = reference_value },
		.difference = { .median = value - reference_value },
		.ratio = { .median = reference_value ? value / reference_value : 0 },
	};

	bench_report_row(bench->report, &row);
}

void bench_left_out(struct bench *bench, const char *name, const char *reason)
{
	bench_report_note(bench->report, name, reason);
}
