/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Events: what happens to guest memory during a run besides paging. Each is a file event_NAME.c with
 * a table of operations, and a row in event.c; `--events` chooses among them. An event has guest
 * physical address space of its own, slots of its own, a thread, a check at the end and results.
 */
#ifndef GMM_CLI_RUN_EVENT_H
#define GMM_CLI_RUN_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <guestmm/types.h>

#include "worker.h"

#define RUN_EVENTS_MOST 16u
/* Slots that one event may have at a time. */
#define RUN_EVENT_SLOTS 64u

struct gmm_accel_exit;
struct run;
struct run_results;
struct run_event;

/* All may be NULL but name and what. */
struct run_event_ops {
	const char *name; /* of --events; group of its results */
	const char *what; /* for --help, at most 50 characters */

	/*
	 * NULL when this run can have it, else why not, to follow "NAME: ". After the accelerator
	 * was chosen, before anything is made.
	 */
	const char *(*unavailable)(const struct run *run);
	/* What of it this run cannot have, likewise; NULL: nothing. */
	const char *(*caveat)(const struct run *run);
	/* Guest physical address space that it wants, in bytes: whole pages. Likewise. */
	uint64_t (*gpa_bytes)(const struct run *run);
	/*
	 * Guest, program and vCPU objects are there, no vCPU runs. 0, or the exit status after a line
	 * was printed; then destroy is called, too.
	 */
	int (*create)(struct run_event *event);
	/* All threads have ended; slots and memories of the event go. Also half created. */
	void (*destroy)(struct run_event *event);
	/*
	 * Its thread, which gets the event and ends in RUN_QUIET, when no vCPU runs any more, or when
	 * the run is abandoned.
	 */
	void *(*thread)(void *event);
	/* All threads have ended in order, after the last harvest: what was lost is named. */
	void (*verify)(struct run_event *event);
	void (*collect)(struct run_event *event, struct run_results *results);
	/* Why an operation on its memory failed first, as one line, or nothing. Any thread. */
	void (*failure)(struct run_event *event, char *text, size_t size);
	/*
	 * A vCPU touched a GPA of the event's space that is in no slot, or wrote to a read-only one.
	 * On the vCPU's thread, outside guest mode. A read is answered in exit->mmio.data. Whether
	 * that was to be expected; NULL: it never is.
	 */
	bool (*mmio)(struct run_event *event, uint32_t vcpu, const struct gmm_accel_exit *exit);
};

extern const struct run_event_ops run_event_foreign;
extern const struct run_event_ops run_event_secret;
/* The rows of event.c. */
extern const struct run_event_ops run_event_areas, run_event_devices, run_event_io;

struct run_event {
	const struct run_event_ops *ops;
	struct run *run;
	bool asked; /* by name: that it is not available is an error */
	bool on;
	gmm_gpa_t gpa; /* multiple of 2 MiB */
	uint64_t bytes;
	uint32_t first_slot; /* ids up to first_slot + RUN_EVENT_SLOTS - 1 */
	bool created;
	void *state; /* the event's own */
	struct run_worker worker;
	uint64_t happened; /* atomic: for the time line of --report */
};

extern const struct run_event_ops run_event_slots;
extern const struct run_event_ops run_event_discard;

/* Which events are wanted; filled by run_events_parse(). */
struct run_event_choice {
	uint32_t on;	/* a bit for each row of event.c */
	uint32_t asked; /* of these: by name */
};

void run_events_all(struct run_event_choice *choice);
/*
 * "all", "none", or names with commas; "-name" takes one away from all. -1, or the exit status after
 * a line was printed.
 */
int run_events_parse(const char *text, struct run_event_choice *choice);
void run_events_print_help(void);

/* In the order of a run. Those that return an int: 0, or the exit status after a line. */
int run_events_choose(struct run *run);
/* Gives them their address space from `gpa` on; returns its end. */
gmm_gpa_t run_events_place(struct run *run, gmm_gpa_t gpa);
int run_events_create(struct run *run);
/* -1: no thread to be had; it is in the outcome. */
int run_events_start(struct run *run);
void run_events_join(struct run *run);
void run_events_verify(struct run *run);
void run_events_collect(struct run *run, struct run_results *results);
void run_events_destroy(struct run *run);

/* Whether that event was chosen, before it is known whether this run can have it. */
bool run_events_want(const struct run *run, const char *name);
/* gmm_guest_config.lost: pages that somebody else took away. */
void run_event_foreign_lost(struct run *run, gmm_gfn_t gfn, uint64_t count);
/* The first failure of an event's memory as one line, or "". Any thread. */
void run_events_failure(struct run *run, char *text, size_t size);
/* Whether an event expected it. */
bool run_events_mmio(struct run *run, uint32_t vcpu, const struct gmm_accel_exit *exit);
/* One line: what is on, and what is not with the reason. */
void run_events_print(const struct run *run);
/* Once more what the event is about has happened: --report shows when, and how often. Any thread. */
void run_event_happened(struct run_event *event);
/* The event of that name, or NULL when it is not on. */
struct run_event *run_event_find(struct run *run, const char *name);

#endif
