/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* One vCPU on CPU 0. */
#include "conformance.h"

#include <gmm_port/alloc.h>

#include <guestmm/error.h>

#define PAGES 64u     /* that tests of single pages use */
#define OFFSET 0x128u /* within a page, of accesses that are to fault */
#define VALUE 0x1234u
#define RETURNED 42u
#define ROUNDS 6u
#define TURNS 300u

static struct vcpu *guest(void)
{
	return &hypervisor.vcpus[0];
}

/* The next access: how it ends. */
static struct bare_exit try(enum guest_operation operation, gmm_gpa_t address, uint64_t value)
{
	vcpu_ask(guest(), operation, address, value);
	return vcpu_run(guest());
}

static void check_fault(struct bare_exit exit, gmm_gpa_t address, uint32_t access)
{
	gmm_equal(exit.kind, BARE_EXIT_FAULT);
	gmm_equal(exit.gpa, address);
	gmm_equal(exit.access, access);
}

static struct gmm_stage2_leaf touch(gmm_gfn_t gfn, uint32_t access, int wanted)
{
	struct gmm_stage2_leaf leaf = { 0 };

	gmm_equal(gmm_stage2_table_touch(guest()->walker, gfn, access, 0, &leaf), wanted);
	if (leaf.flags & GMM_STAGE2_FLUSH_HERE)
		bare_guest_flush();
	return leaf;
}

static void absent_frames_fault_with_address_and_access(void)
{
	gmm_gpa_t address = area_gpa(&hypervisor, 3) + OFFSET;

	check_fault(try(GUEST_READ, address, 0), address, GMM_LEAF_READ);
	check_fault(vcpu_run(guest()), address, GMM_LEAF_READ);
	area_map(&hypervisor, 3, 1, LEAF_READY);
	vcpu_finish(guest());
	gmm_equal(guest()->box->result, 0);
	area_unmap(&hypervisor);
	check_fault(try(GUEST_WRITE, address, VALUE), address, GMM_LEAF_WRITE);
	vcpu_finish(guest());
	gmm_equal(area_word(&hypervisor, 3)[OFFSET / 8], VALUE);
	area_unmap(&hypervisor);
	check_fault(try(GUEST_CALL, address, 0), address, GMM_LEAF_EXEC);
	bare_guest_function(&area_word(&hypervisor, 3)[OFFSET / 8], RETURNED);
	vcpu_finish(guest());
	gmm_equal(guest()->box->result, RETURNED);
}

static void read_only_frames_are_read_and_not_written(void)
{
	gmm_gpa_t address = area_gpa(&hypervisor, 5);

	area_map(&hypervisor, 5, 1, GMM_LEAF_READ | GMM_LEAF_YOUNG);
	gmm_equal(guest_read(guest(), address), address);
	check_fault(try(GUEST_WRITE, address, VALUE), address, GMM_LEAF_WRITE);
	touch(area_gfn(&hypervisor, 5), GMM_LEAF_WRITE, -GMM_EROFS);
	check_fault(vcpu_run(guest()), address, GMM_LEAF_WRITE);
	gmm_equal(*area_word(&hypervisor, 5), address);
	gmm_ok(!(leaf_at(&hypervisor, area_gfn(&hypervisor, 5)).leaf & GMM_LEAF_DIRTY));
	/* More rights for the same frame: the next access has them. */
	area_map(&hypervisor, 5, 1, LEAF_READY);
	bare_guest_flush();
	gmm_equal(vcpu_run(guest()).kind, BARE_EXIT_CALL);
	gmm_equal(*area_word(&hypervisor, 5), VALUE);
}

