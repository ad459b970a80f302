/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_CLI_RUN_OPTIONS_H
#define GMM_CLI_RUN_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include <guestmm/linux/memory.h>

#include "accel/accel.h"

#include "event.h"

#define RUN_PAGE_SHIFT 12u
#define RUN_PAGE_BYTES ((uint64_t)1 << RUN_PAGE_SHIFT)
#define RUN_MEMORY_DEFAULT ((uint64_t)256 << 20)
#define RUN_VCPUS_DEFAULT 2u
#define RUN_DURATION_DEFAULT_MS 10000u
#define RUN_SEED_DEFAULT 20261u
#define RUN_HANG_DEFAULT_MS 30000u
/* Fewer resident pages than this would be evicted while they are being made resident. */
#define RUN_RESIDENT_LEAST_PAGES 64u
#define RUN_LOSE_ONE_OF 16u

struct run_options {
	const char *snapshot; /* file, or directory of --save; NULL: generated memory */
	uint64_t memory;      /* bytes; 0: not given */
	uint64_t resident;    /* bytes; 0: not given */
	uint32_t vcpus;
	const struct gmm_accel_ops *accel; /* NULL: chosen by what the machine can do */
	enum gmm_accel_dirty dirty;
	bool dirty_given; /* else rings, where they can be had */
	enum gmm_memory_kind memory_kind;
	enum gmm_memory_mapping mapping; /* of the guest's memory, for the engine */
	struct run_event_choice events;
	uint32_t devices;
	uint64_t duration_ms;
	uint64_t seed;
	uint64_t hang_ms; /* without a step of a vCPU, the run has failed */
	const char *json;
	const char *save;	/* directory; NULL: nothing is saved */
	uint64_t save_every_ms; /* 0: at half time, and at the end as always */
	const char *report;
	int argument_count; /* as they were given */
	char **arguments;

	/* Hidden: for tests. */
	uint64_t fail_one_in; /* in builds with GMM_STEPS only: see failing.h */
	uint32_t leave_out;   /* GMM_LEAVE_OUT_*, in builds with GMM_STEPS only */
	bool lose_saved;      /* of the harvested pages one of RUN_LOSE_ONE_OF is not saved */
	uint32_t hold;	      /* which interleaving is forced; a bit of GMM_LEAVE_OUT_* */
};

/*
 * Reads the command line. Returns -1 when the command goes on, else the exit status: it printed its
 * help, or one line that says what is wrong and the way out.
 */
int run_options_parse(int argc, char **argv, struct run_options *options);

/* As they are written on the command line. */
const char *run_memory_kind_name(const struct run_options *options);
const char *run_dirty_name(const struct run_options *options);

#endif
