/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * One suite for every memory and every source it can start from. The report is the matrix:
 * "MEMORY on SOURCE: CASE".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "memory_world.h"

static const struct backing backings[] = {
	{ "memfd on file", GMM_MEMORY_KIND_MEMFD, FROM_FILE, MEMFD_FLAGS, 0 },
	{ "memfd on generated", GMM_MEMORY_KIND_MEMFD, FROM_GENERATOR, MEMFD_FLAGS, 0 },
	{ "memfd on nothing", GMM_MEMORY_KIND_MEMFD, FROM_NOTHING, MEMFD_FLAGS, 0 },
	{ "anonymous on file", GMM_MEMORY_KIND_ANONYMOUS, FROM_FILE, ANONYMOUS_FLAGS, 0 },
	{ "anonymous on generated", GMM_MEMORY_KIND_ANONYMOUS, FROM_GENERATOR, ANONYMOUS_FLAGS, 0 },
	{ "anonymous on nothing", GMM_MEMORY_KIND_ANONYMOUS, FROM_NOTHING, ANONYMOUS_FLAGS, 0 },
	{ "plain", GMM_MEMORY_KIND_PLAIN, FROM_NOTHING, 0, 0 },
	{ "memfd in use on file", GMM_MEMORY_KIND_MEMFD, FROM_FILE, MEMFD_FLAGS,
	  GMM_MEMORY_MAPPING_IN_USE },
	{ "memfd in use on nothing", GMM_MEMORY_KIND_MEMFD, FROM_NOTHING, MEMFD_FLAGS,
	  GMM_MEMORY_MAPPING_IN_USE },
	{ "plain in use", GMM_MEMORY_KIND_PLAIN, FROM_NOTHING, 0, GMM_MEMORY_MAPPING_IN_USE },
};

#define BACKINGS (sizeof(backings) / sizeof(backings[0]))

static const char zeros[PAGE_SIZE];

static void operations_are_complete(void **state)
{
	struct world *world = *state;

	assert_int_equal(world->ops->version, GMM_MEMORY_OPS_VERSION);
	assert_int_equal(world->ops->flags, world->backing->flags);
	assert_non_null(world->ops->name);
	assert_non_null(world->ops->resolve);
	assert_non_null(world->ops->put);
	assert_non_null(world->ops->map);
	assert_non_null(world->ops->unmap);
	if (world->ops->flags & GMM_MEMORY_LAZY) {
		assert_non_null(world->ops->fill);
		assert_non_null(world->ops->read);
	}
	if (world->ops->flags & GMM_MEMORY_EVICTABLE) {
		assert_true(world->ops->flags & GMM_MEMORY_LAZY);
		assert_non_null(world->ops->write_out);
		assert_non_null(world->ops->discard);
	}
	assert_int_equal(gmm_memory_size(world->memory), PAGES * PAGE_SIZE);
	assert_int_equal(counters_of(world).resident_pages,
			 world->ops->flags & GMM_MEMORY_LAZY ? 0 : PAGES);
}

static void fill_gives_the_source(void **state)
{
	struct world *world = *state;
	static const struct {
		uint64_t page;
		uint32_t count;
	} batches[] = { { 7, 1 }, { 0, 7 }, { 8, 3 }, { 16, 16 }, { 100, 37 }, { PAGES - 1, 1 } };
	uint64_t filled = 0;

	for (size_t i = 0; i < sizeof(batches) / sizeof(batches[0]); i++) {
		world->probe.hide_zeros = i % 2;
		fill(world, batches[i].page, batches[i].count, GMM_ORIGIN_SOURCE);
		filled += batches[i].count;
		for (uint64_t page = batches[i].page; page < batches[i].page + batches[i].count;
		     page++) {
			assert_true(present(world, page));
			assert_reads(world, page, true, GMM_ORIGIN_SOURCE,
				     world->expected + page * PAGE_SIZE);
		}
	}
	assert_int_equal(counters_of(world).resident_pages, filled);
	assert_int_equal(counters_of(world).source_pages, filled);
	assert_int_equal(counters_of(world).filled_bytes, filled * PAGE_SIZE);
	assert_int_equal(counters_of(world).fills, sizeof(batches) / sizeof(batches[0]));
}

