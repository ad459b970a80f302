/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Faults. A page of lazy memory is owned (BUSY) while it is filled and mapped; a page of resident
 * memory has no contents to bring, only a translation, which is installed under the invalidation's
 * lock. Those of a guest with a table in a format of hardware are in core/fault_table.c.
 */
#include "fault_impl.h"

#include <gmm_port/step.h>

#include "dirty_impl.h"

static bool logs_writes(const struct gmm_fault *fault)
{
	const struct gmm_stage2_ops *ops = fault->guest->config.stage2_ops;

	return fault->operation.slot->dirty && !(ops && (ops->flags & GMM_STAGE2_LOGS_WRITES));
}

void gmm_fault_mark_dirty(struct gmm_fault *fault)
{
	struct gmm_slot *slot = fault->operation.slot;
	uint64_t page = fault->gfn - slot->by_gfn.start;

	if (!slot->dirty)
		return;
	if (!fault->vcpu || !gmm_dirty_ring_try_push(fault->vcpu, slot->config.id, page))
		gmm_dirty_map_mark(slot->dirty, page);
}

/* Whether what vCPUs can do with the page already suffices. */
static bool suffices(uint64_t value, uint32_t access)
{
	uint64_t wanted = GMM_PAGE_RESIDENT | GMM_PAGE_MAPPED |
			  (access & GMM_ACCESS_WRITE ? GMM_PAGE_WRITABLE : 0);

	return (value & wanted) == wanted;
}

static void wake(struct gmm_fault *fault)
{
	const struct gmm_stage2_ops *ops = fault->guest->config.stage2_ops;
	struct gmm_span span = gmm_slot_span(fault->guest, fault->operation.slot, fault->gfn, 1);

	if (ops)
		ops->wake(fault->guest->config.stage2_owner, &span);
}

/* Claims the page, or finds it busy (-GMM_EAGAIN) and asks to be woken. */
static int claim(struct gmm_fault *fault)
{
	uint64_t seen;

	do {
		seen = gmm_page_try_claim(fault->entry);
		if (!(seen & GMM_PAGE_BUSY)) {
			fault->run.gfn = fault->gfn;
			fault->run.entries = fault->entry;
			fault->run.count = 1;
			fault->run.values[0] = seen;
			return 0;
		}
	} while (!gmm_page_ask_wake(fault->entry));
	return -GMM_EAGAIN;
}

/* Brings the contents of a claimed page. */
static int fill(struct gmm_fault *fault)
{
	const struct gmm_slot *slot = fault->operation.slot;
	uint64_t page = slot->config.memory_page + (fault->gfn - slot->by_gfn.start);
	uint64_t *value = &fault->run.values[0];
	enum gmm_page_origin origin = gmm_page_origin_of(*value);
	int error;

	if (*value & GMM_PAGE_RESIDENT)
		return 0;
	error = slot->config.memory_ops->fill(slot->config.memory, page, 1, origin);
	if (error)
		return error;
	*value = gmm_page_with_origin(GMM_PAGE_RESIDENT | gmm_page_pfn_bits(page), origin) |
		 (*value & GMM_PAGE_CHANGED);
	gmm_fetch_add(&fault->guest->resident, (uint64_t)1);
	gmm_count(fault->guest, faults_filled, 1);
	if (origin == GMM_ORIGIN_STORE)
		gmm_count(fault->guest, refaulted, 1);
	return 0;
}

/*
 * Whether the memory still has a claimed page; if not it is filled again right here: who faults may
 * be in a section, so that nothing may be waited for.
 */
static int refill_lost(struct gmm_fault *fault)
{
	struct gmm_repair_result result = { 0 };
	int error = gmm_run_take_back_lost(&fault->operation, &fault->run, 0, &result);

	return error || !(result.lost + result.repaired) ? error : fill(fault);
}

/*
 * What the page may be mapped for: writes too when they need not be seen, because it counts as
 * changed already and no log waits for them.
 */
