/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The fault service against the least that serves faults, for threads of this process and for
 * vCPUs of KVM. The pages are there and not mapped, so that nothing but the fault is measured.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <guestmm/evict.h>

#include "clock.h"
#include "reference/handler.h"
#include "reference/reference.h"
#include "reference/vm.h"
#include "support/world.h"

#define PAGES 256u
#define PAGE_BYTES 4096ull
#define REST_SECONDS 5
#define COMPUTING_NS 10000u

struct fault_row {
	const char *name;
	const char *reference;
	bool kvm;
	enum gmm_fault_service_wait wait;
	bool reference_spins;
	int cpu; /* of both handlers: bench_pin() */
	uint32_t threads;
	bool against_asleep; /* the reference is our service that sleeps: the way of waiting alone */
	bool computes;	     /* between two faults */
	bool beside_busy;
	enum bench_goal goal;
	double limit;
};

static const struct fault_row rows[] = {
	{ .name = "fault served asleep; one CPU",
	  .reference = "blocking read and continue",
	  .wait = GMM_FAULT_SERVICE_SLEEP,
	  .goal = BENCH_GOAL_TIMES,
	  .limit = 1.15 },
	{ .name = "fault served asleep; another CPU",
	  .reference = "blocking read and continue",
	  .wait = GMM_FAULT_SERVICE_SLEEP,
	  .cpu = 1,
	  .goal = BENCH_GOAL_TIMES,
	  .limit = 1.3 },
	{ .name = "fault served spinning; another CPU",
	  .reference = "spinning read and continue",
	  .wait = GMM_FAULT_SERVICE_SPIN,
	  .reference_spins = true,
	  .cpu = 1,
	  .goal = BENCH_GOAL_TIMES,
	  .limit = 1.3 },
	{ .name = "fault served adaptively; a CPU free",
	  .reference = "blocking read and continue",
	  .cpu = 1,
	  .goal = BENCH_GOAL_AHEAD,
	  .limit = 2 },
	{ .name = "fault served adaptively; faults on all CPUs",
	  .reference = "the same asleep",
	  .against_asleep = true,
	  .cpu = -1,
	  .threads = 2,
	  .computes = true,
	  .goal = BENCH_GOAL_TIMES,
	  .limit = 1 / 0.95 },
	{ .name = "fault served adaptively; all CPUs busy",
	  .reference = "the same asleep",
	  .against_asleep = true,
	  .cpu = 0,
	  .beside_busy = true,
	  .goal = BENCH_GOAL_TIMES,
	  .limit = 1 / 0.95 },
	{ .name = "KVM: fault served adaptively; a CPU free",
	  .reference = "blocking read and continue",
	  .kvm = true,
	  .cpu = 1,
	  .goal = BENCH_GOAL_AHEAD,
	  .limit = 1.5 },
	{ .name = "KVM: fault served adaptively; vCPUs on all CPUs",
	  .reference = "the same asleep",
	  .against_asleep = true,
	  .kvm = true,
	  .cpu = -1,
	  .threads = 2,
	  .goal = BENCH_GOAL_TIMES,
	  .limit = 1 / 0.95 },
};

struct fault_bench {
	const struct fault_row *row;
	struct bench *bench;
	struct world world;
	struct world asleep;		  /* against_asleep */
	struct reference_handler handler; /* else */
	struct reference_vm vm;		  /* KVM only */
	uint32_t begun;			  /* atomic: threads that have an index */
	uint64_t bytes_each;
	double ns_per_tick;
};

static __thread uint32_t index_of_thread;

static void begin_thread(void *context)
{
	struct fault_bench *fault = context;

	index_of_thread = __atomic_fetch_add(&fault->begun, 1, __ATOMIC_RELAXED);
	if (!fault->row->kvm)
		return;
	world_add_vcpu(&fault->world, index_of_thread);
	if (fault->row->against_asleep)
		world_add_vcpu(&fault->asleep, index_of_thread);
	else
		reference_vm_add_vcpu(&fault->vm, index_of_thread);
}

static void end_thread(void *context)
{
	struct fault_bench *fault = context;

	if (!fault->row->kvm)
		return;
	world_drop_vcpu(&fault->world, index_of_thread);
	if (fault->row->against_asleep)
		world_drop_vcpu(&fault->asleep, index_of_thread);
}

/* Where one of them never sleeps, it would take the other's CPU. */
static bool one_at_a_time(const struct fault_bench *fault)
{
	return fault->row->wait == GMM_FAULT_SERVICE_SPIN || fault->row->reference_spins;
}

