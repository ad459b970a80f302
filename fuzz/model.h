/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The machine that fuzz targets run the engine on, and what must be true of it. Two memories, one
 * lazy and one always resident; a page lives in one of two frames, and a frame that is not in use
 * holds poison. The live second stage is arrays of what vCPUs can do. Beside them stands the
 * reference: what each page must read as, and what must be in the log. One thread.
 */
#ifndef GMM_FUZZ_MODEL_H
#define GMM_FUZZ_MODEL_H

#include <guestmm/cache.h>
#include <guestmm/dirty.h>
#include <guestmm/evict.h>
#include <guestmm/fault.h>
#include <guestmm/guest.h>
#include <guestmm/invalidate.h>
#include <guestmm/lease.h>
#include <guestmm/repair.h>
#include <guestmm/section.h>
#include <guestmm/slot.h>
#include <guestmm/vcpu.h>

#include "program.h"

#define MODEL_PAGES 96u
#define MODEL_FRAMES (2 * MODEL_PAGES)
#define MODEL_PAGE_BYTES 4096u
#define MODEL_HVA 0x7f0000000000ull
#define MODEL_HVA_BETWEEN 0x40000000ull /* from one memory to the next */
#define MODEL_POISON 0xdeaddeaddeaddeadull
#define MODEL_SLOTS 6u
#define MODEL_LAZY 0u
#define MODEL_RESIDENT 1u
#define MODEL_MEMORIES 2u

struct model;

struct model_page {
	uint32_t frame;
	bool resident;
	bool taken; /* by somebody else, and the engine has not asked yet */
	uint64_t source;
	uint64_t store;
	/* the live second stage */
	bool accessible;
	bool writable;
	bool logged; /* by an owner that logs */
	/* the reference */
	uint64_t word;	  /* what it must read as */
	bool may_be_lost; /* … or 0: it was taken away, and had perhaps changed */
	bool must_log;	  /* written since the last harvest */
	bool may_log;	  /* may be reported: written, or documented as such */
};

struct model_memory {
	struct model *model;
	uint32_t id;
	uint8_t *frames;
	struct model_page pages[MODEL_PAGES];
	int32_t references[MODEL_FRAMES];
	int32_t mappings[MODEL_FRAMES];
};

enum model_owner {
	MODEL_OWNER_PROTECTS,
	MODEL_OWNER_MAPS_WRITABLE,
	MODEL_OWNER_LOGS,
	MODEL_OWNER_NONE, /* resident memory only */
	MODEL_OWNERS
};

struct model {
	struct gmm_guest *guest;
	struct gmm_reader *reader;
	enum model_owner owner;
	struct model_memory memories[MODEL_MEMORIES];
	/* The reference of the slots; count 0: there is none. */
	struct gmm_slot_config slots[MODEL_SLOTS];
	/* The nth call of memory or owner from now on fails; 0: none. */
	uint32_t fail_at;
	int fail_with;
	bool failed;
	uint64_t next_word;
	uint64_t lost;	      /* pages told to be lost */
	uint64_t allocations; /* live before the guest was made */
};

void model_init(struct model *model, enum model_owner owner);
/* Checks the ledgers. Caches and vCPUs are gone by then; slots need not be. */
void model_fini(struct model *model);

struct gmm_slot_config model_slot(struct model *model, uint32_t id, uint32_t memory, gmm_gfn_t gfn,
				  uint32_t page, uint32_t count, uint32_t flags);
/* The slot of a frame, or NULL. */
const struct gmm_slot_config *model_slot_at(const struct model *model, gmm_gfn_t gfn);
struct model_page *model_page_of(const struct gmm_slot_config *slot, gmm_gfn_t gfn);
gmm_hva_t model_hva(const struct model_memory *memory, uint32_t page);
uint64_t *model_frame(const struct model_memory *memory, uint32_t frame);

/* Fails the nth call of the memory or the owner, or the nth allocation, of the next operation. */
void model_inject(struct model *model, struct program *program);
/* The end of the operation: whether it was made to fail. */
bool model_injected(struct model *model);

/*
 * A vCPU's access to a page through the live second stage, as often as it faults. 0, or what the
 * fault said; GMM_FAULT_HELD: its range is being changed.
 */
int model_guest_access(struct model *model, struct gmm_vcpu *vcpu, gmm_gfn_t gfn, bool write);
/* A word that nothing else holds. */
uint64_t model_new_word(struct model *model);
/* A write happened to a page of a slot: reference only. */
void model_note_write(const struct gmm_slot_config *slot, struct model_page *page, uint64_t word);
/* Somebody else takes a page away: it reads as zero. */
void model_take_page(struct model_memory *memory, uint32_t page);
/* Moves a resident page to its other frame; what happens between begin and end. */
void model_move_page(struct model_memory *memory, uint32_t page);
/* Pages of a slot that went: nothing is known of them, they are as they were at the start. */
void model_forget_pages(const struct gmm_slot_config *slot, uint64_t first, uint64_t count);

/* Everything that must hold between two operations. */
void model_check(struct model *model);

#endif
