/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A device is a thread: it takes descriptors from the rings of its vCPUs and stores into buffers,
 * or compares what is in them, through caches only. It keeps a cache for each of the blocks it used
 * last, so that some are still valid when they are used again, and some were invalidated by the
 * evictor meanwhile.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../command.h"
#include "device.h"
#include "hold.h"
#include "run.h"

#include "guest/page.h"

#define IDLE_NS 200000u
#define BLOCK_BYTES (GUEST_BLOCK_PAGES * RUN_PAGE_BYTES)
#define BLOCKS 1024u
#define BATCH 8

struct run_device_block {
	struct gmm_cache *cache;
	uint64_t block; /* + 1; 0: the cache has no target */
};

static int create_one(struct run *run, struct run_device *device, uint32_t index)
{
	uint32_t i;
	int error;

	device->run = run;
	device->index = index;
	device->random = run->options.seed + index;
	snprintf(device->name, sizeof(device->name), "device %u", index);
	device->blocks = calloc(BLOCKS, sizeof(*device->blocks));
	if (!device->blocks)
		return run_refuse("out of memory for the devices");
	for (i = 0; i < BLOCKS; i++) {
		error = gmm_cache_create(run->guest, &device->blocks[i].cache);
		if (error) {
			device->blocks[i].cache = NULL;
			return run_refuse("the devices' caches cannot be made (%s)",
					  run_error_text(error));
		}
	}
	return 0;
}

int run_devices_create(struct run *run)
{
	uint32_t i;
	int status = 0;

	run->device_count = run_event_find(run, "devices") ? run->options.devices : 1;
	if (run->device_count > run->options.vcpus)
		run->device_count = run->options.vcpus;
	run->devices = calloc(run->device_count, sizeof(*run->devices));
	if (!run->devices || run_device_pages_create(run))
		return run_refuse("out of memory for the devices");
	for (i = 0; i < run->device_count && !status; i++)
		status = create_one(run, &run->devices[i], i);
	return status;
}

void run_devices_destroy(struct run *run)
{
	uint32_t i, j;

	run_device_pages_destroy(run);
	for (i = 0; run->devices && i < run->device_count; i++) {
		struct run_device_block *blocks = run->devices[i].blocks;

		for (j = 0; blocks && j < BLOCKS; j++)
			if (blocks[j].cache)
				gmm_cache_destroy(blocks[j].cache);
		free(blocks);
	}
	free(run->devices);
	run->devices = NULL;
}

/* The block's cache, with that target. NULL: refused, or the run is given up. */
static struct gmm_cache *find_cache(struct run_device *device, uint64_t block)
{
	struct run *run = device->run;
	struct run_device_block *slot = &device->blocks[block % BLOCKS];
	uint64_t start = block * BLOCK_BYTES;
	uint64_t length = run->memory_bytes - start < BLOCK_BYTES ? run->memory_bytes - start :
								    BLOCK_BYTES;
	char what[80];
	int error;

	if (slot->block == block + 1)
		return slot->cache;
	run_hold_refresh(run, block * GUEST_BLOCK_PAGES, length / RUN_PAGE_BYTES);
	error = gmm_cache_activate(slot->cache, run->snapshot.gpa + start, length,
				   GMM_CACHE_HOST | GMM_CACHE_WRITE);
	slot->block = block + 1;
	/* The target is set: the refresh before the first use tries again. */
	if (error && !run_failing_try_again(run, error)) {
		snprintf(what, sizeof(what), "the device's cache of GPA 0x%llx cannot be made",
			 (unsigned long long)(run->snapshot.gpa + start));
		run_memory_failed(run, what, error);
		return NULL;
	}
	return slot->cache;
}

struct gmm_cache *run_device_cache(struct run_device *device, uint64_t page, uint64_t *offset)
{
	*offset = page % GUEST_BLOCK_PAGES * RUN_PAGE_BYTES;
	return find_cache(device, page / GUEST_BLOCK_PAGES);
}

/* In a section. */
static enum guest_io_status exchange(const struct guest_io *io, uint64_t *buffer)
{
	uint64_t key = guest_io_key(io->seed, io->sequence);
	uint64_t words = io->length / 8;
	uint64_t i;

	if (io->operation == GUEST_IO_READ) {
		for (i = 0; i < words; i++)
			buffer[i] = guest_io_word(key, i);
		return GUEST_IO_OK;
	}
	for (i = 0; i < words; i++)
		if (buffer[i] != guest_io_word(key, i))
			return GUEST_IO_BAD;
	return GUEST_IO_OK;
}

/* What the guest wrote into the ring is not believed. */
static bool io_ok(const struct run *run, const struct guest_io *io)
{
	uint64_t start = io->gpa - run->snapshot.gpa;

	return io->gpa >= run->snapshot.gpa && io->gpa % 8 == 0 && io->length >= 8 &&
	       io->length % 8 == 0 && start < run->memory_bytes &&
	       io->length <= run->memory_bytes - start &&
	       start / BLOCK_BYTES == (start + io->length - 1) / BLOCK_BYTES &&
	       (io->operation == GUEST_IO_READ || io->operation == GUEST_IO_WRITE);
}

