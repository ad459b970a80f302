/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Slots that appear, move, become longer and shorter, and disappear, while vCPUs and a device use
 * them and harvests and evictions go on. What goes may go under a vCPU's feet under KVM: there an
 * access to no memory is one to MMIO, and this file is the device that answers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../command.h"
#include "regions.h"
#include "results.h"
#include "run.h"

#include "guest/page.h"

#define FIRST_REGION 0u
#define REGIONS 3u
#define LEAST_PAGES 64u
#define SPACE_PAGES 2048u
/* Of a thousand steps so many touch a word of the space, whatever is there. */
#define TOUCH_PER_MILLE 50u
#define PAUSE_NS 5000000u
#define PLACES_TRIED 16u

static const uint64_t most_pages[REGIONS] = { 512, 256, 128 };

struct slots {
	struct run_regions *regions;
	uint64_t adds, moves, shrinks, grows, removes; /* of the event's thread, then read */
	uint64_t no_memory; /* slots not added: the host had no memory or no file */
	uint64_t under_use; /* of these: vCPUs were not waited for */
	/* Atomic: of vCPUs' threads. */
	uint64_t mmio_reads, mmio_writes, mmio_overtaken;
};

static uint64_t gpa_bytes(const struct run *run)
{
	return SPACE_PAGES * RUN_PAGE_BYTES;
}

/* Whether a touch of no memory is to be had: an exit, and not the end of the process. */
static bool has_mmio(const struct run *run)
{
	return run->ops == &gmm_accel_kvm;
}

static const char *caveat(const struct run *run)
{
	return has_mmio(run) ? NULL :
			       "slots do not move, nothing removed is touched, and vCPUs are "
			       "waited for before memory goes";
}

static int create(struct run_event *event)
{
	struct slots *slots = calloc(1, sizeof(*slots));
	struct guest_regions *table = event->run->program.regions;
	uint32_t i;

	event->state = slots;
	if (!slots || run_regions_create(event, FIRST_REGION, REGIONS, most_pages, &slots->regions))
		return run_refuse("out of memory for the regions of --events slots");
	slots->regions->has_space = true;
	table->space_gpa = event->gpa;
	table->space_bytes = event->bytes;
	for (i = 0; i < event->run->options.vcpus && has_mmio(event->run); i++)
		event->run->program.vcpus[i].mailbox.touch_per_mille = TOUCH_PER_MILLE;
	run_regions_open(slots->regions);
	return 0;
}

static void destroy(struct run_event *event)
{
	struct slots *slots = event->state;

	if (slots)
		run_regions_destroy(slots->regions);
	free(slots);
}

/* Whether a region could have all its pages there. */
static bool is_free(const struct run_guest_region *region, gmm_gpa_t gpa)
{
	const struct run_regions *regions = region->of;
	const struct run_event *event = regions->event;
	uint64_t bytes = region->most_pages << RUN_PAGE_SHIFT;
	uint32_t i;

	if (gpa < event->gpa || gpa + bytes > event->gpa + event->bytes)
		return false;
	for (i = 0; i < regions->count; i++) {
		const struct run_guest_region *other = &regions->region[i];

		if (other != region && other->pages &&
		    gpa < other->gpa + (other->most_pages << RUN_PAGE_SHIFT) &&
		    other->gpa < gpa + bytes)
			return false;
	}
	return true;
}

/* Somewhere, or, half of the time, so near to `near` that old and new place overlap. 0: nowhere. */
static gmm_gpa_t find_place(struct run_guest_region *region, gmm_gpa_t near)
{
	struct run_regions *regions = region->of;
	gmm_gpa_t gpa;
	uint32_t i;

	for (i = 0; i < PLACES_TRIED; i++) {
		if (near && run_regions_random(regions, 2))
			gpa = near +
			      ((run_regions_random(regions, 2 * region->pages) - region->pages)
			       << RUN_PAGE_SHIFT);
		else
			gpa = regions->event->gpa +
			      (run_regions_random(regions, SPACE_PAGES) << RUN_PAGE_SHIFT);
		if (gpa != near && is_free(region, gpa))
			return gpa;
	}
	return 0;
}

static uint64_t random_pages(struct run_guest_region *region, uint64_t least, uint64_t most)
{
	return least + run_regions_random(region->of, most - least + 1);
}

