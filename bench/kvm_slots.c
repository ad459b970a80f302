/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A slot comes and goes beside one of 1 GiB whose pages a vCPU has all mapped. That they stay mapped
 * is a test's business: tests/accel/whole/kvm.c.
 */
#include <sys/mman.h>

#include <guestmm/slot.h>

#include "harness.h"
#include "reference/vm.h"
#include "support/guest.h"
#include "support/world.h"

#define PAGES ((1ull << 30) >> 12)
#define OTHER_PAGES 512u
#define OTHER_GPA (TINY_DATA_GPA + (1ull << 30))
#define OTHER_SLOT 2u

struct kvm_slots_bench {
	struct world world;
	struct reference_vm vm;
	struct bench_memory memory; /* of the reference */
	struct bench_memory other;  /* of the slot that comes and goes, on both sides */
};

static uint64_t add_and_remove(void *context, uint64_t count)
{
	struct kvm_slots_bench *slots = context;
	struct gmm_slot_config slot = bench_slot(OTHER_SLOT, OTHER_GPA >> 12, OTHER_PAGES, 0,
						 &bench_resident_ops, &slots->other, 0);
	uint64_t i;

	for (i = 0; i < count; i++) {
		bench_slot_add(slots->world.guest, &slot);
		bench_must(gmm_slot_remove(slots->world.guest, OTHER_SLOT), "removing a slot");
	}
	return count;
}

static uint64_t add_and_remove_reference(void *context, uint64_t count)
{
	struct kvm_slots_bench *slots = context;
	uint64_t i;

	for (i = 0; i < count; i++) {
		reference_vm_slot(&slots->vm, OTHER_SLOT, OTHER_GPA, slots->other.bytes,
				  OTHER_PAGES << 12, false);
		reference_vm_slot(&slots->vm, OTHER_SLOT, OTHER_GPA, slots->other.bytes, 0, false);
	}
	return count;
}

void bench_kvm_slots(struct bench *bench)
{
	static struct kvm_slots_bench slots;
	struct world_config config = { .kvm = true, .write = true, .pages = PAGES };
	struct bench_pair pair = {
		.name = "KVM: slot add and remove beside 1 GiB mapped",
		.unit = BENCH_MICROSECONDS,
		.ours = { .run = add_and_remove, .context = &slots },
		.reference = { .name = "KVM's calls; the quirk off",
			       .run = add_and_remove_reference,
			       .context = &slots },
		.goal = BENCH_GOAL_TIMES,
		.limit = 2,
		.count = 16,
	};
	char text[GMM_ACCEL_TEXT_BYTES];

	if (world_lacks(&config, text)) {
		bench_left_out(bench, pair.name, text);
		return;
	}
	bench_memory_make(&slots.memory, PAGES);
	bench_memory_make(&slots.other, OTHER_PAGES);
	world_make(&slots.world, &config);
	world_add_vcpu(&slots.world, 0);
	reference_vm_make(&slots.vm, true);
	reference_vm_add_vcpu(&slots.vm, 0);
	reference_vm_slot(&slots.vm, 1, TINY_DATA_GPA, slots.memory.bytes, PAGES << 12, false);
	tiny_guest_touch_range(slots.world.low, 0, 0, PAGES);
	tiny_guest_touch_range(slots.vm.low, 0, 0, PAGES);
	world_run(&slots.world, 0);
	reference_vm_run(&slots.vm, 0);
	bench_measure(bench, &pair);
	world_drop_vcpu(&slots.world, 0);
	world_end(&slots.world);
	reference_vm_end(&slots.vm);
	bench_memory_end(&slots.memory);
	bench_memory_end(&slots.other);
}