static void fill_leaves_neighbours_absent(void **state)
{
	struct world *world = *state;

	fill(world, 20, 2, GMM_ORIGIN_SOURCE);
	fill(world, 40, 2, GMM_ORIGIN_ZERO);
	for (uint64_t page = 0; page < PAGES; page++)
		assert_int_equal(present(world, page), page / 2 == 10 || page / 2 == 20);
}

static void read_of_absent_pages_leaves_them_absent(void **state)
{
	struct world *world = *state;

	for (uint64_t page = 0; page < PAGES; page++) {
		assert_reads(world, page, false, GMM_ORIGIN_SOURCE,
			     world->expected + page * PAGE_SIZE);
		assert_reads(world, page, false, GMM_ORIGIN_ZERO, zeros);
		assert_false(present(world, page));
	}
	assert_int_equal(counters_of(world).resident_pages, 0);
	fill(world, 0, PAGES, GMM_ORIGIN_SOURCE);
	assert_memory_equal(gmm_memory_vcpu_address(world->memory), world->expected,
			    PAGES * PAGE_SIZE);
}

static void zero_means_zero(void **state)
{
	struct world *world = *state;

	fill(world, 30, 20, GMM_ORIGIN_ZERO);
	for (uint64_t page = 30; page < 50; page++)
		assert_reads(world, page, true, GMM_ORIGIN_ZERO, zeros);
	assert_int_equal(counters_of(world).zero_pages, 20);
}

static void evicted_pages_come_back(void **state)
{
	struct world *world = *state;
	char wanted[PAGE_SIZE];

	fill(world, 10, 40, GMM_ORIGIN_SOURCE);
	for (uint64_t page = 10; page < 50; page++)
		vcpu_write(world, page, (int)page);
	assert_int_equal(world->ops->write_out(world->memory, 10, 40), 0);
	assert_int_equal(world->ops->discard(world->memory, 10, 40), 0);
	assert_int_equal(counters_of(world).resident_pages, 0);
	for (uint64_t page = 10; page < 50; page++) {
		memset(wanted, (int)page, sizeof(wanted));
		assert_false(present(world, page));
		assert_reads(world, page, false, GMM_ORIGIN_STORE, wanted);
		assert_false(present(world, page));
	}
	fill(world, 12, 30, GMM_ORIGIN_STORE);
	for (uint64_t page = 12; page < 42; page++) {
		memset(wanted, (int)page, sizeof(wanted));
		assert_reads(world, page, true, GMM_ORIGIN_STORE, wanted);
	}
	assert_int_equal(counters_of(world).resident_pages, 30);
	assert_int_equal(counters_of(world).written_out_pages, 40);
	assert_int_equal(counters_of(world).written_out_bytes, 40 * PAGE_SIZE);
	assert_int_equal(counters_of(world).discarded_pages, 40);
	assert_int_equal(counters_of(world).store_pages, 30);
}

static void second_eviction_saves_the_newer_page(void **state)
{
	struct world *world = *state;
	char wanted[PAGE_SIZE];

	fill(world, 5, 1, GMM_ORIGIN_SOURCE);
	for (int turn = 1; turn <= 3; turn++) {
		vcpu_write(world, 5, turn);
		assert_int_equal(world->ops->write_out(world->memory, 5, 1), 0);
		assert_int_equal(world->ops->discard(world->memory, 5, 1), 0);
		fill(world, 5, 1, GMM_ORIGIN_STORE);
		memset(wanted, turn, sizeof(wanted));
		assert_reads(world, 5, true, GMM_ORIGIN_STORE, wanted);
	}
}

