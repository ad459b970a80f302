/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Eviction and refault: what a page costs against the bare system calls for it. The faults are
 * served from here, without waiting for events: bench/fault_service.c has those. Evicted pages are
 * in memory, in /dev/shm, so that no disk is measured.
 */
#include <guestmm/evict.h>
#include <guestmm/fault.h>

#include "reference/pager.h"
#include "reference/reference.h"
#include "support/world.h"

#define PAGES 4096u
#define STORE_DIRECTORY "/dev/shm"

struct evict_bench {
	struct world world;
	struct reference_pager pager;
	bool write; /* the pages are written before they are evicted */
};

static uint64_t evict(void *context, uint64_t count)
{
	struct evict_bench *bench = context;

	if (gmm_evict(bench->world.guest, bench->world.gfn, PAGES, 0) != PAGES)
		bench_broken("evicting");
	return count;
}

static uint64_t refault(void *context, uint64_t count)
{
	struct evict_bench *bench = context;
	uint32_t access = bench->write ? GMM_ACCESS_READ | GMM_ACCESS_WRITE : GMM_ACCESS_READ;
	uint64_t page;

	for (page = 0; page < count; page++)
		bench_must(gmm_fault_serve(bench->world.guest, bench->world.gfn + page, access),
			   "serving a fault");
	return count;
}

static uint64_t evict_reference(void *context, uint64_t count)
{
	struct evict_bench *bench = context;

	reference_pager_evict(&bench->pager, bench->write);
	return count;
}

static uint64_t refault_reference(void *context, uint64_t count)
{
	struct evict_bench *bench = context;

	reference_pager_refault(&bench->pager, bench->write);
	return count;
}

static void prepare_evict(void *context)
{
	refault(context, PAGES);
}

static void prepare_evict_reference(void *context)
{
	refault_reference(context, PAGES);
}

static void prepare_refault(void *context)
{
	evict(context, PAGES);
}

static void prepare_refault_reference(void *context)
{
	evict_reference(context, PAGES);
}

static void measure_evict(struct bench *bench, struct evict_bench *evicting, const char *name,
			  bool write)
{
	struct bench_pair pair = {
		.name = name,
		.unit = BENCH_MICROSECONDS,
		.ours = { .run = evict, .prepare = prepare_evict, .context = evicting },
		.reference = { .name = "the bare system calls",
			       .run = evict_reference,
			       .prepare = prepare_evict_reference,
			       .context = evicting },
		.goal = BENCH_GOAL_TIMES,
		.limit = 1.5,
		.count = PAGES,
	};

	evicting->write = write;
	bench_measure(bench, &pair);
}

static void measure_refault(struct bench *bench, struct evict_bench *evicting)
{
	struct bench_pair pair = {
		.name = "refault of an evicted page",
		.unit = BENCH_MICROSECONDS,
		.ours = { .run = refault, .prepare = prepare_refault, .context = evicting },
		.reference = { .name = "the bare system calls",
			       .run = refault_reference,
			       .prepare = prepare_refault_reference,
			       .context = evicting },
		.goal = BENCH_GOAL_TIMES,
		.limit = 1.5,
		.count = PAGES,
	};

	/* All there, for the first preparation. */
	evicting->write = true;
	refault(evicting, PAGES);
	refault_reference(evicting, PAGES);
	bench_measure(bench, &pair);
	evict(evicting, PAGES);
	evict_reference(evicting, PAGES);
}

void bench_evict(struct bench *bench)
{
	static struct evict_bench evicting;
	struct world_config config = { .lazy = true,
				       .pages = PAGES,
				       .store_directory = STORE_DIRECTORY };
	char text[GMM_ACCEL_TEXT_BYTES];

	if (world_lacks(&config, text)) {
		bench_left_out(bench, "eviction and refault", text);
		return;
	}
	world_make(&evicting.world, &config);
	if (!(evicting.world.stage2.ops->flags & GMM_STAGE2_MAPS_PROTECTED)) {
		bench_left_out(bench, "eviction and refault",
			       "userfaultfd cannot map shared pages write-protected");
		world_end(&evicting.world);
		return;
	}
	reference_pager_make(&evicting.pager, PAGES, STORE_DIRECTORY);
	measure_refault(bench, &evicting);
	measure_evict(bench, &evicting, "eviction of a written page", true);
	measure_evict(bench, &evicting, "eviction of a clean page", false);
	reference_pager_end(&evicting.pager);
	world_end(&evicting.world);
}
