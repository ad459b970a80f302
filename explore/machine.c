/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "machine.h"

#include <gmm_port/alloc.h>
#include <gmm_port/section.h>

#include "objects.h"

#define RANK_LIVE 190u

uint64_t machine_word(uint32_t page)
{
	return 0x1000 + page;
}

uint64_t *machine_frame(struct machine *machine, gmm_pfn_t pfn)
{
	return (uint64_t *)(machine->frames + pfn * MACHINE_PAGE_BYTES);
}

uint64_t *machine_contents(struct machine *machine, uint32_t page)
{
	return machine_frame(machine, gmm_load_relaxed(&machine->pages[page].frame));
}

static bool is_there(const struct machine *machine, uint64_t page)
{
	return machine->pages[page].resident || (machine->traits & MACHINE_LOSES);
}

/*
 * One step over words of a page, of which one is its frame's number, and over that frame: again when
 * it has moved until the step's turn. Returns the frame.
 */
static uint64_t *page_step(struct machine *machine, const uint64_t *words, uint32_t count,
			   bool writes, const struct machine_page *page, bool frame_writes,
			   const struct gmm_sim_site *site)
{
	uint64_t frame;

	do {
		frame = page->frame;
		gmm_sim_touch_two(words, count * sizeof(*words), writes,
				  machine_frame(machine, frame), frame_writes, site);
	} while (frame != page->frame);
	return machine_frame(machine, frame);
}

static int resolve(void *opaque, uint64_t page, uint32_t count, uint32_t access, gmm_pfn_t *pfns)
{
	struct machine *machine = opaque;
	uint32_t i;

	machine->resolves++;
	if (page + count > MACHINE_PAGES)
		return -GMM_EFAULT;
	if ((machine->fail_resolve && !--machine->fail_resolve) ||
	    gmm_sim_call_fails(0, GMM_SIM_SITE("resolve")))
		return -GMM_ENOMEM;
	for (i = 0; i < count; i++) {
		struct machine_page *at = &machine->pages[page + i];

		gmm_sim_touch_two(&at->resident, 2 * sizeof(at->resident), false, NULL, false,
				  GMM_SIM_SITE("resolve"));
		machine_check(is_there(machine, page + i));
		pfns[i] = at->frame;
		machine->references[pfns[i]]++;
	}
	return 0;
}

static void put(void *opaque, const gmm_pfn_t *pfns, uint32_t count)
{
	struct machine *machine = opaque;
	uint32_t i;

	for (i = 0; i < count; i++) {
		machine_check(pfns[i] < MACHINE_FRAMES);
		machine_check(--machine->references[pfns[i]] >= 0);
	}
}

/* Whoever uses a mapping of the frame does so before or behind this. */
static void touch_frame(struct machine *machine, gmm_pfn_t pfn, const struct gmm_sim_site *site)
{
	gmm_sim_touch_two(machine_frame(machine, pfn), 2 * sizeof(uint64_t), true, NULL, false,
			  site);
}

static int map(void *opaque, const gmm_pfn_t *pfns, uint32_t count, uint32_t access, void **pointer)
{
	struct machine *machine = opaque;
	uint32_t i;

	for (i = 0; i < count; i++)
		if (pfns[i] != pfns[0] + i || pfns[i] >= MACHINE_FRAMES)
			return -GMM_EXDEV;
	if ((machine->fail_map && !--machine->fail_map) ||
	    gmm_sim_call_fails(1, GMM_SIM_SITE("map")))
		return -GMM_ENOMEM;
	for (i = 0; i < count; i++) {
		touch_frame(machine, pfns[i], GMM_SIM_SITE("map"));
		machine->mappings[pfns[i]]++;
	}
	*pointer = machine_frame(machine, pfns[0]);
	return 0;
}

static void unmap(void *opaque, void *pointer, uint32_t count)
{
	struct machine *machine = opaque;
	size_t offset = (size_t)((uint8_t *)pointer - machine->frames);
	uint32_t i;

	machine_check(offset % MACHINE_PAGE_BYTES == 0);
	for (i = 0; i < count; i++) {
		touch_frame(machine, offset / MACHINE_PAGE_BYTES + i, GMM_SIM_SITE("unmap"));
		machine_check(--machine->mappings[offset / MACHINE_PAGE_BYTES + i] >= 0);
	}
}

