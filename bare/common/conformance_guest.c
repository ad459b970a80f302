/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A guest of the engine whose table the machine walks (struct gmm_guest_config, table): each fault
 * goes to gmm_fault_serve_vcpu(), and nobody but the engine changes a translation of the slot. A
 * page is in its frame of the area, or, when it was moved, TWIN frames further on.
 */
#include "conformance.h"

#include <gmm_port/alloc.h>
#include <gmm_port/atomic.h>

#include <guestmm/dirty.h>
#include <guestmm/error.h>
#include <guestmm/evict.h>
#include <guestmm/fault.h>
#include <guestmm/guest.h>
#include <guestmm/invalidate.h>
#include <guestmm/slot.h>
#include <guestmm/vcpu.h>

#include "cpus.h"
#include "gmm_test.h"

#define PAGES 64u
#define TWIN 128u
#define SLOT_HVA 0x7f0000000000ull
#define ROUNDS 6u
#define RUNNING_ROUNDS 40u
#define TURNS 8u
#define POISON 0xdeadull
#define WORK 0x5555ull
#define ANSWERS_MAX 100000u /* to one fault: then it does not end */

static struct gmm_guest *guest;
static struct gmm_vcpu *vcpus[VCPUS];
static uint32_t moved[PAGES + 1]; /* atomic */
static bool large;		  /* the memory is all of the frames of one leaf of level 1 */

static uint64_t *page_word(uint64_t page)
{
	return area_word(&hypervisor, page + (gmm_load_acquire(&moved[page]) ? TWIN : 0));
}

/* The memory */

static int resolve(void *memory, uint64_t page, uint32_t count, uint32_t access, gmm_pfn_t *pfns)
{
	gmm_pfn_t first = pfn_of(&hypervisor, hypervisor.area) - hypervisor.lead;
	uint32_t i;

	for (i = 0; i < count; i++)
		pfns[i] = large ? first + page + i : pfn_of(&hypervisor, page_word(page + i));
	return 0;
}

static void put(void *memory, const gmm_pfn_t *pfns, uint32_t count)
{
}

static int map(void *memory, const gmm_pfn_t *pfns, uint32_t count, uint32_t access, void **pointer)
{
	return -GMM_EIO;
}

static void unmap(void *memory, void *pointer, uint32_t count)
{
}

static void describe_frame(void *memory, uint64_t page, gmm_pfn_t pfn, struct gmm_frame_info *info)
{
	if (!large)
		return;
	info->first_page = 0;
	info->count = hypervisor.large_pages;
}

static const struct gmm_memory_ops memory_ops = {
	.version = GMM_MEMORY_OPS_VERSION,
	.name = "bare resident",
	.resolve = resolve,
	.put = put,
	.map = map,
	.unmap = unmap,
	.describe_frame = describe_frame,
};

static void kick(void *opaque, uint32_t id)
{
}

static void start_guest(uint32_t flags, bool in_large_leaves)
{
	struct gmm_guest_config config = { .max_vcpus = VCPUS, .table = hypervisor.table };
	struct gmm_slot_config slot = {
		.flags = flags,
		.hva = SLOT_HVA,
		.memory_ops = &memory_ops,
	};
	uint32_t i;

	large = in_large_leaves;
	slot.gfn = large ? large_gfn(&hypervisor) : area_gfn(&hypervisor, 0);
	slot.count = large ? hypervisor.large_pages : PAGES;
	for (i = 0; i <= PAGES; i++)
		moved[i] = 0;
	if (gmm_guest_create(&config, &guest) || gmm_slot_add(guest, &slot))
		gmm_bail("no guest of the engine");
	for (i = 0; i < VCPUS; i++)
		if (gmm_vcpu_create(guest, i, kick, NULL, &vcpus[i]))
			gmm_bail("no vCPU of the engine");
}

static void end_guest(void)
{
	uint32_t i;

	for (i = 0; i < VCPUS; i++)
		gmm_equal(gmm_vcpu_destroy(vcpus[i]), 0);
	gmm_equal(gmm_slot_remove(guest, 0), 0);
	gmm_equal(gmm_guest_destroy(guest), 0);
}

/* What the engine answers to a fault; owed flushes are done. */
static int serve(struct vcpu *vcpu, const struct bare_exit *exit)
{
	int answer = gmm_fault_serve_vcpu(guest, vcpus[vcpu - hypervisor.vcpus],
					  exit->gpa >> hypervisor.facts->page_shift, exit->access);

	vcpu->faults++;
	vcpu->again = exit->gpa == vcpu->last_gpa ? vcpu->again + 1 : 0;
	vcpu->last_gpa = exit->gpa;
	if (vcpu->again == ANSWERS_MAX)
		gmm_bail("a fault at 0x%llx, access %u, does not end",
			 (unsigned long long)exit->gpa, exit->access);
	if (answer == GMM_FAULT_FLUSH)
		bare_guest_flush();
	return answer;
}

