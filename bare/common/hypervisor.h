/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The hypervisor of the conformance tests, the same on every machine: one guest of up to two vCPUs,
 * its second stage in a table of the engine, and an area of test pages at AREA.
 */
#ifndef GMM_BARE_HYPERVISOR_H
#define GMM_BARE_HYPERVISOR_H

#include <guestmm/stage2_table.h>

#include "guest.h"
#include "guest_box.h"

#define AREA (1ull << 30)
#define VCPUS 2u
#define LEAF_ALL (GMM_LEAF_READ | GMM_LEAF_WRITE | GMM_LEAF_EXEC)
#define LEAF_READY (LEAF_ALL | GMM_LEAF_YOUNG | GMM_LEAF_DIRTY)

struct hypervisor;

struct vcpu {
	struct bare_vcpu bare;
	struct hypervisor *hypervisor;
	struct guest_box *box; /* as the host sees it */
	struct gmm_stage2_walker *walker;
	uint64_t faults; /* those that resolve() has seen; atomic */
	uint64_t again;	 /* of these, the last ones at one address */
	uint64_t last_gpa;
	uint32_t cpu; /* that it runs on, from vcpu_start() to vcpu_join() */
};

struct hypervisor {
	const struct gmm_stage2_format_facts *facts;
	struct gmm_stage2_table *table;
	struct gmm_stage2_walker *walker; /* of management, on CPU 0 */
	struct gmm_stage2_root root;
	const struct bare_guest_format *format;
	uint64_t page_bytes;
	uint64_t large_pages; /* in a leaf of level 1 */
	uint64_t area_pages; /* as many, or fewer where a leaf of level 1 is more than there is memory */
	uint64_t lead;	     /* pages of that leaf before the area's */
	uint8_t *area;	     /* the pages that AREA is mapped to, aligned to their size */
	uint8_t *other;	     /* another page */
	struct vcpu vcpus[VCPUS];
	/* How faults in the area are resolved. */
	uint32_t leaf;
	uint32_t level_max;
	uint32_t hold;		 /* atomic: faults in the area wait until it is 0 */
	uint32_t held;		 /* atomic: a vCPU waits */
	uint32_t forget_flushes; /* a defect on purpose: flushes that the engine asks for are left out */
	uint64_t flushes;	 /* atomic: those that it asked for */
};

/*
 * Makes the guest with its own memory mapped, nothing in the area, and each page of the area
 * holding its guest physical address. Bails out when something is missing.
 */
void hypervisor_create(struct hypervisor *hypervisor, const struct bare_guest_format *format);
/* Nothing is left allocated. */
void hypervisor_destroy(struct hypervisor *hypervisor);

gmm_gfn_t area_gfn(const struct hypervisor *hypervisor, uint64_t page);
gmm_gpa_t area_gpa(const struct hypervisor *hypervisor, uint64_t page);
/* The first word of a page of the area, as the host sees it. */
uint64_t *area_word(const struct hypervisor *hypervisor, uint64_t page);
gmm_pfn_t pfn_of(const struct hypervisor *hypervisor, const void *page);

/* Maps pages of the area to their memory, one by one. */
void area_map(struct hypervisor *hypervisor, uint64_t page, uint64_t count, uint32_t leaf);
/* The same for all of one leaf of level 1, which is the area, or more than it. */
void area_map_large(struct hypervisor *hypervisor, uint32_t leaf);
gmm_gfn_t large_gfn(const struct hypervisor *hypervisor);
void area_unmap(struct hypervisor *hypervisor);
struct gmm_stage2_leaf leaf_at(struct hypervisor *hypervisor, gmm_gfn_t gfn);

/* All CPUs forget all translations: what the table's flush() does. */
void flush_everywhere(void);

/* What the guest is to do next; the box is cleared before. */
void vcpu_ask(struct vcpu *vcpu, enum guest_operation operation, gmm_gpa_t address, uint64_t value);
/* Runs until the guest has done what it was asked, or has faulted; bails out at anything else. */
struct bare_exit vcpu_run(struct vcpu *vcpu);
/* Runs until it has done it, resolving faults in the area on the way. */
void vcpu_finish(struct vcpu *vcpu);
/* The same on a CPU of its own, until vcpu_join(). */
void vcpu_start(struct vcpu *vcpu);
void vcpu_join(struct vcpu *vcpu);
/* Waits until the guest's count of turns has grown by `turns`. */
void vcpu_wait_turns(struct vcpu *vcpu, uint64_t turns);

/* One access, to the end: what it read. */
uint64_t guest_read(struct vcpu *vcpu, gmm_gpa_t gpa);
void guest_write(struct vcpu *vcpu, gmm_gpa_t gpa, uint64_t value);

#endif
