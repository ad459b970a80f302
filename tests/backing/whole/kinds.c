/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The kinds of memory that are all there from the start, each with the mappings that it has: what
 * they hold, what of them is mapped, and how they look to caches. "KIND, MAPPING: CASE".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <guestmm/cache.h>
#include <guestmm/dirty.h>
#include <guestmm/invalidate.h>
#include <guestmm/section.h>
#include <guestmm/slot.h>

#include "backing_test.h"
#include "huge_pages.h"

#define PAGES 1024u
#define SEED 31ull
/* Adopted files begin before the memory. */
#define BEFORE 512u

enum file {
	NO_FILE,
	MEMFD_FILE,
	HUGE_FILE,
	PLAIN_FILE,
};

struct variant {
	const char *name;
	enum gmm_memory_kind kind;
	enum gmm_memory_mapping mapping;
	enum file file;
	uint64_t granule; /* what is mapped at least, in bytes */
	uint32_t flags;
};

static const struct variant variants[] = {
	{ "plain, linear", GMM_MEMORY_KIND_PLAIN, GMM_MEMORY_MAPPING_OF_KIND, NO_FILE, PAGE_SIZE,
	  0 },
	{ "plain, in use", GMM_MEMORY_KIND_PLAIN, GMM_MEMORY_MAPPING_IN_USE, NO_FILE, PAGE_SIZE,
	  0 },
	{ "hugetlb, linear", GMM_MEMORY_KIND_HUGETLB, GMM_MEMORY_MAPPING_OF_KIND, NO_FILE,
	  HUGE_BYTES, 0 },
	{ "hugetlb, in use", GMM_MEMORY_KIND_HUGETLB, GMM_MEMORY_MAPPING_IN_USE, NO_FILE,
	  HUGE_BYTES, 0 },
	{ "secret, in use", GMM_MEMORY_KIND_SECRET, GMM_MEMORY_MAPPING_OF_KIND, NO_FILE, PAGE_SIZE,
	  GMM_MEMORY_HOST_ONLY },
	{ "adopted, in use", GMM_MEMORY_KIND_ADOPTED, GMM_MEMORY_MAPPING_OF_KIND, MEMFD_FILE,
	  PAGE_SIZE, GMM_MEMORY_HOST_ONLY },
	{ "adopted, linear", GMM_MEMORY_KIND_ADOPTED, GMM_MEMORY_MAPPING_LINEAR, MEMFD_FILE,
	  PAGE_SIZE, GMM_MEMORY_HOST_ONLY },
	{ "adopted hugetlb, in use", GMM_MEMORY_KIND_ADOPTED, GMM_MEMORY_MAPPING_IN_USE, HUGE_FILE,
	  HUGE_BYTES, GMM_MEMORY_HOST_ONLY },
	{ "device, in use", GMM_MEMORY_KIND_DEVICE, GMM_MEMORY_MAPPING_OF_KIND, PLAIN_FILE,
	  PAGE_SIZE, GMM_MEMORY_HOST_ONLY },
	{ "device, linear", GMM_MEMORY_KIND_DEVICE, GMM_MEMORY_MAPPING_LINEAR, PLAIN_FILE,
	  PAGE_SIZE, GMM_MEMORY_HOST_ONLY },
};

#define VARIANTS (sizeof(variants) / sizeof(variants[0]))

struct world {
	const struct variant *variant;
	char *directory;
	struct gmm_source source;
	char *expected;
	int fd;
	struct gmm_memory *memory;
	const struct gmm_memory_ops *ops;
	unsigned int files_before;
};

static bool is_linear(const struct world *world)
{
	return gmm_memory_engine_address(world->memory) != NULL;
}

static int open_file(const struct world *world)
{
	uint32_t huge = world->variant->file == HUGE_FILE ? MFD_HUGETLB : 0;
	off_t size = (BEFORE + PAGES) * PAGE_SIZE;
	char *path;
	int fd;

	if (world->variant->file == NO_FILE)
		return -1;
	if (world->variant->file == PLAIN_FILE) {
		path = scratch_path(world->directory, "device");
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		free(path);
	} else {
		fd = memfd_create("owner", MFD_CLOEXEC | MFD_ALLOW_SEALING | huge);
	}
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	if (world->variant->file != PLAIN_FILE)
		assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	return fd;
}

