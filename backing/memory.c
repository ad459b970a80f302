/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Making memories, and what their kinds share. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <gmm_port/debug.h>

#include "memory_impl.h"

bool gmm_memory_has_range(const struct gmm_memory *memory, uint64_t page, uint32_t count)
{
	return count > 0 && page < memory->page_count && count <= memory->page_count - page;
}

static uint64_t page_bit(uint64_t page)
{
	return 1ull << (page % 64);
}

bool gmm_page_set_has(const struct gmm_page_set *set, uint64_t page, uint32_t count)
{
	for (uint64_t i = page; i < page + count; i++) {
		if (!(atomic_load(&set->words[i / 64]) & page_bit(i)))
			return false;
	}
	return true;
}

bool gmm_page_set_hits(const struct gmm_page_set *set, uint64_t page, uint32_t count)
{
	for (uint64_t i = page; i < page + count; i++) {
		if (atomic_load(&set->words[i / 64]) & page_bit(i))
			return true;
	}
	return false;
}

void gmm_page_set_add(struct gmm_page_set *set, uint64_t page, uint32_t count)
{
	for (uint64_t i = page; i < page + count; i++)
		atomic_fetch_or(&set->words[i / 64], page_bit(i));
}

void gmm_memory_note_filled(struct gmm_memory *memory, uint64_t page, uint32_t count,
			    enum gmm_page_origin origin)
{
	uint64_t added = 0;

	for (uint64_t i = page; i < page + count; i++) {
		if (!(atomic_fetch_or(&memory->resident.words[i / 64], page_bit(i)) & page_bit(i)))
			added++;
	}
	atomic_fetch_add(&memory->resident_pages, added);
	atomic_fetch_add(&memory->fills, 1);
	atomic_fetch_add(&memory->origin_pages[origin], count);
	atomic_fetch_add(&memory->filled_bytes, (uint64_t)count << memory->page_shift);
}

void gmm_memory_note_written_out(struct gmm_memory *memory, uint64_t page, uint32_t count)
{
	gmm_page_set_add(&memory->stored, page, count);
	atomic_fetch_add(&memory->written_out_pages, count);
}

void gmm_memory_note_discarded(struct gmm_memory *memory, uint64_t page, uint32_t count)
{
	uint64_t removed = 0;

	for (uint64_t i = page; i < page + count; i++) {
		if (atomic_fetch_and(&memory->resident.words[i / 64], ~page_bit(i)) & page_bit(i))
			removed++;
	}
	atomic_fetch_sub(&memory->resident_pages, removed);
	atomic_fetch_add(&memory->discarded_pages, removed);
}

static int read_source(struct gmm_memory *memory, uint64_t page, uint32_t count, void *buffer)
{
	const struct gmm_source *source = &memory->source;
	char text[GMM_BACKING_TEXT_SIZE];
	int err;

	if (!source->ops || source->ops->is_zero(source->source, page, count)) {
		memset(buffer, 0, (size_t)count << memory->page_shift);
		return 0;
	}
	err = source->ops->read(source->source, page, count, buffer);
	if (err != 0) {
		source->ops->failure(source->source, text, sizeof(text));
		gmm_failure_set(&memory->failure, "%s", text);
	}
	return err;
}

int gmm_memory_read_origin(struct gmm_memory *memory, uint64_t page, uint32_t count,
			   enum gmm_page_origin origin, void *buffer)
{
	size_t length = (size_t)count << memory->page_shift;

	switch (origin) {
	case GMM_ORIGIN_SOURCE:
		return read_source(memory, page, count, buffer);
	case GMM_ORIGIN_ZERO:
		memset(buffer, 0, length);
		return 0;
	case GMM_ORIGIN_STORE:
		break;
	default:
		return -GMM_EIO;
	}
	if (memory->store.fd < 0 || !gmm_page_set_has(&memory->stored, page, count)) {
		gmm_failure_set(
			&memory->failure,
			"%s memory: pages %llu + %u were never written out: a defect of the "
			"caller",
			memory->ops->name, (unsigned long long)page, count);
		return -GMM_EIO;
	}
	return gmm_store_read(&memory->store, page << memory->page_shift, buffer, length,
			      &memory->failure);
}

