/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Where the newest copy of each page is. Pages of increments are numbered through, in the order of
 * the chain and of their files; the index has that number + 1 for a page, or 0: it is in the base.
 * So it costs 4 bytes a page however long the chain is.
 */
#ifndef GUESTMM_SNAPSHOT_INDEX_IMPL_H
#define GUESTMM_SNAPSHOT_INDEX_IMPL_H

#include <stddef.h>
#include <stdint.h>

#include "manifest_impl.h"

struct snapshot_index {
	uint32_t *places; /* NULL: all in the base */
	uint32_t count;	  /* files of the chain */
	/* By file: the first of its pages' numbers, less one; file 0 is the base and has none. */
	uint64_t first[GMM_SNAPSHOT_CHAIN_MAX];
	uint64_t data_offset; /* of pages in an increment */
	uint64_t page_count;
	uint32_t page_shift;
};

/* Where a run of pages is: as one piece of one file. */
struct snapshot_piece {
	uint32_t file;
	uint32_t count;
	uint64_t offset;
};

/*
 * Reads the bitmaps of all increments, whose descriptors are in `fds`, and compares them with their
 * checksums. A failure's line names the file. -GMM_EINVAL, -GMM_EIO, -GMM_ENOMEM.
 */
int gmm_snapshot_index_build(struct snapshot_index *index, const struct snapshot_manifest *manifest,
			     const int *fds, const char *directory, char *text, size_t text_size);
void gmm_snapshot_index_destroy(struct snapshot_index *index);

/* The longest run from `page` on, of at most `count` pages, that is one piece. */
struct snapshot_piece gmm_snapshot_index_find(const struct snapshot_index *index, uint64_t page,
					      uint32_t count);

#endif