static int fill(void *opaque, uint64_t page, uint32_t count, enum gmm_page_origin origin)
{
	struct machine *machine = opaque;
	uint32_t i;

	for (i = 0; i < count; i++) {
		struct machine_page *at = &machine->pages[page + i];
		uint64_t *contents =
			page_step(machine, &at->store, 3, true, at, true, GMM_SIM_SITE("fill"));

		machine_check(!at->resident);
		*contents = origin == GMM_ORIGIN_SOURCE ? machine->source[page + i] :
			    origin == GMM_ORIGIN_STORE	? at->store :
							  0;
		at->resident = true;
	}
	return 0;
}

static int write_out(void *opaque, uint64_t page, uint32_t count)
{
	struct machine *machine = opaque;
	uint32_t i;

	for (i = 0; i < count; i++) {
		struct machine_page *at = &machine->pages[page + i];
		const uint64_t *contents = page_step(machine, &at->store, 3, true, at, false,
						     GMM_SIM_SITE("write out"));

		machine_check(is_there(machine, page + i));
		at->store = at->resident ? *contents : 0;
	}
	return 0;
}

/*
 * Out of the vCPUs' reach: taken from the second stage, then out of each TLB, as an IPI does that is
 * waited for. In between a vCPU may go on with what it keeps.
 */
static void take_from_reach(struct machine *machine, uint64_t page, uint32_t access)
{
	uint32_t thread;

	if (access == MACHINE_REACH_ACCESS)
		(void)gmm_exchange(&machine->pages[page].reach, (uint64_t)0);
	else
		gmm_fetch_and(&machine->pages[page].reach, ~(uint64_t)access);
	if (!(machine->traits & MACHINE_TLB) || (machine->traits & MACHINE_TLB_UNFLUSHED))
		return;
	for (thread = 0; thread < MACHINE_TLBS; thread++)
		if (gmm_load_relaxed(&machine->tlb[thread][page]))
			(void)gmm_exchange(&machine->tlb[thread][page], (uint64_t)0);
}

static int discard(void *opaque, uint64_t page, uint32_t count)
{
	struct machine *machine = opaque;
	uint32_t i;

	for (i = 0; i < count; i++) {
		struct machine_page *at = &machine->pages[page + i];
		uint64_t *contents;

		/* Out of the vCPUs' reach first, and complete. */
		take_from_reach(machine, page + i, MACHINE_REACH_ACCESS);
		contents = page_step(machine, &at->resident, 2, true, at, true,
				     GMM_SIM_SITE("discard"));
		at->resident = false;
		*contents = MACHINE_POISON;
	}
	return 0;
}

static int read_page(void *opaque, uint64_t page, bool resident, enum gmm_page_origin origin,
		     void *buffer)
{
	struct machine *machine = opaque;
	struct machine_page *at = &machine->pages[page];
	const uint64_t *contents =
		page_step(machine, &at->store, 3, false, at, false, GMM_SIM_SITE("read"));

	*(uint64_t *)buffer = resident			  ? *contents :
			      origin == GMM_ORIGIN_SOURCE ? machine->source[page] :
			      origin == GMM_ORIGIN_STORE  ? at->store :
							    0;
	return 0;
}

static int lost(void *opaque, uint64_t page, uint32_t count, uint64_t *gone)
{
	struct machine *machine = opaque;
	uint32_t i;

	for (i = 0; i < count; i++) {
		gmm_sim_touch_two(&machine->pages[page + i].resident, sizeof(uint64_t), false, NULL,
				  false, GMM_SIM_SITE("ask for what is lost"));
		if (!machine->pages[page + i].resident)
			*gone |= (uint64_t)1 << i;
	}
	return 0;
}

static const struct gmm_memory_ops resident_ops = {
	.version = GMM_MEMORY_OPS_VERSION,
	.name = "machine",
	.resolve = resolve,
	.put = put,
	.map = map,
	.unmap = unmap,
	.read = read_page,
};

