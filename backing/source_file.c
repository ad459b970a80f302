/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* A raw file as the source of pages, and the certainty that it stayed what it was. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <guestmm/linux/source.h>
#include "failure_impl.h"
#include "file_io_impl.h"

#define WAY_OUT_CHANGED \
	"what was read cannot be trusted; keep the file as it is during a run, or copy it"

struct file_source {
	/* immutable after open */
	int fd;
	uint32_t page_shift;
	struct stat identity;
	char *path;	 /* as the caller wrote it, for messages */
	char *real_path; /* to find it again */

	struct gmm_failure failure;
};

static uint64_t file_size(void *source)
{
	const struct file_source *file = source;

	return (uint64_t)file->identity.st_size;
}

static bool same_time(struct timespec left, struct timespec right)
{
	return left.tv_sec == right.tv_sec && left.tv_nsec == right.tv_nsec;
}

static int file_check(void *source)
{
	struct file_source *file = source;
	const struct stat *then = &file->identity;
	struct stat now;
	char reason[128];

	if (stat(file->real_path, &now) != 0) {
		gmm_failure_set(&file->failure, "%s: removed while in use (%s): " WAY_OUT_CHANGED,
				file->path, gmm_errno_text(errno, reason, sizeof(reason)));
		return -GMM_EIO;
	}
	if (now.st_dev != then->st_dev || now.st_ino != then->st_ino) {
		gmm_failure_set(&file->failure,
				"%s: replaced by another file while in use: " WAY_OUT_CHANGED,
				file->path);
		return -GMM_EIO;
	}
	if (now.st_size != then->st_size) {
		gmm_failure_set(&file->failure,
				"%s: %s while in use, from %lld to %lld bytes: " WAY_OUT_CHANGED,
				file->path, now.st_size < then->st_size ? "truncated" : "extended",
				(long long)then->st_size, (long long)now.st_size);
		return -GMM_EIO;
	}
	if (!same_time(now.st_mtim, then->st_mtim) || !same_time(now.st_ctim, then->st_ctim)) {
		gmm_failure_set(&file->failure, "%s: changed while in use: " WAY_OUT_CHANGED,
				file->path);
		return -GMM_EIO;
	}
	return 0;
}

static int file_read(void *source, uint64_t page, uint32_t count, void *buffer)
{
	struct file_source *file = source;
	size_t length = (size_t)count << file->page_shift;
	uint64_t offset = page << file->page_shift;
	char reason[128];
	int error;
	size_t got = gmm_file_read(file->fd, buffer, length, offset, &error);

	if (got == length)
		return 0;
	/* Where it ends early, the check mostly knows the better reason. */
	if (error == 0 && file_check(file) != 0)
		return -GMM_EIO;
	gmm_failure_set(
		&file->failure,
		"%s: read of %zu bytes at offset %llu gave %zu (%s): check the disk, or make "
		"the file again",
		file->path, length, (unsigned long long)offset, got,
		error ? gmm_errno_text(error, reason, sizeof(reason)) : "end of file");
	return -GMM_EIO;
}

static bool file_is_zero(void *source, uint64_t page, uint32_t count)
{
	const struct file_source *file = source;
	off_t start = (off_t)(page << file->page_shift);
	off_t end = start + ((off_t)count << file->page_shift);
	off_t data = lseek(file->fd, start, SEEK_DATA);

	/* ENXIO is also what a file that was cut off says; then let read find that out. */
	if (data < 0)
		return errno == ENXIO && lseek(file->fd, 0, SEEK_END) == file->identity.st_size;
	return data >= end;
}

static void file_failure(void *source, char *text, size_t text_size)
{
	struct file_source *file = source;

	gmm_failure_get(&file->failure, text, text_size);
}

static void file_close(void *source)
{
	struct file_source *file = source;

	gmm_failure_destroy(&file->failure);
	close(file->fd);
	free(file->real_path);
	free(file->path);
	free(file);
}

static const struct gmm_source_ops file_ops = {
	.version = GMM_SOURCE_OPS_VERSION,
	.name = "file",
	.size = file_size,
	.read = file_read,
	.is_zero = file_is_zero,
	.check = file_check,
	.failure = file_failure,
	.close = file_close,
};

