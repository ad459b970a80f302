/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What a VMM of somebody else uses: the live second stage under a real guest, with this process's
 * accesses as the vCPU's, and the slots of a VM that is not ours. examples/tiny_vmm.c runs one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

#include <guestmm/dirty.h>
#include <guestmm/evict.h>
#include <guestmm/linux/fault_service.h>
#include <guestmm/linux/kvm_slots.h>
#include <guestmm/linux/live_stage2.h>
#include <guestmm/linux/mapped_memory.h>
#include <guestmm/linux/memory.h>
#include <guestmm/slot.h>

#define PAGE 4096u
#define PAGES 128u
#define GFN 0x40u
#define RING_ENTRIES 1024u

struct world {
	struct gmm_userfault *userfault;
	struct gmm_live_stage2 *live;
	struct gmm_guest *guest;
	struct gmm_fault_service *faults;
	struct gmm_source source;
	struct gmm_memory *memory;
	volatile uint8_t *bytes; /* as a vCPU sees it */
};

static void open_userfault(struct world *world, uint32_t required)
{
	char text[GMM_USERFAULT_TEXT_BYTES];

	if (gmm_userfault_open(required, 0, &world->userfault, text)) {
		print_message("%s\n", text);
		skip();
	}
}

static void setup(struct world *world, enum gmm_memory_kind kind)
{
	struct gmm_guest_config guest = { 0 };
	struct gmm_fault_service_config faults = { 0 };
	struct gmm_memory_config memory = { .kind = kind, .page_count = PAGES, .page_shift = 12 };
	struct gmm_slot_config slot = { .gfn = GFN, .count = PAGES, .flags = GMM_SLOT_LOG_DIRTY };
	char text[GMM_BACKING_TEXT_SIZE];

	memset(world, 0, sizeof(*world));
	open_userfault(world, kind == GMM_MEMORY_KIND_MEMFD ?
				      GMM_USERFAULT_SHARED | GMM_USERFAULT_SHARED_WP :
				      GMM_USERFAULT_PRIVATE_WP);
	assert_int_equal(
		gmm_source_open_generated(&world->source, 5, PAGES, 12, text, sizeof(text)), 0);
	memory.source = world->source;
	assert_int_equal(gmm_memory_create(&memory, &world->memory, text, sizeof(text)), 0);
	assert_int_equal(gmm_live_stage2_create(world->userfault, &world->live), 0);
	guest.stage2_ops = gmm_live_stage2_ops(world->live);
	guest.stage2_owner = world->live;
	assert_int_equal(gmm_guest_create(&guest, &world->guest), 0);
	faults.guest = world->guest;
	faults.userfault = world->userfault;
	assert_int_equal(gmm_fault_service_start(&faults, &world->faults), 0);
	world->bytes = gmm_memory_vcpu_address(world->memory);
	slot.hva = (uintptr_t)world->bytes;
	slot.memory_ops = gmm_memory_ops_of(world->memory);
	slot.memory = world->memory;
	assert_int_equal(gmm_slot_add(world->guest, &slot), 0);
	gmm_memory_attach_userfault(world->memory, gmm_userfault_descriptor(world->userfault));
}

static void teardown(struct world *world)
{
	assert_int_equal(gmm_slot_remove(world->guest, 0), 0);
	gmm_fault_service_stop(world->faults);
	assert_int_equal(gmm_guest_destroy(world->guest), 0);
	gmm_memory_attach_userfault(world->memory, -1);
	gmm_memory_close(world->memory);
	gmm_live_stage2_destroy(world->live);
	gmm_userfault_close(world->userfault);
	gmm_source_close(&world->source);
}

/* Every page is the source's, but that first byte which was written. */
static void assert_contents(struct world *world, uint32_t written_each, uint8_t first)
{
	uint8_t expected[PAGE];

	for (uint32_t page = 0; page < PAGES; page++) {
		const uint8_t *seen = (const uint8_t *)world->bytes + page * PAGE;

		assert_int_equal(world->source.ops->read(world->source.source, page, 1, expected),
				 0);
		if (written_each && page % written_each == 0)
			expected[0] = first;
		assert_memory_equal(seen, expected, PAGE);
	}
}