/* L6: where the machine remembers that it found no way, the vCPU that faulted flushes before it enters. */
static void a_fault_is_over_after_the_flush_that_the_format_asks_for(void)
{
	enum bare_exit_kind until_flushed = bare_guest_machine.remembers_faults ? BARE_EXIT_FAULT :
										  BARE_EXIT_CALL;
	gmm_gpa_t address = area_gpa(&hypervisor, 4);

	if (bare_guest_machine.remembers_faults)
		gmm_ok(hypervisor.facts->facts & GMM_STAGE2_FLUSHES_AFTER_MAP);
	check_fault(try(GUEST_READ, address, 0), address, GMM_LEAF_READ);
	area_map(&hypervisor, 4, 1, LEAF_READY & ~GMM_LEAF_DIRTY);
	gmm_stage2_table_write_protect(hypervisor.walker, area_gfn(&hypervisor, 4), 1, NULL, NULL,
				       GMM_STAGE2_DEFER_FLUSH);
	gmm_equal(vcpu_run(guest()).kind, until_flushed);
	bare_guest_flush();
	if (until_flushed == BARE_EXIT_FAULT)
		gmm_equal(vcpu_run(guest()).kind, BARE_EXIT_CALL);
	check_fault(try(GUEST_WRITE, address, VALUE), address, GMM_LEAF_WRITE);
	area_map(&hypervisor, 4, 1, LEAF_READY);
	gmm_stage2_table_touch(guest()->walker, area_gfn(&hypervisor, 4), GMM_LEAF_WRITE, 0,
			       &(struct gmm_stage2_leaf){ 0 });
	gmm_equal(vcpu_run(guest()).kind, until_flushed);
	bare_guest_flush();
	if (until_flushed == BARE_EXIT_FAULT)
		gmm_equal(vcpu_run(guest()).kind, BARE_EXIT_CALL);
	gmm_equal(*area_word(&hypervisor, 4), VALUE);
}

static void a_protected_frame_faults_once_for_writing(void)
{
	gmm_gpa_t address = area_gpa(&hypervisor, 6);

	area_map(&hypervisor, 6, 1, LEAF_READY);
	guest_write(guest(), address, VALUE);
	gmm_equal(guest()->faults, 0);
	gmm_equal(gmm_stage2_table_write_protect(hypervisor.walker, area_gfn(&hypervisor, 6), 1,
						 NULL, NULL, 0),
		  1);
	gmm_equal(guest_read(guest(), address), VALUE);
	gmm_equal(guest()->faults, 0);
	guest_write(guest(), address, VALUE + 1);
	gmm_equal(guest()->faults, 1);
	guest_write(guest(), address, VALUE + 2);
	gmm_equal(guest()->faults, 1);
	gmm_equal(*area_word(&hypervisor, 6), VALUE + 2);
}

static void frames_that_are_not_executable_are_not_executed(void)
{
	gmm_gpa_t address = area_gpa(&hypervisor, 7);

	if (bare_guest_machine.walker_drops_no_exec)
		gmm_skip(
			"lddir and ldpte of QEMU drop the bit, and its fetch from such a page hangs");
	bare_guest_function(area_word(&hypervisor, 7), RETURNED);
	area_map(&hypervisor, 7, 1, LEAF_READY & ~GMM_LEAF_EXEC);
	gmm_ok(guest_read(guest(), address) == *area_word(&hypervisor, 7));
	check_fault(try(GUEST_CALL, address, 0), address, GMM_LEAF_EXEC);
	touch(area_gfn(&hypervisor, 7), GMM_LEAF_EXEC, -GMM_EFAULT);
	area_map(&hypervisor, 7, 1, LEAF_READY);
	bare_guest_flush();
	gmm_equal(vcpu_run(guest()).kind, BARE_EXIT_CALL);
	gmm_equal(guest()->box->result, RETURNED);
}

/* A walk in random order over `pages` pages; what the guest noted is in its box. */
static void wander(uint64_t pages, uint64_t turns, uint64_t random)
{
	struct guest_box *box = guest()->box;
	uint64_t page;

	vcpu_ask(guest(), GUEST_WANDER, area_gpa(&hypervisor, 0), 0);
	box->pages = pages;
	box->stride = hypervisor.page_bytes;
	box->count = turns;
	box->random ^= random;
	for (page = 0; page < pages; page++)
		box->last[page] = *area_word(&hypervisor, page);
	vcpu_finish(guest());
	gmm_equal(box->turns, turns);
	gmm_equal(box->errors, 0);
	for (page = 0; page < pages; page++)
		gmm_equal(*area_word(&hypervisor, page), box->last[page]);
}

