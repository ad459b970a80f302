/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Inline body of gmm_slot_pointer(): two or three loads from GPA to pointer, whatever the number of
 * slots. The struct is the frozen prefix of struct gmm_guest.
 *
 * The directory has an entry a table, a table 512 entries of a chunk of 512 pages each. An entry is
 * the distance from GPA to host address, page-aligned, with flags in the low bits; 0 is
 * unreachable. A chunk that is not all one slot points at a table with an entry a page.
 */
#ifndef GUESTMM_STATIC_SLOT_H
#define GUESTMM_STATIC_SLOT_H

#include <guestmm/slot.h>

#include <gmm_port/atomic.h>

#define GMM_SLOT_ENTRY_READ 1u	/* equals GMM_ACCESS_READ */
#define GMM_SLOT_ENTRY_WRITE 2u /* equals GMM_ACCESS_WRITE */
#define GMM_SLOT_ENTRY_TABLE 4u
#define GMM_SLOT_ENTRY_FLAGS 0xfffu
#define GMM_SLOT_TABLE_BITS 9u

struct gmm_guest_hot {
	uint64_t **directory; /* entries atomic; set once */
	uint64_t gpa_limit;   /* first address beyond the guest's address space */
	uint32_t page_shift;
	uint32_t chunk_shift; /* page_shift + GMM_SLOT_TABLE_BITS */
	uint32_t table_shift; /* chunk_shift + GMM_SLOT_TABLE_BITS */
};

#ifdef __cplusplus
extern "C" {
#endif
GMM_API void *gmm_slot_pointer_slow(const struct gmm_guest *guest, gmm_gpa_t gpa, uint64_t length,
				    uint32_t access);
#ifdef __cplusplus
}
#endif

GMM_INLINE void *gmm_slot_pointer_inline(const struct gmm_guest *guest, gmm_gpa_t gpa,
					 uint64_t length, uint32_t access)
{
	const struct gmm_guest_hot *hot = (const struct gmm_guest_hot *)guest;
	const uint64_t *table;
	uint32_t shift = hot->chunk_shift;
	uint64_t entry;

	if (gmm_unlikely(gpa >= hot->gpa_limit))
		return NULL;
	table = gmm_load_relaxed(&hot->directory[gpa >> hot->table_shift]);
	if (gmm_unlikely(!table))
		return NULL;
	entry = gmm_load_relaxed(&table[(gpa >> shift) & 511]);
	if (entry & GMM_SLOT_ENTRY_TABLE) {
		shift = hot->page_shift;
		table = (const uint64_t *)(uintptr_t)(entry & ~(uint64_t)GMM_SLOT_ENTRY_TABLE);
		entry = gmm_load_relaxed(&table[(gpa >> shift) & 511]);
	}
	access |= GMM_SLOT_ENTRY_READ;
	/* Beyond one entry, without the rights, of no length or an absurd one: the slow way. */
	if (gmm_unlikely(length - 1 > (~gpa & (((uint64_t)1 << shift) - 1)) ||
			 (entry & access) != access))
		return gmm_slot_pointer_slow(guest, gpa, length, access);
	return (void *)(uintptr_t)((entry & ~(uint64_t)GMM_SLOT_ENTRY_FLAGS) + gpa);
}

#endif
