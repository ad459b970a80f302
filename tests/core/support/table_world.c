/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "table_world.h"

/*
 * Physical addresses are not pointers, and formats have 48 bits for them: where pointers of the
 * heap have more, the upper ones are those of a window and not of the address.
 */
#define PHYSICAL_BASE 0x40000000ull
#define POINTER_BITS 47

static uint64_t physical_offset(void)
{
	static const uint8_t in_window;

	return PHYSICAL_BASE - ((uint64_t)(uintptr_t)&in_window >> POINTER_BITS << POINTER_BITS);
}

static void *table_alloc(void *owner, uint64_t bytes)
{
	struct table_world *world = owner;
	uintptr_t at;
	void *memory;
	uint32_t i;

	if (world->fail_at && !--world->fail_at)
		return NULL;
	memory = gmm_zalloc(2 * bytes);
	if (!memory)
		return NULL;
	at = ((uintptr_t)memory + bytes - 1) & ~(uintptr_t)(bytes - 1);
	for (i = 0; i < TABLE_WORLD_TABLES; i++) {
		void *none = NULL;

		if (!gmm_compare_exchange(&world->memory[i].allocated, &none, memory))
			continue;
		gmm_store_relaxed(&world->memory[i].bytes, bytes);
		gmm_store_release(&world->memory[i].entries, (void *)at);
		gmm_fetch_add(&world->live, (uint64_t)1);
		return (void *)at;
	}
	gmm_bail("a test needs more tables than there are");
	return NULL;
}

static void table_free(void *owner, void *table, uint64_t bytes)
{
	struct table_world *world = owner;
	uint32_t i;

	for (i = 0; i < TABLE_WORLD_TABLES; i++) {
		void *allocated;

		if (gmm_load_acquire(&world->memory[i].entries) != table)
			continue;
		gmm_equal(gmm_load_relaxed(&world->memory[i].bytes), bytes);
		gmm_memset(table, 0xff, bytes);
		gmm_store_relaxed(&world->memory[i].entries, (void *)NULL);
		allocated = gmm_exchange(&world->memory[i].allocated, (void *)NULL);
		gmm_free(allocated, 2 * bytes);
		gmm_fetch_add(&world->live, (uint64_t)-1);
		return;
	}
	gmm_ok(false, "a table is freed that is none");
}

static bool is_table(void *context, uint64_t address)
{
	const struct table_world *world = context;
	uint64_t at = address - world->hardware.physical_offset;
	uint32_t i;

	for (i = 0; i < TABLE_WORLD_TABLES; i++) {
		uint64_t first = (uintptr_t)gmm_load_relaxed(&world->memory[i].entries);

		if (first && at >= first && at - first < gmm_load_relaxed(&world->memory[i].bytes))
			return true;
	}
	return false;
}

static void flush(void *owner, const struct gmm_stage2_flush *flush)
{
	struct table_world *world = owner;

	gmm_fetch_add(&world->flushes, (uint64_t)1);
	if (world->on_flush && world->on_flush(world, flush))
		return;
	world->last_flush = *flush;
	hardware_forget(&world->hardware, flush->gfn << world->facts->page_shift,
			flush->count << world->facts->page_shift);
}

static const struct gmm_stage2_table_ops table_world_ops = {
	.version = GMM_STAGE2_TABLE_OPS_VERSION,
	.name = "test",
	.table_alloc = table_alloc,
	.table_free = table_free,
	.flush = flush,
};

bool table_world_init(struct table_world *world, struct gmm_stage2_table_config config)
{
	*world = (struct table_world){ .facts = gmm_stage2_format_read_facts(config.format) };
	config.ops = &table_world_ops;
	config.owner = world;
	config.physical_offset = physical_offset();
	if (gmm_stage2_table_create(&config, &world->table))
		return false;
	if (gmm_stage2_walker_create(world->table, &world->walker)) {
		gmm_equal(gmm_stage2_table_destroy(world->table), 0);
		gmm_equal(world->live, 0);
		return false;
	}
	world->hardware.format = config.format;
	world->hardware.physical_offset = config.physical_offset;
	world->hardware.sets_bits = config.flags & GMM_STAGE2_HARDWARE_DIRTY;
	world->hardware.is_table = is_table;
	world->hardware.context = world;
	gmm_stage2_table_read_root(world->table, &world->hardware.root);
	return true;
}

void table_world_fini(struct table_world *world)
{
	gmm_equal(gmm_stage2_table_destroy(world->table), -GMM_EBUSY);
	gmm_stage2_walker_destroy(world->walker);
	gmm_equal(gmm_stage2_table_destroy(world->table), 0);
	gmm_equal(world->live, 0);
}

enum hardware_answer table_world_access(struct table_world *world, uint64_t gfn, uint32_t access,
					struct hardware_result *result)
{
	uint32_t shift = world->facts->page_shift;

	return hardware_access(&world->hardware, (gfn << shift) + ((uint64_t)1 << shift) - 8,
			       access, result);
}

uint64_t table_world_pfn(const struct table_world *world, const struct hardware_result *result)
{
	return result->address >> world->facts->page_shift;
}

uint64_t table_world_span(const struct table_world *world, uint32_t level)
{
	return (uint64_t)1 << (level * world->facts->index_bits);
}

void table_world_map(struct table_world *world, uint64_t gfn, uint64_t count, uint64_t pfn,
		     uint32_t leaf, uint32_t level_max)
{
	struct gmm_stage2_mapping mapping = {
		.gfn = gfn,
		.count = count,
		.pfn = pfn,
		.leaf = leaf,
		.level_max = level_max,
	};
	uint64_t done;

	gmm_equal(gmm_stage2_table_populate(world->walker, &mapping, &done), 0);
	gmm_equal(done, count);
}
