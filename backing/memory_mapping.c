/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The mappings of a memory: the vCPUs', the engine's linear one, and those of the mapping "in use",
 * which are made and undone one by one.
 */
#include <errno.h>
#include <sys/mman.h>

#include <gmm_port/debug.h>

#include "memory_impl.h"

/* Where page 0 of the memory is at `page` pages of the file; nothing for memory without a file. */
static off_t file_position(const struct gmm_memory *memory, uint64_t bytes)
{
	return memory->memfd >= 0 ? (off_t)(memory->file_offset + bytes) : 0;
}

/* Huge pages would make neighbours present that nobody filled. */
static void keep_small(const struct gmm_memory *memory, void *mapping, uint64_t bytes)
{
	if (memory->ops->flags & GMM_MEMORY_LAZY)
		madvise(mapping, bytes, MADV_NOHUGEPAGE);
}

static char *map_whole(const struct gmm_memory *memory, void *address)
{
	int flags = memory->memfd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
	void *mapping = mmap(address, gmm_memory_size(memory), PROT_READ | PROT_WRITE,
			     flags | MAP_NORESERVE | (address ? MAP_FIXED : 0), memory->memfd,
			     file_position(memory, 0));

	if (mapping == MAP_FAILED)
		return NULL;
	keep_small(memory, mapping, gmm_memory_size(memory));
	return mapping;
}

static char *reserve(void *address, uint64_t bytes)
{
	void *reserved = mmap(
		address, bytes, PROT_NONE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (address ? MAP_FIXED : 0), -1, 0);

	return reserved == MAP_FAILED ? NULL : reserved;
}

static void note_mapped(struct gmm_memory *memory, uint64_t bytes)
{
	uint64_t now = atomic_fetch_add(&memory->mapped_bytes, bytes) + bytes;
	uint64_t most = atomic_load(&memory->most_mapped_bytes);

	while (now > most && !atomic_compare_exchange_weak(&memory->most_mapped_bytes, &most, now))
		;
}

static int refuse_mapping(const struct gmm_memory *memory, int error, char *text, size_t text_size)
{
	unsigned long long bytes = (unsigned long long)gmm_memory_size(memory);
	char reason[128];

	gmm_errno_text(error, reason, sizeof(reason));
	if (memory->kind == GMM_MEMORY_KIND_GUEST_MEMFD || memory->kind == GMM_MEMORY_KIND_DEVICE)
		return gmm_refuse(
			text, text_size, -GMM_EINVAL,
			"%s memory: %llu bytes of the file cannot be mapped (%s): give one "
			"that mmap can share",
			memory->ops->name, bytes, reason);
	return gmm_refuse(text, text_size, -GMM_ENOMEM,
			  "memory: no address space for %llu bytes: raise ulimit -v, or take less",
			  bytes);
}

int gmm_memory_make_mappings(struct gmm_memory *memory, void *vcpu_address, bool in_use, char *text,
			     size_t text_size)
{
	bool host_only = memory->ops->flags & GMM_MEMORY_HOST_ONLY;
	bool shared = !host_only && memory->kind != GMM_MEMORY_KIND_MEMFD;

	memory->vcpu_mapping = host_only ? reserve(vcpu_address, gmm_memory_size(memory)) :
					   map_whole(memory, vcpu_address);
	memory->placed = vcpu_address;
	if (!memory->vcpu_mapping)
		return refuse_mapping(memory, errno, text, text_size);
	if (in_use)
		return 0;
	memory->engine_mapping = shared ? memory->vcpu_mapping : map_whole(memory, NULL);
	if (!memory->engine_mapping)
		return refuse_mapping(memory, errno, text, text_size);
	note_mapped(memory, gmm_memory_size(memory));
	return 0;
}

