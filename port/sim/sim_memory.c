/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The ledger of allocations. Freed memory is filled with a pattern and kept to the end of the run,
 * when the pattern is looked at; under the address sanitizer every touch of it is reported at once.
 */
#include <stdlib.h>
#include <string.h>

#include <gmm_port/alloc.h>

#include "sim_impl.h"

#if defined(__SANITIZE_ADDRESS__)
#define SIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIM_ASAN 1
#endif
#endif
#ifdef SIM_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(pointer, size) ((void)(pointer), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(pointer, size) ((void)(pointer), (void)(size))
#endif

#define ALIGNMENT 128u
#define EDGE_SIZE 64u /* untouchable bytes after each block */
#define FREED_BYTE 0xdd
#define EDGE_BYTE 0xed
#define BLOCK_LIVE 0x6c697665u
#define BLOCK_FREED 0x66726565u

struct sim_block {
	uint32_t state;
	struct sim_block *next;
	struct sim_block **link;
	size_t size;
	const struct gmm_sim_site *allocated_at;
	const struct gmm_sim_site *freed_at;
	uint32_t freed_by;
} __attribute__((aligned(ALIGNMENT)));

static unsigned char *block_bytes(struct sim_block *block)
{
	return (unsigned char *)(block + 1);
}

static void block_push(struct sim_block **list, struct sim_block *block)
{
	block->next = *list;
	block->link = list;
	if (block->next)
		block->next->link = &block->next;
	*list = block;
}

static void block_remove(struct sim_block *block)
{
	*block->link = block->next;
	if (block->next)
		block->next->link = block->link;
}

static bool alloc_refused(struct sim *sim)
{
	if (!sim->alloc_countdown || --sim->alloc_countdown)
		return false;
	sim->alloc_failed = true;
	return true;
}

bool gmm_sim_call_fails(uint32_t kind, const struct gmm_sim_site *site)
{
	struct sim *sim = sim_required("gmm_sim_call_fails");
	uint64_t *countdown = &sim->call_countdown[kind];

	if (!*countdown)
		return false;
	sim_point(GMM_SIM_STEP, countdown, sizeof(*countdown), true, site);
	if (!*countdown || --*countdown)
		return false;
	sim->alloc_failed = true;
	return true;
}

void *gmm_sim_zalloc(size_t size, bool sleeps, const struct gmm_sim_site *site)
{
	struct sim *sim = sim_required("allocation");
	struct sim_block *block;
	void *raw;

	/* Which one fails depends on who comes first. */
	sim_point(GMM_SIM_ALLOC, sim->alloc_countdown ? &sim->alloc_countdown : NULL, 1, true,
		  site);
	if (sleeps)
		gmm_sim_assert_may_sleep(site);
	if (!size)
		sim_fail_at(site, "allocation of no bytes");
	if (alloc_refused(sim))
		return NULL;
	if (sim->arena)
		raw = sim_arena_alloc(sim, sizeof(*block) + size + EDGE_SIZE);
	else if (posix_memalign(&raw, ALIGNMENT, sizeof(*block) + size + EDGE_SIZE))
		raw = NULL;
	if (!raw)
		return NULL;
	block = raw;
	*block = (struct sim_block){ .state = BLOCK_LIVE, .size = size, .allocated_at = site };
	memset(block_bytes(block), 0, size);
	memset(block_bytes(block) + size, EDGE_BYTE, EDGE_SIZE);
	ASAN_POISON_MEMORY_REGION(block_bytes(block) + size, EDGE_SIZE);
	block_push(&sim->live, block);
	sim->blocks_live++;
	sim->bytes_live += size;
	sim->result->allocations++;
	if (sim->bytes_live > sim->result->bytes_live_max)
		sim->result->bytes_live_max = sim->bytes_live;
	return block_bytes(block);
}

static bool in_bytes(const volatile void *pointer, const unsigned char *bytes, size_t size)
{
	return (uintptr_t)pointer >= (uintptr_t)bytes &&
	       (uintptr_t)pointer < (uintptr_t)bytes + size;
}

static void assert_nobody_blocked_in(struct sim *sim, struct sim_block *block,
				     const struct gmm_sim_site *site)
{
	uint32_t i, j;

	for (i = 0; i < sim->thread_count; i++) {
		struct gmm_sim_thread *thread = sim->threads[i];

		if (thread->state == SIM_BLOCKED &&
		    in_bytes(thread->access.object, block_bytes(block), block->size))
			sim_fail_at(site, "freed while T%u is blocked on it", thread->id);
		for (j = 0; j < thread->held_count; j++)
			if (in_bytes(thread->held[j], block_bytes(block), block->size))
				sim_fail_at(site, "freed with a lock in it that T%u holds",
					    thread->id);
	}
}

static bool bytes_are(const unsigned char *bytes, unsigned char value, size_t size)
{
	return !size || (bytes[0] == value && !memcmp(bytes, bytes + 1, size - 1));
}

static bool edge_intact(struct sim_block *block)
{
	ASAN_UNPOISON_MEMORY_REGION(block_bytes(block) + block->size, EDGE_SIZE);
	return bytes_are(block_bytes(block) + block->size, EDGE_BYTE, EDGE_SIZE);
}

