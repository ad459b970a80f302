/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Asynchronous I/O into guest memory (async_device.c), while that memory is evicted, discarded,
 * changed in place and moved with its slot by another thread.
 */
#include <stdlib.h>

#include "../command.h"
#include "async_device.h"
#include "event_pages.h"
#include "results.h"
#include "run.h"

#include "guest/hash.h"

#define PAGES 32u
#define PAGES_MOST_CHANGED 6u
#define PAUSE_NS 200000u

struct io_counters {
	uint64_t changes, evicted, discarded;
};

struct event_io {
	struct run_memory memory;
	struct run_event_pages pages;
	struct run_async *async;
	struct run_event_slot slot;
	struct io_counters counters; /* of the event's thread */
};

static const char *unavailable(const struct run *run)
{
	const char *reason = run_event_memory_unavailable(run);

	if (reason)
		return reason;
	if (run_event_memory_kind(run) == GMM_MEMORY_KIND_ANONYMOUS &&
	    !(gmm_userfault_abilities(run->userfault) & GMM_USERFAULT_KERNEL))
		return "anonymous memory here gets no faults of the kernel (vm.unprivileged_userfaultfd)";
	return run_async_unavailable();
}

/* Twice the pages: there is room to move to. */
static uint64_t gpa_bytes(const struct run *run)
{
	return 2 * PAGES * RUN_PAGE_BYTES;
}

static gmm_gfn_t home(const struct run_event *event)
{
	return event->gpa >> RUN_PAGE_SHIFT;
}

static int create(struct run_event *event)
{
	struct run *run = event->run;
	struct gmm_memory_config config = {
		.kind = run_event_memory_kind(run),
		.page_count = PAGES,
		.page_shift = RUN_PAGE_SHIFT,
	};
	struct event_io *io = calloc(1, sizeof(*io));
	int status;

	event->state = io;
	if (!io || run_event_pages_create(event, PAGES, &io->pages))
		return run_refuse("out of memory");
	io->slot = (struct run_event_slot){ .id = event->first_slot, .home = home(event) };
	status = run_memory_create(run, &io->memory, &config, event->gpa);
	if (!status)
		status = run_memory_add_slot(run, &io->memory, event->first_slot,
					     GMM_SLOT_LOG_DIRTY);
	if (status)
		return status;
	gmm_memory_attach_userfault(io->memory.memory, gmm_userfault_descriptor(run->userfault));
	return run_async_create(event, &io->pages, &io->async);
}

static void destroy(struct run_event *event)
{
	struct event_io *io = event->state;

	if (!io)
		return;
	run_async_destroy(io->async);
	if (io->memory.memory)
		gmm_memory_attach_userfault(io->memory.memory, -1);
	run_memory_remove_slot(event->run, &io->memory);
	run_memory_destroy(&io->memory);
	run_event_pages_destroy(&io->pages);
	free(io);
	event->state = NULL;
}

static void failed(struct run_event *event, int error)
{
	run_memory_failed(event->run, "memory of asynchronous I/O cannot be changed", error);
}

/* Begin, look whether the I/O is over as it must be, end. */
static void change(struct run_event *event, uint32_t page, uint32_t count, bool by_hva)
{
	struct event_io *io = event->state;
	struct gmm_guest *guest = event->run->guest;
	uint64_t hva = (uintptr_t)io->memory.hva;
	struct gmm_range range = { home(event) + page, home(event) + page + count };
	enum gmm_range_kind kind = by_hva ? GMM_RANGE_HVA : GMM_RANGE_GFN;
	uint32_t i;
	int error;

	if (by_hva)
		range = (struct gmm_range){ hva + page * RUN_PAGE_BYTES,
					    hva + (page + count) * RUN_PAGE_BYTES };
	error = gmm_invalidate_begin(guest, kind, &range, 1, 0, NULL);
	if (error) {
		failed(event, error);
		return;
	}
	for (i = page; i < page + count; i++)
		if (run_async_in_flight(io->async, i))
			run_lost(event->run,
				 "io, page %u: it is being changed while I/O is in flight", i);
	gmm_invalidate_end(guest, kind, &range, 1);
	run_count(&io->counters.changes, 1);
	run_event_happened(event);
}

