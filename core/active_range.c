/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The table of ranges that are being changed. Nothing is allocated: every entry but the last holds
 * one exact range and one thread's changes of just that range; the last takes what finds no place,
 * and grows to enclose it. So an end finds its range in an entry of exactly that range, or else in
 * the last.
 */
#include <gmm_port/thread.h>

#include "guest_impl.h"

#define OVERFLOW_ENTRY (GMM_ACTIVE_RANGES - 1)

static bool counts(const struct gmm_active_range *active, enum gmm_change change)
{
	switch (change) {
	case GMM_CHANGE_HOLDING:
		return active->holding;
	case GMM_CHANGE_SLOT:
		return active->slots;
	case GMM_CHANGE_NO_SLOT:
		return active->count > active->slots;
	case GMM_CHANGE_OWN:
		return active->owner == gmm_thread_self();
	case GMM_CHANGE_ANY:
		break;
	}
	return true;
}

struct gmm_active_range *gmm_active_find(struct gmm_invalidation *invalidation,
					 enum gmm_range_kind kind, uint64_t start, uint64_t last,
					 enum gmm_change change)
{
	uint32_t i;

	if (!invalidation->active_count[kind])
		return NULL;
	for (i = 0; i < invalidation->active_used[kind]; i++) {
		struct gmm_active_range *active = &invalidation->active[kind][i];

		if (active->count && active->start <= last && active->last >= start &&
		    counts(active, change))
			return active;
	}
	return NULL;
}

bool gmm_active_any_own(const struct gmm_invalidation *invalidation)
{
	uint32_t kind, i;

	for (kind = 0; kind < 2; kind++)
		for (i = 0; i < invalidation->active_used[kind]; i++)
			if (invalidation->active[kind][i].count &&
			    counts(&invalidation->active[kind][i], GMM_CHANGE_OWN))
				return true;
	return false;
}

/* This thread's entry of exactly this range, else a free one, else the last. */
static struct gmm_active_range *choose(struct gmm_invalidation *invalidation,
				       enum gmm_range_kind kind, uint64_t start, uint64_t last)
{
	struct gmm_active_range *entries = invalidation->active[kind];
	uint32_t chosen = OVERFLOW_ENTRY, i;

	for (i = 0; i < OVERFLOW_ENTRY; i++) {
		bool is_used = i < invalidation->active_used[kind] && entries[i].count;

		if (is_used && entries[i].start == start && entries[i].last == last &&
		    entries[i].owner == gmm_thread_self()) {
			chosen = i;
			break;
		}
		if (!is_used && chosen == OVERFLOW_ENTRY)
			chosen = i;
		if (i >= invalidation->active_used[kind])
			break;
	}
	for (i = invalidation->active_used[kind]; i <= chosen; i++)
		entries[i].count = 0;
	if (invalidation->active_used[kind] <= chosen)
		invalidation->active_used[kind] = chosen + 1;
	return &entries[chosen];
}

void gmm_active_add(struct gmm_guest *guest, enum gmm_range_kind kind, uint64_t start,
		    uint64_t last, bool slot)
{
	struct gmm_invalidation *invalidation = &guest->invalidation;
	struct gmm_active_range *active = choose(invalidation, kind, start, last);
	uintptr_t self = gmm_thread_self();

	if (!active->count) {
		*active = (struct gmm_active_range){ .start = start, .last = last, .owner = self };
	} else {
		if (active->start != start || active->last != last)
			gmm_count(guest, range_merges, 1);
		if (start < active->start)
			active->start = start;
		if (last > active->last)
			active->last = last;
		if (active->owner != self)
			active->owner = 0;
	}
	active->count++;
	active->slots += slot;
	invalidation->active_count[kind]++;
}

/* Whether a change of this sort is counted in the entry. */
static bool may_be_of(const struct gmm_active_range *active, bool holding, bool slot)
{
	uint32_t all = slot ? active->slots : active->count - active->slots;
	uint32_t held = slot ? active->holding_slots : active->holding - active->holding_slots;

	return active->count && (holding ? held : all > held);
}

static struct gmm_active_range *overflow_entry(struct gmm_invalidation *invalidation,
					       enum gmm_range_kind kind, uint64_t start,
					       uint64_t last)
{
	struct gmm_active_range *active = &invalidation->active[kind][OVERFLOW_ENTRY];

	if (invalidation->active_used[kind] < GMM_ACTIVE_RANGES || active->start > start ||
	    active->last < last)
		return NULL;
	return active;
}

/*
 * Several threads may change one range, in entries of their own and in the last. Any will do for
 * what is excluded; the own one is right for the owner too. When another's is taken, the own count,
 * or that of the thread for which this one ends, stays in one of the rest: whose these are is not
 * known any more.
 */
struct gmm_active_range *gmm_active_of(struct gmm_invalidation *invalidation,
				       enum gmm_range_kind kind, uint64_t start, uint64_t last,
				       bool holding, bool slot)
{
	struct gmm_active_range *overflow = overflow_entry(invalidation, kind, start, last);
	struct gmm_active_range *found = NULL;
	uintptr_t self = gmm_thread_self();
	uint32_t i;

	for (i = 0; i < invalidation->active_used[kind] && i < OVERFLOW_ENTRY; i++) {
		struct gmm_active_range *active = &invalidation->active[kind][i];

		if (active->start != start || active->last != last ||
		    !may_be_of(active, holding, slot))
			continue;
		if (active->owner == self)
			return active;
		if (found)
			active->owner = 0;
		else
			found = active;
	}
	if (overflow && !may_be_of(overflow, holding, slot))
		overflow = NULL;
	if (found && overflow)
		overflow->owner = 0;
	return found ? found : overflow;
}

void gmm_active_hold(struct gmm_invalidation *invalidation, enum gmm_range_kind kind,
		     uint64_t start, uint64_t last, bool slot)
{
	struct gmm_active_range *active =
		gmm_active_of(invalidation, kind, start, last, false, slot);

	active->holding++;
	active->holding_slots += slot;
}

void gmm_active_remove(struct gmm_invalidation *invalidation, enum gmm_range_kind kind,
		       struct gmm_active_range *active, bool holding, bool slot)
{
	active->count--;
	active->holding -= holding;
	active->holding_slots -= holding && slot;
	active->slots -= slot;
	if (!--invalidation->active_count[kind])
		invalidation->active_used[kind] = 0;
}

bool gmm_active_is_held(const struct gmm_invalidation *invalidation, uint64_t start, uint64_t last)
{
	uint32_t i;

	for (i = 0; i < invalidation->held_count; i++)
		if (invalidation->held[i].start <= last && invalidation->held[i].end > start)
			return true;
	return false;
}

void gmm_active_set_held(struct gmm_invalidation *invalidation, const struct gmm_range *ranges,
			 uint32_t count)
{
	uint32_t i;

	for (i = 0; i < count; i++)
		invalidation->held[i] = ranges[i];
	invalidation->held_count = count;
	invalidation->intruders = 0;
}

/*
 * Of what had begun before, nothing lies in the held frames, so ends are counted right: the same
 * range did begin, or did not, while they were held.
 */
void gmm_active_intrude(struct gmm_invalidation *invalidation, enum gmm_range_kind kind,
			uint64_t start, uint64_t last, bool begins)
{
	if (kind == GMM_RANGE_GFN && gmm_active_is_held(invalidation, start, last))
		invalidation->intruders += begins ? 1u : (uint32_t)-1;
}