static void discarded_contents_are_gone(void **state)
{
	struct world *world = *state;

	fill(world, 60, 2, GMM_ORIGIN_SOURCE);
	vcpu_write(world, 60, 0xaa);
	vcpu_write(world, 61, 0xbb);
	assert_int_equal(world->ops->discard(world->memory, 60, 2), 0);
	fill(world, 60, 1, GMM_ORIGIN_ZERO);
	fill(world, 61, 1, GMM_ORIGIN_SOURCE);
	assert_reads(world, 60, true, GMM_ORIGIN_ZERO, zeros);
	assert_reads(world, 61, true, GMM_ORIGIN_SOURCE, world->expected + 61 * PAGE_SIZE);
	/* Pages that are not there can be discarded, too. */
	assert_int_equal(world->ops->discard(world->memory, 0, PAGES), 0);
	assert_int_equal(counters_of(world).discarded_pages, 4);
}

static void store_has_only_what_was_written_out(void **state)
{
	struct world *world = *state;
	char buffer[PAGE_SIZE], text[GMM_BACKING_TEXT_SIZE];

	fill(world, 3, 1, GMM_ORIGIN_SOURCE);
	assert_int_equal(world->ops->write_out(world->memory, 3, 1), 0);
	assert_int_equal(world->ops->discard(world->memory, 3, 1), 0);
	assert_int_equal(world->ops->fill(world->memory, 3, 2, GMM_ORIGIN_STORE), -GMM_EIO);
	assert_int_equal(world->ops->read(world->memory, 4, false, GMM_ORIGIN_STORE, buffer),
			 -GMM_EIO);
	gmm_memory_failure(world->memory, text, sizeof(text));
	assert_helpful(text, "3 + 2", "never written out");
	assert_false(present(world, 3));
	/* Nor can what is not resident be written out. */
	assert_int_equal(world->ops->write_out(world->memory, 4, 1), -GMM_EIO);
	fill(world, 3, 1, GMM_ORIGIN_STORE);
}

static void full_store_loses_nothing(void **state)
{
	struct world *world = *state;
	char wanted[PAGE_SIZE], text[GMM_BACKING_TEXT_SIZE];
	struct rlimit before, small;
	int result;

	fill(world, 8, 4, GMM_ORIGIN_SOURCE);
	vcpu_write(world, 9, 0x5a);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = before;
	small.rlim_cur = 9 * PAGE_SIZE;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	result = world->ops->write_out(world->memory, 8, 4);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	signal(SIGXFSZ, SIG_DFL);
	assert_int_equal(result, -GMM_EIO);
	gmm_memory_failure(world->memory, text, sizeof(text));
	assert_helpful(text, world->directory, "TMPDIR");
	assert_int_equal(counters_of(world).resident_pages, 4);
	assert_int_equal(counters_of(world).written_out_pages, 0);
	memset(wanted, 0x5a, sizeof(wanted));
	assert_reads(world, 9, true, GMM_ORIGIN_SOURCE, wanted);
	assert_int_equal(world->ops->write_out(world->memory, 8, 4), 0);
}

static void failed_fill_changes_nothing(void **state)
{
	struct world *world = *state;
	char text[GMM_BACKING_TEXT_SIZE];

	world->probe.hide_zeros = true;
	world->probe.fails_at = 45;
	assert_int_equal(world->ops->fill(world->memory, 10, 40, GMM_ORIGIN_SOURCE), -GMM_EIO);
	gmm_memory_failure(world->memory, text, sizeof(text));
	assert_string_equal(text, "probe: failed as told to");
	for (uint64_t page = 0; page < PAGES; page++)
		assert_false(present(world, page));
	assert_int_equal(counters_of(world).resident_pages, 0);
	assert_int_equal(counters_of(world).fills, 0);
	world->probe.fails_at = UINT64_MAX;
	fill(world, 10, 40, GMM_ORIGIN_SOURCE);
	assert_reads(world, 45, true, GMM_ORIGIN_SOURCE, world->expected + 45 * PAGE_SIZE);
	assert_int_equal(counters_of(world).foreign_pages, 0);
}

