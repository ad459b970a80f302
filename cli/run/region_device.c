/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The device of an event: it verifies and writes its pages of the regions through caches that it
 * keeps, while slots appear, move and go under them. That a cache finds no memory is right only
 * when the region has changed since the device looked.
 */
#include "../command.h"
#include "failing.h"
#include "regions.h"
#include "run.h"

#include "guest/page.h"

#define CACHES 8u
#define CACHE_PAGES 8u
#define BATCH 2u
#define IDLE_NS 1000000u

struct cache {
	struct gmm_cache *cache;
	gmm_gpa_t gpa; /* of its target */
	uint64_t pages;
};

struct device {
	struct run_regions *regions;
	struct gmm_reader *reader;
	struct cache cache[CACHES];
	uint64_t random;
};

/* What it saw of a region, all of one generation. */
struct use {
	struct run_guest_region *region;
	struct guest_region *entry;
	struct guest_region_page *meta;
	uint64_t generation;
	gmm_gpa_t gpa; /* of the region */
	uint64_t pages, page;
};

static uint64_t draw(struct device *device, uint64_t below)
{
	device->random = guest_mix(device->random + 1);
	return device->random % below;
}

static bool is_same(const struct use *use)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return __atomic_load_n(&use->entry->generation, __ATOMIC_RELAXED) == use->generation;
}

static bool choose(struct device *device, struct use *use)
{
	struct run_regions *regions = device->regions;
	uint32_t owners = regions->run->options.vcpus + 1;

	use->region = &regions->region[draw(device, regions->count)];
	if (use->region->most_pages < owners)
		return false;
	use->page = owners - 1 + draw(device, use->region->most_pages / owners) * owners;
	use->entry = &regions->table->region[use->region->number];
	use->meta = &regions->table->page[use->region->number][use->page];
	use->generation = __atomic_load_n(&use->entry->generation, __ATOMIC_ACQUIRE);
	use->gpa = __atomic_load_n(&use->entry->gpa, __ATOMIC_RELAXED);
	use->pages = __atomic_load_n(&use->entry->pages, __ATOMIC_RELAXED);
	return !(use->generation & 1) && use->page < use->pages && is_same(use);
}

/* Whether to go on: the cache was refused, which is a loss when nothing has changed. */
static bool refused(struct device *device, const struct use *use, int error)
{
	struct run *run = device->regions->run;
	char text[GMM_BACKING_TEXT_SIZE] = "";

	if (run_failing_try_again(run, error))
		return true;
	run_regions_failure(device->regions, text, sizeof(text));
	if (is_same(use))
		run_lost(run,
			 "%s: region %u, page %llu (GPA 0x%llx), device: its cache finds no memory "
			 "(%s)",
			 device->regions->event->ops->name, use->region->number,
			 (unsigned long long)use->page,
			 (unsigned long long)(use->gpa + (use->page << RUN_PAGE_SHIFT)),
			 *text ? text : run_error_text(error));
	return false;
}

/* A cache whose target is, or was, an area around the page. NULL: there is no memory any more. */
static struct cache *find_cache(struct device *device, const struct use *use)
{
	struct cache *cache = &device->cache[draw(device, CACHES)];
	uint64_t first = use->page / CACHE_PAGES * CACHE_PAGES;
	uint64_t pages = use->pages - first < CACHE_PAGES ? use->pages - first : CACHE_PAGES;
	gmm_gpa_t gpa = use->gpa + (first << RUN_PAGE_SHIFT);
	uint32_t i;
	int error;

	for (i = 0; i < CACHES; i++)
		if (device->cache[i].pages == pages && device->cache[i].gpa == gpa)
			return &device->cache[i];
	do {
		error = gmm_cache_activate(cache->cache, gpa, pages << RUN_PAGE_SHIFT,
					   GMM_CACHE_HOST | GMM_CACHE_WRITE);
	} while (error && refused(device, use, error));
	cache->gpa = gpa;
	cache->pages = pages;
	return error ? NULL : cache;
}

