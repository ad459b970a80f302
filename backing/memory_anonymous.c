/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Private anonymous memory, filled through a userfaultfd. Every page is put write-protected by
 * UFFDIO_COPY, zero pages too: UFFDIO_ZEROPAGE cannot protect in the same step, and a vCPU's write
 * between it and a later UFFDIO_WRITEPROTECT would be seen by nobody.
 */
#include <errno.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "memory_impl.h"

/*
 * The kernel answers EAGAIN while an event of this userfaultfd is not read. Its reader may be late;
 * or it is the filling thread itself, which has to go and read it.
 */
#define EAGAIN_TURNS 64u

static char *page_address(const struct gmm_memory *memory, uint64_t page)
{
	return memory->engine_mapping + (page << memory->page_shift);
}

static int fail_fill(struct gmm_memory *memory, uint64_t page, int error)
{
	char reason[128];
	const char *way_out =
		"check that its mapping is registered with this userfaultfd for MISSING "
		"and WP, and that its events are read";

	if (error == ENOMEM)
		way_out = "free memory of the host, or run with fewer resident pages";
	gmm_failure_set(&memory->failure, "anonymous memory: page %llu cannot be filled (%s): %s",
			(unsigned long long)page, gmm_errno_text(error, reason, sizeof(reason)),
			way_out);
	return error == ENOMEM ? -GMM_ENOMEM : -GMM_EIO;
}

/*
 * UFFDIO_COPY met a page that is there though this memory never filled it, or filled it in a call
 * that failed and could not be undone. Something else put it there: an access before the mapping
 * was registered, another user of the userfaultfd, a fork. Keeping it may lose the source's page,
 * replacing it may lose a write, so it is taken only when it is what fill would have put. It is
 * protected before it is compared, so that no write passes unseen.
 */
static int accept_present(struct gmm_memory *memory, int fd, uint64_t page, const char *contents)
{
	struct uffdio_writeprotect protect = {
		.range = { .start = (uintptr_t)page_address(memory, page),
			   .len = gmm_memory_page_size(memory) },
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};
	uint32_t turns = 0;

	while (ioctl(fd, UFFDIO_WRITEPROTECT, &protect) != 0) {
		if (errno != EAGAIN)
			return fail_fill(memory, page, errno);
		if (++turns > EAGAIN_TURNS)
			return -GMM_EAGAIN;
		sched_yield();
	}
	atomic_fetch_add(&memory->foreign_pages, 1);
	if (memcmp(page_address(memory, page), contents, gmm_memory_page_size(memory)) == 0)
		return 0;
	gmm_failure_set(&memory->failure,
			"anonymous memory: page %llu was changed before it was filled: nothing may "
			"touch the mapping before it is registered, nor fill it but this memory",
			(unsigned long long)page);
	return -GMM_EIO;
}

/* Stops at errors; *pages_done is the number of pages that are right then. */
static int copy_pages(struct gmm_memory *memory, int fd, uint64_t page, uint32_t count,
		      const char *contents, uint32_t *pages_done)
{
	size_t length = (size_t)count << memory->page_shift;
	size_t most = length;
	size_t done = 0;
	uint32_t turns = 0;
	int err = 0;

	while (done < length && err == 0) {
		struct uffdio_copy copy = {
			.dst = (uintptr_t)page_address(memory, page) + done,
			.src = (uintptr_t)contents + done,
			.len = length - done < most ? length - done : most,
			.mode = UFFDIO_COPY_MODE_DONTWAKE | UFFDIO_COPY_MODE_WP,
		};
		uint64_t here = page + (done >> memory->page_shift);
		int error = ioctl(fd, UFFDIO_COPY, &copy) == 0 ? 0 : errno;

		if (copy.copy > 0) {
			done += (size_t)copy.copy;
			turns = 0;
		} else if (error == EEXIST && done % gmm_memory_page_size(memory) == 0) {
			err = accept_present(memory, fd, here, contents + done);
			if (err == 0)
				done += gmm_memory_page_size(memory);
		} else if (error == ENOENT && most > gmm_memory_page_size(memory)) {
			/* One call stays within one area of the kernel's, and this mapping is cut up. */
			most = gmm_memory_page_size(memory);
		} else if (error == EAGAIN && ++turns < EAGAIN_TURNS) {
			sched_yield();
		} else if (error == EAGAIN) {
			err = -GMM_EAGAIN;
		} else {
			err = fail_fill(memory, here, error);
		}
	}
	*pages_done = (uint32_t)(done >> memory->page_shift);
	return err;
}