static void fill_never_overwrites_a_write(void **state)
{
	struct world *world = *state;
	char wanted[PAGE_SIZE];

	fill(world, 70, 1, GMM_ORIGIN_SOURCE);
	vcpu_write(world, 70, 0x77);
	assert_int_equal(world->ops->fill(world->memory, 68, 4, GMM_ORIGIN_SOURCE), -GMM_EIO);
	memset(wanted, 0x77, sizeof(wanted));
	assert_reads(world, 70, true, GMM_ORIGIN_SOURCE, wanted);
	assert_false(present(world, 68));
	assert_false(present(world, 71));
}

static void ranges_beyond_the_end_are_refused(void **state)
{
	struct world *world = *state;
	static const struct {
		uint64_t page;
		uint32_t count;
	} ranges[] = {
		{ PAGES, 1 }, { PAGES - 1, 2 }, { UINT64_MAX, 2 }, { 0, PAGES + 1 }, { 1, 0 }
	};
	gmm_pfn_t pfns[PAGES + 1];
	char buffer[PAGE_SIZE];

	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		uint64_t page = ranges[i].page;
		uint32_t count = ranges[i].count;

		assert_int_equal(world->ops->resolve(world->memory, page, count, GMM_ACCESS_READ,
						     pfns),
				 -GMM_EFAULT);
		if (!(world->ops->flags & GMM_MEMORY_LAZY))
			continue;
		assert_int_equal(world->ops->fill(world->memory, page, count, GMM_ORIGIN_SOURCE),
				 -GMM_EIO);
		assert_int_equal(world->ops->write_out(world->memory, page, count), -GMM_EIO);
		assert_int_equal(world->ops->discard(world->memory, page, count), -GMM_EIO);
	}
	assert_int_equal(world->ops->read(world->memory, PAGES, false, GMM_ORIGIN_ZERO, buffer),
			 -GMM_EIO);
	assert_int_equal(counters_of(world).references, 0);
}

static void ledger_counts_references(void **state)
{
	struct world *world = *state;
	gmm_pfn_t pfns[4], again[2];

	if (world->ops->flags & GMM_MEMORY_LAZY)
		fill(world, 50, 4, GMM_ORIGIN_SOURCE);
	assert_int_equal(world->ops->resolve(world->memory, 50, 4, GMM_ACCESS_READ, pfns), 0);
	assert_int_equal(world->ops->resolve(world->memory, 51, 2, GMM_ACCESS_WRITE, again), 0);
	for (uint64_t i = 0; i < 4; i++)
		assert_int_equal(pfns[i], 50 + i);
	assert_int_equal(again[0], pfns[1]);
	assert_int_equal(counters_of(world).references, 6);
	assert_int_equal(gmm_memory_page_references(world->memory, 50), 1);
	assert_int_equal(gmm_memory_page_references(world->memory, 51), 2);
	world->ops->put(world->memory, pfns, 4);
	assert_int_equal(gmm_memory_page_references(world->memory, 50), 0);
	assert_int_equal(gmm_memory_page_references(world->memory, 52), 1);
	world->ops->put(world->memory, again, 2);
	assert_int_equal(counters_of(world).references, 0);
}

