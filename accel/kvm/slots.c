/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* KVM's memory slots and their dirty logs. */
#include <guestmm/linux/kvm_slots.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <gmm_port/scan.h>

#include <guestmm/memory.h>
#include <guestmm/slot.h>

#include "../linux_uapi.h"
#include "../live_stage2_impl.h"

#define PAGE_SHIFT 12

/* A slot that KVM knows. */
struct kvm_slot {
	struct gmm_slot_info info;
	uint64_t words; /* of each bitmap */
	/*
	 * Pages known to be written and not yet collected: from rings, or from a log that went
	 * away.
	 */
	uint64_t *pending;
	bool has_pending; /* false: there are none */
	uint64_t *log;	  /* bitmap mode: KVM's answer */
};

struct kvm_ring {
	struct kvm_ring *next;
	int vcpu;
	struct kvm_dirty_gfn *entries;
	uint64_t taken; /* so far */
};

struct gmm_kvm_slots {
	struct gmm_live_stage2 live; /* first: the owner of the operations is both */

	/* Immutable after create. */
	struct gmm_kvm_slots_config config;
	uint32_t slots_max;

	/* Slots, rings and the calls of KVM that change them. */
	pthread_mutex_t lock;
	struct kvm_slot **slots; /* by id; NULL: there is none */
	struct kvm_ring *rings;
	uint64_t ring_entries_taken; /* atomic */
};

static uint64_t ceil_words(uint64_t pages)
{
	return (pages + 63) / 64;
}

static uint32_t kvm_flags(uint32_t flags)
{
	return (flags & GMM_SLOT_LOG_DIRTY ? KVM_MEM_LOG_DIRTY_PAGES : 0) |
	       (flags & GMM_SLOT_READ_ONLY ? KVM_MEM_READONLY : 0);
}

static bool has(const struct gmm_memory_ops *ops, uint32_t flag)
{
	return ops && ops->flags & flag;
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
	bool by_file = has(info->memory_ops, GMM_MEMORY_BY_FILE);

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
	if (!slot)
		return;
	free(slot->pending);
	free(slot->log);
	free(slot);
}

static struct kvm_slot *slot_make(const struct gmm_kvm_slots *owner,
				  const struct gmm_slot_info *info)
{
	struct kvm_slot *slot = calloc(1, sizeof(*slot));

	if (!slot)
		return NULL;
	slot->info = *info;
	if (info->flags & GMM_SLOT_LOG_DIRTY) {
		slot->words = ceil_words(info->count);
		slot->pending = calloc(slot->words, sizeof(uint64_t));
		if (!owner->config.ring_entries)
			slot->log = calloc(slot->words, sizeof(uint64_t));
		if (!slot->pending || (!owner->config.ring_entries && !slot->log)) {
			slot_free(slot);
			return NULL;
		}
	}
	return slot;
}

/* KVM's log of the whole slot; its bits stay set there. */
static int log_read(struct gmm_kvm_slots *owner, const struct kvm_slot *slot, uint64_t *log)
{
	struct kvm_dirty_log request = { .slot = slot->info.id, .dirty_bitmap = log };

	return ioctl(owner->config.vm, KVM_GET_DIRTY_LOG, &request) ? -GMM_EIO : 0;
}

static void ring_entry_take(struct gmm_kvm_slots *owner, const struct kvm_dirty_gfn *entry)
{
	uint32_t id = entry->slot & 0xffff; /* the upper half is the address space: SMM, unused */
	struct kvm_slot *slot = id < owner->slots_max ? owner->slots[id] : NULL;

	if (!slot || !slot->pending || entry->offset >= slot->info.count)
		return;
	slot->pending[entry->offset / 64] |= 1ull << (entry->offset % 64);
	slot->has_pending = true;
}

/*
 * Called with owner->lock. An entry is dirty, then (by us) harvested, then (by the reset) empty; at
 * most one ring's length is taken, so a guest that writes on cannot keep us here.
 */
