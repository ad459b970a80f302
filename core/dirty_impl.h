/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_CORE_DIRTY_IMPL_H
#define GMM_CORE_DIRTY_IMPL_H

#include <guestmm/dirty.h>
#include <guestmm/static/dirty.h>

#include "guest_impl.h"

/* A bitmap for `pages`; `marked` counts bits newly set. NULL when memory is short. */
struct gmm_dirty_map *gmm_dirty_map_create(uint64_t pages, uint64_t *marked);
void gmm_dirty_map_free(struct gmm_dirty_map *map);
void gmm_dirty_map_mark_range(struct gmm_dirty_map *map, uint64_t page, uint64_t count);
/* Marks frames [gfn, last] in the logs of their slots. Under the invalidation's lock. */
void gmm_dirty_mark_locked(struct gmm_guest *guest, gmm_gfn_t gfn, gmm_gfn_t last);
/* Adds the bits of `from` that fit to `to`, which may be in use; `from` is not any more. */
void gmm_dirty_map_merge(struct gmm_dirty_map *to, const struct gmm_dirty_map *from);

/*
 * Write-protects what is writable of [gfn, gfn + count) within an operation, and makes it clean;
 * not when the owner logs writes, unless `always`. -GMM_EIO. May sleep.
 */
int gmm_dirty_protect(struct gmm_operation *operation, gmm_gfn_t gfn, uint64_t count, bool always);

/* An operation on pages [first, first + count) of a slot. -GMM_ENOENT, -GMM_ERANGE, -GMM_EDEADLK. */
int gmm_operation_begin_slot(struct gmm_guest *guest, uint32_t id, uint64_t first, uint64_t count,
			     struct gmm_operation *operation);

/* Pushes if the vCPU has a ring with room; false: mark the bitmap instead. */
bool gmm_dirty_ring_try_push(struct gmm_vcpu *vcpu, uint32_t slot, uint64_t page);

/* Moves what a vCPU's ring, or all rings, hold into the slots' bitmaps. */
void gmm_dirty_ring_drain(struct gmm_vcpu *vcpu);
/* The vCPU goes: also what its consumer has taken and not reset, since nobody will. */
void gmm_dirty_ring_empty(struct gmm_vcpu *vcpu);
void gmm_dirty_rings_drain(struct gmm_guest *guest);

#endif
