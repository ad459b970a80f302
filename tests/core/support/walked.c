/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "walked.h"

uint64_t walked_frame(const struct walked *walked, uint64_t page)
{
	return walked->base + page + (gmm_load_acquire(&walked->moved[page]) ? walked->pages : 0);
}

static int resolve(void *opaque, uint64_t page, uint32_t count, uint32_t access, gmm_pfn_t *pfns)
{
	struct walked *walked = opaque;
	uint32_t i;

	gmm_ok(page + count <= walked->pages);
	if (gmm_fetch_add(&walked->resolves, 1u) + 1 == walked->fail_resolve)
		return -GMM_EIO;
	if (walked->read_only && (access & GMM_ACCESS_WRITE))
		return -GMM_EFAULT;
	for (i = 0; i < count; i++) {
		pfns[i] = walked_frame(walked, page + i);
		gmm_fetch_add(&walked->references[pfns[i] - walked->base], 1);
	}
	if (walked->gate)
		gmm_gate_pass(walked->gate);
	return 0;
}

static void put(void *opaque, const gmm_pfn_t *pfns, uint32_t count)
{
	struct walked *walked = opaque;
	uint32_t i;

	for (i = 0; i < count; i++)
		gmm_ok(gmm_fetch_add(&walked->references[pfns[i] - walked->base], -1) > 0);
}

static int map(void *opaque, const gmm_pfn_t *pfns, uint32_t count, uint32_t access, void **pointer)
{
	return -GMM_EIO;
}

static void unmap(void *opaque, void *pointer, uint32_t count)
{
}

static void describe_frame(void *opaque, uint64_t page, gmm_pfn_t pfn, struct gmm_frame_info *info)
{
	struct walked *walked = opaque;
	uint64_t first = page & ~(walked->span - 1), i;

	gmm_fetch_add(&walked->describes, 1u);
	if (walked->device && page >= walked->device)
		info->memory = page < walked->write_combining ? GMM_LEAF_UNCACHED : GMM_LEAF_DEVICE;
	if (!walked->huge || first + walked->span > walked->pages)
		return;
	for (i = 0; i < walked->span; i++)
		if (walked->moved[first + i] != walked->moved[page])
			return;
	info->first_page = first;
	info->count = walked->span;
}

static const struct gmm_memory_ops walked_ops = {
	.version = GMM_MEMORY_OPS_VERSION,
	.name = "walked",
	.resolve = resolve,
	.put = put,
	.map = map,
	.unmap = unmap,
	.describe_frame = describe_frame,
};

static void kick(void *opaque, uint32_t id)
{
}

uint32_t walked_first_format(void)
{
	return gmm_test_turns(1) == 1 ? (uint32_t)gmm_test_seed() % GMM_STAGE2_FORMATS : 0;
}

bool walked_init(struct walked *walked, uint32_t format, uint32_t spans)
{
	struct gmm_stage2_table_config table = { .format = format };
	struct gmm_guest_config config = { .max_vcpus = 8 };

	gmm_memset(walked, 0, sizeof(*walked));
	if (format == GMM_STAGE2_EPT)
		table.flags = GMM_STAGE2_HARDWARE_DIRTY;
	if (format == GMM_STAGE2_SV39X4 || format == GMM_STAGE2_SV48X4)
		table.flags = GMM_STAGE2_SVPBMT;
	if (!gmm_ok(table_world_init(&walked->world, table)))
		return false;
	walked->world.hardware.remembers = true;
	walked->span = table_world_span(&walked->world, 1);
	walked->pages = spans ? spans * walked->span : WALKED_SMALL;
	walked->base = 16 * walked->span;
	walked->moved = gmm_zalloc(walked->pages * sizeof(*walked->moved));
	walked->references = gmm_zalloc(2 * walked->pages * sizeof(*walked->references));
	config.table = walked->world.table;
	if (!walked->moved || !walked->references || gmm_guest_create(&config, &walked->guest) ||
	    gmm_vcpu_create(walked->guest, 0, kick, walked, &walked->vcpu))
		gmm_bail("no guest");
	return true;
}