static void pages_come_are_logged_go_and_come_back(enum gmm_memory_kind kind)
{
	uint64_t bitmap[PAGES / 64];
	struct gmm_live_range range;
	struct world world;
	gmm_gfn_t gfn = 0;

	setup(&world, kind);
	assert_int_equal(gmm_resident_pages(world.guest), 0);
	assert_contents(&world, 0, 0);
	assert_int_equal(gmm_resident_pages(world.guest), PAGES);

	for (uint32_t page = 0; page < PAGES; page += 5)
		world.bytes[page * PAGE] = 0xa5;
	assert_true(gmm_dirty_harvest(world.guest, 0, 0, PAGES, bitmap) >= (PAGES + 4) / 5);
	for (uint32_t page = 0; page < PAGES; page += 5)
		assert_true(bitmap[page / 64] >> (page % 64) & 1);
	/* Protected again: the next write is seen, too. */
	world.bytes[PAGE * 10] = 0xa5;
	assert_int_equal(gmm_dirty_harvest(world.guest, 0, 0, PAGES, bitmap), 1);
	assert_int_equal(bitmap[0], 1u << 10);

	assert_int_equal(gmm_evict(world.guest, GFN, PAGES, 0), PAGES);
	assert_int_equal(gmm_resident_pages(world.guest), 0);
	assert_contents(&world, 5, 0xa5);

	assert_true(gmm_live_stage2_find(world.live, (uintptr_t)world.bytes + 7 * PAGE + 1, &range,
					 &gfn));
	assert_int_equal(gfn, GFN + 7);
	assert_int_equal(range.bytes, PAGES * PAGE);
	teardown(&world);
}

static void shared_memory_is_lazy_under_the_live_second_stage(void **state)
{
	pages_come_are_logged_go_and_come_back(GMM_MEMORY_KIND_MEMFD);
}

static void private_memory_is_lazy_under_the_live_second_stage(void **state)
{
	pages_come_are_logged_go_and_come_back(GMM_MEMORY_KIND_ANONYMOUS);
}

static void lazy_memory_needs_a_userfaultfd(void **state)
{
	struct gmm_memory_config memory = { .page_count = PAGES, .page_shift = 12 };
	struct gmm_slot_config slot = { .gfn = GFN, .count = PAGES };
	struct gmm_guest_config guest = { 0 };
	struct world world = { 0 };
	char text[GMM_BACKING_TEXT_SIZE];

	assert_int_equal(gmm_live_stage2_create(NULL, &world.live), 0);
	guest.stage2_ops = gmm_live_stage2_ops(world.live);
	guest.stage2_owner = world.live;
	assert_int_equal(gmm_guest_create(&guest, &world.guest), 0);
	assert_int_equal(gmm_memory_create(&memory, &world.memory, text, sizeof(text)), 0);
	slot.hva = (uintptr_t)gmm_memory_vcpu_address(world.memory);
	slot.memory_ops = gmm_memory_ops_of(world.memory);
	slot.memory = world.memory;
	assert_int_equal(gmm_slot_add(world.guest, &slot), -GMM_EOPNOTSUPP);
	assert_int_equal(gmm_guest_destroy(world.guest), 0);
	gmm_live_stage2_destroy(world.live);
	gmm_memory_close(world.memory);
}

static int open_vm(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm;

	vm = kvm < 0 ? -1 : TEMP_FAILURE_RETRY(ioctl(kvm, KVM_CREATE_VM, 0));
	if (vm < 0) {
		print_message("/dev/kvm cannot be used here\n");
		skip();
	}
	close(kvm);
	return vm;
}

static void slots_of_a_vm_check_what_they_get(void **state)
{
	struct gmm_kvm_slots_config config = { .vm = -1 };
	struct gmm_userfault *userfault = NULL;
	struct gmm_kvm_slots *slots = NULL;
	char text[GMM_USERFAULT_TEXT_BYTES];
	int vm = open_vm();

	assert_int_equal(gmm_kvm_slots_create(&config, &slots), -GMM_ENOSYS);
	config.vm = vm;
	config.ring_entries = 3;
	assert_int_equal(gmm_kvm_slots_create(&config, &slots), -GMM_EINVAL);
	config.ring_entries = 0;
	if (!gmm_userfault_open_lacking(GMM_USERFAULT_KERNEL, 0, 0, &userfault, text)) {
		config.userfault = userfault;
		assert_int_equal(gmm_kvm_slots_create(&config, &slots), -GMM_EINVAL);
		gmm_userfault_close(userfault);
	}
	assert_null(slots);
	close(vm);
}

