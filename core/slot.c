/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Slots and their changes. Every change is: check, allocate, make the range unreachable (an
 * invalidation that also waits for operations under way), tell the owner, publish, end. Faults are
 * served while the owner is told, so pages that are added are published for them before it, and
 * taken back when it refuses. Everything else that can fail is before the publication.
 */
#include <gmm_port/alloc.h>
#include <gmm_port/step.h>

#include "cache_impl.h"
#include "dirty_impl.h"
#include "guest_impl.h"
#include "page_impl.h"

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

static int check_flags(uint32_t flags)
{
	if (flags & ~(GMM_SLOT_LOG_DIRTY | GMM_SLOT_READ_ONLY | GMM_SLOT_LOG_ALL_SET))
		return -GMM_EINVAL;
	if ((flags & GMM_SLOT_READ_ONLY) && (flags & GMM_SLOT_LOG_DIRTY))
		return -GMM_EINVAL;
	return (flags & GMM_SLOT_LOG_ALL_SET) && !(flags & GMM_SLOT_LOG_DIRTY) ? -GMM_EINVAL : 0;
}

/* Sums that wrap, and frames beyond the address space. */
static int check_range(const struct gmm_guest *guest, const struct gmm_slot_config *config)
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

static int check_config(const struct gmm_guest *guest, const struct gmm_slot_config *config)
{
	uint64_t mask = ((uint64_t)1 << guest->hot.page_shift) - 1;
	int error = check_flags(config->flags);

	if (error)
		return error;
	if (config->id >= GMM_SLOTS_MAX || !config->count || (config->hva & mask) ||
	    ((uintptr_t)config->pointer & mask) || gmm_memory_ops_check(config->memory_ops))
		return -GMM_EINVAL;
	return check_range(guest, config);
}

