/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Memory that guests run on, as the engine sees it: a const table of operations that a backing
 * supplies, checked once when a slot is added. Pages are numbered from 0 within one memory object.
 *
 * All operations are called without a lock of the engine that spins, outside sections, and may
 * sleep unless noted. A batch is one call: `count` is at least 1 and never crosses the end of the
 * slot. Two calls that change the contents of one page never run at once: the engine owns the
 * page's state while it calls (core/fault.c, core/evict.c).
 */
#ifndef GUESTMM_MEMORY_H
#define GUESTMM_MEMORY_H

#include <guestmm/types.h>

#define GMM_MEMORY_OPS_VERSION 1u

/*
 * The pages may be absent; the engine keeps their states in the soft second stage and fills them on
 * demand. Without this flag every page is there from the start and fill, write_out, discard and
 * read may be NULL.
 */
#define GMM_MEMORY_LAZY 1u
/* Pages can be written out, discarded and filled again. Only with GMM_MEMORY_LAZY. */
#define GMM_MEMORY_EVICTABLE 2u
/*
 * The mapping of the vCPUs can be dropped without losing the contents, so that the next access
 * tells that the page is young. Memory without it (private anonymous) knows age of writes only.
 */
#define GMM_MEMORY_AGEABLE 4u
/*
 * No vCPU can reach it: it is for devices, through caches. The owner of the second stage accepts a
 * slot of it and gives vCPUs nothing, so the only writes to log are those of caches. The slot's HVA
 * only names its range. Not with GMM_MEMORY_LAZY.
 */
#define GMM_MEMORY_HOST_ONLY 8u
/*
 * vCPUs reach it by its file, which descriptor() gives, and not by the mapping at the slot's HVA
 * (guest_memfd). Not with GMM_MEMORY_LAZY nor GMM_MEMORY_HOST_ONLY.
 */
#define GMM_MEMORY_BY_FILE 16u

/* Where the contents of a page that is not resident are. */
enum gmm_page_origin {
	GMM_ORIGIN_SOURCE, /* never filled: in the source (snapshot, generator) */
	GMM_ORIGIN_ZERO,   /* discarded, or known to be zero */
	GMM_ORIGIN_STORE,  /* evicted: where write_out put it */
};

/* What is true of a frame: what a guest's table maps it as (guest.h). */
struct gmm_frame_info {
	uint32_t memory; /* enum gmm_leaf_memory of stage2_table.h */
	/*
	 * Pages of the memory around this one whose frames are consecutive and of one class, and stay so
	 * until a change (invalidate.h) of one of them begins: they may be mapped by one leaf.
	 */
	uint64_t first_page;
	uint64_t count;
};

struct gmm_memory_ops {
	uint32_t version; /* GMM_MEMORY_OPS_VERSION */
	uint32_t flags;	  /* GMM_MEMORY_* */
	const char *name; /* for messages: "memfd" */

	/*
	 * Takes the frames of `count` resident pages from `page` on, for `access`, into pfns[],
	 * each with a reference that put() drops. The engine calls it after fill for lazy memory.
	 * Returns 0, -GMM_EFAULT (not accessible in this way), -GMM_ENOMEM, -GMM_EIO; on failure no
	 * reference is kept. Source of the reference rule: P13, P15-P17, P22.
	 */
	int (*resolve)(void *memory, uint64_t page, uint32_t count, uint32_t access,
		       gmm_pfn_t *pfns);
	void (*put)(void *memory, const gmm_pfn_t *pfns, uint32_t count);

	/*
	 * Makes `count` frames one contiguous range of host addresses and stores its page-aligned
	 * start in *pointer; unmap() gets exactly that address (P20). The frames were resolved, but
	 * need not be referenced now: if one goes, the engine undoes the mapping without having
	 * used it. -GMM_EXDEV: frames that cannot be one range; -GMM_ENOMEM, -GMM_EIO.
	 */
	int (*map)(void *memory, const gmm_pfn_t *pfns, uint32_t count, uint32_t access,
		   void **pointer);
	void (*unmap)(void *memory, void *pointer, uint32_t count);

	/*
	 * Puts the contents into pages that are not resident, without making them accessible to
	 * vCPUs. -GMM_EIO (the source failed), -GMM_ENOMEM (the host has no memory), -GMM_EAGAIN
	 * (somebody changes the mapping: nothing was done, try again).
	 */
	int (*fill)(void *memory, uint64_t page, uint32_t count, enum gmm_page_origin origin);
	/*
	 * Saves resident pages so that fill(GMM_ORIGIN_STORE) brings them back. Nobody writes them.
	 */
	int (*write_out)(void *memory, uint64_t page, uint32_t count);
	/* Frees resident pages' frames; their contents are gone. */
	int (*discard)(void *memory, uint64_t page, uint32_t count);
	/*
	 * Copies one page into `buffer` without making it resident; `resident` pages are read in
	 * place, others from `origin`.
	 */
	int (*read)(void *memory, uint64_t page, bool resident, enum gmm_page_origin origin,
		    void *buffer);

	/*
	 * Only with GMM_MEMORY_BY_FILE: its file, in which page n is at n pages. It stays the
	 * memory's. Never fails.
	 */
	int (*descriptor)(void *memory);

	/*
	 * All below are for changes that somebody else makes to the memory (W9), and may be NULL.
	 *
	 * Of up to 64 pages that are resident as far as guestmm knows, sets bit i of *gone for
	 * each that is not there any more, and counts it as discarded: fill() may bring it again.
	 * *gone starts as 0. Called by threads that serve faults too: it waits for nobody, and
	 * changes no mapping. -GMM_EIO.
	 */
	int (*lost)(void *memory, uint64_t page, uint32_t count, uint64_t *gone);
	/*
	 * Makes vCPUs' addresses [hva, hva + bytes), where nothing is mapped, show the memory
	 * again: ready() is called while nobody can access them yet. -GMM_EEXIST: something else
	 * is mapped there now, and stays; what ready() returned; -GMM_EFAULT: not of this memory;
	 * -GMM_ENOMEM, -GMM_EIO.
	 */
	int (*restore)(void *memory, gmm_hva_t hva, uint64_t bytes,
		       int (*ready)(void *opaque, gmm_hva_t hva, uint64_t bytes), void *opaque);

	/*
	 * For guests with a table. Of a page and the frame that resolve() gave of it; *info is of
	 * this page alone, cached, when it is called. The class comes from the frame, not from what
	 * mapped it (L2). Called again right before a mapping; waits for nobody. NULL: all is cached,
	 * in leaves of one page.
	 */
	void (*describe_frame)(void *memory, uint64_t page, gmm_pfn_t pfn,
			       struct gmm_frame_info *info);
};

#endif
