/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Secret memory: a slot for a device, of memory that no vCPU and not even the kernel has mapped. The
 * device writes and verifies its pages through caches, each of which maps what it covers and nothing
 * else. It is the only writer, so each harvest must be exactly what it wrote.
 */
#include <stdlib.h>
#include <string.h>

#include "../command.h"
#include "event.h"
#include "program.h"
#include "results.h"
#include "run.h"

#include "guest/hash.h"
#include "guest/page.h"

#define PAGES 64u
#define CACHES 6u
/* A cache covers one page to this many. */
#define AREA_PAGES 4u
#define PAUSE_NS 200000u
/* Of so many turns, one changes the mapping of the area, and one is a harvest. */
#define CHANGE_ONE_OF 5u
#define HARVEST_ONE_OF 40u

struct area {
	struct gmm_cache *cache;
	uint32_t first, count; /* pages; count 0: it has no target */
};

struct secret {
	struct run_memory memory;
	struct area areas[CACHES];
	uint32_t version[PAGES]; /* all of the event's thread, later of others */
	uint64_t written;	 /* since the last harvest, a bit a page */
	uint64_t random;
	uint64_t writes, verified, changes, harvests, harvested;
};

_Static_assert(PAGES == 64, "the log is one word");

static const char *unavailable(const struct run *run)
{
	struct gmm_memory_config config = {
		.kind = GMM_MEMORY_KIND_SECRET,
		.page_count = 1,
		.page_shift = RUN_PAGE_SHIFT,
	};
	static char text[GMM_BACKING_TEXT_SIZE];
	struct gmm_memory *memory;

	if (gmm_memory_create(&config, &memory, text, sizeof(text)))
		return text;
	gmm_memory_close(memory);
	return NULL;
}

static uint64_t gpa_bytes(const struct run *run)
{
	return PAGES * RUN_PAGE_BYTES;
}

static int create(struct run_event *event)
{
	struct gmm_memory_config config = {
		.kind = GMM_MEMORY_KIND_SECRET,
		.page_count = PAGES,
		.page_shift = RUN_PAGE_SHIFT,
	};
	struct secret *secret = calloc(1, sizeof(*secret));
	uint32_t i;
	int status;

	event->state = secret;
	if (!secret)
		return run_refuse("out of memory for secret memory");
	secret->random = event->run->options.seed;
	status = run_memory_create(event->run, &secret->memory, &config, event->gpa);
	if (!status)
		status = run_memory_add_slot(event->run, &secret->memory, event->first_slot,
					     GMM_SLOT_LOG_DIRTY);
	for (i = 0; i < CACHES && !status; i++)
		if (gmm_cache_create(event->run->guest, &secret->areas[i].cache))
			status = run_refuse("out of memory for caches of secret memory");
	return status;
}

static void destroy(struct run_event *event)
{
	struct secret *secret = event->state;
	uint32_t i;

	if (!secret)
		return;
	for (i = 0; i < CACHES; i++)
		if (secret->areas[i].cache)
			gmm_cache_destroy(secret->areas[i].cache);
	run_memory_remove_slot(event->run, &secret->memory);
	run_memory_destroy(&secret->memory);
	free(secret);
	event->state = NULL;
}

static uint64_t next(struct secret *secret)
{
	secret->random = guest_mix(secret->random + 1);
	return secret->random;
}

static gmm_gfn_t gfn_of(const struct run_event *event, uint32_t page)
{
	return (event->gpa >> RUN_PAGE_SHIFT) + page;
}

static struct guest_page_expect expected(const struct run_event *event, uint32_t page,
					 uint32_t version)
{
	return (struct guest_page_expect){
		.seed = event->run->options.seed,
		.page = page,
		.version = version,
		.full_version = version,
	};
}

static void check(struct run_event *event, uint32_t page, const void *found, const char *when)
{
	static const uint8_t zeros[RUN_PAGE_BYTES];
	struct secret *secret = event->state;
	struct guest_page_expect expect = expected(event, page, secret->version[page]);
	uint32_t wrong = 0;
	bool good = secret->version[page] ? guest_page_verify(found, &expect, &wrong) :
					    !memcmp(found, zeros, sizeof(zeros));

	if (good)
		secret->verified++;
	else
		run_lost(
			event->run,
			"secret page %u (GPA 0x%llx), device: %s it is not version %u, wrong from byte "
			"%u on",
			page, (unsigned long long)(event->gpa + page * RUN_PAGE_BYTES), when,
			secret->version[page], wrong * 8);
}

/* Now and then the area's cache gets another target. False: not now, or the run is given up. */
static bool aim(struct run_event *event, struct area *area)
{
	struct secret *secret = event->state;
	int error;

	if (area->count && next(secret) % AREA_PAGES)
		return true;
	area->count = 1 + (uint32_t)(next(secret) % AREA_PAGES);
	area->first = (uint32_t)(next(secret) % (PAGES - area->count + 1));
	error = gmm_cache_activate(area->cache, event->gpa + area->first * RUN_PAGE_BYTES,
				   area->count * RUN_PAGE_BYTES, GMM_CACHE_HOST | GMM_CACHE_WRITE);
	if (!error)
		return true;
	area->count = 0;
	if (!run_failing_try_again(event->run, error))
		run_memory_failed(event->run, "secret memory cannot be cached", error);
	return false;
}

