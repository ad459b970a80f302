/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <guestmm/cache.h>
#include <guestmm/dirty.h>
#include <guestmm/invalidate.h>
#include <guestmm/section.h>
#include <guestmm/slot.h>

#include "plain_memory.h" /* a table of operations, and must(): an error ends the program */

int main(void)
{
	struct plain_memory memory = plain_memory_create(64);
	struct gmm_guest_config config = { 0 };
	struct gmm_slot_config slot = { .gfn = 0,
					.count = 64,
					.flags = GMM_SLOT_LOG_DIRTY,
					.memory_ops = &plain_memory_ops,
					.memory = &memory };
	struct gmm_range whole_slot = { 0, 64 };
	struct gmm_guest *guest;
	struct gmm_reader *reader;
	struct gmm_cache *cache;
	uint64_t dirty, *counter;

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
		plain_memory_move(&memory); /* nobody uses the old pages any more */
		gmm_invalidate_end(guest, GMM_RANGE_GFN, &whole_slot, 1);
	}
	must(gmm_dirty_harvest(guest, 0, 0, 64, &dirty));
	printf("counter %d, dirty pages %#x\n", (int)memory.start[0x3000], (unsigned int)dirty);

	must(gmm_cache_destroy(cache));
	gmm_reader_unregister(reader);
	must(gmm_slot_remove(guest, 0));
	must(gmm_guest_destroy(guest));
	plain_memory_free(&memory);
	return 0;
}
