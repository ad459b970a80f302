/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Every change of the process's mappings is a non-blocking invalidation: nobody is waited for but
 * accesses under way, so it makes no difference whether the kernel allows to sleep (W3, P34), and
 * a task that changes something while it changes something else is no deadlock.
 */
#include <linux/mm.h>
#include <linux/preempt.h>
#include <linux/sched.h>

#include <gmm_port/debug.h>

#include "device_impl.h"

static const struct gmm_range all_addresses = { 0, ~0ull };

void gmm_device_changes_init(struct gmm_device_changes *changes)
{
	spin_lock_init(&changes->lock);
}

/* Notes a change, or that it is one of those that are told as one of all addresses. */
static struct gmm_range note_begin(struct gmm_device_changes *changes, struct gmm_range range)
{
	unsigned int i;

	spin_lock(&changes->lock);
	for (i = 0; i < GMM_DEVICE_CHANGES && changes->ranges[i].end; i++)
		;
	if (i < GMM_DEVICE_CHANGES) {
		changes->ranges[i] = range;
	} else {
		changes->merged++;
		atomic64_inc(&changes->begins_merged);
		range = all_addresses;
	}
	spin_unlock(&changes->lock);
	return range;
}

/* Two changes of the same range may end for each other. */
static struct gmm_range note_end(struct gmm_device_changes *changes, struct gmm_range range)
{
	unsigned int i;

	spin_lock(&changes->lock);
	for (i = 0; i < GMM_DEVICE_CHANGES; i++)
		if (changes->ranges[i].start == range.start && changes->ranges[i].end == range.end)
			break;
	if (i < GMM_DEVICE_CHANGES) {
		changes->ranges[i].end = 0;
	} else if (!WARN_ON_ONCE(!changes->merged)) {
		changes->merged--;
		range = all_addresses;
	} else {
		range.end = 0;
	}
	spin_unlock(&changes->lock);
	return range;
}

/* In debug builds whoever sleeps, allocates or takes a sleeping lock in there is noticed. */
static void begin(struct gmm_device *device, struct gmm_range range)
{
	int error;

	if (GMM_DEBUG) {
		preempt_disable();
		gmm_debug_section_enter();
	}
	error = gmm_invalidate_begin(device->guest, GMM_RANGE_HVA, &range, 1,
				     GMM_INVALIDATE_NONBLOCKING, NULL);
	WARN_ON_ONCE(error);
	if (GMM_DEBUG) {
		gmm_debug_section_exit();
		preempt_enable();
	}
}

static void end(struct gmm_device *device, struct gmm_range range)
{
	gmm_invalidate_end(device->guest, GMM_RANGE_HVA, &range, 1);
}

static int invalidate_range_start(struct mmu_notifier *notifier,
				  const struct mmu_notifier_range *range)
{
	struct gmm_device *device = container_of(notifier, struct gmm_device, notifier);
	struct gmm_range changed = { range->start, range->end };

	if (changed.end <= changed.start)
		return 0;
	atomic64_inc(&device->changes.begins);
	if (!mmu_notifier_range_blockable(range))
		atomic64_inc(&device->changes.begins_non_blocking);
	begin(device, note_begin(&device->changes, changed));
	return 0;
}

static void invalidate_range_end(struct mmu_notifier *notifier,
				 const struct mmu_notifier_range *range)
{
	struct gmm_device *device = container_of(notifier, struct gmm_device, notifier);
	struct gmm_range changed = { range->start, range->end };

	if (changed.end <= changed.start)
		return;
	atomic64_inc(&device->changes.ends);
	changed = note_end(&device->changes, changed);
	if (changed.end)
		end(device, changed);
}

/*
 * The address space goes, or the notifier: from now on nothing is told. Nobody can refresh any
 * more, since only tasks of this address space may.
 */
static void release(struct mmu_notifier *notifier, struct mm_struct *mm)
{
	struct gmm_device *device = container_of(notifier, struct gmm_device, notifier);

	(void)mm;
	begin(device, all_addresses);
	end(device, all_addresses);
}

static const struct mmu_notifier_ops notifier_ops = {
	.invalidate_range_start = invalidate_range_start,
	.invalidate_range_end = invalidate_range_end,
	.release = release,
};

/* The kernel holds all locks under which changes are made meanwhile: no end comes without begin. */
int gmm_device_watch(struct gmm_device *device)
{
	device->notifier.ops = &notifier_ops;
	return mmu_notifier_register(&device->notifier, current->mm);
}

void gmm_device_unwatch(struct gmm_device *device)
{
	struct gmm_device_changes *changes = &device->changes;
	unsigned int i;

	mmu_notifier_unregister(&device->notifier, device->notifier.mm);
	for (i = 0; i < GMM_DEVICE_CHANGES; i++)
		if (changes->ranges[i].end)
			end(device, changes->ranges[i]);
	for (; changes->merged; changes->merged--)
		end(device, all_addresses);
}
