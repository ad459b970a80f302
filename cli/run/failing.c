/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "failing.h"

#include <guestmm/static/step_points.h>

#include <gmm_port/alloc.h>

#include "guest/hash.h"
#include "run.h"

/* Whether the next operation fails: by a hash of its number, so that no rhythm is kept. */
static int next_error(struct run_failing *failing)
{
	uint64_t call = __atomic_fetch_add(&failing->calls, 1, __ATOMIC_RELAXED);
	uint64_t chance = guest_mix(call + 1);

	uint64_t one_in = run_load(&failing->one_in);

	if (!one_in || chance % one_in)
		return 0;
	run_count(&failing->operations, 1);
	return chance >> 63 ? -GMM_EIO : -GMM_ENOMEM;
}

static int fail_resolve(void *opaque, uint64_t page, uint32_t count, uint32_t access,
			gmm_pfn_t *pfns)
{
	struct run_failing *failing = opaque;
	int error = next_error(failing);

	return error ? error : failing->ops->resolve(failing->memory, page, count, access, pfns);
}

static void pass_put(void *opaque, const gmm_pfn_t *pfns, uint32_t count)
{
	struct run_failing *failing = opaque;

	failing->ops->put(failing->memory, pfns, count);
}

static int fail_map(void *opaque, const gmm_pfn_t *pfns, uint32_t count, uint32_t access,
		    void **pointer)
{
	struct run_failing *failing = opaque;
	int error = next_error(failing);

	return error ? error : failing->ops->map(failing->memory, pfns, count, access, pointer);
}

static void pass_unmap(void *opaque, void *pointer, uint32_t count)
{
	struct run_failing *failing = opaque;

	failing->ops->unmap(failing->memory, pointer, count);
}

static int fail_fill(void *opaque, uint64_t page, uint32_t count, enum gmm_page_origin origin)
{
	struct run_failing *failing = opaque;
	int error = next_error(failing);

	return error ? error : failing->ops->fill(failing->memory, page, count, origin);
}

static int fail_write_out(void *opaque, uint64_t page, uint32_t count)
{
	struct run_failing *failing = opaque;
	int error = next_error(failing);

	return error ? error : failing->ops->write_out(failing->memory, page, count);
}

static int fail_discard(void *opaque, uint64_t page, uint32_t count)
{
	struct run_failing *failing = opaque;
	int error = next_error(failing);

	return error ? error : failing->ops->discard(failing->memory, page, count);
}

static int fail_read(void *opaque, uint64_t page, bool resident, enum gmm_page_origin origin,
		     void *buffer)
{
	struct run_failing *failing = opaque;
	int error = next_error(failing);

	return error ? error : failing->ops->read(failing->memory, page, resident, origin, buffer);
}

static int pass_lost(void *opaque, uint64_t page, uint32_t count, uint64_t *gone)
{
	struct run_failing *failing = opaque;

	return failing->ops->lost(failing->memory, page, count, gone);
}

static int pass_restore(void *opaque, gmm_hva_t hva, uint64_t bytes,
			int (*ready)(void *opaque, gmm_hva_t hva, uint64_t bytes),
			void *ready_opaque)
{
	struct run_failing *failing = opaque;

	return failing->ops->restore(failing->memory, hva, bytes, ready, ready_opaque);
}

static int pass_descriptor(void *opaque)
{
	struct run_failing *failing = opaque;

	return failing->ops->descriptor(failing->memory);
}

void run_failing_wrap(struct run *run, const struct gmm_memory_ops **ops, void **memory)
{
	struct run_failing *failing = &run->failing;

	if (!run->options.fail_one_in)
		return;
	failing->ops = *ops;
	failing->memory = *memory;
	failing->failing_ops = (struct gmm_memory_ops){
		.version = (*ops)->version,
		.flags = (*ops)->flags,
		.name = (*ops)->name,
		.resolve = fail_resolve,
		.put = pass_put,
		.map = fail_map,
		.unmap = pass_unmap,
		.fill = (*ops)->fill ? fail_fill : NULL,
		.write_out = (*ops)->write_out ? fail_write_out : NULL,
		.discard = (*ops)->discard ? fail_discard : NULL,
		.read = (*ops)->read ? fail_read : NULL,
		.descriptor = (*ops)->descriptor ? pass_descriptor : NULL,
		.lost = (*ops)->lost ? pass_lost : NULL,
		.restore = (*ops)->restore ? pass_restore : NULL,
	};
	*ops = &failing->failing_ops;
	*memory = failing;
}

#if GMM_STEPS || GMM_DEBUG
void run_failing_tick(struct run *run)
{
	struct run_failing *failing = &run->failing;

	if (!run->options.fail_one_in)
		return;
	if (failing->one_in && !gmm_port_alloc_failed())
		return;
	if (gmm_port_alloc_failed())
		run_count(&failing->allocations, 1);
	__atomic_store_n(&failing->one_in, run->options.fail_one_in, __ATOMIC_RELAXED);
	gmm_port_alloc_fail_at(1 + guest_mix(run_now()) % run->options.fail_one_in);
}

void run_failing_stop(struct run *run)
{
	if (!run->options.fail_one_in)
		return;
	__atomic_store_n(&run->failing.one_in, 0, __ATOMIC_RELAXED);
	gmm_port_alloc_fail_at(0);
}
#else
void run_failing_tick(struct run *run)
{
	(void)run;
}

void run_failing_stop(struct run *run)
{
	(void)run;
}
#endif

bool run_failing_try_again(const struct run *run, int64_t error)
{
	return run->options.fail_one_in && !run_abandoned(run) &&
	       (error == -GMM_EIO || error == -GMM_ENOMEM);
}
