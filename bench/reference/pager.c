/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "pager.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "accel/linux_uapi.h"

#include "../harness.h"

#define PAGE_BYTES 4096ull
#define RUN_BYTES (64 * PAGE_BYTES)
#define PIECE_BYTES (16 * PAGE_BYTES)

static void must(bool done, const char *what)
{
	bench_must(done ? 0 : errno, what);
}

void reference_pager_make(struct reference_pager *pager, uint64_t pages, const char *directory)
{
	struct uffdio_api api = { .api = UFFD_API,
				  .features = UFFD_FEATURE_MINOR_SHMEM |
					      UFFD_FEATURE_PAGEFAULT_FLAG_WP |
					      UFFD_FEATURE_WP_HUGETLBFS_SHMEM };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING |
						 UFFDIO_REGISTER_MODE_MINOR |
						 UFFDIO_REGISTER_MODE_WP };
	off_t bytes = (off_t)(pages * PAGE_BYTES);

	*pager = (struct reference_pager){ .pages = pages };
	pager->memfd = memfd_create("reference", MFD_CLOEXEC);
	must(pager->memfd >= 0 && !ftruncate(pager->memfd, bytes), "a memfd");
	pager->store = open(directory, O_RDWR | O_CLOEXEC | O_TMPFILE, 0600);
	must(pager->store >= 0 && !ftruncate(pager->store, bytes), "a file for evicted pages");
	pager->data =
		mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, pager->memfd, 0);
	must(pager->data != MAP_FAILED, "mapping memory");
	pager->userfault = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	must(pager->userfault >= 0 && !ioctl(pager->userfault, UFFDIO_API, &api), "userfaultfd");
	range.range.start = (uintptr_t)pager->data;
	range.range.len = (uint64_t)bytes;
	must(!ioctl(pager->userfault, UFFDIO_REGISTER, &range), "UFFDIO_REGISTER");
}

void reference_pager_end(struct reference_pager *pager)
{
	close(pager->userfault);
	munmap(pager->data, pager->pages * PAGE_BYTES);
	close(pager->memfd);
	close(pager->store);
}

static void copy(int from, int to, uint64_t offset, uint64_t bytes)
{
	static uint8_t buffer[PIECE_BYTES];

	must(pread(from, buffer, bytes, (off_t)offset) == (ssize_t)bytes &&
		     pwrite(to, buffer, bytes, (off_t)offset) == (ssize_t)bytes,
	     "copying a page");
}

static void evict_run(struct reference_pager *pager, uint64_t offset, bool written)
{
	struct uffdio_writeprotect protect = {
		.range = { .start = (uintptr_t)pager->data + offset, .len = RUN_BYTES },
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};
	uint64_t piece;

	if (written) {
		must(!ioctl(pager->userfault, UFFDIO_WRITEPROTECT, &protect), "protecting");
		for (piece = 0; piece < RUN_BYTES; piece += PIECE_BYTES)
			copy(pager->memfd, pager->store, offset + piece, PIECE_BYTES);
	}
	must(!fallocate(pager->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
			(off_t)RUN_BYTES),
	     "punching a hole");
}

void reference_pager_evict(struct reference_pager *pager, bool written)
{
	uint64_t offset;

	for (offset = 0; offset < pager->pages * PAGE_BYTES; offset += RUN_BYTES)
		evict_run(pager, offset, written);
}

void reference_pager_refault(struct reference_pager *pager, bool write)
{
	uint64_t offset;

	for (offset = 0; offset < pager->pages * PAGE_BYTES; offset += PAGE_BYTES) {
		struct uffdio_continue request = {
			.range = { .start = (uintptr_t)pager->data + offset, .len = PAGE_BYTES },
			.mode = write ? 0 : UFFDIO_CONTINUE_MODE_WP,
		};

		copy(pager->store, pager->memfd, offset, PAGE_BYTES);
		must(!ioctl(pager->userfault, UFFDIO_CONTINUE, &request), "UFFDIO_CONTINUE");
	}
}
