/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <guestmm/evict.h>

#include <gmm_port/alloc.h>

#include "lease_impl.h"
#include "page_impl.h"

struct age_context {
	gmm_gfn_t gfn; /* bit 0 of bitmap */
	uint64_t *bitmap;
	int64_t young;
	/* Of the chunk under way: leased frames are young, whatever the table says. */
	bool any_leased;
	gmm_gfn_t chunk;
	uint64_t leased[GMM_LEASED_FRAMES / 64];
};

struct age_request {
	struct age_context age;
	uint32_t flags;
};

static void note_young(struct age_context *age, gmm_gfn_t gfn)
{
	uint64_t bit = gfn - age->gfn;

	age->young++;
	if (age->bitmap)
		age->bitmap[bit / 64] |= (uint64_t)1 << (bit % 64);
}

/* Leased frames are counted already. */
static void count_young(struct age_context *age, gmm_gfn_t gfn)
{
	uint64_t bit = gfn - age->chunk;

	if (!age->any_leased || !((age->leased[bit / 64] >> (bit % 64)) & 1))
		note_young(age, gfn);
}

static void count_leased(struct gmm_guest *guest, struct age_context *age, gmm_gfn_t gfn,
			 uint64_t count)
{
	uint32_t i;

	age->chunk = gfn;
	age->any_leased = count <= GMM_LEASED_FRAMES &&
			  gmm_lease_frames(guest, gfn, (uint32_t)count, age->leased);
	for (i = 0; age->any_leased && i < count; i++)
		if ((age->leased[i / 64] >> (i % 64)) & 1)
			note_young(age, gfn + i);
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

/* A guest's table has no busy pages either. */
static int64_t age_in_table(struct gmm_guest *guest, struct age_request *request, gmm_gfn_t gfn,
			    uint64_t count)
{
	uint64_t young[GMM_LEASED_FRAMES / 64] = { 0 };
	uint32_t i;

	gmm_guest_table_age(&guest->table, gfn, count, young, request->flags & GMM_AGE_TEST_ONLY);
	for (i = 0; i < count; i++)
		if ((young[i / 64] >> (i % 64)) & 1)
			count_young(&request->age, gfn + i);
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

/* Frames of one slot: GMM_LEASED_FRAMES at most, or more when nothing is leased. */
static int64_t age_chunk(struct gmm_operation *operation, struct age_request *request,
			 gmm_gfn_t gfn, uint64_t count)
{
	struct gmm_stage2 *stage2 = &operation->guest->stage2;
	struct gmm_page_walk walk = { operation,	  gfn,
				      gfn + count - 1,	  .filter = { .all = GMM_PAGE_YOUNG },
				      .busy = count_busy, .busy_context = &request->age };
	struct gmm_page_run run;
	int error = 0;

	count_leased(operation->guest, &request->age, gfn, count);
	if (operation->guest->table.table)
		return age_in_table(operation->guest, request, gfn, count);
	if (request->flags & GMM_AGE_TEST_ONLY)
		return gmm_stage2_visit(stage2, gfn, count, test_table, &request->age);
	if (!gmm_slot_is_lazy(operation->slot))
		return gmm_stage2_visit(stage2, gfn, count, clear_table, &request->age);
	while (!error && gmm_run_claim(&walk, &run)) {
		uint32_t i;

		for (i = 0; i < run.count; i++)
			count_young(&request->age, run.gfn + i);
		error = age_run(operation, &run);
		gmm_run_release(operation, &run);
	}
	return error;
}

static int64_t age_slot(struct gmm_operation *operation, void *context)
{
	gmm_gfn_t gfn = operation->node.start;
	int64_t error = 0;

	while (!error && gfn <= operation->node.last) {
		uint64_t count = operation->node.last - gfn + 1;

		if (count > GMM_LEASED_FRAMES &&
		    (operation->guest->table.table || gmm_lease_any_hint(operation->guest)))
			count = GMM_LEASED_FRAMES;
		error = age_chunk(operation, context, gfn, count);
		gfn += count;
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

int64_t gmm_age_unless_changing(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count)
{
	struct age_request request = { .age = { .gfn = gfn } };
	int64_t error = gmm_operation_over(guest, gfn, count, GMM_OPERATION_TRY_SLOT, 0, age_slot,
					   &request);

	return error ? error : request.age.young;
}
