/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The ring of a vCPU. Indices only grow: reset <= harvested <= pushed <= reset + size. The consumer
 * may be another program, so what it writes into the entries is believed only as far as it can do
 * no harm.
 */
#include <gmm_port/alloc.h>

#include "bits.h"
#include "dirty_impl.h"
#include "vcpu_impl.h"

int gmm_dirty_ring_create(struct gmm_vcpu *vcpu, uint32_t entries)
{
	struct gmm_dirty_ring *ring, *none = NULL;

	if (entries < GMM_DIRTY_RING_MIN || entries > GMM_DIRTY_RING_MAX ||
	    (entries & (entries - 1)))
		return -GMM_EINVAL;
	ring = gmm_zalloc(sizeof(*ring));
	if (!ring)
		return -GMM_ENOMEM;
	gmm_spin_init(&ring->lock, GMM_RANK_RING);
	ring->size = entries;
	ring->soft_limit = entries - GMM_DIRTY_RING_RESERVE;
	ring->entries = gmm_zalloc(entries * sizeof(*ring->entries));
	if (!ring->entries) {
		gmm_dirty_ring_free(ring);
		return -GMM_ENOMEM;
	}
	if (!gmm_compare_exchange(&vcpu->ring, &none, ring)) {
		gmm_dirty_ring_free(ring);
		return -GMM_EEXIST;
	}
	return 0;
}

void gmm_dirty_ring_free(struct gmm_dirty_ring *ring)
{
	if (!ring)
		return;
	gmm_free(ring->entries, ring->size * sizeof(*ring->entries));
	gmm_spin_destroy(&ring->lock);
	gmm_free(ring, sizeof(*ring));
}

struct gmm_dirty_entry *gmm_dirty_ring_entries(struct gmm_vcpu *vcpu)
{
	struct gmm_dirty_ring *ring = gmm_load_acquire(&vcpu->ring);

	return ring ? ring->entries : NULL;
}

/* The entry first, its flag last: who sees the flag sees the entry. */
bool gmm_dirty_ring_try_push(struct gmm_vcpu *vcpu, uint32_t slot, uint64_t page)
{
	struct gmm_dirty_ring *ring = gmm_load_acquire(&vcpu->ring);
	struct gmm_dirty_entry *entry;
	uint32_t pushed;
	bool room;

	if (!ring)
		return false;
	gmm_lock_ring(&ring->lock);
	pushed = gmm_load_relaxed(&ring->pushed);
	room = pushed - gmm_load_relaxed(&ring->reset) < ring->size;
	if (room) {
		entry = &ring->entries[pushed & (ring->size - 1)];
		entry->slot = slot;
		entry->page = page;
		gmm_store_release(&entry->flags, GMM_DIRTY_ENTRY_DIRTY);
		gmm_store_release(&ring->pushed, pushed + 1);
	}
	gmm_unlock_ring(&ring->lock);
	if (!room)
		gmm_warn_once(
			vcpu->guest, GMM_WARN_RING_FULL,
			"a dirty ring was pushed to beyond its reserve; the bitmap has the page");
	return room;
}

int gmm_dirty_ring_push(struct gmm_vcpu *vcpu, uint32_t slot, uint64_t page)
{
	struct gmm_guest *guest = vcpu->guest;
	struct gmm_slot *found;

	if (!gmm_load_acquire(&vcpu->ring))
		return -GMM_ENOENT;
	if (gmm_dirty_ring_try_push(vcpu, slot, page))
		return 0;
	gmm_lock_invalidate(&guest->invalidation.lock);
	found = slot < GMM_SLOTS_MAX ? guest->slots.by_id[slot] : NULL;
	if (found && found->dirty && page < found->config.count)
		gmm_dirty_map_mark(found->dirty, page);
	gmm_unlock_invalidate(&guest->invalidation.lock);
	return 0;
}

bool gmm_dirty_ring_full(const struct gmm_vcpu *vcpu)
{
	const struct gmm_dirty_ring *ring = gmm_load_acquire(&vcpu->ring);

	return ring &&
	       gmm_load_acquire(&ring->pushed) - gmm_load_acquire(&ring->reset) >= ring->soft_limit;
}

uint32_t gmm_dirty_ring_harvest(struct gmm_vcpu *vcpu, struct gmm_dirty_entry *out, uint32_t max)
{
	struct gmm_dirty_ring *ring = gmm_load_acquire(&vcpu->ring);
	uint32_t count = 0;

	while (ring && count < max && ring->harvested != gmm_load_acquire(&ring->pushed)) {
		struct gmm_dirty_entry *entry = &ring->entries[ring->harvested & (ring->size - 1)];

		if (!(gmm_load_acquire(&entry->flags) & GMM_DIRTY_ENTRY_DIRTY))
			break;
		out[count] = *entry;
		out[count].flags = GMM_DIRTY_ENTRY_DIRTY;
		count++;
		gmm_store_release(&entry->flags, GMM_DIRTY_ENTRY_DIRTY | GMM_DIRTY_ENTRY_HARVESTED);
		ring->harvested++;
	}
	return count;
}

/* Entries of one slot within 64 pages of the first: one operation protects them. */
struct window {
	uint32_t slot;
	uint64_t base;
	uint64_t mask;
};

