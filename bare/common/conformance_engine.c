/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The whole of it: a guest of the engine with lazy memory and a dirty log, whose live second stage
 * is a table that the machine walks. Page p of the slot lives in page p of the area.
 */
#include "conformance.h"

#include <gmm_port/alloc.h>
#include <gmm_port/atomic.h>
#include <gmm_port/section.h>

#include <guestmm/dirty.h>
#include <guestmm/error.h>
#include <guestmm/evict.h>
#include <guestmm/fault.h>
#include <guestmm/guest.h>
#include <guestmm/slot.h>
#include <guestmm/stage2.h>

#include "cpus.h"
#include "gmm_test.h"

#define PAGES 64u
#define SLOT_HVA 0x7f0000000000ull
#define ROUNDS 40u
#define TURNS 8u
#define EVICTED_AT_ONCE 8u
#define POISON 0xdeadull
#define WORK 0x5555ull

static struct gmm_guest *guest;
static uint64_t store[PAGES];
/* A CPU's own; owner and memory are called by whoever serves a fault or evicts. */
static struct gmm_stage2_walker *walkers[BARE_CPUS_MAX];

static struct gmm_stage2_walker *own_walker(void)
{
	return walkers[gmm_cpu_index()];
}

/* The memory */

static int resolve(void *memory, uint64_t page, uint32_t count, uint32_t access, gmm_pfn_t *pfns)
{
	uint32_t i;

	for (i = 0; i < count; i++)
		pfns[i] = pfn_of(&hypervisor, area_word(&hypervisor, page + i));
	return 0;
}

static void put(void *memory, const gmm_pfn_t *pfns, uint32_t count)
{
}

static int map(void *memory, const gmm_pfn_t *pfns, uint32_t count, uint32_t access, void **pointer)
{
	*pointer = hypervisor.area +
		   (pfns[0] - pfn_of(&hypervisor, hypervisor.area)) * hypervisor.page_bytes;
	return 0;
}

static void unmap(void *memory, void *pointer, uint32_t count)
{
}

static uint64_t absent_word(uint64_t page, enum gmm_page_origin origin)
{
	if (origin == GMM_ORIGIN_SOURCE)
		return area_gpa(&hypervisor, page);
	return origin == GMM_ORIGIN_STORE ? store[page] : 0;
}

static int fill(void *memory, uint64_t page, uint32_t count, enum gmm_page_origin origin)
{
	for (; count--; page++) {
		gmm_equal(*area_word(&hypervisor, page), POISON);
		*area_word(&hypervisor, page) = absent_word(page, origin);
	}
	return 0;
}

static int write_out(void *memory, uint64_t page, uint32_t count)
{
	for (; count--; page++)
		store[page] = *area_word(&hypervisor, page);
	return 0;
}

/* The frames are gone, and with them what the guest had of them. */
static int discard(void *memory, uint64_t page, uint32_t count)
{
	int64_t gone =
		gmm_stage2_table_unmap(own_walker(), area_gfn(&hypervisor, page), count, NULL);

	if (gone < 0)
		return -GMM_EIO;
	for (; count--; page++)
		*area_word(&hypervisor, page) = POISON;
	return 0;
}

static int read_page(void *memory, uint64_t page, bool resident, enum gmm_page_origin origin,
		     void *buffer)
{
	*(uint64_t *)buffer = resident ? gmm_load_relaxed(area_word(&hypervisor, page)) :
					 absent_word(page, origin);
	return 0;
}

static const struct gmm_memory_ops memory_ops = {
	.version = GMM_MEMORY_OPS_VERSION,
	.flags = GMM_MEMORY_LAZY | GMM_MEMORY_EVICTABLE | GMM_MEMORY_AGEABLE,
	.name = "bare",
	.resolve = resolve,
	.put = put,
	.map = map,
	.unmap = unmap,
	.fill = fill,
	.write_out = write_out,
	.discard = discard,
	.read = read_page,
};

/* The owner of the live second stage */

static int live_unprotect(void *owner, const struct gmm_span *span)
{
	struct gmm_stage2_leaf leaf;
	uint64_t i;

	for (i = 0; i < span->count; i++) {
		int error = gmm_stage2_table_touch(own_walker(), span->gfn + i, GMM_LEAF_WRITE, 0,
						   &leaf);

		if (error && error != -GMM_ENOENT)
			return error == -GMM_EAGAIN ? error : -GMM_EIO;
	}
	return 0;
}

