/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The reference of the fuzz target `dirty`, beside what the model notes of each page: what lies in
 * the ring of the vCPU.
 */
#ifndef GMM_FUZZ_DIRTY_REFERENCE_H
#define GMM_FUZZ_DIRTY_REFERENCE_H

#include <string.h>

#include "model.h"

#define FIRST_GFN 470u
#define LOWER_PAGES 70u
#define RESIDENT_GFN (FIRST_GFN + MODEL_PAGES + 40)
#define RESIDENT_PAGES 80u
#define SLOTS 3u
#define WORDS (MODEL_PAGES / 64 + 1)
#define RING 128u

struct run {
	struct model model;
	struct program *program;
	struct gmm_cache *cache;
	struct gmm_vcpu *vcpu; /* with a ring, or NULL */
	bool had_ring;
	/* Reported by the ring and not reset: its writes are read after the reset. */
	bool pending[MODEL_MEMORIES][MODEL_PAGES];
	bool in_ring[MODEL_MEMORIES][MODEL_PAGES]; /* or was, since the vCPU is there */
};

bool *dirty_pending(struct run *run, const struct gmm_slot_config *slot, uint64_t page);
struct model_page *dirty_page(const struct gmm_slot_config *slot, uint64_t page);
void dirty_note_in_ring(struct run *run, const struct gmm_slot_config *slot, uint64_t page);

/* Part of a slot, with the bits of its pages. */
struct dirty_part {
	const struct gmm_slot_config *slot;
	uint64_t first;
	uint64_t count;
	uint64_t bitmap[WORDS];
	struct fuzz_errors expected;
};

/* All that must be reported of a part is, and nothing that may not. */
void dirty_harvest(struct run *run, struct dirty_part *part);

/* Operations of those who ask, dirty_reports.c. */
void do_harvest(struct run *run);
void do_peek(struct run *run);
void do_clear(struct run *run);
void do_misuse(struct run *run);

/* Operations on the vCPU and its ring, dirty_ring.c. */
void dirty_vcpu_destroy(struct run *run);
void do_vcpu(struct run *run);
void do_ring_harvest(struct run *run);
void do_ring_outside(struct run *run);
void do_ring_reset(struct run *run);
void do_ring_push(struct run *run);

#endif
