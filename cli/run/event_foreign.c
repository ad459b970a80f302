/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A foreigner: a thread that frees, unmaps and moves guest memory behind guestmm's back (W9), on a
 * slot of its own that a device uses through caches, and on the vCPUs' mapping of the snapshot, where
 * it may only do what loses nothing. The device's pages are what it wrote, or were reported as lost
 * since; those that it only reads are always as in their source.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <guestmm/linux/repair_service.h>
#include <guestmm/repair.h>

#include "../command.h"
#include "event.h"
#include "program.h"
#include "results.h"
#include "run.h"

#include "guest/hash.h"
#include "guest/page.h"

#define PAGES 128u
#define AREA_PAGES 8u
#define AREAS (PAGES / AREA_PAGES)
/* The first half is written, the second only read. */
#define WRITTEN_PAGES (PAGES / 2)
#define DEVICE_PAUSE_NS 100000u
#define FOREIGN_PAUSE_NS 500000u
#define SNAPSHOT_PAGES_MOST 4u

struct foreign {
	struct run_memory memory;
	struct gmm_source source;
	struct gmm_repair_service *repair;
	bool watched;
	struct gmm_cache *caches[AREAS];
	struct run_worker device;

	/* Of the device's thread, later of others. */
	uint32_t version[WRITTEN_PAGES];
	uint64_t explained[WRITTEN_PAGES]; /* reports that were known when it was written last */
	uint64_t verified, zeroed;
	/* Atomic. */
	uint64_t reports[PAGES];
	uint64_t reported;
	/* Of the foreigner's thread, later of others. */
	uint64_t random;
	uint64_t frees, takes, unmaps, moves;
};

static const char *unavailable(const struct run *run)
{
	if (run->options.memory_kind != GMM_MEMORY_KIND_MEMFD)
		return "each change of other memory would be told as a foreign one: take "
		       "--memory-kind memfd";
	if (!(gmm_userfault_abilities(run->userfault) & GMM_USERFAULT_EVENTS))
		return "userfaultfd of this kernel tells of no events";
	return NULL;
}

static uint64_t gpa_bytes(const struct run *run)
{
	return PAGES * RUN_PAGE_BYTES;
}

static gmm_gfn_t first_gfn(const struct run_event *event)
{
	return event->gpa >> RUN_PAGE_SHIFT;
}

void run_event_foreign_lost(struct run *run, gmm_gfn_t gfn, uint64_t count)
{
	struct run_event *event = run_event_find(run, run_event_foreign.name);
	struct foreign *foreign = event ? event->state : NULL;

	for (; count; count--, gfn++) {
		if (foreign && gfn - first_gfn(event) < PAGES) {
			run_count(&foreign->reports[gfn - first_gfn(event)], 1);
			run_count(&foreign->reported, 1);
		} else {
			run_lost(run, "page at GPA 0x%llx: somebody took it away",
				 (unsigned long long)(gfn << RUN_PAGE_SHIFT));
		}
	}
}

/* Of the snapshot: vCPUs would reach what somebody else has put there. */
static void not_restored(void *opaque, gmm_gfn_t gfn, uint64_t count, int error)
{
	struct run_event *event = opaque;

	if (gfn - first_gfn(event) >= PAGES)
		run_abandon(event->run, GMM_EXIT_LOST,
			    "%llu pages from GPA 0x%llx cannot be mapped again: %s",
			    (unsigned long long)count, (unsigned long long)(gfn << RUN_PAGE_SHIFT),
			    run_error_text(error));
}

static int start_repair(struct run_event *event)
{
	struct foreign *foreign = event->state;
	struct gmm_repair_service_config config = {
		.guest = event->run->guest,
		.userfault = event->run->userfault,
		.live = event->run->stage2.live,
		.not_restored = not_restored,
		.opaque = event,
	};
	int error = gmm_repair_service_start(&config, &foreign->repair);

	if (!error)
		error = gmm_repair_service_watch(
			foreign->repair,
			(uintptr_t)gmm_memory_engine_address(foreign->memory.memory),
			foreign->memory.bytes, (uintptr_t)foreign->memory.hva);
	if (error)
		return run_refuse("the repair service cannot be started (%s): raise the limit "
				  "(ulimit -n, ulimit -u, ulimit -v)",
				  run_error_text(error));
	foreign->watched = true;
	event->run->repair = foreign->repair;
	return 0;
}