/*
 * Whether a page is resident is the engine's to know: it may be evicted between resolve and map, or
 * after both, and the engine then drops what it got here and tries again.
 */
int gmm_memory_resolve(void *opaque, uint64_t page, uint32_t count, uint32_t access,
		       gmm_pfn_t *pfns)
{
	struct gmm_memory *memory = opaque;

	if (!gmm_memory_has_range(memory, page, count))
		return -GMM_EFAULT;
	for (uint32_t i = 0; i < count; i++) {
		pfns[i] = page + i;
		atomic_fetch_add(&memory->page_references[page + i], 1);
	}
	atomic_fetch_add(&memory->references, count);
	return 0;
}

void gmm_memory_put(void *opaque, const gmm_pfn_t *pfns, uint32_t count)
{
	struct gmm_memory *memory = opaque;

	for (uint32_t i = 0; i < count; i++) {
		bool known = pfns[i] < memory->page_count;
		uint32_t before = 0;

		gmm_assert(known);
		if (known)
			before = atomic_fetch_sub(&memory->page_references[pfns[i]], 1);
		gmm_assert(before > 0);
		(void)before;
	}
	atomic_fetch_sub(&memory->references, count);
}

static bool is_in_use(const struct gmm_memory_config *config)
{
	switch (config->kind) {
	case GMM_MEMORY_KIND_SECRET:
	case GMM_MEMORY_KIND_ADOPTED:
	case GMM_MEMORY_KIND_DEVICE:
		return config->mapping != GMM_MEMORY_MAPPING_LINEAR;
	default:
		return config->mapping == GMM_MEMORY_MAPPING_IN_USE;
	}
}

static int check_mapping(const struct gmm_memory_config *config, char *text, size_t text_size)
{
	bool in_use = is_in_use(config);
	const char *why;

	if ((unsigned int)config->mapping > GMM_MEMORY_MAPPING_IN_USE)
		return gmm_refuse(text, text_size, -GMM_EINVAL, "memory: there is no mapping %u",
				  (unsigned int)config->mapping);
	why = gmm_memory_why_not(config->kind,
				 in_use ? GMM_MEMORY_CAN_IN_USE : GMM_MEMORY_CAN_LINEAR);
	if (!why)
		return 0;
	return gmm_refuse(text, text_size, -GMM_EINVAL,
			  "%s memory cannot be mapped %s (%s): take the other mapping",
			  gmm_memory_kind_name(config->kind), in_use ? "in use" : "linearly", why);
}

static int check_config(const struct gmm_memory_config *config, char *text, size_t text_size)
{
	const struct gmm_source *source = &config->source;
	unsigned long long wanted = config->page_count << config->page_shift;

	if (config->page_shift < GMM_BACKING_PAGE_SHIFT_MIN ||
	    config->page_shift > GMM_BACKING_PAGE_SHIFT_MAX ||
	    1l << config->page_shift < sysconf(_SC_PAGESIZE))
		return gmm_refuse(
			text, text_size, -GMM_EINVAL,
			"memory: pages of 2^%u bytes: give a shift of %u to %u, and no less "
			"than the host's page size",
			config->page_shift, GMM_BACKING_PAGE_SHIFT_MIN, GMM_BACKING_PAGE_SHIFT_MAX);
	if (config->page_count == 0 || config->page_count > (1ull << 47) >> config->page_shift)
		return gmm_refuse(
			text, text_size, -GMM_EINVAL,
			"memory of %llu pages: give at least one page and at most 2^47 bytes",
			(unsigned long long)config->page_count);
	if ((uintptr_t)config->vcpu_address % (1ul << config->page_shift))
		return gmm_refuse(
			text, text_size, -GMM_EINVAL,
			"memory at %p: give an address that is a multiple of its page size",
			config->vcpu_address);
	if (!source->ops)
		return check_mapping(config, text, text_size);
	if (config->kind == GMM_MEMORY_KIND_PLAIN || config->kind == GMM_MEMORY_KIND_ADOPTED ||
	    config->kind == GMM_MEMORY_KIND_DEVICE)
		return gmm_refuse(text, text_size, -GMM_EINVAL,
				  "%s memory has no source: take the kind memfd or anonymous",
				  gmm_memory_kind_name(config->kind));
	if (gmm_source_ops_check(source->ops) != 0 || source->page_shift != config->page_shift)
		return gmm_refuse(
			text, text_size, -GMM_EINVAL,
			"memory: the source lacks operations, or has pages of another size");
	if (source->ops->size(source->source) != wanted)
		return gmm_refuse(
			text, text_size, -GMM_EINVAL,
			"memory of %llu bytes cannot start from a %s source of %llu: make them "
			"equal",
			wanted, source->ops->name,
			(unsigned long long)source->ops->size(source->source));
	return check_mapping(config, text, text_size);
}