/* Until the guest has done what it was asked; or the first error of the engine. */
static int run_served(struct vcpu *vcpu)
{
	struct bare_exit exit;
	int answer;

	for (;;) {
		exit = vcpu_run(vcpu);
		if (exit.kind == BARE_EXIT_CALL)
			return 0;
		answer = serve(vcpu, &exit);
		if (answer < 0)
			return answer;
	}
}

static void run_on_cpu(void *arg)
{
	int error;

	bare_guest_cpu_init();
	bare_guest_flush();
	error = run_served(arg);
	if (error)
		gmm_bail("a fault is not served: %d", error);
}

static void start_on_cpu(struct vcpu *vcpu)
{
	vcpu->cpu = bare_cpu_run(run_on_cpu, vcpu);
	gmm_must(vcpu->cpu);
}

/* A walk over `pages` pages in random order, to its end or until stop. */
static void ask_to_wander(struct vcpu *vcpu, uint64_t pages, uint64_t count, uint64_t random)
{
	struct guest_box *box = vcpu->box;
	uint64_t page;

	vcpu_ask(vcpu, GUEST_WANDER, area_gpa(&hypervisor, 0), 0);
	box->pages = pages;
	box->stride = hypervisor.page_bytes;
	box->count = count;
	box->random ^= random;
	for (page = 0; page < pages; page++)
		box->last[page] = *page_word(page);
}

static void wander(uint64_t count, uint64_t random)
{
	struct vcpu *vcpu = &hypervisor.vcpus[0];

	ask_to_wander(vcpu, PAGES, count, random);
	gmm_equal(run_served(vcpu), 0);
	gmm_equal(vcpu->box->errors, 0);
}

static int guest_access(enum guest_operation operation, uint64_t page, uint64_t value)
{
	struct vcpu *vcpu = &hypervisor.vcpus[0];

	vcpu_ask(vcpu, operation, area_gpa(&hypervisor, page), value);
	return run_served(vcpu);
}

/* A page of the slot goes to its other frame, and nothing is left behind in the first. */
static void move(uint64_t page)
{
	struct gmm_range range = { area_gfn(&hypervisor, page), area_gfn(&hypervisor, page) + 1 };
	uint64_t *old = page_word(page);
	uint64_t contents;

	gmm_equal(gmm_invalidate_begin(guest, GMM_RANGE_GFN, &range, 1, 0, NULL), 0);
	contents = gmm_exchange(old, POISON);
	gmm_store_release(&moved[page], !gmm_load_relaxed(&moved[page]));
	*page_word(page) = contents;
	gmm_equal(gmm_load_relaxed(old), POISON);
	gmm_invalidate_end(guest, GMM_RANGE_GFN, &range, 1);
}

static uint64_t harvested(void)
{
	uint64_t bits = 0;

	gmm_ok(gmm_dirty_harvest(guest, 0, 0, PAGES, &bits) >= 0);
	return bits;
}

static void the_engine_logs_and_ages_what_the_guest_did(void)
{
	struct guest_box *box = hypervisor.vcpus[0].box;
	uint64_t round, young, faults;

	start_guest(GMM_SLOT_LOG_DIRTY, false);
	for (round = 0; round < ROUNDS; round++) {
		wander(20 + 10 * round, round);
		gmm_equal(harvested(), box->was_written[0]);
		gmm_ok(gmm_age(guest, area_gfn(&hypervisor, 0), PAGES, 0, &young) >= 0);
		gmm_equal(young, box->was_read[0] | box->was_written[0]);
		/* Aging leaves to the processors what they remember. */
		flush_everywhere();
	}
	gmm_equal(harvested(), 0);
	/* L13: nobody has to see a write without a log, so who reads faults once for both. */
	gmm_equal(gmm_slot_set_flags(guest, 0, 0), 0);
	move(9);
	faults = hypervisor.vcpus[0].faults;
	gmm_equal(guest_access(GUEST_READ, 9, 0), 0);
	gmm_equal(box->result, *page_word(9));
	gmm_equal(guest_access(GUEST_WRITE, 9, WORK), 0);
	gmm_equal(*page_word(9), WORK);
	gmm_equal(hypervisor.vcpus[0].faults - faults, 1);
	end_guest();
}

static void the_engine_refuses_what_the_slot_does_not_allow(void)
{
	uint64_t before = area_gpa(&hypervisor, 4);

	start_guest(0, false);
	gmm_equal(guest_access(GUEST_WRITE, 5, WORK), 0);
	gmm_equal(gmm_slot_set_flags(guest, 0, GMM_SLOT_READ_ONLY), 0);
	gmm_equal(guest_access(GUEST_READ, 5, 0), 0);
	gmm_equal(hypervisor.vcpus[0].box->result, WORK);
	gmm_equal(guest_access(GUEST_WRITE, 4, WORK), -GMM_EROFS);
	gmm_equal(*page_word(4), before);
	/* The store is still to be done. */
	gmm_equal(gmm_slot_set_flags(guest, 0, 0), 0);
	gmm_equal(run_served(&hypervisor.vcpus[0]), 0);
	gmm_equal(*page_word(4), WORK);
	gmm_equal(guest_access(GUEST_READ, PAGES, 0), -GMM_EFAULT);
	/* So is this load: a slot that reaches as far lets it. */
	gmm_equal(gmm_slot_resize(guest, 0, PAGES + 1), 0);
	gmm_equal(run_served(&hypervisor.vcpus[0]), 0);
	gmm_equal(hypervisor.vcpus[0].box->result, area_gpa(&hypervisor, PAGES));
	end_guest();
}

