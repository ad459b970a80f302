/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "world.h"

#include <string.h>

#include <guestmm/linux/userfault.h>
#include <guestmm/slot.h>

#include "../harness.h"

#define LOW_SLOT 0u

static const struct gmm_accel_ops *ops_of(const struct world_config *config)
{
	return config->kvm ? &gmm_accel_kvm : &gmm_accel_process;
}

static int open_userfault(const struct world_config *config, struct gmm_userfault **userfault,
			  char *text)
{
	return gmm_userfault_open((config->kvm ? GMM_USERFAULT_KERNEL : 0) | GMM_USERFAULT_SHARED |
					  GMM_USERFAULT_SHARED_WP,
				  0, userfault, text);
}

bool world_lacks(const struct world_config *config, char text[GMM_ACCEL_TEXT_BYTES])
{
	struct gmm_userfault *userfault;

	if (ops_of(config)->probe(text))
		return true;
	if (!config->lazy)
		return false;
	if (open_userfault(config, &userfault, text))
		return true;
	gmm_userfault_close(userfault);
	return false;
}

static struct gmm_memory *add_memory(struct world *world, uint32_t slot, enum gmm_memory_kind kind,
				     uint64_t gpa, uint64_t pages, uint32_t flags)
{
	struct gmm_memory_config config = { .kind = kind, .page_count = pages, .page_shift = 12 };
	struct gmm_slot_config added = {
		.id = slot, .flags = flags, .gfn = gpa >> 12, .count = pages
	};
	char text[GMM_ACCEL_TEXT_BYTES] = "";
	struct gmm_memory *memory;

	config.store_directory = world->config.store_directory;
	config.vcpu_address = world->ops->vcpu_address(world->accel, gpa, pages << 12);
	if (gmm_memory_create(&config, &memory, text, sizeof(text)))
		bench_broken(text);
	added.hva = (uintptr_t)gmm_memory_vcpu_address(memory);
	added.memory = memory;
	added.memory_ops = gmm_memory_ops_of(memory);
	bench_must(gmm_slot_add(world->guest, &added), "adding a slot");
	return memory;
}

void world_make(struct world *world, const struct world_config *config)
{
	struct gmm_accel_config accel = { .gpa_bytes = TINY_DATA_GPA + (2ull << 30),
					  .vcpus = TINY_VCPUS };
	struct gmm_guest_config guest = { .max_vcpus = TINY_VCPUS };
	char text[GMM_ACCEL_TEXT_BYTES] = "";

	memset(world, 0, sizeof(*world));
	world->config = *config;
	world->ops = ops_of(config);
	world->gfn = TINY_DATA_GPA >> 12;
	if (config->lazy && open_userfault(config, &world->userfault, text))
		bench_broken(text);
	accel.userfault = world->userfault;
	if (world->ops->create(&accel, &world->accel, text))
		bench_broken(text);
	world->ops->stage2(world->accel, &world->stage2);
	guest.stage2_ops = world->stage2.ops;
	guest.stage2_owner = world->stage2.owner;
	bench_must(gmm_guest_create(&guest, &world->guest), "making a guest");
	if (config->kvm) {
		world->low_memory = add_memory(world, LOW_SLOT, GMM_MEMORY_KIND_PLAIN, 0,
					       TINY_LOW_BYTES >> 12, 0);
		world->low = gmm_memory_vcpu_address(world->low_memory);
		tiny_guest_fill(world->low, config->write);
	}
	world->memory = add_memory(world, WORLD_DATA_SLOT,
				   config->lazy ? GMM_MEMORY_KIND_MEMFD : GMM_MEMORY_KIND_PLAIN,
				   TINY_DATA_GPA, config->pages, config->slot_flags);
	world->data = gmm_memory_vcpu_address(world->memory);
}

static void fault_failed(void *opaque, gmm_hva_t hva, uint32_t access, int error)
{
	bench_must(error, "serving a fault");
}

void world_serve(struct world *world, enum gmm_fault_service_wait wait)
{
	struct gmm_fault_service_config config = {
		.guest = world->guest,
		.userfault = world->userfault,
		.wait = wait,
		.failed = fault_failed,
	};

	bench_must(gmm_fault_service_start(&config, &world->service), "a fault service");
}

void world_end(struct world *world)
{
	gmm_fault_service_stop(world->service);
	bench_must(gmm_slot_remove(world->guest, WORLD_DATA_SLOT), "removing a slot");
	gmm_memory_close(world->memory);
	if (world->low_memory) {
		bench_must(gmm_slot_remove(world->guest, LOW_SLOT), "removing a slot");
		gmm_memory_close(world->low_memory);
	}
	bench_must(gmm_guest_destroy(world->guest), "ending a guest");
	world->ops->destroy(world->accel);
	gmm_userfault_close(world->userfault);
}

void world_add_vcpu(struct world *world, uint32_t vcpu)
{
	struct gmm_accel_vcpu_start start = {
		.index = vcpu,
		.cpu_gpa = TINY_PARAMETERS(vcpu),
		.entry_gpa = TINY_CODE,
		.stack_gpa = TINY_STACK(vcpu) + 0x1000,
		.page_table_gpa = TINY_PAGE_TABLES,
		.tss_gpa = TINY_TSS,
	};
	char text[GMM_ACCEL_TEXT_BYTES];

	if (world->ops->vcpu_create(world->accel, &start, &world->vcpu[vcpu], text))
		bench_broken(text);
}

void world_drop_vcpu(struct world *world, uint32_t vcpu)
{
	world->ops->vcpu_destroy(world->vcpu[vcpu]);
}

void world_run(struct world *world, uint32_t vcpu)
{
	struct gmm_accel_exit exit;

	do
		world->ops->vcpu_run(world->vcpu[vcpu], &exit);
	while (exit.kind == GMM_ACCEL_EXIT_KICKED);
	if (exit.kind != GMM_ACCEL_EXIT_GUEST)
		bench_broken(exit.text);
}