static uint32_t mapping_access(const struct gmm_fault *fault, uint64_t value)
{
	const struct gmm_stage2_ops *ops = fault->guest->config.stage2_ops;
	bool read_only = fault->operation.slot->config.flags & GMM_SLOT_READ_ONLY;
	bool unseen_ok = (value & GMM_PAGE_CHANGED) &&
			 (!logs_writes(fault) || (value & GMM_PAGE_DIRTY));

	if (read_only)
		return GMM_ACCESS_READ;
	if ((fault->access & GMM_ACCESS_WRITE) || unseen_ok ||
	    !(ops->flags & GMM_STAGE2_MAPS_PROTECTED))
		return GMM_ACCESS_READ | GMM_ACCESS_WRITE;
	return GMM_ACCESS_READ;
}

/* Makes a filled page reachable. The mark in the log comes before the guest can write. */
static int map(struct gmm_fault *fault)
{
	const struct gmm_stage2_ops *ops = fault->guest->config.stage2_ops;
	struct gmm_span span = gmm_slot_span(fault->guest, fault->operation.slot, fault->gfn, 1);
	uint64_t *value = &fault->run.values[0];
	uint32_t access = mapping_access(fault, *value);
	uint64_t now = *value | GMM_PAGE_MAPPED | GMM_PAGE_YOUNG;
	int error;

	if (access & GMM_ACCESS_WRITE) {
		now |= GMM_PAGE_WRITABLE | GMM_PAGE_CHANGED | GMM_PAGE_DIRTY;
		if (logs_writes(fault))
			gmm_fault_mark_dirty(fault);
	}
	if (!gmm_operation_install(&fault->operation)) {
		gmm_count(fault->guest, faults_retried, 1);
		return -GMM_EAGAIN;
	}
	if ((*value & GMM_PAGE_MAPPED) && !suffices(*value, fault->access)) {
		error = ops->unprotect(fault->guest->config.stage2_owner, &span);
		gmm_count(fault->guest, faults_protect, 1);
	} else {
		/*
		 * Also what the table says is mapped: the second of two faults on one page, or the
		 * host has dropped the mapping behind our back (W9), and waking alone would not end
		 * the fault.
		 */
		error = ops->map(fault->guest->config.stage2_owner, &span, access);
		if (*value & GMM_PAGE_MAPPED)
			gmm_count(fault->guest, faults_fast, 1);
		else
			gmm_count(fault->guest, faults_mapped, 1);
	}
	gmm_step(GMM_STEP_FAULT_MAPPED);
	if (!error)
		*value = now;
	else if (error != -GMM_EFAULT && (access & GMM_ACCESS_WRITE))
		/* What a failed mapping lets the guest write is not known. */
		*value |= GMM_PAGE_CHANGED | GMM_PAGE_DIRTY;
	if (!gmm_operation_installed(&fault->operation)) {
		/* A change that may not wait came between: out with it, where that can be done. */
		gmm_count(fault->guest, faults_retried, 1);
		if (!ops->unmap(fault->guest->config.stage2_owner, &span))
			*value &= ~(GMM_PAGE_MAPPED | GMM_PAGE_WRITABLE);
		error = -GMM_EAGAIN;
	}
	return error;
}

/* The owner of the second stage found no page. When the memory has it after all, it came meanwhile. */
static int map_lost(struct gmm_fault *fault)
{
	int error = fault->operation.slot->config.memory_ops->lost ? refill_lost(fault) : -GMM_EIO;

	if (!error)
		error = map(fault);
	return error == -GMM_EFAULT ? -GMM_EAGAIN : error;
}

/*
 * The end of a fault whose page is owned: the page goes back, and on a retry so does the vCPU,
 * which faults again and is held or served.
 */
static int finish(struct gmm_fault *fault, int error)
{
	gmm_run_release(&fault->operation, &fault->run);
	if (error != -GMM_EAGAIN)
		return error;
	wake(fault);
	return GMM_FAULT_HELD;
}

