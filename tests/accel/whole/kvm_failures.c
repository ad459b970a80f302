/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Each step of each change of a slot fails once, and in a second run each step from there on: a call
 * of the system's or an allocation. Afterwards the engine, KVM and the userfaultfd must say the same,
 * the vCPU must reach what it could reach, and no write may be missing in the log. What KVM has is
 * known by what it was told: this program has ioctl() of its own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include <guestmm/dirty.h>
#include <guestmm/evict.h>
#include <guestmm/fault.h>
#include <guestmm/linux/fault_service.h>
#include <guestmm/slot.h>

#include "accel/linux_uapi.h"

#include "code_guest.h"

#define PAGE CODE_PAGE
#define SLOT 7u
#define MOST_PAGES 192u
#define PAGES 128u
#define FEW_PAGES 64u
#define GFN 0x10000u /* 256 MiB */
#define OTHER_GFN 0x18000u

/* What fails */

static _Thread_local struct {
	bool armed;
	bool and_all_after;
	uint32_t nth, seen, failed;
} failing;

static bool fails(bool can_stay_so)
{
	if (!failing.armed || (failing.and_all_after && !can_stay_so))
		return false;
	failing.seen++;
	if (failing.seen != failing.nth && !(failing.and_all_after && failing.seen > failing.nth))
		return false;
	failing.failed++;
	errno = ENOMEM;
	return true;
}

