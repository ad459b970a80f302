/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <guestmm/fault.h>

#include "guest_impl.h"
#include "stage2/soft.h"

/* Index of the contents' place in what is counted: an origin, or this. */
#define PLACE_RESIDENT 3u

struct tally {
	bool resident; /* all of them, whatever the entries say */
	uint64_t entries;
	uint64_t place[4];
	uint64_t busy, mapped, writable, young, dirty, changed;
};

static int count_entries(void *opaque, gmm_gfn_t gfn, uint64_t *entries, uint32_t count)
{
	struct tally *tally = opaque;
	uint32_t i;

	for (i = 0; i < count; i++) {
		uint64_t entry = gmm_load_relaxed(&entries[i]);
		uint64_t mapped = !!(entry & GMM_PAGE_MAPPED);

		tally->place[tally->resident || (entry & GMM_PAGE_RESIDENT) ?
				     PLACE_RESIDENT :
				     gmm_page_origin_of(entry)]++;
		tally->busy += !!(entry & GMM_PAGE_BUSY);
		tally->mapped += mapped;
		tally->writable += mapped & !!(entry & GMM_PAGE_WRITABLE);
		tally->young += !!(entry & GMM_PAGE_YOUNG);
		tally->dirty += !!(entry & GMM_PAGE_DIRTY);
		tally->changed += !!(entry & GMM_PAGE_CHANGED);
	}
	tally->entries += count;
	return 0;
}

/* Frames of [gfn, last] that lie in the next slot there; 0: in none. */
static uint64_t next_in_slot(struct gmm_guest *guest, gmm_gfn_t *gfn, gmm_gfn_t last,
			     bool *resident)
{
	struct gmm_interval *node;
	uint64_t count = 0;

	gmm_lock_invalidate(&guest->invalidation.lock);
	node = gmm_interval_first(&guest->slots.by_gfn, *gfn, last);
	if (node) {
		if (node->start > *gfn)
			*gfn = node->start;
		count = (node->last < last ? node->last : last) - *gfn + 1;
		*resident = !gmm_slot_is_lazy(gmm_container_of(node, struct gmm_slot, by_gfn));
	}
	gmm_unlock_invalidate(&guest->invalidation.lock);
	return count;
}

int gmm_page_take_survey(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count,
			 struct gmm_page_survey *survey)
{
	struct gmm_page_survey mapped = { 0 }; /* by a guest's table */
	struct tally tally = { 0 };
	gmm_gfn_t last = gfn + count - 1;
	uint64_t in_slot, pages = 0;
	int error = gmm_frames_check(guest, gfn, count);

	if (error)
		return error;
	while (gfn <= last && (in_slot = next_in_slot(guest, &gfn, last, &tally.resident))) {
		tally.entries = 0;
		if (!guest->table.table)
			gmm_stage2_visit(&guest->stage2, gfn, in_slot, count_entries, &tally);
		else
			gmm_guest_table_survey(&guest->table, gfn, in_slot, &mapped);
		/* Where there is no table. */
		tally.place[tally.resident ? PLACE_RESIDENT : GMM_ORIGIN_SOURCE] +=
			in_slot - tally.entries;
		pages += in_slot;
		gfn += in_slot;
	}
	*survey = (struct gmm_page_survey){
		.pages = pages,
		.absent = tally.place[GMM_ORIGIN_SOURCE],
		.zero = tally.place[GMM_ORIGIN_ZERO],
		.present = tally.place[PLACE_RESIDENT],
		.evicted = tally.place[GMM_ORIGIN_STORE],
		.busy = tally.busy,
		.mapped = tally.mapped + mapped.mapped,
		.writable = tally.writable + mapped.writable,
		.young = tally.young + mapped.young,
		.dirty = tally.dirty + mapped.dirty,
		.changed = tally.changed + mapped.changed,
	};
	return 0;
}
