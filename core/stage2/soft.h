/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The soft format: the table of page states. No hardware walks it; an entry says where a page's
 * contents are, who owns its state now, and what vCPUs can do with it. An entry of 0 is a page that
 * was never touched, so tables start zeroed.
 *
 * All bits change by compare-and-exchange. Whoever sets BUSY owns the page's contents and its place
 * in the live second stage until it clears it; nobody else changes anything but WAITED meanwhile.
 */
#ifndef GMM_CORE_STAGE2_SOFT_H
#define GMM_CORE_STAGE2_SOFT_H

#include <guestmm/memory.h>

#define GMM_PAGE_ORIGIN_MASK \
	0x3ull			 /* enum gmm_page_origin: where the contents are when not present */
#define GMM_PAGE_RESIDENT 0x4ull /* the memory holds the contents */
#define GMM_PAGE_BUSY 0x8ull	 /* somebody changes the page */
#define GMM_PAGE_WAITED 0x10ull	 /* … and somebody waits for that: wake on release */
#define GMM_PAGE_MAPPED 0x20ull	 /* vCPUs reach it */
#define GMM_PAGE_WRITABLE 0x40ull /* … for writes */
#define GMM_PAGE_YOUNG 0x80ull	  /* accessed since aging looked */
#define GMM_PAGE_DIRTY 0x100ull	  /* written since the log was harvested */
#define GMM_PAGE_CHANGED 0x200ull /* may differ from its origin: must be written out */
#define GMM_PAGE_PFN_SHIFT 12

#define GMM_SOFT_TABLE_BITS 9u
#define GMM_SOFT_TABLE_ENTRIES (1u << GMM_SOFT_TABLE_BITS)

GMM_INLINE enum gmm_page_origin gmm_page_origin_of(uint64_t entry)
{
	return (enum gmm_page_origin)(entry & GMM_PAGE_ORIGIN_MASK);
}

GMM_INLINE uint64_t gmm_page_with_origin(uint64_t entry, enum gmm_page_origin origin)
{
	return (entry & ~GMM_PAGE_ORIGIN_MASK) | (uint64_t)origin;
}

GMM_INLINE uint64_t gmm_page_pfn_bits(gmm_pfn_t pfn)
{
	return pfn << GMM_PAGE_PFN_SHIFT;
}

/* What the walker template needs of a format: an inner entry is the address of the next table. */
#define GMM_WALKER(name) gmm_soft_##name
#define GMM_WALKER_BITS GMM_SOFT_TABLE_BITS
#define GMM_WALKER_TABLE(entry) ((uint64_t *)(uintptr_t)(entry))
#define GMM_WALKER_LINK(table) ((uint64_t)(uintptr_t)(table))

#endif