/* Whether frames are taken by a slot other than `self`. Under slots.mutex. */
static bool is_taken(struct gmm_guest *guest, const struct gmm_slot *self, gmm_gfn_t gfn,
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

static struct gmm_slot_info info_of(const struct gmm_slot_config *config)
{
	return (struct gmm_slot_info){
		.id = config->id,
		.flags = config->flags,
		.gfn = config->gfn,
		.count = config->count,
		.hva = config->hva,
		.memory_page = config->memory_page,
		.memory = config->memory,
		.memory_ops = config->memory_ops,
	};
}

static int tell_owner(struct gmm_guest *guest, const struct gmm_slot_config *old,
		      const struct gmm_slot_config *now)
{
	const struct gmm_stage2_ops *ops = guest->config.stage2_ops;
	struct gmm_slot_info from = { .id = now ? now->id : 0 }, to = { .id = old ? old->id : 0 };

	if (old)
		from = info_of(old);
	if (now)
		to = info_of(now);
	return ops ? ops->slot_change(guest->config.stage2_owner, &from, &to) : 0;
}

/* In the trees a slot is found by what its config says. Under slots.mutex and the lock. */
static void list_slot(struct gmm_guest *guest, struct gmm_slot *slot)
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

static void unlist_slot(struct gmm_guest *guest, struct gmm_slot *slot)
{
	gmm_interval_remove(&guest->slots.by_gfn, &slot->by_gfn);
	gmm_interval_remove(&guest->slots.by_hva, &slot->by_hva);
	guest->slots.by_id[slot->config.id] = NULL;
}

static struct gmm_range frames_of(gmm_gfn_t gfn, uint64_t count)
{
	return (struct gmm_range){ .start = gfn, .end = gfn + count };
}

/* A change of one slot: what it was and what it becomes (NULL: nothing), and where that shows. */
struct slot_change {
	const struct gmm_slot_config *old;
	const struct gmm_slot_config *now;
	struct gmm_range frames[2];
	uint32_t count;
	struct gmm_range addresses; /* that memory without a slot loses to it; end 0: none */
};

static void plan_change(struct gmm_guest *guest, struct slot_change *change,
			const struct gmm_slot_config *old, const struct gmm_slot_config *now)
{
	*change = (struct slot_change){ .old = old, .now = now };
	if (old && now && old->gfn == now->gfn) {
		change->frames[change->count++] =
			frames_of(now->gfn, now->count > old->count ? now->count : old->count);
	} else {
		if (old)
			change->frames[change->count++] = frames_of(old->gfn, old->count);
		if (now)
			change->frames[change->count++] = frames_of(now->gfn, now->count);
	}
	if (now && guest->config.hva_ops) {
		change->addresses.start = now->hva;
		change->addresses.end = now->hva + (now->count << guest->hot.page_shift);
		/* At the very end of the addresses: ranges are widened to whole pages. */
		if (!change->addresses.end)
			change->addresses.end = ~(uint64_t)0;
	}
}

static void wake_vcpus(struct gmm_guest *guest, const struct gmm_slot_config *config)
{
	const struct gmm_stage2_ops *ops = guest->config.stage2_ops;
	struct gmm_span span;

	if (!ops || !config || gmm_leaves_out(guest, GMM_LEAVE_OUT_WAKE))
		return;
	span = (struct gmm_span){
		.slot = config->id,
		.page = config->memory_page,
		.gfn = config->gfn,
		.hva = config->hva,
		.count = config->count,
		.memory = config->memory,
		.memory_ops = config->memory_ops,
	};
	ops->wake(guest->config.stage2_owner, &span);
}

/* A fault may be held for frames that are no slot's any more: the addresses still are the vCPUs'. */
static void end_change(struct gmm_guest *guest, const struct slot_change *change, uint32_t flags)
{
	if (change->addresses.end)
		gmm_invalidate_end_flags(guest, GMM_RANGE_HVA, &change->addresses, 1,
					 GMM_INVALIDATE_FAULTS_GO_ON);
	gmm_invalidate_end_flags(guest, GMM_RANGE_GFN, change->frames, change->count,
				 GMM_INVALIDATE_SLOT | flags);
	wake_vcpus(guest, change->old);
}

/*
 * A change has two phases. In the first the range is unreachable for caches and operations, and no
 * vCPU uses a frame of it, but faults are still served: the owner's change may have to wait for a
 * vCPU that stands in one. In the second nothing is under way, and the result is published.
 */
static int open_change(struct gmm_guest *guest, const struct slot_change *change)
{
	int error = gmm_invalidate_begin_flags(guest, GMM_RANGE_GFN, change->frames, change->count,
					       GMM_INVALIDATE_SLOT | GMM_INVALIDATE_FAULTS_GO_ON,
					       NULL);

	if (error)
		return error;
	gmm_trace(slot_change, guest, (change->now ? change->now : change->old)->id,
		  change->old ? change->old->gfn : 0, change->old ? change->old->count : 0,
		  change->now ? change->now->gfn : 0, change->now ? change->now->count : 0);
	if (change->addresses.end)
		gmm_invalidate_begin_flags(guest, GMM_RANGE_HVA, &change->addresses, 1,
					   GMM_INVALIDATE_FAULTS_GO_ON | GMM_INVALIDATE_NESTED,
					   NULL);
	gmm_step(GMM_STEP_SLOT_INVALID);
	return 0;
}

static void hold_change(struct gmm_guest *guest, const struct slot_change *change)
{
	gmm_invalidate_hold(guest, change->frames, change->count);
	gmm_step(GMM_STEP_SLOT_PUBLISH);
}

static int begin_change(struct gmm_guest *guest, const struct slot_change *change)
{
	int error = open_change(guest, change);

	if (error)
		return error;
	error = tell_owner(guest, change->old, change->now);
	if (error) {
		end_change(guest, change, GMM_INVALIDATE_FAULTS_GO_ON);
		return error;
	}
	hold_change(guest, change);
	return 0;
}

/* A dirty map for a slot that logs; *map is NULL for one that does not. */
static int make_log(struct gmm_guest *guest, uint32_t flags, uint64_t count,
		    struct gmm_dirty_map **map)
{
	*map = NULL;
	if (!(flags & GMM_SLOT_LOG_DIRTY))
		return 0;
	*map = gmm_dirty_map_create(count, &guest->counters.dirty_marked);
	if (!*map)
		return -GMM_ENOMEM;
	if (flags & GMM_SLOT_LOG_ALL_SET)
		gmm_dirty_map_mark_range(*map, 0, count);
	return 0;
}

static void free_slot(struct gmm_slot *slot)
{
	gmm_dirty_map_free(slot->dirty);
	gmm_free(slot, sizeof(*slot));
}

/* Forgets page states. Operations are drained, so no page is busy. */
static int forget_pages(void *context, gmm_gfn_t gfn, uint64_t *entries, uint32_t count)
{
	struct gmm_guest *guest = context;
	uint64_t resident = 0;
	uint32_t i;

	for (i = 0; i < count; i++) {
		gmm_assert(!(gmm_load_relaxed(&entries[i]) & GMM_PAGE_BUSY));
		resident += !!(gmm_load_relaxed(&entries[i]) & GMM_PAGE_RESIDENT);
		gmm_store_release(&entries[i], (uint64_t)0);
	}
	gmm_fetch_add(&guest->resident, -resident);
	return 0;
}

static void forget_range(struct gmm_guest *guest, const struct gmm_slot *slot, gmm_gfn_t gfn,
			 uint64_t count)
{
	if (gmm_slot_is_lazy(slot))
		gmm_stage2_visit(&guest->stage2, gfn, count, forget_pages, guest);
}

static int add_locked(struct gmm_guest *guest, struct gmm_slot *slot)
{
	const struct gmm_slot_config *config = &slot->config;
	struct slot_change change;
	int error;

	if (guest->slots.by_id[config->id] || is_taken(guest, NULL, config->gfn, config->count))
		return -GMM_EEXIST;
	plan_change(guest, &change, NULL, config);
	error = make_log(guest, config->flags, config->count, &slot->dirty);
	if (!error)
		error = gmm_slot_table_prepare(guest, config);
	if (!error)
		error = open_change(guest, &change);
	if (error)
		return error;
	gmm_invalidate_lock_alone(guest, change.frames, change.count);
	list_slot(guest, slot);
	gmm_unlock_invalidate(&guest->invalidation.lock);
	error = tell_owner(guest, NULL, config);
	hold_change(guest, &change);
	if (error) {
		forget_range(guest, slot, config->gfn, config->count);
		gmm_invalidate_lock_alone(guest, change.frames, change.count);
		unlist_slot(guest, slot);
		gmm_unlock_invalidate(&guest->invalidation.lock);
	} else {
		gmm_fetch_add(&guest->slots.count, 1u);
	}
	end_change(guest, &change, 0);
	if (error)
		wake_vcpus(guest, config);
	return error;
}

int gmm_slot_add(struct gmm_guest *guest, const struct gmm_slot_config *config)
{
	struct gmm_slot *slot;
	int error = check_config(guest, config);

	if (error)
		return error;
	if (gmm_invalidate_would_deadlock(guest))
		return -GMM_EDEADLK;
	slot = gmm_zalloc(sizeof(*slot));
	if (!slot)
		return -GMM_ENOMEM;
	slot->config = *config;
	gmm_lock_slots(&guest->slots.mutex);
	error = add_locked(guest, slot);
	gmm_unlock_slots(&guest->slots.mutex);
	if (error)
		free_slot(slot);
	return error;
}

/* Runs `change` on a slot under slots.mutex. */
static int with_slot(struct gmm_guest *guest, uint32_t id,
		     int (*change)(struct gmm_guest *guest, struct gmm_slot *slot,
				   uint64_t argument),
		     uint64_t argument)
{
	struct gmm_slot *slot;
	int error = -GMM_ENOENT;

	/* Before the mutex: whoever has it may be waiting for this thread's change. */
	if (gmm_invalidate_would_deadlock(guest))
		return -GMM_EDEADLK;
	gmm_lock_slots(&guest->slots.mutex);
	slot = id < GMM_SLOTS_MAX ? guest->slots.by_id[id] : NULL;
	if (slot)
		error = change(guest, slot, argument);
	gmm_unlock_slots(&guest->slots.mutex);
	return error;
}

/* Mappings that caches have kept of memory that is no longer reached by these frames. */
static void drop_mappings(struct gmm_guest *guest, const struct gmm_slot_config *config,
			  uint64_t first)
{
	uint32_t shift = guest->hot.page_shift;
	uint64_t bytes = config->count << shift;

	gmm_caches_drop_mappings(guest, GMM_RANGE_GFN, config->gfn + first,
				 config->gfn + config->count - 1);
	gmm_caches_drop_mappings(guest, GMM_RANGE_HVA, config->hva + (first << shift),
				 config->hva + bytes - 1);
}

static int remove_change(struct gmm_guest *guest, struct gmm_slot *slot, uint64_t unused)
{
	struct slot_change change;
	int error;

	plan_change(guest, &change, &slot->config, NULL);
	error = begin_change(guest, &change);
	if (error)
		return error;
	forget_range(guest, slot, slot->config.gfn, slot->config.count);
	gmm_invalidate_lock_alone(guest, change.frames, change.count);
	unlist_slot(guest, slot);
	gmm_unlock_invalidate(&guest->invalidation.lock);
	gmm_fetch_add(&guest->slots.count, (uint32_t)-1);
	end_change(guest, &change, 0);
	drop_mappings(guest, &slot->config, 0);
	free_slot(slot);
	return 0;
}

int gmm_slot_remove(struct gmm_guest *guest, uint32_t id)
{
	return with_slot(guest, id, remove_change, 0);
}

/* Tables for a whole range, so that moving states into it cannot fail. */
static int prepare_tables(struct gmm_guest *guest, gmm_gfn_t to, uint64_t count)
{
	uint64_t i;

	for (i = 0; i < count; i += GMM_SOFT_TABLE_ENTRIES)
		if (!gmm_stage2_populate(&guest->stage2, to + i))
			return -GMM_ENOMEM;
	return gmm_stage2_populate(&guest->stage2, to + count - 1) ? 0 : -GMM_ENOMEM;
}

static void move_page(struct gmm_guest *guest, gmm_gfn_t from, gmm_gfn_t to)
{
	uint64_t *entry = gmm_stage2_find(&guest->stage2, from);
	uint64_t value = entry ? gmm_load_relaxed(entry) : 0;
	uint64_t *target = gmm_stage2_find(&guest->stage2, to);

	if (entry)
		gmm_store_release(entry, (uint64_t)0);
	if (target)
		gmm_store_release(target, value);
}

static void move_pages(struct gmm_guest *guest, gmm_gfn_t from, gmm_gfn_t to, uint64_t count)
{
	uint64_t i;

	for (i = 0; i < count; i++) {
		uint64_t page = to > from ? count - 1 - i : i;

		move_page(guest, from + page, to + page);
	}
}

static int move_change(struct gmm_guest *guest, struct gmm_slot *slot, uint64_t gfn)
{
	struct gmm_slot_config old = slot->config, now = slot->config;
	struct slot_change change;
	int error;

	now.gfn = gfn;
	error = check_range(guest, &now);
	if (error || gfn == old.gfn)
		return error;
	if (is_taken(guest, slot, gfn, now.count))
		return -GMM_EEXIST;
	plan_change(guest, &change, &old, &now);
	error = gmm_slot_table_prepare(guest, &now);
	if (!error && gmm_slot_is_lazy(slot))
		error = prepare_tables(guest, gfn, now.count);
	if (!error)
		error = begin_change(guest, &change);
	if (error)
		return error;
	if (gmm_slot_is_lazy(slot))
		move_pages(guest, old.gfn, gfn, now.count);
	gmm_invalidate_lock_alone(guest, change.frames, change.count);
	unlist_slot(guest, slot);
	slot->config = now;
	list_slot(guest, slot);
	gmm_unlock_invalidate(&guest->invalidation.lock);
	end_change(guest, &change, 0);
	/* Of these caches nobody would know when the memory goes. */
	gmm_caches_drop_mappings(guest, GMM_RANGE_GFN, old.gfn, old.gfn + old.count - 1);
	return 0;
}

int gmm_slot_move(struct gmm_guest *guest, uint32_t id, gmm_gfn_t gfn)
{
	return with_slot(guest, id, move_change, gfn);
}

/*
 * Publishes config and log of a slot that stays where it is, while faults are held; *log receives
 * the map no longer used. A log that goes on gets its bits after it is published: until then they
 * may still be set in the old one.
 */
static void publish_config(struct gmm_guest *guest, struct gmm_slot *slot,
			   const struct slot_change *change, const struct gmm_slot_config *now,
			   struct gmm_dirty_map **log)
{
	struct gmm_dirty_map *old_log = slot->dirty;
	uint64_t count = slot->config.count;

	if (count > now->count)
		forget_range(guest, slot, now->gfn + now->count, count - now->count);
	gmm_invalidate_lock_alone(guest, change->frames, change->count);
	unlist_slot(guest, slot);
	slot->config = *now;
	slot->dirty = *log;
	list_slot(guest, slot);
	gmm_unlock_invalidate(&guest->invalidation.lock);
	if (slot->dirty && old_log)
		gmm_dirty_map_merge(slot->dirty, old_log);
	*log = old_log;
}

/* Replaces config and log of a slot that does not become longer. */
static int change_config(struct gmm_guest *guest, struct gmm_slot *slot,
			 const struct gmm_slot_config *now, struct gmm_dirty_map **log)
{
	struct gmm_slot_config old = slot->config;
	struct slot_change change;
	int error;

	plan_change(guest, &change, &old, now);
	error = begin_change(guest, &change);
	if (error)
		return error;
	publish_config(guest, slot, &change, now, log);
	end_change(guest, &change, 0);
	if (old.count > now->count)
		drop_mappings(guest, &old, now->count);
	return 0;
}

/* vCPUs may reach the new pages before the owner's change is over: faults find them by then. */
static int lengthen(struct gmm_guest *guest, struct gmm_slot *slot,
		    const struct gmm_slot_config *now, struct gmm_dirty_map **log)
{
	struct gmm_slot_config old = slot->config;
	struct slot_change change;
	int error;

	plan_change(guest, &change, &old, now);
	error = open_change(guest, &change);
	if (error)
		return error;
	gmm_invalidate_hold(guest, change.frames, change.count);
	publish_config(guest, slot, &change, now, log);
	gmm_invalidate_unhold(guest, change.frames, change.count);
	error = tell_owner(guest, &old, now);
	hold_change(guest, &change);
	if (error)
		publish_config(guest, slot, &change, &old, log);
	end_change(guest, &change, 0);
	if (error)
		wake_vcpus(guest, now);
	return error;
}

static int resize_change(struct gmm_guest *guest, struct gmm_slot *slot, uint64_t count)
{
	struct gmm_slot_config now = slot->config;
	struct gmm_dirty_map *log;
	int error;

	now.count = count;
	if (!count)
		return -GMM_EINVAL;
	error = check_range(guest, &now);
	if (error || count == slot->config.count)
		return error;
	if (is_taken(guest, slot, now.gfn, count))
		return -GMM_EEXIST;
	error = make_log(guest, now.flags & ~GMM_SLOT_LOG_ALL_SET, count, &log);
	if (!error)
		error = gmm_slot_table_prepare(guest, &now);
	if (!error)
		error = (count > slot->config.count ? lengthen : change_config)(guest, slot, &now,
										&log);
	gmm_dirty_map_free(log);
	return error;
}

int gmm_slot_resize(struct gmm_guest *guest, uint32_t id, uint64_t count)
{
	return with_slot(guest, id, resize_change, count);
}

/*
 * The log is there before the pages are protected, and they are before the call returns: a write
 * between is in the log or before its start. Pages that become read-only are protected the same way.
 */
static int protect_all(struct gmm_guest *guest, struct gmm_slot *slot, bool always)
{
	struct gmm_operation operation;
	int error =
		gmm_operation_begin_slot(guest, slot->config.id, 0, slot->config.count, &operation);

	if (error)
		return error;
	error = gmm_dirty_protect(&operation, operation.node.start, slot->config.count, always);
	gmm_operation_end(&operation);
	return error;
}

/* Whether pages that are writable now have to be protected when the flags become these. */
static bool needs_protection(uint32_t before, uint32_t flags)
{
	uint32_t added = flags & ~before;

	return (added & GMM_SLOT_READ_ONLY) ||
	       ((added & GMM_SLOT_LOG_DIRTY) && !(flags & GMM_SLOT_LOG_ALL_SET));
}

static int flags_change(struct gmm_guest *guest, struct gmm_slot *slot, uint64_t flags)
{
	struct gmm_slot_config before = slot->config;
	struct gmm_slot_config now = slot->config;
	struct gmm_dirty_map *log = NULL;
	uint32_t log_flags = (uint32_t)flags;
	int error = check_flags((uint32_t)flags);

	now.flags = (uint32_t)flags;
	if (error || now.flags == before.flags)
		return error;
	if (before.flags & GMM_SLOT_LOG_DIRTY)
		log_flags &= ~GMM_SLOT_LOG_ALL_SET;
	error = make_log(guest, log_flags, now.count, &log);
	if (!error)
		error = change_config(guest, slot, &now, &log);
	if (!error && needs_protection(before.flags, now.flags)) {
		error = protect_all(guest, slot, now.flags & GMM_SLOT_READ_ONLY);
		/* The old log, if there was one, has been kept for this. */
		if (error && change_config(guest, slot, &before, &log))
			gmm_warn_once(
				guest, GMM_WARN_OWNER_FAILED,
				"a change of a slot's flags could neither be made nor undone");
	}
	gmm_dirty_map_free(log);
	return error;
}

int gmm_slot_set_flags(struct gmm_guest *guest, uint32_t id, uint32_t flags)
{
	return with_slot(guest, id, flags_change, flags);
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
