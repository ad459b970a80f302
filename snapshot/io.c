/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "io_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backing/file_io_impl.h"

static int before(const struct snapshot_io *io, enum snapshot_step step, const char *name)
{
	return io->before ? io->before(io->opaque, step, name) : 0;
}

/* What a guest has in memory is for nobody else to read. */
int gmm_snapshot_io_make_directory(const struct snapshot_io *io, const char *directory)
{
	int error = before(io, SNAPSHOT_STEP_MAKE_DIRECTORY, directory);

	return error ? error : mkdir(directory, 0700) ? errno : 0;
}

int gmm_snapshot_io_create(const struct snapshot_io *io, int directory_fd, const char *name,
			   int *fd)
{
	int error = before(io, SNAPSHOT_STEP_CREATE, name);

	if (error)
		return error;
	*fd = openat(directory_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	return *fd < 0 ? errno : 0;
}

int gmm_snapshot_io_truncate(const struct snapshot_io *io, const char *name, int fd, uint64_t bytes)
{
	int error = before(io, SNAPSHOT_STEP_TRUNCATE, name);

	return error ? error : ftruncate(fd, (off_t)bytes) ? errno : 0;
}

int gmm_snapshot_io_write(const struct snapshot_io *io, const char *name, int fd,
			  const void *buffer, size_t length, uint64_t offset)
{
	int error = before(io, SNAPSHOT_STEP_WRITE, name);

	if (error)
		return error;
	if (gmm_file_write(fd, buffer, length, offset, &error) == length)
		return 0;
	return error ? error : ENOSPC;
}

/* What is on disk need not stay in memory: who reads it again reads the disk. */
int gmm_snapshot_io_sync(const struct snapshot_io *io, const char *name, int fd)
{
	int error = before(io, SNAPSHOT_STEP_SYNC, name);

	if (error)
		return error;
	if (fsync(fd))
		return errno;
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	return 0;
}

int gmm_snapshot_io_sync_directory(const struct snapshot_io *io, int directory_fd, const char *name)
{
	int error = before(io, SNAPSHOT_STEP_SYNC_DIRECTORY, name);

	return error ? error : fsync(directory_fd) ? errno : 0;
}

int gmm_snapshot_io_rename(const struct snapshot_io *io, int directory_fd, const char *from,
			   const char *to)
{
	int error = before(io, SNAPSHOT_STEP_RENAME, from);

	return error ? error : renameat(directory_fd, from, directory_fd, to) ? errno : 0;
}

int gmm_snapshot_io_remove(const struct snapshot_io *io, int directory_fd, const char *name)
{
	int error = before(io, SNAPSHOT_STEP_REMOVE, name);

	return error ? error : unlinkat(directory_fd, name, 0) ? errno : 0;
}
