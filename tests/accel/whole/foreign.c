/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Somebody else frees, unmaps and moves guest memory (W9): on a real userfaultfd, with the fault
 * service and the repair service. This thread is vCPU, device and foreigner in turn.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <guestmm/cache.h>
#include <guestmm/evict.h>
#include <guestmm/fault.h>
#include <guestmm/linux/fault_service.h>
#include <guestmm/linux/memory.h>
#include <guestmm/linux/repair_service.h>
#include <guestmm/linux/source.h>
#include <guestmm/section.h>
#include <guestmm/slot.h>

#include "thread_state.h"

#define PAGE 4096u
#define PAGES 64u
#define SEED 11u

struct world {
	struct gmm_userfault *userfault;
	struct gmm_live_stage2 *live;
	struct gmm_guest *guest;
	struct gmm_source source;
	struct gmm_memory *memory;
	struct gmm_fault_service *faults;
	struct gmm_repair_service *repair;
	uint8_t *vcpu;
	uint64_t lost;	       /* a bit for each frame told; atomic */
	uint64_t not_restored; /* likewise, of pages */
	uint32_t failed;       /* atomic */
	int error;	       /* of what was not restored */
};

static void on_lost(void *opaque, gmm_gfn_t gfn, uint64_t count)
{
	struct world *world = opaque;

	while (count--)
		__atomic_fetch_or(&world->lost, 1ull << (gfn + count), __ATOMIC_RELAXED);
}

static void on_not_restored(void *opaque, gmm_gfn_t gfn, uint64_t count, int error)
{
	struct world *world = opaque;

	world->error = error;
	while (count--)
		__atomic_fetch_or(&world->not_restored, 1ull << (gfn + count), __ATOMIC_RELAXED);
}

static void on_failed(void *opaque, gmm_hva_t hva, uint32_t access, int error)
{
	struct world *world = opaque;

	print_message("a fault failed: %d\n", error);
	__atomic_fetch_add(&world->failed, 1, __ATOMIC_RELAXED);
}

static void start_services(struct world *world)
{
	struct gmm_repair_service_config repair = {
		.guest = world->guest,
		.userfault = world->userfault,
		.live = world->live,
		.not_restored = on_not_restored,
		.opaque = world,
	};
	struct gmm_fault_service_config faults = {
		.guest = world->guest,
		.userfault = world->userfault,
		.failed = on_failed,
		.opaque = world,
	};

	assert_int_equal(gmm_repair_service_start(&repair, &world->repair), 0);
	faults.repair = world->repair;
	assert_int_equal(gmm_fault_service_start(&faults, &world->faults), 0);
}

static struct gmm_memory_ops memory_ops;
static int (*restore)(void *memory, gmm_hva_t hva, uint64_t bytes,
		      int (*ready)(void *opaque, gmm_hva_t hva, uint64_t bytes), void *opaque);
/* Goes when it was found to be in the way. */
static void *stranger_that_goes;
/* Held by a test: no event is done with meanwhile. */
static pthread_mutex_t repairing = PTHREAD_MUTEX_INITIALIZER;
static int (*lost)(void *memory, uint64_t page, uint32_t count, uint64_t *gone);

static int lost_when_let(void *memory, uint64_t page, uint32_t count, uint64_t *gone)
{
	pthread_mutex_lock(&repairing);
	pthread_mutex_unlock(&repairing);
	return lost(memory, page, count, gone);
}

static int restore_once_without_stranger(void *memory, gmm_hva_t hva, uint64_t bytes,
					 int (*ready)(void *opaque, gmm_hva_t hva, uint64_t bytes),
					 void *opaque)
{
	int error = restore(memory, hva, bytes, ready, opaque);

	if (error == -GMM_EEXIST && stranger_that_goes) {
		munmap(stranger_that_goes, PAGE);
		stranger_that_goes = NULL;
	}
	return error;
}