static int serve_lazy(struct gmm_fault *fault)
{
	int error = claim(fault);

	if (error) {
		gmm_count(fault->guest, faults_held, 1);
		return GMM_FAULT_HELD;
	}
	gmm_step(GMM_STEP_FAULT_CLAIMED);
	/* Then this is the second of two faults, or somebody else has taken the page away. */
	if (fault->missing || suffices(fault->run.values[0], fault->access))
		error = refill_lost(fault);
	if (!error)
		error = fill(fault);
	gmm_step(GMM_STEP_FAULT_INSTALL);
	if (!error)
		error = map(fault);
	if (error == -GMM_EFAULT)
		error = map_lost(fault);
	return finish(fault, error);
}

/* Only while the translation is there: one that is gone leaves nothing behind in its entry (L12). */
static bool make_young(struct gmm_fault *fault)
{
	uint64_t seen = gmm_load_acquire(fault->entry);

	while (suffices(seen, fault->access))
		if (gmm_compare_exchange(fault->entry, &seen, seen | GMM_PAGE_YOUNG))
			return true;
	return false;
}

/*
 * Resident memory: the frame is taken, and the entry set in the same lock in which the retry is
 * tested (L1). The reference goes after that (L5).
 */
static int serve_resident(struct gmm_fault *fault)
{
	struct gmm_guest *guest = fault->guest;
	const struct gmm_slot *slot = fault->operation.slot;
	uint64_t page = slot->config.memory_page + (fault->gfn - slot->by_gfn.start);
	bool writable = !(slot->config.flags & GMM_SLOT_READ_ONLY) &&
			((fault->access & GMM_ACCESS_WRITE) || !logs_writes(fault));
	uint64_t value;
	gmm_pfn_t pfn;
	int error;
	bool good;

	if (make_young(fault)) {
		gmm_count(guest, faults_fast, 1);
		wake(fault);
		return 0;
	}
	error = slot->config.memory_ops->resolve(slot->config.memory, page, 1, fault->access, &pfn);
	if (error)
		return error;
	value = GMM_PAGE_RESIDENT | GMM_PAGE_MAPPED | GMM_PAGE_YOUNG | gmm_page_pfn_bits(pfn);
	if (writable)
		value |= GMM_PAGE_WRITABLE | GMM_PAGE_DIRTY | GMM_PAGE_CHANGED;
	gmm_step(GMM_STEP_FAULT_INSTALL);
	gmm_lock_invalidate(&guest->invalidation.lock);
	good = !fault->operation.overtaken || gmm_leaves_out(guest, GMM_LEAVE_OUT_RETRY);
	if (good) {
		gmm_store_release(fault->entry, value);
		/* In the same lock in which a harvest protects: neither comes between. */
		if (writable && logs_writes(fault))
			gmm_fault_mark_dirty(fault);
	}
	gmm_unlock_invalidate(&guest->invalidation.lock);
	slot->config.memory_ops->put(slot->config.memory, &pfn, 1);
	gmm_count(guest, faults_mapped, good);
	gmm_count(guest, faults_retried, !good);
	wake(fault);
	return good ? 0 : GMM_FAULT_HELD;
}

/* With what beginning its operation has answered. */
static int serve(struct gmm_fault *fault, int error)
{
	struct gmm_guest *guest = fault->guest;

	if (error == -GMM_EAGAIN) {
		gmm_count(guest, faults_held, 1);
		return GMM_FAULT_HELD;
	}
	if (error)
		return error;
	fault->gfn = fault->operation.node.start;
	if ((fault->access & GMM_ACCESS_WRITE) &&
	    (fault->operation.slot->config.flags & GMM_SLOT_READ_ONLY)) {
		error = -GMM_EROFS;
	} else if (guest->table.table) {
		error = gmm_fault_serve_table(fault);
	} else {
		fault->entry = gmm_stage2_populate(&guest->stage2, fault->gfn);
		if (!fault->entry)
			error = -GMM_ENOMEM;
		else if (gmm_slot_is_lazy(fault->operation.slot) && guest->config.stage2_ops)
			error = serve_lazy(fault);
		else if (gmm_slot_is_lazy(fault->operation.slot))
			error = -GMM_EOPNOTSUPP;
		else
			error = serve_resident(fault);
	}
	gmm_operation_end(&fault->operation);
	return error;
}

