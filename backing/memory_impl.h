/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What the kinds of memory share. */
#ifndef GUESTMM_BACKING_MEMORY_IMPL_H
#define GUESTMM_BACKING_MEMORY_IMPL_H

#include <stdatomic.h>

#include <guestmm/linux/memory.h>

#include "failure_impl.h"
#include "store_impl.h"

/*
 * Contents pass through a buffer of this size on the stack, which stays in the CPU's cache: moving
 * a page cannot fail for want of memory, and no mapping is touched. A page always fits.
 */
#define GMM_BOUNCE_SIZE (1u << GMM_BACKING_PAGE_SHIFT_MAX)

/* One bit a page; calls on different pages may share a word. */
struct gmm_page_set {
	_Atomic uint64_t *words;
};

struct gmm_memory {
	/* immutable after creation */
	const struct gmm_memory_ops *ops;
	enum gmm_memory_kind kind;
	uint32_t page_shift;
	uint64_t page_count;
	struct gmm_source source;
	struct gmm_store store; /* fd -1: none */
	int memfd;		/* -1: none */
	char *vcpu_mapping;
	bool placed; /* vcpu_mapping is where the caller had reserved it */
	char *engine_mapping;

	/* atomic */
	atomic_int userfaultfd;
	struct gmm_page_set resident;
	struct gmm_page_set stored;	   /* written out at least once */
	_Atomic uint32_t *page_references; /* the ledger of resolve and put */
	_Atomic uint64_t resident_pages;
	_Atomic uint64_t fills;
	_Atomic uint64_t origin_pages[3]; /* by enum gmm_page_origin */
	_Atomic uint64_t filled_bytes;
	_Atomic uint64_t written_out_pages;
	_Atomic uint64_t discarded_pages;
	_Atomic uint64_t foreign_pages;
	_Atomic uint64_t references;
	_Atomic uint64_t mappings;

	struct gmm_failure failure;
};

extern const struct gmm_memory_ops gmm_memory_memfd_ops;
extern const struct gmm_memory_ops gmm_memory_plain_ops;
extern const struct gmm_memory_ops gmm_memory_anonymous_ops;

static inline size_t gmm_memory_page_size(const struct gmm_memory *memory)
{
	return (size_t)1 << memory->page_shift;
}

/* Pages of the next piece of a batch that fits the buffer. */
static inline uint32_t gmm_memory_piece(const struct gmm_memory *memory, uint32_t left)
{
	uint32_t most = GMM_BOUNCE_SIZE >> memory->page_shift;

	return left < most ? left : most;
}

bool gmm_memory_has_range(const struct gmm_memory *memory, uint64_t page, uint32_t count);
/* True when all of the pages are in the set. */
bool gmm_page_set_has(const struct gmm_page_set *set, uint64_t page, uint32_t count);
/* True when any of them is. */
bool gmm_page_set_hits(const struct gmm_page_set *set, uint64_t page, uint32_t count);
void gmm_page_set_add(struct gmm_page_set *set, uint64_t page, uint32_t count);

/* Keep the set of resident pages and the counters. */
void gmm_memory_note_filled(struct gmm_memory *memory, uint64_t page, uint32_t count,
			    enum gmm_page_origin origin);
void gmm_memory_note_written_out(struct gmm_memory *memory, uint64_t page, uint32_t count);
void gmm_memory_note_discarded(struct gmm_memory *memory, uint64_t page, uint32_t count);

/* Copies the contents of pages that are not resident into `buffer`. -GMM_EIO. */
int gmm_memory_read_origin(struct gmm_memory *memory, uint64_t page, uint32_t count,
			   enum gmm_page_origin origin, void *buffer);

/* The operations that all kinds have. */
int gmm_memory_resolve(void *opaque, uint64_t page, uint32_t count, uint32_t access,
		       gmm_pfn_t *pfns);
void gmm_memory_put(void *opaque, const gmm_pfn_t *pfns, uint32_t count);
int gmm_memory_map(void *opaque, const gmm_pfn_t *pfns, uint32_t count, uint32_t access,
		   void **pointer);
void gmm_memory_unmap(void *opaque, void *pointer, uint32_t count);

#endif
