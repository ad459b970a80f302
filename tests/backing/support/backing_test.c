/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backing_test.h"

char *scratch_make(void)
{
	/* The runner's, which it removes however the test ends. */
	const char *base = getenv("GMM_TEST_TMP");
	char *path = NULL;

	assert_true(asprintf(&path, "%s/gmm-backing-XXXXXX", base && base[0] ? base : "/tmp") > 0);
	assert_non_null(mkdtemp(path));
	return path;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
	return remove(path);
}

void scratch_remove(char *directory)
{
	assert_int_equal(nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
	free(directory);
}

char *scratch_path(const char *directory, const char *name)
{
	char *path = NULL;

	assert_true(asprintf(&path, "%s/%s", directory, name) > 0);
	return path;
}

void file_make(const char *path, const void *contents, size_t length)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, contents, length), length);
	close(fd);
}

unsigned int open_files(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned int count = 0;

	assert_non_null(directory);
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

void assert_helpful(const char *text, const char *thing, const char *way_out)
{
	assert_true(text[0] != '\0');
	assert_null(strchr(text, '\n'));
	if (!strstr(text, thing) || !strstr(text, way_out))
		fail_msg("\"%s\" lacks \"%s\" or \"%s\"", text, thing, way_out);
}

static uint64_t probe_size(void *source)
{
	struct probe_source *probe = source;

	return probe->inner.ops->size(probe->inner.source);
}

static int probe_read(void *source, uint64_t page, uint32_t count, void *buffer)
{
	struct probe_source *probe = source;

	if (probe->fails_at >= page && probe->fails_at < page + count)
		return -GMM_EIO;
	return probe->inner.ops->read(probe->inner.source, page, count, buffer);
}

static bool probe_is_zero(void *source, uint64_t page, uint32_t count)
{
	struct probe_source *probe = source;

	return !probe->hide_zeros && probe->inner.ops->is_zero(probe->inner.source, page, count);
}

static int probe_check(void *source)
{
	return 0;
}

static void probe_failure(void *source, char *text, size_t text_size)
{
	snprintf(text, text_size, "probe: failed as told to");
}

static void probe_close(void *source)
{
}

static const struct gmm_source_ops probe_ops = {
	.version = GMM_SOURCE_OPS_VERSION,
	.name = "probe",
	.size = probe_size,
	.read = probe_read,
	.is_zero = probe_is_zero,
	.check = probe_check,
	.failure = probe_failure,
	.close = probe_close,
};

struct gmm_source probe_source_wrap(struct probe_source *probe, struct gmm_source inner)
{
	*probe = (struct probe_source){ .inner = inner, .fails_at = UINT64_MAX };
	return (struct gmm_source){
		.ops = &probe_ops,
		.source = probe,
		.page_shift = inner.page_shift,
	};
}

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

int userfault_open(uint64_t features, const char **reason)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	if (fd < 0) {
		*reason = "no userfaultfd for this user (sysctl vm.unprivileged_userfaultfd)";
		return -1;
	}
	if (ioctl(fd, UFFDIO_API, &api) != 0) {
		*reason = "the kernel's userfaultfd lacks the features";
		close(fd);
		return -1;
	}
	return fd;
}

int userfault_register(int fd, void *start, size_t length, uint64_t mode)
{
	struct uffdio_register registration = {
		.range = { .start = (uintptr_t)start, .len = length },
		.mode = mode,
	};

	return ioctl(fd, UFFDIO_REGISTER, &registration) == 0 ? 0 : -errno;
}

void userfault_protect(int fd, void *start, size_t length, bool protect)
{
	struct uffdio_writeprotect request = {
		.range = { .start = (uintptr_t)start, .len = length },
		.mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	assert_int_equal(ioctl(fd, UFFDIO_WRITEPROTECT, &request), 0);
}
