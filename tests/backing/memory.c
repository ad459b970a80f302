/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What is refused when a memory is made, and what only one kind of memory does. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backing_test.h"

#define PAGES 24u

static struct gmm_memory_config config_of(enum gmm_memory_kind kind)
{
	return (struct gmm_memory_config){
		.kind = kind,
		.page_count = PAGES,
		.page_shift = PAGE_SHIFT,
	};
}

static void refused(const struct gmm_memory_config *config, int error, const char *thing,
		    const char *way_out)
{
	char text[GMM_BACKING_TEXT_SIZE] = "";
	struct gmm_memory *memory = NULL;
	unsigned int files = open_files();

	assert_int_equal(gmm_memory_create(config, &memory, text, sizeof(text)), error);
	assert_null(memory);
	assert_helpful(text, thing, way_out);
	assert_int_equal(open_files(), files);
}

static void bad_sizes(void **state)
{
	struct gmm_memory_config config = config_of(GMM_MEMORY_KIND_MEMFD);

	config.page_count = 0;
	refused(&config, -GMM_EINVAL, "0 pages", "at least one");
	config.page_count = UINT64_MAX;
	refused(&config, -GMM_EINVAL, "pages", "at most 2^47");
	config.page_count = (1ull << 47) >> PAGE_SHIFT;
	refused(&config, -GMM_ENOMEM, "address space", "take less");
	config = config_of(GMM_MEMORY_KIND_MEMFD);
	config.page_shift = 10;
	refused(&config, -GMM_EINVAL, "2^10", "12 to 16");
	config = config_of((enum gmm_memory_kind)77);
	refused(&config, -GMM_EINVAL, "77", "no kind");
}

static void sources_that_do_not_fit(void **state)
{
	struct gmm_memory_config config = config_of(GMM_MEMORY_KIND_MEMFD);
	struct gmm_source_ops incomplete;

	gmm_source_open_generated(&config.source, 1, PAGES - 1, PAGE_SHIFT, NULL, 0);
	refused(&config, -GMM_EINVAL, "98304", "make them equal");
	gmm_source_close(&config.source);
	gmm_source_open_generated(&config.source, 1, PAGES / 4, PAGE_SHIFT + 2, NULL, 0);
	refused(&config, -GMM_EINVAL, "source", "pages of another size");
	gmm_source_close(&config.source);
	gmm_source_open_generated(&config.source, 1, PAGES, PAGE_SHIFT, NULL, 0);
	config.kind = GMM_MEMORY_KIND_PLAIN;
	refused(&config, -GMM_EINVAL, "plain", "take the kind");
	config.kind = GMM_MEMORY_KIND_ANONYMOUS;
	incomplete = *config.source.ops;
	incomplete.failure = NULL;
	config.source.ops->close(config.source.source);
	config.source.ops = &incomplete;
	refused(&config, -GMM_EINVAL, "source", "lacks operations");
}

static void bad_store_directories(void **state)
{
	struct gmm_memory_config config = config_of(GMM_MEMORY_KIND_MEMFD);
	char *before = getenv("TMPDIR");
	char *saved = before ? strdup(before) : NULL;
	char *directory = scratch_make();
	char *missing = scratch_path(directory, "missing");

	config.store_directory = missing;
	refused(&config, -GMM_EIO, missing, "set TMPDIR");
	config.store_directory = NULL;
	setenv("TMPDIR", missing, 1);
	refused(&config, -GMM_EIO, missing, "set TMPDIR");
	if (saved)
		setenv("TMPDIR", saved, 1);
	else
		unsetenv("TMPDIR");
	free(saved);
	free(missing);
	scratch_remove(directory);
}

static void large_pages(void **state)
{
	struct gmm_memory_config config = config_of(GMM_MEMORY_KIND_MEMFD);
	char text[GMM_BACKING_TEXT_SIZE] = "", *got = malloc(5 << 16), *wanted = malloc(5 << 16);
	struct gmm_memory *memory;
	const struct gmm_memory_ops *ops;

	config.page_shift = 16;
	config.page_count = 5;
	gmm_source_open_generated(&config.source, 7, 5, 16, NULL, 0);
	if (gmm_memory_create(&config, &memory, text, sizeof(text)) != 0)
		fail_msg("%s", text);
	ops = gmm_memory_ops_of(memory);
	assert_int_equal(ops->fill(memory, 0, 5, GMM_ORIGIN_SOURCE), 0);
	assert_int_equal(ops->write_out(memory, 0, 5), 0);
	assert_int_equal(ops->discard(memory, 0, 5), 0);
	assert_int_equal(ops->fill(memory, 1, 4, GMM_ORIGIN_STORE), 0);
	config.source.ops->read(config.source.source, 0, 5, wanted);
	for (uint64_t page = 0; page < 5; page++)
		assert_int_equal(
			ops->read(memory, page, page > 0, GMM_ORIGIN_STORE, got + (page << 16)), 0);
	assert_memory_equal(got, wanted, 5 << 16);
	gmm_memory_close(memory);
	gmm_source_close(&config.source);
	free(got);
	free(wanted);
}