/* What an owner would have put there. */
static void fill_file(const struct world *world)
{
	size_t bytes = (BEFORE + PAGES) * PAGE_SIZE;
	char *mapping;

	if (world->fd < 0)
		return;
	mapping = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, world->fd, 0);
	assert_true(mapping != MAP_FAILED);
	memset(mapping, 0xee, BEFORE * PAGE_SIZE);
	memcpy(mapping + BEFORE * PAGE_SIZE, world->expected, PAGES * PAGE_SIZE);
	munmap(mapping, bytes);
}

static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	struct gmm_memory_config config = { .page_count = PAGES, .page_shift = PAGE_SHIFT };
	char text[GMM_BACKING_TEXT_SIZE] = "";

	world->variant = *state;
	world->files_before = open_files();
	world->directory = scratch_make();
	world->expected = calloc(PAGES, PAGE_SIZE);
	assert_int_equal(gmm_source_open_generated(&world->source, SEED, PAGES, PAGE_SHIFT, text,
						   sizeof(text)),
			 0);
	if (world->variant->kind != GMM_MEMORY_KIND_PLAIN)
		world->source.ops->read(world->source.source, 0, PAGES, world->expected);
	world->fd = open_file(world);
	fill_file(world);
	config.kind = world->variant->kind;
	config.mapping = world->variant->mapping;
	if (world->fd >= 0) {
		config.fd = world->fd;
		config.fd_offset = BEFORE * PAGE_SIZE;
	} else if (world->variant->kind != GMM_MEMORY_KIND_PLAIN) {
		config.source = world->source;
	}
	if (gmm_memory_create(&config, &world->memory, text, sizeof(text)) != 0)
		fail_msg("%s", text);
	world->ops = gmm_memory_ops_of(world->memory);
	*state = world;
	return 0;
}

static struct gmm_memory_counters counters_of(struct world *world)
{
	struct gmm_memory_counters counters;

	gmm_memory_read_counters(world->memory, &counters);
	return counters;
}

static int tear_down(void **state)
{
	struct world *world = *state;
	void *addresses = gmm_memory_vcpu_address(world->memory);
	unsigned char there;

	assert_int_equal(counters_of(world).references, 0);
	assert_int_equal(counters_of(world).mappings, 0);
	gmm_memory_close(world->memory);
	assert_int_equal(mincore(addresses, PAGE_SIZE, &there), -1);
	gmm_source_close(&world->source);
	if (world->fd >= 0)
		close(world->fd);
	assert_int_equal(open_files(), world->files_before);
	scratch_remove(world->directory);
	free(world->expected);
	free(world);
	return 0;
}

/* How much of the memory's file this process can access, by what the kernel says. */
static uint64_t accessible(const struct world *world)
{
	char line[512], rights[8];
	uint64_t start, end, inode, bytes = 0;
	FILE *maps = fopen("/proc/self/maps", "re");
	struct stat info;

	assert_non_null(maps);
	assert_int_equal(fstat(gmm_memory_fd(world->memory), &info), 0);
	while (fgets(line, sizeof(line), maps)) {
		assert_int_equal(sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %*s %*s %" SCNu64,
					&start, &end, rights, &inode),
				 4);
		if (inode == info.st_ino && strncmp(rights, "---", 3) != 0)
			bytes += end - start;
	}
	fclose(maps);
	return bytes;
}

/* Of these, what vCPUs have. */
static uint64_t of_vcpus(const struct world *world)
{
	return world->variant->flags & GMM_MEMORY_HOST_ONLY || is_linear(world) ?
		       0 :
		       gmm_memory_size(world->memory);
}

static void operations_fit_the_kind(void **state)
{
	struct world *world = *state;
	uint32_t abilities = gmm_memory_abilities(world->variant->kind);
	bool ram = abilities & (GMM_MEMORY_CAN_RAM_KVM | GMM_MEMORY_CAN_RAM_PROCESS);

	assert_int_equal(world->ops->version, GMM_MEMORY_OPS_VERSION);
	assert_int_equal(world->ops->flags, world->variant->flags);
	assert_string_equal(world->ops->name, gmm_memory_kind_name(world->variant->kind));
	assert_int_equal(ram, !(world->ops->flags & GMM_MEMORY_HOST_ONLY));
	assert_int_equal(gmm_memory_size(world->memory), PAGES * PAGE_SIZE);
	assert_int_equal(counters_of(world).resident_pages, PAGES);
}

