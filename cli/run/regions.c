/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "regions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../command.h"
#include "failing.h"
#include "memory_kind.h"
#include "results.h"
#include "run.h"

#include "guest/page.h"

#define WAIT_NS 50000u
/* Uses of regions by a vCPU in a thousand steps. */
#define REGION_PER_MILLE 400u

uint64_t run_regions_random(struct run_regions *regions, uint64_t below)
{
	regions->random = guest_mix(regions->random + 1);
	return below ? regions->random % below : 0;
}

const char *run_regions_unavailable(const struct run *run)
{
	return run_is_resident(run) ?
		       "its memory is paged in: use --memory-kind memfd or anonymous" :
		       NULL;
}

int run_regions_create(struct run_event *event, uint32_t first, uint32_t count,
		       const uint64_t *most_pages, struct run_regions **out)
{
	struct run_regions *regions = calloc(1, sizeof(*regions));
	uint32_t i;

	if (!regions)
		return -GMM_ENOMEM;
	*out = regions;
	regions->run = event->run;
	regions->event = event;
	regions->table = event->run->program.regions;
	regions->random = guest_mix(event->run->options.seed + first);
	pthread_mutex_init(&regions->device_lock, NULL);
	pthread_mutex_init(&regions->memory_lock, NULL);
	for (i = 0; i < count; i++) {
		struct run_guest_region *region = &regions->region[i];

		region->of = regions;
		region->number = first + i;
		region->slot = event->first_slot + i;
		region->most_pages = most_pages[i];
		region->copy = calloc(most_pages[i], RUN_PAGE_BYTES);
		regions->count++;
		if (!region->copy)
			return -GMM_ENOMEM;
		regions->table->region[first + i].most_pages = most_pages[i];
	}
	return 0;
}

static void set_memory(struct run_guest_region *region, struct gmm_memory *memory)
{
	pthread_mutex_lock(&region->of->memory_lock);
	region->memory = memory;
	pthread_mutex_unlock(&region->of->memory_lock);
}

static void close_memory(struct run_guest_region *region)
{
	struct gmm_memory *memory = region->memory;

	if (!memory)
		return;
	set_memory(region, NULL);
	gmm_memory_attach_userfault(memory, -1);
	gmm_memory_close(memory);
}

void run_regions_failure(struct run_regions *regions, char *text, size_t size)
{
	uint32_t i;

	pthread_mutex_lock(&regions->memory_lock);
	for (i = 0; i < regions->count && !*text; i++)
		if (regions->region[i].memory)
			gmm_memory_failure(regions->region[i].memory, text, size);
	pthread_mutex_unlock(&regions->memory_lock);
}

void run_regions_destroy(struct run_regions *regions)
{
	uint32_t i;

	if (!regions)
		return;
	for (i = 0; i < regions->count; i++) {
		struct run_guest_region *region = &regions->region[i];

		if (region->has_slot)
			gmm_slot_remove(regions->run->guest, region->slot);
		close_memory(region);
		free(region->copy);
	}
	pthread_mutex_destroy(&regions->device_lock);
	pthread_mutex_destroy(&regions->memory_lock);
	free(regions);
}

void run_regions_open(struct run_regions *regions)
{
	uint32_t i;

	for (i = 0; i < regions->run->options.vcpus; i++)
		__atomic_store_n(&regions->run->program.vcpus[i].mailbox.region_per_mille,
				 REGION_PER_MILLE, __ATOMIC_RELAXED);
}

static struct guest_region *entry_of(const struct run_guest_region *region)
{
	return &region->of->table->region[region->number];
}

static uint64_t *layout_of(const struct run_guest_region *region)
{
	return &region->of->table->layout;
}

/* One thread writes it. */
static void advance(uint64_t *generation)
{
	__atomic_store_n(generation, *generation + 1, __ATOMIC_SEQ_CST);
}

