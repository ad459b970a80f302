/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * One run: a guest, the threads around it, and what they found. Each part is a file of this
 * directory:
 *
 *   setup, memory, program   what the run consists of, in the order of making it
 *   vcpu                     the vCPUs' threads
 *   faults                   their faults, served
 *   verifier                 first touches compared with the snapshot; losses named
 *   device, device_pages     buffers exchanged with the guest, pages that only the device writes
 *   frames                   the pages whose location vCPUs are given at entry, and their mover
 *   event, event_*           what else happens to memory; chosen by --events
 *   failing                  failures on purpose, for tests
 *   evictor, harvester       memory kept small; the dirty log read into a shadow
 *   save                     what was harvested, saved into a directory too
 *   watch                    time, progress, the live line, the end
 *   final                    memory compared with base and harvests
 *   sampler, history         what it looked like over time, for --report
 *   results, report          what is printed
 *   json, page, file         what is written to files
 *   log                      lines of the library
 *
 * Threads change what they own; numbers that others read are atomic (run_count()).
 */
#ifndef GMM_CLI_RUN_RUN_H
#define GMM_CLI_RUN_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include <guestmm/cache.h>
#include <guestmm/dirty.h>
#include <guestmm/evict.h>
#include <guestmm/fault.h>
#include <guestmm/guest.h>
#include <guestmm/invalidate.h>
#include <guestmm/linux/fault_service.h>
#include <guestmm/linux/memory.h>
#include <guestmm/linux/source.h>
#include <guestmm/linux/userfault.h>
#include <guestmm/section.h>
#include <guestmm/slot.h>
#include <guestmm/static/step_points.h>
#include <guestmm/vcpu.h>

#include "accel/accel.h"
#include "accel/program.h"

#include "event.h"
#include "failing.h"
#include "log.h"
#include "memory.h"
#include "memory_kind.h"
#include "options.h"
#include "program.h"
#include "outcome.h"
#include "sampler.h"
#include "save.h"
#include "worker.h"

enum run_slot {
	RUN_SLOT_SNAPSHOT,
	RUN_SLOT_FRAME_PAGES,
	RUN_SLOT_FRAME_WINDOW,
	RUN_SLOT_PROGRAM,
};

/* Requests of vCPUs. */
#define RUN_REQUEST_STOP 0u
#define RUN_REQUEST_WAIT_FOR_ROOM 1u

struct run_device;
struct run_device_pages;
struct run_frames;
struct run_shadow;

struct run_vcpu {
	struct run *run;
	uint32_t index;
	char name[16];
	struct gmm_vcpu *vcpu;
	struct gmm_accel_vcpu *accel_vcpu; /* made, used and destroyed by its thread */
	struct run_worker worker;

	/* Atomic; written by its thread. */
	uint64_t entries;
	uint64_t exits_kicked;
	uint64_t exits_memory; /* on memory that somebody else unmapped */
	uint64_t exits_other;
	uint64_t parked; /* it has left the guest for good */
	/* Atomic; written by who serves faults. */
	uint64_t last_fault; /* GFN + 1, or 0 */
	/* Of the thread that watches. */
	uint64_t steps_seen;
	uint64_t steps_seen_at; /* ns */
};

struct run_verifier {
	uint64_t verified; /* atomic: first touches that were as in the snapshot */
};

struct run_evictor {
	uint64_t limit;		/* pages; immutable */
	uint64_t wanted;	/* atomic: resident pages were seen above the limit */
	uint64_t trims;		/* atomic */
	uint64_t most_resident; /* atomic: pages */
	int wakeup;		/* eventfd */
};

struct run_harvester {
	uint64_t *bitmap;  /* of the thread that harvests */
	uint64_t harvests; /* all atomic */
	uint64_t pages;
	uint64_t ring_pages;
	uint64_t nanoseconds;
};

struct run {
	struct run_options options;

	/* Immutable once set up. */
	const struct gmm_accel_ops *ops;
	char accel_reason[GMM_ACCEL_TEXT_BYTES]; /* why not KVM, or "" */
	char ring_reason[GMM_ACCEL_TEXT_BYTES];	 /* why no rings, or "" */
	uint64_t memory_bytes, page_count;
	struct gmm_source source;
	struct gmm_userfault *userfault;
	struct gmm_accel *accel;
	struct gmm_accel_stage2 stage2;
	struct gmm_guest *guest;
	struct run_memory snapshot, program_memory;
	struct gmm_program program;
	struct run_program_view view;
	struct gmm_fault_service *faults;
	struct gmm_repair_service *repair; /* of an event, or NULL */
	bool engine_rings;		   /* dirty rings of the engine: the accelerator has none */
	struct run_vcpu *vcpus;
	uint32_t vcpu_count; /* created */
	struct run_frames *frames;
	struct run_device *devices;
	uint32_t device_count;
	struct run_device_pages *device_pages;
	struct run_shadow *shadow;
	struct run_save *save;			  /* NULL: no --save */
	struct run_event events[RUN_EVENTS_MOST]; /* by row of event.c */

