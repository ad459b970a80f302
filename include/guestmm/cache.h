/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Caches: a GPA or HVA becomes a pointer, a frame number, or both, kept until an invalidation of
 * the range clears it. The pattern of use:
 *
 *	gmm_section_enter(reader);
 *	while (!(pointer = gmm_cache_pointer(cache, 0, length))) {
 *		gmm_section_exit(reader);
 *		error = gmm_cache_refresh(cache);    -- may sleep; stop on error
 *		gmm_section_enter(reader);
 *	}
 *	... use pointer; gmm_cache_mark_dirty(cache, 0, length) after a store ...
 *	gmm_section_exit(reader);
 *
 * A successful refresh does not promise that the cache is still valid: the check in the section
 * does.
 */
#ifndef GUESTMM_CACHE_H
#define GUESTMM_CACHE_H

#include <guestmm/guest.h>
#include <guestmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Uses of a cache; a set of bits. At least one of HOST and GUEST. */
#define GMM_CACHE_HOST 1u  /* a pointer, for use in sections */
#define GMM_CACHE_GUEST 2u /* a frame number, used by vCPUs of its set while in guest mode */
#define GMM_CACHE_WRITE 4u /* will be written; over a read-only slot the cache is read-only */

/* Pages that one cache can cover. */
#define GMM_CACHE_PAGES_MAX 512u

/* Makes an inactive cache. -GMM_ENOMEM. May sleep. */
GMM_API int gmm_cache_create(struct gmm_guest *guest, struct gmm_cache **cache);

/*
 * Deactivates it, takes it out of all sets and frees it. The caller makes sure that nobody uses it
 * any more; not on the thread of a vCPU of its set in guest mode. -GMM_EDEADLK as for
 * gmm_cache_deactivate(); -GMM_EBUSY: it is leased (lease.h), and nothing is changed. May sleep.
 */
GMM_API int gmm_cache_destroy(struct gmm_cache *cache);

/*
 * Targets [gpa, gpa + length) and refreshes. A cache that is active is re-targeted, its old
 * translation undone first. The area may cover several pages and slots: slots with different
 * rights, kinds of memory, or frames that cannot be one range are -GMM_EXDEV. -GMM_EINVAL: length
 * 0, too many pages, unknown or no use; -GMM_ERANGE: wraps or beyond the address space;
 * -GMM_EDEADLK: in a section, or over this thread's own change; -GMM_EBUSY: the cache is leased
 * (lease.h); these change nothing. After
 * any other error, those of refresh, the cache is active and invalid with the new target, so that a
 * later refresh can succeed. May sleep.
 */
GMM_API int gmm_cache_activate(struct gmm_cache *cache, gmm_gpa_t gpa, uint64_t length,
			       uint32_t uses);

/*
 * The same for a host virtual address. Such a cache has no slot: its stores are in no dirty log,
 * and whoever saves the guest must treat its pages as always dirty.
 */
GMM_API int gmm_cache_activate_hva(struct gmm_cache *cache, gmm_hva_t hva, uint64_t length,
				   uint32_t uses);

/*
 * Makes the cache valid again for the same target; quick when it is valid. Sleeps while a change of
 * its range is in progress, makes absent pages resident, resolves only pages that were hit, and
 * keeps the mapping when the frames are the same (W4). Never overtaken: a change between resolving
 * and publishing makes it start again (P2, P3, P31, P35). When a change that did not wait for a
 * lease moved the frames, asks for the lease and sleeps until it is dropped.
 * -GMM_EINVAL: inactive (P10); -GMM_EFAULT: in no slot, or not accessible; -GMM_EXDEV as above;
 * -GMM_EROFS never: see GMM_CACHE_WRITE; -GMM_ENOMEM; -GMM_EIO; -GMM_EDEADLK: in a section, or it
 * would sleep for a change while this thread has one in progress. May sleep.
 */
GMM_API int gmm_cache_refresh(struct gmm_cache *cache);

/*
 * Undoes the mapping and keeps the translation: the pointer is gone, the frame numbers stay, and
 * the next refresh only maps. Waits for sections. -GMM_EINVAL: inactive; -GMM_EBUSY: leased;
 * -GMM_EDEADLK: in a section. May sleep.
 */
GMM_API int gmm_cache_drop(struct gmm_cache *cache);

/*
 * Ends the target: waits for sections and kicks the vCPUs of its set. Idempotent. -GMM_EBUSY:
 * leased, and nothing is changed; -GMM_EDEADLK in a section, or with vCPUs in its set while this
 * thread changes something. May sleep.
 */
GMM_API int gmm_cache_deactivate(struct gmm_cache *cache);

/*
 * Adds a vCPU to the set whose members use the frame in guest mode (GMM_CACHE_GUEST), or takes it
 * out. A vCPU refreshes the caches whose sets it is in before it enters (gmm_vcpu_enter). Not while
 * that vCPU is in guest mode: -GMM_EBUSY. -GMM_EEXIST / -GMM_ENOENT, -GMM_ENOMEM. May sleep.
 */
GMM_API int gmm_cache_vcpu_add(struct gmm_cache *cache, struct gmm_vcpu *vcpu);
GMM_API int gmm_cache_vcpu_remove(struct gmm_cache *cache, struct gmm_vcpu *vcpu);

/*
 * The pointer to [offset, offset + length) of the area, or NULL when the cache is not valid, has no
 * pointer or is shorter. Only in a section, and usable until it is left. Reads `valid` and the
 * length only (W4). Also inline: static/cache.h.
 */
GMM_API void *gmm_cache_pointer(const struct gmm_cache *cache, uint64_t offset, uint64_t length);

/* Whether stores are allowed (see GMM_CACHE_WRITE). In a section after gmm_cache_pointer(). */
GMM_API bool gmm_cache_writable(const struct gmm_cache *cache);

/*
 * Puts the pages of [offset, offset + length) into the dirty log, after the stores, in the same
 * section (W6; P24-P26). No lock, no sleep. Also inline: static/cache.h.
 */
GMM_API void gmm_cache_mark_dirty(const struct gmm_cache *cache, uint64_t offset, uint64_t length);

/*
 * The frame of page `page` of the area, or GMM_PFN_NONE when the cache is not valid. In a section;
 * it stays right until the section is left. A vCPU in guest mode asks gmm_vcpu_pfn() (vcpu.h).
 */
GMM_API gmm_pfn_t gmm_cache_pfn(const struct gmm_cache *cache, uint32_t page);

#ifdef __cplusplus
}
#endif

#endif
