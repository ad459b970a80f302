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
	int memfd;		/* the file; -1: none */
	uint64_t file_offset;	/* of page 0 */
	uint32_t granule_shift; /* what the file can be mapped by: page_shift or more */
	char *vcpu_mapping;
	bool placed;	      /* vcpu_mapping is where the caller had reserved it */
	char *engine_mapping; /* NULL: only what is in use is mapped */

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
	_Atomic uint64_t mapped_bytes;
	_Atomic uint64_t most_mapped_bytes;
	_Atomic uint64_t map_calls;

	struct gmm_failure failure;
};

extern const struct gmm_memory_ops gmm_memory_memfd_ops;
extern const struct gmm_memory_ops gmm_memory_plain_ops;
extern const struct gmm_memory_ops gmm_memory_anonymous_ops;
extern const struct gmm_memory_ops gmm_memory_hugetlb_ops;
extern const struct gmm_memory_ops gmm_memory_secret_ops;
extern const struct gmm_memory_ops gmm_memory_guest_memfd_ops;
extern const struct gmm_memory_ops gmm_memory_adopted_ops;
extern const struct gmm_memory_ops gmm_memory_device_ops;

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

/*
 * Parts of making a memory, each with a line in `text` when it fails: the file (memory_file.c), the
 * mappings (memory_mapping.c), and the contents of kinds that are not lazy (memory_resident.c).
 * What was made before a failure is undone by gmm_memory_close().
 */
int gmm_memory_open_file(struct gmm_memory *memory, const struct gmm_memory_config *config,
			 char *text, size_t text_size);
int gmm_memory_make_mappings(struct gmm_memory *memory, void *vcpu_address, bool in_use, char *text,
			     size_t text_size);
void gmm_memory_undo_mappings(struct gmm_memory *memory);
int gmm_memory_fill_whole(struct gmm_memory *memory, char *text, size_t text_size);

/*
 * A pointer to resident pages for the memory's own use, kept until leave: of a mapping of the whole,
 * or of one made for the purpose. Not counted as map(). -GMM_ENOMEM, -GMM_EIO.
 */
int gmm_memory_reach(struct gmm_memory *memory, uint64_t page, uint32_t count, uint32_t access,
		     char **pointer);
void gmm_memory_leave(struct gmm_memory *memory, char *pointer, uint32_t count);

/* The operations that all kinds have; map and unmap are in memory_mapping.c. */
int gmm_memory_resolve(void *opaque, uint64_t page, uint32_t count, uint32_t access,
		       gmm_pfn_t *pfns);
void gmm_memory_put(void *opaque, const gmm_pfn_t *pfns, uint32_t count);
int gmm_memory_map(void *opaque, const gmm_pfn_t *pfns, uint32_t count, uint32_t access,
		   void **pointer);
void gmm_memory_unmap(void *opaque, void *pointer, uint32_t count);

/* Of guestmm/memory.h: `lost` of memory in a memfd and of private memory, and `restore` of both. */
int gmm_memory_memfd_lost(void *opaque, uint64_t page, uint32_t count, uint64_t *gone);
int gmm_memory_anonymous_lost(void *opaque, uint64_t page, uint32_t count, uint64_t *gone);
int gmm_memory_restore(void *opaque, gmm_hva_t hva, uint64_t bytes,
		       int (*ready)(void *opaque, gmm_hva_t hva, uint64_t bytes),
		       void *ready_opaque);

#endif