/* Adds a page, also one before the first, without losing one already in it. */
static bool window_add(struct window *window, uint32_t slot, uint64_t page)
{
	uint64_t shift;

	if (!window->mask) {
		*window = (struct window){ .slot = slot, .base = page, .mask = 1 };
		return true;
	}
	if (window->slot != slot)
		return false;
	if (page >= window->base) {
		if (page - window->base >= 64)
			return false;
		window->mask |= (uint64_t)1 << (page - window->base);
		return true;
	}
	shift = window->base - page;
	if (shift >= 64 || (window->mask << shift) >> shift != window->mask)
		return false;
	window->mask = (window->mask << shift) | 1;
	window->base = page;
	return true;
}

static int protect_pages(struct gmm_guest *guest, uint32_t slot, uint64_t page, uint64_t count)
{
	struct gmm_operation operation;
	int error = gmm_operation_begin_slot(guest, slot, page, count, &operation);

	if (error)
		return error;
	gmm_dirty_protect(&operation, operation.node.start, count);
	gmm_operation_end(&operation);
	return 0;
}

/*
 * A slot or page that does not exist (any more) is passed over, but does not take its neighbours
 * with it.
 */
static void window_protect(struct gmm_guest *guest, const struct window *window)
{
	uint64_t bit, run, i;

	for (bit = 0; bit < 64; bit += run) {
		uint64_t rest = window->mask >> bit;

		run = 1;
		if (!(rest & 1))
			continue;
		run = ~rest ? gmm_bits_lowest(~rest) : 64;
		if (protect_pages(guest, window->slot, window->base + bit, run) != -GMM_ERANGE)
			continue;
		for (i = 0; i < run; i++)
			protect_pages(guest, window->slot, window->base + bit + i, 1);
	}
}

/* Takes harvested entries while they fit the window. Returns how many. */
static uint32_t take_window(struct gmm_dirty_ring *ring, uint32_t end, struct window *window)
{
	uint32_t taken = 0, reset;

	*window = (struct window){ 0 };
	gmm_lock_ring(&ring->lock);
	for (reset = gmm_load_relaxed(&ring->reset); reset != end; reset++) {
		struct gmm_dirty_entry *entry = &ring->entries[reset & (ring->size - 1)];

		if (!(gmm_load_acquire(&entry->flags) & GMM_DIRTY_ENTRY_HARVESTED) ||
		    !window_add(window, entry->slot, entry->page))
			break;
		gmm_store_release(&entry->flags, 0u);
		gmm_store_release(&ring->reset, reset + 1);
		taken++;
	}
	gmm_unlock_ring(&ring->lock);
	return taken;
}

int64_t gmm_dirty_ring_reset(struct gmm_vcpu *vcpu)
{
	struct gmm_dirty_ring *ring = gmm_load_acquire(&vcpu->ring);
	uint32_t end, taken;
	int64_t total = 0;
	struct window window;

	if (!ring)
		return -GMM_ENOENT;
	if (gmm_section_inside(&vcpu->guest->sections))
		return -GMM_EDEADLK;
	/* Not beyond what was there at the start: each entry is looked at once. */
	end = gmm_load_acquire(&ring->pushed);
	while ((taken = take_window(ring, end, &window))) {
		window_protect(vcpu->guest, &window);
		total += taken;
	}
	/* An outside consumer harvests by the flags alone. */
	end = gmm_load_acquire(&ring->reset);
	if ((int32_t)(ring->harvested - end) < 0)
		ring->harvested = end;
	return total;
}

/*
 * What its consumer has harvested and not reset stays: the reset still has to protect those pages.
 */
void gmm_dirty_ring_drain(struct gmm_vcpu *vcpu)
{
	struct gmm_dirty_ring *ring = gmm_load_acquire(&vcpu->ring);
	struct gmm_dirty_entry entry;
	uint32_t reset;
	bool open;

	if (!ring)
		return;
	open = ring->harvested != gmm_load_acquire(&ring->reset);
	while (gmm_dirty_ring_harvest(vcpu, &entry, 1)) {
		struct gmm_guest *guest = vcpu->guest;
		struct gmm_slot *slot;

		gmm_lock_invalidate(&guest->invalidation.lock);
		slot = entry.slot < GMM_SLOTS_MAX ? guest->slots.by_id[entry.slot] : NULL;
		if (slot && slot->dirty && entry.page < slot->config.count)
			gmm_dirty_map_mark(slot->dirty, entry.page);
		gmm_unlock_invalidate(&guest->invalidation.lock);
	}
	if (open)
		return;
	gmm_lock_ring(&ring->lock);
	for (reset = gmm_load_relaxed(&ring->reset); reset != ring->harvested; reset++)
		gmm_store_release(&ring->entries[reset & (ring->size - 1)].flags, 0u);
	gmm_store_release(&ring->reset, reset);
	gmm_unlock_ring(&ring->lock);
}

void gmm_dirty_rings_drain(struct gmm_guest *guest)
{
	uint32_t id;

	for (id = 0; id < guest->config.max_vcpus; id++) {
		struct gmm_vcpu *vcpu = gmm_load_acquire(&guest->vcpus[id]);

		if (vcpu)
			gmm_dirty_ring_drain(vcpu);
	}
}