static int rings_harvest(struct gmm_kvm_slots *owner)
{
	struct kvm_dirty_gfn *entry;
	struct kvm_ring *ring;
	uint64_t taken = 0;
	uint32_t n;

	for (ring = owner->rings; ring; ring = ring->next) {
		for (n = 0; n < owner->config.ring_entries; n++) {
			entry = &ring->entries[ring->taken % owner->config.ring_entries];
			if (!(__atomic_load_n(&entry->flags, __ATOMIC_ACQUIRE) &
			      KVM_DIRTY_GFN_F_DIRTY))
				break;
			ring_entry_take(owner, entry);
			__atomic_store_n(&entry->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
			ring->taken++;
			taken++;
		}
	}
	if (!taken)
		return 0;
	__atomic_fetch_add(&owner->ring_entries_taken, taken, __ATOMIC_RELAXED);
	/* It may stop early at a signal that is let in here; what is left is reset next time. */
	return ioctl(owner->config.vm, KVM_RESET_DIRTY_RINGS, 0) < 0 ? -GMM_EIO : 0;
}

/* Saves what a log knows before the log goes away. */
static int log_save(struct gmm_kvm_slots *owner, struct kvm_slot *slot)
{
	uint64_t i;
	int error;

	if (!slot->pending)
		return 0;
	if (owner->config.ring_entries)
		return rings_harvest(owner);
	error = log_read(owner, slot, slot->log);
	for (i = 0; !error && i < slot->words; i++)
		slot->pending[i] |= slot->log[i];
	slot->has_pending |= !error;
	return error;
}

static void pending_carry(struct kvm_slot *from, struct kvm_slot *to)
{
	uint64_t i, words;

	if (!from->pending || !to->pending)
		return;
	to->has_pending |= from->has_pending;
	words = from->words < to->words ? from->words : to->words;
	for (i = 0; i < words; i++)
		to->pending[i] |= from->pending[i];
	if (to->info.count % 64)
		to->pending[to->words - 1] &= (1ull << (to->info.count % 64)) - 1;
}

/*
 * KVM moves a slot and changes its log in one call; everything else is delete and add, as is every
 * change of a slot of guest_memfd.
 */
static bool changes_in_place(const struct gmm_slot_info *old, const struct gmm_slot_info *now)
{
	return old->hva == now->hva && old->count == now->count &&
	       !((old->flags ^ now->flags) & GMM_SLOT_READ_ONLY) &&
	       !has(now->memory_ops, GMM_MEMORY_BY_FILE);
}

/* A frame behind all that the guest has, and that it may have as far as that is known. */
static gmm_gfn_t frame_out_of_reach(const struct gmm_kvm_slots *owner)
{
	gmm_gfn_t frame = owner->config.gpa_bytes >> PAGE_SHIFT;
	uint32_t i;

	for (i = 0; i < owner->slots_max; i++) {
		const struct kvm_slot *slot = owner->slots[i];

		if (slot && slot->info.gfn + slot->info.count > frame)
			frame = slot->info.gfn + slot->info.count;
	}
	return frame;
}

/*
 * Deleting a slot frees KVM's log, also what was written since it was read. So the slot is moved out
 * of the guest's reach first, its log read there, and then it is deleted.
 */
static int park(struct gmm_kvm_slots *owner, struct kvm_slot *slot)
{
	struct gmm_slot_info parked = slot->info;
	int error;

	if (!slot->log)
		return 0;
	parked.gfn = frame_out_of_reach(owner);
	error = set_region(owner, &parked, parked.count);
	return error ? error : log_save(owner, slot);
}

/* Meanwhile an access to it is one to MMIO. */
static int replace(struct gmm_kvm_slots *owner, struct kvm_slot *old, struct kvm_slot *now)
{
	int error;

	if (changes_in_place(&old->info, &now->info))
		return set_region(owner, &now->info, now->info.count);
	error = park(owner, old);
	if (!error)
		error = set_region(owner, &old->info, 0);
	if (!error)
		error = set_region(owner, &now->info, now->info.count);
	if (error)
		set_region(owner, &old->info, old->info.count);
	return error;
}

static int change(struct gmm_kvm_slots *owner, const struct gmm_slot_info *old,
		  const struct gmm_slot_info *now)
{
	uint32_t id = old->count ? old->id : now->id;
	struct kvm_slot *before, *after = NULL;
	int error = 0;

	if (id >= owner->slots_max)
		return -GMM_ENOSPC;
	before = owner->slots[id];
	if (now->count) {
		after = slot_make(owner, now);
		if (!after)
			return -GMM_ENOMEM;
	}
	if (before)
		error = log_save(owner, before);
	if (!error) {
		if (before && after)
			error = replace(owner, before, after);
		else if (after)
			error = set_region(owner, now, now->count);
		else if (before)
			error = set_region(owner, old, 0);
	}
	if (error) {
		slot_free(after);
		return error;
	}
	if (before && after)
		pending_carry(before, after);
	slot_free(before);
	owner->slots[id] = after;
	return 0;
}

static int slot_change(void *opaque, const struct gmm_slot_info *old,
		       const struct gmm_slot_info *now)
{
	struct gmm_kvm_slots *owner = opaque;
	uint64_t limit = owner->config.gpa_bytes;
	/* Memory that is not registered is reached unseen: vCPUs reach it only while it is. */
	bool lessens = old->count > now->count;
	int error = 0;

	if (has(now->count ? now->memory_ops : old->memory_ops, GMM_MEMORY_HOST_ONLY))
		return 0;
	if (now->count && limit && ((now->gfn + now->count) << PAGE_SHIFT) > limit)
		return -GMM_ERANGE;
	/* Nor does the kernel: it refuses both. */
	if (now->count && has(now->memory_ops, GMM_MEMORY_BY_FILE) && kvm_flags(now->flags))
		return -GMM_EOPNOTSUPP;
	pthread_mutex_lock(&owner->lock);
	if (!lessens)
		error = gmm_live_stage2_slot_change(&owner->live, old, now);
	if (!error) {
		error = change(owner, old, now);
		if (error && !lessens)
			gmm_live_stage2_slot_change(&owner->live, now, old);
	}
	if (!error && lessens)
		error = gmm_live_stage2_slot_change(&owner->live, old, now);
	pthread_mutex_unlock(&owner->lock);
	return error;
}

/* Clears in KVM's log the pages whose bits are set, which protects them again. */
static int log_clear(struct gmm_kvm_slots *owner, const struct kvm_slot *slot, uint64_t first,
		     uint64_t words, uint64_t *bits)
{
	uint64_t empty = gmm_scan_next(bits, 0, words);
	uint64_t pages = (words - empty) * 64;
	struct kvm_clear_dirty_log request = {
		.slot = slot->info.id,
		.first_page = first + empty * 64,
		.dirty_bitmap = bits + empty,
	};

	if (!pages)
		return 0;
	if (request.first_page + pages > slot->info.count)
		pages = slot->info.count - request.first_page;
	request.num_pages = pages;
	return ioctl(owner->config.vm, KVM_CLEAR_DIRTY_LOG, &request) ? -GMM_EIO : 0;
}

/*
 * KVM reads out the log of a whole slot only. Reading leaves the bits there, so what lies outside
 * of the span is not lost.
 */
static int log_take(struct gmm_kvm_slots *owner, struct kvm_slot *slot, uint64_t first,
		    uint64_t count, uint64_t *words)
{
	bool whole = count == slot->info.count;
	uint64_t length = ceil_words(count);
	int error = log_read(owner, slot, whole ? words : slot->log);

	if (error)
		return error;
	if (!whole)
		memcpy(words, slot->log + first / 64, length * sizeof(*words));
	if (count % 64)
		words[length - 1] &= (1ull << (count % 64)) - 1;
	return log_clear(owner, slot, first, length, words);
}

static int collect(struct gmm_kvm_slots *owner, struct kvm_slot *slot, uint64_t first,
		   uint64_t count, uint64_t *words)
{
	uint64_t length = ceil_words(count);
	uint64_t last_mask = count % 64 ? (1ull << (count % 64)) - 1 : ~0ull;
	uint64_t *pending = slot->pending + first / 64;
	uint64_t i, mask;
	int error;

	error = owner->config.ring_entries ? rings_harvest(owner) :
					     log_take(owner, slot, first, count, words);
	if (!error && owner->config.ring_entries)
		memset(words, 0, length * sizeof(*words));
	if (error || !slot->has_pending)
		return error;
	for (i = 0; i < length; i++) {
		mask = i == length - 1 ? last_mask : ~0ull;
		words[i] |= pending[i] & mask;
		pending[i] &= ~mask;
	}
	if (count == slot->info.count)
		slot->has_pending = false;
	return 0;
}

static int collect_dirty(void *opaque, const struct gmm_span *span, uint64_t *words)
{
	struct gmm_kvm_slots *owner = opaque;
	struct kvm_slot *slot;
	uint64_t first;
	int error = -GMM_EIO;

	/* What devices wrote is in the engine's log. */
	if (has(span->memory_ops, GMM_MEMORY_HOST_ONLY)) {
		memset(words, 0, ceil_words(span->count) * sizeof(*words));
		return 0;
	}
	pthread_mutex_lock(&owner->lock);
	slot = span->slot < owner->slots_max ? owner->slots[span->slot] : NULL;
	if (slot && slot->pending && span->count && span->gfn >= slot->info.gfn) {
		first = span->gfn - slot->info.gfn;
		if (first % 64 == 0 && first < slot->info.count &&
		    span->count <= slot->info.count - first)
			error = collect(owner, slot, first, span->count, words);
	}
	pthread_mutex_unlock(&owner->lock);
	/* Nothing is lost: KVM keeps what it was not told to clear. */
	if (error)
		memset(words, 0, ceil_words(span->count) * sizeof(*words));
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
	made->live.ops.collect_dirty = collect_dirty;
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

static void ring_free(struct gmm_kvm_slots *owner, struct kvm_ring *ring)
{
	munmap(ring->entries, owner->config.ring_entries * sizeof(*ring->entries));
	free(ring);
}

void gmm_kvm_slots_destroy(struct gmm_kvm_slots *owner)
{
	struct kvm_ring *ring;
	uint32_t i;

	while ((ring = owner->rings)) {
		owner->rings = ring->next;
		ring_free(owner, ring);
	}
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

uint64_t gmm_kvm_slots_ring_entries(const struct gmm_kvm_slots *slots)
{
	return __atomic_load_n(&slots->ring_entries_taken, __ATOMIC_RELAXED);
}

/* Where the pointer to the ring of `vcpu` is, or the one at the end of the list. */
static struct kvm_ring **ring_place(struct gmm_kvm_slots *owner, int vcpu)
{
	struct kvm_ring **place = &owner->rings;

	while (*place && (*place)->vcpu != vcpu)
		place = &(*place)->next;
	return place;
}

int gmm_kvm_slots_vcpu_add(struct gmm_kvm_slots *owner, int vcpu)
{
	size_t bytes = owner->config.ring_entries * sizeof(struct kvm_dirty_gfn);
	struct kvm_ring *ring, **place;
	int error = 0;

	if (!bytes)
		return 0;
	ring = calloc(1, sizeof(*ring));
	if (!ring)
		return -GMM_ENOMEM;
	ring->vcpu = vcpu;
	ring->entries = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu,
			     KVM_DIRTY_LOG_PAGE_OFFSET * sysconf(_SC_PAGESIZE));
	if (ring->entries == MAP_FAILED) {
		free(ring);
		return -GMM_EIO;
	}
	pthread_mutex_lock(&owner->lock);
	place = ring_place(owner, vcpu);
	if (*place)
		error = -GMM_EEXIST;
	else
		*place = ring;
	pthread_mutex_unlock(&owner->lock);
	if (error)
		ring_free(owner, ring);
	return error;
}

void gmm_kvm_slots_vcpu_remove(struct gmm_kvm_slots *owner, int vcpu)
{
	struct kvm_ring *ring, **place;

	pthread_mutex_lock(&owner->lock);
	place = ring_place(owner, vcpu);
	ring = *place;
	if (ring) {
		/* What it cannot reset is dirty in the slot's log all the same. */
		rings_harvest(owner);
		*place = ring->next;
	}
	pthread_mutex_unlock(&owner->lock);
	if (ring)
		ring_free(owner, ring);
}

int gmm_kvm_slots_harvest_rings(struct gmm_kvm_slots *owner)
{
	int error;

	pthread_mutex_lock(&owner->lock);
	error = rings_harvest(owner);
	pthread_mutex_unlock(&owner->lock);
	return error;
}
