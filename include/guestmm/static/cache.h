/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Inline bodies of the hot path through a cache. The struct is the frozen prefix of struct
 * gmm_cache. `valid` is the only word that may change while a section of this guest uses the
 * others: it is cleared first and waited for, and set last.
 */
#ifndef GUESTMM_STATIC_CACHE_H
#define GUESTMM_STATIC_CACHE_H

#include <guestmm/cache.h>
#include <guestmm/static/dirty.h>
#include <guestmm/static/section.h>

#define GMM_CACHE_HOT_WRITABLE 1u
#define GMM_CACHE_HOT_MARK_SLOW 2u /* pages lie in several slots: each has its own bitmap */

struct gmm_cache_hot {
	uint32_t valid;	 /* atomic */
	uint32_t traits; /* GMM_CACHE_HOT_* */
	uint64_t length;
	uint8_t *pointer;	     /* to the first byte of the area, or NULL */
	struct gmm_dirty_map *dirty; /* NULL: no log, or GMM_CACHE_HOT_MARK_SLOW */
	uint64_t dirty_offset;	     /* bytes from the first page of the bitmap to the area */
	uint32_t page_shift;
};

#ifdef __cplusplus
extern "C" {
#endif
GMM_API void gmm_cache_mark_dirty_slow(const struct gmm_cache *cache, uint64_t offset,
				       uint64_t length);
#ifdef __cplusplus
}
#endif

GMM_INLINE void *gmm_cache_pointer_inline(const struct gmm_cache *cache, uint64_t offset,
					  uint64_t length)
{
	const struct gmm_cache_hot *hot = (const struct gmm_cache_hot *)cache;

	if (gmm_unlikely(!gmm_load_acquire(&hot->valid)))
		return NULL;
	if (gmm_unlikely(offset > hot->length || length > hot->length - offset || !hot->pointer))
		return NULL;
	return hot->pointer + offset;
}

GMM_INLINE bool gmm_cache_writable_inline(const struct gmm_cache *cache)
{
	const struct gmm_cache_hot *hot = (const struct gmm_cache_hot *)cache;

	return gmm_load_acquire(&hot->valid) && (hot->traits & GMM_CACHE_HOT_WRITABLE);
}

GMM_INLINE void gmm_cache_mark_dirty_inline(const struct gmm_cache *cache, uint64_t offset,
					    uint64_t length)
{
	const struct gmm_cache_hot *hot = (const struct gmm_cache_hot *)cache;
	uint64_t first, last;

	if (gmm_unlikely(!hot->dirty || !length)) {
		if (hot->traits & GMM_CACHE_HOT_MARK_SLOW)
			gmm_cache_mark_dirty_slow(cache, offset, length);
		return;
	}
	first = (hot->dirty_offset + offset) >> hot->page_shift;
	last = (hot->dirty_offset + offset + length - 1) >> hot->page_shift;
	if (gmm_likely(first == last))
		gmm_dirty_map_mark(hot->dirty, first);
	else
		gmm_cache_mark_dirty_slow(cache, offset, length);
}

#endif
