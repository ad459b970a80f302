/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <gmm_port/thread.h>

#include "guest_impl.h"

static bool blocked(struct gmm_guest *guest, gmm_gfn_t gfn, gmm_gfn_t last,
		    enum gmm_operation_wait wait, struct gmm_active_range **active)
{
	enum gmm_change change = wait == GMM_OPERATION_NO_WAIT ? GMM_CHANGE_HOLDING :
				 wait == GMM_OPERATION_WAIT_SLOT || wait == GMM_OPERATION_TRY_SLOT ?
								 GMM_CHANGE_SLOT :
								 GMM_CHANGE_ANY;

	*active = gmm_invalidate_find(guest, GMM_RANGE_GFN, gfn, last, change);
	return *active;
}

/* Finds the slot when nothing stands in the way. Under the lock. -GMM_EAGAIN: wait for *active. */
static int try_begin(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count,
		     enum gmm_operation_wait wait, struct gmm_operation *operation,
		     struct gmm_active_range **active)
{
	struct gmm_slot *slot = gmm_slot_find(guest, gfn);
	gmm_gfn_t last = gfn + count - 1;

	if (slot && last > slot->by_gfn.last)
		last = slot->by_gfn.last;
	if (blocked(guest, gfn, slot ? last : gfn, wait, active))
		return -GMM_EAGAIN;
	if (!slot)
		return -GMM_EFAULT;
	operation->node.start = gfn;
	operation->node.last = last;
	operation->slot = slot;
	gmm_interval_insert(&guest->invalidation.operations, &operation->node);
	return 0;
}

int gmm_operation_begin(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count,
			enum gmm_operation_wait wait, struct gmm_operation *operation)
{
	struct gmm_invalidation *invalidation = &guest->invalidation;
	struct gmm_active_range *active;
	int error;

	if (!count || gfn + count - 1 < gfn)
		return -GMM_EFAULT;
	if (wait != GMM_OPERATION_NO_WAIT && gmm_section_inside(&guest->sections))
		return -GMM_EDEADLK;
	*operation =
		(struct gmm_operation){ .guest = guest, .may_wait = wait != GMM_OPERATION_NO_WAIT };
	gmm_lock_invalidate(&invalidation->lock);
	for (;;) {
		error = try_begin(guest, gfn, count, wait, operation, &active);
		if (error != -GMM_EAGAIN)
			break;
		if (wait == GMM_OPERATION_NO_WAIT)
			active->held = true;
		if (wait == GMM_OPERATION_NO_WAIT || wait == GMM_OPERATION_TRY_ALL ||
		    wait == GMM_OPERATION_TRY_SLOT)
			break;
		if (gmm_active_any_own(invalidation)) {
			error = -GMM_EDEADLK;
			break;
		}
		gmm_count(guest, range_waits, 1);
		gmm_waitqueue_wait(&invalidation->ended, &invalidation->lock);
	}
	gmm_unlock_invalidate(&invalidation->lock);
	return error;
}

int gmm_operation_begin_at(struct gmm_guest *guest, gmm_hva_t hva, struct gmm_operation *operation)
{
	struct gmm_invalidation *invalidation = &guest->invalidation;
	struct gmm_active_range *active;
	struct gmm_interval *node;
	struct gmm_slot *slot;
	int error = -GMM_EFAULT;

	*operation = (struct gmm_operation){ .guest = guest };
	gmm_lock_invalidate(&invalidation->lock);
	node = gmm_interval_first(&guest->slots.by_hva, hva, hva);
	if (node) {
		slot = gmm_container_of(node, struct gmm_slot, by_hva);
		error = try_begin(
			guest, slot->by_gfn.start + ((hva - node->start) >> guest->hot.page_shift),
			1, GMM_OPERATION_NO_WAIT, operation, &active);
		if (error == -GMM_EAGAIN)
			active->held = true;
	}
	gmm_unlock_invalidate(&invalidation->lock);
	return error;
}

void gmm_operation_open_locked(struct gmm_guest *guest, struct gmm_slot *slot, gmm_gfn_t start,
			       gmm_gfn_t last, struct gmm_operation *operation)
{
	gmm_spin_assert_held(&guest->invalidation.lock);
	*operation = (struct gmm_operation){
		.guest = guest,
		.slot = slot,
		.node = { .start = start, .last = last },
	};
	gmm_interval_insert(&guest->invalidation.operations, &operation->node);
}