void gmm_memory_undo_mappings(struct gmm_memory *memory)
{
	if (memory->engine_mapping && memory->engine_mapping != memory->vcpu_mapping)
		munmap(memory->engine_mapping, gmm_memory_size(memory));
	if (memory->vcpu_mapping && memory->placed)
		/* In one step, so that nothing else is mapped there meanwhile. */
		reserve(memory->vcpu_mapping, gmm_memory_size(memory));
	else if (memory->vcpu_mapping)
		munmap(memory->vcpu_mapping, gmm_memory_size(memory));
}

static uint64_t granule(const struct gmm_memory *memory)
{
	return 1ull << memory->granule_shift;
}

/* What has to be mapped around `length` bytes at `offset`, which may also be an address. */
static uint64_t round_out(const struct gmm_memory *memory, uint64_t *offset, uint64_t length)
{
	uint64_t mask = granule(memory) - 1;
	uint64_t end = (*offset + length + mask) & ~mask;

	*offset &= ~mask;
	return end - *offset;
}

static uint32_t run_length(const gmm_pfn_t *pfns, uint32_t count)
{
	uint32_t run = 1;

	while (run < count && pfns[run] == pfns[0] + run)
		run++;
	return run;
}

static int fail_map(struct gmm_memory *memory, gmm_pfn_t page, uint32_t count, int error)
{
	char reason[128];

	gmm_failure_set(&memory->failure,
			"%s memory: pages %llu + %u cannot be mapped (%s): raise vm.max_map_count, "
			"ulimit -v or (secret) ulimit -l, or use fewer caches",
			memory->ops->name, (unsigned long long)page, count,
			gmm_errno_text(error, reason, sizeof(reason)));
	return error == ENOMEM || error == EAGAIN ? -GMM_ENOMEM : -GMM_EIO;
}

/* Maps one run of pages, at `address` when it is not NULL. */
static int map_run(struct gmm_memory *memory, gmm_pfn_t page, uint32_t count, uint32_t access,
		   void *address, char **pointer)
{
	uint64_t wanted = page << memory->page_shift, start = wanted;
	uint64_t bytes = round_out(memory, &start, (uint64_t)count << memory->page_shift);
	int protection = access & GMM_ACCESS_WRITE ? PROT_READ | PROT_WRITE : PROT_READ;
	char *mapping = mmap(address, bytes, protection,
			     MAP_SHARED | MAP_NORESERVE | (address ? MAP_FIXED : 0), memory->memfd,
			     file_position(memory, start));

	atomic_fetch_add(&memory->map_calls, 1);
	if (mapping == MAP_FAILED)
		return fail_map(memory, page, count, errno);
	keep_small(memory, mapping, bytes);
	*pointer = mapping + (wanted - start);
	return 0;
}

/* Frames in any order: addresses first, then each run in its place. */
static int map_runs(struct gmm_memory *memory, const gmm_pfn_t *pfns, uint32_t count,
		    uint32_t access, char **pointer)
{
	uint64_t bytes = (uint64_t)count << memory->page_shift;
	char *start = reserve(NULL, bytes), *ignored;
	uint32_t done = 0;
	int err = 0;

	atomic_fetch_add(&memory->map_calls, 1);
	if (!start)
		return fail_map(memory, pfns[0], count, errno);
	while (done < count && err == 0) {
		uint32_t run = run_length(pfns + done, count - done);

		err = map_run(memory, pfns[done], run, access,
			      start + ((uint64_t)done << memory->page_shift), &ignored);
		done += run;
	}
	if (err != 0)
		munmap(start, bytes);
	*pointer = start;
	return err;
}

static int map_in_use(struct gmm_memory *memory, const gmm_pfn_t *pfns, uint32_t count,
		      uint32_t access, void **pointer)
{
	bool one = run_length(pfns, count) == count;
	uint64_t start;
	char *mapped = NULL;
	int err;

	if (!one && memory->granule_shift != memory->page_shift) {
		gmm_failure_set(&memory->failure,
				"%s memory: frames %llu + %u in this order are not one range of "
				"huge pages",
				memory->ops->name, (unsigned long long)pfns[0], count);
		return -GMM_EXDEV;
	}
	err = one ? map_run(memory, pfns[0], count, access, NULL, &mapped) :
		    map_runs(memory, pfns, count, access, &mapped);
	if (err != 0)
		return err;
	*pointer = mapped;
	start = (uintptr_t)mapped;
	note_mapped(memory, round_out(memory, &start, (uint64_t)count << memory->page_shift));
	return 0;
}

