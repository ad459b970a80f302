/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A device area: one cache over several pages and over two adjacent slots, used by a device while
 * either slot moves away and comes back, or is changed where it is.
 */
#include <stdlib.h>

#include "../command.h"
#include "event_pages.h"
#include "results.h"
#include "run.h"

#include "guest/hash.h"

#define SLOT_PAGES 8u
#define PAGES (2 * SLOT_PAGES)
/* Of both slots some. */
#define AREA_FIRST 5u
#define AREA_PAGES 6u
#define PAUSE_NS 200000u

struct event_areas {
	struct run_memory memory;
	struct run_event_pages pages;
	struct gmm_cache *area;
	struct run_event_slot slots[2];
	uint32_t slot_count; /* that are there */
	struct run_worker user;
	/* Atomic. */
	uint64_t uses, away, invalid, evicted;
};

/* Each slot can be at home, or as far behind the end. */
static uint64_t gpa_bytes(const struct run *run)
{
	return 2 * PAGES * RUN_PAGE_BYTES;
}

static gmm_gfn_t home(const struct run_event *event, uint32_t slot)
{
	return (event->gpa >> RUN_PAGE_SHIFT) + slot * SLOT_PAGES;
}

/* Both are parts of one memory, so that an area can cross them. */
static int add_slot(struct run_event *event, uint32_t slot)
{
	struct event_areas *areas = event->state;
	struct gmm_slot_config config = {
		.id = event->first_slot + slot,
		.flags = GMM_SLOT_LOG_DIRTY,
		.gfn = home(event, slot),
		.count = SLOT_PAGES,
		.hva = (uintptr_t)areas->memory.hva + slot * SLOT_PAGES * RUN_PAGE_BYTES,
		.memory_ops = gmm_memory_ops_of(areas->memory.memory),
		.memory = areas->memory.memory,
		.memory_page = slot * SLOT_PAGES,
	};

	areas->slots[slot] = (struct run_event_slot){ .id = config.id, .home = config.gfn };
	return gmm_slot_add(event->run->guest, &config);
}

static int create(struct run_event *event)
{
	struct run *run = event->run;
	struct gmm_memory_config config = {
		.kind = run_event_memory_kind(run),
		.page_count = PAGES,
		.page_shift = RUN_PAGE_SHIFT,
	};
	struct event_areas *areas = calloc(1, sizeof(*areas));
	int status, error = 0;

	event->state = areas;
	if (!areas || run_event_pages_create(event, PAGES, &areas->pages))
		return run_refuse("out of memory");
	status = run_memory_create(run, &areas->memory, &config, event->gpa);
	if (status)
		return status;
	gmm_memory_attach_userfault(areas->memory.memory, gmm_userfault_descriptor(run->userfault));
	while (areas->slot_count < 2 && !error) {
		error = add_slot(event, areas->slot_count);
		areas->slot_count += !error;
	}
	if (!error)
		error = gmm_cache_create(run->guest, &areas->area);
	if (!error)
		error = gmm_cache_activate(areas->area, event->gpa + AREA_FIRST * RUN_PAGE_BYTES,
					   AREA_PAGES * RUN_PAGE_BYTES,
					   GMM_CACHE_HOST | GMM_CACHE_WRITE);
	return error ? run_refuse("an area over two slots cannot be made (%s)",
				  run_error_text(error)) :
		       0;
}

static void destroy(struct run_event *event)
{
	struct event_areas *areas = event->state;

	if (!areas)
		return;
	if (areas->area)
		gmm_cache_destroy(areas->area);
	if (areas->memory.memory)
		gmm_memory_attach_userfault(areas->memory.memory, -1);
	while (areas->slot_count)
		gmm_slot_remove(event->run->guest, areas->slots[--areas->slot_count].id);
	run_memory_destroy(&areas->memory);
	run_event_pages_destroy(&areas->pages);
	free(areas);
	event->state = NULL;
}

/* In a section: all pages of the area are as they were left; one becomes another. */
static void use(struct run_event *event, uint8_t *area, uint32_t chosen)
{
	struct event_areas *areas = event->state;
	struct run_event_pages *pages = &areas->pages;
	uint32_t i, wrong;

	for (i = 0; i < AREA_PAGES; i++)
		if (!run_event_page_check(pages, AREA_FIRST + i, pages->version[AREA_FIRST + i],
					  area + i * RUN_PAGE_BYTES, &wrong))
			run_event_page_lost(pages, AREA_FIRST + i, pages->version[AREA_FIRST + i],
					    "in the area", wrong);
	run_event_page_fill(pages, AREA_FIRST + chosen, ++pages->version[AREA_FIRST + chosen],
			    area + chosen * RUN_PAGE_BYTES);
	gmm_cache_mark_dirty(areas->area, chosen * RUN_PAGE_BYTES, RUN_PAGE_BYTES);
	run_count(&areas->uses, 1);
}

