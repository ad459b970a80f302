/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* KVM's memory slots. */
#include "slots_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#define PAGE_SHIFT KVM_SLOTS_PAGE_SHIFT
/* How often a change that failed is undone before it stays. */
#define UNDO_TURNS 8u

static uint32_t kvm_flags(uint32_t flags)
{
	return (flags & GMM_SLOT_LOG_DIRTY ? KVM_MEM_LOG_DIRTY_PAGES : 0) |
	       (flags & GMM_SLOT_READ_ONLY ? KVM_MEM_READONLY : 0);
}

static int set_region_by_file(struct gmm_kvm_slots *owner, const struct gmm_slot_info *info,
			      uint64_t count)
{
	struct kvm_userspace_memory_region2 region = {
		.slot = info->id,
		.flags = kvm_flags(info->flags) | KVM_MEM_GUEST_MEMFD,
		.guest_phys_addr = info->gfn << PAGE_SHIFT,
		.memory_size = count << PAGE_SHIFT,
		.userspace_addr = info->hva,
		.guest_memfd = (uint32_t)info->memory_ops->descriptor(info->memory),
		.guest_memfd_offset = info->memory_page << PAGE_SHIFT,
	};

	return ioctl(owner->config.vm, KVM_SET_USER_MEMORY_REGION2, &region);
}

static int set_region_by_address(struct gmm_kvm_slots *owner, const struct gmm_slot_info *info,
				 uint64_t count)
{
	struct kvm_userspace_memory_region region = {
		.slot = info->id,
		.flags = kvm_flags(info->flags),
		.guest_phys_addr = info->gfn << PAGE_SHIFT,
		.memory_size = count << PAGE_SHIFT,
		.userspace_addr = info->hva,
	};

	return ioctl(owner->config.vm, KVM_SET_USER_MEMORY_REGION, &region);
}

static int set_region(struct gmm_kvm_slots *owner, const struct gmm_slot_info *info, uint64_t count)
{
	bool by_file = kvm_memory_has(info->memory_ops, GMM_MEMORY_BY_FILE);

	if ((by_file ? set_region_by_file(owner, info, count) :
		       set_region_by_address(owner, info, count)) == 0)
		return 0;
	switch (errno) {
	case EEXIST:
		return -GMM_EEXIST;
	case EINVAL:
		return -GMM_EINVAL;
	case ENOMEM:
		return -GMM_ENOMEM;
	default:
		return -GMM_EIO;
	}
}

static void slot_free(struct kvm_slot *slot)
{
	if (slot)
		gmm_kvm_slot_log_free(slot);
	free(slot);
}

static struct kvm_slot *slot_make(const struct gmm_kvm_slots *owner,
				  const struct gmm_slot_info *info)
{
	struct kvm_slot *slot = calloc(1, sizeof(*slot));

	if (!slot)
		return NULL;
	slot->info = *info;
	if (gmm_kvm_slot_log_make(owner, slot)) {
		slot_free(slot);
		return NULL;
	}
	return slot;
}

/* Tells KVM; count 0: it has none any more. What it refuses changes nothing there. */
static int tell(struct gmm_kvm_slots *owner, struct kvm_slot *slot,
		const struct gmm_slot_info *info, uint64_t count)
{
	int error = set_region(owner, info, count);

	if (error)
		return error;
	slot->told = *info;
	slot->told.count = count;
	return 0;
}

static bool is_told(const struct kvm_slot *slot)
{
	return slot->told.count == slot->info.count && slot->told.gfn == slot->info.gfn;
}

/*
 * KVM moves a slot and changes its log in one call; everything else is delete and add, as is every
 * change of a slot of guest_memfd.
 */
static bool changes_in_place(const struct gmm_slot_info *old, const struct gmm_slot_info *now)
{
	return old->hva == now->hva && old->count == now->count &&
	       !((old->flags ^ now->flags) & GMM_SLOT_READ_ONLY) &&
	       !kvm_memory_has(now->memory_ops, GMM_MEMORY_BY_FILE);
}