static int map_linear(struct gmm_memory *memory, const gmm_pfn_t *pfns, uint32_t count,
		      void **pointer)
{
	for (uint32_t i = 1; i < count; i++) {
		if (pfns[i] != pfns[0] + i) {
			gmm_failure_set(
				&memory->failure,
				"%s memory: frames %llu and %llu are not one range of addresses",
				memory->ops->name, (unsigned long long)pfns[i - 1],
				(unsigned long long)pfns[i]);
			return -GMM_EIO;
		}
	}
	*pointer = memory->engine_mapping + (pfns[0] << memory->page_shift);
	return 0;
}

int gmm_memory_map(void *opaque, const gmm_pfn_t *pfns, uint32_t count, uint32_t access,
		   void **pointer)
{
	struct gmm_memory *memory = opaque;
	int err;

	for (uint32_t i = 0; i < count; i++) {
		if (pfns[i] < memory->page_count)
			continue;
		gmm_failure_set(&memory->failure, "%s memory: there is no frame %llu",
				memory->ops->name, (unsigned long long)pfns[i]);
		return -GMM_EIO;
	}
	err = memory->engine_mapping ? map_linear(memory, pfns, count, pointer) :
				       map_in_use(memory, pfns, count, access, pointer);
	if (err == 0)
		atomic_fetch_add(&memory->mappings, 1);
	return err;
}

static void unmap_in_use(struct gmm_memory *memory, void *pointer, uint32_t count)
{
	uint64_t start = (uintptr_t)pointer;
	uint64_t bytes = round_out(memory, &start, (uint64_t)count << memory->page_shift);
	int result = munmap((void *)(uintptr_t)start, bytes);

	gmm_assert(result == 0);
	(void)result;
	atomic_fetch_add(&memory->map_calls, 1);
	atomic_fetch_sub(&memory->mapped_bytes, bytes);
}

void gmm_memory_unmap(void *opaque, void *pointer, uint32_t count)
{
	struct gmm_memory *memory = opaque;
	uint64_t before = atomic_fetch_sub(&memory->mappings, 1);

	gmm_assert(before > 0);
	(void)before;
	if (memory->engine_mapping) {
		uint64_t offset = (uint64_t)((char *)pointer - memory->engine_mapping);

		gmm_assert(offset % gmm_memory_page_size(memory) == 0);
		gmm_assert(gmm_memory_has_range(memory, offset >> memory->page_shift, count));
		(void)offset;
	} else {
		unmap_in_use(memory, pointer, count);
	}
}

/* Resident kinds that vCPUs run on are mapped whole, for them. */
static char *whole_mapping(const struct gmm_memory *memory)
{
	if (memory->engine_mapping || memory->ops->flags & GMM_MEMORY_HOST_ONLY)
		return memory->engine_mapping;
	return memory->vcpu_mapping;
}

int gmm_memory_reach(struct gmm_memory *memory, uint64_t page, uint32_t count, uint32_t access,
		     char **pointer)
{
	char *whole = whole_mapping(memory);

	if (!whole)
		return map_run(memory, page, count, access, NULL, pointer);
	*pointer = whole + (page << memory->page_shift);
	return 0;
}

void gmm_memory_leave(struct gmm_memory *memory, char *pointer, uint32_t count)
{
	uint64_t start = (uintptr_t)pointer;
	uint64_t bytes;

	if (whole_mapping(memory))
		return;
	bytes = round_out(memory, &start, (uint64_t)count << memory->page_shift);
	munmap((void *)(uintptr_t)start, bytes);
	atomic_fetch_add(&memory->map_calls, 1);
}
