/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A table of a hardware format with an owner for tests: memory for tables, a ledger of it, what was
 * flushed, and the processor that walks it.
 */
#ifndef GMM_TEST_TABLE_WORLD_H
#define GMM_TEST_TABLE_WORLD_H

#include "gmm_test.h"
#include "hardware.h"

#define TABLE_WORLD_TABLES 512u

struct table_memory {
	void *allocated; /* NULL: not in use; atomic */
	void *entries;	 /* of a table that is in use now; atomic */
	uint64_t bytes;	 /* atomic */
};

struct table_world {
	struct gmm_stage2_table *table;
	struct gmm_stage2_walker *walker;
	const struct gmm_stage2_format_facts *facts;
	struct hardware hardware;
	struct table_memory memory[TABLE_WORLD_TABLES];
	/* atomic */
	uint64_t live;
	uint64_t flushes;
	uint32_t fail_at; /* the nth allocation of a table from now on fails; 0: none */
	/* of one thread */
	struct gmm_stage2_flush last_flush;
	/* Called at each flush; true: it has made the processor forget, and wants no record. */
	bool (*on_flush)(struct table_world *world, const struct gmm_stage2_flush *flush);
	void *context;
};

/* Config: format and flags; the rest is filled in. Returns whether it could be made. */
bool table_world_init(struct table_world *world, struct gmm_stage2_table_config config);
/* Destroys walker and table; nothing is left. */
void table_world_fini(struct table_world *world);

/* An access of the processor to the first byte but 8 of a frame. */
enum hardware_answer table_world_access(struct table_world *world, uint64_t gfn, uint32_t access,
					struct hardware_result *result);
/* The frame that a result is in. */
uint64_t table_world_pfn(const struct table_world *world, const struct hardware_result *result);

/* Frames of a leaf of a level. */
uint64_t table_world_span(const struct table_world *world, uint32_t level);

/* Tops up and maps; the caller's frames, or fails the case. */
void table_world_map(struct table_world *world, uint64_t gfn, uint64_t count, uint64_t pfn,
		     uint32_t leaf, uint32_t level_max);

#endif
