/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "sampler.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../command.h"
#include "run.h"

#define ROWS_MOST 192u
/* Of the first columns. */
#define WIDTH_NS 20000000u
/* Samples of one column are no further apart, so that it shows a mean and no moment. */
#define PAUSE_MOST_NS 1000000000u
/* Of a processor's time the sampler takes so much at most. */
#define WORKS_ONE_OF 50u

static void add_region(struct run_sampler *sampler, const char *name, gmm_gpa_t gpa, uint64_t bytes)
{
	if (bytes && sampler->region_count < RUN_REGIONS_MOST)
		sampler->regions[sampler->region_count++] = (struct run_region){
			.name = name,
			.gfn = gpa >> RUN_PAGE_SHIFT,
			.pages = bytes >> RUN_PAGE_SHIFT,
		};
}

/* In the order of their addresses. */
static void add_regions(struct run *run)
{
	struct run_sampler *sampler = &run->sampler;
	uint32_t i;

	add_region(sampler, "snapshot", run->snapshot.gpa, run->snapshot.bytes);
	for (i = 0; i < RUN_EVENTS_MOST; i++)
		if (run->events[i].on)
			add_region(sampler, run->events[i].ops->name, run->events[i].gpa,
				   run->events[i].bytes);
	add_region(sampler, "program", run->program_memory.gpa, run->program_memory.bytes);
}

static void add_series(struct run_sampler *sampler, const char *name, const char *label,
		       enum run_series_kind kind)
{
	if (sampler->series_count < RUN_SERIES_MOST)
		sampler->series[sampler->series_count++] = (struct run_series){ name, label, kind };
}

/* What has no thread of its own is on the time line by what others do. */
static bool is_shown(const struct run_event *event)
{
	return event->on && event->ops->thread;
}

/* The order in which read_numbers() gives them. */
static void add_all_series(struct run *run)
{
	struct run_sampler *sampler = &run->sampler;
	uint32_t i;

	add_series(sampler, "resident", "resident", RUN_SERIES_LEVEL);
	add_series(sampler, "missing", "missing", RUN_SERIES_RATE);
	add_series(sampler, "minor", "minor", RUN_SERIES_RATE);
	add_series(sampler, "write_protect", "write-protect", RUN_SERIES_RATE);
	add_series(sampler, "evicted", "evicted", RUN_SERIES_RATE);
	add_series(sampler, "harvested", "harvested", RUN_SERIES_RATE);
	add_series(sampler, "trims", "trims", RUN_SERIES_EVENT);
	add_series(sampler, "harvests", "harvests", RUN_SERIES_EVENT);
	add_series(sampler, "moves", "frames moved", RUN_SERIES_EVENT);
	add_series(sampler, "kicks", "kicks", RUN_SERIES_EVENT);
	for (i = 0; i < RUN_EVENTS_MOST; i++)
		if (is_shown(&run->events[i]))
			add_series(sampler, run->events[i].ops->name, run->events[i].ops->name,
				   RUN_SERIES_EVENT);
	add_series(sampler, "losses", "losses", RUN_SERIES_EVENT);
}

static void read_numbers(struct run *run, uint64_t *numbers)
{
	struct gmm_fault_service_statistics faults;
	struct run_frames_counters frames;
	struct gmm_guest_counters counters;
	uint32_t i;

	gmm_fault_service_read_statistics(run->faults, &faults);
	gmm_guest_read_counters(run->guest, &counters);
	run_frames_counters(run, &frames);
	*numbers++ = gmm_resident_pages(run->guest);
	for (i = 0; i < GMM_FAULT_SERVICE_KINDS; i++)
		*numbers++ = faults.kind[i].served;
	*numbers++ = counters.evicted;
	*numbers++ = run_load(&run->harvester.pages);
	*numbers++ = run_load(&run->evictor.trims);
	*numbers++ = run_load(&run->harvester.harvests);
	*numbers++ = frames.moves;
	*numbers++ = counters.kicks;
	for (i = 0; i < RUN_EVENTS_MOST; i++)
		if (is_shown(&run->events[i]))
			*numbers++ = run_load(&run->events[i].happened);
	*numbers++ = __atomic_load_n(&run->outcome.losses, __ATOMIC_RELAXED);
}

static void read_region(struct run *run, const struct run_region *region, uint64_t row_pages,
			uint64_t *cells)
{
	struct gmm_page_survey survey;
	uint64_t page, count;

	for (page = 0; page < region->pages; page += row_pages, cells += RUN_CELLS) {
		count = region->pages - page < row_pages ? region->pages - page : row_pages;
		if (gmm_page_take_survey(run->guest, region->gfn + page, count, &survey))
			memset(&survey, 0, sizeof(survey));
		cells[RUN_CELL_PAGES] = survey.pages;
		cells[RUN_CELL_ABSENT] = survey.absent;
		cells[RUN_CELL_ZERO] = survey.zero;
		cells[RUN_CELL_PRESENT] = survey.present;
		cells[RUN_CELL_EVICTED] = survey.evicted;
		cells[RUN_CELL_YOUNG] = survey.young;
		cells[RUN_CELL_DIRTY] = survey.dirty;
	}
}

static void take_sample(struct run *run)
{
	struct run_sampler *sampler = &run->sampler;
	uint64_t numbers[RUN_SERIES_MOST];
	uint64_t at = run_now() - run->began_at;
	uint32_t i;

	read_numbers(run, numbers);
	for (i = 0; i < sampler->region_count; i++)
		read_region(run, &sampler->regions[i], sampler->row_pages,
			    &sampler->cells[(size_t)sampler->regions[i].first_row * RUN_CELLS]);
	run_history_add(&sampler->history, at, numbers, sampler->cells);
}

/* What this thread has worked; time in which others had its processor does not count. */
static uint64_t worked(void)
{
	struct timespec time;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

void *run_sampler_thread(void *opaque)
{
	struct run *run = opaque;

	while (run_phase(run) < RUN_QUIET && !run_abandoned(run)) {
		uint64_t start = worked(), pause;

		take_sample(run);
		pause = (worked() - start) * WORKS_ONE_OF;
		if (pause < run->sampler.history.width)
			pause = run->sampler.history.width < PAUSE_MOST_NS ?
					run->sampler.history.width :
					PAUSE_MOST_NS;
		run_pause(run, run_phase(run), pause);
	}
	take_sample(run);
	return NULL;
}

int run_sampler_create(struct run *run)
{
	struct run_sampler *sampler = &run->sampler;
	uint32_t rows = 0, i;

	if (!run->options.report)
		return 0;
	add_regions(run);
	add_all_series(run);
	sampler->row_pages = run_regions_layout(sampler->regions, sampler->region_count, ROWS_MOST);
	for (i = 0; i < sampler->region_count; i++)
		rows += sampler->regions[i].rows;
	sampler->cells = calloc((size_t)rows * RUN_CELLS, sizeof(uint64_t));
	if (!sampler->cells ||
	    run_history_init(&sampler->history, rows, sampler->series_count, WIDTH_NS))
		return run_refuse("out of memory");
	return 0;
}

void run_sampler_destroy(struct run *run)
{
	run_history_destroy(&run->sampler.history);
	free(run->sampler.cells);
	run->sampler.cells = NULL;
}