struct anonymous {
	struct gmm_source source;
	struct gmm_memory *memory;
	const struct gmm_memory_ops *ops;
	char *bytes;
	int userfaultfd;
};

static int anonymous_set_up(void **state)
{
	struct anonymous *anonymous = calloc(1, sizeof(*anonymous));
	struct gmm_memory_config config = config_of(GMM_MEMORY_KIND_ANONYMOUS);
	const char *reason;

	gmm_source_open_generated(&anonymous->source, 5, PAGES, PAGE_SHIFT, NULL, 0);
	config.source = anonymous->source;
	assert_int_equal(gmm_memory_create(&config, &anonymous->memory, NULL, 0), 0);
	anonymous->ops = gmm_memory_ops_of(anonymous->memory);
	anonymous->bytes = gmm_memory_vcpu_address(anonymous->memory);
	anonymous->userfaultfd = userfault_open(UFFD_FEATURE_PAGEFAULT_FLAG_WP, &reason);
	*state = anonymous;
	return 0;
}

static int anonymous_tear_down(void **state)
{
	struct anonymous *anonymous = *state;

	gmm_memory_close(anonymous->memory);
	gmm_source_close(&anonymous->source);
	close(anonymous->userfaultfd);
	free(anonymous);
	return 0;
}

static void attach(struct anonymous *anonymous, uint64_t mode)
{
	assert_int_equal(userfault_register(anonymous->userfaultfd, anonymous->bytes,
					    PAGES * PAGE_SIZE, mode),
			 0);
	gmm_memory_attach_userfault(anonymous->memory, anonymous->userfaultfd);
}

#define MISSING_AND_WP (UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP)

static void assert_fill_fails(struct anonymous *anonymous, uint64_t page, uint32_t count,
			      const char *way_out)
{
	char text[GMM_BACKING_TEXT_SIZE];

	assert_int_equal(anonymous->ops->fill(anonymous->memory, page, count, GMM_ORIGIN_SOURCE),
			 -GMM_EIO);
	gmm_memory_failure(anonymous->memory, text, sizeof(text));
	assert_helpful(text, "anonymous memory: page", way_out);
}

static void unattached_memory_is_not_filled(void **state)
{
	assert_fill_fails(*state, 0, 1, "registered with this userfaultfd");
}

static void memory_registered_without_wp_is_not_filled(void **state)
{
	attach(*state, UFFDIO_REGISTER_MODE_MISSING);
	assert_fill_fails(*state, 0, 1, "MISSING and WP");
}

/*
 * Bit 57 of an entry of pagemap: write-protected by userfaultfd (Linux's admin-guide/mm/pagemap).
 */
static bool write_protected(struct anonymous *anonymous, uint64_t page)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;
	off_t place = (off_t)((uintptr_t)anonymous->bytes / PAGE_SIZE + page) * 8;

	assert_int_equal(pread(fd, &entry, sizeof(entry), place), sizeof(entry));
	close(fd);
	return entry >> 57 & 1;
}

static void first_writes_are_seen(void **state)
{
	struct anonymous *anonymous = *state;

	attach(anonymous, MISSING_AND_WP);
	assert_int_equal(anonymous->ops->fill(anonymous->memory, 0, 6, GMM_ORIGIN_SOURCE), 0);
	assert_int_equal(anonymous->ops->fill(anonymous->memory, 6, 6, GMM_ORIGIN_ZERO), 0);
	for (uint64_t page = 0; page < 12; page++)
		assert_true(write_protected(anonymous, page));
}

/* The kernel cuts the mapping where its parts differ, and one call of it fills one part only. */
static void mapping_that_is_cut_up_is_filled(void **state)
{
	struct anonymous *anonymous = *state;

	attach(anonymous, MISSING_AND_WP);
	assert_int_equal(madvise(anonymous->bytes + 5 * PAGE_SIZE, PAGE_SIZE, MADV_DONTDUMP), 0);
	assert_int_equal(anonymous->ops->fill(anonymous->memory, 0, 8, GMM_ORIGIN_ZERO), 0);
	for (uint64_t page = 0; page < 8; page++)
		assert_true(write_protected(anonymous, page));
}

