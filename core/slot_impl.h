/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_CORE_SLOT_IMPL_H
#define GMM_CORE_SLOT_IMPL_H

#include <guestmm/slot.h>
#include <guestmm/stage2.h>
#include <guestmm/static/dirty.h>

#include "interval.h"
#include "lock_rank.h"

/*
 * A slot as it is published. Its fields change only while its range is being changed and no
 * operation is open on it, under gmm_slots.mutex and the invalidation's lock; either is enough to
 * read them, and so is an open operation.
 */
struct gmm_slot {
	struct gmm_slot_config config;
	struct gmm_interval by_gfn;
	struct gmm_interval by_hva;
	struct gmm_dirty_map *dirty; /* NULL: no log */
};

struct gmm_slots {
	struct gmm_mutex mutex; /* one change of slots at a time */
	/* under mutex and the invalidation's lock */
	struct gmm_slot **by_id; /* GMM_SLOTS_MAX entries */
	struct gmm_interval_tree by_gfn;
	struct gmm_interval_tree by_hva;
	uint32_t count; /* atomic */
};

/* Whether an ops table may be used at all. -GMM_EINVAL. */
int gmm_memory_ops_check(const struct gmm_memory_ops *ops);

int gmm_slots_init(struct gmm_slots *slots);
void gmm_slots_destroy(struct gmm_slots *slots);

/* The slot of a frame, or NULL. Under the invalidation's lock or slots.mutex. */
struct gmm_slot *gmm_slot_find(struct gmm_guest *guest, gmm_gfn_t gfn);

GMM_INLINE bool gmm_slot_is_lazy(const struct gmm_slot *slot)
{
	return slot->config.memory_ops->flags & GMM_MEMORY_LAZY;
}

/* Frames [gfn, gfn + count) of a slot, as the owner and the memory know them. */
struct gmm_span gmm_slot_span(const struct gmm_guest *guest, const struct gmm_slot *slot,
			      gmm_gfn_t gfn, uint64_t count);

/* The direct look-up table, core/slot_table.c. */

/* Makes tables for a slot's range, so that showing it cannot fail. -GMM_ENOMEM. May sleep. */
int gmm_slot_table_prepare(struct gmm_guest *guest, const struct gmm_slot_config *config);
/*
 * Makes frames [gfn, gfn + count) of a slot reachable, or unreachable, chunk by chunk. What is
 * being changed is not shown. Under the invalidation's lock. Does nothing for slots without a
 * direct pointer.
 */
void gmm_slot_table_show(struct gmm_guest *guest, const struct gmm_slot *slot, gmm_gfn_t gfn,
			 uint64_t count);
void gmm_slot_table_hide(struct gmm_guest *guest, const struct gmm_slot *slot, gmm_gfn_t gfn,
			 uint64_t count);
void gmm_slot_table_destroy(struct gmm_guest *guest);

#endif
