/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The reference of the fuzz target `cache`: what each cache is over, who uses it, and what it must
 * be by the slots and pages there are now.
 */
#ifndef GMM_FUZZ_CACHE_REFERENCE_H
#define GMM_FUZZ_CACHE_REFERENCE_H

#include "model.h"

#define CACHES 6u
#define VCPUS 2u
#define FIRST_GFN 500u
#define SPACE 230u /* frames from there on that slots are in, with holes */

struct run;

struct reference {
	struct run *run;
	struct gmm_cache *cache;
	bool active;
	enum gmm_range_kind kind;
	uint64_t target;
	uint64_t length;
	uint32_t uses;
	uint32_t leases;
	bool valid;
	bool touched; /* by the operation under way: may become invalid */
};

struct user {
	struct gmm_vcpu *vcpu;
	bool inside; /* in guest mode */
	uint32_t requests;
	/* by cache: in its set; it had a target when the vCPU entered */
	bool uses[CACHES];
	bool usable[CACHES];
};

struct run {
	struct model model;
	struct program *program;
	struct reference caches[CACHES];
	struct user users[VCPUS];
	struct gmm_range changing; /* end 0: nothing is */
	enum gmm_range_kind changing_kind;
	bool in_two; /* it was begun as two ranges */
};

/* The slots as they are at the start, side by side or with holes. */
struct gmm_slot_config reference_first_slot(struct run *run, uint32_t id);
const struct gmm_slot_config *reference_slot_at_hva(const struct run *run, gmm_hva_t hva);
/* The slot of a page of the target, or NULL, and which frame it is. */
const struct gmm_slot_config *reference_slot_of(const struct run *run,
						const struct reference *cache, uint32_t page,
						gmm_gfn_t *gfn);
bool reference_is_taken(const struct run *run, uint32_t id, gmm_gfn_t gfn, uint64_t count);

static inline struct reference *take_cache(struct run *run)
{
	return &run->caches[program_take(run->program, CACHES)];
}

/* What a target is. */
struct truth {
	struct fuzz_errors errors;
	struct model_memory *memory;
	uint32_t page;
	uint32_t count;
	bool writable;
	bool resident;
};

void reference_truth(const struct run *run, const struct reference *cache, struct truth *truth);
uint32_t reference_pages(const struct reference *cache);
/* Whether a cache would be over [gfn, gfn + count), by the slots there are now. */
bool reference_is_over(const struct run *run, const struct reference *cache, gmm_gfn_t gfn,
		       uint64_t count);
bool reference_is_changing(const struct run *run, const struct reference *cache);
/* What is over these frames may become invalid. */
void reference_touch(struct run *run, gmm_gfn_t gfn, uint64_t count);
/* The same of caches by address, also where no slot is. */
void reference_touch_addresses(struct run *run, gmm_hva_t hva, uint64_t count);
/* Errors of a refresh. */
void reference_expect_refresh(const struct run *run, const struct reference *cache,
			      struct fuzz_errors *expected);
/* Whether a vCPU is in its set. */
bool reference_is_used(const struct run *run, const struct reference *cache);

/* Operations on what caches are over, cache_changes.c. */
void do_change(struct run *run);
void end_change(struct run *run);
void do_pages(struct run *run);
void do_slot(struct run *run);

/* Operations of those who use caches, cache_users.c. */
void lease_ask(void *opaque, struct gmm_cache *cache);
void do_lease(struct run *run);
void do_lease_drop(struct run *run);
void vcpu_create(struct run *run, uint32_t id);
void do_vcpu(struct run *run);
void do_vcpu_set(struct run *run);
void do_vcpu_enter(struct run *run);
void do_vcpu_request(struct run *run);

/* Everything that must hold between two operations, cache_checks.c. */
void cache_check_all(struct run *run);

#endif
