/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "guest_table.h"

#include "bits.h"
#include "guest_impl.h"
#include "stage2/table_impl.h"

#define ALL_WALKERS (((uint32_t)1 << GMM_GUEST_WALKERS) - 1)

int gmm_guest_table_check(struct gmm_guest_config *config)
{
	const struct gmm_stage2_table *table = config->table;
	uint32_t shift, bits;

	if (!table)
		return 0;
	shift = table->code->facts.page_shift;
	bits = table->config.gpa_bits;
	if (!config->page_shift)
		config->page_shift = shift;
	if (!config->gpa_bits)
		config->gpa_bits = bits < GMM_GPA_BITS_MAX ? bits : GMM_GPA_BITS_MAX;
	if (config->stage2_ops || config->page_shift != shift || config->gpa_bits > bits)
		return -GMM_EINVAL;
	return 0;
}

int gmm_guest_table_init(struct gmm_guest_table *table, struct gmm_stage2_table *made)
{
	uint32_t i;
	int error = 0;

	table->table = made;
	for (i = 0; i < GMM_GUEST_WALKERS && made && !error; i++)
		error = gmm_stage2_walker_create(made, &table->walkers[i]);
	return error;
}

void gmm_guest_table_fini(struct gmm_guest_table *table)
{
	uint32_t i;

	gmm_assert(!gmm_load_relaxed(&table->in_use));
	for (i = 0; i < GMM_GUEST_WALKERS && table->walkers[i]; i++)
		gmm_stage2_walker_destroy(table->walkers[i]);
}

struct gmm_stage2_walker *gmm_guest_walker_take(struct gmm_guest_table *table)
{
	uint32_t seen = gmm_load_relaxed(&table->in_use), turn = 0;

	for (;;) {
		uint32_t at;

		if (seen == ALL_WALKERS) {
			gmm_cpu_relax(turn++);
			seen = gmm_load_relaxed(&table->in_use);
			continue;
		}
		at = gmm_bits_lowest(~(uint64_t)seen);
		if (gmm_compare_exchange(&table->in_use, &seen, seen | (uint32_t)1 << at))
			return table->walkers[at];
	}
}

void gmm_guest_walker_give(struct gmm_guest_table *table, struct gmm_stage2_walker *walker)
{
	uint32_t at;

	for (at = 0; table->walkers[at] != walker; at++)
		;
	gmm_fetch_and(&table->in_use, ~((uint32_t)1 << at));
}

bool gmm_guest_table_fit_leaf(const struct gmm_guest_table *table,
			      struct gmm_stage2_mapping *mapping, gmm_gfn_t gfn)
{
	uint32_t bits = table->table->code->facts.index_bits;
	uint32_t level = GMM_STAGE2_TABLE_LEVELS;

	while (--level) {
		uint64_t span = (uint64_t)1 << (level * bits);
		gmm_gfn_t start = gfn & ~(span - 1);
		uint64_t offset = start - mapping->gfn;

		if (!(table->table->leaf_levels >> level & 1) || start < mapping->gfn ||
		    mapping->count < span || offset > mapping->count - span ||
		    ((mapping->pfn + offset) & (span - 1)))
			continue;
		mapping->gfn = start;
		mapping->pfn += offset;
		mapping->count = span;
		mapping->level_max = level;
		return true;
	}
	mapping->pfn += gfn - mapping->gfn;
	mapping->gfn = gfn;
	mapping->count = 1;
	mapping->level_max = 0;
	return false;
}

void gmm_guest_table_drop(struct gmm_guest_table *table, gmm_gfn_t first, gmm_gfn_t last)
{
	struct gmm_stage2_walker *walker = gmm_guest_walker_take(table);
	int error = gmm_stage2_change_begin(walker, first, last - first + 1);

	gmm_assert(!error);
	if (!error) {
		gmm_stage2_table_unmap(walker, first, last - first + 1, NULL);
		gmm_stage2_change_end(walker);
	}
	gmm_guest_walker_give(table, walker);
}

/*
 * What another one has protected may not be flushed yet, and is found protected here: then this one
 * flushes all of its own.
 */
void gmm_guest_table_protect(struct gmm_guest_table *table, gmm_gfn_t gfn, uint64_t count,
			     const uint64_t *mask)
{
	struct gmm_stage2_walker *walker = gmm_guest_walker_take(table);

	gmm_fetch_add(&table->protecting, 1u);
	gmm_stage2_table_write_protect(walker, gfn, count, mask, NULL, GMM_STAGE2_DEFER_FLUSH);
	gmm_fence();
	if (gmm_load_acquire(&table->protecting) > 1)
		gmm_stage2_note_flush(walker, gfn, gfn + count - 1, 0);
	gmm_stage2_flush_pending(walker);
	gmm_fetch_add(&table->protecting, (uint32_t)-1);
	gmm_guest_walker_give(table, walker);
}

void gmm_guest_table_age(struct gmm_guest_table *table, gmm_gfn_t gfn, uint64_t count,
			 uint64_t *young, bool test_only)
{
	struct gmm_stage2_walker *walker = gmm_guest_walker_take(table);

	if (test_only)
		gmm_stage2_table_test_age(walker, gfn, count, young);
	else
		gmm_stage2_table_age(walker, gfn, count, young, 0);
	gmm_guest_walker_give(table, walker);
}

bool gmm_guest_table_look_up(struct gmm_guest_table *table, gmm_gfn_t gfn,
			     struct gmm_stage2_leaf *leaf)
{
	struct gmm_stage2_walker *walker = gmm_guest_walker_take(table);
	uint32_t turn = 0;
	int error;

	/* Not there while it is remade, which lasts as long as a flush. */
	while ((error = gmm_stage2_table_look_up(walker, gfn, leaf)) == -GMM_EAGAIN)
		gmm_cpu_relax(turn++);
	gmm_guest_walker_give(table, walker);
	return !error;
}

struct survey {
	gmm_gfn_t first;
	gmm_gfn_t last;
	struct gmm_page_survey *sums;
};

static int survey_leaf(void *context, const struct gmm_stage2_leaf *leaf)
{
	struct survey *survey = context;
	gmm_gfn_t first = leaf->gfn > survey->first ? leaf->gfn : survey->first;
	gmm_gfn_t last = leaf->gfn + leaf->count - 1;
	uint64_t count;

	if (last > survey->last)
		last = survey->last;
	count = last - first + 1;
	survey->sums->mapped += count;
	survey->sums->writable += gmm_leaf_is_writable(leaf->leaf) ? count : 0;
	survey->sums->young += leaf->leaf & GMM_LEAF_YOUNG ? count : 0;
	survey->sums->dirty += leaf->leaf & GMM_LEAF_DIRTY ? count : 0;
	survey->sums->changed += leaf->leaf & GMM_LEAF_DIRTY ? count : 0;
	return 0;
}

void gmm_guest_table_survey(struct gmm_guest_table *table, gmm_gfn_t gfn, uint64_t count,
			    struct gmm_page_survey *survey)
{
	struct survey context = { gfn, gfn + count - 1, survey };
	struct gmm_stage2_walker *walker = gmm_guest_walker_take(table);

	gmm_stage2_table_walk(walker, gfn, count, survey_leaf, &context);
	gmm_guest_walker_give(table, walker);
}
