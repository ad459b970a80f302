/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Memory that is simply there: one mapping, present from the start, never paged. A frame's number
 * is its host address without the low bits. A program that got guest memory from somebody else (a
 * vhost-user back-end, an emulator) supplies a table like this one; guestmm/memory.h says what each
 * operation owes.
 */
#ifndef GMM_EXAMPLES_PLAIN_MEMORY_H
#define GMM_EXAMPLES_PLAIN_MEMORY_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <guestmm/memory.h>

#define PLAIN_PAGE_SHIFT 12

struct plain_memory {
	unsigned char *start;
	size_t bytes;
};

static inline int plain_resolve(void *memory, uint64_t page, uint32_t count, uint32_t access,
				gmm_pfn_t *pfns)
{
	uintptr_t start = (uintptr_t)((struct plain_memory *)memory)->start;
	uint32_t i;

	for (i = 0; i < count; i++)
		pfns[i] = (start >> PLAIN_PAGE_SHIFT) + page + i;
	return 0;
}

/* Nothing is counted: who moves or frees the memory invalidates first. */
static inline void plain_put(void *memory, const gmm_pfn_t *pfns, uint32_t count)
{
}

static inline int plain_map(void *memory, const gmm_pfn_t *pfns, uint32_t count, uint32_t access,
			    void **pointer)
{
	*pointer = (void *)(uintptr_t)(pfns[0] << PLAIN_PAGE_SHIFT);
	return 0;
}

static inline void plain_unmap(void *memory, void *pointer, uint32_t count)
{
}

static const struct gmm_memory_ops plain_memory_ops = {
	.version = GMM_MEMORY_OPS_VERSION,
	.name = "plain",
	.resolve = plain_resolve,
	.put = plain_put,
	.map = plain_map,
	.unmap = plain_unmap,
};

static inline void must(int64_t result)
{
	if (result >= 0)
		return;
	fprintf(stderr, "guestmm: %s\n", strerror((int)-result));
	exit(1);
}

/* Zeroed pages. */
static inline struct plain_memory plain_memory_create(size_t pages)
{
	struct plain_memory memory = { .bytes = pages << PLAIN_PAGE_SHIFT };

	memory.start = aligned_alloc((size_t)1 << PLAIN_PAGE_SHIFT, memory.bytes);
	if (!memory.start)
		must(-GMM_ENOMEM);
	memset(memory.start, 0, memory.bytes);
	return memory;
}

/* The same contents at another address; the old pages are freed. Only while nobody uses them. */
static inline void plain_memory_move(struct plain_memory *memory)
{
	struct plain_memory old = *memory;

	*memory = plain_memory_create(old.bytes >> PLAIN_PAGE_SHIFT);
	memcpy(memory->start, old.start, old.bytes);
	memset(old.start, 0xdd, old.bytes);
	free(old.start);
}

static inline void plain_memory_free(struct plain_memory *memory)
{
	free(memory->start);
}

#endif
