/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Reads what changed into the shadow. A page that is torn because a vCPU writes it meanwhile is
 * dirty again; the last pass runs when nobody writes any more.
 */
#include <stdlib.h>

#include "../command.h"
#include "run.h"
#include "shadow.h"

#define CHUNK_PAGES 16384u
#define RING_BATCH 256u
/* A pass is followed by a pause of so many times its length, and at least this. */
#define PAUSE_TIMES 3u
#define PAUSE_LEAST_NS 300000000u

static int store_page(struct run *run, uint64_t page)
{
	_Alignas(8) uint8_t contents[RUN_PAGE_BYTES];
	int error;

	run_save_note(run, page);
	do
		error = gmm_page_read(run->guest, (run->snapshot.gpa >> RUN_PAGE_SHIFT) + page,
				      contents);
	while (error && run_failing_try_again(run, error));
	if (error) {
		run_memory_failed(run, "a dirty page cannot be read", error);
		return error;
	}
	error = run_shadow_write(run->shadow, page, contents);
	if (error) {
		run_abandon(run, GMM_EXIT_LOST,
			    "harvested pages cannot be kept: free space in $TMPDIR (or /var/tmp)");
		return error;
	}
	run_count(&run->harvester.pages, 1);
	return 0;
}

static int store_chunk(struct run *run, uint64_t first, uint64_t count)
{
	const uint64_t *bitmap = run->harvester.bitmap;
	uint64_t word;
	int error = 0;

	for (word = 0; word < (count + 63) / 64; word++) {
		uint64_t bits = bitmap[word];

		while (bits && !error) {
			error = store_page(run,
					   first + word * 64 + (uint64_t)__builtin_ctzll(bits));
			bits &= bits - 1;
		}
	}
	return error;
}

static int harvest_bitmap(struct run *run, bool last)
{
	uint64_t first;
	int64_t taken;
	int error = 0;

	for (first = 0; first < run->page_count && !error; first += CHUNK_PAGES) {
		uint64_t count = run->page_count - first < CHUNK_PAGES ? run->page_count - first :
									 CHUNK_PAGES;

		do
			taken = (first ? gmm_dirty_harvest_next : gmm_dirty_harvest)(
				run->guest, RUN_SLOT_SNAPSHOT, first, count, run->harvester.bitmap);
		while (taken < 0 && run_failing_try_again(run, taken));
		if (taken < 0) {
			run_memory_failed(run, "the dirty log cannot be harvested", (int)taken);
			return (int)taken;
		}
		if (taken)
			error = store_chunk(run, first, count);
		if (!last && run_phase(run) >= RUN_QUIET)
			break;
	}
	return error;
}

/*
 * One vCPU's ring of the engine: entries are copied out, taken back, which protects their pages,
 * and only then the pages are read.
 */
static int harvest_ring(struct run *run, struct run_vcpu *vcpu)
{
	struct gmm_dirty_entry entries[RING_BATCH];
	uint32_t count, i;
	int64_t reset;
	int error = 0;

	do {
		count = gmm_dirty_ring_harvest(vcpu->vcpu, entries, RING_BATCH);
		do
			reset = gmm_dirty_ring_reset(vcpu->vcpu);
		while (reset < 0 && run_failing_try_again(run, reset));
		if (reset < 0) {
			run_memory_failed(run, "a dirty ring cannot be reset", (int)reset);
			return (int)reset;
		}
		if (count)
			gmm_vcpu_wake(vcpu->vcpu);
		for (i = 0; i < count && !error; i++)
			if (entries[i].slot == RUN_SLOT_SNAPSHOT &&
			    entries[i].page < run->page_count)
				error = store_page(run, entries[i].page);
		run_count(&run->harvester.ring_pages, count);
	} while (count == RING_BATCH && !error);
	return error;
}

int run_harvest(struct run *run, bool last)
{
	uint64_t start = run_now();
	uint32_t i;
	int error = 0;

	if (!run_has_log(&run->options))
		return 0;
	for (i = 0; i < run->vcpu_count && run->engine_rings && !error; i++)
		error = harvest_ring(run, &run->vcpus[i]);
	if (!error)
		error = harvest_bitmap(run, last);
	/* The engine empties its rings for the bitmap, too. */
	for (i = 0; i < run->vcpu_count && run->engine_rings; i++)
		gmm_vcpu_wake(run->vcpus[i].vcpu);
	run_count(&run->harvester.harvests, 1);
	run_count(&run->harvester.nanoseconds, run_now() - start);
	return error;
}

/* Rings fill up between passes: those are emptied more often. */
static void pause_between(struct run *run, uint64_t nanoseconds)
{
	uint64_t until = run_now() + nanoseconds;
	uint32_t i;

	while (run_phase(run) == RUN_GOING && !run_abandoned(run) && run_now() < until) {
		run_pause(run, RUN_GOING, run->engine_rings ? 20000000u : until - run_now());
		for (i = 0; i < run->vcpu_count && run->engine_rings; i++)
			if (gmm_dirty_ring_full(run->vcpus[i].vcpu) &&
			    harvest_ring(run, &run->vcpus[i]))
				return;
	}
}

void *run_harvester_thread(void *opaque)
{
	struct run *run = opaque;
	uint64_t pause = PAUSE_LEAST_NS;
	uint64_t start;

	while (run_phase(run) < RUN_QUIET && !run_abandoned(run)) {
		if (run_phase(run) == RUN_GOING)
			pause_between(run, pause);
		else
			run_pause(run, RUN_STOPPING, PAUSE_LEAST_NS / 10);
		start = run_now();
		if (run_abandoned(run) || run_harvest(run, false))
			break;
		pause = PAUSE_TIMES * (run_now() - start);
		if (pause < PAUSE_LEAST_NS)
			pause = PAUSE_LEAST_NS;
	}
	return NULL;
}

int run_harvester_create(struct run *run)
{
	int error;

	run->harvester.bitmap = calloc(CHUNK_PAGES / 64, sizeof(uint64_t));
	error = run->harvester.bitmap ?
			run_shadow_create(&run->source, run->page_count, &run->shadow) :
			-GMM_ENOMEM;
	if (error)
		return run_refuse("there is no place for harvested pages (%s): set TMPDIR to a "
				  "directory that you may write to, or raise ulimit -n",
				  run_error_text(error));
	return 0;
}

void run_harvester_destroy(struct run *run)
{
	run_shadow_destroy(run->shadow);
	run->shadow = NULL;
	free(run->harvester.bitmap);
	run->harvester.bitmap = NULL;
}
