/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Which slot host addresses are in, and their registration with the userfaultfd. */
#include "live_stage2_impl.h"

#include <stdlib.h>
#include <string.h>

#include <guestmm/slot.h>

/*
 * What shared lazy memory needs so that no write goes unseen. KVM sees writes, and refuses them, by
 * itself; else the log needs protection, and memory that is only read must never be mapped writable.
 */
static uint32_t needed_of_shared(const struct gmm_live_stage2 *live,
				 const struct gmm_slot_info *slot)
{
	uint32_t need = GMM_USERFAULT_SHARED;

	if (!live->logs_writes && slot->flags & GMM_SLOT_LOG_DIRTY)
		need |= GMM_USERFAULT_SHARED_WP;
	if (!live->logs_writes && slot->flags & GMM_SLOT_READ_ONLY)
		need |= GMM_USERFAULT_CONTINUE_WP;
	return need;
}

/* What a slot's range has to be registered for. -GMM_EOPNOTSUPP: this cannot be had. */
static int choose_modes(const struct gmm_live_stage2 *live, const struct gmm_slot_info *slot,
			uint32_t *modes)
{
	uint32_t can = gmm_live_abilities(live), need;

	*modes = 0;
	/*
	 * Memory that is there from the start never faults, so nobody but KVM sees what is written.
	 */
	if (!gmm_live_is_lazy(slot->memory_ops))
		return live->logs_writes ||
				       !(slot->flags & (GMM_SLOT_LOG_DIRTY | GMM_SLOT_READ_ONLY)) ?
			       0 :
			       -GMM_EOPNOTSUPP;
	if (!live->userfault)
		return -GMM_EOPNOTSUPP;
	if (!gmm_live_is_shared(slot->memory_ops)) {
		*modes = GMM_USERFAULT_MISSING | GMM_USERFAULT_WP;
		return can & GMM_USERFAULT_PRIVATE_WP ? 0 : -GMM_EOPNOTSUPP;
	}
	*modes = GMM_USERFAULT_MISSING | GMM_USERFAULT_MINOR;
	if (can & GMM_USERFAULT_SHARED_WP)
		*modes |= GMM_USERFAULT_WP;
	need = needed_of_shared(live, slot);
	return (can & need) == need ? 0 : -GMM_EOPNOTSUPP;
}