static void start_service(struct fault_bench *fault, struct world *world,
			  enum gmm_fault_service_wait wait)
{
	bench_pin(fault->bench, fault->row->cpu);
	world_serve(world, wait);
	bench_pin(fault->bench, 0);
}

static void stop_service(struct fault_bench *fault)
{
	gmm_fault_service_stop(fault->world.service);
	fault->world.service = NULL;
}

static void start_handler(struct fault_bench *fault)
{
	bench_pin(fault->bench, fault->row->cpu);
	reference_handler_start(&fault->handler);
	bench_pin(fault->bench, 0);
}

static void compute(const struct fault_bench *fault)
{
	uint64_t start = bench_ticks();

	if (fault->row->computes)
		while ((double)(bench_ticks() - start) * fault->ns_per_tick < COMPUTING_NS)
			;
}

static uint64_t touch(const struct fault_bench *fault, const uint8_t *data)
{
	uint64_t sum = 0, at;

	data += index_of_thread * fault->bytes_each;
	for (at = 0; at < fault->bytes_each; at += PAGE_BYTES) {
		compute(fault);
		sum += *(const volatile uint8_t *)(data + at);
	}
	return sum;
}

static void unmap(const struct fault_bench *fault, const struct world *world)
{
	uint64_t pages = fault->bytes_each / PAGE_BYTES;

	if (gmm_age(world->guest, world->gfn + index_of_thread * pages, pages, 0, NULL) < 0)
		bench_broken("aging");
}

static void prepare(void *context)
{
	struct fault_bench *fault = context;

	if (one_at_a_time(fault)) {
		reference_handler_stop(&fault->handler);
		if (!fault->world.service)
			start_service(fault, &fault->world, fault->row->wait);
	}
	unmap(fault, &fault->world);
}

static uint64_t run(void *context, uint64_t count)
{
	struct fault_bench *fault = context;

	if (!fault->row->kvm)
		return touch(fault, fault->world.data);
	world_run(&fault->world, index_of_thread);
	return count;
}

static void prepare_reference(void *context)
{
	struct fault_bench *fault = context;

	if (fault->row->against_asleep) {
		unmap(fault, &fault->asleep);
		return;
	}
	if (one_at_a_time(fault)) {
		if (fault->world.service)
			stop_service(fault);
		start_handler(fault);
	}
	reference_handler_unmap(&fault->handler, index_of_thread * fault->bytes_each,
				fault->bytes_each);
}

static uint64_t run_reference(void *context, uint64_t count)
{
	struct fault_bench *fault = context;

	bool asleep = fault->row->against_asleep;

	if (!fault->row->kvm)
		return touch(fault, asleep ? fault->asleep.data : fault->handler.data);
	if (asleep)
		world_run(&fault->asleep, index_of_thread);
	else
		reference_vm_run(&fault->vm, index_of_thread);
	return count;
}

/* Each vCPU has its part of the pages. */
static void touch_parts(const struct fault_bench *fault, uint8_t *low)
{
	uint64_t pages = fault->bytes_each / PAGE_BYTES;
	uint32_t i;

	for (i = 0; i < PAGES / pages; i++)
		tiny_guest_touch_range(low, i, i * pages, pages);
}

static void make_reference(struct fault_bench *fault, const struct world_config *config)
{
	if (fault->row->against_asleep) {
		world_make(&fault->asleep, config);
		if (config->kvm)
			touch_parts(fault, fault->asleep.low);
		start_service(fault, &fault->asleep, GMM_FAULT_SERVICE_SLEEP);
		return;
	}
	reference_handler_make(&fault->handler, PAGES * PAGE_BYTES, fault->row->reference_spins);
	if (config->kvm) {
		reference_vm_make(&fault->vm, false);
		reference_vm_slot(&fault->vm, 1, TINY_DATA_GPA, fault->handler.data,
				  PAGES * PAGE_BYTES, false);
		touch_parts(fault, fault->vm.low);
	}
	if (!one_at_a_time(fault))
		start_handler(fault);
}

static void make(struct fault_bench *fault, const struct world_config *config)
{
	fault->bytes_each = PAGES / (fault->row->threads ? fault->row->threads : 1) * PAGE_BYTES;
	world_make(&fault->world, config);
	if (config->kvm)
		touch_parts(fault, fault->world.low);
	start_service(fault, &fault->world, fault->row->wait);
	make_reference(fault, config);
}

static void end(struct fault_bench *fault)
{
	world_end(&fault->world);
	if (fault->row->against_asleep) {
		world_end(&fault->asleep);
		return;
	}
	if (fault->row->kvm)
		reference_vm_end(&fault->vm);
	reference_handler_end(&fault->handler);
}

struct busy {
	pthread_t thread[2];
	uint32_t stop; /* atomic */
};