static int drop(struct gmm_memory *memory, uint64_t page, uint32_t count)
{
	if (count == 0)
		return 0;
	return madvise(page_address(memory, page), (size_t)count << memory->page_shift,
		       MADV_DONTNEED);
}

static int anonymous_fill(void *opaque, uint64_t page, uint32_t count, enum gmm_page_origin origin)
{
	struct gmm_memory *memory = opaque;
	int fd = atomic_load(&memory->userfaultfd);
	char bounce[GMM_BOUNCE_SIZE];
	uint32_t done = 0;
	int err = 0;

	if (!gmm_memory_has_range(memory, page, count))
		return -GMM_EIO;
	if (fd < 0)
		return fail_fill(memory, page, EBADF);
	while (done < count && err == 0) {
		uint32_t piece = gmm_memory_piece(memory, count - done);
		uint32_t pages_done = 0;

		err = gmm_memory_read_origin(memory, page + done, piece, origin, bounce);
		if (err == 0)
			err = copy_pages(memory, fd, page + done, piece, bounce, &pages_done);
		done += pages_done;
	}
	if (err != 0) {
		/*
		 * Those are protected, unwritten and can be had again; the page that failed is not
		 * touched.
		 */
		drop(memory, page, done);
		return err;
	}
	gmm_memory_note_filled(memory, page, count, origin);
	return 0;
}

static int anonymous_write_out(void *opaque, uint64_t page, uint32_t count)
{
	struct gmm_memory *memory = opaque;
	int err;

	if (!gmm_memory_has_range(memory, page, count) ||
	    !gmm_page_set_has(&memory->resident, page, count))
		return -GMM_EIO;
	err = gmm_store_write(&memory->store, page << memory->page_shift,
			      page_address(memory, page), (size_t)count << memory->page_shift,
			      &memory->failure);
	if (err != 0)
		return err;
	gmm_memory_note_written_out(memory, page, count);
	return 0;
}

static int anonymous_discard(void *opaque, uint64_t page, uint32_t count)
{
	struct gmm_memory *memory = opaque;
	char reason[128];

	if (!gmm_memory_has_range(memory, page, count))
		return -GMM_EIO;
	if (drop(memory, page, count) != 0) {
		gmm_failure_set(&memory->failure,
				"anonymous memory: pages %llu + %u cannot be freed (%s)",
				(unsigned long long)page, count,
				gmm_errno_text(errno, reason, sizeof(reason)));
		return -GMM_EIO;
	}
	gmm_memory_note_discarded(memory, page, count);
	return 0;
}

static int anonymous_read(void *opaque, uint64_t page, bool resident, enum gmm_page_origin origin,
			  void *buffer)
{
	struct gmm_memory *memory = opaque;

	if (!gmm_memory_has_range(memory, page, 1))
		return -GMM_EIO;
	if (!resident)
		return gmm_memory_read_origin(memory, page, 1, origin, buffer);
	/* Where the page is not there after all, this would be a fault that nobody serves. */
	if (!gmm_page_set_has(&memory->resident, page, 1))
		return -GMM_EIO;
	memcpy(buffer, page_address(memory, page), gmm_memory_page_size(memory));
	return 0;
}

const struct gmm_memory_ops gmm_memory_anonymous_ops = {
	.version = GMM_MEMORY_OPS_VERSION,
	.flags = GMM_MEMORY_LAZY | GMM_MEMORY_EVICTABLE,
	.name = "anonymous",
	.resolve = gmm_memory_resolve,
	.put = gmm_memory_put,
	.map = gmm_memory_map,
	.unmap = gmm_memory_unmap,
	.fill = anonymous_fill,
	.write_out = anonymous_write_out,
	.discard = anonymous_discard,
	.read = anonymous_read,
	.lost = gmm_memory_anonymous_lost,
	.restore = gmm_memory_restore,
};
