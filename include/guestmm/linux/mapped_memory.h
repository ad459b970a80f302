/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Memory that this process has mapped already: one mapping, present from the start, never paged. A
 * device process that gets guest memory from a VMM (a memory table of vhost-user, a descriptor over
 * a socket) maps it, makes one of these, and adds a slot.
 *
 * The mapping stays the caller's. Whoever unmaps it, moves it, or removes pages from the file
 * behind it removes the slot or invalidates the range first (invalidate.h): nothing is counted
 * here, and a frame's number is its host address.
 */
#ifndef GUESTMM_LINUX_MAPPED_MEMORY_H
#define GUESTMM_LINUX_MAPPED_MEMORY_H

#include <guestmm/memory.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gmm_mapped_memory;

struct gmm_mapped_memory_config {
	void *start;	     /* of the mapping, page-aligned */
	uint64_t page_count; /* at least 1 */
	uint32_t page_shift; /* 12, 14 or 16, as the guest's; 0 means 12 */
	uint32_t access;     /* GMM_ACCESS_* that the mapping allows; 0 means both */
};

/*
 * Makes a memory of what is mapped there. -GMM_EINVAL: no pages, misaligned, a page size or access
 * that does not exist, or the end wraps; -GMM_ENOMEM. May sleep.
 */
GMM_API int gmm_mapped_memory_create(const struct gmm_mapped_memory_config *config,
				     struct gmm_mapped_memory **memory);

/* Frees it, after the last slot that has it; the mapping stays. */
GMM_API void gmm_mapped_memory_close(struct gmm_mapped_memory *memory);

/* For gmm_slot_config.memory_ops, beside `memory` itself. Any context. */
GMM_API const struct gmm_memory_ops *gmm_mapped_memory_ops(void);

/*
 * The same pages are at another address from now on. Only while the whole range is being changed:
 * between gmm_invalidate_begin() and gmm_invalidate_end() of it, in every guest that has it, and no
 * slot with gmm_slot_config.pointer uses it. -GMM_EINVAL: misaligned, or the end wraps; nothing has
 * changed.
 */
GMM_API int gmm_mapped_memory_move(struct gmm_mapped_memory *memory, void *start);

#ifdef __cplusplus
}
#endif

#endif
