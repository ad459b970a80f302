/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Page walkers of processors, written from their manuals and not from core/stage2/: they are given
 * the registers of struct gmm_stage2_root and find their way in memory. What they refuse as reserved
 * or misconfigured is an answer of its own. They set accessed and dirty bits as the hardware does.
 *
 * A walker may remember translations (a TLB) until it is told to forget them. It answers
 * HARDWARE_CONFLICT when it finds a translation that does not go together with one that it
 * remembers: what arm64 forbids.
 */
#ifndef GMM_TEST_HARDWARE_H
#define GMM_TEST_HARDWARE_H

#include <guestmm/stage2_table.h>

#define HARDWARE_TLB 64u

enum hardware_answer {
	HARDWARE_DONE,
	HARDWARE_ABSENT,
	HARDWARE_OLD,	    /* the accessed bit is not set, and nobody sets it */
	HARDWARE_FORBIDDEN, /* by rights, or a clean page that nobody makes dirty */
	HARDWARE_RESERVED,  /* an entry that no processor accepts */
	HARDWARE_CONFLICT,
};

struct hardware_translation {
	uint64_t first; /* frames of the guest, in 4 KiB pages */
	uint64_t last;
	uint64_t address; /* of the first */
	uint32_t memory;
	bool writable;	 /* and dirty */
	bool executable; /* found out by executing */
};

struct hardware {
	uint32_t format;
	struct gmm_stage2_root root;
	uint64_t physical_offset;
	bool sets_bits; /* where the architecture leaves it open */
	/* Whether a physical address is that of a table now. */
	bool (*is_table)(void *context, uint64_t address);
	void *context;

	bool remembers;
	uint32_t count;
	uint32_t next;
	struct hardware_translation tlb[HARDWARE_TLB];
};

struct hardware_result {
	uint64_t address; /* physical */
	uint32_t memory;  /* enum gmm_leaf_memory */
	uint32_t level;	  /* of the leaf; 0 is the smallest */
	uint64_t entry;
};

/* `access`: GMM_LEAF_READ, _WRITE or _EXEC. */
enum hardware_answer hardware_access(struct hardware *hardware, uint64_t gpa, uint32_t access,
				     struct hardware_result *result);
/* Forgets what overlaps with these bytes. */
void hardware_forget(struct hardware *hardware, uint64_t gpa, uint64_t bytes);

#endif
