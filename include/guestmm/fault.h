/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Faults: a page becomes resident and reachable. The fast path answers from the table of page
 * states by compare-and-exchange; the slow path fills and maps, and never installs what an
 * invalidation has overtaken (L1, L11).
 */
#ifndef GUESTMM_FAULT_H
#define GUESTMM_FAULT_H

#include <guestmm/guest.h>
#include <guestmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The page is being changed: whoever changes it will wake the vCPU, which then faults again. */
#define GMM_FAULT_HELD 1
/*
 * Served; the vCPU flushes what it remembers of this frame before it enters (L6). Of guests with a
 * table (guest.h) in a format that needs it.
 */
#define GMM_FAULT_FLUSH 2

/*
 * May be added to `access`: the host found no page there. If the table knows of one, somebody else
 * took it away (repair.h) or it has come meanwhile; the memory is asked.
 */
#define GMM_FAULT_MISSING 0x100u

/*
 * Serves the fault of a vCPU on `gfn`, for a service thread: fills the page if it is absent, maps
 * it for `access`, marks it young, and dirty when it is written under a log, and wakes. Returns 0,
 * GMM_FAULT_HELD, -GMM_EFAULT (no slot), -GMM_EROFS (a write to a read-only slot), -GMM_EIO (source
 * or owner failed; the vCPU still waits, the caller decides), -GMM_ENOMEM.
 * Never waits for sections, kicks, invalidations or evictions (W2); may sleep in the memory's fill
 * and the owner's map.
 *
 * Of a guest with a table nobody is woken: who gets GMM_FAULT_HELD lets the vCPU try again, after
 * gmm_invalidate_wait() if it may sleep. Also GMM_FAULT_FLUSH; -GMM_EFAULT: the memory, or its
 * class, does not allow the access. Sleeps in the memory's resolve and for tables only.
 */
GMM_API int gmm_fault_serve(struct gmm_guest *guest, gmm_gfn_t gfn, uint32_t access);

/*
 * The same when it is known whose fault it is: a write under a log goes to that vCPU's ring, if it
 * has one. One fault of a vCPU at a time.
 */
GMM_API int gmm_fault_serve_vcpu(struct gmm_guest *guest, struct gmm_vcpu *vcpu, gmm_gfn_t gfn,
				 uint32_t access);

/*
 * The same by host address in the vCPUs' mapping, which is what a fault is told with: while a slot
 * moves, only the engine knows which frame that is. -GMM_EFAULT: in no slot, or not any more; the
 * vCPU is to be woken, and finds what there is now. `vcpu` may be NULL.
 */
GMM_API int gmm_fault_serve_at(struct gmm_guest *guest, struct gmm_vcpu *vcpu, gmm_hva_t hva,
			       uint32_t access);

/*
 * Makes pages resident without mapping them for vCPUs, as a cache's refresh needs them (W2), or,
 * with GMM_POPULATE_MAP, also maps them (prefetch), but for pages that somebody else has taken away:
 * those are left to the fault on them. Sleeps while somebody else changes a page. For
 * GMM_ACCESS_WRITE the pages count as changed against their source. Errors as for
 * gmm_fault_serve(), and -GMM_EDEADLK (error.h). May sleep.
 * Of a guest with a table, with GMM_POPULATE_MAP: maps a range ahead of faults, in leaves as large as
 * memory and slots permit; in a slot with a log the first write still faults. What is mapped when
 * it fails stays. Without GMM_POPULATE_MAP resident memory has nothing to be done.
 */
#define GMM_POPULATE_MAP 1u
GMM_API int gmm_fault_populate(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count,
			       uint32_t access, uint32_t flags);

/*
 * Copies the contents of one page, wherever they are, without making it resident. For harvests and
 * saving. While vCPUs run the copy may be torn; a torn page is dirty again. -GMM_EFAULT,
 * -GMM_EIO, -GMM_EDEADLK. May sleep.
 */
GMM_API int gmm_page_read(struct gmm_guest *guest, gmm_gfn_t gfn, void *buffer);

/* What the table says of a page. */
enum gmm_page_state {
	GMM_PAGE_ABSENT,  /* never filled */
	GMM_PAGE_ZERO,	  /* discarded: reads as zero */
	GMM_PAGE_PRESENT, /* resident */
	GMM_PAGE_EVICTED, /* in the store */
};

struct gmm_page_info {
	enum gmm_page_state state;
	bool busy;     /* somebody is changing it: filling, evicting, protecting */
	bool mapped;   /* vCPUs reach it without a fault */
	bool writable; /* … also for writes */
	bool young;    /* accessed since aging last looked */
	bool dirty;    /* written since the log was last harvested (only while logging) */
	bool changed;  /* differs, or may differ, from its source or store */
	gmm_pfn_t pfn; /* when present */
};

/* Copies it. -GMM_EFAULT: in no slot. Takes a spinning lock; never sleeps. */
GMM_API int gmm_page_query(struct gmm_guest *guest, gmm_gfn_t gfn, struct gmm_page_info *info);

/* What the table says of the pages of a range, each number in pages. */
struct gmm_page_survey {
	uint64_t pages; /* in slots: absent + zero + present + evicted */
	/* by enum gmm_page_state */
	uint64_t absent;
	uint64_t zero;
	uint64_t present;
	uint64_t evicted;
	/* as in struct gmm_page_info */
	uint64_t busy;
	uint64_t mapped;
	uint64_t writable;
	uint64_t young;
	uint64_t dirty;
	uint64_t changed;
};

/*
 * Counts the pages of [gfn, gfn + count); frames in no slot are in no number, and all pages of
 * memory that is always resident are present. The table is read
 * without a lock, an entry once, and nothing is ordered: each page is counted as it was at some
 * moment of the call, the sums may be of no one moment. About a nanosecond a page, for a table that
 * is not there much less. -GMM_EINVAL: no pages; -GMM_ERANGE: beyond the address space. Takes a
 * spinning lock for a moment a slot; never sleeps.
 */
GMM_API int gmm_page_take_survey(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count,
				 struct gmm_page_survey *survey);

#ifdef __cplusplus
}
#endif

#endif