static enum guest_io_status serve(struct run_device *device, struct gmm_reader *reader,
				  const struct guest_io *io)
{
	struct run *run = device->run;
	struct run_device_counters *counters = &device->counters;
	uint64_t start = io->gpa - run->snapshot.gpa;
	uint64_t offset = start % BLOCK_BYTES;
	enum guest_io_status status;
	struct gmm_cache *cache;
	void *buffer;

	if (!io_ok(run, io)) {
		run_lost(run, "the device refuses a buffer of %u bytes at GPA 0x%llx", io->length,
			 (unsigned long long)io->gpa);
		run_count(&counters->refused, 1);
		return GUEST_IO_REFUSED;
	}
	cache = find_cache(device, start / BLOCK_BYTES);
	if (!cache)
		return GUEST_IO_REFUSED;
	buffer = run_section_enter(run, reader, cache, offset, io->length, &counters->cache_hits);
	if (!buffer)
		return GUEST_IO_REFUSED;
	run_hold_section(run, start / RUN_PAGE_BYTES,
			 (offset % RUN_PAGE_BYTES + io->length - 1) / RUN_PAGE_BYTES + 1);
	status = exchange(io, buffer);
	if (io->operation == GUEST_IO_READ)
		gmm_cache_mark_dirty(cache, offset, io->length);
	gmm_section_exit(reader);
	run_count(io->operation == GUEST_IO_READ ? &counters->reads : &counters->writes, 1);
	run_count(&counters->bytes, io->length);
	return status;
}

static bool take(struct run_device *device, struct gmm_reader *reader, uint32_t vcpu,
		 struct guest_io *io)
{
	struct guest_vcpu_area *area =
		run_area_enter(device->run, reader, vcpu, &device->counters.cache_hits);
	bool found;

	if (!area)
		return false;
	found = area->io.completed != __atomic_load_n(&area->io.posted, __ATOMIC_ACQUIRE);
	if (found)
		*io = area->io.entry[area->io.completed % GUEST_IO_ENTRIES];
	gmm_section_exit(reader);
	return found;
}

static void complete(struct run_device *device, struct gmm_reader *reader, uint32_t vcpu,
		     enum guest_io_status status)
{
	struct guest_vcpu_area *area =
		run_area_enter(device->run, reader, vcpu, &device->counters.cache_hits);

	if (!area)
		return;
	area->io.entry[area->io.completed % GUEST_IO_ENTRIES].status = status;
	__atomic_store_n(&area->io.completed, area->io.completed + 1, __ATOMIC_RELEASE);
	gmm_section_exit(reader);
}

/* One round over the device's vCPUs. Returns how many buffers there were. */
static int serve_vcpus(struct run_device *device, struct gmm_reader *reader)
{
	struct run *run = device->run;
	struct guest_io io;
	uint32_t vcpu;
	int done = 0, i;

	for (vcpu = device->index; vcpu < run->vcpu_count; vcpu += run->device_count) {
		for (i = 0; i < BATCH && take(device, reader, vcpu, &io); i++)
			complete(device, reader, vcpu, serve(device, reader, &io));
		done += i;
	}
	return done;
}

static void *device_thread(void *opaque)
{
	struct run_device *device = opaque;
	struct run *run = device->run;
	struct gmm_reader *reader = run_reader_register(run);

	while (reader && !run_abandoned(run)) {
		enum run_phase phase = run_phase(run);
		int done = serve_vcpus(device, reader);

		if (phase >= RUN_QUIET)
			break;
		run_device_write_page(device, reader);
		if (!done)
			run_pause(run, phase, IDLE_NS);
	}
	if (reader)
		gmm_reader_unregister(reader);
	return NULL;
}

int run_devices_start(struct run *run)
{
	uint32_t i;

	for (i = 0; i < run->device_count; i++)
		if (run_worker_start(run, &run->devices[i].worker, run->devices[i].name,
				     device_thread, &run->devices[i]))
			return -1;
	return 0;
}

void run_devices_join(struct run *run)
{
	uint32_t i;

	for (i = 0; i < run->device_count; i++)
		run_worker_join(run, &run->devices[i].worker);
}

void run_device_counters(const struct run *run, struct run_device_counters *counters)
{
	uint32_t i;

	*counters = (struct run_device_counters){ 0 };
	for (i = 0; i < run->device_count; i++) {
		const struct run_device_counters *from = &run->devices[i].counters;

		counters->reads += run_load(&from->reads);
		counters->writes += run_load(&from->writes);
		counters->refused += run_load(&from->refused);
		counters->bytes += run_load(&from->bytes);
		counters->cache_hits += run_load(&from->cache_hits);
		counters->own_pages += run_load(&from->own_pages);
	}
}