static void every_page_is_there(void **state)
{
	struct world *world = *state;
	char buffer[PAGE_SIZE];

	if (!world->ops->read)
		return;
	for (uint64_t page = 0; page < PAGES; page++) {
		assert_int_equal(
			world->ops->read(world->memory, page, true, GMM_ORIGIN_ZERO, buffer), 0);
		assert_memory_equal(buffer, world->expected + page * PAGE_SIZE, PAGE_SIZE);
	}
	assert_int_equal(world->ops->read(world->memory, PAGES, true, GMM_ORIGIN_ZERO, buffer),
			 -GMM_EIO);
	assert_int_equal(counters_of(world).mappings, 0);
}

static char *map_pages(struct world *world, const gmm_pfn_t *pfns, uint32_t count, uint32_t access)
{
	char text[GMM_BACKING_TEXT_SIZE];
	void *pointer = NULL;

	if (world->ops->map(world->memory, pfns, count, access, &pointer) != 0) {
		gmm_memory_failure(world->memory, text, sizeof(text));
		fail_msg("%s", text);
	}
	assert_int_equal((uintptr_t)pointer % PAGE_SIZE, 0);
	return pointer;
}

static void only_what_is_in_use_is_mapped(void **state)
{
	struct world *world = *state;
	uint64_t whole = is_linear(world) ? gmm_memory_size(world->memory) : 0;
	/* Across a huge page's end. */
	static const gmm_pfn_t pfns[] = { 510, 511, 512 };
	uint64_t used = world->variant->granule == HUGE_BYTES ? 2 * HUGE_BYTES : 3 * PAGE_SIZE;
	uint64_t others = of_vcpus(world);
	char *first, *second;

	assert_int_equal(accessible(world), whole + others);
	assert_int_equal(counters_of(world).mapped_bytes, whole);
	first = map_pages(world, pfns, 3, GMM_ACCESS_READ | GMM_ACCESS_WRITE);
	assert_memory_equal(first, world->expected + 510 * PAGE_SIZE, 3 * PAGE_SIZE);
	assert_int_equal(counters_of(world).mapped_bytes, whole ? whole : used);
	assert_int_equal(accessible(world), others + (whole ? whole : used));
	second = map_pages(world, pfns + 1, 2, GMM_ACCESS_READ);
	first[PAGE_SIZE] = 0x51;
	assert_int_equal(second[0], 0x51);
	world->ops->unmap(world->memory, first, 3);
	assert_int_equal(second[0], 0x51);
	world->ops->unmap(world->memory, second, 2);
	assert_int_equal(accessible(world), whole + others);
	assert_int_equal(counters_of(world).mapped_bytes, whole);
	assert_true(counters_of(world).most_mapped_bytes >= (whole ? whole : used));
	assert_int_equal(counters_of(world).map_calls == 0, is_linear(world));
}

static void frames_in_any_order_are_one_range(void **state)
{
	struct world *world = *state;
	static const gmm_pfn_t pfns[] = { 9, 3, 4, 5, 700, 3 };
	void *pointer = NULL;
	char *bytes;

	if (is_linear(world) || world->variant->granule == HUGE_BYTES) {
		assert_int_equal(world->ops->map(world->memory, pfns, 6, GMM_ACCESS_READ, &pointer),
				 is_linear(world) ? -GMM_EIO : -GMM_EXDEV);
		assert_int_equal(counters_of(world).mappings, 0);
		return;
	}
	bytes = map_pages(world, pfns, 6, GMM_ACCESS_READ | GMM_ACCESS_WRITE);
	for (size_t i = 0; i < 6; i++)
		assert_memory_equal(bytes + i * PAGE_SIZE, world->expected + pfns[i] * PAGE_SIZE,
				    PAGE_SIZE);
	bytes[PAGE_SIZE + 1] = 0x62;
	assert_int_equal(bytes[5 * PAGE_SIZE + 1], 0x62);
	world->ops->unmap(world->memory, bytes, 6);
	assert_int_equal(accessible(world), of_vcpus(world));
}