void walked_fini(struct walked *walked)
{
	uint64_t i;

	gmm_slot_remove(walked->guest, 0);
	gmm_equal(walked_leaves(walked), 0);
	gmm_equal(walked->world.hardware.count, 0);
	gmm_equal(gmm_vcpu_destroy(walked->vcpu), 0);
	gmm_equal(gmm_guest_destroy(walked->guest), 0);
	for (i = 0; i < 2 * walked->pages; i++)
		if (walked->references[i])
			gmm_ok(false, "a reference of frame %u is left", (unsigned int)i);
	gmm_free(walked->references, 2 * walked->pages * sizeof(*walked->references));
	gmm_free(walked->moved, walked->pages * sizeof(*walked->moved));
	table_world_fini(&walked->world);
}

struct gmm_slot_config walked_slot(struct walked *walked, uint32_t id, gmm_gfn_t gfn, uint64_t page,
				   uint64_t count, uint32_t flags)
{
	return (struct gmm_slot_config){
		.id = id,
		.flags = flags,
		.gfn = gfn,
		.count = count,
		.hva = WALKED_HVA + (page << walked->world.facts->page_shift),
		.memory_ops = &walked_ops,
		.memory = walked,
		.memory_page = page,
	};
}

void walked_add(struct walked *walked, uint32_t id, gmm_gfn_t gfn, uint64_t page, uint64_t count,
		uint32_t flags)
{
	struct gmm_slot_config slot = walked_slot(walked, id, gfn, page, count, flags);

	gmm_equal(gmm_slot_add(walked->guest, &slot), 0);
}

void walked_move(struct walked *walked, gmm_gfn_t gfn, uint64_t page)
{
	struct gmm_range range = { gfn, gfn + 1 };

	gmm_equal(gmm_invalidate_begin(walked->guest, GMM_RANGE_GFN, &range, 1, 0, NULL), 0);
	gmm_store_release(&walked->moved[page], !gmm_load_relaxed(&walked->moved[page]));
	gmm_invalidate_end(walked->guest, GMM_RANGE_GFN, &range, 1);
}

bool walked_try(struct walked *walked, gmm_gfn_t gfn, uint32_t access, uint64_t *pfn)
{
	struct hardware_result result;
	enum hardware_answer answer = table_world_access(&walked->world, gfn, access, &result);

	gmm_ok(answer != HARDWARE_RESERVED && answer != HARDWARE_CONFLICT,
	       "the processor says %d of frame %u", answer, (unsigned int)gfn);
	if (answer != HARDWARE_DONE)
		return false;
	if (pfn)
		*pfn = table_world_pfn(&walked->world, &result);
	return true;
}

int walked_fault(struct walked *walked, gmm_gfn_t gfn, uint32_t access)
{
	uint32_t shift = walked->world.facts->page_shift;
	int answer = gmm_fault_serve_vcpu(walked->guest, walked->vcpu, gfn, access);

	if (answer != GMM_FAULT_FLUSH)
		return answer;
	hardware_forget(&walked->world.hardware, gfn << shift, (uint64_t)1 << shift);
	return 0;
}

int walked_access(struct walked *walked, gmm_gfn_t gfn, uint32_t access, uint64_t *pfn)
{
	uint32_t turn = 0;
	int answer;

	while (!walked_try(walked, gfn, access, pfn)) {
		answer = walked_fault(walked, gfn, access);
		if (answer < 0)
			return answer;
		gmm_cpu_relax(turn);
		if (!gmm_ok(turn++ < 10000, "an access does not go through"))
			return -GMM_EIO;
	}
	return 0;
}

struct gmm_stage2_leaf walked_leaf(struct walked *walked, gmm_gfn_t gfn)
{
	struct gmm_stage2_leaf leaf;

	if (gmm_stage2_table_look_up(walked->world.walker, gfn, &leaf))
		leaf.count = 0;
	return leaf;
}

uint64_t walked_leaves(struct walked *walked)
{
	struct gmm_stage2_statistics statistics;
	uint64_t leaves = 0;
	uint32_t level;

	gmm_stage2_table_read_statistics(walked->world.table, &statistics);
	for (level = 0; level < GMM_STAGE2_TABLE_LEVELS; level++)
		leaves += statistics.leaves[level];
	return leaves;
}
