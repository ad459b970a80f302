/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Inside of the guest program: where things are, and what its parts offer each other. */
#ifndef GUEST_STEP_H
#define GUEST_STEP_H

#include "abi.h"
#include "page.h"

#define GUEST_INLINE static inline __attribute__((always_inline))

/* One vCPU's view for the time of one step. */
struct guest_view {
	struct guest_cpu *cpu;
	const struct guest_boot *boot;
	struct guest_vcpu_area *area;
	struct guest_page *pages;
	struct guest_regions *regions;
};

GUEST_INLINE void *guest_at(const struct guest_cpu *cpu, uint64_t gpa)
{
	return (void *)(uintptr_t)(cpu->base + gpa);
}

GUEST_INLINE void *guest_page_at(const struct guest_view *view, uint64_t page)
{
	return guest_at(view->cpu, view->boot->snapshot_gpa + page * GUEST_PAGE_BYTES);
}

/* Words that the host writes at any time, and words that the host reads at any time. */
#define guest_host_word(p) __atomic_load_n(p, __ATOMIC_RELAXED)

GUEST_INLINE void guest_count(uint64_t *statistic, uint64_t more)
{
	__atomic_store_n(statistic, __atomic_load_n(statistic, __ATOMIC_RELAXED) + more,
			 __ATOMIC_RELAXED);
}

GUEST_INLINE uint64_t guest_random(struct guest_cpu *cpu)
{
	cpu->random ^= cpu->random << 13;
	cpu->random ^= cpu->random >> 7;
	cpu->random ^= cpu->random << 17;
	return cpu->random * GUEST_HASH_ODD >> 16;
}

/* access.c */
void guest_access(struct guest_view *view, uint64_t page, uint32_t write);
void guest_page_state_set(struct guest_page *meta, uint32_t state);
uint32_t guest_page_state_get(const struct guest_page *meta);
/*
 * Verifies a page in state OWNED or IO; pushes a loss and makes the page right again if it is not.
 */
int guest_owned_verify(struct guest_view *view, uint64_t page);
/* Makes an owned page the next version, in full. */
void guest_owned_rewrite(struct guest_view *view, uint64_t page);
struct guest_page_expect guest_page_expected(const struct guest_view *view, uint64_t page);
void guest_loss_push(struct guest_view *view, const struct guest_loss *loss);

/* region.c */
/* At the start of a step: no access of an earlier one is under way. */
void guest_region_acknowledge(struct guest_view *view);
void guest_region_use(struct guest_view *view);

/* io.c */
void guest_io_reap(struct guest_view *view);
void guest_io_post(struct guest_view *view);
uint32_t guest_io_in_flight(const struct guest_view *view);

#endif