static void mapping_for_reading_is_for_reading_only(void **state)
{
	struct world *world = *state;
	gmm_pfn_t pfn = 20;
	int pipes[2];
	char *bytes;

	if (is_linear(world))
		return;
	assert_int_equal(pipe(pipes), 0);
	bytes = map_pages(world, &pfn, 1, GMM_ACCESS_READ);
	/* The kernel stores there for us, and says what it is not allowed to. */
	assert_int_equal(write(pipes[1], "x", 1), 1);
	assert_int_equal(read(pipes[0], bytes, 1), -1);
	assert_int_equal(errno, EFAULT);
	world->ops->unmap(world->memory, bytes, 1);
	close(pipes[0]);
	close(pipes[1]);
}

static void frames_that_are_not_there_are_refused(void **state)
{
	struct world *world = *state;
	gmm_pfn_t pfns[2] = { PAGES - 1, PAGES };
	void *pointer = NULL;

	assert_int_equal(world->ops->map(world->memory, pfns, 2, GMM_ACCESS_READ, &pointer),
			 -GMM_EIO);
	assert_int_equal(world->ops->resolve(world->memory, PAGES - 1, 2, GMM_ACCESS_READ, pfns),
			 -GMM_EFAULT);
	assert_int_equal(counters_of(world).mappings, 0);
}

/* A slot of the memory in a guest without vCPUs, as a device process has it. */
struct device {
	struct gmm_guest *guest;
	struct gmm_reader *reader;
	struct gmm_cache *cache;
};

static void device_start(struct device *device, struct world *world)
{
	struct gmm_guest_config config = { .page_shift = PAGE_SHIFT };
	struct gmm_slot_config slot = {
		.id = 4,
		.flags = GMM_SLOT_LOG_DIRTY,
		.gfn = 100,
		.count = PAGES,
		.hva = (uintptr_t)gmm_memory_vcpu_address(world->memory),
		.memory_ops = world->ops,
		.memory = world->memory,
	};

	assert_int_equal(gmm_guest_create(&config, &device->guest), 0);
	assert_int_equal(gmm_slot_add(device->guest, &slot), 0);
	assert_int_equal(gmm_reader_register(device->guest, &device->reader), 0);
	assert_int_equal(gmm_cache_create(device->guest, &device->cache), 0);
}

static void device_stop(struct device *device)
{
	assert_int_equal(gmm_cache_destroy(device->cache), 0);
	gmm_reader_unregister(device->reader);
	assert_int_equal(gmm_slot_remove(device->guest, 4), 0);
	assert_int_equal(gmm_guest_destroy(device->guest), 0);
}

static char *device_pointer(struct device *device, uint64_t length)
{
	char *pointer;

	gmm_section_enter(device->reader);
	pointer = gmm_cache_pointer(device->cache, 0, length);
	gmm_section_exit(device->reader);
	return pointer;
}

static void refresh_keeps_the_mapping(void **state)
{
	struct world *world = *state;
	struct gmm_range range = { 105, 106 };
	struct device device;
	uint64_t calls;
	char *pointer;

	device_start(&device, world);
	assert_int_equal(gmm_cache_activate(device.cache, 104 * PAGE_SIZE, 3 * PAGE_SIZE,
					    GMM_CACHE_HOST | GMM_CACHE_WRITE),
			 0);
	pointer = device_pointer(&device, 3 * PAGE_SIZE);
	assert_non_null(pointer);
	calls = counters_of(world).map_calls;
	for (int turn = 0; turn < 5; turn++) {
		assert_int_equal(
			gmm_invalidate_begin(device.guest, GMM_RANGE_GFN, &range, 1, 0, NULL), 0);
		assert_null(device_pointer(&device, 1));
		gmm_invalidate_end(device.guest, GMM_RANGE_GFN, &range, 1);
		assert_int_equal(gmm_cache_refresh(device.cache), 0);
		assert_ptr_equal(device_pointer(&device, 3 * PAGE_SIZE), pointer);
	}
	assert_int_equal(counters_of(world).map_calls, calls);
	assert_int_equal(counters_of(world).mappings, 1);
	/* What follows undoes it: exactly that mapping, once. */
	assert_int_equal(gmm_cache_drop(device.cache), 0);
	assert_int_equal(counters_of(world).mappings, 0);
	assert_int_equal(counters_of(world).map_calls, is_linear(world) ? 0 : calls + 1);
	device_stop(&device);
}

