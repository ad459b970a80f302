/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Every system call that changes something on disk goes through here, so that a test can make the
 * nth of them fail, or be the last thing that a process does.
 */
#ifndef GUESTMM_SNAPSHOT_IO_IMPL_H
#define GUESTMM_SNAPSHOT_IO_IMPL_H

#include <stddef.h>
#include <stdint.h>

enum snapshot_step {
	SNAPSHOT_STEP_MAKE_DIRECTORY,
	SNAPSHOT_STEP_CREATE,
	SNAPSHOT_STEP_TRUNCATE,
	SNAPSHOT_STEP_WRITE,
	SNAPSHOT_STEP_SYNC,
	SNAPSHOT_STEP_SYNC_DIRECTORY,
	SNAPSHOT_STEP_RENAME,
	SNAPSHOT_STEP_REMOVE,
};

struct snapshot_io {
	/*
	 * Before each step: 0, or an errno with which it fails instead of being done. `name` is that
	 * of the file, without its directory. NULL: there is no such hook.
	 */
	int (*before)(void *opaque, enum snapshot_step step, const char *name);
	void *opaque;
};

/* All return 0 or a positive errno; create gives a descriptor for writing. */
int gmm_snapshot_io_make_directory(const struct snapshot_io *io, const char *directory);
int gmm_snapshot_io_create(const struct snapshot_io *io, int directory_fd, const char *name,
			   int *fd);
int gmm_snapshot_io_truncate(const struct snapshot_io *io, const char *name, int fd,
			     uint64_t bytes);
int gmm_snapshot_io_write(const struct snapshot_io *io, const char *name, int fd,
			  const void *buffer, size_t length, uint64_t offset);
int gmm_snapshot_io_sync(const struct snapshot_io *io, const char *name, int fd);
int gmm_snapshot_io_sync_directory(const struct snapshot_io *io, int directory_fd,
				   const char *name);
int gmm_snapshot_io_rename(const struct snapshot_io *io, int directory_fd, const char *from,
			   const char *to);
int gmm_snapshot_io_remove(const struct snapshot_io *io, int directory_fd, const char *name);

#endif