static struct gmm_fault fault_of(struct gmm_guest *guest, struct gmm_vcpu *vcpu, uint32_t access)
{
	return (struct gmm_fault){ .guest = guest,
				   .vcpu = vcpu,
				   .access = access & ~GMM_FAULT_MISSING,
				   .missing = access & GMM_FAULT_MISSING };
}

int gmm_fault_serve_vcpu(struct gmm_guest *guest, struct gmm_vcpu *vcpu, gmm_gfn_t gfn,
			 uint32_t access)
{
	struct gmm_fault fault = fault_of(guest, vcpu, access);
	int result = -GMM_ENOENT;

	if (guest->table.table && !(access & GMM_ACCESS_WRITE))
		result = gmm_fault_touch_table(guest, vcpu, gfn, fault.access);
	if (result < 0)
		result = serve(&fault, gmm_operation_begin(guest, gfn, 1, GMM_OPERATION_NO_WAIT,
							   &fault.operation));
	gmm_trace(fault_serve, guest, gfn, access, result);
	return result;
}

int gmm_fault_serve_at(struct gmm_guest *guest, struct gmm_vcpu *vcpu, gmm_hva_t hva,
		       uint32_t access)
{
	struct gmm_fault fault = fault_of(guest, vcpu, access);
	int result = serve(&fault, gmm_operation_begin_at(guest, hva, &fault.operation));

	gmm_trace(fault_serve_at, guest, hva, access, result);
	return result;
}

int gmm_fault_serve(struct gmm_guest *guest, gmm_gfn_t gfn, uint32_t access)
{
	return gmm_fault_serve_vcpu(guest, NULL, gfn, access);
}

int gmm_repair_touched(struct gmm_guest *guest, gmm_hva_t hva)
{
	struct gmm_fault fault = fault_of(guest, NULL, GMM_ACCESS_READ);
	int error = gmm_operation_begin_at(guest, hva, &fault.operation);

	if (error)
		return error == -GMM_EAGAIN ? GMM_FAULT_HELD : error;
	fault.gfn = fault.operation.node.start;
	fault.entry = gmm_stage2_populate(&guest->stage2, fault.gfn);
	if (!gmm_slot_is_lazy(fault.operation.slot)) {
		error = -GMM_EOPNOTSUPP;
	} else if (!fault.entry) {
		error = -GMM_ENOMEM;
	} else if (claim(&fault)) {
		error = GMM_FAULT_HELD;
	} else {
		error = refill_lost(&fault);
		if (!error)
			error = fill(&fault);
		gmm_run_release(&fault.operation, &fault.run);
		if (error == -GMM_EAGAIN)
			error = GMM_FAULT_HELD;
	}
	gmm_operation_end(&fault.operation);
	return error;
}

/* Makes pages resident, a run at a time: one call of fill() for neighbours of the same origin. */
static int fill_run(struct gmm_operation *operation, struct gmm_page_run *run, uint32_t access)
{
	const struct gmm_slot *slot = operation->slot;
	uint64_t page = slot->config.memory_page + (run->gfn - slot->by_gfn.start);
	uint32_t first = 0, i;
	int error = 0;

	while (first < run->count && !error) {
		enum gmm_page_origin origin = gmm_page_origin_of(run->values[first]);
		bool resident = run->values[first] & GMM_PAGE_RESIDENT;
		uint32_t end = first + 1;

		while (end < run->count && gmm_page_origin_of(run->values[end]) == origin &&
		       !(run->values[end] & GMM_PAGE_RESIDENT) == !resident)
			end++;
		if (!resident)
			error = slot->config.memory_ops->fill(slot->config.memory, page + first,
							      end - first, origin);
		for (i = first; i < end && !error; i++) {
			if (!resident)
				run->values[i] = gmm_page_with_origin(
					GMM_PAGE_RESIDENT | gmm_page_pfn_bits(page + i) |
						(run->values[i] & GMM_PAGE_CHANGED),
					origin);
			run->values[i] |= GMM_PAGE_YOUNG |
					  (access & GMM_ACCESS_WRITE ? GMM_PAGE_CHANGED : 0);
		}
		if (!error && !resident) {
			gmm_fetch_add(&operation->guest->resident, (uint64_t)(end - first));
			gmm_count(operation->guest, faults_filled, end - first);
			if (origin == GMM_ORIGIN_STORE)
				gmm_count(operation->guest, refaulted, end - first);
		}
		first = end;
	}
	return error;
}

