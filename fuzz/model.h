/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The machine that fuzz targets run the engine on: one guest, two memories (memory.h), one lazy and
 * one always resident; and the reference, what each page must read as and what must be in the log.
 * One thread.
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

#include "memory.h"

#define MODEL_SLOTS 6u

/* What a model is like; a set of bits. */
#define MODEL_ADOPTS 1u	 /* resident memory can be reached where no slot is, by its addresses */
#define MODEL_PRIVATE 2u /* lazy memory is mapped for vCPUs only */

struct model {
	struct gmm_guest *guest;
	struct gmm_reader *reader;
	enum model_owner owner;
	bool adopts;
	struct model_memory memories[MODEL_MEMORIES];
	/* The reference of the slots; count 0: there is none. */
	struct gmm_slot_config slots[MODEL_SLOTS];
	struct model_calls calls;
	uint64_t next_word;
	uint64_t lost;	      /* pages told to be lost */
	uint64_t allocations; /* live before the guest was made */
};

void model_init(struct model *model, enum model_owner owner, uint32_t traits);
/* Checks the ledgers. Caches and vCPUs are gone by then; slots need not be. */
void model_fini(struct model *model);

struct gmm_slot_config model_slot(struct model *model, uint32_t id, uint32_t memory, gmm_gfn_t gfn,
				  uint32_t page, uint32_t count, uint32_t flags);
/* The slot of a frame, or NULL. */
const struct gmm_slot_config *model_slot_at(const struct model *model, gmm_gfn_t gfn);
struct model_page *model_page_of(const struct gmm_slot_config *slot, gmm_gfn_t gfn);

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
/* Pages of a slot that went: nothing is known of them, they are as they were at the start. */
void model_forget_pages(const struct gmm_slot_config *slot, uint64_t first, uint64_t count);

/* Everything that must hold between two operations. */
void model_check(struct model *model);

#endif
