/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * KVM's dirty log, harvested in parts: it is read once a pass, cleared where it is harvested, and no
 * write is missing, whatever comes between the parts and whichever call fails. This program has an
 * ioctl() of its own, which counts.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include <guestmm/dirty.h>
#include <guestmm/slot.h>

#include "accel/linux_uapi.h"

#include "code_guest.h"

#define SLOT 7u
#define GFN 0x10000u
/* Two ranges that are cleared, and a bit. */
#define PAGES 140000u
#define PART 4096u
#define PARTS ((PAGES + PART - 1) / PART)

static uint32_t reads, clears, fail_clear;
static uint64_t cleared_pages;

int ioctl(int descriptor, unsigned long request, ...)
{
	va_list arguments;
	void *argument;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	reads += request == KVM_GET_DIRTY_LOG;
	if (request == KVM_CLEAR_DIRTY_LOG) {
		clears++;
		if (fail_clear && !--fail_clear) {
			errno = ENOMEM;
			return -1;
		}
		cleared_pages += ((struct kvm_clear_dirty_log *)argument)->num_pages;
	}
	return (int)syscall(SYS_ioctl, descriptor, request, argument);
}

/* Adds one to the first word of so many pages, so far apart. */
CODE(store, "mov (%rdi), %rsi\n"
	    "mov 8(%rdi), %rcx\n"
	    "mov 16(%rdi), %rbx\n"
	    "2: addq $1, (%rsi)\n"
	    "add %rbx, %rsi\n"
	    "dec %rcx\n"
	    "jnz 2b\n");

struct world {
	struct code_guest guest;
	struct gmm_memory *memory;
	uint64_t bitmap[PAGES / 64 + 1]; /* of all parts */
};

static struct world world;

static void setup(void)
{
	struct gmm_memory_config config = {
		.kind = GMM_MEMORY_KIND_PLAIN,
		.page_count = PAGES,
		.page_shift = 12,
	};
	struct gmm_slot_config slot = {
		.id = SLOT,
		.flags = GMM_SLOT_LOG_DIRTY,
		.gfn = GFN,
		.count = PAGES,
	};

	memset(&world, 0, sizeof(world));
	world.guest.code = store_code;
	world.guest.code_end = store_code_end;
	code_guest_open(&world.guest);
	assert_int_equal(gmm_memory_create(&config, &world.memory, NULL, 0), 0);
	slot.hva = (uintptr_t)gmm_memory_vcpu_address(world.memory);
	slot.memory = world.memory;
	slot.memory_ops = gmm_memory_ops_of(world.memory);
	assert_int_equal(gmm_slot_add(world.guest.guest, &slot), 0);
}

static void teardown(void)
{
	assert_int_equal(gmm_slot_remove(world.guest.guest, SLOT), 0);
	code_guest_close(&world.guest);
	gmm_memory_close(world.memory);
}

/* The vCPU writes pages first, first + step … */
static void write_pages(uint64_t first, uint64_t count, uint64_t step)
{
	world.guest.arguments[0] = (GFN + first) * CODE_PAGE;
	world.guest.arguments[1] = count;
	world.guest.arguments[2] = step * CODE_PAGE;
	assert_true(code_guest_run(&world.guest));
}

static int64_t harvest(uint64_t first, uint64_t count, bool next)
{
	return (next ? gmm_dirty_harvest_next : gmm_dirty_harvest)(
		world.guest.guest, SLOT, first, count, world.bitmap + first / 64);
}

static int64_t harvest_part(uint32_t part, bool next)
{
	uint64_t first = (uint64_t)part * PART;

	return harvest(first, PAGES - first < PART ? PAGES - first : PART, next);
}

static int64_t pass(bool next)
{
	int64_t sum = 0;
	uint32_t i;

	reads = clears = 0;
	cleared_pages = 0;
	for (i = 0; i < PARTS; i++)
		sum += harvest_part(i, next && i);
	return sum;
}

static bool has(uint64_t page)
{
	return world.bitmap[page / 64] >> page % 64 & 1;
}

