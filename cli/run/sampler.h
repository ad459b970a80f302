/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Looks at the run again and again for --report. */
#ifndef GMM_CLI_RUN_SAMPLER_H
#define GMM_CLI_RUN_SAMPLER_H

#include <stdint.h>

#include "event.h"
#include "history.h"

#define RUN_REGIONS_MOST (RUN_EVENTS_MOST + 4u)
#define RUN_SERIES_MOST (RUN_EVENTS_MOST + 16u)

enum run_series_kind {
	RUN_SERIES_LEVEL, /* a value at a time */
	RUN_SERIES_RATE,  /* a counter: how fast it grows is shown as a curve */
	RUN_SERIES_EVENT, /* a counter of events of the run: when it grew */
};

struct run_series {
	const char *name;
	const char *label;
	enum run_series_kind kind;
};

struct run_sampler {
	struct run_region regions[RUN_REGIONS_MOST];
	uint32_t region_count;
	uint64_t row_pages;
	struct run_series series[RUN_SERIES_MOST];
	uint32_t series_count;
	struct run_history history;
	uint64_t *cells; /* of one sample */
};

struct run;

/* 0, or the exit status after a line was printed. Nothing without --report. */
int run_sampler_create(struct run *run);
void run_sampler_destroy(struct run *run);
/* The thread; it ends in RUN_QUIET, after a last look. */
void *run_sampler_thread(void *opaque);

#endif
