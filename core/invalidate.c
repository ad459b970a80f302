/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <guestmm/vcpu.h>

#include <gmm_port/step.h>
#include <gmm_port/thread.h>

#include "cache_impl.h"
#include "guest_impl.h"
#include "lease_impl.h"

void gmm_invalidation_init(struct gmm_invalidation *invalidation)
{
	gmm_spin_init(&invalidation->lock, GMM_RANK_INVALIDATE);
	gmm_waitqueue_init(&invalidation->ended);
	gmm_waitqueue_init(&invalidation->unleased);
	gmm_interval_tree_init(&invalidation->caches[GMM_RANGE_HVA]);
	gmm_interval_tree_init(&invalidation->caches[GMM_RANGE_GFN]);
	gmm_interval_tree_init(&invalidation->operations);
}

void gmm_invalidation_destroy(struct gmm_invalidation *invalidation)
{
	gmm_waitqueue_destroy(&invalidation->unleased);
	gmm_waitqueue_destroy(&invalidation->ended);
	gmm_spin_destroy(&invalidation->lock);
}

/* Ends are inclusive, so a range up to the slot's last page needs no frame beyond it (G1). */
void gmm_invalidate_convert(const struct gmm_guest *guest, const struct gmm_slot *slot,
			    enum gmm_range_kind kind, uint64_t start, uint64_t last,
			    uint64_t *other_start, uint64_t *other_last)
{
	uint32_t shift = guest->hot.page_shift;

	if (kind == GMM_RANGE_HVA) {
		if (start < slot->by_hva.start)
			start = slot->by_hva.start;
		if (last > slot->by_hva.last)
			last = slot->by_hva.last;
		*other_start = slot->by_gfn.start + ((start - slot->by_hva.start) >> shift);
		*other_last = slot->by_gfn.start + ((last - slot->by_hva.start) >> shift);
	} else {
		if (start < slot->by_gfn.start)
			start = slot->by_gfn.start;
		if (last > slot->by_gfn.last)
			last = slot->by_gfn.last;
		*other_start = slot->by_hva.start + ((start - slot->by_gfn.start) << shift);
		*other_last = slot->by_hva.start + ((last - slot->by_gfn.start + 1) << shift) - 1;
	}
}

/* The frames of a slot that lie in [start, last] of either kind. */
static void frames_within(const struct gmm_guest *guest, const struct gmm_slot *slot,
			  enum gmm_range_kind kind, uint64_t start, uint64_t last, gmm_gfn_t *first,
			  gmm_gfn_t *end)
{
	if (kind == GMM_RANGE_HVA) {
		gmm_invalidate_convert(guest, slot, kind, start, last, first, end);
		return;
	}
	*first = start > slot->by_gfn.start ? start : slot->by_gfn.start;
	*end = last < slot->by_gfn.last ? last : slot->by_gfn.last;
}

/* [start, last] of a public range, in whole pages. */
static void normalize(const struct gmm_guest *guest, enum gmm_range_kind kind,
		      const struct gmm_range *range, uint64_t *start, uint64_t *last)
{
	uint64_t mask = ((uint64_t)1 << guest->hot.page_shift) - 1;

	*start = range->start;
	*last = range->end - 1;
	if (kind == GMM_RANGE_HVA) {
		*start &= ~mask;
		*last |= mask;
	}
}

struct gmm_active_range *gmm_invalidate_find(struct gmm_guest *guest, enum gmm_range_kind kind,
					     uint64_t start, uint64_t last, enum gmm_change change)
{
	struct gmm_invalidation *invalidation = &guest->invalidation;
	enum gmm_range_kind other = gmm_other_kind(kind);
	struct gmm_active_range *found = gmm_active_find(invalidation, kind, start, last, change);
	struct gmm_interval *node;

	if (found || !invalidation->active_count[other])
		return found;
	gmm_interval_for_each(node, gmm_slots_by(guest, kind), start, last) {
		uint64_t other_start, other_last;

		gmm_invalidate_convert(guest, gmm_slot_of_node(node, kind), kind, start, last,
				       &other_start, &other_last);
		found = gmm_active_find(invalidation, other, other_start, other_last, change);
		if (found)
			return found;
	}
	return NULL;
}