static void mapping_shows_what_vcpus_see(void **state)
{
	struct world *world = *state;
	char *vcpu = gmm_memory_vcpu_address(world->memory);
	gmm_pfn_t pfns[3];
	void *pointer = NULL;
	char *bytes;

	if (world->ops->flags & GMM_MEMORY_LAZY)
		fill(world, 90, 3, GMM_ORIGIN_SOURCE);
	assert_int_equal(world->ops->resolve(world->memory, 90, 3, GMM_ACCESS_WRITE, pfns), 0);
	assert_int_equal(world->ops->map(world->memory, pfns, 3, GMM_ACCESS_WRITE, &pointer), 0);
	assert_int_equal((uintptr_t)pointer % PAGE_SIZE, 0);
	assert_int_equal(counters_of(world).mappings, 1);
	bytes = pointer;
	assert_memory_equal(bytes, world->expected + 90 * PAGE_SIZE, 3 * PAGE_SIZE);
	vcpu_write(world, 91, 0x31);
	assert_int_equal(bytes[PAGE_SIZE + 17], 0x31);
	vcpu_write(world, 92, 0x32);
	bytes[2 * PAGE_SIZE + 5] = 0x33;
	assert_int_equal(vcpu[92 * PAGE_SIZE + 5], 0x33);
	assert_int_equal(vcpu[92 * PAGE_SIZE + 6], 0x32);
	world->ops->unmap(world->memory, pointer, 3);
	assert_int_equal(counters_of(world).mappings, 0);
	/* Frames out of order are no range of addresses, unless addresses are made for them. */
	pfns[1] = 92;
	if (world->backing->mapping == GMM_MEMORY_MAPPING_IN_USE) {
		assert_int_equal(world->ops->map(world->memory, pfns, 2, GMM_ACCESS_READ, &pointer),
				 0);
		bytes = pointer;
		assert_memory_equal(bytes, vcpu + 90 * PAGE_SIZE, PAGE_SIZE);
		assert_memory_equal(bytes + PAGE_SIZE, vcpu + 92 * PAGE_SIZE, PAGE_SIZE);
		assert_int_equal(counters_of(world).mapped_bytes, 2 * PAGE_SIZE);
		world->ops->unmap(world->memory, pointer, 2);
	} else {
		assert_int_equal(world->ops->map(world->memory, pfns, 2, GMM_ACCESS_READ, &pointer),
				 -GMM_EIO);
	}
	pfns[1] = 91;
	world->ops->put(world->memory, pfns, 3);
	assert_int_equal(counters_of(world).mappings, 0);
}

static void eviction_between_resolve_and_map_is_no_failure(void **state)
{
	struct world *world = *state;
	void *pointer = NULL;
	gmm_pfn_t pfn;

	fill(world, 33, 1, GMM_ORIGIN_SOURCE);
	assert_int_equal(world->ops->resolve(world->memory, 33, 1, GMM_ACCESS_READ, &pfn), 0);
	assert_int_equal(world->ops->discard(world->memory, 33, 1), 0);
	assert_int_equal(world->ops->map(world->memory, &pfn, 1, GMM_ACCESS_READ, &pointer), 0);
	world->ops->unmap(world->memory, pointer, 1);
	world->ops->put(world->memory, &pfn, 1);
	assert_false(present(world, 33));
}

static void vcpu_mapping_can_be_dropped(void **state)
{
	struct world *world = *state;
	char *vcpu = gmm_memory_vcpu_address(world->memory);
	char wanted[PAGE_SIZE];

	fill(world, 80, 2, GMM_ORIGIN_SOURCE);
	vcpu_write(world, 81, 0x44);
	assert_int_equal(madvise(vcpu + 80 * PAGE_SIZE, 2 * PAGE_SIZE, MADV_DONTNEED), 0);
	memset(wanted, 0x44, sizeof(wanted));
	assert_reads(world, 80, true, GMM_ORIGIN_SOURCE, world->expected + 80 * PAGE_SIZE);
	assert_reads(world, 81, true, GMM_ORIGIN_SOURCE, wanted);
	assert_memory_equal(vcpu + 81 * PAGE_SIZE, wanted, PAGE_SIZE);
}

struct filler {
	struct world *world;
	uint64_t first;
	int result;
};

static void *fill_every_other(void *argument)
{
	struct filler *filler = argument;
	struct world *world = filler->world;

	for (uint64_t page = filler->first; page < PAGES && filler->result == 0; page += 2) {
		filler->result = world->ops->fill(world->memory, page, 1, GMM_ORIGIN_SOURCE);
		if (filler->result == 0)
			filler->result = world->ops->write_out(world->memory, page, 1);
		if (filler->result == 0 && page % 4 < 2)
			filler->result = world->ops->discard(world->memory, page, 1);
	}
	return NULL;
}

static void neighbours_change_at_once(void **state)
{
	struct world *world = *state;
	struct filler fillers[2] = { { .world = world, .first = 0 },
				     { .world = world, .first = 1 } };
	pthread_t threads[2];

	for (size_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, fill_every_other, &fillers[i]),
				 0);
	for (size_t i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(fillers[i].result, 0);
	}
	for (uint64_t page = 0; page < PAGES; page++) {
		assert_int_equal(present(world, page), page % 4 >= 2);
		assert_reads(world, page, page % 4 >= 2, GMM_ORIGIN_STORE,
			     world->expected + page * PAGE_SIZE);
	}
	assert_int_equal(counters_of(world).resident_pages, PAGES / 2);
	assert_int_equal(counters_of(world).written_out_pages, PAGES);
}

