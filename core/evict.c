/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Evicting (W10): the pages' range begins to change, so no cache is valid and no section uses one;
 * the pages are claimed, so no fault maps them; they are write-protected, so no vCPU writes what
 * has been written out; written out; discarded; released; and who waited is woken.
 */
#include <guestmm/evict.h>

#include <gmm_port/alloc.h>
#include <gmm_port/step.h>

#include "dirty_impl.h"
#include "page_impl.h"

#define EVICT_RANGES 32u
#define CHUNK_PAGES 512u /* of the clock */

static uint64_t run_page(const struct gmm_operation *operation, const struct gmm_page_run *run)
{
	return operation->slot->config.memory_page + (run->gfn - operation->slot->by_gfn.start);
}

/* Calls fn() for each stretch of a run whose values have all of `bits`. */
static int for_stretches(struct gmm_operation *operation, struct gmm_page_run *run, uint64_t bits,
			 int (*fn)(struct gmm_operation *operation, struct gmm_page_run *run,
				   uint32_t first, uint32_t count))
{
	uint32_t first = 0;
	int error = 0;

	while (first < run->count && !error) {
		uint32_t end = first;

		while (end < run->count && (run->values[end] & bits) == bits)
			end++;
		if (end > first)
			error = fn(operation, run, first, end - first);
		first = end + 1;
	}
	return error;
}

static int protect_stretch(struct gmm_operation *operation, struct gmm_page_run *run,
			   uint32_t first, uint32_t count)
{
	struct gmm_guest *guest = operation->guest;
	struct gmm_span span = gmm_run_span(operation, run, first, count);
	uint32_t i;

	if (gmm_leaves_out(guest, GMM_LEAVE_OUT_PROTECT))
		return 0;
	if (guest->config.stage2_ops->protect(guest->config.stage2_owner, &span))
		return -GMM_EIO;
	for (i = first; i < first + count; i++)
		run->values[i] &= ~GMM_PAGE_WRITABLE;
	return 0;
}

static int write_stretch(struct gmm_operation *operation, struct gmm_page_run *run, uint32_t first,
			 uint32_t count)
{
	const struct gmm_slot_config *config = &operation->slot->config;
	uint32_t i;

	if (config->memory_ops->write_out(config->memory, run_page(operation, run) + first, count))
		return -GMM_EIO;
	for (i = first; i < first + count; i++)
		run->values[i] = gmm_page_with_origin(run->values[i], GMM_ORIGIN_STORE) &
				 ~GMM_PAGE_CHANGED;
	return 0;
}

static uint32_t count_bits(const struct gmm_page_run *run, uint64_t bits)
{
	uint32_t count = 0, i;

	for (i = 0; i < run->count; i++)
		count += (run->values[i] & bits) == bits;
	return count;
}

/* The pages of a claimed run go. On failure they stay, protected, and no contents are lost. */
static int64_t evict_run(struct gmm_operation *operation, struct gmm_page_run *run)
{
	struct gmm_guest *guest = operation->guest;
	const struct gmm_slot_config *config = &operation->slot->config;
	uint32_t changed = count_bits(run, GMM_PAGE_CHANGED);
	int error = 0;
	uint32_t i;

	gmm_step(GMM_STEP_EVICT_CLAIMED);
	if (guest->config.stage2_ops)
		error = for_stretches(operation, run, GMM_PAGE_WRITABLE, protect_stretch);
	gmm_step(GMM_STEP_EVICT_PROTECTED);
	if (!error)
		error = for_stretches(operation, run, GMM_PAGE_CHANGED, write_stretch);
	gmm_step(GMM_STEP_EVICT_WRITTEN);
	if (!error &&
	    config->memory_ops->discard(config->memory, run_page(operation, run), run->count))
		error = -GMM_EIO;
	if (error)
		return error;
	for (i = 0; i < run->count; i++)
		run->values[i] &= GMM_PAGE_ORIGIN_MASK;
	gmm_fetch_add(&guest->resident, -(uint64_t)run->count);
	gmm_count(guest, evicted, run->count);
	gmm_count(guest, evicted_clean, run->count - changed);
	return run->count;
}

/* What of an operation's frames is to go: found first, so that only those frames' caches are
 * invalidated. */
struct pick {
	struct gmm_page_filter filter;
	struct gmm_range ranges[EVICT_RANGES];
	uint32_t count;
	gmm_gfn_t next; /* where the search goes on */
};

