/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "slot_reference.h"

struct run run;

static int resolve(void *opaque, uint64_t page, uint32_t count, uint32_t access, gmm_pfn_t *pfns)
{
	struct memory *memory = opaque;
	uint32_t i;

	for (i = 0; i < count; i++)
		pfns[i] = page + i;
	memory->references += count;
	return 0;
}

static void put(void *opaque, const gmm_pfn_t *pfns, uint32_t count)
{
	((struct memory *)opaque)->references -= count;
}

static int map(void *opaque, const gmm_pfn_t *pfns, uint32_t count, uint32_t access, void **pointer)
{
	((struct memory *)opaque)->mappings += count;
	*pointer = (void *)(uintptr_t)(MAPPINGS + (pfns[0] % (FRAMES_MAX * 4) << run.shift));
	return 0;
}

static void unmap(void *opaque, void *pointer, uint32_t count)
{
	((struct memory *)opaque)->mappings -= count;
}

static int fill(void *opaque, uint64_t page, uint32_t count, enum gmm_page_origin origin)
{
	struct reference *slot =
		gmm_container_of((struct memory *)opaque, struct reference, memory);
	const struct gmm_slot_config *config = run.coming ? run.coming : &slot->config;
	uint64_t first = page - config->memory_page;
	uint32_t i;

	fuzz_check(origin == GMM_ORIGIN_SOURCE, "a page is known that was never there");
	fuzz_check(first < config->count && count <= config->count - first,
		   "pages beyond the slot are filled");
	for (i = 0; i < count; i++)
		fuzz_check(!slot->filled[first + i]++, "a page is filled twice");
	slot->memory.filled += count;
	return 0;
}

static int no_read(void *opaque, uint64_t page, bool resident, enum gmm_page_origin origin,
		   void *buffer)
{
	return -GMM_EIO;
}

#define MEMORY_OPS(its_version, its_flags, its_fill)                                            \
	{                                                                                       \
		.version = (its_version), .flags = (its_flags), .name = "numbers",              \
		.resolve = resolve, .put = put, .map = map, .unmap = unmap, .fill = (its_fill), \
		.read = no_read,                                                                \
	}

const struct gmm_memory_ops memory_kinds[] = {
	MEMORY_OPS(GMM_MEMORY_OPS_VERSION, 0, NULL),
	MEMORY_OPS(GMM_MEMORY_OPS_VERSION, GMM_MEMORY_LAZY, fill),
	/* Refused from here on. */
	MEMORY_OPS(GMM_MEMORY_OPS_VERSION, GMM_MEMORY_LAZY, NULL),
	MEMORY_OPS(GMM_MEMORY_OPS_VERSION + 1, 0, NULL),
	MEMORY_OPS(GMM_MEMORY_OPS_VERSION, GMM_MEMORY_EVICTABLE, NULL),
};

static int live_span(void *owner, const struct gmm_span *span)
{
	return 0;
}

static bool owner_fails(void)
{
	if (!run.owner_fails_at || --run.owner_fails_at)
		return false;
	run.failed = true;
	return true;
}

static int live_protect(void *owner, const struct gmm_span *span)
{
	return owner_fails() ? -GMM_EIO : 0;
}

static int live_map(void *owner, const struct gmm_span *span, uint32_t access)
{
	return 0;
}

static void live_wake(void *owner, const struct gmm_span *span)
{
}

uint32_t index_of(uint32_t id)
{
	return id == GMM_SLOTS_MAX - 1 ? SLOTS - 1 : id;
}

static bool is_same(const struct gmm_slot_info *a, const struct gmm_slot_info *b)
{
	return a->count == b->count &&
	       (!a->count || (a->id == b->id && a->flags == b->flags && a->gfn == b->gfn));
}

/* The owner waits for a vCPU that stands in a fault, so faults are served meanwhile. */
static void fault_meanwhile(gmm_gfn_t gfn)
{
	int answer = gmm_fault_serve(run.guest, gfn, GMM_ACCESS_READ);

	fuzz_say("  fault at %llu meanwhile: %d", (unsigned long long)gfn, answer);
	fuzz_check(answer == 0 || answer == -GMM_EFAULT || answer == -GMM_ENOMEM,
		   "a fault while a slot changes: %d", answer);
}

static int live_slot_change(void *owner, const struct gmm_slot_info *old,
			    const struct gmm_slot_info *now)
{
	uint32_t index = index_of(old->count ? old->id : now->id);

	fuzz_check(is_same(old, &run.told[index]),
		   "the owner is told of a slot that was not there");
	if (run.faults && old->count)
		fault_meanwhile(old->gfn);
	if (run.faults && now->count)
		fault_meanwhile(now->gfn + now->count - 1);
	if (owner_fails())
		return -GMM_EIO;
	run.told[index] = *now;
	return 0;
}

const struct gmm_stage2_ops owner_ops = {
	.version = GMM_STAGE2_OPS_VERSION,
	.flags = GMM_STAGE2_MAPS_PROTECTED,
	.name = "numbers",
	.map = live_map,
	.unmap = live_span,
	.protect = live_protect,
	.unprotect = live_span,
	.wake = live_wake,
	.slot_change = live_slot_change,
};

struct reference *reference_at(uint64_t gfn)
{
	uint32_t i;

	for (i = 0; i < SLOTS; i++)
		if (run.slots[i].config.count && gfn >= run.slots[i].config.gfn &&
		    gfn - run.slots[i].config.gfn < run.slots[i].config.count)
			return &run.slots[i];
	return NULL;
}

bool reference_is_taken(const struct reference *self, uint64_t gfn, uint64_t count)
{
	uint32_t i;

	for (i = 0; i < SLOTS; i++) {
		const struct gmm_slot_config *config = &run.slots[i].config;

		if (&run.slots[i] != self && config->count && gfn < config->gfn + config->count &&
		    config->gfn < gfn + count)
			return true;
	}
	return false;
}

bool reference_is_direct(const struct reference *slot)
{
	return slot && slot->config.pointer && !(slot->config.memory_ops->flags & GMM_MEMORY_LAZY);
}

bool reference_is_changing(uint64_t gfn, uint64_t count, uint64_t unit)
{
	uint64_t first = gfn / unit * unit, end = (gfn + count + unit - 1) / unit * unit, i;

	if (!run.changing.end)
		return false;
	if (run.changing_kind == GMM_RANGE_GFN)
		return first < run.changing.end && run.changing.start < end;
	for (i = first; i < end; i++) {
		const struct reference *slot = reference_at(i);
		uint64_t hva = slot ? slot->config.hva + ((i - slot->config.gfn) << run.shift) : 0;

		if (slot && hva < run.changing.end &&
		    run.changing.start <= hva + ((uint64_t)1 << run.shift) - 1)
			return true;
	}
	return false;
}

struct reference *reference_of(uint32_t id)
{
	return id < GMM_SLOTS_MAX && run.slots[index_of(id)].config.count ?
		       &run.slots[index_of(id)] :
		       NULL;
}
