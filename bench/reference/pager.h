/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Eviction and refault of pages of a memfd by bare system calls, the same ones as the engine's and
 * in its order: 64 pages are protected, written out and punched at a time, and come back one by one.
 */
#ifndef GMM_BENCH_REFERENCE_PAGER_H
#define GMM_BENCH_REFERENCE_PAGER_H

#include <stdbool.h>
#include <stdint.h>

struct reference_pager {
	int userfault;
	int memfd;
	int store;
	uint8_t *data;
	uint64_t pages; /* a multiple of 64 */
};

/* No page is there; each has contents in the store. */
void reference_pager_make(struct reference_pager *pager, uint64_t pages, const char *directory);
void reference_pager_end(struct reference_pager *pager);
/* All pages. `written`: they may have been. */
void reference_pager_evict(struct reference_pager *pager, bool written);
void reference_pager_refault(struct reference_pager *pager, bool write);

#endif