/* In a section, or NULL outside: there is no memory any more. */
static void *enter(struct device *device, const struct use *use, struct cache *cache)
{
	uint64_t offset = use->gpa + (use->page << RUN_PAGE_SHIFT) - cache->gpa;
	void *pointer;
	int error;

	gmm_section_enter(device->reader);
	while (!(pointer = gmm_cache_pointer(cache->cache, offset, RUN_PAGE_BYTES))) {
		gmm_section_exit(device->reader);
		error = gmm_cache_refresh(cache->cache);
		if (error && !refused(device, use, error))
			return NULL;
		gmm_section_enter(device->reader);
	}
	return pointer;
}

/* In a section: a change that is announced from here on waits for its end. */
static bool exchange(struct device *device, const struct use *use, struct cache *cache,
		     void *pointer, uint32_t *wrong)
{
	struct run_regions_counters *counters = &device->regions->counters;
	enum run_region_contents contents = run_region_expected(use->meta);
	bool good = run_region_page_good(use->region, use->page, pointer, contents, wrong);
	struct guest_page_expect expect;

	run_count(&counters->device_reads, good);
	run_count(&counters->device_zeros, good && contents == RUN_REGION_ZERO);
	if (good && draw(device, 2))
		return true;
	use->meta->version++;
	expect = guest_region_expect(device->regions->run->options.seed, use->region->number,
				     (uint32_t)use->page, use->meta->version);
	guest_page_write_full(pointer, &expect);
	gmm_cache_mark_dirty(cache->cache, use->gpa + (use->page << RUN_PAGE_SHIFT) - cache->gpa,
			     RUN_PAGE_BYTES);
	use->meta->known = use->generation;
	run_count(&counters->device_writes, 1);
	return good;
}

static void use_page(struct device *device)
{
	struct run *run = device->regions->run;
	struct cache *cache;
	uint32_t wrong = 0;
	bool good = true, same = false;
	struct use use;
	void *pointer = NULL;

	if (choose(device, &use)) {
		cache = find_cache(device, &use);
		pointer = cache ? enter(device, &use, cache) : NULL;
	}
	if (pointer) {
		same = is_same(&use);
		if (same)
			good = exchange(device, &use, cache, pointer, &wrong);
		gmm_section_exit(device->reader);
	}
	if (!same)
		run_count(&device->regions->counters.device_absent, 1);
	if (!good)
		run_lost(
			run,
			"%s: region %u, page %llu (GPA 0x%llx), device: expected version %u or zero, "
			"found something else, wrong from byte %u on",
			device->regions->event->ops->name, use.region->number,
			(unsigned long long)use.page,
			(unsigned long long)(use.gpa + (use.page << RUN_PAGE_SHIFT)),
			use.meta->version - 1, wrong * 8);
}

static int create_caches(struct device *device)
{
	struct run *run = device->regions->run;
	uint32_t i;
	int error = 0;

	for (i = 0; i < CACHES && !error; i++) {
		do {
			error = gmm_cache_create(run->guest, &device->cache[i].cache);
		} while (error && run_failing_try_again(run, error));
		if (error)
			device->cache[i].cache = NULL;
	}
	if (error)
		run_abandon(run, GMM_EXIT_LOST, "%s: the device's caches cannot be made: %s",
			    device->regions->event->ops->name, run_error_text(error));
	return error;
}

void *run_region_device_thread(void *opaque)
{
	struct device device = { .regions = opaque };
	struct run *run = device.regions->run;
	uint32_t i;

	device.random = guest_mix(run->options.seed ^ device.regions->region[0].number);
	device.reader = run_reader_register(run);
	if (device.reader && !create_caches(&device))
		while (run_phase(run) < RUN_QUIET && !run_abandoned(run)) {
			for (i = 0; i < BATCH; i++) {
				pthread_mutex_lock(&device.regions->device_lock);
				use_page(&device);
				pthread_mutex_unlock(&device.regions->device_lock);
			}
			run_pause(run, run_phase(run), IDLE_NS);
		}
	for (i = 0; i < CACHES; i++)
		if (device.cache[i].cache)
			gmm_cache_destroy(device.cache[i].cache);
	if (device.reader)
		gmm_reader_unregister(device.reader);
	return NULL;
}