/* Tables are private mappings, so that those of a large memory cost only what is used of them. */
static void *map_zeros(uint64_t size)
{
	void *zeros = mmap(NULL, size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return zeros == MAP_FAILED ? NULL : zeros;
}

static uint64_t set_bytes(const struct gmm_memory *memory)
{
	return (memory->page_count + 63) / 64 * sizeof(uint64_t);
}

static int make_tables(struct gmm_memory *memory)
{
	memory->resident.words = map_zeros(set_bytes(memory));
	memory->stored.words = map_zeros(set_bytes(memory));
	memory->page_references = map_zeros(memory->page_count * sizeof(uint32_t));
	if (!memory->resident.words || !memory->stored.words || !memory->page_references)
		return -GMM_ENOMEM;
	return 0;
}

static int make_memory(struct gmm_memory *memory, const struct gmm_memory_config *config,
		       char *text, size_t text_size)
{
	int err;

	if (make_tables(memory) != 0)
		return gmm_refuse(text, text_size, -GMM_ENOMEM,
				  "memory: out of memory on the host");
	err = gmm_memory_open_file(memory, config, text, text_size);
	if (err == 0)
		err = gmm_memory_make_mappings(memory, config->vcpu_address, is_in_use(config),
					       text, text_size);
	if (err != 0)
		return err;
	if (memory->ops->flags & GMM_MEMORY_LAZY)
		return gmm_store_open(&memory->store, config->store_directory,
				      gmm_memory_size(memory), text, text_size);
	return gmm_memory_fill_whole(memory, text, text_size);
}

int gmm_memory_create(const struct gmm_memory_config *config, struct gmm_memory **memory,
		      char *text, size_t text_size)
{
	static const struct gmm_memory_ops *const kinds[] = {
		[GMM_MEMORY_KIND_MEMFD] = &gmm_memory_memfd_ops,
		[GMM_MEMORY_KIND_ANONYMOUS] = &gmm_memory_anonymous_ops,
		[GMM_MEMORY_KIND_PLAIN] = &gmm_memory_plain_ops,
		[GMM_MEMORY_KIND_HUGETLB] = &gmm_memory_hugetlb_ops,
		[GMM_MEMORY_KIND_SECRET] = &gmm_memory_secret_ops,
		[GMM_MEMORY_KIND_GUEST_MEMFD] = &gmm_memory_guest_memfd_ops,
		[GMM_MEMORY_KIND_ADOPTED] = &gmm_memory_adopted_ops,
		[GMM_MEMORY_KIND_DEVICE] = &gmm_memory_device_ops,
	};
	struct gmm_memory *made;
	int err;

	if ((unsigned int)config->kind >= sizeof(kinds) / sizeof(kinds[0]))
		return gmm_refuse(text, text_size, -GMM_EINVAL, "memory: there is no kind %u",
				  (unsigned int)config->kind);
	err = check_config(config, text, text_size);
	if (err != 0)
		return err;
	made = calloc(1, sizeof(*made));
	if (!made || gmm_failure_init(&made->failure) != 0) {
		free(made);
		return gmm_refuse(text, text_size, -GMM_ENOMEM,
				  "memory: out of memory on the host");
	}
	made->ops = kinds[config->kind];
	made->kind = config->kind;
	made->page_shift = config->page_shift;
	made->page_count = config->page_count;
	made->source = config->source;
	made->store.fd = -1;
	made->memfd = -1;
	atomic_store(&made->userfaultfd, -1);
	err = make_memory(made, config, text, text_size);
	if (err != 0) {
		gmm_memory_close(made);
		return err;
	}
	*memory = made;
	return 0;
}

static void unmap_if(const volatile void *mapping, uint64_t size)
{
	if (mapping)
		munmap((void *)mapping, size);
}

void gmm_memory_close(struct gmm_memory *memory)
{
	if (!memory)
		return;
	gmm_memory_undo_mappings(memory);
	unmap_if(memory->resident.words, set_bytes(memory));
	unmap_if(memory->stored.words, set_bytes(memory));
	unmap_if(memory->page_references, memory->page_count * sizeof(uint32_t));
	if (memory->store.fd >= 0)
		gmm_store_close(&memory->store);
	if (memory->memfd >= 0)
		close(memory->memfd);
	gmm_failure_destroy(&memory->failure);
	free(memory);
}

const struct gmm_memory_ops *gmm_memory_ops_of(const struct gmm_memory *memory)
{
	return memory->ops;
}

uint64_t gmm_memory_size(const struct gmm_memory *memory)
{
	return memory->page_count << memory->page_shift;
}

void *gmm_memory_vcpu_address(const struct gmm_memory *memory)
{
	return memory->vcpu_mapping;
}

void *gmm_memory_engine_address(const struct gmm_memory *memory)
{
	return memory->engine_mapping;
}

int gmm_memory_fd(const struct gmm_memory *memory)
{
	return memory->memfd;
}

void gmm_memory_attach_userfault(struct gmm_memory *memory, int userfaultfd)
{
	atomic_store(&memory->userfaultfd, userfaultfd);
}

void gmm_memory_read_counters(const struct gmm_memory *memory, struct gmm_memory_counters *counters)
{
	*counters = (struct gmm_memory_counters){
		.resident_pages = atomic_load(&memory->resident_pages),
		.fills = atomic_load(&memory->fills),
		.source_pages = atomic_load(&memory->origin_pages[GMM_ORIGIN_SOURCE]),
		.zero_pages = atomic_load(&memory->origin_pages[GMM_ORIGIN_ZERO]),
		.store_pages = atomic_load(&memory->origin_pages[GMM_ORIGIN_STORE]),
		.filled_bytes = atomic_load(&memory->filled_bytes),
		.written_out_pages = atomic_load(&memory->written_out_pages),
		.written_out_bytes = atomic_load(&memory->written_out_pages) << memory->page_shift,
		.discarded_pages = atomic_load(&memory->discarded_pages),
		.foreign_pages = atomic_load(&memory->foreign_pages),
		.references = atomic_load(&memory->references),
		.mappings = atomic_load(&memory->mappings),
		.mapped_bytes = atomic_load(&memory->mapped_bytes),
		.most_mapped_bytes = atomic_load(&memory->most_mapped_bytes),
		.map_calls = atomic_load(&memory->map_calls),
	};
}

uint32_t gmm_memory_page_references(const struct gmm_memory *memory, uint64_t page)
{
	return page < memory->page_count ? atomic_load(&memory->page_references[page]) : 0;
}

void gmm_memory_failure(struct gmm_memory *memory, char *text, size_t text_size)
{
	gmm_failure_get(&memory->failure, text, text_size);
}
