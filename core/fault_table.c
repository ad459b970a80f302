/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Faults of a guest with a table in a format of hardware. A change counts itself and overtakes the
 * operations under the invalidation's lock, and takes translations away after that; a fault watches
 * the table first and then looks whether it was overtaken. So of a change that began while the
 * frame was looked up either the look or the map in the table tells (L1), and only changes of the
 * frames that would be mapped do (L11).
 */
#include "fault_impl.h"
#include "vcpu_impl.h"

#define RUN_PAGES 64u

/* What is mapped: frames that go together from a page of the slot's memory on. */
struct block {
	struct gmm_stage2_mapping mapping;
	uint64_t page; /* that was resolved */
	gmm_pfn_t pfn;
	bool writable; /* the memory lets it be written */
};

static bool logs_writes(const struct gmm_slot *slot)
{
	return slot->dirty;
}

static uint64_t page_of(const struct gmm_slot *slot, gmm_gfn_t gfn)
{
	return slot->config.memory_page + (gfn - slot->by_gfn.start);
}

/*
 * Frames of a slot that may be written are resolved for writing by a read, too: the leaf has all
 * rights at once, and the fast path gives write permission without a look at the frame. Memory
 * that refuses that is mapped for reading.
 */
static int resolve(const struct gmm_slot *slot, gmm_gfn_t gfn, uint32_t count, uint32_t access,
		   gmm_pfn_t *pfns, bool *writable)
{
	const struct gmm_memory_ops *ops = slot->config.memory_ops;
	uint64_t page = page_of(slot, gfn);
	int error = -GMM_EFAULT;

	if (ops->flags & GMM_MEMORY_HOST_ONLY)
		return -GMM_EFAULT;
	*writable = !(slot->config.flags & GMM_SLOT_READ_ONLY);
	if (*writable)
		error = ops->resolve(slot->config.memory, page, count,
				     GMM_ACCESS_READ | GMM_ACCESS_WRITE, pfns);
	if (error != -GMM_EFAULT || (access & GMM_ACCESS_WRITE))
		return error;
	*writable = false;
	return ops->resolve(slot->config.memory, page, count, GMM_ACCESS_READ, pfns);
}

/* L13: where no write has to be seen the leaf is dirty at once, and the first write does not fault. */
static uint32_t leaf_of(const struct gmm_slot *slot, const struct block *block, uint32_t access)
{
	uint32_t leaf = GMM_LEAF_READ | GMM_LEAF_YOUNG;

	if (block->mapping.memory != GMM_LEAF_DEVICE)
		leaf |= GMM_LEAF_EXEC;
	if (!block->writable)
		return leaf;
	if (logs_writes(slot) && !(access & GMM_ACCESS_WRITE))
		return leaf | GMM_LEAF_WRITE | GMM_LEAF_PROTECTED;
	return leaf | GMM_LEAF_WRITE | GMM_LEAF_DIRTY;
}

/*
 * Class and neighbours of a frame by the frame (L2), clipped to the slot: computed each time, so
 * that a change of flags has nothing to lose (L18). False: no class that there is.
 */
static bool describe(const struct gmm_slot *slot, uint32_t access, struct block *block)
{
	const struct gmm_memory_ops *ops = slot->config.memory_ops;
	struct gmm_frame_info info = { GMM_LEAF_CACHED, block->page, 1 };
	uint64_t first = slot->config.memory_page, end = first + slot->config.count;

	if (ops->describe_frame)
		ops->describe_frame(slot->config.memory, block->page, block->pfn, &info);
	if (info.memory >= GMM_LEAF_MEMORIES || block->page - info.first_page >= info.count)
		return false;
	if (info.first_page > first)
		first = info.first_page;
	if (info.count < end - info.first_page)
		end = info.first_page + info.count;
	block->mapping = (struct gmm_stage2_mapping){
		.gfn = slot->by_gfn.start + (first - slot->config.memory_page),
		.count = end - first,
		.pfn = block->pfn - (block->page - first),
		.memory = info.memory,
	};
	block->mapping.leaf = leaf_of(slot, block, access);
	return true;
}