static int live_map(void *owner, const struct gmm_span *span, uint32_t access)
{
	struct gmm_stage2_mapping mapping = {
		.gfn = span->gfn,
		.count = span->count,
		.pfn = pfn_of(&hypervisor, area_word(&hypervisor, span->page)),
		.leaf = LEAF_ALL | GMM_LEAF_YOUNG | GMM_LEAF_PROTECTED,
	};
	int error = gmm_stage2_table_populate(own_walker(), &mapping, NULL);

	if (!error && (access & GMM_ACCESS_WRITE))
		error = live_unprotect(owner, span);
	return error && error != -GMM_EAGAIN ? -GMM_EIO : error;
}

static int live_unmap(void *owner, const struct gmm_span *span)
{
	int64_t gone = gmm_stage2_table_unmap(own_walker(), span->gfn, span->count, NULL);

	return gone < 0 ? -GMM_EIO : 0;
}

static int live_protect(void *owner, const struct gmm_span *span)
{
	int64_t changed =
		gmm_stage2_table_write_protect(own_walker(), span->gfn, span->count, NULL, NULL, 0);

	return changed < 0 ? -GMM_EIO : 0;
}

/* A vCPU that was held has gone on faulting. */
static void live_wake(void *owner, const struct gmm_span *span)
{
}

static int live_slot_change(void *owner, const struct gmm_slot_info *old,
			    const struct gmm_slot_info *now)
{
	if (!old->count)
		return 0;
	return gmm_stage2_table_unmap(own_walker(), old->gfn, old->count, NULL) < 0 ? -GMM_EIO : 0;
}

static const struct gmm_stage2_ops live_ops = {
	.version = GMM_STAGE2_OPS_VERSION,
	.flags = GMM_STAGE2_MAPS_PROTECTED,
	.name = "bare",
	.map = live_map,
	.unmap = live_unmap,
	.protect = live_protect,
	.unprotect = live_unprotect,
	.wake = live_wake,
	.slot_change = live_slot_change,
};

static void start_guest(void)
{
	struct gmm_guest_config config = {
		.page_shift = hypervisor.facts->page_shift,
		.stage2_ops = &live_ops,
	};
	struct gmm_slot_config slot = {
		.flags = GMM_SLOT_LOG_DIRTY,
		.gfn = area_gfn(&hypervisor, 0),
		.count = PAGES,
		.hva = SLOT_HVA,
		.memory_ops = &memory_ops,
	};
	uint64_t page;
	uint32_t cpu;

	for (page = 0; page < PAGES; page++)
		*area_word(&hypervisor, page) = POISON;
	for (cpu = 0; cpu < BARE_CPUS_MAX; cpu++)
		if (gmm_stage2_walker_create(hypervisor.table, &walkers[cpu]))
			gmm_bail("no memory for a walker");
	if (gmm_guest_create(&config, &guest) || gmm_slot_add(guest, &slot))
		gmm_bail("no guest of the engine");
}

static void end_guest(void)
{
	uint32_t cpu;

	gmm_equal(gmm_slot_remove(guest, 0), 0);
	gmm_equal(gmm_guest_destroy(guest), 0);
	for (cpu = 0; cpu < BARE_CPUS_MAX; cpu++)
		gmm_stage2_walker_destroy(walkers[cpu]);
}

/* A vCPU's loop: what the engine says of a fault, and on. */
static void run_guest(void *arg)
{
	struct vcpu *vcpu = arg;
	struct bare_exit exit;
	int answer;

	bare_guest_cpu_init();
	bare_guest_flush();
	for (;;) {
		exit = vcpu_run(vcpu);
		if (exit.kind == BARE_EXIT_CALL)
			return;
		answer = gmm_fault_serve(
			guest, exit.gpa >> hypervisor.facts->page_shift,
			GMM_ACCESS_READ | (exit.access == GMM_LEAF_WRITE ? GMM_ACCESS_WRITE : 0));
		if (answer < 0)
			gmm_bail("a fault at 0x%llx is not served: %d",
				 (unsigned long long)exit.gpa, answer);
		/* L6: also when somebody else has mapped it. */
		if (hypervisor.facts->facts & GMM_STAGE2_FLUSHES_AFTER_PERMIT)
			bare_guest_flush();
	}
}

static uint64_t page_word(uint64_t page, void *buffer)
{
	gmm_equal(gmm_page_read(guest, area_gfn(&hypervisor, page), buffer), 0);
	return *(uint64_t *)buffer;
}