static void evict(struct run_event *event, uint32_t page, uint32_t count)
{
	struct event_io *io = event->state;
	int64_t evicted = gmm_evict(event->run->guest, home(event) + page, count, 0);

	if (evicted < 0 && !run_failing_try_again(event->run, evicted))
		failed(event, (int)evicted);
	if (evicted > 0)
		run_count(&io->counters.evicted, (uint64_t)evicted);
	run_event_happened(event);
}

/* Other pages of the block may be leased: the discard waits for them. */
static void discard(struct run_event *event, uint32_t page)
{
	struct event_io *io = event->state;
	int error;

	if (!run_async_claim(io->async, page))
		return;
	do
		error = gmm_discard(event->run->guest, home(event) + page, 1);
	while (error && run_failing_try_again(event->run, error));
	if (error)
		failed(event, error);
	else
		io->pages.version[page] = 0;
	run_async_release(io->async, page);
	run_count(&io->counters.discarded, !error);
	run_event_happened(event);
}

static void disturb(struct run_event *event, uint64_t random)
{
	struct event_io *io = event->state;
	uint32_t page = (uint32_t)(random >> 8) % PAGES;
	uint32_t count = 1 + (uint32_t)(random >> 40) % PAGES_MOST_CHANGED;
	int error;

	run_event_happened(event);
	if (count > PAGES - page)
		count = PAGES - page;
	switch (random % 8) {
	case 0:
	case 1:
		change(event, page, count, random & 8);
		return;
	case 2:
	case 3:
	case 4:
		evict(event, page, count);
		return;
	case 5:
		discard(event, page);
		return;
	case 6:
		error = run_event_slot_change(event, &io->slot, PAGES);
		if (error)
			failed(event, error);
		return;
	default:
		run_event_pages_harvest(&io->pages, event->first_slot, home(event), 0, PAGES);
	}
}

static void *disturb_thread(void *opaque)
{
	struct run_event *event = opaque;
	struct event_io *io = event->state;
	struct run *run = event->run;
	uint64_t random = ~run->options.seed;

	if (!run_async_start(io->async))
		while (run_phase(run) < RUN_QUIET && !run_abandoned(run)) {
			random = guest_mix(random + 1);
			disturb(event, random);
			run_pause(run, RUN_GOING, PAUSE_NS);
		}
	run_async_join(io->async);
	return NULL;
}

static void verify(struct run_event *event)
{
	struct event_io *io = event->state;

	run_event_pages_verify(&io->pages, event->first_slot, home(event), 0, PAGES);
}

static void collect(struct run_event *event, struct run_results *results)
{
	struct event_io *io = event->state;
	struct gmm_guest_counters guest;
	struct run_async_counters async;

	gmm_guest_read_counters(event->run->guest, &guest);
	run_async_counters(io->async, &async);
	const struct {
		const char *name, *label;
		uint64_t value;
	} rows[] = {
		{ "reads", "from the file into guest memory", async.reads },
		{ "writes", "from guest memory into the file", async.writes },
		{ "most_in_flight", "in flight at most", async.most_in_flight },
		{ "leases", "leases", guest.leases },
		{ "asked", "holders asked for them", async.asked },
		{ "lease_waits", "changes that waited for them", guest.lease_waits },
		{ "not_evicted", "leased pages not evicted", guest.lease_passed },
		{ "not_now", "leases refused: change under way", async.again },
		{ "slot_away", "leases refused: slot away", async.away },
		{ "changes", "changes by others", io->counters.changes },
		{ "evicted", "pages evicted", io->counters.evicted },
		{ "discarded", "pages discarded", io->counters.discarded },
		{ "slot_changes", "changes of the slot", io->slot.changes },
		{ "slot_moves", "of these moves away and back", io->slot.moves },
		{ "harvested", "pages harvested", io->pages.harvested },
	};
	uint32_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		run_results_add(results, "io", rows[i].name, rows[i].label, RUN_UNIT_COUNT,
				rows[i].value);
}

const struct run_event_ops run_event_io = {
	.name = "io",
	.what = "asynchronous I/O by leases (io_uring)",
	.unavailable = unavailable,
	.gpa_bytes = gpa_bytes,
	.create = create,
	.destroy = destroy,
	.thread = disturb_thread,
	.verify = verify,
	.collect = collect,
};