static void setup(struct world *world, enum gmm_memory_kind kind)
{
	struct gmm_guest_config guest = { .lost = on_lost, .lost_opaque = world };
	struct gmm_memory_config memory = { .kind = kind, .page_count = PAGES, .page_shift = 12 };
	struct gmm_slot_config slot = { .count = PAGES };
	char text[GMM_USERFAULT_TEXT_BYTES] = "";

	memset(world, 0, sizeof(*world));
	if (gmm_userfault_open(GMM_USERFAULT_SHARED | GMM_USERFAULT_SHARED_WP |
				       GMM_USERFAULT_PRIVATE_WP | GMM_USERFAULT_EVENTS,
			       0, &world->userfault, text)) {
		print_message("%s\n", text);
		skip();
	}
	assert_int_equal(gmm_live_stage2_create(world->userfault, &world->live), 0);
	guest.stage2_ops = gmm_live_stage2_ops(world->live);
	guest.stage2_owner = world->live;
	assert_int_equal(gmm_guest_create(&guest, &world->guest), 0);
	assert_int_equal(
		gmm_source_open_generated(&world->source, SEED, PAGES, 12, text, sizeof(text)), 0);
	memory.source = world->source;
	if (gmm_memory_create(&memory, &world->memory, text, sizeof(text)))
		fail_msg("%s", text);
	world->vcpu = gmm_memory_vcpu_address(world->memory);
	slot.hva = (uintptr_t)world->vcpu;
	slot.memory = world->memory;
	memory_ops = *gmm_memory_ops_of(world->memory);
	restore = memory_ops.restore;
	memory_ops.restore = restore_once_without_stranger;
	lost = memory_ops.lost;
	memory_ops.lost = lost_when_let;
	slot.memory_ops = &memory_ops;
	assert_int_equal(gmm_slot_add(world->guest, &slot), 0);
	gmm_memory_attach_userfault(world->memory, gmm_userfault_descriptor(world->userfault));
	start_services(world);
}

static void teardown(struct world *world)
{
	assert_int_equal(__atomic_load_n(&world->failed, __ATOMIC_RELAXED), 0);
	gmm_fault_service_stop(world->faults);
	gmm_repair_service_stop(world->repair);
	assert_int_equal(gmm_slot_remove(world->guest, 0), 0);
	gmm_memory_attach_userfault(world->memory, -1);
	assert_int_equal(gmm_guest_destroy(world->guest), 0);
	gmm_memory_close(world->memory);
	gmm_live_stage2_destroy(world->live);
	gmm_userfault_close(world->userfault);
	gmm_source_close(&world->source);
}

static volatile uint8_t *at(struct world *world, uint32_t page)
{
	return world->vcpu + page * PAGE;
}

static void assert_as_in_source(struct world *world, uint32_t page)
{
	uint8_t wanted[PAGE];

	assert_int_equal(world->source.ops->read(world->source.source, page, 1, wanted), 0);
	assert_memory_equal((const void *)at(world, page), wanted, PAGE);
}

static void assert_zero(struct world *world, uint32_t page)
{
	uint32_t i;

	for (i = 0; i < PAGE; i++)
		assert_int_equal(at(world, page)[i], 0);
}

/* vCPUs write the first four of eight pages from `first` on and read the others. */
static void use(struct world *world, uint32_t first)
{
	uint32_t i;

	for (i = first; i < first + 4; i++)
		*at(world, i) = (uint8_t)(100 + i);
	for (; i < first + 8; i++)
		assert_as_in_source(world, i);
}

static struct gmm_repair_service_statistics statistics_of(struct world *world)
{
	struct gmm_repair_service_statistics statistics;

	gmm_repair_service_read_statistics(world->repair, &statistics);
	return statistics;
}

/* The events of so many changes were told, and everything that follows from them is done. */
static void settle(struct world *world, uint64_t events)
{
	struct gmm_repair_service_statistics statistics;

	do {
		sched_yield();
		statistics = statistics_of(world);
	} while (statistics.removed + statistics.unmapped + statistics.moved < events);
	gmm_repair_service_wait(world->repair);
}

static void assert_pages(struct world *world, uint64_t repaired, uint64_t lost, uint64_t told)
{
	struct gmm_guest_counters counters;

	gmm_guest_read_counters(world->guest, &counters);
	assert_int_equal(counters.pages_repaired, repaired);
	assert_int_equal(counters.pages_lost, lost);
	assert_int_equal(__atomic_load_n(&world->lost, __ATOMIC_RELAXED), told);
}

