/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Measuring in pairs. A pair is something of the engine and a reference of the same shape; the two
 * take turns in one process, so what else the machine does falls on both. Figures are medians over
 * the pairs, and so are their differences and ratios: of each pair first, then the median.
 */
#ifndef GMM_BENCH_HARNESS_H
#define GMM_BENCH_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_PAIRS_MIN 15u
#define BENCH_PAIRS_DEFAULT 51u
#define BENCH_PAIRS_MAX 1001u

/* Operations between two compiler barriers, or in one section. A run does a multiple of it. */
#define BENCH_BURST 64u

struct bench_side {
	const char *name;
	/* Does `count` operations; timed. The sum keeps the compiler from removing the work. */
	uint64_t (*run)(void *context, uint64_t count);
	/* Before each run, not timed. May be NULL. */
	void (*prepare)(void *context);
	void *context;
};

enum bench_goal {
	BENCH_GOAL_NONE,
	BENCH_GOAL_ADDS,   /* at most `limit` of the unit more than the reference */
	BENCH_GOAL_AHEAD,  /* the reference takes at least `limit` times as long */
	BENCH_GOAL_TIMES,  /* at most `limit` times as long as the reference */
	BENCH_GOAL_WITHIN, /* neither takes more than `limit` times as long as the other */
	BENCH_GOAL_EQUALS, /* counted, not timed */
};

enum bench_unit {
	BENCH_NANOSECONDS,
	BENCH_MICROSECONDS,
	BENCH_COUNT,
};

struct bench_pair {
	const char *name;
	struct bench_side ours;
	struct bench_side reference; /* without `run`: there is none */
	enum bench_unit unit;
	enum bench_goal goal;
	double limit;
	uint64_t count;	  /* operations of a run; 0: as many as take a millisecond */
	uint32_t rounds;  /* runs of a sample; 0: one */
	uint32_t threads; /* that run at the same time, each on its CPU; 0: one */
	uint32_t pairs;	  /* at most; for samples that are long to prepare; 0: as many as others */
	bool crowded;	  /* losing the CPU belongs to what is measured */
	/* On each thread, before its first and after its last run. May be NULL. */
	void (*thread_begin)(void *context);
	void (*thread_end)(void *context);
	void *thread_context;
};

struct bench;

/* Measures a pair and reports it. */
void bench_measure(struct bench *bench, const struct bench_pair *pair);

/* Reports two numbers that were counted. */
void bench_counted(struct bench *bench, const char *name, double value, const char *reference,
		   double reference_value, enum bench_goal goal, double limit);

/* Binds the calling thread to the nth CPU of the measurement; -1: to any of this process. */
void bench_pin(const struct bench *bench, int nth);
/* CPUs that the measurement may use. */
uint32_t bench_cpus(const struct bench *bench);

/* Says why a row is left out. */
void bench_left_out(struct bench *bench, const char *name, const char *reason);

/* Ends the program when something that is no measurement fails. */
void bench_must(int error, const char *what);
void bench_broken(const char *what) __attribute__((noreturn, cold));

/* xorshift: cheap, and the same on both sides of a pair. */
static inline uint64_t bench_random(uint64_t *state)
{
	uint64_t value = *state;

	value ^= value << 13;
	value ^= value >> 7;
	value ^= value << 17;
	*state = value;
	return value;
}

/* A number below `limit` from a random one. */
static inline uint64_t bench_below(uint64_t random, uint64_t limit)
{
	return (uint64_t)(((unsigned __int128)random * limit) >> 64);
}

/* Topics; each in its own file. */
void bench_access(struct bench *bench);
void bench_write(struct bench *bench);
void bench_lookup(struct bench *bench);
void bench_invalidation(struct bench *bench);
void bench_slots(struct bench *bench);
void bench_dirty(struct bench *bench);
void bench_vcpu(struct bench *bench);
void bench_fault(struct bench *bench);
void bench_scan(struct bench *bench);
void bench_kvm_dirty(struct bench *bench);
void bench_kvm_slots(struct bench *bench);
void bench_evict(struct bench *bench);
void bench_fault_service(struct bench *bench);
void bench_stage2(struct bench *bench);

#endif
