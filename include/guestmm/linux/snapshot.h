/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Guest memory saved in a directory: a raw base, increments over it, and a manifest that names them
 * in order. docs/SNAPSHOT.md is the format. The reader is a source of pages; the writer adds files
 * under new names and changes nothing that the manifest names, until a commit puts a new manifest
 * in the place of the old one in one step. So at any moment, also after a crash or on a full
 * disk, the directory holds one whole snapshot: the old one or the new one. What is made is for the
 * owner only (modes 0700 and 0600).
 *
 * Errors that both return: -GMM_ENOENT (no such directory, or no snapshot in it), -GMM_EINVAL
 * (damaged, of another format or version, or an argument), -GMM_EBUSY (another writer has it, or it
 * was written to meanwhile), -GMM_ENOMEM, -GMM_EIO (everything else that the system refuses). A
 * `text` then holds one line that names the file, what is wrong, and the way out. All functions may
 * sleep.
 */
#ifndef GUESTMM_LINUX_SNAPSHOT_H
#define GUESTMM_LINUX_SNAPSHOT_H

#include <guestmm/linux/source.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Files that one snapshot consists of: a base, and increments. */
#define GMM_SNAPSHOT_CHAIN_MAX 64u
/* Pages of memory: 16 TiB with 4 KiB pages. Increments together have no more either. */
#define GMM_SNAPSHOT_PAGES_MAX 0xfffffffeu

/* Read everything once at open and compare it with the checksums. Bitmaps always are. */
#define GMM_SNAPSHOT_VERIFY 1u

/*
 * Opens the snapshot in `directory`; the newest increment that has a page wins, then the base. The
 * page size must be the snapshot's; page_shift 0 takes that one. Everything in the manifest is
 * checked before it is used. Costs 4 bytes of memory for each page of the guest when there are
 * increments (untouched parts of that stay unbacked), and an open file for each of the chain.
 *
 * The source keeps its files open. A writer that replaces the snapshot meanwhile does not disturb
 * it, also when it removes those files; read and check fail with -GMM_EIO when one of them was
 * changed in place or cut off.
 */
GMM_API int gmm_source_open_snapshot(struct gmm_source *source, const char *directory,
				     uint32_t page_shift, uint32_t flags, char *text,
				     size_t text_size);

struct gmm_snapshot_info {
	uint64_t page_count;
	uint64_t time;	     /* when it was committed: seconds since 1970, UTC */
	uint64_t file_bytes; /* sum of the files' sizes, holes included */
	uint32_t chain;	     /* files: 1 is a base without increments */
};
/* Of an open source; -GMM_EINVAL when it is no snapshot. Any context. */
GMM_API int gmm_snapshot_read_info(const struct gmm_source *source, struct gmm_snapshot_info *info);

/* A writer is used by one thread at a time. After a failure it can only be closed. */
struct gmm_snapshot_writer;

struct gmm_snapshot_writer_config {
	const char *directory; /* made when it is not there; its parent must be */
	uint64_t page_count;
	uint32_t page_shift;
	/*
	 * What the memory was started from, or NULL. When it is a snapshot of this directory,
	 * increments are added to its chain; else a base comes first. Used during open only.
	 */
	const struct gmm_source *parent;
};

struct gmm_snapshot_writer_counters {
	uint64_t bases;
	uint64_t increments;
	uint64_t pages; /* written, zero pages included */
	uint64_t bytes; /* without holes */
};

/*
 * Takes the directory's lock, which ends with the writer or its process, and removes what a killed
 * writer left: files with names of ours that the manifest does not name. -GMM_EBUSY: there is
 * another writer, or the directory has another snapshot now than `parent`.
 */
GMM_API int gmm_snapshot_writer_open(const struct gmm_snapshot_writer_config *config,
				     struct gmm_snapshot_writer **writer, char *text,
				     size_t text_size);
/* Removes what was not committed, and gives the lock back. */
GMM_API void gmm_snapshot_writer_close(struct gmm_snapshot_writer *writer);

/*
 * Files in the chain as it would be committed now. 0: begin a base. GMM_SNAPSHOT_CHAIN_MAX: it is
 * full, begin a base, too.
 */
GMM_API uint32_t gmm_snapshot_writer_chain(const struct gmm_snapshot_writer *writer);

/*
 * Begin a file. A base starts a new chain; the files of the one before are removed when the new one
 * is committed. An increment without a base: -GMM_EINVAL; one too many: -GMM_ENOSPC; both leave the
 * writer as it is.
 */
GMM_API int gmm_snapshot_writer_begin_base(struct gmm_snapshot_writer *writer);
GMM_API int gmm_snapshot_writer_begin_increment(struct gmm_snapshot_writer *writer);
/*
 * Adds pages to the file that was begun, in ascending order; a base has all pages, so none may be
 * left out. Zero pages take no room on disk.
 */
GMM_API int gmm_snapshot_writer_write(struct gmm_snapshot_writer *writer, uint64_t page,
				      uint32_t count, const void *buffer);
/* Completes the file and returns when the disk has it. */
GMM_API int gmm_snapshot_writer_end(struct gmm_snapshot_writer *writer);

/*
 * Opens, from disk and with all checksums compared, what a commit would make the snapshot. For
 * whoever wants to compare it before the old one goes.
 */
GMM_API int gmm_snapshot_writer_reopen(struct gmm_snapshot_writer *writer,
				       struct gmm_source *source);
/*
 * Makes the chain the snapshot of the directory: in one step, and on the disk when it returns. Then
 * files of the old one that the new one does not name are removed. On failure the directory
 * has the old snapshot; only when the last write of the directory itself fails, the new one,
 * and after a loss of power perhaps the old one. The writer may go on with increments.
 */
GMM_API int gmm_snapshot_writer_commit(struct gmm_snapshot_writer *writer);

GMM_API void gmm_snapshot_writer_read_counters(const struct gmm_snapshot_writer *writer,
					       struct gmm_snapshot_writer_counters *counters);
/* The first failure as one line, or "". */
GMM_API void gmm_snapshot_writer_failure(const struct gmm_snapshot_writer *writer, char *text,
					 size_t text_size);

#ifdef __cplusplus
}
#endif

#endif