static void test_dontneed_of_shared_memory_loses_nothing(void **state)
{
	struct world world;
	uint32_t i;

	setup(&world, GMM_MEMORY_KIND_MEMFD);
	use(&world, 0);
	assert_int_equal(madvise(world.vcpu, PAGES * PAGE, MADV_DONTNEED), 0);
	for (i = 0; i < 4; i++)
		assert_int_equal(*at(&world, i), 100 + i);
	settle(&world, 1);
	for (i = 4; i < 8; i++)
		assert_as_in_source(&world, i);
	*at(&world, 5) = 1;
	assert_pages(&world, 0, 0, 0);
	teardown(&world);
}

static void test_removed_pages_are_repaired_or_reported(void **state)
{
	struct world world;
	uint32_t i;

	setup(&world, GMM_MEMORY_KIND_MEMFD);
	use(&world, 0);
	assert_int_equal(madvise(world.vcpu + 2 * PAGE, 4 * PAGE, MADV_REMOVE), 0);
	settle(&world, 1);
	assert_pages(&world, 2, 2, 0xc);
	assert_int_equal(gmm_resident_pages(world.guest), 4);
	assert_int_equal(*at(&world, 1), 101);
	assert_zero(&world, 2);
	assert_zero(&world, 3);
	for (i = 4; i < 8; i++)
		assert_as_in_source(&world, i);
	assert_int_equal(statistics_of(&world).removed, 1);
	teardown(&world);
}

/* The last page that was touched may still be the fault service's, and is left then. */
static void evict(struct world *world, gmm_gfn_t gfn, uint64_t count, int64_t wanted)
{
	int64_t evicted;

	do {
		evicted = gmm_evict(world->guest, gfn, count, 0);
		assert_true(evicted >= 0);
		wanted -= evicted;
	} while (wanted > 0);
	assert_int_equal(wanted, 0);
}

/* No event tells of it: whoever meets the hole does. */
static void punch(struct world *world, uint32_t page, uint32_t count)
{
	assert_int_equal(fallocate(gmm_memory_fd(world->memory),
				   FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, page * PAGE,
				   count * PAGE),
			 0);
}

static void test_a_punched_page_is_found_by_who_touches_it(void **state)
{
	struct world world;

	setup(&world, GMM_MEMORY_KIND_MEMFD);
	use(&world, 0);
	punch(&world, 0, 8);
	assert_zero(&world, 0);		/* read */
	*at(&world, 1) = 7;		/* written */
	assert_as_in_source(&world, 4); /* clean, read */
	*at(&world, 5) = 7;		/* clean, written */
	assert_int_equal(at(&world, 1)[1], 0);
	assert_pages(&world, 2, 2, 0x3);
	/* An eviction must not take zeros for the contents of the others. */
	evict(&world, 0, PAGES, 8);
	assert_pages(&world, 2, 4, 0xf);
	assert_zero(&world, 3);
	assert_int_equal(*at(&world, 1), 7);
	assert_as_in_source(&world, 6);
	teardown(&world);
}

static void test_a_hole_under_a_cache_is_found(void **state)
{
	volatile uint8_t *pointer;
	struct gmm_reader *reader;
	struct gmm_cache *cache;
	struct world world;

	setup(&world, GMM_MEMORY_KIND_MEMFD);
	assert_int_equal(gmm_repair_service_watch(
				 world.repair, (uintptr_t)gmm_memory_engine_address(world.memory),
				 PAGES * PAGE, (uintptr_t)world.vcpu),
			 0);
	assert_int_equal(gmm_reader_register(world.guest, &reader), 0);
	assert_int_equal(gmm_cache_create(world.guest, &cache), 0);
	assert_int_equal(gmm_cache_activate(cache, 0, 4 * PAGE, GMM_CACHE_HOST | GMM_CACHE_WRITE),
			 0);
	gmm_section_enter(reader);
	pointer = gmm_cache_pointer(cache, 0, 4 * PAGE);
	assert_non_null(pointer);
	pointer[PAGE] = 1;
	punch(&world, 0, 4);
	assert_int_equal(pointer[PAGE], 0);
	pointer[2 * PAGE] = 2;
	assert_int_equal(pointer[2 * PAGE + 1], 0);
	gmm_cache_mark_dirty(cache, 2 * PAGE, 1);
	gmm_section_exit(reader);
	assert_pages(&world, 0, 2, 0x6);
	assert_int_equal(statistics_of(&world).touched, 2);
	/* What the device wrote into it afterwards is not lost. */
	evict(&world, 2, 1, 1);
	assert_int_equal(*at(&world, 2), 2);
	assert_int_equal(gmm_cache_destroy(cache), 0);
	gmm_reader_unregister(reader);
	gmm_repair_service_unwatch(world.repair,
				   (uintptr_t)gmm_memory_engine_address(world.memory));
	teardown(&world);
}

