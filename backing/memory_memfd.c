/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Memory in a memfd. Contents move by pread and pwrite, never through a mapping: reading a hole of
 * the file through a mapping would make a zero page of it, and pwrite of a whole page shows the
 * page to the vCPUs' mapping complete or not at all.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "file_io_impl.h"
#include "memory_impl.h"

static int system_error(int error)
{
	return error == ENOMEM || error == ENOSPC ? -GMM_ENOMEM : -GMM_EIO;
}

static int punch(struct gmm_memory *memory, uint64_t page, uint32_t count)
{
	int result;

	do {
		result = fallocate(memory->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   (off_t)(page << memory->page_shift),
				   (off_t)count << memory->page_shift);
	} while (result != 0 && errno == EINTR);
	return result == 0 ? 0 : errno;
}

static int put_pages(struct gmm_memory *memory, uint64_t page, uint32_t count, const void *contents)
{
	size_t length = (size_t)count << memory->page_shift;
	char reason[128];
	int error;

	if (gmm_file_write(memory->memfd, contents, length, page << memory->page_shift, &error) ==
	    length)
		return 0;
	gmm_failure_set(
		&memory->failure,
		"memfd memory: page %llu cannot be allocated (%s): free memory of the host, or "
		"run with fewer resident pages",
		(unsigned long long)page, gmm_errno_text(error, reason, sizeof(reason)));
	return system_error(error);
}

static int get_pages(struct gmm_memory *memory, uint64_t page, uint32_t count, void *contents)
{
	size_t length = (size_t)count << memory->page_shift;
	char reason[128];
	int error;

	if (gmm_file_read(memory->memfd, contents, length, page << memory->page_shift, &error) ==
	    length)
		return 0;
	gmm_failure_set(&memory->failure, "memfd memory: page %llu cannot be read (%s)",
			(unsigned long long)page, gmm_errno_text(error, reason, sizeof(reason)));
	return -GMM_EIO;
}

static int memfd_fill(void *opaque, uint64_t page, uint32_t count, enum gmm_page_origin origin)
{
	struct gmm_memory *memory = opaque;
	char bounce[GMM_BOUNCE_SIZE];
	int err = 0;

	if (!gmm_memory_has_range(memory, page, count))
		return -GMM_EIO;
	if (gmm_page_set_hits(&memory->resident, page, count)) {
		gmm_failure_set(
			&memory->failure,
			"memfd memory: fill of pages %llu + %u that are resident: a defect of "
			"the caller",
			(unsigned long long)page, count);
		return -GMM_EIO;
	}
	for (uint32_t done = 0; done < count && err == 0;) {
		uint32_t piece = gmm_memory_piece(memory, count - done);

		err = gmm_memory_read_origin(memory, page + done, piece, origin, bounce);
		if (err == 0)
			err = put_pages(memory, page + done, piece, bounce);
		done += piece;
	}
	if (err != 0) {
		punch(memory, page, count);
		return err;
	}
	gmm_memory_note_filled(memory, page, count, origin);
	return 0;
}

static int memfd_write_out(void *opaque, uint64_t page, uint32_t count)
{
	struct gmm_memory *memory = opaque;
	char bounce[GMM_BOUNCE_SIZE];

	if (!gmm_memory_has_range(memory, page, count) ||
	    !gmm_page_set_has(&memory->resident, page, count))
		return -GMM_EIO;
	for (uint32_t done = 0; done < count;) {
		uint32_t piece = gmm_memory_piece(memory, count - done);
		int err = get_pages(memory, page + done, piece, bounce);

		if (err == 0)
			err = gmm_store_write(&memory->store, (page + done) << memory->page_shift,
					      bounce, (size_t)piece << memory->page_shift,
					      &memory->failure);
		if (err != 0)
			return err;
		done += piece;
	}
	gmm_memory_note_written_out(memory, page, count);
	return 0;
}

static int memfd_discard(void *opaque, uint64_t page, uint32_t count)
{
	struct gmm_memory *memory = opaque;
	char reason[128];
	int error;

	if (!gmm_memory_has_range(memory, page, count))
		return -GMM_EIO;
	error = punch(memory, page, count);
	if (error != 0) {
		gmm_failure_set(&memory->failure,
				"memfd memory: pages %llu + %u cannot be freed (%s)",
				(unsigned long long)page, count,
				gmm_errno_text(error, reason, sizeof(reason)));
		return -GMM_EIO;
	}
	gmm_memory_note_discarded(memory, page, count);
	return 0;
}

static int memfd_read(void *opaque, uint64_t page, bool resident, enum gmm_page_origin origin,
		      void *buffer)
{
	struct gmm_memory *memory = opaque;

	if (!gmm_memory_has_range(memory, page, 1))
		return -GMM_EIO;
	if (!resident)
		return gmm_memory_read_origin(memory, page, 1, origin, buffer);
	return get_pages(memory, page, 1, buffer);
}

const struct gmm_memory_ops gmm_memory_memfd_ops = {
	.version = GMM_MEMORY_OPS_VERSION,
	.flags = GMM_MEMORY_LAZY | GMM_MEMORY_EVICTABLE | GMM_MEMORY_AGEABLE,
	.name = "memfd",
	.resolve = gmm_memory_resolve,
	.put = gmm_memory_put,
	.map = gmm_memory_map,
	.unmap = gmm_memory_unmap,
	.fill = memfd_fill,
	.write_out = memfd_write_out,
	.discard = memfd_discard,
	.read = memfd_read,
	.lost = gmm_memory_memfd_lost,
	.restore = gmm_memory_restore,
};

const struct gmm_memory_ops gmm_memory_plain_ops = {
	.version = GMM_MEMORY_OPS_VERSION,
	.flags = 0,
	.name = "plain",
	.resolve = gmm_memory_resolve,
	.put = gmm_memory_put,
	.map = gmm_memory_map,
	.unmap = gmm_memory_unmap,
	.read = memfd_read,
};
