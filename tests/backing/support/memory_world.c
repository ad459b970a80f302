/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#define _GNU_SOURCE
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory_world.h"

static void open_source(struct world *world)
{
	char text[GMM_BACKING_TEXT_SIZE];
	struct gmm_source generated;
	char *path;

	assert_int_equal(gmm_source_open_generated(&generated, SEED, PAGES, PAGE_SHIFT, text,
						   sizeof(text)),
			 0);
	if (world->backing->source == FROM_NOTHING) {
		gmm_source_close(&generated);
		return;
	}
	generated.ops->read(generated.source, 0, PAGES, world->expected);
	if (world->backing->source == FROM_GENERATOR) {
		world->inner = generated;
		return;
	}
	gmm_source_close(&generated);
	path = scratch_path(world->directory, "ram");
	file_make(path, world->expected, PAGES * PAGE_SIZE);
	assert_int_equal(gmm_source_open_file(&world->inner, path, PAGE_SHIFT, text, sizeof(text)),
			 0);
	free(path);
}

void world_register(struct world *world)
{
	bool shared = gmm_memory_fd(world->memory) >= 0;
	uint64_t mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP;
	const char *reason = "";

	if (shared)
		mode |= UFFDIO_REGISTER_MODE_MINOR;
	world->userfaultfd = userfault_open(
		shared ? USERFAULT_MEMFD_FEATURES : UFFD_FEATURE_PAGEFAULT_FLAG_WP, &reason);
	if (world->userfaultfd < 0)
		fail_msg("%s", reason);
	assert_int_equal(userfault_register(world->userfaultfd,
					    gmm_memory_vcpu_address(world->memory),
					    PAGES * PAGE_SIZE, mode),
			 0);
	gmm_memory_attach_userfault(world->memory, world->userfaultfd);
}

int world_set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	struct gmm_memory_config config = { .page_count = PAGES, .page_shift = PAGE_SHIFT };
	char text[GMM_BACKING_TEXT_SIZE] = "";

	world->backing = *state;
	world->files_before = open_files();
	world->userfaultfd = -1;
	world->directory = scratch_make();
	world->expected = calloc(PAGES, PAGE_SIZE);
	open_source(world);
	config.kind = world->backing->kind;
	config.mapping = world->backing->mapping;
	config.store_directory = world->directory;
	if (world->inner.ops)
		config.source = probe_source_wrap(&world->probe, world->inner);
	if (gmm_memory_create(&config, &world->memory, text, sizeof(text)) != 0)
		fail_msg("%s", text);
	world->ops = gmm_memory_ops_of(world->memory);
	if (config.kind == GMM_MEMORY_KIND_ANONYMOUS)
		world_register(world);
	*state = world;
	return 0;
}

int world_tear_down(void **state)
{
	struct world *world = *state;
	unsigned char there;
	void *mapping = gmm_memory_vcpu_address(world->memory);
	struct gmm_memory_counters counters;

	gmm_memory_read_counters(world->memory, &counters);
	assert_int_equal(counters.references, 0);
	assert_int_equal(counters.mappings, 0);
	gmm_memory_close(world->memory);
	gmm_source_close(&world->inner);
	if (world->userfaultfd >= 0)
		close(world->userfaultfd);
	assert_int_equal(open_files(), world->files_before);
	assert_int_equal(mincore(mapping, PAGE_SIZE, &there), -1);
	scratch_remove(world->directory);
	free(world->expected);
	free(world);
	return 0;
}

bool present(struct world *world, uint64_t page)
{
	unsigned char there;

	assert_int_equal(mincore((char *)gmm_memory_vcpu_address(world->memory) + page * PAGE_SIZE,
				 PAGE_SIZE, &there),
			 0);
	return there & 1;
}

struct gmm_memory_counters counters_of(struct world *world)
{
	struct gmm_memory_counters counters;

	gmm_memory_read_counters(world->memory, &counters);
	return counters;
}

void assert_reads(struct world *world, uint64_t page, bool resident, enum gmm_page_origin origin,
		  const void *wanted)
{
	char buffer[PAGE_SIZE];

	assert_int_equal(world->ops->read(world->memory, page, resident, origin, buffer), 0);
	assert_memory_equal(buffer, wanted, PAGE_SIZE);
}

void vcpu_write(struct world *world, uint64_t page, int value)
{
	char *start = (char *)gmm_memory_vcpu_address(world->memory) + page * PAGE_SIZE;

	if (world->userfaultfd >= 0)
		userfault_protect(world->userfaultfd, start, PAGE_SIZE, false);
	memset(start, value, PAGE_SIZE);
}

void fill(struct world *world, uint64_t page, uint32_t count, enum gmm_page_origin origin)
{
	char text[GMM_BACKING_TEXT_SIZE];

	if (world->ops->fill(world->memory, page, count, origin) != 0) {
		gmm_memory_failure(world->memory, text, sizeof(text));
		fail_msg("fill of %llu + %u: %s", (unsigned long long)page, count, text);
	}
}