static void *keep_busy(void *context)
{
	const struct busy *busy = context;

	while (!__atomic_load_n(&busy->stop, __ATOMIC_RELAXED))
		;
	return NULL;
}

static void busy_start(struct busy *busy, const struct bench *bench)
{
	int i;

	busy->stop = 0;
	for (i = 0; i < 2; i++) {
		bench_pin(bench, i);
		bench_must(pthread_create(&busy->thread[i], NULL, keep_busy, busy), "a thread");
	}
	bench_pin(bench, 0);
}

static void busy_stop(struct busy *busy)
{
	__atomic_store_n(&busy->stop, 1, __ATOMIC_RELAXED);
	pthread_join(busy->thread[0], NULL);
	pthread_join(busy->thread[1], NULL);
}

static void measure(struct bench *bench, const struct fault_row *row)
{
	static struct fault_bench fault;
	struct world_config config = { .kvm = row->kvm, .lazy = true, .pages = PAGES };
	struct bench_pair pair = {
		.name = row->name,
		.unit = BENCH_MICROSECONDS,
		.ours = { .run = run, .prepare = prepare, .context = &fault },
		.reference = { .name = row->reference,
			       .run = run_reference,
			       .prepare = prepare_reference,
			       .context = &fault },
		.goal = row->goal,
		.limit = row->limit,
		.threads = row->threads,
		/* Who gets a CPU when is left to chance: enough of it that medians agree. */
		.rounds = row->threads > 1 || row->beside_busy ? 8 : 1,
		.pairs = 31,
		.crowded = row->threads > 1 || row->beside_busy,
		.thread_begin = begin_thread,
		.thread_end = end_thread,
		.thread_context = &fault,
	};
	char text[GMM_ACCEL_TEXT_BYTES];
	struct busy busy;

	if (world_lacks(&config, text)) {
		bench_left_out(bench, row->name, text);
		return;
	}
	if (bench_cpus(bench) < 2) {
		bench_left_out(bench, row->name, "it needs two CPUs");
		return;
	}
	memset(&fault, 0, sizeof(fault));
	fault.row = row;
	fault.bench = bench;
	fault.ns_per_tick = bench_ns_per_tick();
	make(&fault, &config);
	pair.count = PAGES / (row->threads ? row->threads : 1);
	if (row->beside_busy)
		busy_start(&busy, bench);
	bench_measure(bench, &pair);
	if (row->beside_busy)
		busy_stop(&busy);
	end(&fault);
}

/* Nanoseconds that all threads of this process but the calling one have run. */
static uint64_t others_ran(void)
{
	DIR *tasks = opendir("/proc/self/task");
	uint64_t sum = 0;
	struct dirent *task;
	char path[64];

	if (!tasks)
		bench_broken("/proc/self/task");
	while ((task = readdir(tasks))) {
		unsigned long long ran = 0;
		FILE *file;

		if (task->d_name[0] == '.' || atoi(task->d_name) == gettid())
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%.20s/schedstat", task->d_name);
		file = fopen(path, "r");
		if (!file || fscanf(file, "%llu", &ran) != 1)
			bench_broken(path);
		fclose(file);
		sum += ran;
	}
	closedir(tasks);
	return sum;
}

/* An adaptive service that has just been busy. */
static void measure_rest(struct bench *bench)
{
	static const char *const name = "CPU time of a fault service at rest for 5 s (ns)";
	static const struct fault_row row = { .cpu = 1 };
	static struct fault_bench fault = { .row = &row };
	struct world_config config = { .lazy = true, .pages = PAGES };
	struct timespec pause = { .tv_nsec = 100000000 }, rest = { .tv_sec = REST_SECONDS };
	char text[GMM_ACCEL_TEXT_BYTES];
	uint64_t before;
	int i;

	if (world_lacks(&config, text) || bench_cpus(bench) < 2) {
		bench_left_out(bench, name, "as above");
		return;
	}
	fault.bench = bench;
	fault.bytes_each = PAGES * PAGE_BYTES;
	index_of_thread = 0;
	world_make(&fault.world, &config);
	start_service(&fault, &fault.world, row.wait);
	for (i = 0; i < 20; i++) {
		prepare(&fault);
		run(&fault, PAGES);
	}
	nanosleep(&pause, NULL);
	before = others_ran();
	nanosleep(&rest, NULL);
	bench_counted(bench, name, (double)(others_ran() - before), NULL, 0, BENCH_GOAL_EQUALS, 0);
	world_end(&fault.world);
}

void bench_fault_service(struct bench *bench)
{
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		measure(bench, &rows[i]);
	measure_rest(bench);
}