static gmm_gfn_t end_of(const struct gmm_slot_info *info)
{
	return info->gfn + info->count;
}

/* A frame behind all that the guest has, and that it may have as far as that is known. */
static gmm_gfn_t frame_out_of_reach(const struct gmm_kvm_slots *owner)
{
	gmm_gfn_t frame = owner->config.gpa_bytes >> PAGE_SHIFT;
	uint32_t i;

	for (i = 0; i < owner->slots_max; i++) {
		const struct kvm_slot *slot = owner->slots[i];

		if (slot && end_of(&slot->info) > frame)
			frame = end_of(&slot->info);
		if (slot && end_of(&slot->told) > frame)
			frame = end_of(&slot->told);
	}
	return frame;
}

/*
 * Deleting a slot frees KVM's log, also what was written since it was read. So the slot is moved out
 * of the guest's reach first, its log read there, and then it is deleted.
 */
static int take_away(struct gmm_kvm_slots *owner, struct kvm_slot *slot)
{
	struct gmm_slot_info parked = slot->told;
	int error = 0;

	if (!slot->told.count)
		return 0;
	if (slot->log) {
		parked.gfn = frame_out_of_reach(owner);
		error = tell(owner, slot, &parked, parked.count);
		if (!error)
			error = gmm_kvm_slot_log_save(owner, slot);
	}
	return error ? error : tell(owner, slot, &slot->told, 0);
}

/*
 * Only the host's lack of memory refuses what KVM had a moment ago. If that stays, the slot's next
 * change starts from what KVM has then.
 */
static int undo(struct gmm_kvm_slots *owner, struct kvm_slot *slot, int error)
{
	uint32_t turn;

	for (turn = 0; turn < UNDO_TURNS && !is_told(slot); turn++)
		tell(owner, slot, &slot->info, slot->info.count);
	return is_told(slot) ? error : -GMM_EIO;
}

/* Unless it is in place, an access to it meanwhile is one to MMIO. */
static int replace(struct gmm_kvm_slots *owner, struct kvm_slot *old, struct kvm_slot *now)
{
	int error;

	if (is_told(old) && changes_in_place(&old->info, &now->info))
		return tell(owner, now, &now->info, now->info.count);
	error = take_away(owner, old);
	if (!error)
		error = tell(owner, now, &now->info, now->info.count);
	return error ? undo(owner, old, error) : 0;
}

static int change_slot(struct gmm_kvm_slots *owner, struct kvm_slot *before, struct kvm_slot *after)
{
	int error = before ? gmm_kvm_slot_log_save(owner, before) : 0;

	if (error)
		return error;
	if (!before)
		return tell(owner, after, &after->info, after->info.count);
	if (after)
		return replace(owner, before, after);
	return before->told.count ? tell(owner, before, &before->told, 0) : 0;
}

static int change(struct gmm_kvm_slots *owner, const struct gmm_slot_info *old,
		  const struct gmm_slot_info *now)
{
	uint32_t id = old->count ? old->id : now->id;
	struct kvm_slot *before, *after = NULL;
	int error;

	if (id >= owner->slots_max)
		return -GMM_ENOSPC;
	before = owner->slots[id];
	if (now->count) {
		after = slot_make(owner, now);
		if (!after)
			return -GMM_ENOMEM;
	}
	if (!before && !after)
		return 0;
	error = change_slot(owner, before, after);
	if (error) {
		slot_free(after);
		return error;
	}
	if (before && after)
		gmm_kvm_slot_log_carry(before, after);
	slot_free(before);
	owner->slots[id] = after;
	return 0;
}

