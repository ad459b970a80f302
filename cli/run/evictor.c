/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Keeps the guest's memory under its limit. The fault service tells when it is above, and lets vCPUs
 * wait that fault when it is far above: on busy CPUs they would fill memory faster than one thread
 * evicts it.
 */
#include <poll.h>
#include <sys/eventfd.h>

#include "../command.h"
#include "hold.h"
#include "run.h"

#define IDLE_MS 50
/* What a trim goes below the limit by, so that not every fault asks for one. */
#define SLACK_ONE_OF 16u
#define SLACK_MOST_PAGES 4096u
/* vCPUs wait when memory is at twice the limit, or so many pages above it. */
#define ABOVE_LEAST_PAGES 256u
/* At most so long for a fault: where evicting fails they still go on, slowly. */
#define ROOM_MOST_NS 100000000u
#define ROOM_PAUSE_NS 500000u

void run_evictor_want(struct run *run)
{
	if (!__atomic_exchange_n(&run->evictor.wanted, 1, __ATOMIC_ACQ_REL))
		eventfd_write(run->evictor.wakeup, 1);
}

uint64_t run_evictor_most(const struct run *run)
{
	uint64_t limit = run->evictor.limit;

	return limit + (limit > ABOVE_LEAST_PAGES ? limit : ABOVE_LEAST_PAGES);
}

void run_evictor_wait_for_room(struct run *run)
{
	uint64_t until = run_now() + ROOM_MOST_NS;

	while (gmm_resident_pages(run->guest) > run->evictor.limit && run_now() < until &&
	       run_phase(run) == RUN_GOING && !run_abandoned(run)) {
		run_evictor_want(run);
		run_pause(run, RUN_GOING, ROOM_PAUSE_NS);
	}
}

static void wait_wanted(struct run *run)
{
	struct pollfd descriptor = { .fd = run->evictor.wakeup, .events = POLLIN };
	eventfd_t value;

	if (poll(&descriptor, 1, IDLE_MS) > 0)
		eventfd_read(run->evictor.wakeup, &value);
	__atomic_store_n(&run->evictor.wanted, 0, __ATOMIC_RELEASE);
}

static void trim(struct run *run)
{
	struct run_evictor *evictor = &run->evictor;
	uint64_t resident = run_resident_pages(run);
	uint64_t slack = evictor->limit / SLACK_ONE_OF;
	int64_t evicted;

	if (resident > run_load(&evictor->most_resident))
		__atomic_store_n(&evictor->most_resident, resident, __ATOMIC_RELAXED);
	if (resident <= evictor->limit)
		return;
	if (slack > SLACK_MOST_PAGES)
		slack = SLACK_MOST_PAGES;
	evicted = gmm_resident_trim(run->guest, evictor->limit - slack);
	run_count(&evictor->trims, 1);
	if (evicted < 0 && !run_failing_try_again(run, evicted))
		run_memory_failed(run, "memory cannot be evicted", (int)evicted);
}

void *run_evictor_thread(void *opaque)
{
	struct run *run = opaque;

	while (run_phase(run) < RUN_QUIET && !run_abandoned(run)) {
		if (!run_hold_evict(run))
			wait_wanted(run);
		trim(run);
	}
	return NULL;
}