extern void *__libc_calloc(size_t number, size_t size);
extern void *__libc_realloc(void *pointer, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

void *calloc(size_t number, size_t size)
{
	return fails(true) ? NULL : __libc_calloc(number, size);
}

void *realloc(void *pointer, size_t size)
{
	return fails(true) ? NULL : __libc_realloc(pointer, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return fails(true) ? NULL : __libc_memalign(alignment, size);
}

/* What the kernel was told */

static struct kvm_userspace_memory_region told; /* of SLOT */
static uint8_t *memory;				/* the vCPU's mapping of MOST_PAGES */
static bool registered[MOST_PAGES];

static void note_registration(const struct uffdio_range *range, bool now)
{
	uint64_t page;

	for (page = 0; page < MOST_PAGES; page++) {
		uint64_t start = (uintptr_t)memory + page * PAGE;

		if (memory && start >= range->start && start - range->start < range->len)
			registered[page] = now;
	}
}

static void note(unsigned long request, void *argument)
{
	const struct kvm_userspace_memory_region *region = argument;
	const struct uffdio_register *registration = argument;

	if (request == KVM_SET_USER_MEMORY_REGION && region->slot == SLOT)
		told = *region;
	if (request == UFFDIO_REGISTER)
		note_registration(&registration->range, true);
	if (request == UFFDIO_UNREGISTER)
		note_registration(argument, false);
}

int ioctl(int descriptor, unsigned long request, ...)
{
	va_list arguments;
	void *argument;
	int answer;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	/* Waking fails only where nobody can be waiting; what stays registered is found later. */
	if (request != UFFDIO_WAKE && fails(request != UFFDIO_UNREGISTER)) {
		/* Without memory it stops in the middle. */
		if (request == UFFDIO_REGISTER) {
			struct uffdio_register half = *(struct uffdio_register *)argument;

			half.range.len /= 2;
			if (!syscall(SYS_ioctl, descriptor, request, &half))
				note_registration(&half.range, true);
			errno = ENOMEM;
		}
		return -1;
	}
	answer = (int)syscall(SYS_ioctl, descriptor, request, argument);
	if (answer >= 0)
		note(request, argument);
	return answer;
}

/* The guest: adds a number to the first word of each of some pages. */

CODE(store, "mov (%rdi), %rsi\n"
	    "mov 8(%rdi), %rcx\n"
	    "mov 16(%rdi), %rax\n"
	    "2: add %rax, (%rsi)\n"
	    "add $4096, %rsi\n"
	    "dec %rcx\n"
	    "jnz 2b\n");

struct world {
	struct code_guest guest;
	struct gmm_memory *memory;
	struct gmm_fault_service *faults;
	uint64_t expected[MOST_PAGES]; /* the first word of each page */
	bool written[MOST_PAGES];      /* since the last harvest */
	uint64_t rounds;
};

static struct gmm_slot_config slot_of(const struct world *world)
{
	return (struct gmm_slot_config){
		.id = SLOT,
		.flags = GMM_SLOT_LOG_DIRTY,
		.gfn = GFN,
		.count = PAGES,
		.hva = (uintptr_t)memory,
		.memory = world->memory,
		.memory_ops = gmm_memory_ops_of(world->memory),
	};
}

static void setup(struct world *world, enum gmm_accel_dirty dirty)
{
	struct gmm_memory_config config = {
		.kind = GMM_MEMORY_KIND_MEMFD,
		.page_count = MOST_PAGES,
		.page_shift = 12,
	};
	struct gmm_fault_service_config faults = { 0 };
	struct gmm_slot_config slot;

	memset(world, 0, sizeof(*world));
	memset(&told, 0, sizeof(told));
	memset(registered, 0, sizeof(registered));
	world->guest.code = store_code;
	world->guest.code_end = store_code_end;
	world->guest.dirty = dirty;
	world->guest.lazy = true;
	code_guest_open(&world->guest);
	assert_int_equal(gmm_memory_create(&config, &world->memory, NULL, 0), 0);
	memory = gmm_memory_vcpu_address(world->memory);
	gmm_memory_attach_userfault(world->memory,
				    gmm_userfault_descriptor(world->guest.userfault));
	faults.guest = world->guest.guest;
	faults.userfault = world->guest.userfault;
	assert_int_equal(gmm_fault_service_start(&faults, &world->faults), 0);
	slot = slot_of(world);
	assert_int_equal(gmm_slot_add(world->guest.guest, &slot), 0);
}

static void teardown(struct world *world)
{
	assert_int_equal(gmm_slot_remove(world->guest.guest, SLOT), 0);
	gmm_fault_service_stop(world->faults);
	gmm_memory_attach_userfault(world->memory, -1);
	code_guest_close(&world->guest);
	gmm_memory_close(world->memory);
	memory = NULL;
}

/* The engine's slot, KVM's and what is registered are one. */
static void assert_agreed(struct world *world)
{
	struct gmm_slot_config slot = { 0 };
	struct gmm_live_range range;
	gmm_gfn_t gfn;
	uint64_t page;
	bool is_there = !gmm_slot_get(world->guest.guest, SLOT, &slot);

	if (!is_there)
		slot.count = 0;
	assert_int_equal(told.memory_size, slot.count * PAGE);
	if (slot.count) {
		assert_int_equal(told.guest_phys_addr, slot.gfn * PAGE);
		assert_int_equal(told.userspace_addr, slot.hva);
		assert_int_equal(!!(told.flags & KVM_MEM_LOG_DIRTY_PAGES),
				 !!(slot.flags & GMM_SLOT_LOG_DIRTY));
		assert_int_equal(!!(told.flags & KVM_MEM_READONLY),
				 !!(slot.flags & GMM_SLOT_READ_ONLY));
	}
	for (page = 0; page < MOST_PAGES; page++) {
		assert_int_equal(registered[page], page < slot.count);
		assert_int_equal(gmm_live_stage2_find(world->guest.stage2.live,
						      (uintptr_t)memory + page * PAGE, &range,
						      &gfn),
				 page < slot.count);
		if (page < slot.count)
			assert_int_equal(gfn, slot.gfn + page);
	}
}

/* The vCPU writes all pages of the slot that it may write. */
static void run_guest(struct world *world)
{
	struct gmm_slot_config slot;
	uint64_t found[PAGE / 8], page;

	if (gmm_slot_get(world->guest.guest, SLOT, &slot))
		return;
	world->guest.arguments[0] = slot.gfn * PAGE;
	world->guest.arguments[1] = slot.count;
	world->guest.arguments[2] = slot.flags & GMM_SLOT_READ_ONLY ? 0 : ++world->rounds;
	if (slot.flags & GMM_SLOT_READ_ONLY)
		return;
	assert_true(code_guest_run(&world->guest));
	for (page = 0; page < slot.count; page++) {
		world->expected[page] += world->rounds;
		world->written[page] = slot.flags & GMM_SLOT_LOG_DIRTY;
		assert_int_equal(gmm_page_read(world->guest.guest, slot.gfn + page, found), 0);
		assert_int_equal(found[0], world->expected[page]);
	}
}

/* What was written is in the log. */
static void check_log(struct world *world)
{
	uint64_t bitmap[MOST_PAGES / 64] = { 0 };
	struct gmm_slot_config slot;
	uint64_t page;

	if (!gmm_slot_get(world->guest.guest, SLOT, &slot) && slot.flags & GMM_SLOT_LOG_DIRTY) {
		assert_true(gmm_dirty_harvest(world->guest.guest, SLOT, 0, slot.count, bitmap) >=
			    0);
		for (page = 0; page < slot.count; page++)
			if (world->written[page] && !(bitmap[page / 64] >> page % 64 & 1))
				fail_msg("page %u was written and is not in the log",
					 (unsigned int)page);
	}
	memset(world->written, 0, sizeof(world->written));
}

/* Changes, each with its way back */

static int add(struct world *world)
{
	struct gmm_slot_config slot = slot_of(world);

	return gmm_slot_add(world->guest.guest, &slot);
}

static int remove_slot(struct world *world)
{
	return gmm_slot_remove(world->guest.guest, SLOT);
}

/* What the memory had of it is gone: the next slot finds its pages as in the source, zero. */
static void discard(struct world *world, uint64_t first, uint64_t count)
{
	struct gmm_slot_config slot;

	assert_int_equal(gmm_slot_get(world->guest.guest, SLOT, &slot), 0);
	assert_int_equal(gmm_discard(world->guest.guest, slot.gfn + first, count), 0);
	memset(world->expected + first, 0, count * sizeof(world->expected[0]));
}

static void before_removal(struct world *world)
{
	discard(world, 0, PAGES);
}

static int discard_and_remove(struct world *world)
{
	before_removal(world);
	return remove_slot(world);
}

static void before_shrinking(struct world *world)
{
	discard(world, FEW_PAGES, PAGES - FEW_PAGES);
}

static int move_away(struct world *world)
{
	return gmm_slot_move(world->guest.guest, SLOT, OTHER_GFN);
}

/* Over itself. */
static int move_a_little(struct world *world)
{
	return gmm_slot_move(world->guest.guest, SLOT, GFN + 1);
}

static int move_back(struct world *world)
{
	return gmm_slot_move(world->guest.guest, SLOT, GFN);
}

static int grow(struct world *world)
{
	return gmm_slot_resize(world->guest.guest, SLOT, MOST_PAGES);
}

static int shrink(struct world *world)
{
	return gmm_slot_resize(world->guest.guest, SLOT, FEW_PAGES);
}

static int resize_back(struct world *world)
{
	struct gmm_slot_config slot;

	assert_int_equal(gmm_slot_get(world->guest.guest, SLOT, &slot), 0);
	if (slot.count > PAGES)
		discard(world, PAGES, slot.count - PAGES);
	return gmm_slot_resize(world->guest.guest, SLOT, PAGES);
}

static int end_log(struct world *world)
{
	return gmm_slot_set_flags(world->guest.guest, SLOT, 0);
}

static int make_read_only(struct world *world)
{
	return gmm_slot_set_flags(world->guest.guest, SLOT, GMM_SLOT_READ_ONLY);
}

static int start_log(struct world *world)
{
	return gmm_slot_set_flags(world->guest.guest, SLOT, GMM_SLOT_LOG_DIRTY);
}

static const struct change {
	const char *name;
	int (*prepare)(struct world *world); /* of the whole change, or NULL */
	void (*before)(struct world *world); /* each try, or NULL */
	int (*change)(struct world *world);
	int (*back)(struct world *world);
	int (*finish)(struct world *world);
	uint32_t least_steps; /* that the change must have had */
	/* KVM has done its part before the last that can fail: the way back must be open. */
	bool needs_way_back;
} changes[] = {
	{ "remove", NULL, before_removal, remove_slot, add, NULL, 2, false },
	{ "add", discard_and_remove, NULL, add, discard_and_remove, add, 4, false },
	{ "move", NULL, NULL, move_away, move_back, NULL, 3, false },
	{ "move over itself", NULL, NULL, move_a_little, move_back, NULL, 3, false },
	{ "grow", NULL, NULL, grow, resize_back, NULL, 5, false },
	{ "shrink", NULL, before_shrinking, shrink, resize_back, NULL, 4, false },
	{ "end the log", NULL, NULL, end_log, start_log, NULL, 1, false },
	{ "start the log", end_log, NULL, start_log, end_log, start_log, 2, false },
	{ "make read-only", NULL, NULL, make_read_only, start_log, NULL, 3, true },
};

static int try_change(struct world *world, const struct change *change, uint32_t nth,
		      bool and_all_after)
{
	int answer;

	failing.nth = nth;
	failing.and_all_after = and_all_after;
	failing.seen = failing.failed = 0;
	failing.armed = true;
	answer = change->change(world);
	failing.armed = false;
	return answer;
}

static bool is_same(const struct gmm_slot_config *a, const struct gmm_slot_config *b)
{
	return a->gfn == b->gfn && a->count == b->count && a->flags == b->flags && a->hva == b->hva;
}

/* Returns whether that step was there. */
static bool fail_at(struct world *world, const struct change *change, uint32_t nth,
		    bool and_all_after)
{
	struct gmm_slot_config before = { 0 }, after = { 0 };
	int answer;

	run_guest(world);
	if (change->before)
		change->before(world);
	gmm_slot_get(world->guest.guest, SLOT, &before);
	answer = try_change(world, change, nth, and_all_after);
	gmm_slot_get(world->guest.guest, SLOT, &after);
	if (answer && !is_same(&before, &after))
		fail_msg("%s, step %u: it is refused and changes the engine", change->name, nth);
	/* When nothing can be done any more, KVM may have lost it: the next change finds that. */
	if (answer && and_all_after && after.count &&
	    (!told.memory_size || told.guest_phys_addr != after.gfn * PAGE)) {
		assert_int_equal(answer, -GMM_EIO);
		assert_int_equal(change->change(world), 0);
		answer = 0;
	}
	assert_agreed(world);
	check_log(world);
	run_guest(world);
	if (!answer && change->back(world))
		fail_msg("%s, step %u: there is no way back", change->name, nth);
	assert_agreed(world);
	run_guest(world);
	check_log(world);
	return failing.failed;
}

static void fail_each_step(enum gmm_accel_dirty dirty, bool and_all_after)
{
	struct world world;
	uint32_t i, nth;

	setup(&world, dirty);
	for (i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		const struct change *change = &changes[i];

		if (change->needs_way_back && and_all_after)
			continue;
		if (change->prepare)
			assert_int_equal(change->prepare(&world), 0);
		for (nth = 1; fail_at(&world, change, nth, and_all_after); nth++)
			;
		print_message("%s: %u steps\n", change->name, nth - 1);
		assert_true(nth > change->least_steps);
		if (change->finish)
			assert_int_equal(change->finish(&world), 0);
	}
	teardown(&world);
}

static void test_bitmap(void **state)
{
	fail_each_step(GMM_ACCEL_DIRTY_BITMAP, false);
}

static void test_bitmap_and_all_after(void **state)
{
	fail_each_step(GMM_ACCEL_DIRTY_BITMAP, true);
}

static void test_ring(void **state)
{
	fail_each_step(GMM_ACCEL_DIRTY_RING, false);
}

static void test_ring_and_all_after(void **state)
{
	fail_each_step(GMM_ACCEL_DIRTY_RING, true);
}

/* A slot of which somebody has unmapped a page (W9) becomes shorter all the same. */
static void test_shorter_with_a_hole(void **state)
{
	struct world world;

	setup(&world, GMM_ACCEL_DIRTY_BITMAP);
	assert_int_equal(munmap(memory, PAGE), 0);
	before_shrinking(&world);
	assert_int_equal(shrink(&world), 0);
	assert_int_equal(told.memory_size, FEW_PAGES * PAGE);
	teardown(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bitmap),
		cmocka_unit_test(test_bitmap_and_all_after),
		cmocka_unit_test(test_ring),
		cmocka_unit_test(test_ring_and_all_after),
		cmocka_unit_test(test_shorter_with_a_hole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
