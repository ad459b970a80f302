/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Pages that the memory no longer has though nobody here discarded them (W9). */
#include <guestmm/repair.h>

#include "bits.h"
#include "dirty_impl.h"
#include "page_impl.h"

static char *put_number(char *at, uint64_t number)
{
	char digits[20];
	uint32_t count = 0;

	do {
		digits[count++] = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	while (count)
		*at++ = digits[--count];
	return at;
}

static char *put_text(char *at, const char *text)
{
	while (*text)
		*at++ = *text++;
	return at;
}

static void report_lost(struct gmm_operation *operation, gmm_gfn_t gfn, uint32_t count)
{
	struct gmm_guest *guest = operation->guest;
	struct gmm_slot *slot = operation->slot;
	char line[128];
	char *end = line;

	gmm_count(guest, pages_lost, count);
	if (slot->dirty)
		gmm_dirty_map_mark_range(slot->dirty, gfn - slot->by_gfn.start, count);
	end = put_text(end, "lost: frames ");
	end = put_number(end, gfn);
	end = put_text(end, " + ");
	end = put_number(end, count);
	end = put_text(end, " were taken away by somebody else and read as zero now");
	*end = 0;
	gmm_log(guest, GMM_LOG_ERROR, line);
	if (guest->config.lost)
		guest->config.lost(guest->config.lost_opaque, gfn, count);
}

/* Each stretch of frames whose bits are set. */
static void report_all(struct gmm_operation *operation, gmm_gfn_t gfn, uint64_t lost)
{
	while (lost) {
		uint32_t first = (uint32_t)gmm_bits_lowest(lost);
		uint64_t rest = ~(lost >> first);
		uint32_t count = rest ? (uint32_t)gmm_bits_lowest(rest) : 64;

		report_lost(operation, gfn + first, count);
		lost &= first + count < 64 ? ~(uint64_t)0 << (first + count) : 0;
	}
}

/*
 * Resident pages of a run from `first` on; bit i of `gone` is about page first + i. A changed one stays
 * changed: caches that are still valid may write to it as soon as it is there again.
 */
static void take_back(struct gmm_operation *operation, struct gmm_page_run *run, uint32_t first,
		      uint64_t gone, struct gmm_repair_result *result)
{
	struct gmm_guest *guest = operation->guest;
	uint32_t i, lost = 0, repaired = 0;
	uint64_t changed = 0;

	for (i = first; i < run->count; i++) {
		if (!(gone >> (i - first) & 1))
			continue;
		if (run->values[i] & GMM_PAGE_CHANGED) {
			run->values[i] = GMM_ORIGIN_ZERO | GMM_PAGE_CHANGED;
			changed |= (uint64_t)1 << (i - first);
			lost++;
		} else {
			run->values[i] &= GMM_PAGE_ORIGIN_MASK;
			repaired++;
		}
	}
	gmm_fetch_add(&guest->resident, -(uint64_t)(lost + repaired));
	gmm_count(guest, pages_repaired, repaired);
	report_all(operation, run->gfn + first, changed);
	result->lost += lost;
	result->repaired += repaired;
}

int gmm_run_take_back_lost(struct gmm_operation *operation, struct gmm_page_run *run,
			   uint64_t which, struct gmm_repair_result *result)
{
	const struct gmm_slot_config *config = &operation->slot->config;
	uint64_t page = config->memory_page + (run->gfn - operation->slot->by_gfn.start);
	uint32_t first = 0;
	int error = 0;

	which |= GMM_PAGE_RESIDENT;
	while (config->memory_ops->lost && first < run->count && !error) {
		uint32_t end = first;
		uint64_t gone = 0;

		while (end < run->count && (run->values[end] & which) == which)
			end++;
		if (end > first)
			error = config->memory_ops->lost(config->memory, page + first, end - first,
							 &gone);
		if (!error && gone)
			take_back(operation, run, first, gone, result);
		first = end + 1;
	}
	return error ? -GMM_EIO : 0;
}

int gmm_run_ask_readable(struct gmm_operation *operation, struct gmm_page_run *run, uint64_t which,
			 struct gmm_repair_result *result)
{
	if (operation->slot->config.memory_ops->flags & GMM_MEMORY_AGEABLE)
		return 0;
	return gmm_run_take_back_lost(operation, run, which, result);
}

/* No cache is valid, so nobody has written to what is gone since. */
static void forget_changes(struct gmm_page_run *run)
{
	uint32_t i;

	for (i = 0; i < run->count; i++)
		if (!(run->values[i] & GMM_PAGE_RESIDENT))
			run->values[i] &= ~GMM_PAGE_CHANGED;
}

/* Faults go on: each page is owned while it is looked at. */
static int64_t repair_slot(struct gmm_operation *operation, void *context)
{
	struct gmm_guest *guest = operation->guest;
	struct gmm_range range = { operation->node.start, operation->node.last + 1 };
	struct gmm_page_walk walk = { operation, range.start, range.end - 1,
				      .filter.all = GMM_PAGE_RESIDENT, .wait = true };
	struct gmm_page_run run;
	int error = gmm_invalidate_begin_flags(guest, GMM_RANGE_GFN, &range, 1,
					       GMM_INVALIDATE_FAULTS_GO_ON, NULL);

	if (error)
		return error;
	while (!error && gmm_slot_is_lazy(operation->slot) && gmm_run_claim(&walk, &run)) {
		gmm_step(GMM_STEP_REPAIR_CLAIMED);
		error = gmm_run_take_back_lost(operation, &run, 0, context);
		forget_changes(&run);
		gmm_run_release(operation, &run);
	}
	gmm_invalidate_end_flags(guest, GMM_RANGE_GFN, &range, 1, GMM_INVALIDATE_FAULTS_GO_ON);
	return error;
}

int gmm_repair(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count,
	       struct gmm_repair_result *result)
{
	struct gmm_repair_result nobody = { 0 };
	int error = gmm_frames_check(guest, gfn, count);

	if (error)
		return error;
	return (int)gmm_operation_over(guest, gfn, count, GMM_OPERATION_WAIT_SLOT, 0, repair_slot,
				       result ? result : &nobody);
}