int gmm_invalidate_wait_locked(struct gmm_guest *guest, enum gmm_range_kind kind, uint64_t start,
			       uint64_t last, enum gmm_change change)
{
	while (gmm_invalidate_find(guest, kind, start, last, change)) {
		if (gmm_active_any_own(&guest->invalidation))
			return -GMM_EDEADLK;
		gmm_count(guest, range_waits, 1);
		gmm_step(GMM_STEP_INVALIDATE_WAIT);
		gmm_waitqueue_wait(&guest->invalidation.ended, &guest->invalidation.lock);
	}
	return 0;
}

bool gmm_invalidate_would_deadlock(struct gmm_guest *guest)
{
	bool own;

	if (gmm_section_inside(&guest->sections))
		return true;
	gmm_lock_invalidate(&guest->invalidation.lock);
	own = gmm_active_any_own(&guest->invalidation);
	gmm_unlock_invalidate(&guest->invalidation.lock);
	return own;
}

/* What begins */

struct begin_context {
	struct gmm_guest *guest;
	struct gmm_invalidate_result result;
	uint64_t kick[GMM_VCPUS_MAX / 64];
};

static void clear_caches(struct begin_context *context, enum gmm_range_kind kind, uint64_t start,
			 uint64_t last)
{
	struct gmm_guest *guest = context->guest;
	struct gmm_interval_tree *tree = &guest->invalidation.caches[kind];
	uint32_t page_shift = kind == GMM_RANGE_HVA ? guest->hot.page_shift : 0;
	uint32_t words = (guest->config.max_vcpus + 63) / 64;
	struct gmm_interval *node;
	uint64_t visited = tree->visited;

	gmm_interval_for_each(node, tree, start, last) {
		struct gmm_cache *cache = gmm_container_of(node, struct gmm_cache, node);

		if (gmm_cache_hit(cache, page_shift, words, start, last, context->kick))
			context->result.caches++;
		context->result.leased += cache->leases != 0;
	}
	context->result.nodes += (uint32_t)(tree->visited - visited);
}

/* Everything that knows a translation of the range: caches of both kinds, and the direct table. */
static void clear_range(struct begin_context *context, enum gmm_range_kind kind, uint64_t start,
			uint64_t last)
{
	struct gmm_guest *guest = context->guest;
	enum gmm_range_kind other = gmm_other_kind(kind);
	struct gmm_interval *node;

	clear_caches(context, kind, start, last);
	gmm_interval_for_each(node, gmm_slots_by(guest, kind), start, last) {
		struct gmm_slot *slot = gmm_slot_of_node(node, kind);
		uint64_t other_start, other_last;
		gmm_gfn_t first, end;

		gmm_invalidate_convert(guest, slot, kind, start, last, &other_start, &other_last);
		clear_caches(context, other, other_start, other_last);
		frames_within(guest, slot, kind, start, last, &first, &end);
		gmm_slot_table_hide(guest, slot, first, end - first + 1);
	}
}

/*
 * From now on faults of the range are held. Marks the operations that a change overtakes; returns
 * whether one of them is installing a translation now, which a change that may sleep waits for.
 */
static bool overtake_operations(struct gmm_guest *guest, gmm_gfn_t start, gmm_gfn_t last,
				bool waits)
{
	struct gmm_interval *node;
	bool installing = false;

	gmm_interval_for_each(node, &guest->invalidation.operations, start, last) {
		struct gmm_operation *operation =
			gmm_container_of(node, struct gmm_operation, node);

		/* What is waited for is no stale installation, and need not be undone. */
		if (!operation->installing || !waits)
			operation->overtaken = true;
		installing |= operation->installing;
	}
	return installing;
}

/* Drops the translations of resident memory; pages of lazy memory are taken by who changes them. */
static int drop_entries(void *context, gmm_gfn_t gfn, uint64_t *entries, uint32_t count)
{
	uint32_t i;

	for (i = 0; i < count; i++)
		gmm_store_release(&entries[i], (uint64_t)0);
	return 0;
}

static bool hold_range(struct gmm_guest *guest, enum gmm_range_kind kind, uint64_t start,
		       uint64_t last, bool waits)
{
	struct gmm_interval *node;
	bool installing = false;

	if (kind == GMM_RANGE_GFN)
		installing = overtake_operations(guest, start, last, waits);
	gmm_interval_for_each(node, gmm_slots_by(guest, kind), start, last) {
		struct gmm_slot *slot = gmm_slot_of_node(node, kind);
		gmm_gfn_t first, end;

		frames_within(guest, slot, kind, start, last, &first, &end);
		if (kind == GMM_RANGE_HVA)
			installing |= overtake_operations(guest, first, end, waits);
		if (!gmm_slot_is_lazy(slot) && !guest->table.table)
			gmm_stage2_visit(&guest->stage2, first, end - first + 1, drop_entries,
					 NULL);
	}
	return installing;
}

