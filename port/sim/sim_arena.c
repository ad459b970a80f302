/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Memory of explored runs. Each thread takes from a part of its own, from the start on, and gives
 * nothing back before the schedule has ended: so what a thread gets does not depend on the others,
 * and the same allocation lies at the same place in every schedule.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "sim_arena_impl.h"

#define PART_BYTES ((size_t)8 << 20)
#define ALIGNMENT 128u

struct sim_arena *sim_arena_get(void)
{
	static struct sim_arena arena;

	if (!arena.base) {
		void *base = mmap(NULL, PART_BYTES * SIM_ARENA_PARTS, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (base == MAP_FAILED) {
			perror("sim: no arena");
			abort();
		}
		arena.base = base;
	}
	memset(arena.used, 0, sizeof(arena.used));
	return &arena;
}

void *sim_arena_alloc(struct sim *sim, size_t size)
{
	struct sim_arena *arena = sim->arena;
	uint32_t part = sim->current ? sim->current->id : 0;
	unsigned char *bytes = arena->base + part * PART_BYTES + arena->used[part];

	size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	if (part >= SIM_ARENA_PARTS || size > PART_BYTES - arena->used[part]) {
		fprintf(stderr,
			"sim: an explored run needs more memory or threads than there are\n");
		abort();
	}
	arena->used[part] += size;
	return memset(bytes, 0, size);
}
