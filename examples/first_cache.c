/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <guestmm/cache.h>
#include <guestmm/dirty.h>
#include <guestmm/invalidate.h>
#include <guestmm/linux/mapped_memory.h>
#include <guestmm/section.h>
#include <guestmm/slot.h>

#define PAGES 64u
#define BYTES (PAGES * 4096u)

static void must(int64_t result)
{
	if (result >= 0)
		return;
	fprintf(stderr, "guestmm: %s\n", strerror((int)-result));
	exit(1);
}

static unsigned char *new_pages(void)
{
	void *pages = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(pages == MAP_FAILED ? -GMM_ENOMEM : 0);
	return pages;
}

int main(void)
{
	unsigned char *old, *pages = new_pages();
	struct gmm_mapped_memory_config mapped = { .start = pages, .page_count = PAGES };
	struct gmm_guest_config config = { 0 };
	struct gmm_slot_config slot = { .gfn = 0, .count = PAGES, .flags = GMM_SLOT_LOG_DIRTY };
	struct gmm_range whole_slot = { 0, PAGES };
	struct gmm_mapped_memory *memory;
	struct gmm_guest *guest;
	struct gmm_reader *reader;
	struct gmm_cache *cache;
	uint64_t dirty, *counter;

	must(gmm_mapped_memory_create(&mapped, &memory));
	slot.memory_ops = gmm_mapped_memory_ops();
	slot.memory = memory;
	must(gmm_guest_create(&config, &guest));
	must(gmm_slot_add(guest, &slot));
	must(gmm_reader_register(guest, &reader)); /* this thread may have sections */
	must(gmm_cache_create(guest, &cache));
	must(gmm_cache_activate(cache, 0x3000, 8, GMM_CACHE_HOST | GMM_CACHE_WRITE));

	for (int turn = 0; turn < 3; turn++) {
		gmm_section_enter(reader);
		while (!(counter = gmm_cache_pointer(cache, 0, 8))) {
			gmm_section_exit(reader);
			must(gmm_cache_refresh(cache)); /* may sleep, so not in a section */
			gmm_section_enter(reader);
		}
		++*counter;
		gmm_cache_mark_dirty(cache, 0, 8);
		gmm_section_exit(reader);

		must(gmm_invalidate_begin(guest, GMM_RANGE_GFN, &whole_slot, 1, 0, NULL));
		old = pages; /* nobody uses the old pages any more */
		pages = memcpy(new_pages(), old, BYTES);
		munmap(old, BYTES);
		must(gmm_mapped_memory_move(memory, pages));
		gmm_invalidate_end(guest, GMM_RANGE_GFN, &whole_slot, 1);
	}
	must(gmm_dirty_harvest(guest, 0, 0, PAGES, &dirty));
	printf("counter %d, dirty pages %#x\n", pages[0x3000], (unsigned int)dirty);

	must(gmm_cache_destroy(cache));
	gmm_reader_unregister(reader);
	must(gmm_slot_remove(guest, 0));
	must(gmm_guest_destroy(guest));
	gmm_mapped_memory_close(memory);
	munmap(pages, BYTES);
	return 0;
}