/* Whether a translation of one of the ranges is being installed. */
static bool hold_ranges(struct gmm_guest *guest, enum gmm_range_kind kind,
			const struct gmm_range *ranges, uint32_t count, bool waits)
{
	bool installing = false;
	uint32_t i;

	for (i = 0; i < count; i++) {
		uint64_t start, last;

		normalize(guest, kind, &ranges[i], &start, &last);
		installing |= hold_range(guest, kind, start, last, waits);
	}
	return installing;
}

static void hold_faults_locked(struct gmm_guest *guest, enum gmm_range_kind kind,
			       const struct gmm_range *ranges, uint32_t count, uint32_t flags)
	GMM_REQUIRES(gmm_rank_invalidate)
{
	struct gmm_invalidation *invalidation = &guest->invalidation;
	bool waits = !(flags & GMM_INVALIDATE_NONBLOCKING);
	uint32_t i;

	for (i = 0; i < count; i++) {
		uint64_t start, last;

		normalize(guest, kind, &ranges[i], &start, &last);
		gmm_active_hold(invalidation, kind, start, last, flags & GMM_INVALIDATE_SLOT);
	}
	/*
	 * An installation is short and waits for nobody; one that who may not sleep leaves behind
	 * undoes itself.
	 */
	while (hold_ranges(guest, kind, ranges, count, waits) && waits) {
		invalidation->drainers++;
		gmm_waitqueue_wait(&invalidation->ended, &invalidation->lock);
		invalidation->drainers--;
	}
}

static void hold_faults(struct gmm_guest *guest, enum gmm_range_kind kind,
			const struct gmm_range *ranges, uint32_t count, uint32_t flags)
{
	gmm_lock_invalidate(&guest->invalidation.lock);
	hold_faults_locked(guest, kind, ranges, count, flags);
	gmm_unlock_invalidate(&guest->invalidation.lock);
	gmm_invalidate_drop(guest, kind, ranges, count);
}

static void kick_users(struct begin_context *context, uint32_t flags)
{
	struct gmm_guest *guest = context->guest;
	bool wait = !(flags & GMM_INVALIDATE_NONBLOCKING);
	uint32_t words = (guest->config.max_vcpus + 63) / 64;
	uint32_t any = 0, i;
	int kicked;

	for (i = 0; i < words; i++)
		any |= context->kick[i] != 0;
	if (!any)
		return;
	gmm_step(GMM_STEP_INVALIDATE_KICK);
	kicked = gmm_vcpus_request(guest, context->kick, words, GMM_REQUEST_NONE,
				   wait ? GMM_REQUEST_WAIT : 0);
	if (kicked <= 0)
		return;
	context->result.kicked = (uint32_t)kicked;
	if (!wait) {
		gmm_count(guest, nonblocking_in_guest, kicked);
		gmm_warn_once(
			guest, GMM_WARN_NONBLOCKING_IN_GUEST,
			"a non-blocking invalidation found a vCPU in guest mode that uses the frame");
	}
}

/* Sleeps until the I/O into the ranges is over; its faults are still served. */
static void wait_leases(struct begin_context *context, enum gmm_range_kind kind,
			const struct gmm_range *ranges, uint32_t count, uint32_t flags)
{
	struct gmm_guest *guest = context->guest;
	uint32_t i;

	if (!context->result.leased)
		return;
	if (flags & GMM_INVALIDATE_NONBLOCKING) {
		gmm_count(guest, nonblocking_leased, context->result.leased);
		gmm_warn_once(guest, GMM_WARN_NONBLOCKING_LEASED,
			      "a non-blocking invalidation found a lease on the frames");
		return;
	}
	for (i = 0; i < count; i++) {
		uint64_t start, last;

		normalize(guest, kind, &ranges[i], &start, &last);
		gmm_lease_wait(guest, kind, start, last);
	}
}

