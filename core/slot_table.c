/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The direct look-up table: two loads from GPA to pointer (static/slot.h has its form). Written
 * under the invalidation's lock, read in sections without any. Tables live as long as the guest.
 */
#include "guest_impl.h"

#include <gmm_port/alloc.h>

#define TABLE_ENTRIES (1u << GMM_SLOT_TABLE_BITS)
#define TABLE_BYTES (TABLE_ENTRIES * sizeof(uint64_t))
#define TABLE_FLAGS 0x3full /* tables are aligned to 64 bytes */

static bool is_direct(const struct gmm_slot_config *config)
{
	return config->pointer && !(config->memory_ops->flags & GMM_MEMORY_LAZY);
}

static uint64_t *table_of(uint64_t entry)
{
	return (uint64_t *)(uintptr_t)(entry & ~TABLE_FLAGS);
}

/* Makes the chunk's entry a table of pages, which says what the entry said. */
static int split_chunk(struct gmm_guest *guest, uint64_t *chunk)
{
	uint64_t *table = gmm_zalloc(TABLE_BYTES);
	uint64_t entry;
	uint32_t i;

	if (!table)
		return -GMM_ENOMEM;
	gmm_lock_invalidate(&guest->invalidation.lock);
	entry = gmm_load_relaxed(chunk);
	if (!(entry & GMM_SLOT_ENTRY_TABLE)) {
		for (i = 0; i < TABLE_ENTRIES; i++)
			table[i] = entry;
		gmm_store_release(chunk, (uint64_t)(uintptr_t)table | GMM_SLOT_ENTRY_TABLE);
		table = NULL;
	}
	gmm_unlock_invalidate(&guest->invalidation.lock);
	gmm_free(table, TABLE_BYTES);
	return 0;
}

static int prepare_chunk(struct gmm_guest *guest, gmm_gfn_t gfn, bool whole)
{
	uint64_t chunk = gfn >> GMM_SLOT_TABLE_BITS;
	uint64_t **link = &guest->hot.directory[chunk >> GMM_SLOT_TABLE_BITS];
	uint64_t *table = gmm_load_relaxed(link);

	if (!table) {
		table = gmm_zalloc(TABLE_BYTES);
		if (!table)
			return -GMM_ENOMEM;
		gmm_store_release(link, table);
	}
	table += chunk & (TABLE_ENTRIES - 1);
	if (whole || (gmm_load_relaxed(table) & GMM_SLOT_ENTRY_TABLE))
		return 0;
	return split_chunk(guest, table);
}

/* Frames from gfn on that lie in its chunk, at most `count`. */
static uint64_t in_chunk(gmm_gfn_t gfn, uint64_t count)
{
	uint64_t rest = TABLE_ENTRIES - (gfn & (TABLE_ENTRIES - 1));

	return rest < count ? rest : count;
}

int gmm_slot_table_prepare(struct gmm_guest *guest, const struct gmm_slot_config *config)
{
	gmm_gfn_t gfn = config->gfn;
	uint64_t count = config->count;

	while (is_direct(config) && count) {
		uint64_t run = in_chunk(gfn, count);
		int error = prepare_chunk(guest, gfn, run == TABLE_ENTRIES);

		if (error)
			return error;
		gfn += run;
		count -= run;
	}
	return 0;
}

/*
 * Writes the entries of frames in one chunk. A chunk without a table is all one slot's, and is
 * written whole: so hiding may hide more than was asked, and showing first makes sure that nothing
 * of the chunk is being changed.
 */
static void set_in_chunk(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count, uint64_t entry)
{
	uint64_t chunk = gfn >> GMM_SLOT_TABLE_BITS;
	uint64_t *table = guest->hot.directory[chunk >> GMM_SLOT_TABLE_BITS];
	uint64_t *link = &table[chunk & (TABLE_ENTRIES - 1)];
	uint64_t now = gmm_load_relaxed(link);
	uint64_t i;

	if (now & GMM_SLOT_ENTRY_TABLE)
		for (i = 0; i < count; i++)
			gmm_store_release(&table_of(now)[(gfn + i) & (TABLE_ENTRIES - 1)], entry);
	else
		gmm_store_release(link, entry);
}