/* Index of the first range that ends after `hva`. */
static uint32_t lower_bound(const struct gmm_live_stage2 *live, gmm_hva_t hva)
{
	uint32_t low = 0, high = live->count, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (live->ranges[middle].hva + live->ranges[middle].bytes <= hva)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int reserve_one(struct gmm_live_stage2 *live)
{
	uint32_t capacity = live->capacity ? live->capacity * 2 : 16;
	struct gmm_live_range *more;

	if (live->count < live->capacity)
		return 0;
	more = realloc(live->ranges, capacity * sizeof(*more));
	if (!more)
		return -GMM_ENOMEM;
	live->ranges = more;
	live->capacity = capacity;
	return 0;
}

static void take_out(struct gmm_live_stage2 *live, uint32_t index)
{
	live->count--;
	memmove(&live->ranges[index], &live->ranges[index + 1],
		(live->count - index) * sizeof(live->ranges[0]));
}

static void put_in(struct gmm_live_stage2 *live, const struct gmm_live_range *range)
{
	uint32_t index = lower_bound(live, range->hva);

	memmove(&live->ranges[index + 1], &live->ranges[index],
		(live->count - index) * sizeof(live->ranges[0]));
	live->ranges[index] = *range;
	live->count++;
}

static bool overlaps(const struct gmm_live_stage2 *live, const struct gmm_live_range *range,
		     uint32_t but_slot)
{
	uint32_t i;

	for (i = lower_bound(live, range->hva); i < live->count; i++) {
		if (live->ranges[i].hva >= range->hva + range->bytes)
			return false;
		if (live->ranges[i].slot != but_slot)
			return true;
	}
	return false;
}

static int find_range(const struct gmm_live_stage2 *live, gmm_hva_t hva, uint32_t slot)
{
	uint32_t i = lower_bound(live, hva);

	if (i < live->count && live->ranges[i].hva == hva && live->ranges[i].slot == slot)
		return (int)i;
	return -1;
}

/* There is room: nothing is allocated. */
static void replace(struct gmm_live_stage2 *live, const struct gmm_live_range *from,
		    const struct gmm_live_range *to)
{
	int index = from->bytes ? find_range(live, from->hva, from->slot) : -1;

	if (index >= 0)
		take_out(live, (uint32_t)index);
	if (to->bytes)
		put_in(live, to);
}

struct part {
	gmm_hva_t hva;
	uint64_t bytes;
};

static bool meet(const struct gmm_live_range *a, const struct gmm_live_range *b)
{
	return a->bytes && b->bytes && a->hva < b->hva + b->bytes && b->hva < a->hva + a->bytes;
}

/* The registered parts of a range that lie outside of the other. */
static uint32_t parts_beyond(const struct gmm_live_range *of, const struct gmm_live_range *but,
			     struct part parts[2])
{
	gmm_hva_t end = of->hva + of->bytes, but_end = but->hva + but->bytes;
	uint32_t count = 0;

	if (!of->bytes || !of->modes)
		return 0;
	if (!but->modes || !meet(of, but)) {
		parts[0] = (struct part){ of->hva, of->bytes };
		return 1;
	}
	if (of->hva < but->hva)
		parts[count++] = (struct part){ of->hva, but->hva - of->hva };
	if (but_end < end)
		parts[count++] = (struct part){ but_end, end - but_end };
	return count;
}

/*
 * It has no answer that could be used: what is not mapped any more is not registered. With somebody
 * else's mapping in it the range is refused as a whole (W9).
 */
static void unregister_part(struct gmm_live_stage2 *live, const struct part *part)
{
	uint64_t page_bytes = 1ull << GMM_LIVE_PAGE_SHIFT, done;

	if (!gmm_userfault_unregister(live->userfault, part->hva, part->bytes))
		return;
	for (done = 0; done < part->bytes; done += page_bytes)
		gmm_userfault_unregister(live->userfault, part->hva + done, page_bytes);
}

static void unregister_beyond(struct gmm_live_stage2 *live, const struct gmm_live_range *of,
			      const struct gmm_live_range *but)
{
	struct part parts[2];
	uint32_t count = parts_beyond(of, but, parts), i;

	for (i = 0; i < count; i++)
		unregister_part(live, &parts[i]);
}

/* All or nothing. What was registered before is left alone: somebody may have unmapped some (W9). */
static int register_beyond(struct gmm_live_stage2 *live, const struct gmm_live_range *of,
			   const struct gmm_live_range *but)
{
	struct part parts[2];
	uint32_t count = parts_beyond(of, but, parts), i;
	int error = 0;

	for (i = 0; i < count && !error; i++)
		error = gmm_userfault_register(live->userfault, parts[i].hva, parts[i].bytes,
					       of->modes);
	if (!error)
		return 0;
	/* Without memory it stops in the middle; what else is wrong is found first. */
	if (error != -GMM_ENOMEM)
		i--;
	while (i > 0)
		unregister_part(live, &parts[--i]);
	return error == -GMM_ENOMEM ? error : -GMM_EIO;
}

static int begin_locked(struct gmm_live_stage2 *live, const struct gmm_slot_info *old,
			const struct gmm_slot_info *now, struct gmm_live_change *change)
{
	struct gmm_live_range *before = &change->before, *after = &change->after;
	int index = old->count ? find_range(live, old->hva, old->id) : -1;
	int error;

	if (index >= 0)
		*before = live->ranges[index];
	if (!now->count)
		return 0;
	*after = (struct gmm_live_range){
		.hva = now->hva,
		.bytes = now->count << GMM_LIVE_PAGE_SHIFT,
		.gfn = now->gfn,
		.slot = now->id,
		.memory = now->memory,
		.memory_ops = now->memory_ops,
	};
	error = choose_modes(live, now, &after->modes);
	/* The modes are the memory's, and it is the slot's as long as the slot is there. */
	if (!error && meet(before, after) && before->modes != after->modes)
		error = -GMM_EOPNOTSUPP;
	if (!error && overlaps(live, after, index >= 0 ? now->id : UINT32_MAX))
		error = -GMM_EEXIST;
	if (!error && index < 0)
		error = reserve_one(live);
	if (!error)
		error = register_beyond(live, after, before);
	change->shown = !before->bytes ||
			(after->hva == before->hva && after->bytes >= before->bytes);
	if (!error && change->shown)
		replace(live, before, after);
	return error;
}

int gmm_live_stage2_change_begin(struct gmm_live_stage2 *live, const struct gmm_slot_info *old,
				 const struct gmm_slot_info *now, struct gmm_live_change *change)
{
	int error;

	*change = (struct gmm_live_change){ 0 };
	/* No access of a vCPU arrives there, so there is nothing to find nor to register. */
	if (gmm_live_is_host_only(now->count ? now->memory_ops : old->memory_ops))
		return 0;
	pthread_rwlock_wrlock(&live->lock);
	error = begin_locked(live, old, now, change);
	pthread_rwlock_unlock(&live->lock);
	return error;
}

void gmm_live_stage2_change_end(struct gmm_live_stage2 *live, const struct gmm_live_change *change,
				bool made)
{
	const struct gmm_live_range *from = made ? &change->before : &change->after;
	const struct gmm_live_range *to = made ? &change->after : &change->before;

	pthread_rwlock_wrlock(&live->lock);
	if (made != change->shown)
		replace(live, from, to);
	unregister_beyond(live, from, to);
	pthread_rwlock_unlock(&live->lock);
}

int gmm_live_stage2_slot_change(struct gmm_live_stage2 *live, const struct gmm_slot_info *old,
				const struct gmm_slot_info *now)
{
	struct gmm_live_change change;
	int error = gmm_live_stage2_change_begin(live, old, now, &change);

	if (!error)
		gmm_live_stage2_change_end(live, &change, true);
	return error;
}

bool gmm_live_stage2_find(struct gmm_live_stage2 *live, gmm_hva_t hva, struct gmm_live_range *range,
			  gmm_gfn_t *gfn)
{
	bool found;
	uint32_t i;

	pthread_rwlock_rdlock(&live->lock);
	i = lower_bound(live, hva);
	found = i < live->count && live->ranges[i].hva <= hva;
	if (found) {
		*range = live->ranges[i];
		*gfn = range->gfn + ((hva - range->hva) >> GMM_LIVE_PAGE_SHIFT);
	}
	pthread_rwlock_unlock(&live->lock);
	return found;
}

bool gmm_live_stage2_next(struct gmm_live_stage2 *live, gmm_hva_t hva, struct gmm_live_range *range)
{
	bool found;
	uint32_t i;

	pthread_rwlock_rdlock(&live->lock);
	i = lower_bound(live, hva);
	found = i < live->count;
	if (found)
		*range = live->ranges[i];
	pthread_rwlock_unlock(&live->lock);
	return found;
}

void gmm_live_stage2_visit(struct gmm_live_stage2 *live, gmm_hva_t start, uint64_t bytes,
			   void (*fn)(void *opaque, const struct gmm_live_range *range,
				      gmm_hva_t start, uint64_t bytes),
			   void *opaque)
{
	gmm_hva_t end = start + bytes;
	uint32_t i;

	pthread_rwlock_rdlock(&live->lock);
	for (i = lower_bound(live, start); i < live->count && live->ranges[i].hva < end; i++) {
		const struct gmm_live_range *range = &live->ranges[i];
		gmm_hva_t from = range->hva > start ? range->hva : start;
		gmm_hva_t to = range->hva + range->bytes < end ? range->hva + range->bytes : end;

		fn(opaque, range, from, to - from);
	}
	pthread_rwlock_unlock(&live->lock);
}

void gmm_live_stage2_visit_outside(struct gmm_live_stage2 *live, gmm_hva_t start, uint64_t bytes,
				   void (*fn)(void *opaque, gmm_hva_t start, uint64_t bytes),
				   void *opaque)
{
	gmm_hva_t end = start + bytes;
	uint32_t i;

	pthread_rwlock_rdlock(&live->lock);
	for (i = lower_bound(live, start); i < live->count && live->ranges[i].hva < end; i++) {
		const struct gmm_live_range *range = &live->ranges[i];

		if (range->hva > start)
			fn(opaque, start, range->hva - start);
		start = range->hva + range->bytes;
	}
	if (start < end)
		fn(opaque, start, end - start);
	pthread_rwlock_unlock(&live->lock);
}
