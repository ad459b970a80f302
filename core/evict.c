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
#include "lease_impl.h"
#include "page_impl.h"

#define EVICT_RANGES 8u
#define CHUNK_PAGES 512u /* of the clock */

static uint64_t run_page(const struct gmm_operation *operation, const struct gmm_page_run *run)
{
	return operation->slot->config.memory_page + (run->gfn - operation->slot->by_gfn.start);
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

	return config->memory_ops->write_out(config->memory, run_page(operation, run) + first,
					     count) ?
		       -GMM_EIO :
		       0;
}

/*
 * Writes out what has changed. What somebody else took away before it was read was written out as
 * zeros (W9): so what is still there afterwards is asked, while the pages count as changed.
 */
static int write_changed(struct gmm_operation *operation, struct gmm_page_run *run)
{
	const uint64_t there = GMM_PAGE_CHANGED | GMM_PAGE_RESIDENT;
	struct gmm_repair_result result = { 0 };
	int error = gmm_run_ask_readable(operation, run, GMM_PAGE_CHANGED, &result);
	uint32_t i;

	if (!error)
		error = gmm_run_stretches(operation, run, there, write_stretch);
	if (!error)
		error = gmm_run_take_back_lost(operation, run, GMM_PAGE_CHANGED, &result);
	for (i = 0; i < run->count && !error; i++)
		if ((run->values[i] & there) == there)
			run->values[i] = gmm_page_with_origin(run->values[i], GMM_ORIGIN_STORE) &
					 ~GMM_PAGE_CHANGED;
	return error;
}

/* The pages of a claimed run go. On failure they stay, protected, and no contents are lost. */
static int64_t evict_run(struct gmm_operation *operation, struct gmm_page_run *run)
{
	struct gmm_guest *guest = operation->guest;
	const struct gmm_slot_config *config = &operation->slot->config;
	uint32_t changed = gmm_run_count(run, GMM_PAGE_CHANGED);
	uint32_t resident;
	int error = 0;
	uint32_t i;

	gmm_step(GMM_STEP_EVICT_CLAIMED);
	if (guest->config.stage2_ops)
		error = gmm_run_stretches(operation, run, GMM_PAGE_WRITABLE, protect_stretch);
	gmm_step(GMM_STEP_EVICT_PROTECTED);
	if (!error)
		error = write_changed(operation, run);
	gmm_step(GMM_STEP_EVICT_WRITTEN);
	if (!error &&
	    config->memory_ops->discard(config->memory, run_page(operation, run), run->count))
		error = -GMM_EIO;
	if (error)
		return error;
	resident = gmm_run_count(run, GMM_PAGE_RESIDENT);
	for (i = 0; i < run->count; i++)
		run->values[i] &= GMM_PAGE_ORIGIN_MASK;
	gmm_fetch_add(&guest->resident, -(uint64_t)resident);
	gmm_count(guest, evicted, run->count);
	gmm_count(guest, evicted_clean, run->count - changed);
	gmm_trace(evict, guest, run->gfn, run->count, changed);
	return run->count;
}

/*
 * What of an operation's frames is to go: found first, so that only those frames' caches are
 * invalidated.
 */
struct pick {
	struct gmm_guest *guest;
	struct gmm_page_filter filter;
	uint64_t limit; /* pages still to be evicted at most */
	struct gmm_range ranges[EVICT_RANGES];
	uint32_t count;
	uint64_t pages;
	gmm_gfn_t next; /* where the search goes on */
};

/* Puts a frame into the ranges; false: there is no room. */
static bool pick_frame(struct pick *pick, gmm_gfn_t gfn)
{
	struct gmm_range *last = pick->count ? &pick->ranges[pick->count - 1] : NULL;

	if (pick->pages == pick->limit)
		return false;
	if (last && last->end == gfn && last->end - last->start < GMM_RUN_PAGES)
		last->end++;
	else if (pick->count < EVICT_RANGES)
		pick->ranges[pick->count++] = (struct gmm_range){ gfn, gfn + 1 };
	else
		return false;
	pick->pages++;
	return true;
}