/* Where the next slot behind a frame begins, at most `last` + 1. */
static gmm_gfn_t next_slot_start(struct gmm_guest *guest, gmm_gfn_t gfn, gmm_gfn_t last)
{
	struct gmm_interval *node;
	gmm_gfn_t next = last + 1;

	gmm_lock_invalidate(&guest->invalidation.lock);
	node = gmm_interval_first(&guest->slots.by_gfn, gfn, last);
	if (node)
		next = node->start > gfn ? node->start : gfn;
	gmm_unlock_invalidate(&guest->invalidation.lock);
	return next;
}

int64_t gmm_operation_over(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count,
			   enum gmm_operation_wait wait, int hole_error, gmm_operation_fn fn,
			   void *context)
{
	gmm_gfn_t last = gfn + count - 1;
	int64_t sum = 0;

	while (gfn <= last) {
		struct gmm_operation operation;
		int64_t answer = gmm_operation_begin(guest, gfn, last - gfn + 1, wait, &operation);

		if (answer == -GMM_EFAULT && !hole_error) {
			gfn = next_slot_start(guest, gfn, last);
			continue;
		}
		if (answer)
			return answer == -GMM_EFAULT ? hole_error : answer;
		gfn = operation.node.last + 1;
		answer = fn(&operation, context);
		gmm_operation_end(&operation);
		if (answer < 0)
			return answer;
		sum += answer;
	}
	return sum;
}

static void wake_drainers(struct gmm_invalidation *invalidation)
{
	if (invalidation->drainers)
		gmm_waitqueue_wake_all(&invalidation->ended);
}

void gmm_operation_end(struct gmm_operation *operation)
{
	struct gmm_invalidation *invalidation = &operation->guest->invalidation;

	gmm_lock_invalidate(&invalidation->lock);
	gmm_interval_remove(&invalidation->operations, &operation->node);
	wake_drainers(invalidation);
	gmm_unlock_invalidate(&invalidation->lock);
}

bool gmm_operation_install(struct gmm_operation *operation)
{
	struct gmm_guest *guest = operation->guest;
	struct gmm_active_range *active;
	bool may;

	gmm_lock_invalidate(&guest->invalidation.lock);
	may = !operation->overtaken || gmm_leaves_out(guest, GMM_LEAVE_OUT_RETRY);
	operation->installing = may;
	if (!may) {
		/*
		 * The change may be over: then the vCPU is let go at once by who releases the page.
		 */
		active = gmm_invalidate_find(guest, GMM_RANGE_GFN, operation->node.start,
					     operation->node.last, GMM_CHANGE_HOLDING);
		if (active)
			active->held = true;
	}
	gmm_unlock_invalidate(&guest->invalidation.lock);
	return may;
}

bool gmm_operation_installed(struct gmm_operation *operation)
{
	struct gmm_invalidation *invalidation = &operation->guest->invalidation;
	bool good;

	gmm_lock_invalidate(&invalidation->lock);
	operation->installing = false;
	good = !operation->overtaken || gmm_leaves_out(operation->guest, GMM_LEAVE_OUT_RETRY);
	wake_drainers(invalidation);
	gmm_unlock_invalidate(&invalidation->lock);
	return good;
}

static bool any_operation(struct gmm_invalidation *invalidation, gmm_gfn_t start, gmm_gfn_t last,
			  bool all)
{
	struct gmm_interval *node;

	gmm_interval_for_each(node, &invalidation->operations, start, last)
		if (all || gmm_container_of(node, struct gmm_operation, node)->may_wait)
			return true;
	return false;
}

void gmm_operation_drain(struct gmm_guest *guest, gmm_gfn_t start, gmm_gfn_t last, bool all)
{
	struct gmm_invalidation *invalidation = &guest->invalidation;

	gmm_lock_invalidate(&invalidation->lock);
	while (any_operation(invalidation, start, last, all)) {
		invalidation->drainers++;
		gmm_waitqueue_wait(&invalidation->ended, &invalidation->lock);
		invalidation->drainers--;
	}
	gmm_unlock_invalidate(&invalidation->lock);
}
