/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Marking one page of a slot's dirty bitmap. The test before the atomic is safe although the store
 * it follows may become visible after it: whoever saw the bit set was in a section, and a harvest
 * that takes the bit waits for that section before it reads the page (W6). The summary is tested
 * too: the thread that set the bit may not have reached the summary yet, and a harvest would miss
 * the word.
 */
#ifndef GUESTMM_STATIC_DIRTY_H
#define GUESTMM_STATIC_DIRTY_H

#include <guestmm/types.h>

#include <gmm_port/atomic.h>

/* One bit a page; one summary bit a word of pages. */
struct gmm_dirty_map {
	uint64_t *words;
	uint64_t *summary;
	uint64_t page_count;
	uint64_t *marked; /* counter of bits newly set; atomic */
};

#ifdef __cplusplus
extern "C" {
#endif
GMM_API void gmm_dirty_map_mark_slow(struct gmm_dirty_map *map, uint64_t page);
#ifdef __cplusplus
}
#endif

GMM_INLINE void gmm_dirty_map_mark(struct gmm_dirty_map *map, uint64_t page)
{
	if (gmm_likely((gmm_load_acquire(&map->words[page / 64]) >> (page % 64)) & 1) &&
	    gmm_likely((gmm_load_relaxed(&map->summary[page / 4096]) >> (page / 64 % 64)) & 1))
		return;
	gmm_dirty_map_mark_slow(map, page);
}

#endif
