/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Memory slots: which guest frames are backed by what. A change of a slot is an invalidation of its
 * GFN range in two phases: the range becomes unreachable, caches are cleared, readers and vCPUs
 * that use a frame are out, then the result is published. Look-ups take no lock.
 */
#ifndef GUESTMM_SLOT_H
#define GUESTMM_SLOT_H

#include <guestmm/guest.h>
#include <guestmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GMM_SLOT_LOG_DIRTY 1u /* keep a dirty bitmap */
#define GMM_SLOT_READ_ONLY 2u /* the guest and its devices cannot write (L14: never logged) */
/*
 * The log starts with every page dirty, and without write-protecting anything: the first harvest
 * takes all, and its pages are protected then.
 */
#define GMM_SLOT_LOG_ALL_SET 4u

struct gmm_slot_config {
	uint32_t id;	/* below GMM_SLOTS_MAX */
	uint32_t flags; /* GMM_SLOT_* */
	gmm_gfn_t gfn;	/* first frame */
	uint64_t count; /* pages, at least 1 */
	/*
	 * Address of the first page in the mapping that vCPUs' accesses go through, page-aligned;
	 * the ranges of gmm_invalidate_begin(GMM_RANGE_HVA) are in these addresses.
	 */
	gmm_hva_t hva;
	const struct gmm_memory_ops *memory_ops;
	void *memory;
	uint64_t memory_page; /* page of `memory` that the first frame is */
	/*
	 * Where the engine sees the whole slot as one mapping, or NULL. With it and without
	 * GMM_MEMORY_LAZY the slot is reached by gmm_slot_pointer() without a cache.
	 */
	void *pointer;
};

/*
 * Adds a slot. -GMM_EINVAL: id, count 0, hva or pointer misaligned, unknown flag, bad ops table,
 * read-only with a log; -GMM_ERANGE: frames beyond the guest's address space, or any sum wraps
 * (L15); -GMM_EEXIST: id or frames taken; -GMM_ENOMEM; -GMM_EDEADLK: called in a section or while
 * this thread changes a range; or what the second stage's owner said. May sleep.
 */
GMM_API int gmm_slot_add(struct gmm_guest *guest, const struct gmm_slot_config *config);

/*
 * Removes a slot: on return nobody uses its memory through this guest. What is known of the pages
 * of lazy memory (filled, evicted, dirty) is forgotten. -GMM_ENOENT, -GMM_EDEADLK, or what the
 * owner said. May sleep.
 */
GMM_API int gmm_slot_remove(struct gmm_guest *guest, uint32_t id);

/*
 * Moves a slot to other frames; contents, page states, dirty bits and HVA stay with it. Old and new
 * frames may overlap. Errors as for adding and removing. May sleep.
 */
GMM_API int gmm_slot_move(struct gmm_guest *guest, uint32_t id, gmm_gfn_t gfn);

/*
 * Makes a slot shorter or longer at its end. Pages taken away are forgotten, as by removing; the
 * caller guarantees memory behind pages added. Errors as for adding and removing. May sleep.
 */
GMM_API int gmm_slot_resize(struct gmm_guest *guest, uint32_t id, uint64_t count);

/*
 * Sets the flags. Starting a log protects every page that is writable now, before it returns,
 * unless GMM_SLOT_LOG_ALL_SET; stopping it drops the bitmap (harvest first). Errors as for adding
 * and removing. May sleep.
 */
GMM_API int gmm_slot_set_flags(struct gmm_guest *guest, uint32_t id, uint32_t flags);

/* Copies what a slot is at this moment. -GMM_ENOENT. Takes a spinning lock; never sleeps. */
GMM_API int gmm_slot_get(struct gmm_guest *guest, uint32_t id, struct gmm_slot_config *config);

/* Number of slots. Any context. */
GMM_API uint32_t gmm_slot_count(const struct gmm_guest *guest);

/*
 * Host address of `length` bytes at `gpa`, or NULL: in no slot, in lazy memory (use a cache), not
 * one piece, being changed, or read-only and `access` asks for more. Only in a section of this
 * guest, and valid until it is left. Takes no lock. Also inline: static/slot.h.
 */
GMM_API void *gmm_slot_pointer(const struct gmm_guest *guest, gmm_gpa_t gpa, uint64_t length,
			       uint32_t access);

#ifdef __cplusplus
}
#endif

#endif
