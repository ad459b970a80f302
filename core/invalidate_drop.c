/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Taking translations out of a guest's table (core/guest_table.h) when a change of them begins.
 */
#include "guest_impl.h"

#define PARTS 16u

/* Frames [first, last] of slots. */
struct parts {
	uint32_t count;
	struct {
		gmm_gfn_t first;
		gmm_gfn_t last;
	} at[PARTS];
};

/* Neighbours are one part. When there is no room the last one becomes the hull: too much goes. */
static void add_part(struct parts *parts, gmm_gfn_t first, gmm_gfn_t last)
{
	uint32_t end = parts->count ? parts->count - 1 : 0;

	if (parts->count < PARTS && !(parts->count && parts->at[end].last + 1 == first)) {
		parts->at[parts->count].first = first;
		parts->at[parts->count++].last = last;
		return;
	}
	if (first < parts->at[end].first)
		parts->at[end].first = first;
	if (last > parts->at[end].last)
		parts->at[end].last = last;
}

/* Parts of slots that lie in a range. Addresses need not be those of whole pages. Under the lock. */
static void gather_range(struct gmm_guest *guest, enum gmm_range_kind kind,
			 const struct gmm_range *range, struct parts *parts)
{
	struct gmm_interval *node;

	gmm_interval_for_each(node, gmm_slots_by(guest, kind), range->start, range->end - 1) {
		uint64_t first = range->start, last = range->end - 1;

		if (kind == GMM_RANGE_HVA)
			gmm_invalidate_convert(guest, gmm_slot_of_node(node, kind), kind, first,
					       last, &first, &last);
		if (kind == GMM_RANGE_GFN && first < node->start)
			first = node->start;
		if (kind == GMM_RANGE_GFN && last > node->last)
			last = node->last;
		add_part(parts, first, last);
	}
}

/*
 * Slots that come behind this look have nothing mapped there, for their faults are held; who takes
 * slots away, or moves them, drops what they had.
 */
void gmm_invalidate_drop(struct gmm_guest *guest, enum gmm_range_kind kind,
			 const struct gmm_range *ranges, uint32_t count)
{
	struct parts parts;
	uint32_t i;

	if (!guest->table.table)
		return;
	parts.count = 0;
	gmm_lock_invalidate(&guest->invalidation.lock);
	for (i = 0; i < count; i++)
		gather_range(guest, kind, &ranges[i], &parts);
	gmm_unlock_invalidate(&guest->invalidation.lock);
	for (i = 0; i < parts.count; i++)
		gmm_guest_table_drop(&guest->table, parts.at[i].first, parts.at[i].last);
}