static void test_once_a_pass(void **state)
{
	setup();
	write_pages(5, 100, 1000);
	assert_int_equal(pass(true), 100);
	assert_int_equal(reads, 1);
	assert_true(has(5) && has(1005) && has(99005) && !has(6));
	assert_in_range(clears, 1, PARTS);
	assert_int_equal(pass(true), 0);
	assert_int_equal(reads, 1);
	assert_int_equal(clears, 0);
	/* Parts for themselves have to read each time. */
	write_pages(7, 100, 1000);
	assert_int_equal(pass(false), 100);
	assert_int_equal(reads, PARTS);
	/* The whole at once: only what was written is cleared, range by range. */
	write_pages(64, 1, 1);
	write_pages(PAGES - 1, 1, 1);
	reads = clears = 0;
	cleared_pages = 0;
	assert_int_equal(harvest(0, PAGES, false), 2);
	assert_int_equal(reads, 1);
	assert_int_equal(clears, 2);
	assert_in_range(cleared_pages, 2, 65536 + 64);
	print_message("%u parts: 1 read a pass instead of %u\n", PARTS, PARTS);
	teardown();
}

/* What is written in the middle of a pass is left for the next one, in whichever part. */
static void test_writes_in_the_middle(void **state)
{
	uint32_t i;

	setup();
	write_pages(1, PARTS, PART);
	assert_int_equal(harvest_part(0, false), 1);
	write_pages(2, PARTS, PART);
	for (i = 1; i < PARTS; i++)
		assert_int_equal(harvest_part(i, true), 1);
	assert_int_equal(pass(true), PARTS);
	assert_true(has(2) && has(PART + 2));
	/* The same page again: it is read after it was harvested, or dirty again. */
	write_pages(3, PARTS, PART);
	assert_int_equal(harvest_part(0, false), 1);
	write_pages(3, PARTS, PART);
	for (i = 1; i < PARTS; i++)
		assert_int_equal(harvest_part(i, true), 1);
	assert_int_equal(pass(true), 1);
	assert_true(has(3));
	teardown();
}

/* Who does not keep to the order gets what there is now. */
static void test_another_order(void **state)
{
	setup();
	write_pages(1, 4, PART);
	assert_int_equal(harvest_part(2, true), 1);
	write_pages(PART + 2, 1, 1);
	/* Lower than what was handed out: another pass. */
	assert_int_equal(harvest_part(1, true), 2);
	write_pages(2, 1, 1);
	assert_int_equal(harvest_part(0, true), 2);
	/* Some are passed over. */
	assert_int_equal(harvest_part(3, true), 1);
	assert_int_equal(pass(true), 0);
	/* Parts that are not whole words. */
	write_pages(0, 128, 1);
	assert_int_equal(harvest(0, 70, false), 70);
	write_pages(64, 1, 1);
	assert_int_equal(harvest(64, 64, true), 59);
	assert_int_equal(pass(true), 0);
	teardown();
}

/* A slot that changes in the middle: its log goes on. */
static void test_a_change_in_the_middle(void **state)
{
	uint32_t i;

	setup();
	write_pages(1, PARTS, PART);
	assert_int_equal(harvest_part(0, false), 1);
	write_pages(2, 1, 1);
	assert_int_equal(gmm_slot_resize(world.guest.guest, SLOT, PAGES - 64), 0);
	assert_int_equal(gmm_slot_resize(world.guest.guest, SLOT, PAGES), 0);
	for (i = 1; i < PARTS; i++)
		assert_int_equal(harvest_part(i, true), 1);
	assert_int_equal(harvest_part(0, false), 1);
	assert_true(has(2));
	teardown();
}

/* Each clearing of a pass fails once: its pages are found by the next one. */
static void test_clearing_fails(void **state)
{
	uint32_t nth, i;
	int64_t found;

	setup();
	for (nth = 1; nth <= 3; nth++) {
		write_pages(1, 3, 65536);
		fail_clear = nth;
		assert_int_equal(harvest(0, PAGES, false), -GMM_EIO);
		assert_int_equal(fail_clear, 0);
		assert_int_equal(harvest(0, PAGES, false), 3);
	}
	for (nth = 1; nth <= PARTS; nth++) {
		write_pages(1, PARTS, PART);
		fail_clear = nth;
		found = 0;
		for (i = 0; i < PARTS; i++) {
			int64_t answer = harvest_part(i, i);

			assert_true(answer == (i == nth - 1 ? -GMM_EIO : 1));
			found += answer > 0;
		}
		assert_int_equal(found, PARTS - 1);
		assert_int_equal(pass(true), 1);
	}
	teardown();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_once_a_pass),
		cmocka_unit_test(test_writes_in_the_middle),
		cmocka_unit_test(test_another_order),
		cmocka_unit_test(test_a_change_in_the_middle),
		cmocka_unit_test(test_clearing_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
