/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Frames by get_user_pages(), with a reference for as long as a refresh lasts and no pin: from then
 * on the notifier tells when a frame goes (P22). Only tasks of the address space come here.
 */
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include <guestmm/error.h>

#include "device_impl.h"

#define PAGES_AT_ONCE 16u

static int user_memory_error(long error)
{
	return error == -ENOMEM ? -GMM_ENOMEM : -GMM_EFAULT;
}

static void put(void *memory, const gmm_pfn_t *pfns, uint32_t count)
{
	uint32_t i;

	(void)memory;
	for (i = 0; i < count; i++)
		put_page(pfn_to_page(pfns[i]));
}

/*
 * Dirty from the start: who cleans the page later takes the right to write away from all mappings
 * first, and that is told.
 */
static void note_pages(struct page **pages, long count, bool write, gmm_pfn_t *pfns)
{
	long i;

	for (i = 0; i < count; i++) {
		if (write)
			set_page_dirty_lock(pages[i]);
		pfns[i] = page_to_pfn(pages[i]);
	}
}

static int resolve(void *memory, uint64_t page, uint32_t count, uint32_t access, gmm_pfn_t *pfns)
{
	struct gmm_device *device = memory;
	unsigned int flags = access & GMM_ACCESS_WRITE ? FOLL_WRITE : 0;
	struct page *pages[PAGES_AT_ONCE];
	uint32_t done = 0;

	if (WARN_ON_ONCE(current->mm != device->notifier.mm))
		return -GMM_EFAULT;
	while (done < count) {
		long got = get_user_pages_unlocked((page + done) << PAGE_SHIFT,
						   min(count - done, PAGES_AT_ONCE), pages, flags);

		if (got <= 0) {
			put(memory, pfns, done);
			return user_memory_error(got);
		}
		note_pages(pages, got, flags & FOLL_WRITE, pfns + done);
		done += got;
	}
	return 0;
}

static void *map_many(const gmm_pfn_t *pfns, uint32_t count, pgprot_t rights)
{
	struct page **pages = kvmalloc_array(count, sizeof(*pages), GFP_KERNEL);
	void *pointer;
	uint32_t i;

	if (!pages)
		return NULL;
	for (i = 0; i < count; i++)
		pages[i] = pfn_to_page(pfns[i]);
	pointer = vmap(pages, count, VM_MAP, rights);
	kvfree(pages);
	return pointer;
}

/* One page by kmap(), more of them by vmap(); which of the two it was is in the address (P20). */
static int map(void *memory, const gmm_pfn_t *pfns, uint32_t count, uint32_t access, void **pointer)
{
	(void)memory;
	if (count == 1)
		*pointer = kmap(pfn_to_page(pfns[0]));
	else
		*pointer = map_many(pfns, count,
				    access & GMM_ACCESS_WRITE ? PAGE_KERNEL : PAGE_KERNEL_RO);
	return *pointer ? 0 : -GMM_ENOMEM;
}

static void unmap(void *memory, void *pointer, uint32_t count)
{
	(void)memory;
	(void)count;
	if (is_vmalloc_addr(pointer))
		vunmap(pointer);
	else
		kunmap(virt_to_page(pointer));
}

const struct gmm_memory_ops gmm_device_user_memory = {
	.version = GMM_MEMORY_OPS_VERSION,
	.name = "user memory",
	.resolve = resolve,
	.put = put,
	.map = map,
	.unmap = unmap,
};
