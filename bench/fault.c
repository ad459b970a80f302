/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Faults on pages that are mapped already, and on absent pages. The operations of memory and owner
 * do nothing.
 */
#include <guestmm/fault.h>

#include "harness.h"
#include "support/guest.h"

#define PAGES 4096u

static void serve(struct gmm_guest *guest, gmm_gfn_t gfn)
{
	bench_must(gmm_fault_serve(guest, gfn, GMM_ACCESS_READ), "serving a fault");
}

static uint64_t serve_again(void *context, uint64_t count)
{
	uint64_t done;

	for (done = 0; done < count; done++)
		serve(context, done % BENCH_BURST);
	return done;
}

static uint64_t serve_all(void *context, uint64_t count)
{
	uint64_t done;

	for (done = 0; done < count; done++)
		serve(context, done);
	return done;
}

/* A new slot knows nothing of its pages. */
struct absent_bench {
	struct gmm_guest *guest;
	struct gmm_slot_config slot;
};

static void make_absent(void *context)
{
	struct absent_bench *absent = context;

	bench_must(gmm_slot_remove(absent->guest, 0), "removing a slot");
	bench_slot_add(absent->guest, &absent->slot);
}

static uint64_t serve_absent(void *context, uint64_t count)
{
	struct absent_bench *absent = context;

	return serve_all(absent->guest, count);
}

void bench_fault(struct bench *bench)
{
	static struct bench_memory memory;
	struct gmm_guest_counters before, after;
	struct absent_bench absent;
	struct bench_pair answered = { .name = "fault on a page that is mapped already" };
	struct bench_pair filled = {
		.name = "fault filled and mapped by empty operations",
		.ours = { .run = serve_absent, .prepare = make_absent, .context = &absent },
		.count = PAGES,
	};

	bench_memory_make(&memory, PAGES);
	absent.guest = bench_guest_make(&bench_stage2_ops);
	absent.slot = bench_slot(0, 0, PAGES, 0, &bench_lazy_ops, &memory, 0);
	bench_slot_add(absent.guest, &absent.slot);
	serve_all(absent.guest, PAGES);
	answered.ours = (struct bench_side){ .run = serve_again, .context = absent.guest };
	gmm_guest_read_counters(absent.guest, &before);
	bench_measure(bench, &answered);
	gmm_guest_read_counters(absent.guest, &after);
	if (after.faults_fast - before.faults_fast < BENCH_BURST ||
	    after.faults_mapped != before.faults_mapped)
		bench_broken("a fault on a mapped page");
	bench_measure(bench, &filled);
	bench_must(gmm_slot_remove(absent.guest, 0), "removing a slot");
	bench_guest_end(absent.guest);
	bench_memory_end(&memory);
}