static void young_and_dirty_are_what_the_guest_did(void)
{
	gmm_gfn_t gfn = area_gfn(&hypervisor, 0);
	struct guest_box *box = guest()->box;
	uint64_t round, young, dirty;

	area_map(&hypervisor, 0, PAGES, LEAF_ALL);
	for (round = 0; round < ROUNDS; round++) {
		wander(PAGES, 20 + 10 * round, round);
		young = dirty = 0;
		gmm_equal(gmm_stage2_table_test_age(hypervisor.walker, gfn, PAGES, NULL),
			  gmm_stage2_table_age(hypervisor.walker, gfn, PAGES, &young,
					       GMM_STAGE2_AGE_FLUSH));
		gmm_ok(gmm_stage2_table_clean(hypervisor.walker, gfn, PAGES, NULL, &dirty, 0) >= 0);
		gmm_equal(young, box->was_read[0] | box->was_written[0]);
		gmm_equal(dirty, box->was_written[0]);
	}
	gmm_equal(gmm_stage2_table_age(hypervisor.walker, gfn, PAGES, NULL, 0), 0);
	gmm_equal(gmm_stage2_table_clean(hypervisor.walker, gfn, PAGES, NULL, NULL, 0), 0);
}

static void a_log_by_write_protection_is_what_the_guest_wrote(void)
{
	gmm_gfn_t gfn = area_gfn(&hypervisor, 0);
	uint64_t round, dirty, before;

	area_map(&hypervisor, 0, PAGES, LEAF_READY);
	for (round = 0; round < ROUNDS; round++) {
		gmm_ok(gmm_stage2_table_clean(hypervisor.walker, gfn, PAGES, NULL, NULL, 0) >= 0);
		gmm_ok(gmm_stage2_table_write_protect(hypervisor.walker, gfn, PAGES, NULL, NULL,
						      0) >= 0);
		before = guest()->faults;
		wander(PAGES, 30, round + 100);
		dirty = 0;
		gmm_stage2_table_clean(hypervisor.walker, gfn, PAGES, NULL, &dirty, 0);
		gmm_equal(dirty, guest()->box->was_written[0]);
		gmm_equal(guest()->faults - before, (uint64_t)__builtin_popcountll(dirty));
	}
}

static void a_large_leaf_reaches_all_of_its_pages(void)
{
	struct gmm_stage2_leaf leaf;
	uint64_t last = hypervisor.area_pages - 1;

	area_map_large(&hypervisor, LEAF_ALL | GMM_LEAF_YOUNG);
	leaf = leaf_at(&hypervisor, area_gfn(&hypervisor, 0));
	gmm_equal(leaf.level, 1);
	gmm_equal(leaf.count, hypervisor.large_pages);
	gmm_equal(guest_read(guest(), area_gpa(&hypervisor, last)), area_gpa(&hypervisor, last));
	/* Between two halves, where a machine makes two translations of one leaf. */
	gmm_equal(guest_read(guest(), area_gpa(&hypervisor, last / 2 + 1)),
		  area_gpa(&hypervisor, last / 2 + 1));
	gmm_ok(!(leaf_at(&hypervisor, area_gfn(&hypervisor, 0)).leaf & GMM_LEAF_DIRTY));
	wander(PAGES, TURNS, 7);
	guest_write(guest(), area_gpa(&hypervisor, last) + hypervisor.page_bytes - 8, VALUE);
	gmm_equal(area_word(&hypervisor, last)[hypervisor.page_bytes / 8 - 1], VALUE);
	leaf = leaf_at(&hypervisor, area_gfn(&hypervisor, last));
	gmm_equal(leaf.level, 1);
	gmm_ok(leaf.leaf & GMM_LEAF_DIRTY);
}