/* Behind the begin of a watch. False: a change has begun that concerns these frames. */
static bool may_install(const struct gmm_operation *operation,
			const struct gmm_stage2_mapping *mapping)
{
	struct gmm_guest *guest = operation->guest;
	bool good;

	gmm_lock_invalidate(&guest->invalidation.lock);
	good = !operation->overtaken || gmm_leaves_out(guest, GMM_LEAVE_OUT_RETRY);
	/* What is beside the operation's own frames was not waited for. */
	if (good && mapping->count > gmm_operation_count(operation))
		good = !gmm_invalidate_find(guest, GMM_RANGE_GFN, mapping->gfn,
					    mapping->gfn + mapping->count - 1, GMM_CHANGE_HOLDING);
	gmm_unlock_invalidate(&guest->invalidation.lock);
	return good;
}

/* Whether what the neighbours were is so behind the begin of the watch, too. */
static bool is_still_so(const struct gmm_fault *fault, const struct block *block)
{
	const struct gmm_stage2_mapping *mapping = &block->mapping;
	struct block now = *block;

	return mapping->count == 1 ||
	       (describe(fault->operation.slot, fault->access, &now) &&
		now.mapping.memory == mapping->memory && now.mapping.gfn <= mapping->gfn &&
		now.mapping.gfn + now.mapping.count >= mapping->gfn + mapping->count);
}

static int install(struct gmm_fault *fault, struct gmm_stage2_walker *walker,
		   const struct block *block, struct gmm_stage2_leaf *leaf)
{
	const struct gmm_stage2_mapping *mapping = &block->mapping;
	int error = gmm_stage2_watch_begin(walker, mapping->gfn, mapping->count);

	if (error)
		return error;
	if (!may_install(&fault->operation, mapping) || !is_still_so(fault, block))
		error = -GMM_EAGAIN;
	else
		error = gmm_stage2_table_map_leaf(walker, mapping, fault->gfn, leaf);
	/* Another frame, or a part of a larger leaf with fewer rights: that one goes. */
	if (error == -GMM_EEXIST || error == -GMM_EXDEV) {
		gmm_stage2_table_unmap(walker, fault->gfn, 1, NULL);
		error = gmm_stage2_table_map_leaf(walker, mapping, fault->gfn, leaf);
	}
	gmm_stage2_watch_end(walker);
	return error;
}

/* A large leaf where it may be; what keeps others of its frames busy does not keep this one. */
static int install_largest(struct gmm_fault *fault, struct gmm_stage2_walker *walker,
			   struct block *block, struct gmm_stage2_leaf *leaf)
{
	const struct gmm_guest_table *table = &fault->guest->table;
	struct block small = *block;
	int error = -GMM_EAGAIN;

	if (!logs_writes(fault->operation.slot) &&
	    gmm_guest_table_fit_leaf(table, &block->mapping, fault->gfn))
		error = install(fault, walker, block, leaf);
	if (error != -GMM_EAGAIN)
		return error;
	small.mapping.pfn = small.pfn;
	small.mapping.gfn = fault->gfn;
	small.mapping.count = 1;
	return install(fault, walker, &small, leaf);
}

/* A frame that the table cannot hold is the memory's fault. */
static int answer_of_map(int error)
{
	return error == -GMM_EINVAL ? -GMM_EIO : error;
}

/* The slow path. Tables are in stock before anything else, so no retry uses them up (L24). */
static int map(struct gmm_fault *fault, struct gmm_stage2_walker *walker,
	       struct gmm_stage2_leaf *leaf)
{
	const struct gmm_slot *slot = fault->operation.slot;
	struct block block = { .page = page_of(slot, fault->gfn) };
	int error = gmm_stage2_walker_top_up(walker, 0);