static void foreign_page_is_never_taken_for_the_source(void **state)
{
	struct anonymous *anonymous = *state;
	struct gmm_memory_counters counters;

	/* As an access before the mapping was registered would. */
	memset(anonymous->bytes + 9 * PAGE_SIZE, 0x66, PAGE_SIZE);
	attach(anonymous, MISSING_AND_WP);
	assert_fill_fails(anonymous, 4, 8, "page 9 was changed before it was filled");
	for (size_t i = 0; i < PAGE_SIZE; i++)
		assert_int_equal(anonymous->bytes[9 * PAGE_SIZE + i], 0x66);
	gmm_memory_read_counters(anonymous->memory, &counters);
	assert_int_equal(counters.resident_pages, 0);
	assert_int_equal(counters.foreign_pages, 1);
	assert_int_equal(anonymous->ops->fill(anonymous->memory, 4, 5, GMM_ORIGIN_SOURCE), 0);
}

static void foreign_page_with_the_same_contents_is_taken(void **state)
{
	struct anonymous *anonymous = *state;
	struct gmm_memory_counters counters;
	char wanted[PAGE_SIZE];

	anonymous->source.ops->read(anonymous->source.source, 9, 1, wanted);
	memcpy(anonymous->bytes + 9 * PAGE_SIZE, wanted, PAGE_SIZE);
	attach(anonymous, MISSING_AND_WP);
	assert_int_equal(anonymous->ops->fill(anonymous->memory, 4, 8, GMM_ORIGIN_SOURCE), 0);
	assert_true(write_protected(anonymous, 9));
	gmm_memory_read_counters(anonymous->memory, &counters);
	assert_int_equal(counters.resident_pages, 8);
	assert_int_equal(counters.foreign_pages, 1);
	assert_memory_equal(anonymous->bytes + 9 * PAGE_SIZE, wanted, PAGE_SIZE);
}

static void placed_where_the_caller_reserved(void **state)
{
	const size_t bytes = (PAGES + 2) << PAGE_SHIFT;
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	char *reserved = mmap(NULL, bytes, PROT_NONE, flags, -1, 0);
	struct gmm_memory *memory;
	uint32_t kind;

	assert_ptr_not_equal(reserved, MAP_FAILED);
	for (kind = GMM_MEMORY_KIND_MEMFD; kind <= GMM_MEMORY_KIND_PLAIN; kind++) {
		struct gmm_memory_config config = config_of((enum gmm_memory_kind)kind);

		config.vcpu_address = reserved + 1;
		refused(&config, -GMM_EINVAL, "memory at", "a multiple of its page size");
		config.vcpu_address = reserved + PAGE_SIZE;
		assert_int_equal(gmm_memory_create(&config, &memory, NULL, 0), 0);
		assert_ptr_equal(gmm_memory_vcpu_address(memory), config.vcpu_address);
		gmm_memory_close(memory);
		/* Nothing else can have been mapped there. */
		assert_ptr_equal(mmap(reserved, bytes, PROT_NONE, flags | MAP_FIXED_NOREPLACE, -1,
				      0),
				 MAP_FAILED);
		for (size_t page = 0; page < PAGES + 2; page++)
			assert_ptr_equal(mmap(reserved + (page << PAGE_SHIFT), PAGE_SIZE, PROT_NONE,
					      flags | MAP_FIXED_NOREPLACE, -1, 0),
					 MAP_FAILED);
	}
	munmap(reserved, bytes);
}

#define ANONYMOUS_CASE(name) \
	cmocka_unit_test_setup_teardown(name, anonymous_set_up, anonymous_tear_down)

int main(void)
{
	const struct CMUnitTest for_all[] = {
		cmocka_unit_test(bad_sizes),
		cmocka_unit_test(sources_that_do_not_fit),
		cmocka_unit_test(bad_store_directories),
		cmocka_unit_test(large_pages),
		cmocka_unit_test(placed_where_the_caller_reserved),
		ANONYMOUS_CASE(unattached_memory_is_not_filled),
		ANONYMOUS_CASE(memory_registered_without_wp_is_not_filled),
		ANONYMOUS_CASE(first_writes_are_seen),
		ANONYMOUS_CASE(mapping_that_is_cut_up_is_filled),
		ANONYMOUS_CASE(foreign_page_is_never_taken_for_the_source),
		ANONYMOUS_CASE(foreign_page_with_the_same_contents_is_taken),
	};
	const char *reason = "";
	int userfaultfd = userfault_open(UFFD_FEATURE_PAGEFAULT_FLAG_WP, &reason);
	size_t count = sizeof(for_all) / sizeof(for_all[0]);

	if (userfaultfd >= 0) {
		close(userfaultfd);
	} else {
		printf("# SKIP filling anonymous memory: %s\n", reason);
		count = 6;
	}
	return _cmocka_run_group_tests("memories", for_all, count, NULL, NULL);
}