/* Whether one of the ranges is leased. Under the lock. */
static bool any_leased(struct gmm_guest *guest, enum gmm_range_kind kind,
		       const struct gmm_range *ranges, uint32_t count)
	GMM_REQUIRES(gmm_rank_invalidate)
{
	uint32_t i;

	for (i = 0; i < count; i++) {
		uint64_t start, last;

		normalize(guest, kind, &ranges[i], &start, &last);
		if (gmm_lease_any(guest, kind, start, last))
			return true;
	}
	return false;
}

/*
 * A slot's change that holds faults waits for other changes of its frames (G5), and this one may be
 * about to wait for a vCPU in such a fault: so it waits first, when it is nobody's yet.
 */
static void wait_slots_locked(struct gmm_guest *guest, const struct gmm_range *ranges,
			      uint32_t count) GMM_REQUIRES(gmm_rank_invalidate)
{
	struct gmm_invalidation *invalidation = &guest->invalidation;
	uint32_t i = 0;

	while (i < count) {
		if (!gmm_active_is_held(invalidation, ranges[i].start, ranges[i].end - 1)) {
			i++;
			continue;
		}
		gmm_count(guest, range_waits, 1);
		gmm_waitqueue_wait(&invalidation->ended, &invalidation->lock);
		i = 0;
	}
}

/* Misuse, found before anything changes. */
static int check_begin(struct gmm_guest *guest, const struct gmm_range *ranges, uint32_t count,
		       uint32_t flags)
{
	uint32_t i;

	for (i = 0; i < count; i++)
		if (ranges[i].end <= ranges[i].start)
			return -GMM_EINVAL;
	if (!count)
		return -GMM_EINVAL;
	if (flags & (GMM_INVALIDATE_NONBLOCKING | GMM_INVALIDATE_NESTED))
		return gmm_section_inside(&guest->sections) ? -GMM_EDEADLK : 0;
	return gmm_invalidate_would_deadlock(guest) ? -GMM_EDEADLK : 0;
}

int gmm_invalidate_begin_flags(struct gmm_guest *guest, enum gmm_range_kind kind,
			       const struct gmm_range *ranges, uint32_t count, uint32_t flags,
			       struct gmm_invalidate_result *result)
{
	struct gmm_invalidation *invalidation = &guest->invalidation;
	struct begin_context context = { .guest = guest };
	int error = check_begin(guest, ranges, count, flags);
	uint32_t i;

	if (error)
		return error;
	gmm_lock_invalidate(&invalidation->lock);
	if (kind == GMM_RANGE_GFN && !(flags & (GMM_INVALIDATE_NONBLOCKING | GMM_INVALIDATE_SLOT)))
		wait_slots_locked(guest, ranges, count);
	if ((flags & GMM_INVALIDATE_NOT_LEASED) && any_leased(guest, kind, ranges, count)) {
		gmm_unlock_invalidate(&invalidation->lock);
		return -GMM_EAGAIN;
	}
	for (i = 0; i < count; i++) {
		uint64_t start, last;

		normalize(guest, kind, &ranges[i], &start, &last);
		gmm_active_add(guest, kind, start, last, flags & GMM_INVALIDATE_SLOT);
		if (!(flags & GMM_INVALIDATE_SLOT))
			gmm_active_intrude(invalidation, kind, start, last, true);
		clear_range(&context, kind, start, last);
	}
	gmm_unlock_invalidate(&invalidation->lock);
	gmm_count(guest, invalidations, count);
	gmm_count(guest, cache_invalidations, context.result.caches);
	gmm_count(guest, cache_nodes, context.result.nodes);
	gmm_trace(invalidate_begin, guest, kind, ranges[0].start, ranges[0].end, count,
		  context.result.caches);
	gmm_step(GMM_STEP_INVALIDATE_REGISTERED);
	/*
	 * Even when no cache was valid: another change may have cleared it and be waiting still.
	 * The same for vCPUs, whose sets are collected from invalid caches too.
	 */
	gmm_step(GMM_STEP_INVALIDATE_READERS);
	if (!gmm_leaves_out(guest, GMM_LEAVE_OUT_SECTIONS) &&
	    gmm_section_domain_wait(&guest->sections))
		gmm_count(guest, reader_waits, 1);
	kick_users(&context, flags);
	wait_leases(&context, kind, ranges, count, flags);
	if (flags & GMM_INVALIDATE_SLOT)
		for (i = 0; i < count; i++)
			gmm_operation_drain(guest, ranges[i].start, ranges[i].end - 1, false);
	if (!(flags & GMM_INVALIDATE_FAULTS_GO_ON))
		hold_faults(guest, kind, ranges, count, flags);
	gmm_step(GMM_STEP_INVALIDATE_CHANGING);
	if (result)
		*result = context.result;
	return 0;
}