static void the_engine_maps_large_leaves_and_splits_them_for_a_log(void)
{
	struct guest_box *box = hypervisor.vcpus[0].box;
	gmm_gfn_t gfn = area_gfn(&hypervisor, 0);
	uint64_t faults, written;

	start_guest(0, true);
	wander(300, 1);
	gmm_equal(leaf_at(&hypervisor, gfn).level, 1);
	gmm_equal(hypervisor.vcpus[0].faults, 1);
	gmm_equal(gmm_slot_set_flags(guest, 0, GMM_SLOT_LOG_DIRTY), 0);
	faults = hypervisor.vcpus[0].faults;
	wander(40, 2);
	written = (uint64_t)__builtin_ctzll(box->was_written[0]);
	gmm_ok(hypervisor.vcpus[0].faults - faults >=
	       (uint64_t)__builtin_popcountll(box->was_written[0]));
	gmm_equal(leaf_at(&hypervisor, gfn + written).level, 0);
	end_guest();
}

static void the_engine_loses_nothing_of_a_running_guest(void)
{
	struct vcpu *vcpu = &hypervisor.vcpus[1];
	uint64_t copies[PAGES], bits, page, random = 1;
	uint32_t round;

	start_guest(GMM_SLOT_LOG_DIRTY, false);
	for (page = 0; page < PAGES; page++)
		copies[page] = *page_word(page);
	ask_to_wander(vcpu, PAGES, 0, 3);
	start_on_cpu(vcpu);
	for (round = 0; round <= RUNNING_ROUNDS; round++) {
		if (round == RUNNING_ROUNDS) {
			gmm_store_release(&vcpu->box->stop, 1u);
			vcpu_join(vcpu);
		} else {
			vcpu_wait_turns(vcpu, TURNS);
			move(gmm_test_random(&random) % PAGES);
		}
		if (round % 3 == 1)
			gmm_ok(gmm_age(guest, area_gfn(&hypervisor, 0), PAGES, 0, NULL) >= 0);
		bits = harvested();
		for (page = 0; page < PAGES; page++)
			if (bits >> page & 1)
				copies[page] = gmm_load_relaxed(page_word(page));
	}
	gmm_ok(!vcpu->box->errors, "%llu, first at 0x%llx", (unsigned long long)vcpu->box->errors,
	       (unsigned long long)vcpu->box->first_wrong);
	for (page = 0; page < PAGES; page++) {
		gmm_equal(*page_word(page), vcpu->box->last[page]);
		gmm_equal(copies[page], *page_word(page));
	}
	end_guest();
}

static void the_engine_serves_two_vcpus_at_once(void)
{
	struct gmm_guest_counters counters;
	uint64_t page;
	uint32_t i;

	start_guest(0, false);
	gmm_equal(gmm_fault_populate(guest, area_gfn(&hypervisor, 0), PAGES / 2, GMM_ACCESS_READ,
				     GMM_POPULATE_MAP),
		  0);
	for (i = 0; i < VCPUS; i++) {
		struct guest_box *box = hypervisor.vcpus[i].box;

		/* Each has words of its own. */
		ask_to_wander(&hypervisor.vcpus[i], PAGES, 4 * PAGES, i);
		box->address += i * 8;
		for (page = 0; page < PAGES; page++)
			box->last[page] = page_word(page)[i] |= 1;
	}
	for (i = 0; i < VCPUS; i++)
		start_on_cpu(&hypervisor.vcpus[i]);
	for (page = 0; page < PAGES; page += 2)
		gmm_ok(gmm_age(guest, area_gfn(&hypervisor, page), 2, 0, NULL) >= 0);
	for (i = 0; i < VCPUS; i++)
		vcpu_join(&hypervisor.vcpus[i]);
	for (i = 0; i < VCPUS; i++) {
		gmm_equal(hypervisor.vcpus[i].box->errors, 0);
		for (page = 0; page < PAGES; page++)
			gmm_equal(page_word(page)[i], hypervisor.vcpus[i].box->last[page]);
	}
	gmm_guest_read_counters(guest, &counters);
	gmm_ok(counters.faults_mapped >= PAGES / 2);
	gmm_equal(leaf_at(&hypervisor, area_gfn(&hypervisor, PAGES - 1)).level, 0);
	end_guest();
}

const struct gmm_test_case bare_conformance_guest[] = {
#define CASE(name)          \
	{                   \
#name, name \
	}
	CASE(the_engine_logs_and_ages_what_the_guest_did),
	CASE(the_engine_refuses_what_the_slot_does_not_allow),
	CASE(the_engine_maps_large_leaves_and_splits_them_for_a_log),
	CASE(the_engine_loses_nothing_of_a_running_guest),
	CASE(the_engine_serves_two_vcpus_at_once),
	{ NULL, NULL },
};
