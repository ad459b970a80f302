/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <guestmm/evict.h>

#include <gmm_port/alloc.h>

#include "page_impl.h"

struct age_context {
	gmm_gfn_t gfn; /* bit 0 of bitmap */
	uint64_t *bitmap;
	int64_t young;
};

static void count_young(struct age_context *age, gmm_gfn_t gfn)
{
	uint64_t bit = gfn - age->gfn;

	age->young++;
	if (age->bitmap)
		age->bitmap[bit / 64] |= (uint64_t)1 << (bit % 64);
}

static int test_table(void *opaque, gmm_gfn_t gfn, uint64_t *entries, uint32_t count)
{
	uint32_t i;

	for (i = 0; i < count; i++)
		if (gmm_load_acquire(&entries[i]) & (GMM_PAGE_YOUNG | GMM_PAGE_BUSY))
			count_young(opaque, gfn + i);
	return 0;
}

/* Resident memory has nothing to own: a translation that goes takes its age along. */
static int clear_table(void *opaque, gmm_gfn_t gfn, uint64_t *entries, uint32_t count)
{
	uint32_t i;

	for (i = 0; i < count; i++)
		if ((gmm_load_relaxed(&entries[i]) & GMM_PAGE_YOUNG) &&
		    (gmm_fetch_and(&entries[i], ~GMM_PAGE_YOUNG) & GMM_PAGE_YOUNG))
			count_young(opaque, gfn + i);
	return 0;
}

/* Busy pages are young: somebody is at them. */
static void count_busy(void *opaque, gmm_gfn_t gfn)
{
	count_young(opaque, gfn);
}

/* Drops the mappings of a claimed run where that is how age is told. */
static int age_run(struct gmm_operation *operation, struct gmm_page_run *run)
{
	const struct gmm_stage2_ops *ops = operation->guest->config.stage2_ops;
	bool drop = ops && (operation->slot->config.memory_ops->flags & GMM_MEMORY_AGEABLE);
	uint64_t cleared = GMM_PAGE_YOUNG | (drop ? GMM_PAGE_MAPPED | GMM_PAGE_WRITABLE : 0);
	uint32_t i;

	if (drop) {
		struct gmm_span span = gmm_run_span(operation, run, 0, run->count);

		if (ops->unmap(operation->guest->config.stage2_owner, &span))
			return -GMM_EIO;
	}
	for (i = 0; i < run->count; i++)
		run->values[i] &= ~cleared;
	return 0;
}

struct age_request {
	struct age_context age;
	uint32_t flags;
};

static int64_t age_slot(struct gmm_operation *operation, void *context)
{
	struct age_request *request = context;
	struct gmm_stage2 *stage2 = &operation->guest->stage2;
	struct gmm_page_walk walk = { operation,
				      operation->node.start,
				      operation->node.last,
				      .filter = { .all = GMM_PAGE_YOUNG },
				      .busy = count_busy,
				      .busy_context = &request->age };
	struct gmm_page_run run;
	int error = 0;

	if (request->flags & GMM_AGE_TEST_ONLY)
		return gmm_stage2_visit(stage2, walk.next, gmm_operation_count(operation),
					test_table, &request->age);
	if (!gmm_slot_is_lazy(operation->slot))
		return gmm_stage2_visit(stage2, walk.next, gmm_operation_count(operation),
					clear_table, &request->age);
	while (!error && gmm_run_claim(&walk, &run)) {
		uint32_t i;

		for (i = 0; i < run.count; i++)
			count_young(&request->age, run.gfn + i);
		error = age_run(operation, &run);
		gmm_run_release(operation, &run);
	}
	return error;
}

int64_t gmm_age(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count, uint32_t flags,
		uint64_t *bitmap)
{
	struct age_request request = { .age = { .gfn = gfn, .bitmap = bitmap }, .flags = flags };
	int64_t error = gmm_frames_check(guest, gfn, count);

	if (flags & ~GMM_AGE_TEST_ONLY)
		return -GMM_EINVAL;
	if (error)
		return error;
	if (bitmap)
		gmm_memset(bitmap, 0, (count + 63) / 64 * sizeof(*bitmap));
	error = gmm_operation_over(guest, gfn, count, GMM_OPERATION_WAIT_SLOT, 0, age_slot,
				   &request);
	return error ? error : request.age.young;
}
