/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Ranges of a region are thrown away under vCPUs and a device: they come back zero, and the dirty
 * log has them.
 */
#include <stdlib.h>

#include <guestmm/evict.h>

#include "../command.h"
#include "failing.h"
#include "regions.h"
#include "results.h"
#include "run.h"

#define FIRST_REGION 3u
#define MOST_PAGES 64u /* of one discard, but of the whole region now and then */
#define WHOLE_ONE_OF 32u
#define CHECK_ONE_OF 8u
#define PAUSE_NS 5000000u

static const uint64_t region_pages[] = { 512 };

struct discard {
	struct run_regions *regions;
	uint64_t discards, pages; /* of the event's thread, then read */
};

static uint64_t gpa_bytes(const struct run *run)
{
	return region_pages[0] * RUN_PAGE_BYTES;
}

static int create(struct run_event *event)
{
	struct discard *discard = calloc(1, sizeof(*discard));
	char text[GMM_BACKING_TEXT_SIZE];
	struct run_guest_region *region;
	bool added;

	event->state = discard;
	if (!discard || run_regions_create(event, FIRST_REGION, 1, region_pages, &discard->regions))
		return run_refuse("out of memory for the region of --events discard");
	region = &discard->regions->region[0];
	run_region_announce(region);
	added = run_region_add(region, event->gpa, region->most_pages, text);
	run_region_settle(region);
	if (!added || run_abandoned(event->run))
		return run_refuse("%s", *text ? text : "the region of --events discard is refused");
	run_regions_open(discard->regions);
	return 0;
}

static void destroy(struct run_event *event)
{
	struct discard *discard = event->state;

	if (discard)
		run_regions_destroy(discard->regions);
	free(discard);
}

static void throw_away(struct discard *discard, uint64_t first, uint64_t count)
{
	struct run_guest_region *region = &discard->regions->region[0];
	struct run *run = discard->regions->run;
	int error;

	run_region_announce(region);
	do {
		error = gmm_discard(run->guest, (region->gpa >> RUN_PAGE_SHIFT) + first, count);
	} while (error && run_failing_try_again(run, error));
	if (error)
		run_abandon(run, GMM_EXIT_LOST, "discard: %llu pages at GPA 0x%llx: %s",
			    (unsigned long long)count,
			    (unsigned long long)(region->gpa + (first << RUN_PAGE_SHIFT)),
			    run_error_text(error));
	run_region_zeroed(region, first, count);
	run_region_settle(region);
	discard->discards++;
	run_event_happened(discard->regions->event);
	discard->pages += count;
}

static void change(struct discard *discard)
{
	struct run_regions *regions = discard->regions;
	struct run_guest_region *region = &regions->region[0];
	uint64_t most = run_regions_random(regions, WHOLE_ONE_OF) ? MOST_PAGES : region->pages;
	uint64_t count = 1 + run_regions_random(regions, most);

	throw_away(discard, run_regions_random(regions, region->pages - count + 1), count);
	if (run_regions_random(regions, CHECK_ONE_OF))
		return;
	run_region_announce(region);
	if (run_region_wait_unused(region))
		run_region_check(region);
	run_region_settle(region);
}

static void *thread(void *opaque)
{
	struct run_event *event = opaque;
	struct discard *discard = event->state;
	struct run *run = event->run;

	if (run_worker_start(run, &discard->regions->device, "discard device",
			     run_region_device_thread, discard->regions))
		return NULL;
	while (run_phase(run) == RUN_GOING && !run_abandoned(run)) {
		change(discard);
		run_pause(run, RUN_GOING, PAUSE_NS);
	}
	run_worker_join(run, &discard->regions->device);
	return NULL;
}

static void verify(struct run_event *event)
{
	struct discard *discard = event->state;

	run_regions_verify(discard->regions);
}

static void failure(struct run_event *event, char *text, size_t size)
{
	struct discard *discard = event->state;

	if (discard && discard->regions)
		run_regions_failure(discard->regions, text, size);
}

static void collect(struct run_event *event, struct run_results *results)
{
	const struct discard *discard = event->state;

	run_results_add(results, "discard", "discards", "ranges discarded", RUN_UNIT_COUNT,
			discard->discards);
	run_results_add(results, "discard", "pages", "pages discarded", RUN_UNIT_COUNT,
			discard->pages);
	run_regions_collect(discard->regions, "discard", results);
}

const struct run_event_ops run_event_discard = {
	.name = "discard",
	.what = "ranges are thrown away and come back zero",
	.unavailable = run_regions_unavailable,
	.gpa_bytes = gpa_bytes,
	.create = create,
	.destroy = destroy,
	.thread = thread,
	.verify = verify,
	.collect = collect,
	.failure = failure,
};