/* Memory in no slot: its pages are numbered by their addresses. */
static int resolve_address(void *opaque, uint64_t page, uint32_t count, uint32_t access,
			   gmm_pfn_t *pfns)
{
	return resolve(opaque, page - MACHINE_HVA / MACHINE_PAGE_BYTES, count, access, pfns);
}

static const struct gmm_memory_ops address_ops = {
	.version = GMM_MEMORY_OPS_VERSION,
	.name = "machine by address",
	.resolve = resolve_address,
	.put = put,
	.map = map,
	.unmap = unmap,
};

static const struct gmm_memory_ops lazy_ops = {
	.version = GMM_MEMORY_OPS_VERSION,
	.flags = GMM_MEMORY_LAZY | GMM_MEMORY_EVICTABLE | GMM_MEMORY_AGEABLE,
	.name = "lazy machine",
	.resolve = resolve,
	.put = put,
	.map = map,
	.unmap = unmap,
	.fill = fill,
	.write_out = write_out,
	.discard = discard,
	.read = read_page,
};

static const struct gmm_memory_ops losing_ops = {
	.version = GMM_MEMORY_OPS_VERSION,
	.flags = GMM_MEMORY_LAZY | GMM_MEMORY_EVICTABLE | GMM_MEMORY_AGEABLE,
	.name = "losing machine",
	.resolve = resolve,
	.put = put,
	.map = map,
	.unmap = unmap,
	.fill = fill,
	.write_out = write_out,
	.discard = discard,
	.read = read_page,
	.lost = lost,
};

static void wake_waiters(struct machine *machine)
{
	gmm_spin_lock(&machine->lock);
	machine->wakes++;
	gmm_waitqueue_wake_all(&machine->woken);
	gmm_spin_unlock(&machine->lock);
}

/* Whoever changes mappings waits until one that goes is gone, as for the lock of the host's. */
static void wait_unmapped(struct machine *machine, uint64_t page)
{
	while (gmm_load_acquire(&machine->leaving[page]))
		gmm_cpu_relax(0);
}

/* The page's frame is looked up and installed in two steps: a change may come between. */
static int reach_page(struct machine *machine, uint64_t page, bool write)
{
	struct machine_page *at = &machine->pages[page];
	uint64_t frame = gmm_load_relaxed(&at->frame);

	gmm_sim_touch_two(&at->resident, 3 * sizeof(at->resident), true, NULL, false,
			  GMM_SIM_SITE("map for vCPUs"));
	if (!at->resident) {
		at->reach = 0;
		return -GMM_EFAULT;
	}
	at->reach = (at->reach & MACHINE_REACH_ACCESS) | GMM_ACCESS_READ |
		    (write ? GMM_ACCESS_WRITE : 0) | frame << MACHINE_REACH_FRAME;
	return 0;
}

static int live_map(void *opaque, const struct gmm_span *span, uint32_t access)
{
	struct machine *machine = opaque;
	int error = 0;
	uint64_t i;

	for (i = 0; i < span->count && !error; i++) {
		wait_unmapped(machine, span->page + i);
		error = reach_page(machine, span->page + i, access & GMM_ACCESS_WRITE);
	}
	wake_waiters(machine);
	return error;
}

static int live_unmap(void *opaque, const struct gmm_span *span)
{
	struct machine *machine = opaque;
	uint64_t i;

	for (i = 0; i < span->count; i++)
		take_from_reach(machine, span->page + i, MACHINE_REACH_ACCESS);
	return 0;
}

static int live_protect(void *opaque, const struct gmm_span *span)
{
	struct machine *machine = opaque;
	uint64_t i;

	for (i = 0; i < span->count; i++) {
		/* It is not there to be protected. */
		if (gmm_load_acquire(&machine->leaving[span->page + i])) {
			if (!(machine->traits & MACHINE_UNMAP_UNWAITED))
				wait_unmapped(machine, span->page + i);
			continue;
		}
		take_from_reach(machine, span->page + i, GMM_ACCESS_WRITE);
	}
	return 0;
}

static int live_unprotect(void *opaque, const struct gmm_span *span)
{
	return live_map(opaque, span, GMM_ACCESS_READ | GMM_ACCESS_WRITE);
}

static void live_wake(void *opaque, const struct gmm_span *span)
{
	wake_waiters(opaque);
}

