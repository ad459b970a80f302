/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "file_io_impl.h"
#include "store_impl.h"

/* For file systems without O_TMPFILE. */
static int open_and_unlink(const char *directory)
{
	char *path = NULL;
	int fd, error;

	if (asprintf(&path, "%s/gmm-evicted-XXXXXX", directory) < 0) {
		errno = ENOMEM;
		return -1;
	}
	fd = mkostemp(path, O_CLOEXEC);
	error = errno;
	if (fd >= 0)
		unlink(path);
	free(path);
	errno = error;
	return fd;
}

static int open_unnamed(const char *directory)
{
	int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	/* EISDIR is the answer of kernels and file systems that do not know the flag. */
	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL))
		fd = open_and_unlink(directory);
	return fd;
}

/* A write beyond the limit of file sizes would be a signal, and end the program. */
static bool within_file_limit(uint64_t size)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
	       size <= limit.rlim_cur;
}

int gmm_store_open(struct gmm_store *store, const char *directory, uint64_t size, char *text,
		   size_t text_size)
{
	char reason[128];

	if (!directory)
		directory = getenv("TMPDIR");
	if (!directory || directory[0] == '\0')
		directory = "/var/tmp";
	if (!within_file_limit(size))
		return gmm_refuse(text, text_size, -GMM_EIO,
				  "evicted pages need a file of up to %llu bytes, more than this "
				  "process may write: raise ulimit -f",
				  (unsigned long long)size);
	store->directory = strdup(directory);
	if (!store->directory)
		return gmm_refuse(text, text_size, -GMM_ENOMEM,
				  "evicted pages: out of memory on the host");
	store->fd = open_unnamed(directory);
	if (store->fd < 0) {
		int error = errno;

		gmm_refuse(text, text_size, -GMM_EIO,
			   "%s: no file for evicted pages can be made there (%s): %s", directory,
			   gmm_errno_text(error, reason, sizeof(reason)),
			   error == EMFILE || error == ENFILE ?
				   "raise ulimit -n, or end other programs" :
				   "set TMPDIR to a directory that is writable");
		free(store->directory);
		return -GMM_EIO;
	}
	return 0;
}

void gmm_store_close(struct gmm_store *store)
{
	close(store->fd);
	free(store->directory);
}

int gmm_store_write(const struct gmm_store *store, uint64_t offset, const void *buffer,
		    size_t length, struct gmm_failure *failure)
{
	char reason[128];
	int error;

	if (gmm_file_write(store->fd, buffer, length, offset, &error) == length)
		return 0;
	gmm_failure_set(failure,
			"evicted pages in %s: write of %zu bytes at offset %llu failed (%s): free "
			"space there, or set TMPDIR to another file system",
			store->directory, length, (unsigned long long)offset,
			gmm_errno_text(error, reason, sizeof(reason)));
	return -GMM_EIO;
}

int gmm_store_read(const struct gmm_store *store, uint64_t offset, void *buffer, size_t length,
		   struct gmm_failure *failure)
{
	char reason[128];
	int error;
	size_t got = gmm_file_read(store->fd, buffer, length, offset, &error);

	if (got == length)
		return 0;
	gmm_failure_set(
		failure,
		"evicted pages in %s: read of %zu bytes at offset %llu gave %zu (%s): check "
		"the disk",
		store->directory, length, (unsigned long long)offset, got,
		error ? gmm_errno_text(error, reason, sizeof(reason)) : "end of file");
	return -GMM_EIO;
}
