/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "memory.h"

#include <string.h>
#include <sys/mman.h>

#include "run.h"

/*
 * What a foreigner unmaps must not be the next best place for an mmap() of this process: the kernel
 * looks from above, and this is far below. NULL: it is somewhere.
 */
static void *reserve_below(const struct run *run, const struct gmm_memory_config *config,
			   uint64_t gpa, uint64_t bytes)
{
	void *hint = (void *)(uintptr_t)(((uint64_t)32 << 40) + gpa);
	void *place;

	if (config->kind != GMM_MEMORY_KIND_MEMFD || sizeof(void *) < 8 ||
	    !run_events_want(run, run_event_foreign.name))
		return NULL;
	place = mmap(hint, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return place == MAP_FAILED ? NULL : place;
}

int run_memory_create(struct run *run, struct run_memory *memory,
		      const struct gmm_memory_config *wanted, uint64_t gpa)
{
	struct gmm_memory_config config = *wanted;
	char text[GMM_BACKING_TEXT_SIZE] = "";
	int error;

	memset(memory, 0, sizeof(*memory));
	memory->gpa = gpa;
	memory->bytes = config.page_count << config.page_shift;
	config.vcpu_address = run->ops->vcpu_address(run->accel, gpa, memory->bytes);
	if (!config.vcpu_address)
		config.vcpu_address = memory->reserved =
			reserve_below(run, &config, gpa, memory->bytes);
	error = gmm_memory_create(&config, &memory->memory, text, sizeof(text));
	if (error) {
		memory->memory = NULL;
		return run_refuse("%s", *text ? text : run_error_text(error));
	}
	memory->hva = gmm_memory_vcpu_address(memory->memory);
	return 0;
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
	int error;

	if (slot == RUN_SLOT_SNAPSHOT)
		run_failing_wrap(run, &config.memory_ops, &config.memory);
	error = gmm_slot_add(run->guest, &config);
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

void run_memory_destroy(struct run_memory *memory)
{
	gmm_memory_close(memory->memory);
	memory->memory = NULL;
	if (memory->reserved)
		munmap(memory->reserved, memory->bytes);
	memory->reserved = NULL;
}