static void stores_through_caches_arrive_and_are_logged(void **state)
{
	struct world *world = *state;
	uint64_t log[PAGES / 64] = { 0 };
	struct device device;
	char buffer[PAGE_SIZE];
	char *pointer;

	device_start(&device, world);
	for (uint64_t page = 0; page < PAGES; page += 65) {
		assert_int_equal(gmm_cache_activate(device.cache, (100 + page) * PAGE_SIZE,
						    PAGE_SIZE, GMM_CACHE_HOST | GMM_CACHE_WRITE),
				 0);
		gmm_section_enter(device.reader);
		pointer = gmm_cache_pointer(device.cache, 0, PAGE_SIZE);
		assert_memory_equal(pointer, world->expected + page * PAGE_SIZE, PAGE_SIZE);
		memset(pointer, (int)page, PAGE_SIZE);
		gmm_cache_mark_dirty(device.cache, 0, PAGE_SIZE);
		gmm_section_exit(device.reader);
		memset(world->expected + page * PAGE_SIZE, (int)page, PAGE_SIZE);
	}
	assert_int_equal(gmm_dirty_harvest(device.guest, 4, 0, PAGES, log), (PAGES + 64) / 65);
	for (uint64_t page = 0; page < PAGES; page++) {
		assert_int_equal(log[page / 64] >> page % 64 & 1, page % 65 == 0);
		if (!world->ops->read)
			continue;
		assert_int_equal(
			world->ops->read(world->memory, page, true, GMM_ORIGIN_ZERO, buffer), 0);
		assert_memory_equal(buffer, world->expected + page * PAGE_SIZE, PAGE_SIZE);
	}
	assert_int_equal(counters_of(world).mappings, 1);
	device_stop(&device);
	assert_int_equal(counters_of(world).mapped_bytes,
			 is_linear(world) ? gmm_memory_size(world->memory) : 0);
}

static const struct {
	const char *name;
	void (*run)(void **state);
} cases[] = {
	{ "operations fit the kind", operations_fit_the_kind },
	{ "every page is there", every_page_is_there },
	{ "only what is in use is mapped", only_what_is_in_use_is_mapped },
	{ "frames in any order are one range", frames_in_any_order_are_one_range },
	{ "mapping for reading is for reading only", mapping_for_reading_is_for_reading_only },
	{ "frames that are not there are refused", frames_that_are_not_there_are_refused },
	{ "refresh keeps the mapping", refresh_keeps_the_mapping },
	{ "stores through caches arrive and are logged",
	  stores_through_caches_arrive_and_are_logged },
};

#define CASES (sizeof(cases) / sizeof(cases[0]))

/* Why this machine cannot have the variant, or NULL. */
static const char *lacking(const struct variant *variant, const char *no_huge_pages)
{
	struct gmm_memory_config config = { .kind = variant->kind,
					    .page_count = PAGES,
					    .page_shift = PAGE_SHIFT };
	static char text[GMM_BACKING_TEXT_SIZE];
	struct gmm_memory *memory;

	if (variant->granule == HUGE_BYTES)
		return no_huge_pages;
	if (variant->kind != GMM_MEMORY_KIND_SECRET)
		return NULL;
	if (gmm_memory_create(&config, &memory, text, sizeof(text)) != 0)
		return text;
	gmm_memory_close(memory);
	return NULL;
}

int main(void)
{
	static struct CMUnitTest tests[VARIANTS * CASES];
	static char names[VARIANTS * CASES][128];
	const char *no_huge_pages = huge_pages_reserve();
	size_t count = 0;

	for (size_t i = 0; i < VARIANTS; i++) {
		const char *why_not = lacking(&variants[i], no_huge_pages);

		if (why_not)
			printf("# SKIP %s: %s\n", variants[i].name, why_not);
		for (size_t j = 0; j < CASES && !why_not; j++) {
			snprintf(names[count], sizeof(names[count]), "%s: %s", variants[i].name,
				 cases[j].name);
			tests[count] = (struct CMUnitTest){
				.name = names[count],
				.test_func = cases[j].run,
				.setup_func = set_up,
				.teardown_func = tear_down,
				.initial_state = (void *)&variants[i],
			};
			count++;
		}
	}
	return _cmocka_run_group_tests("kinds of memory", tests, count, NULL, NULL);
}