/* O_NONBLOCK, so that a FIFO is opened and refused instead of waited for. */
static int open_to_read(const char *path, char *text, size_t text_size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char reason[128];
	int error = errno;

	if (fd >= 0)
		return fd;
	if (error == ENOENT || error == ENOTDIR)
		return gmm_refuse(text, text_size, -GMM_ENOENT,
				  "%s: no such file: check the path, or make a snapshot with "
				  "scripts/linux-snapshot DIR",
				  path);
	if (error == EACCES || error == EPERM)
		return gmm_refuse(text, text_size, -GMM_EIO,
				  "%s: no permission to read it: run as its owner, or chmod +r it",
				  path);
	if (error == ENOMEM)
		return gmm_refuse(text, text_size, -GMM_ENOMEM, "%s: out of memory on the host",
				  path);
	return gmm_refuse(text, text_size, -GMM_EIO, "%s: cannot be opened (%s): give another file",
			  path, gmm_errno_text(error, reason, sizeof(reason)));
}

static int check_shape(const char *path, const struct stat *identity, uint32_t page_shift,
		       char *text, size_t text_size)
{
	long long size = identity->st_size;
	long long page_size = 1ll << page_shift;

	if (S_ISDIR(identity->st_mode))
		return gmm_refuse(text, text_size, -GMM_EINVAL,
				  "%s: is a directory: give the memory file in it, such as %s/ram",
				  path, path);
	if (!S_ISREG(identity->st_mode))
		return gmm_refuse(text, text_size, -GMM_EINVAL,
				  "%s: is no regular file: copy the memory into one", path);
	if (size == 0)
		return gmm_refuse(text, text_size, -GMM_EINVAL,
				  "%s: is empty: make the snapshot again", path);
	if (size < page_size)
		return gmm_refuse(
			text, text_size, -GMM_EINVAL,
			"%s: has %lld bytes, less than one page of %lld: make the snapshot "
			"again",
			path, size, page_size);
	if (size % page_size != 0)
		return gmm_refuse(
			text, text_size, -GMM_EINVAL,
			"%s: has %lld bytes, %lld more than a multiple of the page size %lld: "
			"it is cut off or no raw memory file; make the snapshot again",
			path, size, size % page_size, page_size);
	return 0;
}

/* Takes the descriptor when it succeeds. */
static int make_file_source(struct gmm_source *source, const char *path, int fd,
			    const struct stat *identity, uint32_t page_shift)
{
	struct file_source *file = calloc(1, sizeof(*file));

	if (!file)
		return -GMM_ENOMEM;
	file->fd = fd;
	file->page_shift = page_shift;
	file->identity = *identity;
	file->path = strdup(path);
	file->real_path = realpath(path, NULL);
	if (!file->path || !file->real_path || gmm_failure_init(&file->failure) != 0) {
		free(file->real_path);
		free(file->path);
		free(file);
		return -GMM_ENOMEM;
	}
	*source = (struct gmm_source){
		.ops = &file_ops,
		.source = file,
		.page_shift = page_shift,
	};
	return 0;
}

int gmm_source_open_file(struct gmm_source *source, const char *path, uint32_t page_shift,
			 char *text, size_t text_size)
{
	struct stat identity;
	char reason[128];
	int fd, err;

	if (page_shift < GMM_BACKING_PAGE_SHIFT_MIN || page_shift > GMM_BACKING_PAGE_SHIFT_MAX)
		return gmm_refuse(text, text_size, -GMM_EINVAL,
				  "%s: page shift %u is not within %u to %u", path, page_shift,
				  GMM_BACKING_PAGE_SHIFT_MIN, GMM_BACKING_PAGE_SHIFT_MAX);
	fd = open_to_read(path, text, text_size);
	if (fd < 0)
		return fd;
	if (fstat(fd, &identity) != 0) {
		err = gmm_refuse(text, text_size, -GMM_EIO, "%s: cannot be examined (%s)", path,
				 gmm_errno_text(errno, reason, sizeof(reason)));
	} else {
		err = check_shape(path, &identity, page_shift, text, text_size);
		if (err == 0) {
			err = make_file_source(source, path, fd, &identity, page_shift);
			if (err != 0)
				gmm_refuse(text, text_size, err,
					   "%s: no memory on the host, or it was moved just now",
					   path);
		}
	}
	if (err != 0)
		close(fd);
	return err;
}
