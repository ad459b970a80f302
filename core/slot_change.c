/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Changes of slots: add, remove, move, resize, flags. Every one is: check, allocate, make the range
 * unreachable (an invalidation that also waits for operations under way), tell the owner, publish,
 * end; core/slot_phases.c has what they share. Faults are served while the owner is told, so pages
 * that are added are published for them before it, and taken back when it refuses. Everything else
 * that can fail is before the publication.
 */
#include <gmm_port/alloc.h>

#include "cache_impl.h"
#include "dirty_impl.h"
#include "page_impl.h"
#include "slot_change.h"

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
	struct gmm_slot_change change;
	int error;

	if (guest->slots.by_id[config->id] ||
	    gmm_slot_is_taken(guest, NULL, config->gfn, config->count))
		return -GMM_EEXIST;
	gmm_slot_change_plan(guest, &change, NULL, config);
	error = make_log(guest, config->flags, config->count, &slot->dirty);
	if (!error)
		error = gmm_slot_table_prepare(guest, config);
	if (!error)
		error = gmm_slot_change_open(guest, &change);
	if (error)
		return error;
	gmm_invalidate_lock_alone(guest, change.frames, change.count);
	gmm_slot_list(guest, slot);
	gmm_unlock_invalidate(&guest->invalidation.lock);
	error = gmm_slot_change_tell_owner(guest, &change);
	gmm_slot_change_hold(guest, &change);
	if (error) {
		forget_range(guest, slot, config->gfn, config->count);
		gmm_invalidate_lock_alone(guest, change.frames, change.count);
		gmm_slot_unlist(guest, slot);
		gmm_unlock_invalidate(&guest->invalidation.lock);
	} else {
		gmm_fetch_add(&guest->slots.count, 1u);
	}
	gmm_slot_change_end(guest, &change);
	if (error)
		gmm_slot_wake_vcpus(guest, config);
	return error;
}

int gmm_slot_add(struct gmm_guest *guest, const struct gmm_slot_config *config)
{
	struct gmm_slot *slot;
	int error = gmm_slot_check_config(guest, config);

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
	struct gmm_slot_change change;
	int error;

	gmm_slot_change_plan(guest, &change, &slot->config, NULL);
	error = gmm_slot_change_begin(guest, &change);
	if (error)
		return error;
	forget_range(guest, slot, slot->config.gfn, slot->config.count);
	gmm_invalidate_lock_alone(guest, change.frames, change.count);
	gmm_slot_unlist(guest, slot);
	gmm_unlock_invalidate(&guest->invalidation.lock);
	gmm_fetch_add(&guest->slots.count, (uint32_t)-1);
	gmm_slot_change_end(guest, &change);
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
	struct gmm_slot_change change;
	int error;

	now.gfn = gfn;
	error = gmm_slot_check_range(guest, &now);
	if (error || gfn == old.gfn)
		return error;
	if (gmm_slot_is_taken(guest, slot, gfn, now.count))
		return -GMM_EEXIST;
	gmm_slot_change_plan(guest, &change, &old, &now);
	error = gmm_slot_table_prepare(guest, &now);
	if (!error && gmm_slot_is_lazy(slot))
		error = prepare_tables(guest, gfn, now.count);
	if (!error)
		error = gmm_slot_change_begin(guest, &change);
	if (error)
		return error;
	if (gmm_slot_is_lazy(slot))
		move_pages(guest, old.gfn, gfn, now.count);
	gmm_invalidate_lock_alone(guest, change.frames, change.count);
	gmm_slot_unlist(guest, slot);
	slot->config = now;
	gmm_slot_list(guest, slot);
	gmm_unlock_invalidate(&guest->invalidation.lock);
	gmm_slot_change_end(guest, &change);
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
			   const struct gmm_slot_change *change, const struct gmm_slot_config *now,
			   struct gmm_dirty_map **log)
{
	struct gmm_dirty_map *old_log = slot->dirty;
	uint64_t count = slot->config.count;

	if (count > now->count)
		forget_range(guest, slot, now->gfn + now->count, count - now->count);
	gmm_invalidate_lock_alone(guest, change->frames, change->count);
	gmm_slot_unlist(guest, slot);
	slot->config = *now;
	slot->dirty = *log;
	gmm_slot_list(guest, slot);
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
	struct gmm_slot_change change;
	int error;

	gmm_slot_change_plan(guest, &change, &old, now);
	error = gmm_slot_change_begin(guest, &change);
	if (error)
		return error;
	publish_config(guest, slot, &change, now, log);
	gmm_slot_change_end(guest, &change);
	if (old.count > now->count)
		drop_mappings(guest, &old, now->count);
	return 0;
}

/* vCPUs may reach the new pages before the owner's change is over: faults find them by then. */
static int lengthen(struct gmm_guest *guest, struct gmm_slot *slot,
		    const struct gmm_slot_config *now, struct gmm_dirty_map **log)
{
	struct gmm_slot_config old = slot->config;
	struct gmm_slot_change change;
	int error;

	gmm_slot_change_plan(guest, &change, &old, now);
	error = gmm_slot_change_open(guest, &change);
	if (error)
		return error;
	gmm_invalidate_hold(guest, change.frames, change.count);
	publish_config(guest, slot, &change, now, log);
	gmm_invalidate_unhold(guest, change.frames, change.count);
	error = gmm_slot_change_tell_owner(guest, &change);
	gmm_slot_change_hold(guest, &change);
	if (error)
		publish_config(guest, slot, &change, &old, log);
	gmm_slot_change_end(guest, &change);
	if (error)
		gmm_slot_wake_vcpus(guest, now);
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
	error = gmm_slot_check_range(guest, &now);
	if (error || count == slot->config.count)
		return error;
	if (gmm_slot_is_taken(guest, slot, now.gfn, count))
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

/* An owner's log that ended and begins again has forgotten what it knew: every page counts as written. */
static void log_is_lost(struct gmm_guest *guest, struct gmm_slot *slot)
{
	const struct gmm_stage2_ops *ops = guest->config.stage2_ops;

	if (slot->dirty && ops && (ops->flags & GMM_STAGE2_LOGS_WRITES))
		gmm_dirty_map_mark_range(slot->dirty, 0, slot->config.count);
}

static int flags_change(struct gmm_guest *guest, struct gmm_slot *slot, uint64_t flags)
{
	struct gmm_slot_config before = slot->config;
	struct gmm_slot_config now = slot->config;
	struct gmm_dirty_map *log = NULL;
	uint32_t log_flags = (uint32_t)flags;
	int error = gmm_slot_check_flags((uint32_t)flags);

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
		else if (error)
			log_is_lost(guest, slot);
	}
	gmm_dirty_map_free(log);
	return error;
}

int gmm_slot_set_flags(struct gmm_guest *guest, uint32_t id, uint32_t flags)
{
	return with_slot(guest, id, flags_change, flags);
}
