/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "guest.h"

#include <string.h>
#include <sys/mman.h>

#include <guestmm/stage2.h>

#include "../harness.h"

static int resolve(void *memory, uint64_t page, uint32_t count, uint32_t access, gmm_pfn_t *pfns)
{
	uint32_t i;

	for (i = 0; i < count; i++)
		pfns[i] = page + i;
	return 0;
}

static void put(void *memory, const gmm_pfn_t *pfns, uint32_t count)
{
}

static int map(void *opaque, const gmm_pfn_t *pfns, uint32_t count, uint32_t access, void **pointer)
{
	struct bench_memory *memory = opaque;

	*pointer = memory->bytes + (pfns[0] << BENCH_PAGE_SHIFT);
	return 0;
}

static void unmap(void *memory, void *pointer, uint32_t count)
{
}

static int fill(void *memory, uint64_t page, uint32_t count, enum gmm_page_origin origin)
{
	return 0;
}

static int read_page(void *opaque, uint64_t page, bool resident, enum gmm_page_origin origin,
		     void *buffer)
{
	struct bench_memory *memory = opaque;

	memcpy(buffer, memory->bytes + (page << BENCH_PAGE_SHIFT), BENCH_PAGE_SIZE);
	return 0;
}

const struct gmm_memory_ops bench_resident_ops = {
	.version = GMM_MEMORY_OPS_VERSION,
	.name = "bench",
	.resolve = resolve,
	.put = put,
	.map = map,
	.unmap = unmap,
};

const struct gmm_memory_ops bench_lazy_ops = {
	.version = GMM_MEMORY_OPS_VERSION,
	.flags = GMM_MEMORY_LAZY,
	.name = "bench lazy",
	.resolve = resolve,
	.put = put,
	.map = map,
	.unmap = unmap,
	.fill = fill,
	.read = read_page,
};

static int owner_map(void *owner, const struct gmm_span *span, uint32_t access)
{
	return 0;
}

static int owner_change(void *owner, const struct gmm_span *span)
{
	return 0;
}

static void owner_wake(void *owner, const struct gmm_span *span)
{
}

static int owner_slot_change(void *owner, const struct gmm_slot_info *old,
			     const struct gmm_slot_info *now)
{
	return 0;
}

const struct gmm_stage2_ops bench_stage2_ops = {
	.version = GMM_STAGE2_OPS_VERSION,
	.flags = GMM_STAGE2_MAPS_PROTECTED,
	.name = "bench",
	.map = owner_map,
	.unmap = owner_change,
	.protect = owner_change,
	.unprotect = owner_change,
	.wake = owner_wake,
	.slot_change = owner_slot_change,
};

void bench_memory_make(struct bench_memory *memory, uint64_t pages)
{
	memory->pages = pages;
	memory->bytes = mmap(NULL, pages << BENCH_PAGE_SHIFT, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory->bytes == MAP_FAILED)
		bench_broken("mapping memory");
}

void bench_memory_end(struct bench_memory *memory)
{
	munmap(memory->bytes, memory->pages << BENCH_PAGE_SHIFT);
}

struct gmm_guest *bench_guest_make(const struct gmm_stage2_ops *stage2_ops)
{
	struct gmm_guest_config config = { .max_vcpus = 8, .stage2_ops = stage2_ops };
	struct gmm_guest *guest;

	bench_must(gmm_guest_create(&config, &guest), "making a guest");
	return guest;
}

void bench_guest_end(struct gmm_guest *guest)
{
	bench_must(gmm_guest_destroy(guest), "ending a guest");
}

struct gmm_slot_config bench_slot(uint32_t id, gmm_gfn_t gfn, uint64_t count, uint32_t flags,
				  const struct gmm_memory_ops *ops, struct bench_memory *memory,
				  uint64_t page)
{
	uint8_t *start = memory->bytes + (page << BENCH_PAGE_SHIFT);

	return (struct gmm_slot_config){
		.id = id,
		.flags = flags,
		.gfn = gfn,
		.count = count,
		.hva = (uintptr_t)start,
		.memory_ops = ops,
		.memory = memory,
		.memory_page = page,
		.pointer = ops->flags & GMM_MEMORY_LAZY ? NULL : start,
	};
}

void bench_slot_add(struct gmm_guest *guest, const struct gmm_slot_config *config)
{
	bench_must(gmm_slot_add(guest, config), "adding a slot");
}

struct gmm_cache *bench_cache_make(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t length,
				   uint32_t uses)
{
	struct gmm_cache *cache;

	bench_must(gmm_cache_create(guest, &cache), "making a cache");
	bench_must(gmm_cache_activate(cache, gfn << BENCH_PAGE_SHIFT, length, uses),
		   "activating a cache");
	return cache;
}
