/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "shadow.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct run_shadow {
	const struct gmm_source *source;
	int fd;
	uint64_t pages;
	uint64_t *stored; /* a bit a page */
};

static int open_file(void)
{
	const char *directory = getenv("TMPDIR");
	int fd;

	if (!directory || !*directory)
		directory = "/var/tmp";
	fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return fd >= 0 ? fd : memfd_create("gmm-shadow", MFD_CLOEXEC);
}

int run_shadow_create(const struct gmm_source *source, uint64_t page_count,
		      struct run_shadow **shadow)
{
	struct run_shadow *made = calloc(1, sizeof(*made));
	int error, open_error;

	if (!made)
		return -GMM_ENOMEM;
	made->source = source;
	made->fd = open_file();
	open_error = -errno;
	made->stored = calloc((page_count + 63) / 64, sizeof(*made->stored));
	if (made->fd < 0 || !made->stored) {
		error = made->fd < 0 ? open_error : -GMM_ENOMEM;
		run_shadow_destroy(made);
		return error;
	}
	*shadow = made;
	return 0;
}

void run_shadow_destroy(struct run_shadow *shadow)
{
	if (!shadow)
		return;
	if (shadow->fd >= 0)
		close(shadow->fd);
	free(shadow->stored);
	free(shadow);
}

bool run_shadow_has(const struct run_shadow *shadow, uint64_t page)
{
	return shadow->stored[page / 64] >> page % 64 & 1;
}

static size_t page_bytes(const struct run_shadow *shadow)
{
	return (size_t)1 << shadow->source->page_shift;
}

int run_shadow_write(struct run_shadow *shadow, uint64_t page, const void *contents)
{
	size_t length = page_bytes(shadow);
	ssize_t done;

	do {
		done = pwrite(shadow->fd, contents, length, (off_t)(page * length));
	} while (done < 0 && errno == EINTR);
	if (done != (ssize_t)length)
		return -GMM_EIO;
	shadow->pages += !run_shadow_has(shadow, page);
	shadow->stored[page / 64] |= (uint64_t)1 << page % 64;
	return 0;
}

int run_shadow_read(const struct run_shadow *shadow, uint64_t page, void *contents)
{
	size_t length = page_bytes(shadow);
	ssize_t done;

	if (!run_shadow_has(shadow, page))
		return shadow->source->ops->read(shadow->source->source, page, 1, contents);
	do {
		done = pread(shadow->fd, contents, length, (off_t)(page * length));
	} while (done < 0 && errno == EINTR);
	return done == (ssize_t)length ? 0 : -GMM_EIO;
}

uint64_t run_shadow_pages(const struct run_shadow *shadow)
{
	return shadow->pages;
}