/* What a slot's entries are: the distance from its GPAs to its pointer, and the rights. */
static uint64_t entry_of(const struct gmm_guest *guest, const struct gmm_slot *slot)
{
	uint64_t distance = (uint64_t)(uintptr_t)slot->config.pointer -
			    (slot->config.gfn << guest->hot.page_shift);

	return distance | GMM_SLOT_ENTRY_READ |
	       (slot->config.flags & GMM_SLOT_READ_ONLY ? 0 : GMM_SLOT_ENTRY_WRITE);
}

void gmm_slot_table_hide(struct gmm_guest *guest, const struct gmm_slot *slot, gmm_gfn_t gfn,
			 uint64_t count)
{
	gmm_spin_assert_held(&guest->invalidation.lock);
	while (is_direct(&slot->config) && count) {
		uint64_t run = in_chunk(gfn, count);

		set_in_chunk(guest, gfn, run, 0);
		gfn += run;
		count -= run;
	}
}

void gmm_slot_table_show(struct gmm_guest *guest, const struct gmm_slot *slot, gmm_gfn_t gfn,
			 uint64_t count)
{
	gmm_gfn_t end = gfn + count;

	gmm_spin_assert_held(&guest->invalidation.lock);
	if (!is_direct(&slot->config))
		return;
	gfn &= ~(uint64_t)(TABLE_ENTRIES - 1);
	end = (end + TABLE_ENTRIES - 1) & ~(uint64_t)(TABLE_ENTRIES - 1);
	if (gfn < slot->by_gfn.start)
		gfn = slot->by_gfn.start;
	if (end > slot->by_gfn.last + 1)
		end = slot->by_gfn.last + 1;
	while (gfn < end) {
		uint64_t run = in_chunk(gfn, end - gfn);

		if (!gmm_invalidate_find(guest, GMM_RANGE_GFN, gfn, gfn + run - 1, GMM_CHANGE_ANY))
			set_in_chunk(guest, gfn, run, entry_of(guest, slot));
		gfn += run;
	}
}

static uint64_t entry_at(const struct gmm_guest *guest, gmm_gpa_t gpa)
{
	uint64_t *table = gmm_load_acquire(&guest->hot.directory[gpa >> guest->hot.table_shift]);
	uint64_t entry;

	if (!table)
		return 0;
	entry = gmm_load_acquire(&table[(gpa >> guest->hot.chunk_shift) & (TABLE_ENTRIES - 1)]);
	if (entry & GMM_SLOT_ENTRY_TABLE)
		entry = gmm_load_acquire(
			&table_of(entry)[(gpa >> guest->hot.page_shift) & (TABLE_ENTRIES - 1)]);
	return entry;
}

/* Any length: every page on the way must be at the same distance. */
void *gmm_slot_pointer_slow(const struct gmm_guest *guest, gmm_gpa_t gpa, uint64_t length,
			    uint32_t access)
{
	gmm_gpa_t last = gpa + length - 1;
	gmm_gpa_t at = gpa;
	uint64_t entry;

	if (!length || last < gpa || last >= guest->hot.gpa_limit)
		return NULL;
	access |= GMM_SLOT_ENTRY_READ;
	entry = entry_at(guest, gpa);
	if ((entry & access) != access)
		return NULL;
	while ((at >> guest->hot.page_shift) != (last >> guest->hot.page_shift)) {
		at = ((at >> guest->hot.page_shift) + 1) << guest->hot.page_shift;
		if (entry_at(guest, at) != entry)
			return NULL;
	}
	return (void *)(uintptr_t)((entry & ~(uint64_t)GMM_SLOT_ENTRY_FLAGS) + gpa);
}

void *gmm_slot_pointer(const struct gmm_guest *guest, gmm_gpa_t gpa, uint64_t length,
		       uint32_t access)
{
	return gmm_slot_pointer_inline(guest, gpa, length, access);
}

void gmm_slot_table_destroy(struct gmm_guest *guest)
{
	uint64_t i, j;

	for (i = 0; i < guest->directory_entries; i++) {
		uint64_t *table = guest->hot.directory[i];

		if (!table)
			continue;
		for (j = 0; j < TABLE_ENTRIES; j++)
			if (table[j] & GMM_SLOT_ENTRY_TABLE)
				gmm_free(table_of(table[j]), TABLE_BYTES);
		gmm_free(table, TABLE_BYTES);
	}
	gmm_free(guest->hot.directory, guest->directory_entries * sizeof(*guest->hot.directory));
}
