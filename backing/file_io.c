/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <errno.h>
#include <unistd.h>

#include "file_io_impl.h"

size_t gmm_file_read(int fd, void *buffer, size_t length, uint64_t offset, int *error)
{
	size_t done = 0;

	*error = 0;
	while (done < length) {
		ssize_t got =
			pread(fd, (char *)buffer + done, length - done, (off_t)(offset + done));

		if (got > 0) {
			done += (size_t)got;
		} else if (got == 0) {
			break;
		} else if (errno != EINTR) {
			*error = errno;
			break;
		}
	}
	return done;
}

size_t gmm_file_write(int fd, const void *buffer, size_t length, uint64_t offset, int *error)
{
	size_t done = 0;

	*error = 0;
	while (done < length) {
		ssize_t put = pwrite(fd, (const char *)buffer + done, length - done,
				     (off_t)(offset + done));

		if (put > 0) {
			done += (size_t)put;
		} else if (put == 0) {
			*error = ENOSPC;
			break;
		} else if (errno != EINTR) {
			*error = errno;
			break;
		}
	}
	return done;
}
