/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* KVM's memory slots and their dirty logs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include <guestmm/slot.h>

#include "kvm_impl.h"

#define PAGE_SHIFT 12

static uint64_t ceil_words(uint64_t pages)
{
	return (pages + 63) / 64;
}

static uint32_t kvm_flags(uint32_t flags)
{
	return (flags & GMM_SLOT_LOG_DIRTY ? KVM_MEM_LOG_DIRTY_PAGES : 0) |
	       (flags & GMM_SLOT_READ_ONLY ? KVM_MEM_READONLY : 0);
}

static int set_region(struct gmm_accel *accel, const struct gmm_slot_info *info, uint64_t count)
{
	struct kvm_userspace_memory_region region = {
		.slot = info->id,
		.flags = kvm_flags(info->flags),
		.guest_phys_addr = info->gfn << PAGE_SHIFT,
		.memory_size = count << PAGE_SHIFT,
		.userspace_addr = info->hva,
	};

	if (ioctl(accel->vm, KVM_SET_USER_MEMORY_REGION, &region) == 0)
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
	if (!slot)
		return;
	free(slot->pending);
	free(slot->log);
	free(slot);
}

static struct kvm_slot *slot_make(const struct gmm_accel *accel, const struct gmm_slot_info *info)
{
	struct kvm_slot *slot = calloc(1, sizeof(*slot));

	if (!slot)
		return NULL;
	slot->info = *info;
	if (info->flags & GMM_SLOT_LOG_DIRTY) {
		slot->words = ceil_words(info->count);
		slot->pending = calloc(slot->words, sizeof(uint64_t));
		if (!accel->ring_entries)
			slot->log = calloc(slot->words, sizeof(uint64_t));
		if (!slot->pending || (!accel->ring_entries && !slot->log)) {
			slot_free(slot);
			return NULL;
		}
	}
	return slot;
}

/* KVM's log of the whole slot; its bits stay set there. */
static int log_read(struct gmm_accel *accel, struct kvm_slot *slot)
{
	struct kvm_dirty_log request = { .slot = slot->info.id, .dirty_bitmap = slot->log };

	return ioctl(accel->vm, KVM_GET_DIRTY_LOG, &request) ? -GMM_EIO : 0;
}

/* Saves what a log knows before the log goes away. */
static int log_save(struct gmm_accel *accel, struct kvm_slot *slot)
{
	uint64_t i;
	int error;

	if (!slot->pending)
		return 0;
	if (accel->ring_entries)
		return kvm_rings_harvest(accel);
	error = log_read(accel, slot);
	for (i = 0; !error && i < slot->words; i++)
		slot->pending[i] |= slot->log[i];
	return error;
}

static void pending_carry(struct kvm_slot *from, struct kvm_slot *to)
{
	uint64_t i, words;

	if (!from->pending || !to->pending)
		return;
	words = from->words < to->words ? from->words : to->words;
	for (i = 0; i < words; i++)
		to->pending[i] |= from->pending[i];
	if (to->info.count % 64)
		to->pending[to->words - 1] &= (1ull << (to->info.count % 64)) - 1;
}

/* KVM moves a slot and changes its log in one call; everything else is delete and add. */
static bool changes_in_place(const struct gmm_slot_info *old, const struct gmm_slot_info *now)
{
	return old->hva == now->hva && old->count == now->count &&
	       !((old->flags ^ now->flags) & GMM_SLOT_READ_ONLY);
}

static int replace(struct gmm_accel *accel, struct kvm_slot *old, struct kvm_slot *now)
{
	int error;

	if (changes_in_place(&old->info, &now->info))
		return set_region(accel, &now->info, now->info.count);
	error = set_region(accel, &old->info, 0);
	if (error)
		return error;
	error = set_region(accel, &now->info, now->info.count);
	if (error)
		set_region(accel, &old->info, old->info.count);
	return error;
}

static int change(struct gmm_accel *accel, const struct gmm_slot_info *old,
		  const struct gmm_slot_info *now)
{
	uint32_t id = old->count ? old->id : now->id;
	struct kvm_slot *before, *after = NULL;
	int error = 0;

	if (id >= accel->slots_max)
		return -GMM_ENOSPC;
	before = accel->slots[id];
	if (now->count) {
		after = slot_make(accel, now);
		if (!after)
			return -GMM_ENOMEM;
	}
	if (before)
		error = log_save(accel, before);
	if (!error) {
		if (before && after)
			error = replace(accel, before, after);
		else if (after)
			error = set_region(accel, now, now->count);
		else if (before)
			error = set_region(accel, old, 0);
	}
	if (error) {
		slot_free(after);
		return error;
	}
	if (before && after)
		pending_carry(before, after);
	slot_free(before);
	accel->slots[id] = after;
	return 0;
}