static void slots_of_a_vm_are_those_of_the_guest(void **state)
{
	static uint8_t pages[8 * PAGE] __attribute__((aligned(4096)));
	struct gmm_mapped_memory_config mapped = { .start = pages, .page_count = 8 };
	struct gmm_kvm_slots_config config = { .vm = open_vm(), .gpa_bytes = 16 * PAGE };
	struct gmm_slot_config slot = { .id = 3, .gfn = 12, .count = 8, .hva = (uintptr_t)pages };
	struct kvm_userspace_memory_region region = { .slot = 4,
						      .guest_phys_addr = 10 * PAGE,
						      .memory_size = PAGE,
						      .userspace_addr = (uintptr_t)pages };
	struct gmm_guest_config guest = { 0 };
	struct gmm_mapped_memory *memory;
	struct gmm_kvm_slots *slots;
	struct gmm_guest *made;
	uint64_t dirty = 0;

	assert_int_equal(gmm_mapped_memory_create(&mapped, &memory), 0);
	assert_int_equal(gmm_kvm_slots_create(&config, &slots), 0);
	guest.stage2_ops = gmm_kvm_slots_ops(slots);
	guest.stage2_owner = slots;
	assert_int_equal(gmm_guest_create(&guest, &made), 0);
	slot.memory_ops = gmm_mapped_memory_ops();
	slot.memory = memory;
	slot.flags = GMM_SLOT_LOG_DIRTY;
	assert_int_equal(gmm_slot_add(made, &slot), -GMM_ERANGE);
	slot.gfn = 8;
	assert_int_equal(gmm_slot_add(made, &slot), 0);
	/* KVM has it: it refuses another one there, and does not after the removal. */
	assert_int_equal(ioctl(config.vm, KVM_SET_USER_MEMORY_REGION, &region), -1);
	assert_int_equal(gmm_dirty_harvest(made, 3, 0, 8, &dirty), 0);
	assert_int_equal(gmm_slot_remove(made, 3), 0);
	assert_int_equal(ioctl(config.vm, KVM_SET_USER_MEMORY_REGION, &region), 0);
	/* What KVM refuses is refused, and nothing has changed. */
	assert_int_equal(gmm_slot_add(made, &slot), -GMM_EEXIST);
	assert_int_equal(gmm_slot_count(made), 0);
	assert_int_equal(gmm_guest_destroy(made), 0);
	gmm_kvm_slots_destroy(slots);
	gmm_mapped_memory_close(memory);
	close(config.vm);
}

static void rings_are_known_once(void **state)
{
	struct gmm_kvm_slots_config config = { .vm = open_vm(), .ring_entries = RING_ENTRIES };
	struct kvm_enable_cap ring = {
		.cap = KVM_CAP_DIRTY_LOG_RING,
		.args = { RING_ENTRIES * sizeof(struct kvm_dirty_gfn) },
	};
	struct gmm_kvm_slots *slots;
	int vcpu;

	if (ioctl(config.vm, KVM_ENABLE_CAP, &ring)) {
		print_message("KVM here has no dirty ring\n");
		close(config.vm);
		skip();
	}
	vcpu = ioctl(config.vm, KVM_CREATE_VCPU, 0);
	assert_true(vcpu >= 0);
	assert_int_equal(gmm_kvm_slots_create(&config, &slots), 0);
	assert_int_equal(gmm_kvm_slots_vcpu_add(slots, vcpu), 0);
	assert_int_equal(gmm_kvm_slots_vcpu_add(slots, vcpu), -GMM_EEXIST);
	assert_int_equal(gmm_kvm_slots_vcpu_add(slots, config.vm), -GMM_EIO);
	assert_int_equal(gmm_kvm_slots_harvest_rings(slots), 0);
	gmm_kvm_slots_vcpu_remove(slots, vcpu);
	gmm_kvm_slots_vcpu_remove(slots, vcpu);
	assert_int_equal(gmm_kvm_slots_vcpu_add(slots, vcpu), 0);
	gmm_kvm_slots_destroy(slots);
	close(vcpu);
	close(config.vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shared_memory_is_lazy_under_the_live_second_stage),
		cmocka_unit_test(private_memory_is_lazy_under_the_live_second_stage),
		cmocka_unit_test(lazy_memory_needs_a_userfaultfd),
		cmocka_unit_test(slots_of_a_vm_check_what_they_get),
		cmocka_unit_test(slots_of_a_vm_are_those_of_the_guest),
		cmocka_unit_test(rings_are_known_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
