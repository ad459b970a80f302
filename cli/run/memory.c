/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "run.h"

static int place(struct run *run, struct run_memory *memory)
{
	void *address = run->ops->vcpu_address(run->accel, memory->gpa, memory->bytes);
	int fd = gmm_memory_fd(memory->memory);

	if (!address) {
		memory->hva = gmm_memory_vcpu_address(memory->memory);
		return 0;
	}
	if (fd < 0)
		return run_refuse(
			"anonymous memory cannot be mapped into the window of accel %s: use "
			"--accel kvm, or --memory-kind memfd",
			run->ops->name);
	if (mmap(address, memory->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
	    MAP_FAILED)
		return run_refuse(
			"%llu bytes of guest memory cannot be mapped (%s): use less memory",
			(unsigned long long)memory->bytes, strerror(errno));
	memory->hva = address;
	memory->mapped_here = true;
	return 0;
}

int run_memory_create(struct run *run, struct run_memory *memory,
		      const struct gmm_memory_config *config, uint64_t gpa)
{
	char text[GMM_BACKING_TEXT_SIZE] = "";
	int error;

	memset(memory, 0, sizeof(*memory));
	error = gmm_memory_create(config, &memory->memory, text, sizeof(text));
	if (error) {
		memory->memory = NULL;
		return run_refuse("%s", *text ? text : run_error_text(error));
	}
	memory->gpa = gpa;
	memory->bytes = gmm_memory_size(memory->memory);
	return place(run, memory);
}

int run_memory_add_slot(struct run *run, struct run_memory *memory, uint32_t slot, uint32_t flags)
{
	const struct gmm_memory_ops *ops = gmm_memory_ops_of(memory->memory);
	struct gmm_slot_config config = {
		.id = slot,
		.flags = flags,
		.gfn = memory->gpa >> RUN_PAGE_SHIFT,
		.count = memory->bytes >> RUN_PAGE_SHIFT,
		.hva = (uintptr_t)memory->hva,
		.memory_ops = ops,
		.memory = memory->memory,
		.pointer = ops->flags & GMM_MEMORY_LAZY ? NULL :
							  gmm_memory_engine_address(memory->memory),
	};
	int error = gmm_slot_add(run->guest, &config);

	if (error)
		return run_refuse(
			"%s memory of %llu bytes at GPA 0x%llx is refused by accel %s (%s): "
			"use another --accel or --memory-kind",
			ops->name, (unsigned long long)memory->bytes,
			(unsigned long long)memory->gpa, run->ops->name, run_error_text(error));
	memory->slot = slot;
	memory->has_slot = true;
	return 0;
}

void run_memory_remove_slot(struct run *run, struct run_memory *memory)
{
	if (memory->has_slot)
		gmm_slot_remove(run->guest, memory->slot);
	memory->has_slot = false;
}

void run_memory_destroy(struct run *run, struct run_memory *memory)
{
	if (!memory->memory)
		return;
	if (memory->mapped_here)
		run->ops->vcpu_address_release(run->accel, memory->hva, memory->bytes);
	gmm_memory_close(memory->memory);
	memory->memory = NULL;
}