	if (!error)
		error = resolve(slot, fault->gfn, 1, fault->access, &block.pfn, &block.writable);
	if (error)
		return error;
	gmm_step(GMM_STEP_FAULT_INSTALL);
	if (describe(slot, fault->access, &block))
		error = install_largest(fault, walker, &block, leaf);
	else
		error = -GMM_EIO;
	/* From here on the frame is none of ours (L5). */
	slot->config.memory_ops->put(slot->config.memory, &block.pfn, 1);
	return answer_of_map(error);
}

static int answer_of(const struct gmm_stage2_leaf *leaf)
{
	return leaf->flags & GMM_STAGE2_FLUSH_HERE ? GMM_FAULT_FLUSH : 0;
}

/*
 * Marked behind the entry: a harvest takes bits and then protects, so a mark before could be taken
 * and the entry be left writable. A write in between is told by the next harvest; this fault is over
 * before its vCPU stops for the last one.
 */
static int served(struct gmm_fault *fault, const struct gmm_stage2_leaf *leaf)
{
	gmm_step(GMM_STEP_FAULT_MAPPED);
	if ((fault->access & GMM_ACCESS_WRITE) && (leaf->flags & GMM_STAGE2_CHANGED))
		gmm_fault_mark_dirty(fault);
	return answer_of(leaf);
}

static int touch(struct gmm_guest *guest, struct gmm_vcpu *vcpu, gmm_gfn_t gfn, uint32_t access,
		 struct gmm_stage2_leaf *leaf)
{
	struct gmm_stage2_walker *walker = vcpu ? vcpu->walker :
						  gmm_guest_walker_take(&guest->table);
	int error = gmm_stage2_table_touch(walker, gfn, access, 0, leaf);

	if (!vcpu)
		gmm_guest_walker_give(&guest->table, walker);
	return error;
}

int gmm_fault_touch_table(struct gmm_guest *guest, struct gmm_vcpu *vcpu, gmm_gfn_t gfn,
			  uint32_t access)
{
	struct gmm_stage2_leaf leaf;
	int error = touch(guest, vcpu, gfn, access, &leaf);

	if (error)
		return error;
	gmm_count(guest, faults_fast, 1);
	return answer_of(&leaf);
}

/* Who is no vCPU has no walker, and those of management are not for who may sleep. */
static int map_with_walker(struct gmm_fault *fault, struct gmm_stage2_leaf *leaf)
{
	struct gmm_stage2_walker *walker;
	int error;

	if (fault->vcpu)
		return map(fault, fault->vcpu->walker, leaf);
	error = gmm_stage2_walker_create(fault->guest->table.table, &walker);
	if (error)
		return error;
	error = map(fault, walker, leaf);
	gmm_stage2_walker_destroy(walker);
	return error;
}

int gmm_fault_serve_table(struct gmm_fault *fault)
{
	struct gmm_guest *guest = fault->guest;
	struct gmm_stage2_leaf leaf;
	int error = touch(guest, fault->vcpu, fault->gfn, fault->access, &leaf);

	if (!error) {
		if ((fault->access & GMM_ACCESS_WRITE) && logs_writes(fault->operation.slot) &&
		    (leaf.flags & GMM_STAGE2_CHANGED))
			gmm_count(guest, faults_protect, 1);
		else
			gmm_count(guest, faults_fast, 1);
		return served(fault, &leaf);
	}
	/* Nothing there, or nothing that may be written: perhaps the memory lets it by now. */
	if (error == -GMM_ENOENT || error == -GMM_EROFS)
		error = map_with_walker(fault, &leaf);
	if (error == -GMM_EAGAIN) {
		gmm_count(guest, faults_retried, 1);
		return GMM_FAULT_HELD;
	}
	if (error)
		return error;
	gmm_count(guest, faults_mapped, 1);
	return served(fault, &leaf);
}

/* Populating */

struct populate {
	struct gmm_operation operation;
	struct gmm_stage2_walker *walker;
	gmm_gfn_t next;
};

