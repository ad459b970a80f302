/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A small machine for tests of the engine, in every world: memory whose operations can be held at
 * gates and made to fail, that keeps ledgers of references and mappings, and a live second stage
 * that vCPUs of the test go through.
 *
 * Memory has twice as many frames as pages; a page lives in one frame, and a test can move it to
 * another. A frame that is not in use holds poison. Page contents are words of 64 bits.
 */
#ifndef GMM_TEST_MODEL_H
#define GMM_TEST_MODEL_H

#include <guestmm/dirty.h>
#include <guestmm/evict.h>
#include <guestmm/fault.h>
#include <guestmm/guest.h>
#include <guestmm/invalidate.h>
#include <guestmm/section.h>
#include <guestmm/slot.h>
#include <guestmm/static/cache.h>
#include <guestmm/static/slot.h>
#include <guestmm/vcpu.h>

#include <gmm_port/wait.h>

#include "gmm_test.h"

#define MODEL_PAGES 16u
#define MODEL_FRAMES (2 * MODEL_PAGES)
#define MODEL_PAGE_BYTES 4096u
#define MODEL_HVA 0x7f0000000000ull /* of page 0 in the vCPUs' mapping */
#define MODEL_POISON 0xdeaddeaddeaddeadull

/* Which operation a gate or a failure is for. */
enum model_op {
	MODEL_RESOLVE,
	MODEL_MAP,
	MODEL_UNMAP,
	MODEL_FILL,
	MODEL_WRITE_OUT,
	MODEL_DISCARD,
	MODEL_LIVE_MAP,
	MODEL_LIVE_PROTECT,
	MODEL_LIVE_UNPROTECT,
	MODEL_LIVE_UNMAP,
	MODEL_LIVE_COLLECT,
	MODEL_READ,
	MODEL_LOST,
	MODEL_OPS
};

struct model_memory {
	uint8_t *frames; /* MODEL_FRAMES pages, page-aligned */
	void *allocated;
	struct gmm_spinlock lock;
	/* under lock */
	uint32_t frame_of[MODEL_PAGES];
	bool resident[MODEL_PAGES];
	bool taken[MODEL_PAGES];      /* by somebody else, and the engine has not asked yet */
	uint64_t source[MODEL_PAGES]; /* first word of the contents that were never changed */
	uint64_t store[MODEL_PAGES];  /* first word of what was written out */
	int32_t references[MODEL_FRAMES];
	int32_t mappings[MODEL_FRAMES];
	uint32_t calls[MODEL_OPS];
	uint32_t resolved_pages;
	/* set by a test before the threads start */
	struct gmm_gate *gates[MODEL_OPS]; /* passed at the start of the operation */
	uint32_t fail_at[MODEL_OPS];	   /* the nth call fails; 0: none */
	int fail_with;
	bool strict; /* resolve() refuses pages that are not resident */
};

struct model {
	struct gmm_guest *guest;
	struct model_memory memory;
	bool lazy;
	/* The live second stage, by page of the memory. */
	struct gmm_spinlock lock;
	struct gmm_waitqueue woken;
	uint64_t wakes;
	uint64_t wakes_at[MODEL_PAGES]; /* by the engine, of that page; under lock */
	struct gmm_vcpu *vcpu; /* whose faults model_guest_read() and _write() make, or NULL */
	bool accessible[MODEL_PAGES];
	bool writable[MODEL_PAGES];
	bool logged[MODEL_PAGES];      /* the owner's own log, with GMM_STAGE2_LOGS_WRITES */
	struct gmm_slot_info slot_now; /* what the owner was told last */
	uint32_t nexts;		       /* calls of collect_dirty_next */
	int slot_change_fails;	       /* error for the next slot_change, or 0 */
	/* A vCPU writes there while the owner is told of a slot's change; 0: none does. */
	gmm_hva_t written_meanwhile;
	int written_answer; /* of the fault */
};

/* What a model is like; a set of bits. */
#define MODEL_LAZY \
	1u /* GMM_MEMORY_LAZY | EVICTABLE | AGEABLE, all pages absent, contents source[page] */
#define MODEL_OWNER 2u		    /* there is a live second stage */
#define MODEL_OWNER_LOGS 4u	    /* … that logs writes itself */
#define MODEL_NO_SLOT 8u	    /* the slot is the test's business */
#define MODEL_LOG_DIRTY 16u	    /* slot 0 logs */
#define MODEL_OWNER_UNPROTECTED 64u /* … that cannot map write-protected */
#define MODEL_NO_POINTER 32u	    /* slot 0 has no linear mapping (resident memory only) */

/*
 * Makes the guest (4 vCPU ids) and, unless NO_SLOT, slot 0: all pages from frame 0 on. Page p holds
 * the word model_word(p) throughout, resident or in the source.
 */
void model_init(struct model *model, uint32_t traits);
/* With fields of the guest's config set by the test: page_shift 0 and so on are the defaults. */
void model_init_config(struct model *model, uint32_t traits, struct gmm_guest_config config);
/*
 * Checks the ledgers (no reference or mapping left), removes slot 0 if it is there, destroys the
 * guest. Caches, readers and vCPUs are gone by then.
 */
void model_fini(struct model *model);

uint64_t model_word(uint32_t page);
struct gmm_slot_config model_slot(struct model *model, uint32_t id, gmm_gfn_t gfn, uint64_t page,
				  uint64_t count);
const struct gmm_memory_ops *model_ops(const struct model *model);

/* The host address of a page's contents now. Only while the test knows that it stays. */
uint64_t *model_page(struct model *model, uint32_t page);

/*
 * Moves a page to its other frame, poisoning the old one: what happens between begin and end. It
 * does not call the engine.
 */
void model_move_page(struct model *model, uint32_t page);

/*
 * A vCPU's access to word 0 of a page through the live second stage; faults as often as needed, and
 * waits to be woken when held. Returns what it read. Slot 0 is at frame 0, or where *gfn_of_page0
 * says. False: the fault failed.
 */
bool model_guest_read(struct model *model, uint32_t page, uint64_t *word);
bool model_guest_write(struct model *model, uint32_t page, uint64_t word);
/* One try without faulting: whether the access went through. */
bool model_guest_try(struct model *model, uint32_t page, bool write, uint64_t *word);

/* Reads a word through a cache, refreshing as often as needed. -errno of the refresh, or 0. */
int model_cache_read(struct gmm_cache *cache, struct gmm_reader *reader, uint64_t offset,
		     uint64_t *word);
/* Writes and marks. */
int model_cache_write(struct gmm_cache *cache, struct gmm_reader *reader, uint64_t offset,
		      uint64_t word);

/* Somebody else takes a page away, as a hole in a file: what was there reads as zero. */
void model_take_page(struct model *model, uint32_t page);

struct gmm_range model_frames(gmm_gfn_t gfn, uint64_t count);
struct gmm_range model_addresses(uint64_t page, uint64_t count);

#endif
