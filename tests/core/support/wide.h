/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Memory of many pages for what the small model cannot show: runs, tables and bitmaps beyond their
 * first word. A page is one word, has frame number = page number, and cannot be mapped. No owner.
 */
#ifndef GMM_TEST_WIDE_H
#define GMM_TEST_WIDE_H

#include "model.h"

#define WIDE_PAGES 1200u

struct wide {
	struct gmm_guest *guest;
	uint64_t word[WIDE_PAGES];  /* of resident pages */
	uint64_t store[WIDE_PAGES]; /* of what was written out */
	uint8_t resident[WIDE_PAGES];
	uint32_t fills; /* calls, not pages */
	uint32_t writes;
	uint32_t discards;
	uint32_t fail_fill_at; /* the nth call; 0: none */
};

/* A guest with slot 0 at frame `gfn`. Lazy: page p holds model_word(p) in its source. 4 vCPU ids. */
struct wide *wide_create(bool lazy, gmm_gfn_t gfn, uint32_t flags);
/* With a word that differs in each page: what a write of the guest would do. */
void wide_write(struct wide *wide, uint32_t page, uint64_t word);
void wide_destroy(struct wide *wide);

#endif
