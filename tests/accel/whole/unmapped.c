/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Write-protection meets memory that somebody is unmapping: vCPUs may still write through a mapping
 * that is not found any more, until munmap() is over. That moment cannot be held from outside, so
 * here is shown what protect() does about it: it takes the lock that munmap() holds, by a change of
 * mappings, after its last look. What it is good for: scenario repair-evict-unmap of the explorer.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include <guestmm/linux/live_stage2.h>
#include <guestmm/memory.h>
#include <guestmm/slot.h>

#include "accel/linux_uapi.h"

#define PAGE 4096u
#define PAGES 8u

static uint64_t calls, last_protection, last_mapping;

int ioctl(int descriptor, unsigned long request, ...)
{
	va_list arguments;
	void *argument;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (request == UFFDIO_WRITEPROTECT)
		last_protection = ++calls;
	return (int)syscall(SYS_ioctl, descriptor, request, argument);
}

int mprotect(void *address, size_t length, int protection)
{
	last_mapping = ++calls;
	return (int)syscall(SYS_mprotect, address, length, protection);
}

struct world {
	struct gmm_userfault *userfault;
	struct gmm_live_stage2 *live;
	struct gmm_memory_ops ops;
	struct gmm_slot_info slot;
	uint8_t *memory;
	int file;
};

static void setup(struct world *world)
{
	const struct gmm_slot_info none = { .id = 0 };
	char text[GMM_USERFAULT_TEXT_BYTES];

	if (gmm_userfault_open(GMM_USERFAULT_SHARED | GMM_USERFAULT_SHARED_WP, 0, &world->userfault,
			       text)) {
		print_message("%s\n", text);
		skip();
	}
	assert_int_equal(gmm_live_stage2_create(world->userfault, &world->live), 0);
	world->file = memfd_create("test", MFD_CLOEXEC);
	assert_int_equal(ftruncate(world->file, PAGES * PAGE), 0);
	world->memory =
		mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, world->file, 0);
	assert_true(world->memory != MAP_FAILED);
	world->ops = (struct gmm_memory_ops){ .flags = GMM_MEMORY_LAZY | GMM_MEMORY_AGEABLE };
	world->slot = (struct gmm_slot_info){ .count = PAGES,
					      .hva = (uintptr_t)world->memory,
					      .memory_ops = &world->ops };
	assert_int_equal(gmm_live_stage2_slot_change(world->live, &none, &world->slot), 0);
}

static int protect(struct world *world)
{
	struct gmm_span span = { .hva = (uintptr_t)world->memory,
				 .count = PAGES,
				 .memory_ops = &world->ops };

	return gmm_live_stage2_ops(world->live)->protect(world->live, &span);
}

static void teardown(struct world *world)
{
	const struct gmm_slot_info none = { .id = 0 };

	assert_int_equal(gmm_live_stage2_slot_change(world->live, &world->slot, &none), 0);
	munmap(world->memory, PAGES * PAGE);
	close(world->file);
	gmm_live_stage2_destroy(world->live);
	gmm_userfault_close(world->userfault);
}

static void test_protection_of_what_is_mapped_waits_for_nobody(void **state)
{
	struct world world;

	setup(&world);
	last_mapping = 0;
	assert_int_equal(protect(&world), 0);
	assert_int_equal(last_mapping, 0);
	teardown(&world);
}

static void test_protection_of_a_hole_waits(void **state)
{
	static const uint32_t holes[] = { 0, 3, PAGES - 1 };
	struct world world;
	size_t i;

	for (i = 0; i < sizeof(holes) / sizeof(holes[0]); i++) {
		setup(&world);
		assert_int_equal(munmap(world.memory + holes[i] * PAGE, PAGE), 0);
		last_mapping = 0;
		assert_int_equal(protect(&world), 0);
		assert_true(last_mapping > last_protection);
		teardown(&world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_protection_of_what_is_mapped_waits_for_nobody),
		cmocka_unit_test(test_protection_of_a_hole_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
