/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* A vCPU runs on a CPU of its own while CPU 0 changes what it walks. */
#include "conformance.h"

#include <gmm_port/atomic.h>

#define PAGES 64u
#define ROUNDS 12u
#define STALE_TURNS 2000u
#define OLD 0x1111u
#define NEW 0x2222u
#define SHARED_PAGES 512u
#define POISON 0xdeadull

static struct vcpu *guest(void)
{
	return &hypervisor.vcpus[1];
}

static uint64_t watched(void)
{
	/* One access may be on its way with what was there before. */
	vcpu_wait_turns(guest(), 2);
	return gmm_load_relaxed(&guest()->box->result);
}

static void start_watching(uint64_t page)
{
	*area_word(&hypervisor, page) = OLD;
	*(uint64_t *)hypervisor.other = NEW;
	area_map(&hypervisor, page, 1, LEAF_READY);
	vcpu_ask(guest(), GUEST_WATCH, area_gpa(&hypervisor, page), 0);
	vcpu_start(guest());
	gmm_equal(watched(), OLD);
}

static void stop(void)
{
	gmm_store_release(&guest()->box->stop, 1u);
	vcpu_join(guest());
}

static void replace(uint64_t page, const void *memory)
{
	gmm_ok(gmm_stage2_table_replace(hypervisor.walker, area_gfn(&hypervisor, page),
					pfn_of(&hypervisor, memory), LEAF_READY) >= 0);
}

static void a_remapped_frame_is_never_seen_after_the_flush(void)
{
	uint32_t round;

	start_watching(0);
	for (round = 0; round < ROUNDS; round++) {
		replace(0, hypervisor.other);
		gmm_equal(watched(), NEW);
		replace(0, hypervisor.area);
		gmm_equal(watched(), OLD);
	}
	stop();
}

/* What the flush is for: it is left out on purpose, and the walker's translation lives on. */
static void a_remapped_frame_is_seen_without_the_flush(void)
{
	uint32_t round, stale = 0;

	start_watching(0);
	for (round = 0; round < ROUNDS; round++) {
		/* A change begins with interrupts, which take the vCPU out: it is back in now. */
		gmm_must(!gmm_stage2_change_begin(hypervisor.walker, area_gfn(&hypervisor, 0), 1));
		gmm_equal(watched(), OLD);
		gmm_store_release(&hypervisor.forget_flushes, 1u);
		replace(0, hypervisor.other);
		vcpu_wait_turns(guest(), STALE_TURNS);
		stale += watched() == OLD;
		gmm_store_release(&hypervisor.forget_flushes, 0u);
		flush_everywhere();
		gmm_equal(watched(), NEW);
		gmm_stage2_change_end(hypervisor.walker);
		replace(0, hypervisor.area);
		gmm_equal(watched(), OLD);
	}
	stop();
	gmm_ok(stale, "of %u rounds", ROUNDS);
}

static void start_wandering(uint64_t pages, uint64_t stride)
{
	struct guest_box *box = guest()->box;

	vcpu_ask(guest(), GUEST_WANDER, area_gpa(&hypervisor, 0), 0);
	box->pages = pages;
	box->stride = stride;
	vcpu_start(guest());
	vcpu_wait_turns(guest(), 1);
}

static void check_contents(uint64_t pages, uint64_t stride)
{
	const struct guest_box *box = guest()->box;
	uint64_t page;

	gmm_ok(!box->errors, "%llu, first at 0x%llx", (unsigned long long)box->errors,
	       (unsigned long long)box->first_wrong);
	for (page = 0; page < pages; page++)
		if (box->last[page])
			gmm_equal(*(uint64_t *)(hypervisor.area + page * stride), box->last[page]);
}

static void unmapped_frames_are_not_touched_any_more(void)
{
	uint32_t round, turn;

	start_wandering(1, hypervisor.page_bytes);
	for (round = 0; round < ROUNDS; round++) {
		uint64_t kept;

		gmm_store_release(&hypervisor.held, 0u);
		gmm_store_release(&hypervisor.hold, 1u);
		gmm_equal(gmm_stage2_table_unmap(hypervisor.walker, area_gfn(&hypervisor, 0), 1,
						 NULL),
			  1);
		kept = gmm_exchange(area_word(&hypervisor, 0), POISON);
		for (turn = 0; !gmm_load_acquire(&hypervisor.held); turn++)
			gmm_cpu_relax(turn);
		gmm_equal(*area_word(&hypervisor, 0), POISON);
		*area_word(&hypervisor, 0) = kept;
		gmm_store_release(&hypervisor.hold, 0u);
		vcpu_wait_turns(guest(), 10);
	}
	stop();
	check_contents(1, hypervisor.page_bytes);
}

static void split_and_collapse_lose_nothing_under_a_running_guest(void)
{
	uint64_t stride = hypervisor.page_bytes * (hypervisor.area_pages / PAGES);
	uint64_t pages = hypervisor.large_pages;
	gmm_gfn_t gfn = large_gfn(&hypervisor);
	uint32_t round, collapsed = 0;

	area_map_large(&hypervisor, LEAF_READY);
	hypervisor.level_max = 1;
	start_wandering(PAGES, stride);
	for (round = 0; round < ROUNDS; round++) {
		gmm_equal(gmm_stage2_walker_top_up(hypervisor.walker, 0), 0);
		gmm_equal(gmm_stage2_table_split(hypervisor.walker, gfn, pages, 0, NULL), 0);
		vcpu_wait_turns(guest(), 20);
		collapsed += gmm_stage2_table_collapse(hypervisor.walker, gfn, pages, 1) == 1;
		vcpu_wait_turns(guest(), 20);
	}
	stop();
	gmm_equal(collapsed, ROUNDS);
	check_contents(PAGES, stride);
}