void gmm_invalidate_hold(struct gmm_guest *guest, const struct gmm_range *ranges, uint32_t count)
{
	uint32_t i;

	gmm_invalidate_lock_alone(guest, ranges, count);
	gmm_active_set_held(&guest->invalidation, ranges, count);
	hold_faults_locked(guest, GMM_RANGE_GFN, ranges, count, GMM_INVALIDATE_SLOT);
	gmm_unlock_invalidate(&guest->invalidation.lock);
	gmm_invalidate_drop(guest, GMM_RANGE_GFN, ranges, count);
	for (i = 0; i < count; i++)
		gmm_operation_drain(guest, ranges[i].start, ranges[i].end - 1, true);
}

/*
 * While it holds faults it may wait only for who waits for nobody: an entry of the table that has
 * been merged may reach these frames by a change of others that waits for a vCPU in such a fault.
 */
static bool others_change(struct gmm_invalidation *invalidation, const struct gmm_range *range)
{
	if (invalidation->held_count)
		return invalidation->intruders;
	return gmm_active_find(invalidation, GMM_RANGE_GFN, range->start, range->end - 1,
			       GMM_CHANGE_NO_SLOT);
}

void gmm_invalidate_lock_alone(struct gmm_guest *guest, const struct gmm_range *ranges,
			       uint32_t count) GMM_NO_ANALYSIS
{
	struct gmm_invalidation *invalidation = &guest->invalidation;
	uint32_t i = 0;

	gmm_lock_invalidate(&invalidation->lock);
	while (i < count) {
		if (!others_change(invalidation, &ranges[i])) {
			i++;
			continue;
		}
		gmm_waitqueue_wait(&invalidation->ended, &invalidation->lock);
		i = 0;
	}
}

int gmm_invalidate_begin(struct gmm_guest *guest, enum gmm_range_kind kind,
			 const struct gmm_range *ranges, uint32_t count, uint32_t flags,
			 struct gmm_invalidate_result *result)
{
	if (flags & ~GMM_INVALIDATE_NONBLOCKING || (kind != GMM_RANGE_HVA && kind != GMM_RANGE_GFN))
		return -GMM_EINVAL;
	return gmm_invalidate_begin_flags(guest, kind, ranges, count, flags, result);
}

/* What ends */

/*
 * Lets vCPUs go on whose faults were held in a range. Whoever is woken although its range is being
 * changed again, or is another slot's by now, just faults again.
 */
static void wake_held(struct gmm_guest *guest, enum gmm_range_kind kind, uint64_t start,
		      uint64_t last)
{
	const struct gmm_stage2_ops *ops = guest->config.stage2_ops;
	bool more = ops;

	while (more) {
		struct gmm_interval *node;
		struct gmm_span span;

		gmm_lock_invalidate(&guest->invalidation.lock);
		node = gmm_interval_first(gmm_slots_by(guest, kind), start, last);
		if (node) {
			struct gmm_slot *slot = gmm_slot_of_node(node, kind);
			gmm_gfn_t first, end;

			frames_within(guest, slot, kind, start, last, &first, &end);
			span = gmm_slot_span(guest, slot, first, end - first + 1);
			start = node->last + 1;
		}
		more = node && node->last < last;
		gmm_unlock_invalidate(&guest->invalidation.lock);
		if (node)
			ops->wake(guest->config.stage2_owner, &span);
	}
}

static void show_range(struct gmm_guest *guest, enum gmm_range_kind kind, uint64_t start,
		       uint64_t last)
{
	struct gmm_interval *node;

	gmm_interval_for_each(node, gmm_slots_by(guest, kind), start, last) {
		struct gmm_slot *slot = gmm_slot_of_node(node, kind);
		gmm_gfn_t first, end;

		frames_within(guest, slot, kind, start, last, &first, &end);
		gmm_slot_table_show(guest, slot, first, end - first + 1);
	}
}

