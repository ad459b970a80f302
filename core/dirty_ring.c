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

/* Beside the public flags: harvested into the bitmap, so that nobody need reset it. */
#define ENTRY_DRAINED 0x80000000u

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

/*
 * The next entry that nobody has harvested, marked with `flags`. An outside consumer harvests by
 * the flags alone; whatever else it has made of them counts as dirty. Under lock.
 */
static bool take_entry(struct gmm_dirty_ring *ring, uint32_t flags, struct gmm_dirty_entry *out)
{
	while (ring->harvested != gmm_load_relaxed(&ring->pushed)) {
		struct gmm_dirty_entry *entry = &ring->entries[ring->harvested & (ring->size - 1)];

		ring->harvested++;
		if (gmm_load_acquire(&entry->flags) & GMM_DIRTY_ENTRY_HARVESTED)
			continue;
		*out = (struct gmm_dirty_entry){ GMM_DIRTY_ENTRY_DIRTY, entry->slot, entry->page };
		gmm_store_release(&entry->flags, GMM_DIRTY_ENTRY_DIRTY | flags);
		return true;
	}
	return false;
}

uint32_t gmm_dirty_ring_harvest(struct gmm_vcpu *vcpu, struct gmm_dirty_entry *out, uint32_t max)
{
	struct gmm_dirty_ring *ring = gmm_load_acquire(&vcpu->ring);
	uint32_t count = 0;

	if (!ring)
		return 0;
	gmm_lock_ring(&ring->lock);
	while (count < max && take_entry(ring, GMM_DIRTY_ENTRY_HARVESTED, &out[count]))
		count++;
	gmm_unlock_ring(&ring->lock);
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
	error = gmm_dirty_protect(&operation, operation.node.start, count, false);
	/* Still writable: then it is dirty, and the next harvest tries again. */
	if (error && operation.slot->dirty)
		gmm_dirty_map_mark_range(operation.slot->dirty, page, count);
	gmm_operation_end(&operation);
	return 0;
}

/* All of them with one flush, in a guest's table. False: a page of them does not exist. */
static bool protect_in_table(struct gmm_guest *guest, const struct window *window)
{
	uint64_t first = gmm_bits_lowest(window->mask), mask = window->mask >> first, count = 1;
	struct gmm_operation operation;

	while (count < 64 && mask >> count)
		count++;
	if (gmm_operation_begin_slot(guest, window->slot, window->base + first, count, &operation))
		return false;
	gmm_guest_table_protect(&guest->table, operation.node.start, count, &mask);
	gmm_operation_end(&operation);
	return true;
}

/*
 * A slot or page that does not exist (any more) is passed over, but does not take its neighbours
 * with it.
 */
static void window_protect(struct gmm_guest *guest, const struct window *window)
{
	uint64_t bit, run, i;

	if (guest->table.table && protect_in_table(guest, window))
		return;
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
	for (reset = gmm_load_relaxed(&ring->reset); (int32_t)(end - reset) > 0; reset++) {
		struct gmm_dirty_entry *entry = &ring->entries[reset & (ring->size - 1)];
		/* Harvested by us, or by an outside consumer, who says so in the flags. */
		bool harvested = (int32_t)(ring->harvested - reset) > 0 ||
				 (gmm_load_acquire(&entry->flags) & GMM_DIRTY_ENTRY_HARVESTED);

		if (!harvested || !window_add(window, entry->slot, entry->page))
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
	gmm_lock_ring(&ring->lock);
	end = gmm_load_relaxed(&ring->reset);
	if ((int32_t)(ring->harvested - end) < 0)
		ring->harvested = end;
	gmm_unlock_ring(&ring->lock);
	return total;
}

/* Marks an entry's page in its slot's bitmap. Under the invalidation's lock. */
static void mark_entry(struct gmm_guest *guest, const struct gmm_dirty_entry *entry)
{
	struct gmm_slot *slot = entry->slot < GMM_SLOTS_MAX ? guest->slots.by_id[entry->slot] :
							      NULL;

	if (slot && slot->dirty && entry->page < slot->config.count)
		gmm_dirty_map_mark(slot->dirty, entry->page);
}

/*
 * Both locks over the whole: whoever harvests beside us finds an entry in the ring or in the
 * bitmap. What the consumer has harvested and not reset stays: the reset still has to protect
 * those pages.
 */
void gmm_dirty_ring_drain(struct gmm_vcpu *vcpu)
{
	struct gmm_dirty_ring *ring = gmm_load_acquire(&vcpu->ring);
	struct gmm_guest *guest = vcpu->guest;
	struct gmm_dirty_entry entry;
	uint32_t reset;

	if (!ring)
		return;
	gmm_lock_invalidate(&guest->invalidation.lock);
	gmm_lock_ring(&ring->lock);
	while (take_entry(ring, ENTRY_DRAINED | GMM_DIRTY_ENTRY_HARVESTED, &entry))
		mark_entry(guest, &entry);
	for (reset = gmm_load_relaxed(&ring->reset); reset != ring->harvested; reset++) {
		uint32_t *flags = &ring->entries[reset & (ring->size - 1)].flags;

		if (!(gmm_load_relaxed(flags) & ENTRY_DRAINED))
			break;
		gmm_store_release(flags, 0u);
	}
	gmm_store_release(&ring->reset, reset);
	gmm_unlock_ring(&ring->lock);
	gmm_unlock_invalidate(&guest->invalidation.lock);
}

void gmm_dirty_ring_empty(struct gmm_vcpu *vcpu)
{
	struct gmm_dirty_ring *ring = gmm_load_acquire(&vcpu->ring);
	struct gmm_guest *guest = vcpu->guest;
	uint32_t i;

	if (!ring)
		return;
	gmm_lock_invalidate(&guest->invalidation.lock);
	gmm_lock_ring(&ring->lock);
	for (i = gmm_load_relaxed(&ring->reset); i != gmm_load_relaxed(&ring->pushed); i++)
		mark_entry(guest, &ring->entries[i & (ring->size - 1)]);
	gmm_store_release(&ring->reset, i);
	ring->harvested = i;
	gmm_unlock_ring(&ring->lock);
	gmm_unlock_invalidate(&guest->invalidation.lock);
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