static void harvests_lose_no_write_of_a_running_guest(void)
{
	gmm_gfn_t gfn = area_gfn(&hypervisor, 0);
	uint64_t dirty = 0, page, copies[PAGES];
	uint32_t round;

	for (page = 0; page < PAGES; page++)
		copies[page] = *area_word(&hypervisor, page);
	area_map(&hypervisor, 0, PAGES, LEAF_ALL);
	start_wandering(PAGES, hypervisor.page_bytes);
	for (round = 0; round <= 4 * ROUNDS; round++) {
		if (round == 4 * ROUNDS)
			stop();
		else
			vcpu_wait_turns(guest(), 5);
		dirty = 0;
		if (round % 3 == 1)
			gmm_stage2_table_write_protect(hypervisor.walker, gfn, PAGES, NULL, NULL,
						       0);
		gmm_stage2_table_clean(hypervisor.walker, gfn, PAGES, NULL, &dirty, 0);
		gmm_stage2_table_age(hypervisor.walker, gfn, PAGES, NULL, 0);
		for (page = 0; page < PAGES; page++)
			if (dirty >> page & 1)
				copies[page] = gmm_load_relaxed(area_word(&hypervisor, page));
	}
	check_contents(PAGES, hypervisor.page_bytes);
	for (page = 0; page < PAGES; page++)
		gmm_equal(copies[page], *area_word(&hypervisor, page));
}

static void two_guests_fault_the_same_frames_at_once(void)
{
	uint64_t pages = SHARED_PAGES;
	struct gmm_stage2_statistics statistics;
	uint64_t page;
	uint32_t i;

	for (i = 0; i < VCPUS; i++) {
		struct guest_box *box = hypervisor.vcpus[i].box;

		vcpu_ask(&hypervisor.vcpus[i], GUEST_WANDER, area_gpa(&hypervisor, 0), 0);
		/* Each has words of its own: those of the other half are never seen. */
		box->address += i * 8;
		box->pages = pages;
		box->stride = hypervisor.page_bytes;
		box->count = 4 * pages;
		for (page = 0; page < pages; page++)
			box->last[page] = area_word(&hypervisor, page)[i] |= 1;
	}
	for (i = 0; i < VCPUS; i++)
		vcpu_start(&hypervisor.vcpus[i]);
	for (i = 0; i < VCPUS; i++)
		vcpu_join(&hypervisor.vcpus[i]);
	for (i = 0; i < VCPUS; i++) {
		const struct guest_box *box = hypervisor.vcpus[i].box;

		gmm_equal(box->errors, 0);
		for (page = 0; page < pages; page++)
			gmm_equal(area_word(&hypervisor, page)[i], box->last[page]);
	}
	gmm_stage2_table_read_statistics(hypervisor.table, &statistics);
	gmm_ok(statistics.leaves[0] >= pages / 2);
}

/* Both frames hold the same, so that only the monitor can tell. */
static void remap_between_link_and_store(bool flush)
{
	*area_word(&hypervisor, 0) = *(uint64_t *)hypervisor.other = OLD;
	area_map(&hypervisor, 0, 1, LEAF_READY);
	/* What a change begins with takes vCPUs out, too: it begins before the load. */
	gmm_must(!gmm_stage2_change_begin(hypervisor.walker, area_gfn(&hypervisor, 0), 1));
	vcpu_ask(guest(), GUEST_LINK, area_gpa(&hypervisor, 0), NEW);
	vcpu_start(guest());
	while (!gmm_load_acquire(&guest()->box->turns))
		gmm_cpu_relax(0);
	gmm_store_release(&hypervisor.forget_flushes, flush ? 0u : 1u);
	replace(0, hypervisor.other);
	gmm_stage2_change_end(hypervisor.walker);
	gmm_store_release(&hypervisor.forget_flushes, 0u);
	stop();
	flush_everywhere();
}

/* L21 */
static void a_monitor_does_not_survive_that_its_frame_is_remapped(void)
{
	remap_between_link_and_store(true);
	gmm_equal(guest()->box->result, 0);
	gmm_equal(*area_word(&hypervisor, 0), OLD);
	gmm_equal(*(uint64_t *)hypervisor.other, OLD);
}

static void a_monitor_survives_without_the_flush(void)
{
	remap_between_link_and_store(false);
	gmm_equal(guest()->box->result, 1);
	gmm_equal(*area_word(&hypervisor, 0), NEW);
	gmm_equal(*(uint64_t *)hypervisor.other, OLD);
}

const struct gmm_test_case bare_conformance_two[] = {
#define CASE(name)          \
	{                   \
#name, name \
	}
	CASE(a_remapped_frame_is_never_seen_after_the_flush),
	CASE(a_remapped_frame_is_seen_without_the_flush),
	CASE(unmapped_frames_are_not_touched_any_more),
	CASE(split_and_collapse_lose_nothing_under_a_running_guest),
	CASE(harvests_lose_no_write_of_a_running_guest),
	CASE(two_guests_fault_the_same_frames_at_once),
	{ NULL, NULL },
};

const struct gmm_test_case bare_conformance_monitor[] = {
	CASE(a_monitor_does_not_survive_that_its_frame_is_remapped),
	CASE(a_monitor_survives_without_the_flush),
	{ NULL, NULL },
};