void gmm_sim_free(void *pointer, size_t size, const struct gmm_sim_site *site)
{
	struct sim *sim = sim_required("free");
	struct sim_block *block;

	sim_point(GMM_SIM_FREE, pointer, size, true, site);
	if (!pointer)
		return;
	block = (struct sim_block *)pointer - 1;
	/* A store that another thread has made is late: it is found when it becomes seen. */
	sim_stores_finish(sim, sim->current);
	if (block->state == BLOCK_FREED)
		sim_fail_at(site, "freed twice, first by T%u (%s:%d)", block->freed_by,
			    sim_file_name(block->freed_at->file), block->freed_at->line);
	if (block->state != BLOCK_LIVE)
		sim_fail_at(site, "freed, but it was not allocated");
	if (block->size != size)
		sim_fail_at(site, "freed with size %zu, allocated with %zu (%s:%d)", size,
			    block->size, sim_file_name(block->allocated_at->file),
			    block->allocated_at->line);
	if (!edge_intact(block))
		sim_fail_at(site, "written beyond its end");
	assert_nobody_blocked_in(sim, block, site);
	block_remove(block);
	sim->blocks_live--;
	sim->bytes_live -= size;
	block->state = BLOCK_FREED;
	block->freed_at = site;
	block->freed_by = sim->current->id;
	memset(pointer, FREED_BYTE, size);
	ASAN_POISON_MEMORY_REGION(pointer, size);
	block_push(&sim->quarantine, block);
}

void sim_memory_assert_live(struct sim *sim, const volatile void *pointer, size_t size,
			    const struct gmm_sim_site *site)
{
	struct sim_block *block;

	if (!bytes_are((const unsigned char *)(uintptr_t)pointer, FREED_BYTE, size))
		return;
	for (block = sim->quarantine; block; block = block->next)
		if (in_bytes(pointer, block_bytes(block), block->size))
			sim_fail_at(site, "used after T%u freed it (%s:%d)", block->freed_by,
				    sim_file_name(block->freed_at->file), block->freed_at->line);
}

static bool check_leaks(struct sim *sim, char *text, size_t size)
{
	const struct sim_block *block = sim->live;

	if (!block)
		return true;
	snprintf(text, size, "%llu allocations of %llu bytes leaked, the last of %zu at %s:%d",
		 (unsigned long long)sim->blocks_live, (unsigned long long)sim->bytes_live,
		 block->size, sim_file_name(block->allocated_at->file), block->allocated_at->line);
	return false;
}

bool sim_memory_check(struct sim *sim, char *text, size_t size)
{
	struct sim_block *block;

	for (block = sim->quarantine; block; block = block->next) {
		ASAN_UNPOISON_MEMORY_REGION(block_bytes(block), block->size);
		if (bytes_are(block_bytes(block), FREED_BYTE, block->size) && edge_intact(block))
			continue;
		snprintf(text, size,
			 "memory allocated at %s:%d was written after T%u freed it (%s:%d)",
			 sim_file_name(block->allocated_at->file), block->allocated_at->line,
			 block->freed_by, sim_file_name(block->freed_at->file),
			 block->freed_at->line);
		return false;
	}
	for (block = sim->live; block; block = block->next) {
		if (edge_intact(block))
			continue;
		snprintf(text, size, "memory allocated at %s:%d was written beyond its end",
			 sim_file_name(block->allocated_at->file), block->allocated_at->line);
		return false;
	}
	return check_leaks(sim, text, size);
}

static void blocks_free(struct sim_block *block)
{
	while (block) {
		struct sim_block *next = block->next;

		ASAN_UNPOISON_MEMORY_REGION(block_bytes(block), block->size + EDGE_SIZE);
		free(block);
		block = next;
	}
}

void sim_memory_release(struct sim *sim)
{
	if (sim->arena)
		return;
	blocks_free(sim->live);
	blocks_free(sim->quarantine);
}

void gmm_port_alloc_fail_at(uint64_t nth)
{
	struct sim *sim = sim_required("gmm_port_alloc_fail_at");

	sim->alloc_countdown = nth;
	sim->alloc_failed = false;
}

bool gmm_port_alloc_failed(void)
{
	return sim_required("gmm_port_alloc_failed")->alloc_failed;
}

uint64_t gmm_port_alloc_live(void)
{
	return sim_required("gmm_port_alloc_live")->blocks_live;
}

static bool find_in(struct sim_block *block, const volatile void *address,
		    struct gmm_sim_block_info *info)
{
	for (; block; block = block->next) {
		if (!in_bytes(address, block_bytes(block), block->size))
			continue;
		*info = (struct gmm_sim_block_info){ .at = block_bytes(block),
						     .size = block->size,
						     .allocated_at = block->allocated_at,
						     .freed = block->state == BLOCK_FREED };
		return true;
	}
	return false;
}

bool gmm_sim_block_find(const volatile void *address, struct gmm_sim_block_info *info)
{
	const struct sim *sim = sim_now;

	return sim &&
	       (find_in(sim->live, address, info) || find_in(sim->quarantine, address, info));
}