static int map_watched(struct populate *populate, const struct gmm_stage2_mapping *mapping,
		       uint64_t *done)
{
	struct gmm_stage2_walker *walker = populate->walker;
	int error = gmm_stage2_watch_begin(walker, mapping->gfn, mapping->count);

	if (error)
		return error;
	if (may_install(&populate->operation, mapping))
		error = gmm_stage2_table_populate(walker, mapping, done);
	else
		error = -GMM_EAGAIN;
	if (error == -GMM_EEXIST || error == -GMM_EXDEV) {
		gmm_stage2_table_unmap(walker, mapping->gfn + *done, 1, NULL);
		error = 0;
	}
	gmm_stage2_watch_end(walker);
	gmm_count(populate->operation.guest, faults_mapped, *done);
	return error;
}

/* Frames from the first of `pfns` on that go together, as far as the operation reaches. */
static bool describe_run(const struct populate *populate, const gmm_pfn_t *pfns, uint32_t count,
			 bool writable, struct block *block)
{
	const struct gmm_slot *slot = populate->operation.slot;
	struct gmm_stage2_mapping *mapping = &block->mapping;
	uint64_t rest = populate->operation.node.last - populate->next + 1, before;

	block->page = page_of(slot, populate->next);
	block->pfn = pfns[0];
	block->writable = writable;
	if (!describe(slot, GMM_ACCESS_READ, block))
		return false;
	before = populate->next - mapping->gfn;
	mapping->gfn += before;
	mapping->pfn += before;
	mapping->count -= before;
	while (!slot->config.memory_ops->describe_frame && mapping->count < count &&
	       pfns[mapping->count] == pfns[0] + mapping->count)
		mapping->count++;
	if (mapping->count > rest)
		mapping->count = rest;
	if (!logs_writes(slot))
		mapping->level_max = GMM_STAGE2_TABLE_LEVELS - 1;
	return true;
}

static int populate_run(struct populate *populate)
{
	const struct gmm_slot *slot = populate->operation.slot;
	uint64_t rest = populate->operation.node.last - populate->next + 1, done;
	uint32_t count = rest < RUN_PAGES ? (uint32_t)rest : RUN_PAGES;
	gmm_gfn_t first = populate->next;
	gmm_pfn_t pfns[RUN_PAGES];
	struct block block;
	bool writable;
	int error = resolve(slot, first, count, GMM_ACCESS_READ, pfns, &writable);

	if (error)
		return error;
	while (!error && populate->next - first < count) {
		uint32_t at = (uint32_t)(populate->next - first);

		done = 0;
		if (describe_run(populate, pfns + at, count - at, writable, &block))
			error = map_watched(populate, &block.mapping, &done);
		else
			error = -GMM_EIO;
		populate->next += done;
	}
	slot->config.memory_ops->put(slot->config.memory, pfns, count);
	return answer_of_map(error);
}

static int populate_slot(struct populate *populate, uint32_t access)
{
	const struct gmm_slot_config *config = &populate->operation.slot->config;
	gmm_gfn_t last = populate->operation.node.last;
	int error = 0;

	if ((access & GMM_ACCESS_WRITE) && (config->flags & GMM_SLOT_READ_ONLY))
		return -GMM_EROFS;
	if (config->memory_ops->flags & GMM_MEMORY_HOST_ONLY)
		populate->next = last + 1;
	while (!error && populate->next <= last)
		error = populate_run(populate);
	return error;
}

int gmm_fault_populate_table(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count,
			     uint32_t access)
{
	struct populate populate = { .next = gfn };
	gmm_gfn_t last = gfn + count - 1;
	int error = gmm_stage2_walker_create(guest->table.table, &populate.walker);

	if (error)
		return error;
	while (!error && populate.next <= last) {
		error = gmm_operation_begin(guest, populate.next, last - populate.next + 1,
					    GMM_OPERATION_WAIT_ALL, &populate.operation);
		if (error)
			break;
		error = populate_slot(&populate, access);
		gmm_operation_end(&populate.operation);
		/* A change came between: what is left is looked up behind its end. */
		if (error == -GMM_EAGAIN) {
			gmm_count(guest, faults_retried, 1);
			error = 0;
		}
	}
	gmm_stage2_walker_destroy(populate.walker);
	return error;
}
