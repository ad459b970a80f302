/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Changes that somebody else makes to a memory: what is gone, and its addresses restored (W9). */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "file_io_impl.h"
#include "memory_impl.h"

/* Of an entry of /proc/self/pagemap: in memory, or swapped out. */
#define PAGEMAP_THERE (3ull << 62)

static void note_gone(struct gmm_memory *memory, uint64_t page, uint32_t i, uint64_t *gone)
{
	gmm_memory_note_discarded(memory, page + i, 1);
	*gone |= 1ull << i;
}

/* Also what is swapped out is data; a hole is not. */
int gmm_memory_memfd_lost(void *opaque, uint64_t page, uint32_t count, uint64_t *gone)
{
	struct gmm_memory *memory = opaque;

	if (!gmm_memory_has_range(memory, page, count) || count > 64)
		return -GMM_EIO;
	for (uint32_t i = 0; i < count; i++) {
		off_t at = (off_t)(memory->file_offset + ((page + i) << memory->page_shift));
		off_t data = lseek(memory->memfd, at, SEEK_DATA);

		if (data < 0 && errno != ENXIO)
			return -GMM_EIO;
		if (data != at)
			note_gone(memory, page, i, gone);
	}
	return 0;
}

int gmm_memory_anonymous_lost(void *opaque, uint64_t page, uint32_t count, uint64_t *gone)
{
	struct gmm_memory *memory = opaque;
	uint64_t entries[64];
	uint64_t at = (uintptr_t)memory->engine_mapping + (page << memory->page_shift);
	uint64_t host_shift = (uint64_t)__builtin_ctzl((unsigned long)sysconf(_SC_PAGESIZE));
	uint32_t every = 1u << (memory->page_shift - host_shift);
	int error = 0;
	uint32_t i;
	int fd;

	if (!gmm_memory_has_range(memory, page, count) || count > 64)
		return -GMM_EIO;
	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -GMM_EIO;
	for (i = 0; i < count; i++) {
		size_t length = (every == 1 ? count : 1) * sizeof(entries[0]);

		/* A larger page comes and goes as one. */
		if ((every > 1 || i == 0) &&
		    gmm_file_read(fd, &entries[i], length,
				  ((at >> host_shift) + (uint64_t)i * every) * sizeof(entries[0]),
				  &error) != length)
			break;
		if (!(entries[i] & PAGEMAP_THERE))
			note_gone(memory, page, i, gone);
	}
	close(fd);
	return i < count ? -GMM_EIO : 0;
}

/* One attempt; -GMM_EEXIST: at least one page of it is taken. */
static int restore_at(struct gmm_memory *memory, char *address, uint64_t bytes,
		      int (*ready)(void *opaque, gmm_hva_t hva, uint64_t bytes), void *opaque)
{
	int flags = memory->memfd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
	void *mapping = mmap(address, bytes, PROT_NONE, flags | MAP_NORESERVE | MAP_FIXED_NOREPLACE,
			     memory->memfd,
			     memory->memfd >= 0 ? address - memory->vcpu_mapping : 0);
	int error;

	if (mapping == MAP_FAILED)
		return errno == EEXIST ? -GMM_EEXIST : errno == ENOMEM ? -GMM_ENOMEM : -GMM_EIO;
	madvise(mapping, bytes, MADV_NOHUGEPAGE);
	error = ready(opaque, (uintptr_t)address, bytes);
	if (!error && mprotect(mapping, bytes, PROT_READ | PROT_WRITE) != 0)
		error = -GMM_EIO;
	return error;
}

/*
 * Halves of what cannot be had as a whole: what is left out is just the pages that somebody else
 * has.
 */
static int restore_parts(struct gmm_memory *memory, char *address, uint64_t bytes,
			 int (*ready)(void *opaque, gmm_hva_t hva, uint64_t bytes), void *opaque)
{
	uint64_t half = bytes >> memory->page_shift >> 1 << memory->page_shift;
	int error = restore_at(memory, address, bytes, ready, opaque);
	int second;

	if (error != -GMM_EEXIST || !half)
		return error;
	error = restore_parts(memory, address, half, ready, opaque);
	second = restore_parts(memory, address + half, bytes - half, ready, opaque);
	return error && error != -GMM_EEXIST ? error : second ? second : error;
}

int gmm_memory_restore(void *opaque, gmm_hva_t hva, uint64_t bytes,
		       int (*ready)(void *opaque, gmm_hva_t hva, uint64_t bytes),
		       void *ready_opaque)
{
	struct gmm_memory *memory = opaque;
	uint64_t start = hva - (uintptr_t)memory->vcpu_mapping;
	uint64_t size = gmm_memory_size(memory);

	if (!bytes || hva < (uintptr_t)memory->vcpu_mapping || start >= size ||
	    bytes > size - start || (start | bytes) % gmm_memory_page_size(memory))
		return -GMM_EFAULT;
	return restore_parts(memory, memory->vcpu_mapping + start, bytes, ready, ready_opaque);
}
