/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* A writer's parts: the directory and the chain (writer.c), the file in the making (writer_file.c). */
#ifndef GUESTMM_SNAPSHOT_WRITER_IMPL_H
#define GUESTMM_SNAPSHOT_WRITER_IMPL_H

#include <sys/stat.h>

#include "io_impl.h"
#include "manifest_impl.h"
#include "sum_impl.h"

struct gmm_snapshot_writer {
	struct snapshot_io io;
	char *directory; /* as the caller wrote it */
	int directory_fd;
	bool locked;	     /* so nobody else's files are in the making */
	bool made_directory; /* by us, and nothing was committed to it */
	bool prepared;	     /* the new manifest lies beside the old one */

	struct snapshot_manifest committed; /* count 0: there is none */
	struct snapshot_manifest chain;	    /* what the next commit makes it */
	struct gmm_snapshot_writer_counters counters;

	/* The file in the making. */
	int fd;		 /* -1: there is none */
	uint64_t next;	 /* the first page that may come */
	uint8_t *bitmap; /* of an increment */
	struct snapshot_sum *sum;

	int error;
	char failure[GMM_BACKING_TEXT_SIZE];
};

/* With a hook before each step on disk. */
int gmm_snapshot_writer_open_hooked(const struct gmm_snapshot_writer_config *config,
				    const struct snapshot_io *io,
				    struct gmm_snapshot_writer **writer, char *text,
				    size_t text_size);

/* The file that is in the making, behind the last of the chain. */
static inline struct snapshot_file *gmm_snapshot_writer_file(struct gmm_snapshot_writer *writer)
{
	return &writer->chain.files[writer->chain.count];
}

/* Keeps the line of the first failure, and returns `error`. */
int gmm_snapshot_writer_fail(struct gmm_snapshot_writer *writer, int error, const char *format, ...)
	GMM_PRINTF(3, 4);
/* The same for a step on the disk that gave an errno. */
int gmm_snapshot_writer_fail_step(struct gmm_snapshot_writer *writer, const char *name,
				  const char *what, int system_error);
/* A number that nothing here has yet. */
int gmm_snapshot_writer_new_id(struct gmm_snapshot_writer *writer, uint64_t *id);

#endif