/* Announced, and nobody uses it any more: something may appear. */
static bool announce_and_wait(struct run_guest_region *region)
{
	run_region_announce(region);
	return run_region_wait_unused(region);
}

/* Announced: it may go. Under KVM, half of the time, while it is used. */
static bool announce_loss(struct slots *slots, struct run_guest_region *region)
{
	run_region_announce(region);
	if (has_mmio(region->of->run) && run_regions_random(region->of, 2)) {
		slots->under_use++;
		return true;
	}
	if (!run_region_wait_unused(region))
		return false;
	run_region_check(region);
	return true;
}

static void count_change(struct slots *slots, uint64_t *counter)
{
	++*counter;
	run_event_happened(slots->regions->event);
}

static void appear(struct slots *slots, struct run_guest_region *region)
{
	gmm_gpa_t gpa = find_place(region, 0);
	char text[GMM_BACKING_TEXT_SIZE];

	if (!gpa)
		return;
	if (announce_and_wait(region)) {
		if (run_region_add(region, gpa,
				   random_pages(region, LEAST_PAGES, region->most_pages), text))
			count_change(slots, &slots->adds);
		else
			slots->no_memory++;
	}
	run_region_settle(region);
}

static void move(struct slots *slots, struct run_guest_region *region)
{
	gmm_gpa_t gpa = find_place(region, region->gpa);

	if (!gpa || !has_mmio(region->of->run))
		return;
	if (announce_and_wait(region)) {
		run_region_move(region, gpa);
		count_change(slots, &slots->moves);
	}
	run_region_settle(region);
}

static void shrink(struct slots *slots, struct run_guest_region *region)
{
	if (region->pages == 1)
		return;
	if (announce_loss(slots, region)) {
		run_region_resize(region, random_pages(region, 1, region->pages - 1));
		count_change(slots, &slots->shrinks);
	}
	run_region_settle(region);
}

static void grow(struct slots *slots, struct run_guest_region *region)
{
	if (region->pages == region->most_pages)
		return;
	if (announce_and_wait(region)) {
		run_region_resize(region,
				  random_pages(region, region->pages + 1, region->most_pages));
		count_change(slots, &slots->grows);
	}
	run_region_settle(region);
}

static void disappear(struct slots *slots, struct run_guest_region *region)
{
	if (announce_loss(slots, region)) {
		run_region_remove(region);
		count_change(slots, &slots->removes);
	}
	run_region_settle(region);
}

static void change(struct slots *slots)
{
	struct run_regions *regions = slots->regions;
	struct run_guest_region *region = &regions->region[run_regions_random(regions, REGIONS)];

	if (!region->pages) {
		appear(slots, region);
		return;
	}
	switch (run_regions_random(regions, 8)) {
	case 0 ... 2:
		move(slots, region);
		break;
	case 3:
		shrink(slots, region);
		break;
	case 4 ... 5:
		grow(slots, region);
		break;
	case 6:
		disappear(slots, region);
		break;
	default:
		run_region_harvest(region);
	}
}

static void *thread(void *opaque)
{
	struct run_event *event = opaque;
	struct slots *slots = event->state;
	struct run_regions *regions = slots->regions;
	struct run *run = event->run;

	if (run_worker_start(run, &regions->device, "slots device", run_region_device_thread,
			     regions))
		return NULL;
	while (run_phase(run) == RUN_GOING && !run_abandoned(run)) {
		change(slots);
		run_pause(run, RUN_GOING, PAUSE_NS);
	}
	run_worker_join(run, &regions->device);
	return NULL;
}

static void verify(struct run_event *event)
{
	struct slots *slots = event->state;

	run_regions_verify(slots->regions);
}

static bool in_a_region(const struct guest_regions *table, gmm_gpa_t gpa)
{
	uint32_t i;

	for (i = FIRST_REGION; i < FIRST_REGION + REGIONS; i++) {
		gmm_gpa_t start = __atomic_load_n(&table->region[i].gpa, __ATOMIC_RELAXED);
		uint64_t pages = __atomic_load_n(&table->region[i].pages, __ATOMIC_RELAXED);

		if (gpa >= start && gpa - start < pages << RUN_PAGE_SHIFT)
			return true;
	}
	return false;
}