/* Verifies all pages of an area and writes one of them. */
static void exchange(struct run_event *event, struct gmm_reader *reader, struct area *area)
{
	struct secret *secret = event->state;
	uint32_t chosen = (uint32_t)(next(secret) % area->count), i;
	struct guest_page_expect expect;
	uint8_t *pointer = run_section_enter(event->run, reader, area->cache, 0,
					     area->count * RUN_PAGE_BYTES, NULL);

	if (!pointer)
		return;
	for (i = 0; i < area->count; i++)
		check(event, area->first + i, pointer + i * RUN_PAGE_BYTES, "in use");
	expect = expected(event, area->first + chosen, secret->version[area->first + chosen] + 1);
	guest_page_write_full(pointer + chosen * RUN_PAGE_BYTES, &expect);
	gmm_cache_mark_dirty(area->cache, chosen * RUN_PAGE_BYTES, RUN_PAGE_BYTES);
	gmm_section_exit(reader);
	secret->version[area->first + chosen]++;
	secret->written |= 1ull << (area->first + chosen);
	secret->writes++;
}

/* As when memory moves; it has not, so the next refresh keeps the mapping. */
static void change(struct run_event *event, const struct area *area)
{
	struct secret *secret = event->state;
	struct gmm_range range = { gfn_of(event, area->first),
				   gfn_of(event, area->first + area->count) };

	if (gmm_invalidate_begin(event->run->guest, GMM_RANGE_GFN, &range, 1, 0, NULL))
		return;
	gmm_invalidate_end(event->run->guest, GMM_RANGE_GFN, &range, 1);
	secret->changes++;
	run_event_happened(event);
}

static void harvest(struct run_event *event)
{
	struct secret *secret = event->state;
	uint8_t contents[RUN_PAGE_BYTES];
	uint64_t log = 0;
	int64_t taken = gmm_dirty_harvest(event->run->guest, event->first_slot, 0, PAGES, &log);
	uint32_t page;
	int error = 0;

	if (taken < 0) {
		if (!run_failing_try_again(event->run, taken))
			run_abandon(event->run, GMM_EXIT_LOST,
				    "the log of secret memory cannot be harvested: %s",
				    run_error_text((int)taken));
		return;
	}
	if (log != secret->written)
		run_lost(event->run,
			 "secret memory: the log has pages %016llx, written were %016llx",
			 (unsigned long long)log, (unsigned long long)secret->written);
	secret->written = 0;
	secret->harvests++;
	secret->harvested += (uint64_t)taken;
	for (page = 0; page < PAGES && !error; page++) {
		if (!(log >> page & 1))
			continue;
		error = gmm_page_read(event->run->guest, gfn_of(event, page), contents);
		if (!error)
			check(event, page, contents, "harvested");
	}
	if (error)
		run_memory_failed(event->run, "secret memory cannot be read", error);
}

static void *thread(void *opaque)
{
	struct run_event *event = opaque;
	struct secret *secret = event->state;
	struct gmm_reader *reader = run_reader_register(event->run);

	while (reader && run_phase(event->run) < RUN_QUIET && !run_abandoned(event->run)) {
		struct area *area = &secret->areas[next(secret) % CACHES];

		if (aim(event, area))
			exchange(event, reader, area);
		if (area->count && next(secret) % CHANGE_ONE_OF == 0)
			change(event, area);
		if (next(secret) % HARVEST_ONE_OF == 0)
			harvest(event);
		run_pause(event->run, run_phase(event->run), PAUSE_NS);
	}
	if (reader)
		gmm_reader_unregister(reader);
	return NULL;
}

static void verify(struct run_event *event)
{
	uint8_t contents[RUN_PAGE_BYTES];
	uint32_t page;

	harvest(event);
	for (page = 0; page < PAGES && !run_abandoned(event->run); page++) {
		if (gmm_page_read(event->run->guest, gfn_of(event, page), contents)) {
			run_memory_failed(event->run, "secret memory cannot be read", -GMM_EIO);
			return;
		}
		check(event, page, contents, "at the end");
	}
}

static void collect(struct run_event *event, struct run_results *results)
{
	const struct secret *secret = event->state;
	struct gmm_memory_counters memory;

	gmm_memory_read_counters(secret->memory.memory, &memory);
	run_results_add(results, "secret", "writes", "pages written", RUN_UNIT_COUNT,
			secret->writes);
	run_results_add(results, "secret", "verified", "pages verified", RUN_UNIT_COUNT,
			secret->verified);
	run_results_add(results, "secret", "changes", "ranges changed", RUN_UNIT_COUNT,
			secret->changes);
	run_results_add(results, "secret", "harvests", "harvests", RUN_UNIT_COUNT,
			secret->harvests);
	run_results_add(results, "secret", "harvested", "pages harvested", RUN_UNIT_COUNT,
			secret->harvested);
	run_results_add(results, "secret", "map_calls", "mappings made and undone", RUN_UNIT_COUNT,
			memory.map_calls);
	run_results_add(results, "secret", "most_mapped_bytes", "mapped at most", RUN_UNIT_BYTES,
			memory.most_mapped_bytes);
	run_results_add(results, "secret", "bytes", "of", RUN_UNIT_BYTES, secret->memory.bytes);
}

const struct run_event_ops run_event_secret = {
	.name = "secret",
	.what = "a device's memory that nobody else has mapped",
	.unavailable = unavailable,
	.gpa_bytes = gpa_bytes,
	.create = create,
	.destroy = destroy,
	.thread = thread,
	.verify = verify,
	.collect = collect,
};