static const struct {
	const char *name;
	void (*run)(void **state);
	uint32_t needs; /* GMM_MEMORY_*; others do not have the case */
	bool needs_source;
} cases[] = {
	{ "operations are complete", operations_are_complete, 0, false },
	{ "ranges beyond the end are refused", ranges_beyond_the_end_are_refused, 0, false },
	{ "ledger counts references", ledger_counts_references, 0, false },
	{ "mapping shows what vCPUs see", mapping_shows_what_vcpus_see, 0, false },
	{ "fill gives the source", fill_gives_the_source, GMM_MEMORY_LAZY, false },
	{ "fill leaves neighbours absent", fill_leaves_neighbours_absent, GMM_MEMORY_LAZY, false },
	{ "read of absent pages leaves them absent", read_of_absent_pages_leaves_them_absent,
	  GMM_MEMORY_LAZY, false },
	{ "zero means zero", zero_means_zero, GMM_MEMORY_LAZY, false },
	{ "failed fill changes nothing", failed_fill_changes_nothing, GMM_MEMORY_LAZY, true },
	{ "fill never overwrites a write", fill_never_overwrites_a_write, GMM_MEMORY_LAZY, false },
	{ "evicted pages come back", evicted_pages_come_back, GMM_MEMORY_EVICTABLE, false },
	{ "second eviction saves the newer page", second_eviction_saves_the_newer_page,
	  GMM_MEMORY_EVICTABLE, false },
	{ "discarded contents are gone", discarded_contents_are_gone, GMM_MEMORY_EVICTABLE, false },
	{ "store has only what was written out", store_has_only_what_was_written_out,
	  GMM_MEMORY_EVICTABLE, false },
	{ "full store loses nothing", full_store_loses_nothing, GMM_MEMORY_EVICTABLE, false },
	{ "eviction between resolve and map is no failure",
	  eviction_between_resolve_and_map_is_no_failure, GMM_MEMORY_EVICTABLE, false },
	{ "neighbours change at once", neighbours_change_at_once, GMM_MEMORY_EVICTABLE, false },
	{ "vCPU mapping can be dropped", vcpu_mapping_can_be_dropped, GMM_MEMORY_AGEABLE, false },
};

#define CASES (sizeof(cases) / sizeof(cases[0]))

static bool has_case(const struct backing *backing, size_t number)
{
	return (backing->flags & cases[number].needs) == cases[number].needs &&
	       (backing->source != FROM_NOTHING || !cases[number].needs_source);
}

int main(void)
{
	static struct CMUnitTest tests[BACKINGS * CASES];
	static char names[BACKINGS * CASES][128];
	const char *reason = "";
	int userfaultfd = userfault_open(UFFD_FEATURE_PAGEFAULT_FLAG_WP, &reason);
	size_t count = 0;

	if (userfaultfd < 0)
		printf("# SKIP anonymous memory: %s\n", reason);
	for (size_t i = 0; i < BACKINGS * CASES; i++) {
		const struct backing *backing = &backings[i / CASES];

		if (!has_case(backing, i % CASES) ||
		    (backing->kind == GMM_MEMORY_KIND_ANONYMOUS && userfaultfd < 0))
			continue;
		snprintf(names[count], sizeof(names[count]), "%s: %s", backing->name,
			 cases[i % CASES].name);
		tests[count] = (struct CMUnitTest){
			.name = names[count],
			.test_func = cases[i % CASES].run,
			.setup_func = world_set_up,
			.teardown_func = world_tear_down,
			.initial_state = (void *)backing,
		};
		count++;
	}
	if (userfaultfd >= 0)
		close(userfaultfd);
	return _cmocka_run_group_tests("memory conformance", tests, count, NULL, NULL);
}
