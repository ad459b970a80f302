/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Memory of fuzz targets and its live second stage. A page lives in one of two frames, and a frame
 * that is not in use holds poison; what vCPUs can do with a page is noted in it. The operations
 * check what the engine owes them, and fail when they are told to.
 */
#ifndef GMM_FUZZ_MEMORY_H
#define GMM_FUZZ_MEMORY_H

#include <guestmm/memory.h>
#include <guestmm/slot.h>
#include <guestmm/stage2.h>

#include "program.h"

#define MODEL_PAGES 96u
#define MODEL_FRAMES (2 * MODEL_PAGES)
#define MODEL_PAGE_BYTES 4096u
#define MODEL_HVA 0x7f0000000000ull
#define MODEL_HVA_BETWEEN 0x40000000ull /* from one memory to the next */
#define MODEL_POISON 0xdeaddeaddeaddeadull
#define MODEL_LAZY 0u
#define MODEL_RESIDENT 1u
#define MODEL_MEMORIES 2u

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

/* Calls of memory and owner: the nth from now on fails; 0: none does. */
struct model_calls {
	uint32_t fail_at;
	int fail_with;
	uint32_t busy_at; /* of those that may say so: -GMM_EAGAIN */
	bool failed;
};

struct model_memory {
	struct model_calls *calls;
	uint32_t id;
	bool private; /* only vCPUs have it mapped */
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

extern const struct gmm_memory_ops model_lazy_ops;
/* Lazy memory that nobody but vCPUs has mapped: their mapping is not dropped to see its age. */
extern const struct gmm_memory_ops model_private_ops;
extern const struct gmm_memory_ops model_resident_ops;
/* Resident memory by its addresses, for what is in no slot. */
extern const struct gmm_memory_ops model_adopted_ops;
/* Their owner is the struct model_calls. */
extern const struct gmm_stage2_ops model_owner_ops[MODEL_OWNER_NONE];

/* As it is at the start: what is lazy is absent; page n holds its source, which no other has. */
void model_memory_init(struct model_memory *memory, uint32_t id, struct model_calls *calls);

gmm_hva_t model_hva(const struct model_memory *memory, uint32_t page);
uint64_t *model_frame(const struct model_memory *memory, uint32_t frame);
void model_set_frame(const struct model_memory *memory, uint32_t frame, uint64_t word);
/* The page is not there any more, for nobody. */
void model_drop_page(struct model_memory *memory, struct model_page *page);
/* Somebody else takes a page away: it reads as zero. */
void model_take_page(struct model_memory *memory, uint32_t page);
/* Moves a resident page to its other frame; what happens between begin and end. */
void model_move_page(struct model_memory *memory, uint32_t page);

#endif
