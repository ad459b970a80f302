/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <guestmm/linux/mapped_memory.h>

#include <stdlib.h>

#include <gmm_port/atomic.h>

struct gmm_mapped_memory {
	/* Immutable. */
	uint64_t page_count;
	uint32_t page_shift;
	uint32_t access;

	uint64_t first_pfn; /* atomic; changes only while nobody may resolve */
};

/* The number of the frame at `start`. */
static int frame_of(const struct gmm_mapped_memory *memory, void *start, uint64_t *pfn)
{
	uint64_t address = (uintptr_t)start;
	uint64_t most = (UINT64_MAX - address) >> memory->page_shift;

	if (!start || address & ((1ull << memory->page_shift) - 1) || memory->page_count > most)
		return -GMM_EINVAL;
	*pfn = address >> memory->page_shift;
	return 0;
}

int gmm_mapped_memory_create(const struct gmm_mapped_memory_config *config,
			     struct gmm_mapped_memory **memory)
{
	const uint32_t both = GMM_ACCESS_READ | GMM_ACCESS_WRITE;
	struct gmm_mapped_memory wanted = {
		.page_count = config->page_count,
		.page_shift = config->page_shift ? config->page_shift : 12,
		.access = config->access ? config->access : both,
	};
	int error;

	if (!wanted.page_count || wanted.access & ~both || !(wanted.access & GMM_ACCESS_READ))
		return -GMM_EINVAL;
	if (wanted.page_shift != 12 && wanted.page_shift != 14 && wanted.page_shift != 16)
		return -GMM_EINVAL;
	error = frame_of(&wanted, config->start, &wanted.first_pfn);
	if (error)
		return error;
	*memory = malloc(sizeof(**memory));
	if (!*memory)
		return -GMM_ENOMEM;
	**memory = wanted;
	return 0;
}

void gmm_mapped_memory_close(struct gmm_mapped_memory *memory)
{
	free(memory);
}

int gmm_mapped_memory_move(struct gmm_mapped_memory *memory, void *start)
{
	uint64_t pfn = 0;
	int error = frame_of(memory, start, &pfn);

	if (!error)
		gmm_store_relaxed(&memory->first_pfn, pfn);
	return error;
}

static int mapped_resolve(void *opaque, uint64_t page, uint32_t count, uint32_t access,
			  gmm_pfn_t *pfns)
{
	const struct gmm_mapped_memory *memory = opaque;
	uint64_t first = gmm_load_relaxed(&memory->first_pfn);
	uint32_t i;

	if (access & ~memory->access || page >= memory->page_count ||
	    count > memory->page_count - page)
		return -GMM_EFAULT;
	for (i = 0; i < count; i++)
		pfns[i] = first + page + i;
	return 0;
}

static void mapped_put(void *memory, const gmm_pfn_t *pfns, uint32_t count)
{
}

static int mapped_map(void *opaque, const gmm_pfn_t *pfns, uint32_t count, uint32_t access,
		      void **pointer)
{
	const struct gmm_mapped_memory *memory = opaque;
	uint32_t i;

	for (i = 1; i < count; i++) {
		if (pfns[i] != pfns[0] + i)
			return -GMM_EXDEV;
	}
	*pointer = (void *)(uintptr_t)(pfns[0] << memory->page_shift);
	return 0;
}

static void mapped_unmap(void *memory, void *pointer, uint32_t count)
{
}

const struct gmm_memory_ops *gmm_mapped_memory_ops(void)
{
	static const struct gmm_memory_ops ops = {
		.version = GMM_MEMORY_OPS_VERSION,
		.name = "mapped",
		.resolve = mapped_resolve,
		.put = mapped_put,
		.map = mapped_map,
		.unmap = mapped_unmap,
	};

	return &ops;
}
