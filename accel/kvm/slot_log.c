/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What KVM logs of the guest's writes: a bitmap a slot, of which KVM gives out the whole and clears
 * parts, or a ring a vCPU.
 */
#include "slots_impl.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <gmm_port/scan.h>

/* KVM holds its lock over one clearing: vCPUs wait for it in their faults. */
#define CLEAR_WORDS 1024u

static uint64_t ceil_words(uint64_t pages)
{
	return (pages + 63) / 64;
}

int gmm_kvm_slot_log_make(const struct gmm_kvm_slots *owner, struct kvm_slot *slot)
{
	slot->log_next = slot->info.count;
	if (!(slot->info.flags & GMM_SLOT_LOG_DIRTY))
		return 0;
	slot->words = ceil_words(slot->info.count);
	slot->pending = calloc(slot->words, sizeof(uint64_t));
	if (!slot->pending)
		return -GMM_ENOMEM;
	if (owner->config.ring_entries)
		return 0;
	slot->log = calloc(slot->words, sizeof(uint64_t));
	return slot->log ? 0 : -GMM_ENOMEM;
}

void gmm_kvm_slot_log_free(struct kvm_slot *slot)
{
	free(slot->pending);
	free(slot->log);
}

/* KVM's log of the whole slot; its bits stay set there. */
static int log_read(struct gmm_kvm_slots *owner, struct kvm_slot *slot, uint64_t *log)
{
	struct kvm_dirty_log request = { .slot = slot->info.id, .dirty_bitmap = log };

	/* What was read before is of no use any more. */
	slot->log_next = slot->info.count;
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

/* At most one ring's length is taken, so a guest that writes on cannot keep us here. */
static void ring_take(struct gmm_kvm_slots *owner, struct kvm_ring *ring)
{
	struct kvm_dirty_gfn *entry;
	uint32_t n;

	for (n = 0; n < owner->config.ring_entries; n++) {
		entry = &ring->entries[ring->taken % owner->config.ring_entries];
		if (!(__atomic_load_n(&entry->flags, __ATOMIC_ACQUIRE) & KVM_DIRTY_GFN_F_DIRTY))
			break;
		ring_entry_take(owner, entry);
		__atomic_store_n(&entry->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
		ring->taken++;
		owner->unreset++;
		__atomic_fetch_add(&owner->ring_entries_taken, 1, __ATOMIC_RELAXED);
	}
}

/*
 * Called with owner->lock. An entry is dirty, then (by us) harvested, then (by the reset) empty. Pages
 * of entries that are not reset are not protected again: a failure is made good by the next call.
 */
static int rings_harvest(struct gmm_kvm_slots *owner)
{
	struct kvm_ring *ring;
	int done;

	for (ring = owner->rings; ring; ring = ring->next)
		ring_take(owner, ring);
	while (owner->unreset) {
		/* It may stop early, at a signal that is let in here. */
		done = ioctl(owner->config.vm, KVM_RESET_DIRTY_RINGS, 0);
		if (done <= 0)
			return -GMM_EIO;
		owner->unreset -= (uint64_t)done < owner->unreset ? (uint64_t)done : owner->unreset;
	}
	return 0;
}

int gmm_kvm_slot_log_save(struct gmm_kvm_slots *owner, struct kvm_slot *slot)
{
	uint64_t i;
	int error;

	if (!slot->pending || !slot->told.count)
		return 0;
	if (owner->config.ring_entries)
		return rings_harvest(owner);
	error = log_read(owner, slot, slot->log);
	for (i = 0; !error && i < slot->words; i++)
		slot->pending[i] |= slot->log[i];
	slot->has_pending |= !error;
	return error;
}

void gmm_kvm_slot_log_carry(const struct kvm_slot *from, struct kvm_slot *to)
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

/* Words [from, from + count) of `bits`, which are of the slot's pages from `first` on. */
static int clear_words(struct gmm_kvm_slots *owner, const struct kvm_slot *slot, uint64_t first,
		       uint64_t *bits, uint64_t from, uint64_t count)
{
	struct kvm_clear_dirty_log request = {
		.slot = slot->info.id,
		.first_page = first + from * 64,
		.num_pages = (uint32_t)count * 64,
		.dirty_bitmap = bits + from,
	};

	if (request.num_pages > slot->info.count - request.first_page)
		request.num_pages = (uint32_t)(slot->info.count - request.first_page);
	return ioctl(owner->config.vm, KVM_CLEAR_DIRTY_LOG, &request) ? -GMM_EIO : 0;
}

/*
 * Clears in KVM's log the pages whose bits are set, which protects them again. After a failure
 * `bits` has those that KVM has forgotten.
 */
static int log_clear(struct gmm_kvm_slots *owner, const struct kvm_slot *slot, uint64_t first,
		     uint64_t words, uint64_t *bits)
{
	uint64_t word = gmm_scan_next(bits, 0, words);

	while (word < words) {
		uint64_t count = words - word < CLEAR_WORDS ? words - word : CLEAR_WORDS;

		if (clear_words(owner, slot, first, bits, word, count)) {
			memset(bits + word, 0, (words - word) * sizeof(*bits));
			return -GMM_EIO;
		}
		word = gmm_scan_next(bits, word + count, words);
	}
	return 0;
}

/* A part of what was read. */
static void log_copy(struct kvm_slot *slot, uint64_t first, uint64_t count, uint64_t *words)
{
	uint64_t length = ceil_words(count);

	memcpy(words, slot->log + first / 64, length * sizeof(*words));
	if (count % 64)
		words[length - 1] &= (1ull << (count % 64)) - 1;
	/* Of a word that was given in part the rest is asked for again. */
	slot->log_next = count % 64 ? slot->info.count : first + count;
}

static int log_collect(struct gmm_kvm_slots *owner, struct kvm_slot *slot, uint64_t first,
		       uint64_t count, uint64_t *words, bool goes_on)
{
	bool whole = count == slot->info.count;
	bool read_before = goes_on && first >= slot->log_next && slot->log_next != slot->info.count;

	if (!read_before && log_read(owner, slot, whole ? words : slot->log)) {
		memset(words, 0, ceil_words(count) * sizeof(*words));
		return -GMM_EIO;
	}
	if (!whole)
		log_copy(slot, first, count, words);
	return log_clear(owner, slot, first, ceil_words(count), words);
}

static void pending_take(struct kvm_slot *slot, uint64_t first, uint64_t count, uint64_t *words)
{
	uint64_t last_mask = count % 64 ? (1ull << (count % 64)) - 1 : ~0ull;
	uint64_t *pending = slot->pending + first / 64;
	uint64_t length = ceil_words(count);
	uint64_t i, mask;

	for (i = 0; i < length; i++) {
		mask = i == length - 1 ? last_mask : ~0ull;
		words[i] |= pending[i] & mask;
		pending[i] &= ~mask;
	}
	if (count == slot->info.count)
		slot->has_pending = false;
}

static int collect(struct gmm_kvm_slots *owner, struct kvm_slot *slot, uint64_t first,
		   uint64_t count, uint64_t *words, bool goes_on)
{
	int error = 0;

	if (!owner->config.ring_entries && slot->told.count) {
		error = log_collect(owner, slot, first, count, words, goes_on);
	} else {
		memset(words, 0, ceil_words(count) * sizeof(*words));
		if (owner->config.ring_entries)
			error = rings_harvest(owner);
	}
	if (!error && slot->has_pending)
		pending_take(slot, first, count, words);
	return error;
}

/* The slot with a log that the span lies in, or NULL. */
static struct kvm_slot *slot_of(const struct gmm_kvm_slots *owner, const struct gmm_span *span)
{
	struct kvm_slot *slot = span->slot < owner->slots_max ? owner->slots[span->slot] : NULL;
	uint64_t first;

	if (!slot || !slot->pending || !span->count || span->gfn < slot->info.gfn)
		return NULL;
	first = span->gfn - slot->info.gfn;
	return first % 64 == 0 && first < slot->info.count &&
			       span->count <= slot->info.count - first ?
		       slot :
		       NULL;
}

static int collect_span(struct gmm_kvm_slots *owner, const struct gmm_span *span, uint64_t *words,
			bool goes_on)
{
	/* What devices wrote is in the engine's log. */
	bool host_only = kvm_memory_has(span->memory_ops, GMM_MEMORY_HOST_ONLY);
	struct kvm_slot *slot;
	int error = host_only ? 0 : -GMM_EIO;

	pthread_mutex_lock(&owner->lock);
	slot = host_only ? NULL : slot_of(owner, span);
	if (slot)
		error = collect(owner, slot, span->gfn - slot->info.gfn, span->count, words,
				goes_on);
	else
		memset(words, 0, ceil_words(span->count) * sizeof(*words));
	pthread_mutex_unlock(&owner->lock);
	return error;
}

int gmm_kvm_slots_collect_dirty(void *opaque, const struct gmm_span *span, uint64_t *words)
{
	return collect_span(opaque, span, words, false);
}

int gmm_kvm_slots_collect_dirty_next(void *opaque, const struct gmm_span *span, uint64_t *words)
{
	return collect_span(opaque, span, words, true);
}

static void ring_free(struct gmm_kvm_slots *owner, struct kvm_ring *ring)
{
	munmap(ring->entries, owner->config.ring_entries * sizeof(*ring->entries));
	free(ring);
}

void gmm_kvm_slots_rings_free(struct gmm_kvm_slots *owner)
{
	struct kvm_ring *ring;

	while ((ring = owner->rings)) {
		owner->rings = ring->next;
		ring_free(owner, ring);
	}
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
