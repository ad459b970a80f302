/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* A memory of one kind on one source, ready to be tested, and what a test does to it. */
#ifndef MEMORY_WORLD_H
#define MEMORY_WORLD_H

#include "backing_test.h"

#define PAGES 200u
#define SEED 20210ull

enum origin_kind {
	FROM_NOTHING,
	FROM_FILE,
	FROM_GENERATOR
};

struct backing {
	const char *name;
	enum gmm_memory_kind kind;
	enum origin_kind source;
	uint32_t flags;
	enum gmm_memory_mapping mapping;
};

#define MEMFD_FLAGS (GMM_MEMORY_LAZY | GMM_MEMORY_EVICTABLE | GMM_MEMORY_AGEABLE)
#define ANONYMOUS_FLAGS (GMM_MEMORY_LAZY | GMM_MEMORY_EVICTABLE)

struct world {
	const struct backing *backing;
	char *directory;
	struct gmm_source inner;
	struct probe_source probe;
	struct gmm_memory *memory;
	const struct gmm_memory_ops *ops;
	int userfaultfd;
	char *expected; /* what the source holds, page by page */
	unsigned int files_before;
};

/*
 * Registers the vCPUs' mapping with a userfaultfd, as an accelerator would. world_set_up() does it
 * for anonymous memory, which cannot be filled otherwise.
 */
void world_register(struct world *world);

/*
 * For cmocka: takes a struct backing, leaves a struct world; then sees that nothing is left of it.
 */
int world_set_up(void **state);
int world_tear_down(void **state);

/* True when the host has memory for the page; looks without touching it. */
bool present(struct world *world, uint64_t page);
struct gmm_memory_counters counters_of(struct world *world);
void assert_reads(struct world *world, uint64_t page, bool resident, enum gmm_page_origin origin,
		  const void *wanted);
/* As a vCPU would, after the fault path let it write. */
void vcpu_write(struct world *world, uint64_t page, int value);
/* Fails the test with the reason when the memory cannot. */
void fill(struct world *world, uint64_t page, uint32_t count, enum gmm_page_origin origin);

#endif
