// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
//
// A program in C++ on the library. The gate headers-alone writes functions.inc, a line with each function that
// the public headers declare: all of them must be there, under names of C.
#include <guestmm/cache.h>
#include <guestmm/dirty.h>
#include <guestmm/error.h>
#include <guestmm/evict.h>
#include <guestmm/fault.h>
#include <guestmm/guest.h>
#include <guestmm/invalidate.h>
#include <guestmm/lease.h>
#include <guestmm/linux/fault_service.h>
#include <guestmm/linux/kvm_slots.h>
#include <guestmm/linux/latency.h>
#include <guestmm/linux/live_stage2.h>
#include <guestmm/linux/mapped_memory.h>
#include <guestmm/linux/memory.h>
#include <guestmm/linux/repair_service.h>
#include <guestmm/linux/snapshot.h>
#include <guestmm/linux/source.h>
#include <guestmm/linux/userfault.h>
#include <guestmm/memory.h>
#include <guestmm/repair.h>
#include <guestmm/section.h>
#include <guestmm/slot.h>
#include <guestmm/stage2.h>
#include <guestmm/stage2_table.h>
#include <guestmm/static/cache.h>
#include <guestmm/static/dirty.h>
#include <guestmm/static/section.h>
#include <guestmm/static/slot.h>
#include <guestmm/types.h>
#include <guestmm/vcpu.h>

#include <cstdio>

#define FUNCTION(name) reinterpret_cast<void *>(&name),
static void *const functions[] = {
#include "functions.inc"
};

static int failures;

static void expect(bool good, const char *what)
{
	if (good)
		return;
	std::fprintf(stderr, "%s\n", what);
	failures++;
}

int main()
{
	gmm_guest_config config = {};
	gmm_guest_counters counters = {};
	gmm_guest *guest = nullptr;
	gmm_reader *reader = nullptr;
	gmm_cache *cache = nullptr;
	gmm_vcpu *vcpu = nullptr;
	gmm_slot_config slot = {};
	gmm_page_info page = {};
	gmm_range range = { 0, 1 };
	uint64_t dirty = 0;

	for (void *function : functions)
		expect(function != nullptr, "a function is not there");
	config.max_vcpus = 1;
	expect(gmm_guest_create(&config, &guest) == 0, "guest.h");
	expect(gmm_reader_register(guest, &reader) == 0, "section.h");
	gmm_section_enter(reader);
	expect(gmm_slot_pointer(guest, 0, 8, GMM_ACCESS_READ) == nullptr, "static/slot.h");
	gmm_section_exit(reader);
	gmm_reader_unregister(reader);
	expect(gmm_slot_get(guest, 0, &slot) == -GMM_ENOENT, "slot.h");
	expect(gmm_cache_create(guest, &cache) == 0 && gmm_cache_destroy(cache) == 0, "cache.h");
	expect(gmm_vcpu_create(guest, 0, [](void *, uint32_t) {}, nullptr, &vcpu) == 0, "vcpu.h");
	gmm_vcpu_destroy(vcpu);
	expect(gmm_invalidate_begin(guest, GMM_RANGE_GFN, &range, 1, 0, nullptr) == 0,
	       "invalidate.h");
	gmm_invalidate_end(guest, GMM_RANGE_GFN, &range, 1);
	expect(gmm_dirty_harvest(guest, 0, 0, 64, &dirty) < 0, "dirty.h");
	expect(gmm_resident_pages(guest) == 0, "evict.h");
	expect(gmm_page_query(guest, 0, &page) < 0, "fault.h");
	gmm_guest_read_counters(guest, &counters);
	expect(gmm_guest_destroy(guest) == 0, "guest.h: destroy");
	return failures != 0;
}