static int create_memory(struct run_event *event)
{
	struct foreign *foreign = event->state;
	struct gmm_memory_config config = {
		.kind = GMM_MEMORY_KIND_MEMFD,
		.page_count = PAGES,
		.page_shift = RUN_PAGE_SHIFT,
	};
	char text[GMM_BACKING_TEXT_SIZE] = "";
	int status;

	if (gmm_source_open_generated(&foreign->source, event->run->options.seed, PAGES,
				      RUN_PAGE_SHIFT, text, sizeof(text))) {
		foreign->source.ops = NULL;
		return run_refuse("%s", text);
	}
	config.source = foreign->source;
	status = run_memory_create(event->run, &foreign->memory, &config, event->gpa);
	if (!status)
		status = run_memory_add_slot(event->run, &foreign->memory, event->first_slot, 0);
	return status;
}

static int create(struct run_event *event)
{
	struct foreign *foreign = calloc(1, sizeof(*foreign));
	uint32_t i;
	int status;

	event->state = foreign;
	if (!foreign)
		return run_refuse("out of memory for foreign changes");
	foreign->random = event->run->options.seed;
	status = create_memory(event);
	for (i = 0; i < AREAS && !status; i++)
		if (gmm_cache_create(event->run->guest, &foreign->caches[i])) {
			foreign->caches[i] = NULL;
			status = run_refuse("out of memory for caches of foreign changes");
		}
	return status ? status : start_repair(event);
}

static void destroy(struct run_event *event)
{
	struct foreign *foreign = event->state;
	uint32_t i;

	if (!foreign)
		return;
	if (foreign->watched)
		gmm_repair_service_unwatch(foreign->repair, (uintptr_t)gmm_memory_engine_address(
								    foreign->memory.memory));
	gmm_repair_service_stop(foreign->repair);
	event->run->repair = NULL;
	for (i = 0; i < AREAS; i++)
		if (foreign->caches[i])
			gmm_cache_destroy(foreign->caches[i]);
	run_memory_remove_slot(event->run, &foreign->memory);
	run_memory_destroy(&foreign->memory);
	if (foreign->source.ops)
		gmm_source_close(&foreign->source);
	event->state = NULL;
	free(foreign);
}

/* The device */

static struct guest_page_expect expected(const struct run_event *event, uint32_t page)
{
	const struct foreign *foreign = event->state;

	return (struct guest_page_expect){
		.seed = event->run->options.seed,
		.page = page,
		.version = foreign->version[page],
		.full_version = foreign->version[page],
	};
}

static bool is_as_in_source(struct run_event *event, uint32_t page, const void *found)
{
	struct foreign *foreign = event->state;
	uint8_t contents[RUN_PAGE_BYTES];

	return !foreign->source.ops->read(foreign->source.source, page, 1, contents) &&
	       !memcmp(found, contents, sizeof(contents));
}

/* Whether the page is as it should be; if not its loss must have been reported since. */
static void check(struct run_event *event, uint32_t page, const void *found)
{
	struct foreign *foreign = event->state;
	bool written = page < WRITTEN_PAGES && foreign->version[page];
	struct guest_page_expect expect;
	uint32_t wrong = 0;
	bool good;

	if (written) {
		expect = expected(event, page);
		good = guest_page_verify(found, &expect, &wrong);
	} else {
		good = is_as_in_source(event, page, found);
	}
	if (good)
		foreign->verified++;
	else if (page < WRITTEN_PAGES &&
		 run_load(&foreign->reports[page]) != foreign->explained[page])
		foreign->zeroed++;
	else
		run_lost(
			event->run,
			"foreign page %u (GPA 0x%llx), device: it is not as it was left, wrong from "
			"byte %u on, and nobody reported it",
			page, (unsigned long long)(event->gpa + page * RUN_PAGE_BYTES), wrong * 8);
}