static void undo_map(struct gmm_operation *operation, struct gmm_page_run *run)
{
	const struct gmm_stage2_ops *ops = operation->guest->config.stage2_ops;
	struct gmm_span span = gmm_run_span(operation, run, 0, run->count);
	uint32_t i;

	if (ops->unmap(operation->guest->config.stage2_owner, &span))
		return;
	for (i = 0; i < run->count; i++)
		run->values[i] &= ~(GMM_PAGE_MAPPED | GMM_PAGE_WRITABLE);
}

/* Prefetch: read-only mappings of pages that have none, so that the first write is still seen. */
static int map_run(struct gmm_operation *operation, struct gmm_page_run *run)
{
	const struct gmm_stage2_ops *ops = operation->guest->config.stage2_ops;
	uint32_t first = 0, i;
	int error = 0;

	if (!ops || !(ops->flags & GMM_STAGE2_MAPS_PROTECTED) || !gmm_operation_install(operation))
		return 0;
	while (first < run->count && !error) {
		uint32_t end = first;
		struct gmm_span span;

		while (end < run->count && !(run->values[end] & GMM_PAGE_MAPPED))
			end++;
		if (end > first) {
			span = gmm_run_span(operation, run, first, end - first);
			error = ops->map(operation->guest->config.stage2_owner, &span,
					 GMM_ACCESS_READ);
			for (i = first; i < end && !error; i++)
				run->values[i] |= GMM_PAGE_MAPPED;
		}
		first = end + 1;
	}
	if (!gmm_operation_installed(operation))
		undo_map(operation, run);
	/* What somebody else changes, or has taken away, is left to the fault on it. */
	return error == -GMM_EAGAIN || error == -GMM_EFAULT ? 0 : error;
}

struct populate {
	uint32_t access;
	uint32_t flags;
};

static int64_t populate_slot(struct gmm_operation *operation, void *context)
{
	const struct populate *populate = context;
	struct gmm_page_walk walk = { operation, operation->node.start, operation->node.last,
				      .wait = true };
	struct gmm_page_run run;
	int error;

	if ((populate->access & GMM_ACCESS_WRITE) &&
	    (operation->slot->config.flags & GMM_SLOT_READ_ONLY))
		return -GMM_EROFS;
	if (!gmm_slot_is_lazy(operation->slot))
		return 0;
	error = gmm_operation_populate_tables(operation);
	while (!error && gmm_run_claim(&walk, &run)) {
		error = fill_run(operation, &run, populate->access);
		if (!error && (populate->flags & GMM_POPULATE_MAP))
			error = map_run(operation, &run);
		gmm_run_release(operation, &run);
		if (error == -GMM_EAGAIN) {
			/* Somebody else changes the mapping; the memory has waited a little. */
			walk.next = run.gfn;
			error = 0;
		}
	}
	return error;
}

int gmm_fault_populate(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count, uint32_t access,
		       uint32_t flags)
{
	struct populate populate = { access, flags };

	if (flags & ~GMM_POPULATE_MAP)
		return -GMM_EINVAL;
	if (!count)
		return 0;
	if (gmm_frames_check(guest, gfn, count))
		return -GMM_EFAULT;
	if (guest->table.table && (flags & GMM_POPULATE_MAP))
		return gmm_fault_populate_table(guest, gfn, count, access);
	return (int)gmm_operation_over(guest, gfn, count, GMM_OPERATION_WAIT_ALL, -GMM_EFAULT,
				       populate_slot, &populate);
}

int gmm_fault_try_populate(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count, uint32_t access)
{
	struct populate populate = { access, 0 };

	return (int)gmm_operation_over(guest, gfn, count, GMM_OPERATION_TRY_ALL, -GMM_EFAULT,
				       populate_slot, &populate);
}
