/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Pages that only the device writes: the guest leaves them alone after its first touch. So what the
 * device stored is lost when its mark is missing in the dirty log, or when its pointer outlived the
 * page.
 */
#include <stdlib.h>

#include "../command.h"
#include "device.h"
#include "run.h"

#include "guest/page.h"

/* Of so many pages one is given to the device. */
#define GIVEN_ONE_OF 64u

struct run_device_pages {
	pthread_mutex_t lock;
	uint64_t count;	   /* under lock */
	uint64_t *page;	   /* the first `count` never change */
	uint32_t *version; /* by page of the snapshot; of its device's thread, later of others */
};

int run_device_pages_create(struct run *run)
{
	struct run_device_pages *pages = calloc(1, sizeof(*pages));

	if (!pages)
		return -GMM_ENOMEM;
	pthread_mutex_init(&pages->lock, NULL);
	run->device_pages = pages;
	pages->page = calloc(run->page_count, sizeof(*pages->page));
	pages->version = calloc(run->page_count, sizeof(*pages->version));
	return pages->page && pages->version ? 0 : -GMM_ENOMEM;
}

void run_device_pages_destroy(struct run *run)
{
	if (!run->device_pages)
		return;
	pthread_mutex_destroy(&run->device_pages->lock);
	free(run->device_pages->page);
	free(run->device_pages->version);
	free(run->device_pages);
	run->device_pages = NULL;
}

bool run_device_wants_page(const struct run *run, uint64_t page)
{
	return guest_mix(page ^ ~run->options.seed) % GIVEN_ONE_OF == 0;
}

void run_device_give_page(struct run *run, uint64_t page)
{
	struct run_device_pages *pages = run->device_pages;

	pthread_mutex_lock(&pages->lock);
	pages->page[pages->count++] = page;
	pthread_mutex_unlock(&pages->lock);
}

/* Pages are dealt out to the devices in turn. */
static bool choose(struct run_device *device, uint64_t *page)
{
	struct run_device_pages *pages = device->run->device_pages;
	uint32_t devices = device->run->device_count;
	uint64_t share;

	device->random = guest_mix(device->random + 1);
	pthread_mutex_lock(&pages->lock);
	share = (pages->count + devices - 1 - device->index) / devices;
	if (share)
		*page = pages->page[device->random % share * devices + device->index];
	pthread_mutex_unlock(&pages->lock);
	return share;
}

static struct guest_page_expect expected(const struct run *run, uint64_t page, uint32_t version)
{
	/* Every write is one of all lines. */
	return (struct guest_page_expect){
		.seed = run->options.seed,
		.page = page,
		.version = version,
		.full_version = version,
	};
}

void run_device_write_page(struct run_device *device, struct gmm_reader *reader)
{
	struct run *run = device->run;
	struct run_device_pages *pages = run->device_pages;
	struct guest_page_expect expect;
	struct gmm_cache *cache;
	uint64_t page, offset;
	uint32_t *version;
	uint32_t wrong = 0;
	bool good = true;
	void *pointer;

	if (!choose(device, &page))
		return;
	cache = run_device_cache(device, page, &offset);
	pointer = cache ? run_section_enter(run, reader, cache, offset, RUN_PAGE_BYTES,
					    &device->counters.cache_hits) :
			  NULL;
	if (!pointer)
		return;
	version = &pages->version[page];
	if (*version) {
		expect = expected(run, page, *version);
		good = guest_page_verify(pointer, &expect, &wrong);
	}
	expect = expected(run, page, *version + 1);
	guest_page_write_full(pointer, &expect);
	gmm_cache_mark_dirty(cache, offset, RUN_PAGE_BYTES);
	gmm_section_exit(reader);
	if (!good)
		run_lost(
			run,
			"page %llu (GPA 0x%llx), device: expected version %u, found another, wrong from "
			"byte %u on",
			(unsigned long long)page,
			(unsigned long long)(run->snapshot.gpa + page * RUN_PAGE_BYTES), *version,
			wrong * 8);
	++*version;
	run_count(&device->counters.own_pages, 1);
}

bool run_device_owns_page(const struct run *run, uint64_t page)
{
	return run->device_pages->version[page] != 0;
}

bool run_device_verify_page(const struct run *run, uint64_t page, const void *found,
			    struct guest_page_expect *expect, uint32_t *wrong)
{
	*expect = expected(run, page, run->device_pages->version[page]);
	return guest_page_verify(found, expect, wrong);
}