static void exchange(struct run_event *event, struct gmm_reader *reader, uint32_t area,
		     uint32_t chosen)
{
	struct foreign *foreign = event->state;
	uint32_t first = area * AREA_PAGES, page = first + chosen, i;
	uint64_t bytes = AREA_PAGES * RUN_PAGE_BYTES, known;
	struct guest_page_expect expect;
	uint8_t *pointer =
		run_section_enter(event->run, reader, foreign->caches[area], 0, bytes, NULL);

	if (!pointer)
		return;
	if (page >= WRITTEN_PAGES) {
		for (i = 0; i < AREA_PAGES; i++)
			check(event, first + i, pointer + i * RUN_PAGE_BYTES);
	} else {
		check(event, page, pointer + chosen * RUN_PAGE_BYTES);
		known = run_load(&foreign->reports[page]);
		foreign->version[page]++;
		expect = expected(event, page);
		guest_page_write_full(pointer + chosen * RUN_PAGE_BYTES, &expect);
		gmm_cache_mark_dirty(foreign->caches[area], chosen * RUN_PAGE_BYTES,
				     RUN_PAGE_BYTES);
		foreign->explained[page] = known;
	}
	gmm_section_exit(reader);
}

static bool aim(struct run_event *event, uint32_t area)
{
	struct foreign *foreign = event->state;
	bool written = area * AREA_PAGES < WRITTEN_PAGES;
	int error = gmm_cache_activate(foreign->caches[area],
				       event->gpa + area * AREA_PAGES * RUN_PAGE_BYTES,
				       AREA_PAGES * RUN_PAGE_BYTES,
				       GMM_CACHE_HOST | (written ? GMM_CACHE_WRITE : 0));

	if (error && !run_failing_try_again(event->run, error))
		run_memory_failed(event->run, "foreign memory cannot be cached", error);
	return !error;
}

static void *device_thread(void *opaque)
{
	struct run_event *event = opaque;
	struct gmm_reader *reader = run_reader_register(event->run);
	uint64_t random = event->run->options.seed ^ 1;
	bool aimed[AREAS] = { false };

	while (reader && run_phase(event->run) < RUN_QUIET && !run_abandoned(event->run)) {
		uint32_t area;

		random = guest_mix(random + 1);
		area = (uint32_t)(random % AREAS);
		if (!aimed[area])
			aimed[area] = aim(event, area);
		else
			exchange(event, reader, area, (uint32_t)(random >> 32) % AREA_PAGES);
		run_pause(event->run, run_phase(event->run), DEVICE_PAUSE_NS);
	}
	if (reader)
		gmm_reader_unregister(reader);
	return NULL;
}

/* The foreigner */

static uint64_t next(struct foreign *foreign, uint64_t below)
{
	foreign->random = guest_mix(foreign->random + 1);
	return foreign->random % below;
}

static void *choose(struct foreign *foreign, void *start, uint64_t pages, uint64_t most,
		    uint64_t *bytes)
{
	uint64_t count = 1 + next(foreign, most < pages ? most : pages);

	*bytes = count * RUN_PAGE_BYTES;
	return (uint8_t *)start + next(foreign, pages - count + 1) * RUN_PAGE_BYTES;
}

static void take(struct foreign *foreign, bool told)
{
	uint64_t bytes;
	uint8_t *address = choose(foreign, foreign->memory.hva, PAGES, AREA_PAGES, &bytes);
	off_t offset = address - (uint8_t *)foreign->memory.hva;
	int failed = told ? madvise(address, bytes, MADV_REMOVE) :
			    fallocate(gmm_memory_fd(foreign->memory.memory),
				      FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
				      (off_t)bytes);

	/* It fails where an earlier turn has unmapped something and it is not back yet. */
	foreign->takes += failed ? 0 : bytes / RUN_PAGE_BYTES;
}

static void move_away(struct foreign *foreign)
{
	uint64_t bytes;
	void *from = choose(foreign, foreign->memory.hva, PAGES, AREA_PAGES, &bytes);
	void *to = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (to == MAP_FAILED)
		return;
	if (mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to)
		foreign->moves++;
	munmap(to, bytes);
}

