/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The slots that there are: what one may be, and which frame, address or id is whose. How they
 * change is in core/slot_change.c.
 */
#include <gmm_port/alloc.h>

#include "guest_impl.h"
#include "slot_change.h"

int gmm_slots_init(struct gmm_slots *slots)
{
	gmm_interval_tree_init(&slots->by_gfn);
	gmm_interval_tree_init(&slots->by_hva);
	slots->count = 0;
	slots->by_id = gmm_zalloc(GMM_SLOTS_MAX * sizeof(*slots->by_id));
	if (!slots->by_id)
		return -GMM_ENOMEM;
	gmm_mutex_init(&slots->mutex, GMM_RANK_SLOTS);
	return 0;
}

void gmm_slots_destroy(struct gmm_slots *slots)
{
	if (!slots->by_id)
		return;
	gmm_mutex_destroy(&slots->mutex);
	gmm_free(slots->by_id, GMM_SLOTS_MAX * sizeof(*slots->by_id));
}

struct gmm_slot *gmm_slot_find(struct gmm_guest *guest, gmm_gfn_t gfn)
{
	struct gmm_interval *node = gmm_interval_first(&guest->slots.by_gfn, gfn, gfn);

	return node ? gmm_container_of(node, struct gmm_slot, by_gfn) : NULL;
}

struct gmm_span gmm_slot_span(const struct gmm_guest *guest, const struct gmm_slot *slot,
			      gmm_gfn_t gfn, uint64_t count)
{
	uint64_t page = gfn - slot->by_gfn.start;

	return (struct gmm_span){
		.slot = slot->config.id,
		.page = slot->config.memory_page + page,
		.gfn = gfn,
		.hva = slot->config.hva + (page << guest->hot.page_shift),
		.count = count,
		.memory = slot->config.memory,
		.memory_ops = slot->config.memory_ops,
	};
}

int gmm_memory_ops_check(const struct gmm_memory_ops *ops)
{
	if (!ops || ops->version != GMM_MEMORY_OPS_VERSION || !ops->resolve || !ops->put ||
	    !ops->map || !ops->unmap)
		return -GMM_EINVAL;
	if ((ops->flags & GMM_MEMORY_LAZY) && (!ops->fill || !ops->read))
		return -GMM_EINVAL;
	if ((ops->flags & GMM_MEMORY_EVICTABLE) &&
	    (!(ops->flags & GMM_MEMORY_LAZY) || !ops->write_out || !ops->discard))
		return -GMM_EINVAL;
	if ((ops->flags & GMM_MEMORY_HOST_ONLY) &&
	    (ops->flags & (GMM_MEMORY_LAZY | GMM_MEMORY_BY_FILE)))
		return -GMM_EINVAL;
	if ((ops->flags & GMM_MEMORY_BY_FILE) &&
	    ((ops->flags & GMM_MEMORY_LAZY) || !ops->descriptor))
		return -GMM_EINVAL;
	return 0;
}

int gmm_slot_check_flags(uint32_t flags)
{
	if (flags & ~(GMM_SLOT_LOG_DIRTY | GMM_SLOT_READ_ONLY | GMM_SLOT_LOG_ALL_SET))
		return -GMM_EINVAL;
	if ((flags & GMM_SLOT_READ_ONLY) && (flags & GMM_SLOT_LOG_DIRTY))
		return -GMM_EINVAL;
	return (flags & GMM_SLOT_LOG_ALL_SET) && !(flags & GMM_SLOT_LOG_DIRTY) ? -GMM_EINVAL : 0;
}

int gmm_slot_check_range(const struct gmm_guest *guest, const struct gmm_slot_config *config)
{
	uint64_t frames = guest->hot.gpa_limit >> guest->hot.page_shift;
	uint64_t most = ~(uint64_t)0 >> guest->hot.page_shift;
	uint64_t bytes;

	if (config->gfn >= frames || config->count > frames - config->gfn || config->count > most)
		return -GMM_ERANGE;
	bytes = config->count << guest->hot.page_shift;
	if (config->hva + bytes - 1 < config->hva ||
	    config->memory_page + config->count < config->count ||
	    config->memory_page + config->count > most ||
	    (uintptr_t)config->pointer + bytes - 1 < (uintptr_t)config->pointer)
		return -GMM_ERANGE;
	return 0;
}

int gmm_slot_check_config(const struct gmm_guest *guest, const struct gmm_slot_config *config)
{
	uint64_t mask = ((uint64_t)1 << guest->hot.page_shift) - 1;
	int error = gmm_slot_check_flags(config->flags);

	if (error)
		return error;
	if (config->id >= GMM_SLOTS_MAX || !config->count || (config->hva & mask) ||
	    ((uintptr_t)config->pointer & mask) || gmm_memory_ops_check(config->memory_ops))
		return -GMM_EINVAL;
	if (guest->table.table && (config->memory_ops->flags & GMM_MEMORY_LAZY))
		return -GMM_EINVAL;
	return gmm_slot_check_range(guest, config);
}

bool gmm_slot_is_taken(struct gmm_guest *guest, const struct gmm_slot *self, gmm_gfn_t gfn,
		       uint64_t count)
{
	struct gmm_interval *node;
	bool taken = false;

	/* A search counts what it visits, so it needs the lock too. */
	gmm_lock_invalidate(&guest->invalidation.lock);
	gmm_interval_for_each(node, &guest->slots.by_gfn, gfn, gfn + count - 1)
		taken |= !self || node != &self->by_gfn;
	gmm_unlock_invalidate(&guest->invalidation.lock);
	return taken;
}

void gmm_slot_list(struct gmm_guest *guest, struct gmm_slot *slot)
{
	const struct gmm_slot_config *config = &slot->config;

	slot->by_gfn.start = config->gfn;
	slot->by_gfn.last = config->gfn + config->count - 1;
	slot->by_hva.start = config->hva;
	slot->by_hva.last = config->hva + (config->count << guest->hot.page_shift) - 1;
	gmm_interval_insert(&guest->slots.by_gfn, &slot->by_gfn);
	gmm_interval_insert(&guest->slots.by_hva, &slot->by_hva);
	guest->slots.by_id[config->id] = slot;
}

void gmm_slot_unlist(struct gmm_guest *guest, struct gmm_slot *slot)
{
	gmm_interval_remove(&guest->slots.by_gfn, &slot->by_gfn);
	gmm_interval_remove(&guest->slots.by_hva, &slot->by_hva);
	guest->slots.by_id[slot->config.id] = NULL;
}

int gmm_slot_get(struct gmm_guest *guest, uint32_t id, struct gmm_slot_config *config)
{
	struct gmm_slot *slot;

	if (id >= GMM_SLOTS_MAX)
		return -GMM_ENOENT;
	gmm_lock_invalidate(&guest->invalidation.lock);
	slot = guest->slots.by_id[id];
	if (slot)
		*config = slot->config;
	gmm_unlock_invalidate(&guest->invalidation.lock);
	return slot ? 0 : -GMM_ENOENT;
}

uint32_t gmm_slot_count(const struct gmm_guest *guest)
{
	return gmm_load_acquire(&guest->slots.count);
}
