/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What is forced, for each protection:
 *
 *   protect   one page that a vCPU keeps writing is evicted; after it was written out the evictor
 *             waits until the vCPU has written it again, or is held
 *   wake      the same, and it waits until a fault was held
 *   sections  the device stays in its section until the pages under its pointer were evicted
 *   retry     a refresh of the device waits, before it publishes, until its pages were evicted
 *
 * Where the protection is in place some of these events cannot come, so each wait has a bound. A
 * bound that is reached too early can only hide a loss, never make one up.
 */
#include "hold.h"

#include <sched.h>

#include <gmm_port/step.h>

#include "run.h"

#include "guest/page.h"

#if GMM_STEPS

#define BOUND_NS 5000000u
/* The hot set of a vCPU, from which the evictor takes its pages. */
#define HOT_PAGES 4u
/* Of so many sections of the device one is held. */
#define SECTION_ONE_OF 4u

static struct {
	struct run *run;
	uint64_t page, count; /* the device's request; count is atomic, 0: none */
	uint64_t turns;	      /* of the evictor, in protect and wake */
	uint64_t sections;    /* of the device */
} hold;

static _Thread_local uint64_t evicting; /* page + 1 */
static _Thread_local uint64_t refreshing, refreshing_count;

static bool holds(const struct run *run, uint32_t protections)
{
	return run->options.hold & protections;
}

static bool gives_up(const struct run *run)
{
	return run_phase(run) != RUN_GOING || run_abandoned(run);
}

static uint64_t faults_held(const struct run *run)
{
	struct gmm_guest_counters counters;

	gmm_guest_read_counters(run->guest, &counters);
	return counters.faults_held;
}

/* The page is resident, and the evictor owns its state. */
static uint64_t version_in_page(const struct run *run, uint64_t page)
{
	const struct guest_page_header *header =
		(const void *)((const char *)gmm_memory_engine_address(run->snapshot.memory) +
			       page * RUN_PAGE_BYTES);

	return __atomic_load_n(&header->version, __ATOMIC_RELAXED);
}

static void hold_evictor(struct run *run, uint64_t page)
{
	uint64_t until = run_now() + BOUND_NS;
	uint64_t held = faults_held(run);
	uint64_t version = version_in_page(run, page);

	while (!gives_up(run) && run_now() < until) {
		if (faults_held(run) != held)
			return;
		if (holds(run, GMM_LEAVE_OUT_PROTECT) && version_in_page(run, page) != version)
			return;
		sched_yield();
	}
}

/* Hands pages to the evictor and waits until they are gone. */
static void wait_evicted(struct run *run, uint64_t page, uint64_t count, uint64_t bound)
{
	uint64_t until = run_now() + bound;

	hold.page = page;
	__atomic_store_n(&hold.count, count, __ATOMIC_RELEASE);
	run_evictor_want(run);
	while (__atomic_load_n(&hold.count, __ATOMIC_ACQUIRE) && !gives_up(run) &&
	       run_now() < until)
		sched_yield();
}

static void step(enum gmm_step_point point)
{
	uint64_t page = refreshing, count = refreshing_count;

	if (point == GMM_STEP_EVICT_WRITTEN && evicting)
		hold_evictor(hold.run, evicting - 1);
	if (point == GMM_STEP_REFRESH_PUBLISH && count) {
		/* Once: the attempt after it must come to an end. */
		refreshing_count = 0;
		wait_evicted(hold.run, page, count, 50 * BOUND_NS);
	}
}

void run_hold_start(struct run *run)
{
	struct guest_mailbox *mailbox;
	uint32_t i;

	if (!run->options.hold)
		return;
	hold.run = run;
	hold.count = 0;
	hold.turns = 0;
	for (i = 0; i < run->vcpu_count && holds(run, GMM_LEAVE_OUT_PROTECT | GMM_LEAVE_OUT_WAKE);
	     i++) {
		mailbox = &run->program.vcpus[i].mailbox;
		mailbox->hot_pages = HOT_PAGES;
		mailbox->weight_hot = 20;
		mailbox->write_percent = 90;
		mailbox->io_depth = 0;
	}
	gmm_step_hook_set(step);
}

void run_hold_stop(struct run *run)
{
	gmm_step_hook_set(NULL);
}

bool run_hold_evict(struct run *run)
{
	uint64_t gfn = run->snapshot.gpa >> RUN_PAGE_SHIFT;
	uint64_t count = __atomic_load_n(&hold.count, __ATOMIC_ACQUIRE);

	if (count) {
		gmm_evict(run->guest, gfn + hold.page, count, 0);
		__atomic_store_n(&hold.count, 0, __ATOMIC_RELEASE);
		return true;
	}
	if (!holds(run, GMM_LEAVE_OUT_PROTECT | GMM_LEAVE_OUT_WAKE) || gives_up(run))
		return false;
	/* The first block of a vCPU begins with its hot set. */
	hold.turns++;
	evicting = hold.turns % run->vcpu_count * GUEST_BLOCK_PAGES +
		   hold.turns / run->vcpu_count % HOT_PAGES + 1;
	if (evicting <= run->page_count)
		gmm_evict(run->guest, gfn + evicting - 1, 1, 0);
	evicting = 0;
	sched_yield();
	return true;
}

void run_hold_refresh(struct run *run, uint64_t page, uint64_t count)
{
	if (!holds(run, GMM_LEAVE_OUT_RETRY))
		return;
	refreshing = page;
	refreshing_count = count;
}

void run_hold_section(struct run *run, uint64_t page, uint64_t count)
{
	if (holds(run, GMM_LEAVE_OUT_SECTIONS) && hold.sections++ % SECTION_ONE_OF == 0)
		wait_evicted(run, page, count, BOUND_NS);
}

bool run_hold_frames(const struct run *run)
{
	/* A kick would make a vCPU that hangs fault again. */
	return holds(run, GMM_LEAVE_OUT_WAKE);
}

#endif
