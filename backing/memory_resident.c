/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Memory whose pages are all there from the start: filled whole when it is made, if it has a source.
 * Contents move through a mapping: these files have no read, or the owner's rules.
 */
#include <string.h>

#include "memory_impl.h"

#define FILL_PAGES 512u

static int resident_read(void *opaque, uint64_t page, bool resident, enum gmm_page_origin origin,
			 void *buffer)
{
	struct gmm_memory *memory = opaque;
	char *pointer;
	int err;

	if (!gmm_memory_has_range(memory, page, 1))
		return -GMM_EIO;
	err = gmm_memory_reach(memory, page, 1, GMM_ACCESS_READ, &pointer);
	if (err != 0)
		return err;
	memcpy(buffer, pointer, gmm_memory_page_size(memory));
	gmm_memory_leave(memory, pointer, 1);
	return 0;
}

static int guest_memfd_descriptor(void *opaque)
{
	return ((struct gmm_memory *)opaque)->memfd;
}

static int fill_some(struct gmm_memory *memory, uint64_t page, uint32_t count)
{
	const struct gmm_source *source = &memory->source;
	char text[GMM_BACKING_TEXT_SIZE];
	char *pointer;
	int err;

	if (source->ops->is_zero(source->source, page, count))
		return 0;
	err = gmm_memory_reach(memory, page, count, GMM_ACCESS_READ | GMM_ACCESS_WRITE, &pointer);
	if (err != 0)
		return err;
	err = source->ops->read(source->source, page, count, pointer);
	gmm_memory_leave(memory, pointer, count);
	if (err != 0) {
		source->ops->failure(source->source, text, sizeof(text));
		gmm_failure_set(&memory->failure, "%s", text);
	}
	return err;
}

int gmm_memory_fill_whole(struct gmm_memory *memory, char *text, size_t text_size)
{
	uint64_t page = 0;
	uint32_t count;
	int err = 0;

	for (; memory->source.ops && page < memory->page_count && err == 0; page += count) {
		count = memory->page_count - page < FILL_PAGES ?
				(uint32_t)(memory->page_count - page) :
				FILL_PAGES;
		err = fill_some(memory, page, count);
		if (err == 0)
			gmm_memory_note_filled(memory, page, count, GMM_ORIGIN_SOURCE);
	}
	if (err != 0)
		gmm_memory_failure(memory, text, text_size);
	else
		atomic_store(&memory->resident_pages, memory->page_count);
	return err;
}

#define RESIDENT_OPS(of, its_name, its_flags, its_read)                                       \
	const struct gmm_memory_ops gmm_memory_##of##_ops = {                                 \
		.version = GMM_MEMORY_OPS_VERSION,                                            \
		.flags = (its_flags),                                                         \
		.name = (its_name),                                                           \
		.resolve = gmm_memory_resolve,                                                \
		.put = gmm_memory_put,                                                        \
		.map = gmm_memory_map,                                                        \
		.unmap = gmm_memory_unmap,                                                    \
		.read = (its_read),                                                           \
		.descriptor = (its_flags)&GMM_MEMORY_BY_FILE ? guest_memfd_descriptor : NULL, \
	}

RESIDENT_OPS(hugetlb, "hugetlb", 0, resident_read);
RESIDENT_OPS(secret, "secret", GMM_MEMORY_HOST_ONLY, resident_read);
RESIDENT_OPS(guest_memfd, "guest-memfd", GMM_MEMORY_BY_FILE, resident_read);
RESIDENT_OPS(adopted, "adopted", GMM_MEMORY_HOST_ONLY, resident_read);
/* Reading a device may change it. */
RESIDENT_OPS(device, "device", GMM_MEMORY_HOST_ONLY, NULL);