static void change(struct run_event *event)
{
	struct foreign *foreign = event->state;
	struct run *run = event->run;
	/* A touch of unmapped memory is an exit of KVM_RUN, and a SIGSEGV of a thread. */
	bool may_unmap = run->ops == &gmm_accel_kvm;
	uint64_t bytes;
	void *address;

	switch (next(foreign, 7)) {
	case 0:
		take(foreign, true);
		return;
	case 1:
		take(foreign, false);
		return;
	case 2:
		address = choose(foreign, foreign->memory.hva, PAGES, AREA_PAGES, &bytes);
		foreign->unmaps += !munmap(address, bytes);
		return;
	case 3:
		move_away(foreign);
		return;
	case 4:
		address = choose(foreign, foreign->memory.hva, PAGES, PAGES, &bytes);
		foreign->frees += !madvise(address, bytes, MADV_DONTNEED);
		return;
	default:
		address = choose(foreign, run->snapshot.hva, run->page_count, SNAPSHOT_PAGES_MOST,
				 &bytes);
		if (may_unmap && next(foreign, 2))
			foreign->unmaps += !munmap(address, bytes);
		else
			foreign->frees += !madvise(address, bytes, MADV_DONTNEED);
	}
}

static void *thread(void *opaque)
{
	struct run_event *event = opaque;
	struct foreign *foreign = event->state;
	struct run *run = event->run;

	if (run_worker_start(run, &foreign->device, "foreign dev", device_thread, event))
		return NULL;
	while (run_phase(run) < RUN_QUIET && !run_abandoned(run)) {
		change(event);
		run_event_happened(event);
		run_pause(run, run_phase(run), FOREIGN_PAUSE_NS);
		/* What is unmapped is mapped again before more is: the holes stay small. */
		gmm_repair_service_catch_up(foreign->repair);
	}
	run_worker_join(run, &foreign->device);
	gmm_repair_service_wait(foreign->repair);
	return NULL;
}

static void verify(struct run_event *event)
{
	struct run *run = event->run;
	uint8_t contents[RUN_PAGE_BYTES];
	uint32_t page;
	int error = gmm_repair(run->guest, first_gfn(event), PAGES, NULL);

	for (page = 0; page < PAGES && !error; page++) {
		error = gmm_page_read(run->guest, first_gfn(event) + page, contents);
		if (!error)
			check(event, page, contents);
	}
	if (error)
		run_memory_failed(run, "foreign memory cannot be read", error);
}

static void add(struct run_results *results, const char *name, const char *label, uint64_t value)
{
	run_results_add(results, run_event_foreign.name, name, label, RUN_UNIT_COUNT, value);
}

static void collect(struct run_event *event, struct run_results *results)
{
	struct foreign *foreign = event->state;
	struct gmm_repair_service_statistics repair;
	struct gmm_guest_counters counters;
	uint64_t memory_exits = 0;
	uint32_t i;

	gmm_repair_service_read_statistics(foreign->repair, &repair);
	gmm_guest_read_counters(event->run->guest, &counters);
	for (i = 0; i < event->run->vcpu_count; i++)
		memory_exits += run_load(&event->run->vcpus[i].exits_memory);
	add(results, "freed", "mappings dropped by somebody else", foreign->frees);
	add(results, "taken", "pages taken away by somebody else", foreign->takes);
	add(results, "unmapped", "mappings undone by somebody else", foreign->unmaps);
	add(results, "moved", "mappings moved by somebody else", foreign->moves);
	add(results, "detected", "of these told as events",
	    repair.removed + repair.unmapped + repair.moved);
	add(results, "touched", "holes that a device met", repair.touched);
	add(results, "repaired", "pages repaired", counters.pages_repaired);
	add(results, "reported", "pages reported as lost", run_load(&foreign->reported));
	add(results, "restored", "pages mapped again", repair.restored);
	add(results, "not_restored", "pages not mapped again", repair.not_restored);
	add(results, "memory_exits", "exits of vCPUs on unmapped memory", memory_exits);
	add(results, "verified", "pages verified", foreign->verified);
	add(results, "found_zero", "pages found as reported", foreign->zeroed);
}

const struct run_event_ops run_event_foreign = {
	.name = "foreign",
	.what = "another thread frees, unmaps and moves memory",
	.unavailable = unavailable,
	.gpa_bytes = gpa_bytes,
	.create = create,
	.destroy = destroy,
	.thread = thread,
	.verify = verify,
	.collect = collect,
};