/* Takes one range out. Returns whether faults were held in it, and where. */
static bool end_range(struct gmm_guest *guest, enum gmm_range_kind kind, uint32_t flags,
		      uint64_t *start, uint64_t *last)
{
	struct gmm_invalidation *invalidation = &guest->invalidation;
	bool holding = !(flags & GMM_INVALIDATE_FAULTS_GO_ON);
	bool slots = flags & GMM_INVALIDATE_SLOT;
	struct gmm_active_range *active;
	bool wake = false;

	gmm_lock_invalidate(&invalidation->lock);
	if (!slots)
		gmm_active_intrude(invalidation, kind, *start, *last, false);
	active = gmm_active_of(invalidation, kind, *start, *last, holding, slots);
	if (!active) {
		gmm_unlock_invalidate(&invalidation->lock);
		gmm_warn_once(guest, GMM_WARN_END_WITHOUT_BEGIN,
			      "the end of a change that did not begin");
		gmm_assert(false);
		return false;
	}
	*start = active->start;
	*last = active->last;
	gmm_active_remove(invalidation, kind, active, holding, slots);
	if (holding && !active->holding) {
		wake = active->held;
		active->held = false;
	}
	/* Merged changes share an entry: only the last of them makes anything visible again. */
	if (!active->count)
		show_range(guest, kind, *start, *last);
	gmm_unlock_invalidate(&invalidation->lock);
	return wake;
}

/* Who waited for that before it began is woken by the caller. */
static void end_held(struct gmm_guest *guest)
{
	gmm_lock_invalidate(&guest->invalidation.lock);
	gmm_active_set_held(&guest->invalidation, NULL, 0);
	gmm_unlock_invalidate(&guest->invalidation.lock);
}

void gmm_invalidate_end_flags(struct gmm_guest *guest, enum gmm_range_kind kind,
			      const struct gmm_range *ranges, uint32_t count, uint32_t flags)
{
	uint32_t i;

	gmm_step(GMM_STEP_INVALIDATE_END);
	gmm_trace(invalidate_end, guest, kind, ranges[0].start, ranges[0].end, count);
	for (i = 0; i < count; i++) {
		uint64_t start, last;

		normalize(guest, kind, &ranges[i], &start, &last);
		if (end_range(guest, kind, flags, &start, &last) &&
		    !gmm_leaves_out(guest, GMM_LEAVE_OUT_WAKE))
			wake_held(guest, kind, start, last);
	}
	if ((flags & GMM_INVALIDATE_SLOT) && !(flags & GMM_INVALIDATE_FAULTS_GO_ON))
		end_held(guest);
	gmm_waitqueue_wake_all(&guest->invalidation.ended);
}

void gmm_invalidate_unhold(struct gmm_guest *guest, const struct gmm_range *ranges, uint32_t count)
{
	struct gmm_invalidation *invalidation = &guest->invalidation;
	uint32_t i;

	for (i = 0; i < count; i++) {
		struct gmm_active_range *active;
		uint64_t start, last;
		bool wake;

		gmm_lock_invalidate(&invalidation->lock);
		active = gmm_active_of(invalidation, GMM_RANGE_GFN, ranges[i].start,
				       ranges[i].end - 1, true, true);
		active->holding--;
		active->holding_slots--;
		wake = active->held && !active->holding;
		if (wake)
			active->held = false;
		start = active->start;
		last = active->last;
		gmm_unlock_invalidate(&invalidation->lock);
		if (wake && !gmm_leaves_out(guest, GMM_LEAVE_OUT_WAKE))
			wake_held(guest, GMM_RANGE_GFN, start, last);
	}
	end_held(guest);
	gmm_waitqueue_wake_all(&invalidation->ended);
}

void gmm_invalidate_end(struct gmm_guest *guest, enum gmm_range_kind kind,
			const struct gmm_range *ranges, uint32_t count)
{
	gmm_invalidate_end_flags(guest, kind, ranges, count, 0);
}

int gmm_invalidate_wait(struct gmm_guest *guest, enum gmm_range_kind kind, struct gmm_range range)
{
	uint64_t start, last;
	int error;

	if (range.end <= range.start)
		return -GMM_EINVAL;
	if (gmm_section_inside(&guest->sections))
		return -GMM_EDEADLK;
	normalize(guest, kind, &range, &start, &last);
	gmm_lock_invalidate(&guest->invalidation.lock);
	error = gmm_invalidate_wait_locked(guest, kind, start, last, GMM_CHANGE_ANY);
	gmm_unlock_invalidate(&guest->invalidation.lock);
	return error;
}
