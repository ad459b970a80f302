/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "page_impl.h"

#include <gmm_port/thread.h>

uint64_t gmm_page_try_claim(uint64_t *entry)
{
	uint64_t seen = gmm_load_acquire(entry);

	while (!(seen & GMM_PAGE_BUSY))
		if (gmm_compare_exchange(entry, &seen, seen | GMM_PAGE_BUSY))
			break;
	return seen;
}

bool gmm_page_ask_wake(uint64_t *entry)
{
	uint64_t seen = gmm_load_acquire(entry);

	while (seen & GMM_PAGE_BUSY) {
		if (seen & GMM_PAGE_WAITED)
			return true;
		if (gmm_compare_exchange(entry, &seen, seen | GMM_PAGE_WAITED))
			return true;
	}
	return false;
}

/* The release takes the lock before it wakes, so it cannot come between the mark and the sleep. */
void gmm_page_wait_free(struct gmm_guest *guest, uint64_t *entry)
{
	gmm_lock_pages(&guest->pages_lock);
	while (gmm_page_ask_wake(entry))
		gmm_waitqueue_wait(&guest->pages_free, &guest->pages_lock);
	gmm_unlock_pages(&guest->pages_lock);
}

void gmm_pages_wake(struct gmm_guest *guest)
{
	gmm_lock_pages(&guest->pages_lock);
	gmm_waitqueue_wake_all(&guest->pages_free);
	gmm_unlock_pages(&guest->pages_lock);
}

static bool matches(uint64_t entry, const struct gmm_page_filter *filter)
{
	return (entry & filter->all) == filter->all && !(entry & filter->none) &&
	       (!filter->any || (entry & filter->any));
}

/* Claims an entry that matches. -GMM_EAGAIN: it is busy; -GMM_ENOENT: it does not match. */
static int claim_matching(uint64_t *entry, const struct gmm_page_filter *filter, uint64_t *value)
{
	uint64_t seen = gmm_load_acquire(entry);

	for (;;) {
		if (seen & GMM_PAGE_BUSY)
			return -GMM_EAGAIN;
		if (!matches(seen, filter))
			return -GMM_ENOENT;
		if (gmm_compare_exchange(entry, &seen, seen | GMM_PAGE_BUSY)) {
			*value = seen;
			return 0;
		}
	}
}

struct claim_context {
	const struct gmm_page_walk *walk;
	struct gmm_page_run *run;
	uint64_t *busy; /* first busy page that was met, to be waited for */
	gmm_gfn_t busy_gfn;
};

/* Ends the walk (1) at the end of a run, or at a busy page to be waited for. */
static int claim_in_table(void *opaque, gmm_gfn_t gfn, uint64_t *entries, uint32_t count)
{
	struct claim_context *context = opaque;
	const struct gmm_page_walk *walk = context->walk;
	struct gmm_page_run *run = context->run;
	uint32_t i;

	for (i = 0; i < count; i++) {
		int error = claim_matching(&entries[i], &walk->filter, &run->values[run->count]);

		if (!error) {
			if (!run->count) {
				run->gfn = gfn + i;
				run->entries = &entries[i];
			}
			if (++run->count == GMM_RUN_PAGES)
				return 1;
			continue;
		}
		if (run->count)
			return 1;
		if (error == -GMM_EAGAIN && walk->wait) {
			context->busy = &entries[i];
			context->busy_gfn = gfn + i;
			return 1;
		}
		if (error == -GMM_EAGAIN && walk->busy)
			walk->busy(walk->busy_context, gfn + i);
	}
	return run->count ? 1 : 0;
}

bool gmm_run_claim(struct gmm_page_walk *walk, struct gmm_page_run *run)
{
	struct gmm_guest *guest = walk->operation->guest;
	struct claim_context context = { .walk = walk, .run = run };

	run->count = 0;
	while (walk->next <= walk->last) {
		context.busy = NULL;
		gmm_stage2_visit(&guest->stage2, walk->next, walk->last - walk->next + 1,
				 claim_in_table, &context);
		if (run->count) {
			walk->next = run->gfn + run->count;
			return true;
		}
		if (!context.busy)
			break;
		gmm_page_wait_free(guest, context.busy);
		walk->next = context.busy_gfn;
	}
	walk->next = walk->last + 1;
	return false;
}

uint32_t gmm_run_count(const struct gmm_page_run *run, uint64_t bits)
{
	uint32_t count = 0, i;

	for (i = 0; i < run->count; i++)
		count += (run->values[i] & bits) == bits;
	return count;
}

int gmm_run_stretches(struct gmm_operation *operation, struct gmm_page_run *run, uint64_t bits,
		      gmm_stretch_fn fn)
{
	uint32_t first = 0;
	int error = 0;

	while (first < run->count && !error) {
		uint32_t end = first;

		while (end < run->count && (run->values[end] & bits) == bits)
			end++;
		if (end > first)
			error = fn(operation, run, first, end - first);
		first = end + 1;
	}
	return error;
}

int gmm_operation_populate_tables(struct gmm_operation *operation)
{
	gmm_gfn_t gfn = operation->node.start & ~(uint64_t)(GMM_SOFT_TABLE_ENTRIES - 1);

	for (; gfn <= operation->node.last; gfn += GMM_SOFT_TABLE_ENTRIES)
		if (!gmm_stage2_populate(&operation->guest->stage2, gfn))
			return -GMM_ENOMEM;
	return 0;
}

static bool release_entry(uint64_t *entry, uint64_t value)
{
	uint64_t seen = gmm_load_relaxed(entry);

	gmm_assert(seen & GMM_PAGE_BUSY);
	while (!gmm_compare_exchange(entry, &seen, value & ~(GMM_PAGE_BUSY | GMM_PAGE_WAITED)))
		;
	return seen & GMM_PAGE_WAITED;
}