static int pick_table(void *opaque, gmm_gfn_t gfn, uint64_t *entries, uint32_t count)
{
	struct pick *pick = opaque;
	uint32_t i;

	for (i = 0; i < count; i++) {
		uint64_t value = gmm_load_acquire(&entries[i]);
		struct gmm_range *last = pick->count ? &pick->ranges[pick->count - 1] : NULL;

		if ((value & pick->filter.all) != pick->filter.all || (value & pick->filter.none))
			continue;
		if (last && last->end == gfn + i && last->end - last->start < GMM_RUN_PAGES) {
			last->end++;
		} else if (pick->count < EVICT_RANGES) {
			pick->ranges[pick->count++] = (struct gmm_range){ gfn + i, gfn + i + 1 };
		} else {
			pick->next = gfn + i;
			return 1;
		}
	}
	pick->next = gfn + count;
	return 0;
}

static int64_t evict_picked(struct gmm_operation *operation, const struct pick *pick)
{
	struct gmm_guest *guest = operation->guest;
	int64_t evicted = 0;
	struct gmm_page_run run;
	uint32_t i;
	int error = gmm_invalidate_begin_flags(guest, GMM_RANGE_GFN, pick->ranges, pick->count,
					       GMM_INVALIDATE_FAULTS_GO_ON, NULL);

	if (error)
		return error;
	for (i = 0; i < pick->count && evicted >= 0; i++) {
		gmm_gfn_t gfn = pick->ranges[i].start;

		while (evicted >= 0 && gmm_run_claim(operation, &gfn, pick->ranges[i].end - 1,
						     &pick->filter, false, &run)) {
			int64_t answer = evict_run(operation, &run);

			evicted = answer < 0 ? answer : evicted + answer;
			gmm_run_release(operation, &run);
			gmm_step(GMM_STEP_EVICT_RELEASED);
		}
	}
	gmm_invalidate_end_flags(guest, GMM_RANGE_GFN, pick->ranges, pick->count,
				 GMM_INVALIDATE_FAULTS_GO_ON);
	return evicted;
}

static int64_t evict_slot(struct gmm_operation *operation, uint32_t flags)
{
	struct pick *pick;
	int64_t evicted = 0;
	gmm_gfn_t gfn = operation->node.start;

	if (!(operation->slot->config.memory_ops->flags & GMM_MEMORY_EVICTABLE))
		return -GMM_EOPNOTSUPP;
	pick = gmm_zalloc(sizeof(*pick));
	if (!pick)
		return -GMM_ENOMEM;
	pick->filter.all = GMM_PAGE_RESIDENT;
	pick->filter.none = GMM_PAGE_BUSY | (flags & GMM_EVICT_COLD ? GMM_PAGE_YOUNG : 0);
	while (gfn <= operation->node.last && evicted >= 0) {
		pick->count = 0;
		pick->next = operation->node.last + 1;
		if (!gmm_stage2_visit(&operation->guest->stage2, gfn,
				      operation->node.last - gfn + 1, pick_table, pick))
			pick->next = operation->node.last + 1;
		if (pick->count) {
			int64_t answer = evict_picked(operation, pick);

			evicted = answer < 0 ? answer : evicted + answer;
		}
		gfn = pick->next;
	}
	gmm_free(pick, sizeof(*pick));
	return evicted;
}

int64_t gmm_evict(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count, uint32_t flags)
{
	int64_t evicted = 0;

	if ((flags & ~GMM_EVICT_COLD) || !count)
		return -GMM_EINVAL;
	if (gfn + count < gfn)
		return -GMM_ERANGE;
	while (count) {
		struct gmm_operation operation;
		int64_t answer =
			gmm_operation_begin(guest, gfn, count, GMM_OPERATION_WAIT_SLOT, &operation);
		uint64_t done;

		if (answer)
			return answer == -GMM_EFAULT ? -GMM_ERANGE : answer;
		done = gmm_operation_count(&operation);
		answer = evict_slot(&operation, flags);
		gmm_operation_end(&operation);
		if (answer < 0)
			return answer;
		evicted += answer;
		gfn += done;
		count -= done;
	}
	return evicted;
}

/* Discarding waits for busy pages: afterwards every page reads as zero. */
static int discard_run(struct gmm_operation *operation, struct gmm_page_run *run)
{
	struct gmm_guest *guest = operation->guest;
	const struct gmm_slot_config *config = &operation->slot->config;
	struct gmm_slot *slot = operation->slot;
	uint32_t resident = count_bits(run, GMM_PAGE_RESIDENT);
	int error = 0;
	uint32_t i;

	if (guest->config.stage2_ops)
		error = for_stretches(operation, run, GMM_PAGE_WRITABLE, protect_stretch);
	if (!error && resident &&
	    config->memory_ops->discard(config->memory, run_page(operation, run), run->count))
		error = -GMM_EIO;
	if (error)
		return error;
	if (slot->dirty)
		gmm_dirty_map_mark_range(slot->dirty, run->gfn - slot->by_gfn.start, run->count);
	for (i = 0; i < run->count; i++)
		run->values[i] = GMM_ORIGIN_ZERO;
	gmm_fetch_add(&guest->resident, -(uint64_t)resident);
	gmm_count(guest, discarded, run->count);
	return 0;
}