static int pick_table(void *opaque, gmm_gfn_t gfn, uint64_t *entries, uint32_t count)
{
	struct pick *pick = opaque;
	uint64_t leased[GMM_LEASED_FRAMES / 64];
	uint32_t i;

	GMM_STATIC_ASSERT(GMM_SOFT_TABLE_ENTRIES <= GMM_LEASED_FRAMES, "one look-up for a table");
	gmm_lease_frames(pick->guest, gfn, count, leased);

	for (i = 0; i < count; i++) {
		uint64_t value = gmm_load_acquire(&entries[i]);

		if ((value & pick->filter.all) != pick->filter.all || (value & pick->filter.none))
			continue;
		if ((leased[i / 64] >> (i % 64)) & 1) {
			gmm_count(pick->guest, lease_passed, 1);
			continue;
		}
		if (!pick_frame(pick, gfn + i)) {
			pick->next = gfn + i;
			return 1;
		}
	}
	return 0;
}

/* -GMM_EAGAIN: somebody has leased one of the pages since. */
static int64_t evict_picked(struct gmm_operation *operation, const struct pick *pick)
{
	struct gmm_guest *guest = operation->guest;
	int64_t evicted = 0;
	struct gmm_page_run run;
	uint32_t i;
	int error;

	gmm_step(GMM_STEP_EVICT_PICKED);
	error = gmm_invalidate_begin_flags(guest, GMM_RANGE_GFN, pick->ranges, pick->count,
					   GMM_INVALIDATE_FAULTS_GO_ON | GMM_INVALIDATE_NOT_LEASED,
					   NULL);
	if (error)
		return error;
	for (i = 0; i < pick->count && evicted >= 0; i++) {
		struct gmm_page_walk walk = { operation, pick->ranges[i].start,
					      pick->ranges[i].end - 1, .filter = pick->filter };

		while (evicted >= 0 && gmm_run_claim(&walk, &run)) {
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

struct evict_request {
	uint32_t flags;
	uint64_t limit; /* pages */
	gmm_gfn_t stop; /* where the limit was reached */
};

static int64_t evict_slot(struct gmm_operation *operation, void *context)
{
	struct evict_request *request = context;
	struct pick *pick;
	int64_t evicted = 0;
	gmm_gfn_t gfn = operation->node.start;

	if (!(operation->slot->config.memory_ops->flags & GMM_MEMORY_EVICTABLE))
		return -GMM_EOPNOTSUPP;
	pick = gmm_zalloc(sizeof(*pick));
	if (!pick)
		return -GMM_ENOMEM;
	pick->guest = operation->guest;
	pick->filter.all = GMM_PAGE_RESIDENT;
	pick->filter.none = GMM_PAGE_BUSY | (request->flags & GMM_EVICT_COLD ? GMM_PAGE_YOUNG : 0);
	while (gfn <= operation->node.last && evicted >= 0 && request->limit) {
		pick->limit = request->limit;
		pick->count = 0;
		pick->pages = 0;
		pick->next = operation->node.last + 1;
		gmm_stage2_visit(&operation->guest->stage2, gfn, operation->node.last - gfn + 1,
				 pick_table, pick);
		if (pick->count) {
			int64_t answer = evict_picked(operation, pick);

			if (answer == -GMM_EAGAIN)
				continue;
			evicted = answer < 0 ? answer : evicted + answer;
			request->limit -= answer < 0 ? 0 : (uint64_t)answer;
		}
		gfn = pick->next;
	}
	request->stop = gfn;
	gmm_free(pick, sizeof(*pick));
	return evicted;
}

int64_t gmm_evict(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count, uint32_t flags)
{
	struct evict_request request = { .flags = flags, .limit = ~(uint64_t)0 };
	int error = gmm_frames_check(guest, gfn, count);

	if (flags & ~GMM_EVICT_COLD)
		return -GMM_EINVAL;
	if (error)
		return error;
	return gmm_operation_over(guest, gfn, count, GMM_OPERATION_WAIT_SLOT, -GMM_ERANGE,
				  evict_slot, &request);
}

/* Discarding waits for busy pages: afterwards every page reads as zero. */
static int discard_stretch(struct gmm_operation *operation, struct gmm_page_run *run,
			   uint32_t first, uint32_t count)
{
	const struct gmm_slot_config *config = &operation->slot->config;
	uint32_t i;

	if (config->memory_ops->discard(config->memory, run_page(operation, run) + first, count))
		return -GMM_EIO;
	for (i = first; i < first + count; i++)
		run->values[i] = GMM_ORIGIN_ZERO;
	gmm_fetch_add(&operation->guest->resident, -(uint64_t)count);
	return 0;
}

static int discard_run(struct gmm_operation *operation, struct gmm_page_run *run)
{
	struct gmm_guest *guest = operation->guest;
	struct gmm_slot *slot = operation->slot;
	int error = 0;
	uint32_t i;

	if (guest->config.stage2_ops)
		error = gmm_run_stretches(operation, run, GMM_PAGE_WRITABLE, protect_stretch);
	/* What is gone is gone, also when a later part fails: so it is in the log before. */
	if (slot->dirty)
		gmm_dirty_map_mark_range(slot->dirty, run->gfn - slot->by_gfn.start, run->count);
	if (!error)
		error = gmm_run_stretches(operation, run, GMM_PAGE_RESIDENT, discard_stretch);
	if (error)
		return error;
	for (i = 0; i < run->count; i++)
		run->values[i] = GMM_ORIGIN_ZERO;
	gmm_count(guest, discarded, run->count);
	gmm_trace(discard, guest, run->gfn, run->count);
	return 0;
}

static int64_t discard_slot(struct gmm_operation *operation, void *context)
{
	struct gmm_guest *guest = operation->guest;
	struct gmm_range range = { operation->node.start, operation->node.last + 1 };
	struct gmm_page_walk walk = { operation, range.start, range.end - 1, .wait = true };
	struct gmm_page_run run;
	int error;

	if (!(operation->slot->config.memory_ops->flags & GMM_MEMORY_EVICTABLE))
		return -GMM_EOPNOTSUPP;
	error = gmm_operation_populate_tables(operation);
	if (error)
		return error;
	error = gmm_invalidate_begin_flags(guest, GMM_RANGE_GFN, &range, 1,
					   GMM_INVALIDATE_FAULTS_GO_ON, NULL);
	if (error)
		return error;
	while (!error && gmm_run_claim(&walk, &run)) {
		error = discard_run(operation, &run);
		gmm_run_release(operation, &run);
	}
	gmm_invalidate_end_flags(guest, GMM_RANGE_GFN, &range, 1, GMM_INVALIDATE_FAULTS_GO_ON);
	return error;
}

int gmm_discard(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count)
{
	int error = gmm_frames_check(guest, gfn, count);

	if (error)
		return error;
	return (int)gmm_operation_over(guest, gfn, count, GMM_OPERATION_WAIT_SLOT, -GMM_ERANGE,
				       discard_slot, NULL);
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
	gmm_interval_for_each(node, &guest->slots.by_gfn, *gfn, ~(uint64_t)0) {
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

/* One stretch under the hand: what stayed cold since it last came by goes, the rest ages. */
static int64_t trim_stretch(struct gmm_guest *guest, uint64_t count, uint64_t target,
			    bool cold_only)
{
	uint64_t resident = gmm_resident_pages(guest);
	struct evict_request request = {
		.flags = cold_only ? GMM_EVICT_COLD : 0,
		/* Others may have made it fewer by now. */
		.limit = resident > target ? resident - target : 0,
	};
	int64_t evicted = gmm_operation_over(guest, guest->clock_hand, count,
					     GMM_OPERATION_TRY_SLOT, -GMM_ERANGE, evict_slot,
					     &request);
	int64_t aged;

	if (evicted < 0)
		return evicted;
	if (!request.limit)
		count = request.stop - guest->clock_hand;
	aged = count ? gmm_age_unless_changing(guest, guest->clock_hand, count) : 0;
	guest->clock_hand += count;
	return aged < 0 && aged != -GMM_EAGAIN ? aged : evicted;
}

/* Rounds in which only cold pages go; what the first one ages has the next to be used again. */
#define COLD_ROUNDS 3u

static int64_t trim(struct gmm_guest *guest, uint64_t target)
{
	int64_t evicted = 0;
	uint32_t rounds = 0;

	while (gmm_resident_pages(guest) > target && rounds <= COLD_ROUNDS) {
		uint64_t count;
		int64_t answer;

		if (!next_stretch(guest, &guest->clock_hand, &count)) {
			guest->clock_hand = 0;
			rounds++;
			continue;
		}
		answer = trim_stretch(guest, count, target, rounds < COLD_ROUNDS);
		if (answer >= 0) {
			evicted += answer;
			continue;
		}
		/*
		 * The slot has changed since it was found, or is changing: its owner may take long,
		 * and there is other memory.
		 */
		if (answer != -GMM_ERANGE && answer != -GMM_EOPNOTSUPP && answer != -GMM_EAGAIN)
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
	answer = trim(guest, target);
	gmm_store_release(&guest->trimming, 0u);
	return answer;
}
