/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Memory that the process has mapped already, alone and under a guest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include <guestmm/cache.h>
#include <guestmm/fault.h>
#include <guestmm/invalidate.h>
#include <guestmm/linux/mapped_memory.h>
#include <guestmm/section.h>
#include <guestmm/slot.h>

#define PAGES 16u
#define PAGE 4096u

static unsigned char *map_pages(int protection)
{
	void *pages = mmap(NULL, PAGES * PAGE, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(pages != MAP_FAILED);
	return pages;
}

static struct gmm_mapped_memory *make(void *start, uint32_t access)
{
	struct gmm_mapped_memory_config config = { .start = start,
						   .page_count = PAGES,
						   .access = access };
	struct gmm_mapped_memory *memory;

	assert_int_equal(gmm_mapped_memory_create(&config, &memory), 0);
	return memory;
}

static void what_cannot_be_is_refused(void **state)
{
	unsigned char *pages = map_pages(PROT_READ);
	const struct gmm_mapped_memory_config bad[] = {
		{ .start = NULL, .page_count = 1 },
		{ .start = pages + 1, .page_count = 1 },
		{ .start = pages, .page_count = 0 },
		{ .start = pages, .page_count = UINT64_MAX },
		{ .start = pages, .page_count = UINT64_MAX >> 12 },
		{ .start = pages, .page_count = 1, .page_shift = 13 },
		{ .start = pages, .page_count = 1, .access = 4 },
		{ .start = pages, .page_count = 1, .access = GMM_ACCESS_WRITE },
	};
	struct gmm_mapped_memory *memory = NULL;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(gmm_mapped_memory_create(&bad[i], &memory), -GMM_EINVAL);
	assert_null(memory);
	memory = make(pages, 0);
	assert_int_equal(gmm_mapped_memory_move(memory, pages + 8), -GMM_EINVAL);
	gmm_mapped_memory_close(memory);
	munmap(pages, PAGES * PAGE);
}

static void frames_are_one_range_of_the_mapping(void **state)
{
	const struct gmm_memory_ops *ops = gmm_mapped_memory_ops();
	unsigned char *pages = map_pages(PROT_READ);
	struct gmm_mapped_memory *memory = make(pages, GMM_ACCESS_READ);
	gmm_pfn_t pfns[4];
	void *pointer = NULL;

	assert_int_equal(ops->resolve(memory, 3, 4, GMM_ACCESS_READ, pfns), 0);
	assert_int_equal(ops->map(memory, pfns, 4, GMM_ACCESS_READ, &pointer), 0);
	assert_ptr_equal(pointer, pages + 3 * PAGE);
	ops->unmap(memory, pointer, 4);
	pfns[2] = pfns[0];
	assert_int_equal(ops->map(memory, pfns, 4, GMM_ACCESS_READ, &pointer), -GMM_EXDEV);
	assert_int_equal(ops->resolve(memory, 0, 1, GMM_ACCESS_WRITE, pfns), -GMM_EFAULT);
	assert_int_equal(ops->resolve(memory, PAGES - 1, 2, GMM_ACCESS_READ, pfns), -GMM_EFAULT);
	assert_int_equal(ops->resolve(memory, PAGES, 1, GMM_ACCESS_READ, pfns), -GMM_EFAULT);
	gmm_mapped_memory_close(memory);
	munmap(pages, PAGES * PAGE);
}

struct world {
	struct gmm_guest *guest;
	struct gmm_reader *reader;
	struct gmm_cache *cache;
};

static unsigned char *pointer_of(struct world *world)
{
	unsigned char *pointer;

	gmm_section_enter(world->reader);
	pointer = gmm_cache_pointer(world->cache, 0, PAGE);
	gmm_section_exit(world->reader);
	return pointer;
}

/* The guest runs on pages of which the second half is beyond what the mapping has. */
static void a_cache_follows_the_mapping_and_its_rights(void **state)
{
	unsigned char *here = map_pages(PROT_READ), *there = map_pages(PROT_READ);
	struct gmm_mapped_memory *memory = make(here, GMM_ACCESS_READ);
	struct gmm_guest_config config = { 0 };
	struct gmm_slot_config slot = { .gfn = 0x100,
					.count = 2 * PAGES,
					.memory_ops = gmm_mapped_memory_ops(),
					.memory = memory };
	struct gmm_range range = { 0x100, 0x100 + 2 * PAGES };
	struct world world;

	assert_int_equal(gmm_guest_create(&config, &world.guest), 0);
	assert_int_equal(gmm_slot_add(world.guest, &slot), 0);
	assert_int_equal(gmm_reader_register(world.guest, &world.reader), 0);
	assert_int_equal(gmm_cache_create(world.guest, &world.cache), 0);
	assert_int_equal(gmm_cache_activate(world.cache, 0x102000, PAGE, GMM_CACHE_HOST), 0);
	assert_ptr_equal(pointer_of(&world), here + 2 * PAGE);

	assert_int_equal(gmm_invalidate_begin(world.guest, GMM_RANGE_GFN, &range, 1, 0, NULL), 0);
	assert_int_equal(gmm_mapped_memory_move(memory, there), 0);
	gmm_invalidate_end(world.guest, GMM_RANGE_GFN, &range, 1);
	assert_null(pointer_of(&world));
	assert_int_equal(gmm_cache_refresh(world.cache), 0);
	assert_ptr_equal(pointer_of(&world), there + 2 * PAGE);

	assert_int_equal(gmm_cache_activate(world.cache, 0x102000, PAGE,
					    GMM_CACHE_HOST | GMM_CACHE_WRITE),
			 -GMM_EFAULT);
	assert_int_equal(gmm_cache_activate(world.cache, (0x100ull + PAGES) << 12, PAGE,
					    GMM_CACHE_HOST),
			 -GMM_EFAULT);
	assert_int_equal(gmm_cache_destroy(world.cache), 0);
	gmm_reader_unregister(world.reader);
	assert_int_equal(gmm_slot_remove(world.guest, 0), 0);
	assert_int_equal(gmm_guest_destroy(world.guest), 0);
	gmm_mapped_memory_close(memory);
	munmap(here, PAGES * PAGE);
	munmap(there, PAGES * PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_cannot_be_is_refused),
		cmocka_unit_test(frames_are_one_range_of_the_mapping),
		cmocka_unit_test(a_cache_follows_the_mapping_and_its_rights),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