/* Whether nothing has changed in the space since the vCPU looked, so that all is certain. */
static bool is_certain(const struct guest_regions *table, const struct guest_touch *touch)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return !(touch->layout & 1) &&
	       __atomic_load_n(&table->layout, __ATOMIC_RELAXED) == touch->layout;
}

static void answer(const struct run *run, const struct gmm_accel_exit *exit)
{
	uint64_t word = guest_touch_word(run->options.seed, exit->mmio.gpa & ~(gmm_gpa_t)7);

	if (exit->mmio.gpa % 8 + exit->mmio.length <= 8)
		memcpy(exit->mmio.data, (char *)&word + exit->mmio.gpa % 8, exit->mmio.length);
}

static bool is_the_touch(const struct guest_touch *touch, const struct gmm_accel_exit *exit)
{
	bool is_write = touch->kind == GUEST_TOUCH_WRITE;

	return exit->mmio.gpa == touch->gpa && exit->mmio.length == 8 &&
	       exit->mmio.is_write == is_write &&
	       (!is_write || !memcmp(exit->mmio.data, &touch->value, 8));
}

static bool mmio(struct run_event *event, uint32_t vcpu, const struct gmm_accel_exit *exit)
{
	struct run *run = event->run;
	struct slots *slots = event->state;
	const struct guest_regions *table = run->program.regions;
	/* The vCPU is outside guest mode. */
	const struct guest_touch *touch = &run->program.vcpus[vcpu].mailbox.touch;
	bool memory = in_a_region(table, exit->mmio.gpa);
	bool certain = is_certain(table, touch);

	if (!exit->mmio.is_write)
		answer(run, exit);
	if (touch->kind == GUEST_TOUCH_PAGE && !certain) {
		run_count(&slots->mmio_overtaken, 1);
		return true;
	}
	if (touch->kind == GUEST_TOUCH_PAGE || (certain && memory))
		run_lost(run, "slots: vCPU %u: GPA 0x%llx is memory, and was no memory for it",
			 vcpu, (unsigned long long)exit->mmio.gpa);
	else if (!is_the_touch(touch, exit))
		run_lost(
			run,
			"slots: vCPU %u: %s of %u bytes at GPA 0x%llx is not what it did: expected "
			"8 bytes at 0x%llx",
			vcpu, exit->mmio.is_write ? "write" : "read", exit->mmio.length,
			(unsigned long long)exit->mmio.gpa, (unsigned long long)touch->gpa);
	run_count(exit->mmio.is_write ? &slots->mmio_writes : &slots->mmio_reads, 1);
	return true;
}

static void failure(struct run_event *event, char *text, size_t size)
{
	struct slots *slots = event->state;

	if (slots && slots->regions)
		run_regions_failure(slots->regions, text, size);
}

static void collect(struct run_event *event, struct run_results *results)
{
	const struct slots *slots = event->state;
	const struct {
		const char *name, *label;
		uint64_t value;
	} rows[] = {
		{ "adds", "slots added", slots->adds },
		{ "no_memory", "not added: no memory", slots->no_memory },
		{ "moves", "moved", slots->moves },
		{ "shrinks", "made shorter", slots->shrinks },
		{ "grows", "made longer", slots->grows },
		{ "removes", "removed", slots->removes },
		{ "under_use", "taken away under use", slots->under_use },
		{ "mmio_reads", "MMIO reads", run_load(&slots->mmio_reads) },
		{ "mmio_writes", "MMIO writes", run_load(&slots->mmio_writes) },
		{ "mmio_overtaken", "MMIO for accesses overtaken",
		  run_load(&slots->mmio_overtaken) },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		run_results_add(results, "slots", rows[i].name, rows[i].label, RUN_UNIT_COUNT,
				rows[i].value);
	run_regions_collect(slots->regions, "slots", results);
}

const struct run_event_ops run_event_slots = {
	.name = "slots",
	.what = "slots appear, move, change size, disappear",
	.unavailable = run_regions_unavailable,
	.gpa_bytes = gpa_bytes,
	.caveat = caveat,
	.create = create,
	.destroy = destroy,
	.thread = thread,
	.verify = verify,
	.collect = collect,
	.failure = failure,
	.mmio = mmio,
};
