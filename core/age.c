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

/* Busy pages are young: somebody is at them. */
static int count_busy(void *opaque, gmm_gfn_t gfn, uint64_t *entries, uint32_t count)
{
	uint32_t i;

	for (i = 0; i < count; i++)
		if (gmm_load_acquire(&entries[i]) & GMM_PAGE_BUSY)
			count_young(opaque, gfn + i);
	return 0;
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

static int age_slot(struct gmm_operation *operation, struct age_context *age)
{
	static const struct gmm_page_filter young = { .all = GMM_PAGE_YOUNG };
	gmm_gfn_t gfn = operation->node.start;
	struct gmm_page_run run;
	int error = 0;

	gmm_stage2_visit(&operation->guest->stage2, gfn, gmm_operation_count(operation), count_busy,
			 age);
	while (!error &&
	       gmm_run_claim(operation, &gfn, operation->node.last, &young, false, &run)) {
		uint32_t i;

		for (i = 0; i < run.count; i++)
			count_young(age, run.gfn + i);
		error = age_run(operation, &run);
		gmm_run_release(operation, &run);
	}
	return error;
}

int64_t gmm_age(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count, uint32_t flags,
		uint64_t *bitmap)
{
	struct age_context age = { .gfn = gfn, .bitmap = bitmap };
	int error = 0;

	if ((flags & ~GMM_AGE_TEST_ONLY) || !count)
		return -GMM_EINVAL;
	if (gfn + count < gfn)
		return -GMM_ERANGE;
	if (bitmap)
		gmm_memset(bitmap, 0, (count + 63) / 64 * sizeof(*bitmap));
	while (count && !error) {
		struct gmm_operation operation;
		uint64_t done = 1;

		error = gmm_operation_begin(guest, gfn, count, GMM_OPERATION_WAIT_SLOT, &operation);
		if (!error) {
			done = gmm_operation_count(&operation);
			if (flags & GMM_AGE_TEST_ONLY)
				gmm_stage2_visit(&guest->stage2, gfn, done, test_table, &age);
			else
				error = age_slot(&operation, &age);
			gmm_operation_end(&operation);
		} else if (error == -GMM_EFAULT) {
			error = 0; /* a hole between slots */
		}
		gfn += done;
		count -= done;
	}
	return error ? error : age.young;
}