static int discard_slot(struct gmm_operation *operation)
{
	static const struct gmm_page_filter any = { 0 };
	struct gmm_guest *guest = operation->guest;
	struct gmm_range range = { operation->node.start, operation->node.last + 1 };
	gmm_gfn_t gfn;
	struct gmm_page_run run;
	int error;

	if (!(operation->slot->config.memory_ops->flags & GMM_MEMORY_EVICTABLE))
		return -GMM_EOPNOTSUPP;
	for (gfn = range.start & ~(uint64_t)(GMM_SOFT_TABLE_ENTRIES - 1); gfn < range.end;
	     gfn += GMM_SOFT_TABLE_ENTRIES)
		if (!gmm_stage2_populate(&guest->stage2, gfn))
			return -GMM_ENOMEM;
	error = gmm_invalidate_begin_flags(guest, GMM_RANGE_GFN, &range, 1,
					   GMM_INVALIDATE_FAULTS_GO_ON, NULL);
	if (error)
		return error;
	gfn = range.start;
	while (!error && gmm_run_claim(operation, &gfn, range.end - 1, &any, true, &run)) {
		error = discard_run(operation, &run);
		gmm_run_release(operation, &run);
	}
	gmm_invalidate_end_flags(guest, GMM_RANGE_GFN, &range, 1, GMM_INVALIDATE_FAULTS_GO_ON);
	return error;
}

int gmm_discard(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count)
{
	int error = 0;

	if (!count || gfn + count < gfn)
		return -GMM_ERANGE;
	while (count && !error) {
		struct gmm_operation operation;
		uint64_t done;

		error = gmm_operation_begin(guest, gfn, count, GMM_OPERATION_WAIT_SLOT, &operation);
		if (error)
			return error == -GMM_EFAULT ? -GMM_ERANGE : error;
		done = gmm_operation_count(&operation);
		error = discard_slot(&operation);
		gmm_operation_end(&operation);
		gfn += done;
		count -= done;
	}
	return error;
}

uint64_t gmm_resident_pages(const struct gmm_guest *guest)
{
	return gmm_load_acquire(&guest->resident);
}

/* The next stretch of a lazy slot at or behind the hand; false: none up to the end. */
static bool next_stretch(struct gmm_guest *guest, gmm_gfn_t *gfn, uint64_t *count)
{
	struct gmm_interval *node;
	bool found = false;

	gmm_lock_invalidate(&guest->invalidation.lock);
	gmm_interval_for_each(node, &guest->slots.by_gfn, *gfn, ~(uint64_t)0)
	{
		struct gmm_slot *slot = gmm_container_of(node, struct gmm_slot, by_gfn);

		if (!(slot->config.memory_ops->flags & GMM_MEMORY_EVICTABLE))
			continue;
		if (*gfn < node->start)
			*gfn = node->start;
		*count = node->last - *gfn + 1;
		if (*count > CHUNK_PAGES)
			*count = CHUNK_PAGES;
		found = true;
		break;
	}
	gmm_unlock_invalidate(&guest->invalidation.lock);
	return found;
}

/*
 * The hand evicts what stayed cold since it last came by, then ages what is left, which has one
 * round to be used again. The third round takes whatever there is.
 */
static int64_t trim_locked(struct gmm_guest *guest, uint64_t target)
{
	int64_t evicted = 0;
	uint32_t wraps = 0;

	while (gmm_resident_pages(guest) > target && wraps < 4) {
		uint32_t flags = wraps < 3 ? GMM_EVICT_COLD : 0;
		uint64_t count;
		int64_t answer;

		if (!next_stretch(guest, &guest->clock_hand, &count)) {
			guest->clock_hand = 0;
			wraps++;
			continue;
		}
		answer = gmm_evict(guest, guest->clock_hand, count, flags);
		if (answer >= 0) {
			evicted += answer;
			answer = gmm_age(guest, guest->clock_hand, count, 0, NULL);
		}
		/* The slot may have changed since it was found. */
		if (answer < 0 && answer != -GMM_ERANGE && answer != -GMM_EOPNOTSUPP)
			return answer;
		guest->clock_hand += count;
	}
	return evicted;
}

int64_t gmm_resident_trim(struct gmm_guest *guest, uint64_t target)
{
	int64_t answer;

	if (gmm_section_inside(&guest->sections))
		return -GMM_EDEADLK;
	if (gmm_exchange(&guest->trimming, 1u))
		return -GMM_EBUSY;
	gmm_lock_trim(&guest->trim_mutex);
	answer = trim_locked(guest, target);
	gmm_unlock_trim(&guest->trim_mutex);
	gmm_store_release(&guest->trimming, 0u);
	return answer;
}