void run_region_announce(struct run_guest_region *region)
{
	if (region->of->has_space)
		advance(layout_of(region));
	advance(&entry_of(region)->generation);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void run_region_settle(struct run_guest_region *region)
{
	struct guest_region *entry = entry_of(region);

	__atomic_store_n(&entry->gpa, region->gpa, __ATOMIC_RELAXED);
	__atomic_store_n(&entry->pages, region->pages, __ATOMIC_RELAXED);
	advance(&entry->generation);
	if (region->of->has_space)
		advance(layout_of(region));
}

void run_region_zeroed(struct run_guest_region *region, uint64_t first, uint64_t count)
{
	struct guest_region_page *pages = region->of->table->page[region->number];
	uint64_t generation = entry_of(region)->generation + 1;
	uint64_t i;

	for (i = first; i < first + count; i++)
		__atomic_store_n(&pages[i].zeroed, generation, __ATOMIC_RELEASE);
}

bool run_region_wait_unused(struct run_guest_region *region)
{
	struct run *run = region->of->run;
	uint64_t asked[GUEST_VCPUS_MAX];
	uint32_t i;

	for (i = 0; i < run->vcpu_count; i++)
		asked[i] = __atomic_add_fetch(&run->program.vcpus[i].mailbox.announced, 1,
					      __ATOMIC_SEQ_CST);
	for (i = 0; i < run->vcpu_count; i++)
		while (__atomic_load_n(&run->program.vcpus[i].mailbox.acknowledged,
				       __ATOMIC_ACQUIRE) < asked[i] &&
		       !__atomic_load_n(&run->vcpus[i].parked, __ATOMIC_ACQUIRE)) {
			if (run_abandoned(run))
				return false;
			run_pause(run, run_phase(run), WAIT_NS);
		}
	return true;
}

/* Names the change that failed; its region is not used any more. */
static void give_up(struct run_guest_region *region, const char *what, int error)
{
	char text[GMM_BACKING_TEXT_SIZE] = "";

	run_regions_failure(region->of, text, sizeof(text));
	if (*text) {
		run_abandon(region->of->run, GMM_EXIT_LOST, "%s", text);
		return;
	}
	run_abandon(region->of->run, GMM_EXIT_LOST,
		    "%s: region %u of %llu pages at GPA 0x%llx %s: %s",
		    region->of->event->ops->name, region->number, (unsigned long long)region->pages,
		    (unsigned long long)region->gpa, what, run_error_text(error));
}

static int make_memory(struct run_guest_region *region, gmm_gpa_t gpa, char *text)
{
	struct run *run = region->of->run;
	struct gmm_memory_config config = {
		.kind = run->options.memory_kind == GMM_MEMORY_KIND_ANONYMOUS ?
				GMM_MEMORY_KIND_ANONYMOUS :
				GMM_MEMORY_KIND_MEMFD,
		.page_count = region->most_pages,
		.page_shift = RUN_PAGE_SHIFT,
		.vcpu_address = run->ops->vcpu_address(run->accel, gpa,
						       region->most_pages << RUN_PAGE_SHIFT),
	};
	struct gmm_memory *memory;
	int error = gmm_memory_create(&config, &memory, text, GMM_BACKING_TEXT_SIZE);

	if (error)
		return error;
	/* Before there is a slot: a vCPU that reads where nothing is faults at once. */
	gmm_memory_attach_userfault(memory, gmm_userfault_descriptor(run->userfault));
	set_memory(region, memory);
	return 0;
}

bool run_region_add(struct run_guest_region *region, gmm_gpa_t gpa, uint64_t pages,
		    char text[GMM_BACKING_TEXT_SIZE])
{
	struct run *run = region->of->run;
	struct gmm_slot_config config = {
		.id = region->slot,
		.flags = GMM_SLOT_LOG_DIRTY,
		.gfn = gpa >> RUN_PAGE_SHIFT,
		.count = pages,
	};
	int error;

	*text = 0;
	if (make_memory(region, gpa, text))
		return false;
	config.hva = (uintptr_t)gmm_memory_vcpu_address(region->memory);
	config.memory = region->memory;
	config.memory_ops = gmm_memory_ops_of(region->memory);
	do {
		error = gmm_slot_add(run->guest, &config);
	} while (error && run_failing_try_again(run, error));
	region->gpa = gpa;
	region->pages = pages;
	if (error) {
		give_up(region, "cannot be added", error);
		return true;
	}
	region->has_slot = true;
	memset(region->copy, 0, region->most_pages << RUN_PAGE_SHIFT);
	run_region_zeroed(region, 0, pages);
	return true;
}

void run_region_move(struct run_guest_region *region, gmm_gpa_t gpa)
{
	struct run *run = region->of->run;
	int error;

	do {
		error = gmm_slot_move(run->guest, region->slot, gpa >> RUN_PAGE_SHIFT);
	} while (error && run_failing_try_again(run, error));
	if (error)
		give_up(region, "cannot be moved", error);
	else
		region->gpa = gpa;
}

/* What is cut off is thrown away, so that it is zero when it comes back. */
static int drop_tail(struct run_guest_region *region, uint64_t first, uint64_t end)
{
	int error = 0;

	if (end > first)
		error = gmm_memory_ops_of(region->memory)
				->discard(region->memory, first, (uint32_t)(end - first));
	memset(region->copy + (first << RUN_PAGE_SHIFT), 0,
	       (region->most_pages - first) << RUN_PAGE_SHIFT);
	return error;
}

void run_region_resize(struct run_guest_region *region, uint64_t pages)
{
	struct run *run = region->of->run;
	uint64_t before = region->pages;
	int error;

	do {
		error = gmm_slot_resize(run->guest, region->slot, pages);
	} while (error && run_failing_try_again(run, error));
	if (!error && pages < before)
		error = drop_tail(region, pages, before);
	if (error) {
		give_up(region, "cannot be resized", error);
		return;
	}
	region->pages = pages;
	if (pages > before)
		run_region_zeroed(region, before, pages - before);
}

void run_region_remove(struct run_guest_region *region)
{
	int error = gmm_slot_remove(region->of->run->guest, region->slot);

	if (error) {
		give_up(region, "cannot be removed", error);
		return;
	}
	region->has_slot = false;
	region->pages = 0;
	close_memory(region);
}

/* Harvests and what they are good for. */

static int read_page(struct run_guest_region *region, uint64_t page, void *contents)
{
	struct run *run = region->of->run;
	int error;

	do {
		error = gmm_page_read(run->guest, (region->gpa >> RUN_PAGE_SHIFT) + page, contents);
	} while (error && run_failing_try_again(run, error));
	if (error)
		give_up(region, "cannot be read", error);
	return error;
}

void run_region_harvest(struct run_guest_region *region)
{
	struct run *run = region->of->run;
	uint64_t bitmap[GUEST_REGION_PAGES / 64] = { 0 };
	int64_t taken;
	uint64_t page;

	do {
		taken = gmm_dirty_harvest(run->guest, region->slot, 0, region->pages, bitmap);
	} while (taken < 0 && run_failing_try_again(run, taken));
	if (taken < 0) {
		give_up(region, "cannot be harvested", (int)taken);
		return;
	}
	for (page = 0; page < region->pages; page++)
		if (bitmap[page / 64] >> page % 64 & 1 &&
		    read_page(region, page, region->copy + (page << RUN_PAGE_SHIFT)))
			return;
	run_count(&region->of->counters.harvested, (uint64_t)taken);
}

static void compare_copy(struct run_guest_region *region, uint64_t page, const uint64_t *found)
{
	const uint64_t *expected = (const uint64_t *)(region->copy + (page << RUN_PAGE_SHIFT));
	uint32_t word = 0;

	if (!memcmp(expected, found, RUN_PAGE_BYTES))
		return;
	while (expected[word] == found[word])
		word++;
	run_lost(
		region->of->run,
		"%s: region %u, page %llu (GPA 0x%llx): harvests are not the memory: from byte %u on "
		"expected %016llx, found %016llx",
		region->of->event->ops->name, region->number, (unsigned long long)page,
		(unsigned long long)(region->gpa + (page << RUN_PAGE_SHIFT)), word * 8,
		(unsigned long long)expected[word], (unsigned long long)found[word]);
}

enum run_region_contents run_region_expected(const struct guest_region_page *meta)
{
	if (__atomic_load_n(&meta->zeroed, __ATOMIC_ACQUIRE) > meta->known)
		return RUN_REGION_ZERO;
	if (meta->state == GUEST_REGION_PAGE_UNKNOWN)
		return RUN_REGION_UNKNOWN;
	return meta->version ? RUN_REGION_WRITTEN : RUN_REGION_ZERO;
}

bool run_region_page_good(const struct run_guest_region *region, uint64_t page, const void *found,
			  enum run_region_contents contents, uint32_t *wrong)
{
	const struct guest_region_page *meta = &region->of->table->page[region->number][page];
	struct guest_page_expect expect = guest_region_expect(
		region->of->run->options.seed, region->number, (uint32_t)page, meta->version);

	if (contents == RUN_REGION_UNKNOWN)
		return true;
	return contents == RUN_REGION_ZERO ? guest_page_is_zero(found, wrong) :
					     guest_page_verify(found, &expect, wrong);
}

static void compare_record(struct run_guest_region *region, uint64_t page, const uint64_t *found)
{
	const struct guest_region_page *meta = &region->of->table->page[region->number][page];
	enum run_region_contents contents = run_region_expected(meta);
	uint32_t owner = (uint32_t)(page % (region->of->run->options.vcpus + 1));
	char name[24] = "device";
	uint32_t wrong = 0;

	if (owner < region->of->run->options.vcpus)
		snprintf(name, sizeof(name), "vCPU %u", owner);
	if (!run_region_page_good(region, page, found, contents, &wrong))
		run_lost(
			region->of->run,
			"%s: region %u, page %llu (GPA 0x%llx), %s: at the end expected %s %u, found "
			"version %llu, wrong from byte %u on",
			region->of->event->ops->name, region->number, (unsigned long long)page,
			(unsigned long long)(region->gpa + (page << RUN_PAGE_SHIFT)), name,
			contents == RUN_REGION_ZERO ? "zero, after version" : "version",
			meta->version, (unsigned long long)found[2], wrong * 8);
	else if (contents == RUN_REGION_ZERO)
		run_count(&region->of->counters.final_zeros, 1);
	else if (contents == RUN_REGION_WRITTEN)
		run_count(&region->of->counters.final_written, 1);
}

static void check_pages(struct run_guest_region *region, bool records)
{
	uint64_t found[GUEST_PAGE_WORDS];
	uint64_t page;

	run_region_harvest(region);
	for (page = 0; page < region->pages && !run_abandoned(region->of->run); page++) {
		if (read_page(region, page, found))
			return;
		compare_copy(region, page, found);
		if (records)
			compare_record(region, page, found);
		run_count(&region->of->counters.compared, 1);
	}
	run_count(&region->of->counters.stops, 1);
}

void run_region_check(struct run_guest_region *region)
{
	pthread_mutex_lock(&region->of->device_lock);
	check_pages(region, false);
	pthread_mutex_unlock(&region->of->device_lock);
}

void run_regions_verify(struct run_regions *regions)
{
	uint32_t i;

	for (i = 0; i < regions->count; i++)
		if (regions->region[i].has_slot)
			check_pages(&regions->region[i], true);
}

static uint64_t sum(const struct run_regions *regions, size_t offset)
{
	uint64_t total = 0;
	uint32_t vcpu, i;

	for (vcpu = 0; vcpu < regions->run->vcpu_count; vcpu++) {
		struct guest_statistics statistics;

		gmm_program_statistics(&regions->run->program, vcpu, &statistics);
		for (i = 0; i < regions->count; i++)
			total += ((uint64_t *)((char *)&statistics +
					       offset))[regions->region[i].number];
	}
	return total;
}

void run_regions_collect(const struct run_regions *regions, const char *group,
			 struct run_results *results)
{
	const struct run_regions_counters *counters = &regions->counters;
	uint64_t reads = sum(regions, offsetof(struct guest_statistics, region_reads));
	uint64_t zeros = sum(regions, offsetof(struct guest_statistics, region_zeros));
	uint64_t writes = sum(regions, offsetof(struct guest_statistics, region_writes));
	uint64_t overtaken = sum(regions, offsetof(struct guest_statistics, region_overtaken));
	const struct {
		const char *name, *label;
		uint64_t value;
	} rows[] = {
		{ "vcpu_reads", "pages verified by vCPUs", reads + zeros },
		{ "vcpu_zeros", "of these as zero", zeros },
		{ "vcpu_writes", "pages written by vCPUs", writes },
		{ "overtaken", "uses by vCPUs overtaken", overtaken },
		{ "device_reads", "pages verified by the device",
		  run_load(&counters->device_reads) },
		{ "device_zeros", "of these as zero", run_load(&counters->device_zeros) },
		{ "device_writes", "pages written by the device",
		  run_load(&counters->device_writes) },
		{ "device_absent", "uses by the device that found none",
		  run_load(&counters->device_absent) },
		{ "harvested", "pages harvested", run_load(&counters->harvested) },
		{ "compared", "pages compared with harvests", run_load(&counters->compared) },
		{ "final_zeros", "pages zero at the end", run_load(&counters->final_zeros) },
		{ "final_written", "pages as written at the end",
		  run_load(&counters->final_written) },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		run_results_add(results, group, rows[i].name, rows[i].label, RUN_UNIT_COUNT,
				rows[i].value);
}