int kvm_slot_change(void *owner, const struct gmm_slot_info *old, const struct gmm_slot_info *now)
{
	struct gmm_accel *accel = kvm_accel_of(owner);
	int error;

	if (now->count && ((now->gfn + now->count) << PAGE_SHIFT) > accel->config.gpa_bytes)
		return -GMM_ERANGE;
	pthread_mutex_lock(&accel->lock);
	error = gmm_live_stage2_slot_change(&accel->live, old, now);
	if (!error) {
		error = change(accel, old, now);
		if (error)
			gmm_live_stage2_slot_change(&accel->live, now, old);
	}
	pthread_mutex_unlock(&accel->lock);
	return error;
}

void kvm_slots_free(struct gmm_accel *accel)
{
	uint32_t i;

	for (i = 0; accel->slots && i < accel->slots_max; i++)
		slot_free(accel->slots[i]);
	free(accel->slots);
	accel->slots = NULL;
}

static void ring_entry_take(struct gmm_accel *accel, const struct kvm_dirty_gfn *entry)
{
	uint32_t id = entry->slot & 0xffff; /* the upper half is the address space: SMM, unused */
	struct kvm_slot *slot = id < accel->slots_max ? accel->slots[id] : NULL;

	if (slot && slot->pending && entry->offset < slot->info.count)
		slot->pending[entry->offset / 64] |= 1ull << (entry->offset % 64);
}

/*
 * Called with accel->lock. An entry is dirty, then (by us) harvested, then (by the reset) empty; at
 * most one ring's length is taken, so a guest that writes on cannot keep us here.
 */
int kvm_rings_harvest(struct gmm_accel *accel)
{
	struct kvm_dirty_gfn *entry;
	uint64_t taken = 0;
	uint32_t i, n;

	for (i = 0; i < accel->config.vcpus; i++) {
		struct gmm_accel_vcpu *vcpu = accel->vcpus[i];

		for (n = 0; vcpu && n < accel->ring_entries; n++) {
			entry = &vcpu->ring[vcpu->ring_next % accel->ring_entries];
			if (!(__atomic_load_n(&entry->flags, __ATOMIC_ACQUIRE) &
			      KVM_DIRTY_GFN_F_DIRTY))
				break;
			ring_entry_take(accel, entry);
			__atomic_store_n(&entry->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
			vcpu->ring_next++;
			taken++;
		}
	}
	if (!taken)
		return 0;
	/* It may stop early at a signal that is let in here; what is left is reset next time. */
	return ioctl(accel->vm, KVM_RESET_DIRTY_RINGS, 0) < 0 ? -GMM_EIO : 0;
}

/* Clears and protects again the pages whose bits are set in `words`. */
static int log_clear(struct gmm_accel *accel, const struct kvm_slot *slot, uint64_t first,
		     uint64_t words, uint64_t *bits)
{
	uint64_t pages = words * 64;
	struct kvm_clear_dirty_log request = { .slot = slot->info.id, .first_page = first };
	uint64_t i;

	for (i = 0; i < words && !bits[i]; i++)
		;
	if (i == words)
		return 0;
	if (first + pages > slot->info.count)
		pages = slot->info.count - first;
	request.num_pages = pages;
	request.dirty_bitmap = bits;
	return ioctl(accel->vm, KVM_CLEAR_DIRTY_LOG, &request) ? -GMM_EIO : 0;
}

static int collect(struct gmm_accel *accel, struct kvm_slot *slot, uint64_t first, uint64_t count,
		   uint64_t *words)
{
	uint64_t length = ceil_words(count);
	uint64_t last_mask = count % 64 ? (1ull << (count % 64)) - 1 : ~0ull;
	uint64_t *log = slot->log ? slot->log + first / 64 : NULL;
	uint64_t *pending = slot->pending + first / 64;
	uint64_t i, mask;
	int error;

	error = accel->ring_entries ? kvm_rings_harvest(accel) : log_read(accel, slot);
	if (!error && log) {
		log[length - 1] &= last_mask;
		error = log_clear(accel, slot, first, length, log);
	}
	if (error)
		return error;
	for (i = 0; i < length; i++) {
		mask = i == length - 1 ? last_mask : ~0ull;
		words[i] |= (pending[i] & mask) | (log ? log[i] : 0);
		pending[i] &= ~mask;
	}
	return 0;
}

int kvm_collect_dirty(void *owner, const struct gmm_span *span, uint64_t *words)
{
	struct gmm_accel *accel = kvm_accel_of(owner);
	struct kvm_slot *slot;
	uint64_t first;
	int error = -GMM_EIO;

	pthread_mutex_lock(&accel->lock);
	slot = span->slot < accel->slots_max ? accel->slots[span->slot] : NULL;
	if (slot && slot->pending && span->count && span->gfn >= slot->info.gfn) {
		first = span->gfn - slot->info.gfn;
		if (first % 64 == 0 && first < slot->info.count &&
		    span->count <= slot->info.count - first)
			error = collect(accel, slot, first, span->count, words);
	}
	pthread_mutex_unlock(&accel->lock);
	return error;
}