static int live_slot_change(void *opaque, const struct gmm_slot_info *old,
			    const struct gmm_slot_info *now)
{
	return ((struct machine *)opaque)->slot_change_fails;
}

static const struct gmm_stage2_ops live_ops = {
	.version = GMM_STAGE2_OPS_VERSION,
	.flags = GMM_STAGE2_MAPS_PROTECTED,
	.name = "machine",
	.map = live_map,
	.unmap = live_unmap,
	.protect = live_protect,
	.unprotect = live_unprotect,
	.wake = live_wake,
	.slot_change = live_slot_change,
};

struct gmm_slot_config machine_slot(struct machine *machine, uint32_t id, gmm_gfn_t gfn,
				    uint64_t page, uint64_t count)
{
	return (struct gmm_slot_config){
		.id = id,
		.flags = machine->traits & MACHINE_LOG ? GMM_SLOT_LOG_DIRTY : 0,
		.gfn = gfn,
		.count = count,
		.hva = MACHINE_HVA + page * MACHINE_PAGE_BYTES,
		.memory_ops = machine->traits & MACHINE_LOSES ? &losing_ops :
			      machine->traits & MACHINE_LAZY  ? &lazy_ops :
								&resident_ops,
		.memory = machine,
		.memory_page = page,
	};
}

void machine_init(struct machine *machine, uint32_t traits)
{
	struct gmm_guest_config config = { .gpa_bits = traits & MACHINE_TABLES ? 30 : 21 };
	struct gmm_slot_config slot;
	uint32_t i;

	gmm_memset(machine, 0, sizeof(*machine));
	machine->traits = traits;
	explore_objects_forget();
	machine->allocated = gmm_zalloc((MACHINE_FRAMES + 1) * MACHINE_PAGE_BYTES);
	machine->frames = (uint8_t *)(((uintptr_t)machine->allocated + MACHINE_PAGE_BYTES - 1) &
				      ~(uintptr_t)(MACHINE_PAGE_BYTES - 1));
	explore_object_name(machine->frames, MACHINE_PAGE_BYTES, MACHINE_FRAMES, "frame", NULL);
	explore_object_name(machine, sizeof(*machine), 1, "machine", "machine");
	gmm_spin_init(&machine->lock, RANK_LIVE);
	gmm_waitqueue_init(&machine->woken);
	for (i = 0; i < MACHINE_FRAMES; i++) {
		machine_frame(machine, i)[1] = machine_word(i % MACHINE_PAGES) + 0x100;
		*machine_frame(machine, i) = i < MACHINE_PAGES && !(traits & MACHINE_LAZY) ?
						     machine_word(i) :
						     MACHINE_POISON;
	}
	for (i = 0; i < MACHINE_PAGES; i++) {
		machine->pages[i].frame = i;
		machine->pages[i].resident = !(traits & MACHINE_LAZY);
		machine->source[i] = machine_word(i);
	}
	gmm_port_section_barrier_refuse(traits & MACHINE_FENCES);
	if (traits & MACHINE_VCPUS)
		config.max_vcpus = 2;
	if (traits & MACHINE_HVA_MEMORY) {
		config.hva_ops = &address_ops;
		config.hva_memory = machine;
	}
	if (traits & MACHINE_OWNER) {
		config.stage2_ops = &live_ops;
		config.stage2_owner = machine;
	}
	machine_must(gmm_guest_create(&config, &machine->guest));
	if (traits & MACHINE_NO_SLOT)
		return;
	slot = machine_slot(machine, 0, 0, 0, MACHINE_PAGES);
	machine_must(gmm_slot_add(machine->guest, &slot));
}

static void check_quiet_page(struct machine *machine, uint32_t page)
{
	bool lazy = machine->traits & MACHINE_LAZY;
	const struct machine_page *at = &machine->pages[page];
	uint64_t reach = at->reach;
	struct gmm_page_info info;

	machine_must(gmm_page_query(machine->guest, page, &info));
	machine_check(!info.busy);
	machine_check(!(reach & GMM_ACCESS_READ) || info.mapped);
	machine_check(!(reach & GMM_ACCESS_WRITE) || info.writable);
	machine_check(!reach || reach >> MACHINE_REACH_FRAME == at->frame);
	if (lazy && !(machine->traits & MACHINE_LOSES))
		machine_check((info.state == GMM_PAGE_PRESENT) == at->resident);
	if (!lazy && info.mapped)
		machine_check(info.pfn == at->frame);
	/* Nothing stays behind in the entry of a translation that went (L5, L12). */
	if (!lazy && !info.mapped)
		machine_check(!info.young && info.pfn == GMM_PFN_NONE);
}

