/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A guest whose table a processor walks: the engine drives the table, memory has a ledger, and the
 * processor remembers translations until it is told to forget them, so that a flush that is missing
 * shows as an access that should have faulted.
 *
 * Page p of the memory is in frame walked_frame(p), or, when it was moved, in that of its twin.
 */
#ifndef GMM_TEST_WALKED_H
#define GMM_TEST_WALKED_H

#include <guestmm/dirty.h>
#include <guestmm/evict.h>
#include <guestmm/fault.h>
#include <guestmm/guest.h>
#include <guestmm/invalidate.h>
#include <guestmm/section.h>
#include <guestmm/slot.h>
#include <guestmm/vcpu.h>

#include "table_world.h"

#define WALKED_HVA 0x7f0000000000ull
#define WALKED_SMALL 16u /* pages of a slot that needs no large leaves */

struct walked {
	struct table_world world;
	struct gmm_guest *guest;
	struct gmm_vcpu *vcpu;
	uint64_t span;	 /* frames of a leaf of level 1 */
	uint64_t pages;	 /* of the memory */
	uint64_t base;	 /* frame of page 0; a multiple of the span */
	uint32_t *moved; /* by page; atomic */
	/* atomic */
	int32_t *references; /* by frame - base */
	uint32_t resolves;   /* calls */
	uint32_t describes;
	/* Set by a test before threads start. */
	bool huge;		  /* describe_frame() says which pages go together: by spans */
	bool read_only;		  /* the memory refuses to be written */
	uint64_t device;	  /* pages from here on are a device's; 0: none */
	uint64_t write_combining; /* ... up to here uncached only */
	struct gmm_gate *gate;	  /* passed within resolve() */
	uint32_t fail_resolve;	  /* the nth call fails; 0: none */
};

/* All formats; in the simulator one a schedule. */
#define walked_each_format(format)                                        \
	for (format = walked_first_format(); format < GMM_STAGE2_FORMATS; \
	     format += gmm_test_turns(1) == 1 ? GMM_STAGE2_FORMATS : 1)
uint32_t walked_first_format(void);

/*
 * A guest without slots over memory of so many spans (0: of WALKED_SMALL pages), and vCPU 0. False:
 * the case has failed.
 */
bool walked_init(struct walked *walked, uint32_t format, uint32_t spans);
/* Slots are gone, or slot 0 goes. The ledger and the table are empty. */
void walked_fini(struct walked *walked);

/* Slot `id` of `count` pages from `page` on at frame `gfn`. */
struct gmm_slot_config walked_slot(struct walked *walked, uint32_t id, gmm_gfn_t gfn, uint64_t page,
				   uint64_t count, uint32_t flags);
/* The same, added. */
void walked_add(struct walked *walked, uint32_t id, gmm_gfn_t gfn, uint64_t page, uint64_t count,
		uint32_t flags);

/* The frame in which a page is now. */
uint64_t walked_frame(const struct walked *walked, uint64_t page);
/* Begin, the page is in its other frame, end. */
void walked_move(struct walked *walked, gmm_gfn_t gfn, uint64_t page);

/* One access of the processor, without a fault. Stores the frame where it went through. */
bool walked_try(struct walked *walked, gmm_gfn_t gfn, uint32_t access, uint64_t *pfn);
/* The vCPU's access: faults as often as needed. 0, or the fault's error. */
int walked_access(struct walked *walked, gmm_gfn_t gfn, uint32_t access, uint64_t *pfn);
/* One fault of the vCPU: served, and flushed where that is owed. 0, GMM_FAULT_HELD or an error. */
int walked_fault(struct walked *walked, gmm_gfn_t gfn, uint32_t access);

/* The leaf of a frame; its count is 0 when there is none. */
struct gmm_stage2_leaf walked_leaf(struct walked *walked, gmm_gfn_t gfn);
/* Leaves of all levels. */
uint64_t walked_leaves(struct walked *walked);

#endif
