/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The second stage: what vCPUs can reach. The engine keeps the states of all pages in the soft
 * format (core/stage2/); the live second stage, which the vCPUs' accesses really go through, has an
 * owner: userfaultfd and /dev/kvm in userspace, tables of a hardware format elsewhere.
 */
#ifndef GUESTMM_STAGE2_H
#define GUESTMM_STAGE2_H

#include <guestmm/types.h>

#define GMM_STAGE2_OPS_VERSION 1u

/* The owner logs the guest's writes itself (KVM); the engine then collects, and does not protect. */
#define GMM_STAGE2_LOGS_WRITES 1u
/* map() can install pages write-protected; without it every mapped page counts as written. */
#define GMM_STAGE2_MAPS_PROTECTED 2u

/* A run of pages of one slot. */
struct gmm_span {
	uint32_t slot;	/* id of the slot */
	uint64_t page;	/* first page within the memory object */
	gmm_gfn_t gfn;	/* first frame for the guest */
	gmm_hva_t hva;	/* where the vCPUs' accesses to it arrive */
	uint64_t count; /* pages, at least 1 */
	void *memory;	/* of the slot */
	const struct gmm_memory_ops *memory_ops;
};

/* What the engine tells the owner about a slot. */
struct gmm_slot_info {
	uint32_t id;
	uint32_t flags; /* GMM_SLOT_* */
	gmm_gfn_t gfn;
	uint64_t count; /* pages; 0: there is no slot */
	gmm_hva_t hva;
	uint64_t memory_page; /* page of `memory` that the first frame is */
	void *memory;
	const struct gmm_memory_ops *memory_ops;
};

/*
 * All may sleep and are called without a spinning lock, outside sections. The engine owns the
 * states of all pages of the span during the call, so two calls on one page never overlap; calls on
 * different pages do. Failures are -GMM_EIO unless stated.
 */
struct gmm_stage2_ops {
	uint32_t version; /* GMM_STAGE2_OPS_VERSION */
	uint32_t flags;	  /* GMM_STAGE2_* */
	const char *name;

	/*
	 * Makes resident pages accessible, read-only unless `access` has GMM_ACCESS_WRITE, and lets
	 * waiting vCPUs go on. A page that is mapped already is no error. -GMM_EAGAIN: the host is
	 * changing the mapping; the vCPU will fault again. -GMM_EFAULT: the memory does not have
	 * the page (somebody else took it away, W9).
	 */
	int (*map)(void *owner, const struct gmm_span *span, uint32_t access);
	/* Makes pages inaccessible: the next access faults. Complete, also in TLBs, on return. */
	int (*unmap)(void *owner, const struct gmm_span *span);
	/* Write-protects pages, mapped or not. Complete on return. */
	int (*protect)(void *owner, const struct gmm_span *span);
	/* Lets pages be written again, and lets waiting vCPUs go on. */
	int (*unprotect)(void *owner, const struct gmm_span *span);
	/*
	 * Lets vCPUs that wait on these pages try again. Must not fail, nor sleep for anybody; uses
	 * numbers of the span only: its slot may be gone. Pages that nobody waits on are no error.
	 */
	void (*wake)(void *owner, const struct gmm_span *span);

	/*
	 * Only with GMM_STAGE2_LOGS_WRITES: stores into words[] a bit for each page of the span,
	 * set for those that guests wrote since the last call (bit 0 of words[0] is span->gfn; the
	 * span starts at a multiple of 64 pages in its slot), clears its own log and protects those
	 * pages again, before it returns. words[] holds anything before; after a failure, the pages
	 * that its own log does not know any more.
	 */
	int (*collect_dirty)(void *owner, const struct gmm_span *span, uint64_t *words);

	/*
	 * Optional: the same for a span of a pass over the slot that collect_dirty() began at lower
	 * frames: what guests have written since then may be left for the next pass.
	 */
	int (*collect_dirty_next)(void *owner, const struct gmm_span *span, uint64_t *words);

	/*
	 * A slot is about to change: `old` (count 0: is new) becomes `now` (count 0: goes away).
	 * The range is unreachable for the engine's users at this time. When the owner refuses, the
	 * change is undone and its error returned.
	 */
	int (*slot_change)(void *owner, const struct gmm_slot_info *old,
			   const struct gmm_slot_info *now);
};

#endif