struct gmm_span gmm_run_span(const struct gmm_operation *operation, const struct gmm_page_run *run,
			     uint32_t first, uint32_t count)
{
	return gmm_slot_span(operation->guest, operation->slot, run->gfn + first, count);
}

void gmm_run_release(struct gmm_operation *operation, struct gmm_page_run *run)
{
	struct gmm_guest *guest = operation->guest;
	const struct gmm_stage2_ops *ops = guest->config.stage2_ops;
	uint32_t first = run->count, last = 0, i;

	for (i = 0; i < run->count; i++) {
		if (!release_entry(&run->entries[i], run->values[i]))
			continue;
		if (first > i)
			first = i;
		last = i;
	}
	run->entries = NULL;
	if (first == run->count)
		return;
	gmm_pages_wake(guest);
	if (ops && !gmm_leaves_out(guest, GMM_LEAVE_OUT_WAKE)) {
		struct gmm_span span = gmm_run_span(operation, run, first, last - first + 1);

		ops->wake(guest->config.stage2_owner, &span);
	}
}

static void query_table(struct gmm_guest *guest, gmm_gfn_t gfn, struct gmm_page_info *info)
{
	struct gmm_stage2_leaf leaf;

	*info = (struct gmm_page_info){ .state = GMM_PAGE_ABSENT, .pfn = GMM_PFN_NONE };
	if (!gmm_guest_table_look_up(&guest->table, gfn, &leaf))
		return;
	*info = (struct gmm_page_info){
		.state = GMM_PAGE_PRESENT,
		.mapped = true,
		.writable = gmm_leaf_is_writable(leaf.leaf),
		.young = leaf.leaf & GMM_LEAF_YOUNG,
		.dirty = leaf.leaf & GMM_LEAF_DIRTY,
		.changed = leaf.leaf & GMM_LEAF_DIRTY,
		.pfn = leaf.pfn + (gfn - leaf.gfn),
	};
}

int gmm_page_query(struct gmm_guest *guest, gmm_gfn_t gfn, struct gmm_page_info *info)
{
	struct gmm_slot *slot;
	uint64_t *entry = gmm_stage2_find(&guest->stage2, gfn);
	uint64_t value = entry ? gmm_load_acquire(entry) : 0;
	static const enum gmm_page_state absent[] = {
		[GMM_ORIGIN_SOURCE] = GMM_PAGE_ABSENT,
		[GMM_ORIGIN_ZERO] = GMM_PAGE_ZERO,
		[GMM_ORIGIN_STORE] = GMM_PAGE_EVICTED,
	};

	gmm_lock_invalidate(&guest->invalidation.lock);
	slot = gmm_slot_find(guest, gfn);
	gmm_unlock_invalidate(&guest->invalidation.lock);
	if (!slot)
		return -GMM_EFAULT;
	if (guest->table.table) {
		query_table(guest, gfn, info);
		return 0;
	}
	info->state = value & GMM_PAGE_RESIDENT ? GMM_PAGE_PRESENT :
						  absent[gmm_page_origin_of(value)];
	info->busy = value & GMM_PAGE_BUSY;
	info->mapped = value & GMM_PAGE_MAPPED;
	info->writable = (value & GMM_PAGE_MAPPED) && (value & GMM_PAGE_WRITABLE);
	info->young = value & GMM_PAGE_YOUNG;
	info->dirty = value & GMM_PAGE_DIRTY;
	info->changed = value & GMM_PAGE_CHANGED;
	info->pfn = value & GMM_PAGE_RESIDENT ? value >> GMM_PAGE_PFN_SHIFT : GMM_PFN_NONE;
	return 0;
}

/* What is read of a page that somebody else took away is no contents (W9): it is read again. */
static int read_claimed(struct gmm_operation *operation, struct gmm_page_run *run, uint64_t page,
			void *buffer)
{
	const struct gmm_slot_config *config = &operation->slot->config;
	struct gmm_repair_result result = { 0 };
	int error = gmm_run_ask_readable(operation, run, 0, &result);
	uint64_t value;

	do {
		value = run->values[0];
		if (!error)
			error = config->memory_ops->read(config->memory, page,
							 value & GMM_PAGE_RESIDENT,
							 gmm_page_origin_of(value), buffer);
		if (!error)
			error = gmm_run_take_back_lost(operation, run, 0, &result);
	} while (!error && run->values[0] != value);
	return error;
}

int gmm_page_read(struct gmm_guest *guest, gmm_gfn_t gfn, void *buffer)
{
	struct gmm_operation operation;
	const struct gmm_memory_ops *ops;
	struct gmm_page_run run;
	uint64_t *entry;
	uint64_t page;
	int error = gmm_operation_begin(guest, gfn, 1, GMM_OPERATION_WAIT_SLOT, &operation);

	if (error)
		return error;
	ops = operation.slot->config.memory_ops;
	page = operation.slot->config.memory_page + (gfn - operation.slot->by_gfn.start);
	if (!gmm_slot_is_lazy(operation.slot)) {
		error = ops->read ? ops->read(operation.slot->config.memory, page, true,
					      GMM_ORIGIN_ZERO, buffer) :
				    -GMM_EOPNOTSUPP;
	} else if (!(entry = gmm_stage2_populate(&guest->stage2, gfn))) {
		error = -GMM_ENOMEM;
	} else {
		struct gmm_page_walk walk = { &operation, gfn, gfn, .wait = true };

		gmm_run_claim(&walk, &run);
		error = read_claimed(&operation, &run, page, buffer);
		gmm_run_release(&operation, &run);
	}
	gmm_operation_end(&operation);
	return error;
}
