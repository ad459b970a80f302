/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "machine.h"

#include <gmm_port/alloc.h>
#include <gmm_port/section.h>
#include <gmm_port/thread.h>

#define RANK_LIVE 190u
#define REACH_FRAME 8u /* shift */
#define REACH_ACCESS 0xffu

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
	return machine_frame(machine, gmm_load_relaxed(&machine->frame_of[page]));
}

static bool is_there(const struct machine *machine, uint64_t page)
{
	return machine->resident[page] || (machine->traits & MACHINE_LOSES);
}

static int resolve(void *opaque, uint64_t page, uint32_t count, uint32_t access, gmm_pfn_t *pfns)
{
	struct machine *machine = opaque;
	uint32_t i;

	if (page + count > MACHINE_PAGES)
		return -GMM_EFAULT;
	if ((machine->fail_resolve && !--machine->fail_resolve) ||
	    gmm_sim_call_fails(0, GMM_SIM_SITE("resolve")))
		return -GMM_ENOMEM;
	for (i = 0; i < count; i++) {
		machine_check(is_there(machine, page + i));
		pfns[i] = gmm_load_relaxed(&machine->frame_of[page + i]);
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
	for (i = 0; i < count; i++)
		machine->mappings[pfns[i]]++;
	*pointer = machine_frame(machine, pfns[0]);
	return 0;
}

static void unmap(void *opaque, void *pointer, uint32_t count)
{
	struct machine *machine = opaque;
	size_t offset = (size_t)((uint8_t *)pointer - machine->frames);
	uint32_t i;

	machine_check(offset % MACHINE_PAGE_BYTES == 0);
	for (i = 0; i < count; i++)
		machine_check(--machine->mappings[offset / MACHINE_PAGE_BYTES + i] >= 0);
}

static int fill(void *opaque, uint64_t page, uint32_t count, enum gmm_page_origin origin)
{
	struct machine *machine = opaque;
	uint32_t i;

	for (i = 0; i < count; i++) {
		uint64_t word = origin == GMM_ORIGIN_SOURCE ? machine->source[page + i] :
				origin == GMM_ORIGIN_STORE  ? machine->store[page + i] :
							      0;

		machine_check(!machine->resident[page + i]);
		gmm_store_relaxed(machine_contents(machine, (uint32_t)page + i), word);
		machine->resident[page + i] = true;
	}
	return 0;
}

static int write_out(void *opaque, uint64_t page, uint32_t count)
{
	struct machine *machine = opaque;
	uint32_t i;

	for (i = 0; i < count; i++) {
		machine_check(is_there(machine, page + i));
		machine->store[page + i] =
			machine->resident[page + i] ?
				gmm_load_relaxed(machine_contents(machine, (uint32_t)page + i)) :
				0;
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

	if (access == REACH_ACCESS)
		(void)gmm_exchange(&machine->reach[page], 0u);
	else
		gmm_fetch_and(&machine->reach[page], ~access);
	if (!(machine->traits & MACHINE_TLB) || (machine->traits & MACHINE_TLB_UNFLUSHED))
		return;
	for (thread = 0; thread < MACHINE_TLBS; thread++)
		if (gmm_load_relaxed(&machine->tlb[thread][page]))
			(void)gmm_exchange(&machine->tlb[thread][page], 0u);
}

static int discard(void *opaque, uint64_t page, uint32_t count)
{
	struct machine *machine = opaque;
	uint32_t i;

	for (i = 0; i < count; i++) {
		/* Out of the vCPUs' reach first, and complete. */
		take_from_reach(machine, page + i, REACH_ACCESS);
		machine->resident[page + i] = false;
		gmm_store_relaxed(machine_contents(machine, (uint32_t)page + i), MACHINE_POISON);
	}
	return 0;
}

static int read_page(void *opaque, uint64_t page, bool resident, enum gmm_page_origin origin,
		     void *buffer)
{
	struct machine *machine = opaque;
	uint64_t word;

	if (resident)
		word = gmm_load_relaxed(machine_contents(machine, (uint32_t)page));
	else
		word = origin == GMM_ORIGIN_SOURCE ? machine->source[page] :
		       origin == GMM_ORIGIN_STORE  ? machine->store[page] :
						     0;
	*(uint64_t *)buffer = word;
	return 0;
}

static int lost(void *opaque, uint64_t page, uint32_t count, uint64_t *gone)
{
	struct machine *machine = opaque;
	uint32_t i;

	for (i = 0; i < count; i++)
		if (!machine->resident[page + i])
			*gone |= (uint64_t)1 << i;
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

/* The page's frame is looked up and installed in two steps: a change may come between. */
static int reach_page(struct machine *machine, uint64_t page, bool write)
{
	uint32_t seen = gmm_load_relaxed(&machine->reach[page]);
	uint32_t frame = gmm_load_relaxed(&machine->frame_of[page]);
	uint32_t now;

	do {
		now = (seen & REACH_ACCESS) | GMM_ACCESS_READ | frame << REACH_FRAME;
		now |= write ? GMM_ACCESS_WRITE : 0;
	} while (!gmm_compare_exchange(&machine->reach[page], &seen, now));
	if (machine->resident[page])
		return 0;
	/* In the same step: there is no page to map. */
	machine->reach[page] = 0;
	return -GMM_EFAULT;
}

static int live_map(void *opaque, const struct gmm_span *span, uint32_t access)
{
	struct machine *machine = opaque;
	int error = 0;
	uint64_t i;

	for (i = 0; i < span->count && !error; i++)
		error = reach_page(machine, span->page + i, access & GMM_ACCESS_WRITE);
	wake_waiters(machine);
	return error;
}

static int live_unmap(void *opaque, const struct gmm_span *span)
{
	struct machine *machine = opaque;
	uint64_t i;

	for (i = 0; i < span->count; i++)
		take_from_reach(machine, span->page + i, REACH_ACCESS);
	return 0;
}

static int live_protect(void *opaque, const struct gmm_span *span)
{
	struct machine *machine = opaque;
	uint64_t i;

	for (i = 0; i < span->count; i++)
		take_from_reach(machine, span->page + i, GMM_ACCESS_WRITE);
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
	return 0;
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
	struct gmm_guest_config config = { .gpa_bits = 21 };
	struct gmm_slot_config slot;
	uint32_t i;

	gmm_memset(machine, 0, sizeof(*machine));
	machine->traits = traits;
	machine->allocated = gmm_zalloc((MACHINE_FRAMES + 1) * MACHINE_PAGE_BYTES);
	machine->frames = (uint8_t *)(((uintptr_t)machine->allocated + MACHINE_PAGE_BYTES - 1) &
				      ~(uintptr_t)(MACHINE_PAGE_BYTES - 1));
	gmm_spin_init(&machine->lock, RANK_LIVE);
	gmm_waitqueue_init(&machine->woken);
	for (i = 0; i < MACHINE_FRAMES; i++) {
		machine_frame(machine, i)[1] = machine_word(i % MACHINE_PAGES) + 0x100;
		*machine_frame(machine, i) = i < MACHINE_PAGES && !(traits & MACHINE_LAZY) ?
						     machine_word(i) :
						     MACHINE_POISON;
	}
	for (i = 0; i < MACHINE_PAGES; i++) {
		machine->frame_of[i] = i;
		machine->resident[i] = !(traits & MACHINE_LAZY);
		machine->source[i] = machine_word(i);
	}
	gmm_port_section_barrier_refuse(traits & MACHINE_FENCES);
	if (traits & MACHINE_VCPUS)
		config.max_vcpus = 2;
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
	uint32_t reach = machine->reach[page];
	struct gmm_page_info info;

	machine_must(gmm_page_query(machine->guest, page, &info));
	machine_check(!info.busy);
	machine_check(!(reach & GMM_ACCESS_READ) || info.mapped);
	machine_check(!(reach & GMM_ACCESS_WRITE) || info.writable);
	machine_check(!reach || reach >> REACH_FRAME == machine->frame_of[page]);
	if (lazy && !(machine->traits & MACHINE_LOSES))
		machine_check((info.state == GMM_PAGE_PRESENT) == machine->resident[page]);
	if (!lazy && info.mapped)
		machine_check(info.pfn == machine->frame_of[page]);
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
	uint32_t from = machine->frame_of[page];
	uint32_t to = from ^ MACHINE_PAGES;
	uint64_t word;

	/* Out of the vCPUs' reach, as the host's notifier leaves it. */
	take_from_reach(machine, page, REACH_ACCESS);
	word = gmm_exchange(machine_frame(machine, from), MACHINE_POISON);

	gmm_store_relaxed(machine_frame(machine, to), word);
	gmm_store_relaxed(&machine->frame_of[page], to);
}

void machine_lose(struct machine *machine, uint32_t page)
{
	uint64_t *contents = machine_contents(machine, page);

	/* One step. */
	gmm_exchange(&machine->reach[page], 0u);
	machine->resident[page] = false;
	*contents = MACHINE_POISON;
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

/*
 * One step of a vCPU: its translation is looked up and used at once, since who takes it away waits
 * until it is out of the vCPU's TLB.
 */
static bool direct_step(struct machine *machine, uint32_t page, uint32_t access, uint64_t *word)
{
	uint32_t reach;

	/* The step says which words it touches: again, when the page has moved until its turn. */
	do {
		reach = machine->reach[page];
		gmm_sim_touch_two(&machine->reach[page], sizeof(machine->reach[page]),
				  machine_frame(machine, reach >> REACH_FRAME),
				  access & GMM_ACCESS_WRITE, GMM_SIM_SITE("guest's access"));
	} while (reach >> REACH_FRAME != machine->reach[page] >> REACH_FRAME);
	reach = machine->reach[page];
	if ((reach & access) != access)
		return false;
	if (access & GMM_ACCESS_WRITE)
		*machine_frame(machine, reach >> REACH_FRAME) = *word;
	else
		*word = *machine_frame(machine, reach >> REACH_FRAME);
	return true;
}

/* The processor looks into its TLB, and fills it where the second stage lets it. */
static uint32_t tlb_look(struct machine *machine, uint32_t *entry, uint32_t page, uint32_t access)
{
	uint32_t found = gmm_load_relaxed(entry);

	if ((found & access) == access)
		return found;
	gmm_sim_touch_two(&machine->reach[page], sizeof(machine->reach[page]), entry, true,
			  GMM_SIM_SITE("guest's translation"));
	*entry = machine->reach[page] & REACH_ACCESS ? machine->reach[page] : 0;
	return *entry;
}

/* An access with what the TLB has: whoever flushes it waits until the access is done. */
static bool tlb_step(struct machine *machine, uint32_t page, uint32_t access, uint64_t *word)
{
	uint32_t *entry = &machine->tlb[gmm_thread_self() - 1][page];
	uint32_t found;
	uint64_t *frame;

	do {
		found = tlb_look(machine, entry, page, access);
		if ((found & access) != access)
			return false;
		frame = machine_frame(machine, found >> REACH_FRAME);
		gmm_sim_touch_two(entry, sizeof(*entry), frame, access & GMM_ACCESS_WRITE,
				  GMM_SIM_SITE("guest's access"));
	} while (*entry != found);
	if (access & GMM_ACCESS_WRITE)
		*frame = *word;
	else
		*word = *frame;
	return true;
}

static bool guest_step(struct machine *machine, uint32_t page, uint32_t access, uint64_t *word)
{
	return machine->traits & MACHINE_TLB ? tlb_step(machine, page, access, word) :
					       direct_step(machine, page, access, word);
}

/* One access, or a fault of it. */
static bool guest_access(struct machine *machine, uint32_t page, uint32_t access, uint64_t *word)
{
	uint64_t wakes;
	int answer;

	if (guest_step(machine, page, access, word))
		return true;
	gmm_spin_lock(&machine->lock);
	wakes = machine->wakes;
	gmm_spin_unlock(&machine->lock);
	/* Who is woken from here on need not wait. */
	if (guest_step(machine, page, access, word))
		return true;
	answer = gmm_fault_serve(machine->guest, page, access);
	machine_check(answer == 0 || answer == GMM_FAULT_HELD ||
		      (answer == -GMM_ENOMEM && gmm_port_alloc_failed()));
	if (answer == GMM_FAULT_HELD) {
		gmm_spin_lock(&machine->lock);
		while (machine->wakes == wakes)
			gmm_waitqueue_wait(&machine->woken, &machine->lock);
		gmm_spin_unlock(&machine->lock);
	}
	return false;
}

uint64_t machine_guest_read(struct machine *machine, uint32_t page)
{
	uint64_t word;

	while (!guest_access(machine, page, GMM_ACCESS_READ, &word))
		;
	return word;
}

void machine_guest_write(struct machine *machine, uint32_t page, uint64_t word)
{
	while (!guest_access(machine, page, GMM_ACCESS_READ | GMM_ACCESS_WRITE, &word))
		;
}

static uint64_t *enter(struct gmm_cache *cache, struct gmm_reader *reader, uint64_t offset)
{
	uint64_t *pointer;

	gmm_section_enter(reader);
	while (!(pointer = gmm_cache_pointer(cache, offset, sizeof(*pointer)))) {
		gmm_section_exit(reader);
		machine_must(gmm_cache_refresh(cache));
		gmm_section_enter(reader);
	}
	return pointer;
}

static void check_mapped(struct machine *machine, const uint64_t *pointer)
{
	size_t offset = (size_t)((const uint8_t *)pointer - machine->frames);

	machine_check(offset < MACHINE_FRAMES * MACHINE_PAGE_BYTES &&
		      machine->mappings[offset / MACHINE_PAGE_BYTES] > 0);
}

uint64_t machine_load(struct machine *machine, const uint64_t *pointer)
{
	uint64_t word = gmm_load_relaxed(pointer);

	check_mapped(machine, pointer);
	return word;
}

uint64_t machine_read(struct machine *machine, struct gmm_cache *cache, struct gmm_reader *reader,
		      uint64_t offset)
{
	uint64_t *pointer = enter(cache, reader, offset);
	uint64_t word = machine_load(machine, pointer);

	gmm_section_exit(reader);
	return word;
}

void machine_write(struct machine *machine, struct gmm_cache *cache, struct gmm_reader *reader,
		   uint64_t offset, uint64_t word)
{
	uint64_t *pointer = enter(cache, reader, offset);

	check_mapped(machine, pointer);
	gmm_store_relaxed(pointer, word);
	gmm_cache_mark_dirty(cache, offset, sizeof(word));
	gmm_section_exit(reader);
}

void machine_go(struct gmm_sim_thread **threads, uint32_t count)
{
	uint32_t i;

	gmm_sim_checkpoint();
	for (i = 0; i < count; i++)
		gmm_sim_thread_join(threads[i]);
}