	struct run_failing failing;
	struct run_verifier verifier;
	struct run_evictor evictor;
	struct run_harvester harvester;
	struct run_worker verifier_worker, mover_worker, evictor_worker, harvester_worker,
		saver_worker, sampler_worker;
	struct run_sampler sampler;
	struct run_log log;

	struct run_sync sync;
	struct run_outcome outcome;
	uint64_t began_at;		 /* ns; before the threads: where --report begins */
	uint64_t started_at, stopped_at; /* ns; of the thread that watches */
	uint64_t final_pages;		 /* compared at the end */
	uint64_t ring_kicks; /* vCPUs that were in the guest when their rings were full; atomic */
	uint64_t room_kicks; /* ... when memory was far above its limit; atomic */
	uint64_t stop_kicks; /* vCPUs that were in the guest when they were asked to stop; likewise */
};

static inline void run_count(uint64_t *counter, uint64_t more)
{
	__atomic_fetch_add(counter, more, __ATOMIC_RELAXED);
}

static inline uint64_t run_load(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* Which vCPU a snapshot page belongs to (guest/abi.h). */
static inline uint32_t run_page_owner(const struct run *run, uint64_t page)
{
	return (uint32_t)(page / GUEST_BLOCK_PAGES % run->options.vcpus);
}

/*
 * setup.c. On failure one line was printed, everything made was undone, and the exit status is
 * returned; 0 otherwise. Teardown works on a run that is half set up.
 */
int run_setup(struct run *run);
void run_teardown(struct run *run);

/* vcpu.c */
int run_vcpus_create(struct run *run);
void run_vcpus_destroy(struct run *run);
int run_vcpus_start(struct run *run);
/* Asks all vCPUs to finish what they do and to park. */
void run_vcpus_stop(struct run *run);
bool run_vcpus_parked(const struct run *run);
void run_vcpus_join(struct run *run);
/* vCPUs that this thread has kicked since it last asked, a bit each. */
uint64_t run_vcpus_kicked_here(void);

/* faults.c */
int run_faults_start(struct run *run);
void run_faults_stop(struct run *run);
/* The snapshot cannot be read, or is not what it was: unusable input. */
void run_source_failed(struct run *run);
/* An operation on guest memory failed: the memory, the snapshot, or else `what` says why. */
void run_memory_failed(struct run *run, const char *what, int error);
/* Lets all vCPUs that wait in a fault try again. */
void run_faults_wake(struct run *run);

/* verifier.c, device.c, frames.c, evictor.c, harvester.c: the threads. */
void *run_verifier_thread(void *opaque);

int run_devices_create(struct run *run);
void run_devices_destroy(struct run *run);
/* -1: no thread to be had; it is in the outcome. */
int run_devices_start(struct run *run);
void run_devices_join(struct run *run);

int run_frames_create(struct run *run);
/* Its two slots; the guest is there. 0, or the exit status after a line was printed. */
int run_frames_place(struct run *run, gmm_gpa_t pages_gpa, gmm_gpa_t window_gpa);
void run_frames_destroy(struct run *run);
/* Caches of the vCPUs' frames; the vCPUs are there. */
int run_frames_use(struct run *run);
void run_frames_unuse(struct run *run);
uint64_t run_frames_of_guest(const struct run *run); /* frames in the window */
/* Between gmm_vcpu_enter() and gmm_vcpu_exit(): the frame of this vCPU's page. */
uint64_t run_frames_current(const struct run *run, uint32_t vcpu);
void *run_frames_mover_thread(void *opaque);
/*
 * The vCPUs have stopped: each page holds the count of each vCPU that uses it, and nobody was
 * kicked but for a move of its page or to stop.
 */
void run_frames_verify(struct run *run);
struct run_frames_counters {
	uint64_t moves, kicked, bystanders;
};
void run_frames_counters(const struct run *run, struct run_frames_counters *counters);

void *run_evictor_thread(void *opaque);
void run_evictor_want(struct run *run);
/* Pages: above that, who faults waits. */
uint64_t run_evictor_most(const struct run *run);
/* On a vCPU's thread, outside guest mode: until there is room, or a while. */
void run_evictor_wait_for_room(struct run *run);

int run_harvester_create(struct run *run);
void run_harvester_destroy(struct run *run);
void *run_harvester_thread(void *opaque);
/*
 * One pass over the log; 0 or an error, which was noted. Of one thread at a time. The last pass,
 * when nobody writes any more, is over the whole of it; others end early then.
 */
int run_harvest(struct run *run, bool last);

/* watch.c. From here on a first SIGINT or SIGTERM ends the run in order. */
void run_take_signals(void);
/* Returns when all vCPUs are parked, or must be given up. */
void run_watch(struct run *run);

/* final.c */
void run_final_compare(struct run *run);

uint64_t run_now(void);

#endif