static void a_guest_of_the_engine_is_filled_evicted_and_logged(void)
{
	struct vcpu *vcpu = &hypervisor.vcpus[0];
	uint64_t bits = 0;

	start_guest();
	vcpu_ask(vcpu, GUEST_READ, area_gpa(&hypervisor, 3), 0);
	run_guest(vcpu);
	gmm_equal(vcpu->box->result, area_gpa(&hypervisor, 3));
	gmm_equal(gmm_resident_pages(guest), 1);
	gmm_equal(gmm_dirty_harvest(guest, 0, 0, PAGES, &bits), 0);
	vcpu_ask(vcpu, GUEST_WRITE, area_gpa(&hypervisor, 3), WORK);
	run_guest(vcpu);
	gmm_equal(gmm_dirty_harvest(guest, 0, 0, PAGES, &bits), 1);
	gmm_equal(bits, 1ull << 3);
	gmm_equal(gmm_evict(guest, area_gfn(&hypervisor, 3), 1, 0), 1);
	gmm_equal(*area_word(&hypervisor, 3), POISON);
	gmm_equal(store[3], WORK);
	vcpu_ask(vcpu, GUEST_READ, area_gpa(&hypervisor, 3), 0);
	run_guest(vcpu);
	gmm_equal(vcpu->box->result, WORK);
	gmm_equal(gmm_discard(guest, area_gfn(&hypervisor, 3), 1), 0);
	vcpu_ask(vcpu, GUEST_READ, area_gpa(&hypervisor, 3), 0);
	run_guest(vcpu);
	gmm_equal(vcpu->box->result, 0);
	end_guest();
}

/* Copies what the log names, as a migration does. */
static void harvest(uint64_t *copies, void *buffer)
{
	uint64_t bits = 0, page;

	gmm_ok(gmm_dirty_harvest(guest, 0, 0, PAGES, &bits) >= 0);
	for (page = 0; page < PAGES; page++)
		if (bits >> page & 1)
			copies[page] = page_word(page, buffer);
}

static void check_migrated(const struct guest_box *box, const uint64_t *copies, void *buffer)
{
	struct gmm_guest_counters counters;
	uint64_t page;

	gmm_ok(!box->errors, "%llu, first at 0x%llx", (unsigned long long)box->errors,
	       (unsigned long long)box->first_wrong);
	for (page = 0; page < PAGES; page++) {
		gmm_equal(page_word(page, buffer),
			  box->last[page] ? box->last[page] : area_gpa(&hypervisor, page));
		gmm_equal(copies[page], page_word(page, buffer));
	}
	gmm_guest_read_counters(guest, &counters);
	gmm_ok(counters.evicted && counters.refaulted && counters.faults_protect,
	       "too little happened");
}

static void eviction_and_log_lose_nothing_of_a_running_guest(void)
{
	struct vcpu *vcpu = &hypervisor.vcpus[1];
	void *buffer = gmm_zalloc(hypervisor.page_bytes);
	uint64_t copies[PAGES], random = 1, page;
	uint32_t round;

	gmm_must(buffer);
	start_guest();
	for (page = 0; page < PAGES; page++)
		copies[page] = area_gpa(&hypervisor, page);
	vcpu_ask(vcpu, GUEST_WANDER, area_gpa(&hypervisor, 0), 0);
	vcpu->box->pages = PAGES;
	vcpu->box->stride = hypervisor.page_bytes;
	vcpu->cpu = bare_cpu_run(run_guest, vcpu);
	gmm_must(vcpu->cpu);
	for (round = 0; round < ROUNDS; round++) {
		vcpu_wait_turns(vcpu, TURNS);
		page = gmm_test_random(&random) % (PAGES - EVICTED_AT_ONCE);
		gmm_ok(gmm_evict(guest, area_gfn(&hypervisor, page), EVICTED_AT_ONCE, 0) >= 0);
		if (round % 3 == 0)
			harvest(copies, buffer);
		if (round % 5 == 0)
			gmm_ok(gmm_age(guest, area_gfn(&hypervisor, 0), PAGES, 0, NULL) >= 0);
	}
	gmm_store_release(&vcpu->box->stop, 1u);
	vcpu_join(vcpu);
	harvest(copies, buffer);
	check_migrated(vcpu->box, copies, buffer);
	end_guest();
	gmm_free(buffer, hypervisor.page_bytes);
}

const struct gmm_test_case bare_conformance_engine[] = {
#define CASE(name)          \
	{                   \
#name, name \
	}
	CASE(a_guest_of_the_engine_is_filled_evicted_and_logged),
	CASE(eviction_and_log_lose_nothing_of_a_running_guest),
	{ NULL, NULL },
};