static void test_unmapped_memory_is_mapped_again(void **state)
{
	struct world world;
	uint32_t i;

	setup(&world, GMM_MEMORY_KIND_MEMFD);
	use(&world, 0);
	assert_int_equal(munmap(world.vcpu + 2 * PAGE, 4 * PAGE), 0);
	settle(&world, 1);
	for (i = 0; i < 4; i++)
		assert_int_equal(*at(&world, i), 100 + i);
	for (i = 4; i < 8; i++)
		assert_as_in_source(&world, i);
	assert_int_equal(statistics_of(&world).restored, 4);
	assert_int_equal(statistics_of(&world).not_restored, 0);
	assert_pages(&world, 0, 0, 0);
	/* It is registered as before: absent pages are filled, writes are seen. */
	evict(&world, 0, PAGES, 8);
	assert_int_equal(*at(&world, 3), 103);
	*at(&world, 4) = 1;
	evict(&world, 0, PAGES, 2);
	assert_int_equal(*at(&world, 4), 1);
	teardown(&world);
}

static void test_moved_memory_is_mapped_again_where_it_was(void **state)
{
	struct world world;
	uint8_t *moved;

	setup(&world, GMM_MEMORY_KIND_MEMFD);
	use(&world, 0);
	moved = mmap(NULL, 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_equal(mremap(world.vcpu, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
				moved),
			 moved);
	/* Kernels tell of the place that was left, too, as of unmapped memory. */
	settle(&world, 1);
	assert_int_equal(statistics_of(&world).moved, 1);
	assert_int_equal(statistics_of(&world).restored, 4);
	assert_int_equal(*at(&world, 1), 101);
	assert_false(gmm_userfault_is_registered(world.userfault, (uintptr_t)moved));
	assert_int_equal(moved[PAGE], 101);
	assert_int_equal(munmap(moved, 4 * PAGE), 0);
	assert_pages(&world, 0, 0, 0);
	teardown(&world);
}

static void test_a_strangers_mapping_stays(void **state)
{
	struct world world;
	uint8_t *stranger;
	uint32_t i;

	setup(&world, GMM_MEMORY_KIND_MEMFD);
	use(&world, 0);
	stranger = mmap(world.vcpu + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	assert_ptr_equal(stranger, world.vcpu + 2 * PAGE);
	stranger[0] = 42;
	settle(&world, 1);
	assert_int_equal(world.not_restored, 1u << 2);
	assert_int_equal(world.error, -GMM_EEXIST);
	assert_int_equal(stranger[0], 42);
	/* He goes, and what he leaves is a hole that nobody tells of; a neighbour's event is. */
	assert_int_equal(munmap(stranger, PAGE), 0);
	assert_int_equal(munmap(world.vcpu, 4 * PAGE), 0);
	settle(&world, 2);
	for (i = 0; i < 4; i++)
		assert_int_equal(*at(&world, i), 100 + i);
	assert_pages(&world, 0, 0, 0);
	teardown(&world);
}

/* As a library's mapping that comes and goes, which the kernel has put into a hole. */
static void test_a_strangers_mapping_that_goes_is_no_matter(void **state)
{
	struct world world;

	setup(&world, GMM_MEMORY_KIND_MEMFD);
	use(&world, 0);
	stranger_that_goes = world.vcpu + 2 * PAGE;
	assert_ptr_equal(mmap(world.vcpu + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
			 world.vcpu + 2 * PAGE);
	settle(&world, 1);
	assert_null(stranger_that_goes);
	assert_int_equal(world.not_restored, 0);
	assert_int_equal(*at(&world, 2), 102);
	assert_pages(&world, 0, 0, 0);
	teardown(&world);
}

/* What was moved has gone from its new place, and guest memory is there when the event is handled. */
static void test_memory_at_the_target_of_a_move_stays_registered(void **state)
{
	struct gmm_memory_config config = { .kind = GMM_MEMORY_KIND_MEMFD,
					    .page_count = PAGES,
					    .page_shift = 12 };
	struct gmm_slot_config slot = { .id = 1, .gfn = PAGES, .count = PAGES };
	char text[GMM_BACKING_TEXT_SIZE] = "";
	struct gmm_memory *memory;
	struct world world;
	uint8_t *target;

	setup(&world, GMM_MEMORY_KIND_MEMFD);
	target = mmap(NULL, PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(target, MAP_FAILED);
	use(&world, 0);
	pthread_mutex_lock(&repairing);
	assert_int_equal(munmap(world.vcpu, PAGE), 0);
	assert_ptr_equal(mremap(world.vcpu + 8 * PAGE, 2 * PAGE, 2 * PAGE,
				MREMAP_MAYMOVE | MREMAP_FIXED, target + 4 * PAGE),
			 target + 4 * PAGE);
	assert_int_equal(munmap(target, PAGES * PAGE), 0);
	config.vcpu_address = target;
	config.source = world.source;
	if (gmm_memory_create(&config, &memory, text, sizeof(text)))
		fail_msg("%s", text);
	slot.hva = (uintptr_t)target;
	slot.memory = memory;
	slot.memory_ops = gmm_memory_ops_of(memory);
	assert_int_equal(gmm_slot_add(world.guest, &slot), 0);
	pthread_mutex_unlock(&repairing);
	settle(&world, 3);
	assert_true(gmm_userfault_is_registered(world.userfault, (uintptr_t)target + 4 * PAGE));
	assert_int_equal(world.not_restored, 0);
	assert_memory_equal(target + 4 * PAGE, (const void *)at(&world, 4), PAGE);
	assert_int_equal(gmm_slot_remove(world.guest, 1), 0);
	gmm_memory_close(memory);
	assert_as_in_source(&world, 8);
	teardown(&world);
}

static void test_private_memory_loses_what_is_freed(void **state)
{
	struct world world;
	uint32_t i;

	setup(&world, GMM_MEMORY_KIND_ANONYMOUS);
	use(&world, 0);
	use(&world, 8);
	assert_int_equal(madvise(world.vcpu, 8 * PAGE, MADV_DONTNEED), 0);
	settle(&world, 1);
	assert_pages(&world, 4, 4, 0xf);
	assert_int_equal(munmap(world.vcpu + 8 * PAGE, 8 * PAGE), 0);
	settle(&world, 2);
	assert_pages(&world, 8, 8, 0xf0f);
	for (i = 0; i < 16; i++) {
		if (i % 8 < 4)
			assert_zero(&world, i);
		else
			assert_as_in_source(&world, i);
		*at(&world, i) = 5;
	}
	/* Its own discards are told as events, too, and are no change of others. */
	evict(&world, 0, PAGES, 16);
	for (i = 0; i < 16; i++)
		assert_int_equal(*at(&world, i), 5);
	gmm_repair_service_wait(world.repair);
	assert_pages(&world, 8, 8, 0xf0f);
	teardown(&world);
}

static void test_own_aging_is_nobody_elses_change(void **state)
{
	struct world world;

	setup(&world, GMM_MEMORY_KIND_MEMFD);
	use(&world, 0);
	assert_int_equal(gmm_age(world.guest, 0, PAGES, 0, NULL), 8);
	while (gmm_age(world.guest, 0, PAGES, 0, NULL))
		sched_yield();
	assert_int_equal(*at(&world, 1), 101);
	assert_int_equal(statistics_of(&world).removed, 0);
	teardown(&world);
}

#define LARGE_PAGES 65536u

struct writer {
	uint8_t *page;
	uint32_t stop; /* atomic */
	bool faulted;
};

/* Through the mapping as long as it is there: other bytes each time, and no signal at its end. */
static void *write_always(void *context)
{
	struct writer *writer = context;

	while (!__atomic_load_n(&writer->stop, __ATOMIC_RELAXED))
		writer->faulted |= getrandom(writer->page, 64, 0) != 64;
	return NULL;
}

static void *unmap_large(void *context)
{
	assert_int_equal(munmap(context, LARGE_PAGES * PAGE), 0);
	return NULL;
}

struct events {
	struct gmm_userfault *userfault;
	uint32_t stop; /* atomic */
};

static void *read_events(void *context)
{
	struct events *events = context;
	struct gmm_userfault_event event;

	while (!__atomic_load_n(&events->stop, __ATOMIC_RELAXED)) {
		gmm_userfault_read(events->userfault, &event, 1);
		sched_yield();
	}
	return NULL;
}

/* The pages go from the first to the last, after the mapping: the last can be written until then. */
static void test_aging_ends_when_what_is_being_unmapped_is_gone(void **state)
{
	const struct gmm_stage2_ops *ops;
	struct gmm_memory_ops memory = { .flags = GMM_MEMORY_LAZY | GMM_MEMORY_AGEABLE };
	size_t bytes = (LARGE_PAGES + 1) * PAGE;
	pthread_t writing, unmapping, reading;
	struct events events = { 0 };
	char text[GMM_USERFAULT_TEXT_BYTES] = "";
	struct gmm_userfault *userfault;
	struct gmm_live_stage2 *live;
	struct writer writer = { 0 };
	struct gmm_span span;
	uint8_t *large, *other, seen[64];
	int file, i;

	if (gmm_userfault_open(GMM_USERFAULT_SHARED | GMM_USERFAULT_SHARED_WP |
				       GMM_USERFAULT_EVENTS,
			       0, &userfault, text)) {
		print_message("%s\n", text);
		skip();
	}
	assert_int_equal(gmm_live_stage2_create(userfault, &live), 0);
	ops = gmm_live_stage2_ops(live);
	file = memfd_create("large", MFD_CLOEXEC);
	assert_int_equal(ftruncate(file, (off_t)bytes), 0);
	writer.page = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file, 0);
	other = mmap(NULL, bytes, PROT_READ, MAP_SHARED, file, 0);
	assert_true(writer.page != MAP_FAILED && other != MAP_FAILED);
	assert_int_equal(gmm_userfault_register(userfault, (uintptr_t)writer.page, bytes,
						GMM_USERFAULT_WP),
			 0);
	large = writer.page;
	writer.page += (LARGE_PAGES - 1) * PAGE;
	assert_int_equal(pthread_create(&writing, NULL, write_always, &writer), 0);
	while (!*(volatile uint64_t *)(other + (LARGE_PAGES - 1) * PAGE))
		sched_yield();
	events.userfault = userfault;
	assert_int_equal(pthread_create(&reading, NULL, read_events, &events), 0);
	assert_int_equal(pthread_create(&unmapping, NULL, unmap_large, large), 0);
	while (!msync(writer.page, PAGE, MS_ASYNC))
		;
	span = (struct gmm_span){ .hva = (uintptr_t)writer.page,
				  .count = 2,
				  .memory_ops = &memory };
	assert_int_equal(ops->unmap(live, &span), 0);
	memcpy(seen, other + (LARGE_PAGES - 1) * PAGE, sizeof(seen));
	/* The writer has a processor now. */
	for (i = 0; i < 100; i++) {
		nanosleep(&(struct timespec){ .tv_nsec = 1000 }, NULL);
		assert_memory_equal(seen, other + (LARGE_PAGES - 1) * PAGE, sizeof(seen));
	}
	__atomic_store_n(&writer.stop, 1, __ATOMIC_RELAXED);
	pthread_join(writing, NULL);
	pthread_join(unmapping, NULL);
	__atomic_store_n(&events.stop, 1, __ATOMIC_RELAXED);
	pthread_join(reading, NULL);
	gmm_live_stage2_destroy(live);
	gmm_userfault_close(userfault);
	munmap(writer.page + PAGE, PAGE);
	munmap(other, bytes);
	close(file);
}

struct stranger {
	struct world *world;
	pthread_t thread;
	pid_t id;     /* atomic; 0: not yet known */
	int64_t done; /* atomic; 0: not yet */
};

static void *drop_pages(void *context)
{
	struct stranger *stranger = context;

	assert_int_equal(madvise((void *)at(stranger->world, 8), 8 * PAGE, MADV_DONTNEED), 0);
	return NULL;
}

static void *evict_pages(void *context)
{
	struct stranger *stranger = context;

	__atomic_store_n(&stranger->id, gettid(), __ATOMIC_RELEASE);
	__atomic_store_n(&stranger->done, gmm_evict(stranger->world->guest, 0, 8, 0),
			 __ATOMIC_RELEASE);
	return NULL;
}

/* Events are read late on a busy machine: here when whoever waits for that has gone to sleep. */
static void test_protecting_waits_for_whoever_reads_events(void **state)
{
	struct stranger drops = { 0 }, evicts = { 0 };
	struct world world;

	setup(&world, GMM_MEMORY_KIND_MEMFD);
	use(&world, 0);
	gmm_fault_service_stop(world.faults);
	gmm_repair_service_stop(world.repair);
	drops.world = evicts.world = &world;
	assert_int_equal(pthread_create(&drops.thread, NULL, drop_pages, &drops), 0);
	while (gmm_userfault_protect(world.userfault, (uintptr_t)at(&world, PAGES - 1), PAGE) !=
	       -GMM_EAGAIN)
		sched_yield();
	assert_int_equal(pthread_create(&evicts.thread, NULL, evict_pages, &evicts), 0);
	while (!__atomic_load_n(&evicts.done, __ATOMIC_ACQUIRE) &&
	       !thread_is_asleep(__atomic_load_n(&evicts.id, __ATOMIC_ACQUIRE)))
		sched_yield();
	assert_int_equal(__atomic_load_n(&evicts.done, __ATOMIC_ACQUIRE), 0);
	start_services(&world);
	pthread_join(drops.thread, NULL);
	pthread_join(evicts.thread, NULL);
	assert_int_equal(evicts.done, 8);
	assert_int_equal(*at(&world, 1), 101);
	teardown(&world);
}

/*
 * Aging drops the mapping of pages among which somebody else has put his own: the kernel tells less
 * than was asked for. What is freed there later is told all the same.
 */
static void test_own_aging_hides_nobody_elses_change(void **state)
{
	struct world world;

	setup(&world, GMM_MEMORY_KIND_MEMFD);
	use(&world, 0);
	assert_ptr_equal(mmap(world.vcpu + 3 * PAGE, PAGE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
			 world.vcpu + 3 * PAGE);
	settle(&world, 1);
	assert_int_equal(world.not_restored, 1u << 3);
	while (gmm_age(world.guest, 0, PAGES, 0, NULL))
		sched_yield();
	assert_int_equal(statistics_of(&world).removed, 0);
	assert_int_equal(madvise(world.vcpu, PAGE, MADV_REMOVE), 0);
	/* Another, which is told in any case, and after it. */
	assert_int_equal(munmap(world.vcpu + 4 * PAGE, PAGE), 0);
	while (statistics_of(&world).unmapped < 2)
		sched_yield();
	assert_int_equal(statistics_of(&world).removed, 1);
	settle(&world, 3);
	assert_pages(&world, 0, 1, 0x1);
	assert_zero(&world, 0);
	teardown(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dontneed_of_shared_memory_loses_nothing),
		cmocka_unit_test(test_removed_pages_are_repaired_or_reported),
		cmocka_unit_test(test_a_punched_page_is_found_by_who_touches_it),
		cmocka_unit_test(test_a_hole_under_a_cache_is_found),
		cmocka_unit_test(test_unmapped_memory_is_mapped_again),
		cmocka_unit_test(test_moved_memory_is_mapped_again_where_it_was),
		cmocka_unit_test(test_a_strangers_mapping_stays),
		cmocka_unit_test(test_a_strangers_mapping_that_goes_is_no_matter),
		cmocka_unit_test(test_memory_at_the_target_of_a_move_stays_registered),
		cmocka_unit_test(test_private_memory_loses_what_is_freed),
		cmocka_unit_test(test_own_aging_is_nobody_elses_change),
		cmocka_unit_test(test_own_aging_hides_nobody_elses_change),
		cmocka_unit_test(test_aging_ends_when_what_is_being_unmapped_is_gone),
		cmocka_unit_test(test_protecting_waits_for_whoever_reads_events),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