/* All of the machine's memory around the area, through one leaf, read where the area is. */
static void a_leaf_of_the_third_level_reaches_its_pages(void)
{
	uint64_t frames = hypervisor.large_pages * hypervisor.large_pages;
	uint64_t pfn = pfn_of(&hypervisor, hypervisor.area), within = pfn & (frames - 1);
	struct gmm_stage2_mapping mapping = {
		.gfn = 64 * frames,
		.count = frames,
		.pfn = pfn - within,
		.leaf = LEAF_READY,
		.level_max = 2,
	};
	gmm_gpa_t address;

	if (!(hypervisor.facts->leaf_levels & 4))
		gmm_skip("the format has no leaves of that level");
	gmm_equal(gmm_stage2_table_populate(hypervisor.walker, &mapping, NULL), 0);
	gmm_equal(leaf_at(&hypervisor, mapping.gfn).level, 2);
	address = (mapping.gfn + within + 9) << hypervisor.facts->page_shift;
	gmm_equal(guest_read(guest(), address), area_gpa(&hypervisor, 9));
	guest_write(guest(), address, VALUE);
	gmm_equal(*area_word(&hypervisor, 9), VALUE);
	gmm_equal(gmm_stage2_table_unmap(hypervisor.walker, mapping.gfn, frames, NULL), frames);
	check_fault(try(GUEST_READ, address, 0), address, GMM_LEAF_READ);
	/* The read is still to be done: it is, elsewhere in the same frame. */
	mapping.gfn = address >> hypervisor.facts->page_shift;
	mapping.count = 1;
	mapping.pfn = pfn + 9;
	gmm_equal(gmm_stage2_table_populate(hypervisor.walker, &mapping, NULL), 0);
	bare_guest_flush();
	gmm_equal(vcpu_run(guest()).kind, BARE_EXIT_CALL);
	gmm_equal(guest()->box->result, VALUE);
	gmm_equal(gmm_stage2_table_unmap(hypervisor.walker, mapping.gfn, 1, NULL), 1);
}

static void split_and_collapse_keep_what_is_there(void)
{
	gmm_gfn_t gfn = area_gfn(&hypervisor, 0), large = large_gfn(&hypervisor);
	uint64_t pages = hypervisor.large_pages;
	struct gmm_stage2_leaf leaf;
	uint64_t dirty;

	area_map_large(&hypervisor, LEAF_ALL | GMM_LEAF_YOUNG);
	wander(PAGES, TURNS, 11);
	gmm_equal(gmm_stage2_walker_top_up(hypervisor.walker, 0), 0);
	gmm_equal(gmm_stage2_table_split(hypervisor.walker, large, pages, 0, NULL), 0);
	leaf = leaf_at(&hypervisor, gfn + 3);
	gmm_equal(leaf.level, 0);
	gmm_ok(leaf.leaf & GMM_LEAF_DIRTY);
	gmm_stage2_table_clean(hypervisor.walker, large, pages, NULL, NULL, 0);
	wander(PAGES, TURNS / 10, 12);
	dirty = 0;
	gmm_stage2_table_clean(hypervisor.walker, gfn, PAGES, NULL, &dirty, 0);
	gmm_equal(dirty, guest()->box->was_written[0]);
	gmm_equal(gmm_stage2_table_collapse(hypervisor.walker, large, pages, 1), 1);
	gmm_equal(leaf_at(&hypervisor, gfn + 3).level, 1);
	wander(PAGES, TURNS, 13);
	gmm_ok(leaf_at(&hypervisor, gfn).leaf & GMM_LEAF_DIRTY);
}

static void memory_types_are_taken_by_the_walker(void)
{
	struct gmm_stage2_mapping mapping = { .count = 1, .leaf = LEAF_READY };
	struct gmm_stage2_leaf leaf;
	uint32_t memory;

	for (memory = 0; memory < GMM_LEAF_MEMORIES; memory++) {
		if (!(hypervisor.facts->memory_types >> memory & 1))
			continue;
		mapping.gfn = area_gfn(&hypervisor, 10 + memory);
		mapping.pfn = pfn_of(&hypervisor, area_word(&hypervisor, 10 + memory));
		mapping.memory = memory;
		gmm_equal(gmm_stage2_table_populate(hypervisor.walker, &mapping, NULL), 0);
		bare_guest_flush();
		leaf = leaf_at(&hypervisor, mapping.gfn);
		gmm_equal(leaf.memory, memory);
		gmm_equal(guest_read(guest(), area_gpa(&hypervisor, 10 + memory)),
			  area_gpa(&hypervisor, 10 + memory));
		guest_write(guest(), area_gpa(&hypervisor, 10 + memory), VALUE + memory);
		gmm_equal(*area_word(&hypervisor, 10 + memory), VALUE + memory);
		gmm_equal(guest()->faults, 0);
	}
}