/* Makes the area valid, or finds that one of its slots is away now. */
static void refresh(struct run_event *event)
{
	struct event_areas *areas = event->state;
	int error = gmm_cache_refresh(areas->area);

	run_count(&areas->invalid, 1);
	run_event_happened(event);
	if (error == -GMM_EFAULT) {
		run_count(&areas->away, 1);
		run_pause(event->run, RUN_GOING, PAUSE_NS / 4);
	} else if (error && !run_failing_try_again(event->run, error)) {
		run_memory_failed(event->run, "an area over two slots cannot be refreshed", error);
	}
}

static void *use_thread(void *opaque)
{
	struct run_event *event = opaque;
	struct event_areas *areas = event->state;
	struct run *run = event->run;
	struct gmm_reader *reader = run_reader_register(run);
	uint64_t random = run->options.seed;

	while (reader && run_phase(run) < RUN_QUIET && !run_abandoned(run)) {
		uint8_t *pointer;

		gmm_section_enter(reader);
		pointer = gmm_cache_pointer(areas->area, 0, AREA_PAGES * RUN_PAGE_BYTES);
		if (pointer) {
			random = guest_mix(random + 1);
			use(event, pointer, (uint32_t)(random % AREA_PAGES));
		}
		gmm_section_exit(reader);
		if (!pointer)
			refresh(event);
		else if (random % 64 == 0)
			run_pause(run, RUN_GOING, PAUSE_NS);
	}
	if (reader)
		gmm_reader_unregister(reader);
	return NULL;
}

static int disturb(struct run_event *event, uint64_t random)
{
	struct event_areas *areas = event->state;
	uint32_t slot = (random >> 8) & 1;
	int64_t evicted;

	run_event_happened(event);
	switch (random % 4) {
	case 0:
	case 1:
		return run_event_slot_change(event, &areas->slots[slot], PAGES);
	case 2:
		evicted = gmm_evict(event->run->guest, home(event, 0), PAGES, 0);
		if (evicted > 0)
			run_count(&areas->evicted, (uint64_t)evicted);
		return evicted < 0 && !run_failing_try_again(event->run, evicted) ? (int)evicted :
										    0;
	default:
		run_event_pages_harvest(&areas->pages, event->first_slot + slot, home(event, slot),
					slot * SLOT_PAGES, SLOT_PAGES);
	}
	return 0;
}

static void *disturb_thread(void *opaque)
{
	struct run_event *event = opaque;
	struct event_areas *areas = event->state;
	struct run *run = event->run;
	uint64_t random = ~run->options.seed;
	int error = 0;

	if (run_worker_start(run, &areas->user, "area", use_thread, event))
		return NULL;
	while (run_phase(run) < RUN_QUIET && !run_abandoned(run)) {
		random = guest_mix(random + 1);
		error = disturb(event, random);
		if (error)
			run_memory_failed(run, "slots under an area cannot be changed", error);
		run_pause(run, RUN_GOING, PAUSE_NS);
	}
	run_worker_join(run, &areas->user);
	return NULL;
}

static void verify(struct run_event *event)
{
	struct event_areas *areas = event->state;
	uint32_t slot;

	for (slot = 0; slot < 2; slot++)
		run_event_pages_verify(&areas->pages, event->first_slot + slot, home(event, slot),
				       slot * SLOT_PAGES, SLOT_PAGES);
}

static void collect(struct run_event *event, struct run_results *results)
{
	const struct event_areas *areas = event->state;
	const struct {
		const char *name, *label;
		uint64_t value;
	} rows[] = {
		{ "uses", "uses of all pages at once", areas->uses },
		{ "refreshes", "refreshes", areas->invalid },
		{ "slot_away", "of these with a slot away", areas->away },
		{ "slot_changes", "changes of a slot",
		  areas->slots[0].changes + areas->slots[1].changes },
		{ "slot_moves", "of these moves away and back",
		  areas->slots[0].moves + areas->slots[1].moves },
		{ "evicted", "pages evicted", areas->evicted },
		{ "harvested", "pages harvested", areas->pages.harvested },
	};
	uint32_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		run_results_add(results, "areas", rows[i].name, rows[i].label, RUN_UNIT_COUNT,
				rows[i].value);
}

const struct run_event_ops run_event_areas = {
	.name = "areas",
	.what = "one area over pages and slots that change",
	.unavailable = run_event_memory_unavailable,
	.gpa_bytes = gpa_bytes,
	.create = create,
	.destroy = destroy,
	.thread = disturb_thread,
	.verify = verify,
	.collect = collect,
};