static int slot_change(void *opaque, const struct gmm_slot_info *old,
		       const struct gmm_slot_info *now)
{
	struct gmm_kvm_slots *owner = opaque;
	uint64_t limit = owner->config.gpa_bytes;
	struct gmm_live_change live;
	int error;

	if (kvm_memory_has(now->count ? now->memory_ops : old->memory_ops, GMM_MEMORY_HOST_ONLY))
		return 0;
	if (now->count && limit && ((now->gfn + now->count) << PAGE_SHIFT) > limit)
		return -GMM_ERANGE;
	/* Nor does the kernel: it refuses both. */
	if (now->count && kvm_memory_has(now->memory_ops, GMM_MEMORY_BY_FILE) &&
	    kvm_flags(now->flags))
		return -GMM_EOPNOTSUPP;
	pthread_mutex_lock(&owner->lock);
	error = gmm_live_stage2_change_begin(&owner->live, old, now, &live);
	if (!error) {
		error = change(owner, old, now);
		gmm_live_stage2_change_end(&owner->live, &live, !error);
	}
	pthread_mutex_unlock(&owner->lock);
	return error;
}

static int configure(struct gmm_kvm_slots *owner)
{
	struct kvm_enable_cap manual = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
					 .args = { KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE } };
	struct kvm_enable_cap quirk = { .cap = KVM_CAP_DISABLE_QUIRKS2,
					.args = { KVM_X86_QUIRK_SLOT_ZAP_ALL } };
	int slots = ioctl(owner->config.vm, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS);
	int quirks = ioctl(owner->config.vm, KVM_CHECK_EXTENSION, KVM_CAP_DISABLE_QUIRKS2);

	/* With the quirk, removing any slot makes the guest fault all its pages in again. */
	if (quirks > 0 && quirks & KVM_X86_QUIRK_SLOT_ZAP_ALL)
		ioctl(owner->config.vm, KVM_ENABLE_CAP, &quirk);
	owner->slots_max = slots > 0 ? (uint32_t)slots : 32;
	if (owner->slots_max > GMM_SLOTS_MAX)
		owner->slots_max = GMM_SLOTS_MAX;
	owner->slots = calloc(owner->slots_max, sizeof(struct kvm_slot *));
	if (!owner->slots)
		return -GMM_ENOMEM;
	if (!owner->config.ring_entries && ioctl(owner->config.vm, KVM_ENABLE_CAP, &manual))
		return -GMM_ENOSYS;
	return 0;
}

int gmm_kvm_slots_create(const struct gmm_kvm_slots_config *config, struct gmm_kvm_slots **slots)
{
	struct gmm_kvm_slots *made;
	int error;

	if (config->ring_entries & (config->ring_entries - 1))
		return -GMM_EINVAL;
	if (config->userfault &&
	    !(gmm_userfault_abilities(config->userfault) & GMM_USERFAULT_KERNEL))
		return -GMM_EINVAL;
	made = calloc(1, sizeof(*made));
	if (!made)
		return -GMM_ENOMEM;
	made->config = *config;
	error = gmm_live_stage2_init(&made->live, config->userfault, "kvm", true);
	if (error) {
		free(made);
		return error;
	}
	made->live.ops.flags |= GMM_STAGE2_LOGS_WRITES;
	made->live.ops.collect_dirty = gmm_kvm_slots_collect_dirty;
	made->live.ops.collect_dirty_next = gmm_kvm_slots_collect_dirty_next;
	made->live.ops.slot_change = slot_change;
	pthread_mutex_init(&made->lock, NULL);
	error = configure(made);
	if (error) {
		gmm_kvm_slots_destroy(made);
		return error;
	}
	*slots = made;
	return 0;
}

void gmm_kvm_slots_destroy(struct gmm_kvm_slots *owner)
{
	uint32_t i;

	gmm_kvm_slots_rings_free(owner);
	for (i = 0; owner->slots && i < owner->slots_max; i++)
		slot_free(owner->slots[i]);
	free(owner->slots);
	pthread_mutex_destroy(&owner->lock);
	gmm_live_stage2_fini(&owner->live);
	free(owner);
}

const struct gmm_stage2_ops *gmm_kvm_slots_ops(const struct gmm_kvm_slots *owner)
{
	return &owner->live.ops;
}

struct gmm_live_stage2 *gmm_kvm_slots_live(struct gmm_kvm_slots *owner)
{
	return &owner->live;
}