static void the_last_page_of_the_address_space_is_one_like_any(void)
{
	struct gmm_stage2_mapping mapping = { .count = 1, .leaf = LEAF_READY };
	uint32_t bits = hypervisor.format->reach_bits;
	gmm_gpa_t address = (1ull << bits) - 8;

	mapping.gfn = address >> hypervisor.facts->page_shift;
	mapping.pfn = pfn_of(&hypervisor, hypervisor.other);
	check_fault(try(GUEST_READ, address, 0), address, GMM_LEAF_READ);
	gmm_equal(gmm_stage2_table_populate(hypervisor.walker, &mapping, NULL), 0);
	bare_guest_flush();
	gmm_equal(vcpu_run(guest()).kind, BARE_EXIT_CALL);
	guest_write(guest(), address, VALUE);
	gmm_equal(((uint64_t *)(hypervisor.other + hypervisor.page_bytes))[-1], VALUE);
	gmm_equal(gmm_stage2_table_unmap(hypervisor.walker, mapping.gfn, 1, NULL), 1);
	/* Behind the end of the table there is nothing. */
	mapping.gfn = 1ull << (hypervisor.format->gpa_bits - hypervisor.facts->page_shift);
	gmm_equal(gmm_stage2_table_populate(hypervisor.walker, &mapping, NULL), -GMM_ERANGE);
}

static void replaced_frames_are_seen_and_absent_ones_stay_absent(void)
{
	gmm_gpa_t address = area_gpa(&hypervisor, 20);
	gmm_gfn_t gfn = area_gfn(&hypervisor, 20);
	gmm_pfn_t pfn = pfn_of(&hypervisor, hypervisor.other);

	gmm_equal(gmm_stage2_table_replace(hypervisor.walker, gfn, pfn, LEAF_READY), -GMM_ENOENT);
	check_fault(try(GUEST_READ, address, 0), address, GMM_LEAF_READ);
	vcpu_finish(guest());
	guest_write(guest(), address, VALUE);
	*(uint64_t *)hypervisor.other = VALUE + 1;
	gmm_equal(gmm_stage2_table_replace(hypervisor.walker, gfn, pfn, LEAF_READY), 1);
	gmm_equal(guest_read(guest(), address), VALUE + 1);
	guest_write(guest(), address, VALUE + 2);
	gmm_equal(*(uint64_t *)hypervisor.other, VALUE + 2);
	gmm_equal(*area_word(&hypervisor, 20), VALUE);
}

static void tables_without_a_use_are_given_back(void)
{
	struct gmm_stage2_statistics before, after;
	uint32_t round;

	gmm_stage2_table_read_statistics(hypervisor.table, &before);
	for (round = 0; round < ROUNDS; round++) {
		area_map(&hypervisor, 0, hypervisor.area_pages, LEAF_READY);
		wander(PAGES, 20, round);
		area_unmap(&hypervisor);
		check_fault(try(GUEST_READ, area_gpa(&hypervisor, 1), 0), area_gpa(&hypervisor, 1),
			    GMM_LEAF_READ);
		vcpu_finish(guest());
		area_unmap(&hypervisor);
	}
	gmm_stage2_table_read_statistics(hypervisor.table, &after);
	gmm_equal(after.tables[0], before.tables[0]);
	gmm_equal(after.leaves[0], before.leaves[0]);
}

const struct gmm_test_case bare_conformance_one[] = {
#define CASE(name)          \
	{                   \
#name, name \
	}
	CASE(absent_frames_fault_with_address_and_access),
	CASE(read_only_frames_are_read_and_not_written),
	CASE(a_fault_is_over_after_the_flush_that_the_format_asks_for),
	CASE(a_protected_frame_faults_once_for_writing),
	CASE(frames_that_are_not_executable_are_not_executed),
	CASE(young_and_dirty_are_what_the_guest_did),
	CASE(a_log_by_write_protection_is_what_the_guest_wrote),
	CASE(a_large_leaf_reaches_all_of_its_pages),
	CASE(a_leaf_of_the_third_level_reaches_its_pages),
	CASE(split_and_collapse_keep_what_is_there),
	CASE(memory_types_are_taken_by_the_walker),
	CASE(the_last_page_of_the_address_space_is_one_like_any),
	CASE(replaced_frames_are_seen_and_absent_ones_stay_absent),
	CASE(tables_without_a_use_are_given_back),
	{ NULL, NULL },
};
