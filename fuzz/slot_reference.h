/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The reference of the fuzz target `slot`: the list of configs, what is in each log and which pages
 * have been filled. Memory is numbers only: no pointer is followed.
 */
#ifndef GMM_FUZZ_SLOT_REFERENCE_H
#define GMM_FUZZ_SLOT_REFERENCE_H

#include <guestmm/cache.h>
#include <guestmm/dirty.h>
#include <guestmm/evict.h>
#include <guestmm/fault.h>
#include <guestmm/guest.h>
#include <guestmm/invalidate.h>
#include <guestmm/section.h>
#include <guestmm/slot.h>

#include "program.h"

#define SLOTS 64u
#define FRAMES_MAX 4096u /* of the guest: no slot is longer */
#define POINTERS 0x100000000000ull
#define MAPPINGS 0x200000000000ull
#define ADDRESSES 0x300000000000ull

struct memory {
	int64_t references;
	int64_t mappings;
	uint64_t filled;
};

struct reference {
	struct gmm_slot_config config; /* count 0: there is none */
	struct memory memory;
	uint8_t dirty[FRAMES_MAX];
	uint8_t filled[FRAMES_MAX];
};

struct run {
	struct program *program;
	struct gmm_guest *guest;
	struct gmm_reader *reader;
	struct gmm_cache *cache;
	uint32_t shift;
	uint64_t frames;
	bool has_owner;
	struct reference slots[SLOTS];
	struct gmm_slot_info told[SLOTS]; /* what the owner knows */
	struct gmm_range changing;	  /* end 0: nothing is */
	enum gmm_range_kind changing_kind;
	/* What a slot becomes if its change under way comes through; NULL: none is made or made longer. */
	const struct gmm_slot_config *coming;
	bool faults; /* a vCPU faults while the owner is told of a change */
	uint32_t owner_fails_at;
	bool failed;
};

extern struct run run;

/* The first two may be used, resident and lazy; each other one is refused for a reason. */
#define MEMORY_KINDS 5u
extern const struct gmm_memory_ops memory_kinds[MEMORY_KINDS];
extern const struct gmm_stage2_ops owner_ops;

/* The last slot has the greatest id that there is. */
uint32_t index_of(uint32_t id);

/* By frame, or by id; NULL: none. */
struct reference *reference_at(uint64_t gfn);
struct reference *reference_of(uint32_t id);
/* Whether frames are taken by another slot. */
bool reference_is_taken(const struct reference *self, uint64_t gfn, uint64_t count);
bool reference_is_direct(const struct reference *slot);
/* Whether a change covers frames, after rounding both to `unit` frames. */
bool reference_is_changing(uint64_t gfn, uint64_t count, uint64_t unit);

/* Checks, slot_checks.c. */

/* Of the cache, which was made for pages of a slot: `within` is where in the first it begins. */
void slot_check_found(const struct reference *slot, uint64_t page, uint32_t pages, uint64_t within);
/* Of a direct pointer, in a section. */
void slot_check_pointer(uint64_t gpa, uint64_t length, uint32_t access);
void slot_check_all(void);

#endif
