/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Where the contents of absent pages come from: a const table of operations, and the two sources
 * that are always there. A source is a row of pages numbered from 0; it never changes while it is
 * in use. Errors are described in guestmm/error.h.
 */
#ifndef GUESTMM_LINUX_SOURCE_H
#define GUESTMM_LINUX_SOURCE_H

#include <guestmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GMM_SOURCE_OPS_VERSION 1u

/* Enough for every text that sources and memories write, the final zero included. */
#define GMM_BACKING_TEXT_SIZE 512u

/* Page sizes that sources and memories take: 4 KiB to 64 KiB, and no less than the host's. */
#define GMM_BACKING_PAGE_SHIFT_MIN 12u
#define GMM_BACKING_PAGE_SHIFT_MAX 16u

/*
 * All but close may be called by any number of threads at once, and all may sleep. No entry may be
 * NULL. Ranges are never empty and never cross the end: whoever calls has checked that.
 */
struct gmm_source_ops {
	uint32_t version; /* GMM_SOURCE_OPS_VERSION */
	const char *name; /* for messages: "file" */

	/* Bytes; the same value for the source's whole life, a multiple of its page size, not 0. */
	uint64_t (*size)(void *source);
	/*
	 * Copies `count` pages from `page` on. -GMM_EIO: not all of them; `buffer` is then
	 * undefined.
	 */
	int (*read)(void *source, uint64_t page, uint32_t count, void *buffer);
	/* A hint: true when all of these pages are known to be zero without reading them. */
	bool (*is_zero)(void *source, uint64_t page, uint32_t count);
	/* -GMM_EIO when what was read since the source was opened may not be one state of it. */
	int (*check)(void *source);
	/* Writes the first failure of read or check as one line; "" when there was none. */
	void (*failure)(void *source, char *text, size_t text_size);
	void (*close)(void *source);
};

/* An open source. Copy it freely; close it once. */
struct gmm_source {
	const struct gmm_source_ops *ops; /* NULL: there is no source, every page is zero */
	void *source;			  /* the first argument of all operations */
	uint32_t page_shift;		  /* of the page numbers and counts */
};

/*
 * Opens a raw file: page n is at byte n << page_shift. It is only read, by pread, so a file that
 * is cut off is an error and no signal. Its identity (device, inode, size, times of change)
 * is kept: read and check fail with -GMM_EIO when the file was changed, truncated, replaced or
 * removed since, and the text names the file and the way out.
 *
 * Returns 0 and fills *source; on failure writes one line into `text`:
 * -GMM_ENOENT (no such file), -GMM_EINVAL (empty, shorter than a page, not a multiple of the page
 * size, no regular file, page_shift out of range), -GMM_EIO (not readable, and everything else that
 * the system refuses), -GMM_ENOMEM. May sleep.
 */
GMM_API int gmm_source_open_file(struct gmm_source *source, const char *path, uint32_t page_shift,
				 char *text, size_t text_size);

/*
 * Opens a source whose pages are computed from (seed, page number): a third are zero, a
 * third repeat one of 16 pages, a third are random. The same arguments give the same bytes on every
 * machine. -GMM_EINVAL (no pages, too many, page_shift out of range), -GMM_ENOMEM.
 */
GMM_API int gmm_source_open_generated(struct gmm_source *source, uint64_t seed, uint64_t page_count,
				      uint32_t page_shift, char *text, size_t text_size);

/* 0 when all entries are there and the version is known, else -GMM_EINVAL. */
GMM_API int gmm_source_ops_check(const struct gmm_source_ops *ops);

/* Closes and clears *source; nothing happens when there is none. */
GMM_API void gmm_source_close(struct gmm_source *source);

#ifdef __cplusplus
}
#endif

#endif