void machine_check_quiet(struct machine *machine)
{
	struct gmm_page_survey survey;
	uint32_t i;

	for (i = 0; i < MACHINE_PAGES; i++)
		check_quiet_page(machine, i);
	if (!(machine->traits & MACHINE_LAZY))
		return;
	machine_must(gmm_page_take_survey(machine->guest, 0, MACHINE_PAGES, &survey));
	machine_check(survey.present == gmm_resident_pages(machine->guest));
}

void machine_fini(struct machine *machine)
{
	uint32_t i;

	if (!(machine->traits & MACHINE_NO_SLOT)) {
		machine_check_quiet(machine);
		machine_must(gmm_slot_remove(machine->guest, 0));
	}
	machine_must(gmm_guest_destroy(machine->guest));
	for (i = 0; i < MACHINE_FRAMES; i++) {
		machine_check(!machine->references[i]);
		machine_check(!machine->mappings[i]);
	}
	gmm_waitqueue_destroy(&machine->woken);
	gmm_spin_destroy(&machine->lock);
	gmm_free(machine->allocated, (MACHINE_FRAMES + 1) * MACHINE_PAGE_BYTES);
}

void machine_move_frame(struct machine *machine, uint32_t page)
{
	struct machine_page *at = &machine->pages[page];
	uint64_t *from, word, to;

	/* Out of the vCPUs' reach, as the host's notifier leaves it. */
	take_from_reach(machine, page, MACHINE_REACH_ACCESS);
	from = page_step(machine, &at->frame, 1, false, at, true, GMM_SIM_SITE("unmap"));
	word = *from;
	*from = MACHINE_POISON;
	to = at->frame ^ MACHINE_PAGES;
	gmm_store_relaxed(machine_frame(machine, to), word);
	gmm_store_relaxed(&at->frame, to);
}

void machine_lose(struct machine *machine, uint32_t page)
{
	struct machine_page *at = &machine->pages[page];
	uint64_t *contents =
		page_step(machine, &at->resident, 3, true, at, true, GMM_SIM_SITE("taken away"));

	at->reach = 0;
	at->resident = false;
	*contents = MACHINE_POISON;
}

void machine_unmap(struct machine *machine, uint32_t page)
{
	gmm_store_release(&machine->leaving[page], (uint64_t)1);
	take_from_reach(machine, page, MACHINE_REACH_ACCESS);
	gmm_store_release(&machine->leaving[page], (uint64_t)0);
}

void machine_move_pages(struct machine *machine, uint32_t page, uint32_t count)
{
	struct gmm_range range = { page, page + count };
	uint32_t i;

	machine_must(gmm_invalidate_begin(machine->guest, GMM_RANGE_GFN, &range, 1, 0, NULL));
	for (i = 0; i < count; i++)
		machine_move_frame(machine, page + i);
	gmm_invalidate_end(machine->guest, GMM_RANGE_GFN, &range, 1);
}

void machine_move(struct machine *machine, uint32_t page)
{
	machine_move_pages(machine, page, 1);
}

void machine_move_by_hva(struct machine *machine, uint32_t page)
{
	uint64_t start = MACHINE_HVA + page * (uint64_t)MACHINE_PAGE_BYTES;
	struct gmm_range range = { start, start + MACHINE_PAGE_BYTES };

	machine_must(gmm_invalidate_begin(machine->guest, GMM_RANGE_HVA, &range, 1, 0, NULL));
	machine_move_frame(machine, page);
	gmm_invalidate_end(machine->guest, GMM_RANGE_HVA, &range, 1);
}

void machine_go(struct gmm_sim_thread **threads, uint32_t count)
{
	uint32_t i;

	gmm_sim_checkpoint();
	for (i = 0; i < count; i++)
		gmm_sim_thread_join(threads[i]);
}
