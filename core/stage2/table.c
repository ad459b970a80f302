/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Second-stage tables: what is the same for all formats. Checks arguments, and calls what a format
 * was compiled to.
 */
#include "table_impl.h"

#define GMM_STAGE2_FORMAT_ENTRY(name, constant, text) &gmm_stage2_code_##name,
static const struct gmm_stage2_code *const formats[GMM_STAGE2_FORMATS] = { GMM_STAGE2_FORMAT_ROWS(
	GMM_STAGE2_FORMAT_ENTRY) };

#define ALL_LEAF_BITS                                                                       \
	(GMM_LEAF_READ | GMM_LEAF_WRITE | GMM_LEAF_EXEC | GMM_LEAF_YOUNG | GMM_LEAF_DIRTY | \
	 GMM_LEAF_PROTECTED)

const struct gmm_stage2_format_facts *gmm_stage2_format_read_facts(uint32_t format)
{
	return format < GMM_STAGE2_FORMATS ? &formats[format]->facts : NULL;
}

static int check_config(const struct gmm_stage2_table_config *config)
{
	const struct gmm_stage2_format_facts *facts;
	const struct gmm_stage2_table_ops *ops = config->ops;

	if (config->format >= GMM_STAGE2_FORMATS || !ops ||
	    ops->version != GMM_STAGE2_TABLE_OPS_VERSION || !ops->table_alloc || !ops->table_free ||
	    !ops->flush)
		return -GMM_EINVAL;
	facts = &formats[config->format]->facts;
	if (config->flags & ~(GMM_STAGE2_HARDWARE_DIRTY | GMM_STAGE2_SVPBMT))
		return -GMM_EINVAL;
	if (config->gpa_bits > facts->gpa_bits || config->pa_bits > facts->pa_bits ||
	    (config->gpa_bits && config->gpa_bits <= facts->page_shift + facts->index_bits) ||
	    (config->pa_bits && config->pa_bits <= facts->page_shift))
		return -GMM_EINVAL;
	/* Leaves of all levels up to some level. */
	if (config->leaf_levels &&
	    ((config->leaf_levels & ~facts->leaf_levels) || !(config->leaf_levels & 1) ||
	     (config->leaf_levels & (config->leaf_levels + 1))))
		return -GMM_EINVAL;
	return 0;
}

/* An entry of level n + 1 that is absent refers to a table of absent entries of level n. */
static int make_invalid(struct gmm_stage2_table *table)
{
	const struct gmm_stage2_table_config *config = &table->config;
	uint32_t level;

	if (!table->code->fill_absent)
		return 0;
	for (level = 0; level + 1 < table->levels; level++) {
		uint64_t *entries = config->ops->table_alloc(config->owner, table->table_bytes);

		if (!entries)
			return -GMM_ENOMEM;
		table->invalid[level] = entries;
		table->code->fill_absent(table, entries, table->table_bytes / sizeof(uint64_t),
					 level);
		table->absent[level + 1] = (uint64_t)(uintptr_t)entries + config->physical_offset;
	}
	table->code->fill_absent(table, table->root, table->root_bytes / sizeof(uint64_t),
				 table->levels - 1);
	return 0;
}

static void free_parts(struct gmm_stage2_table *table)
{
	const struct gmm_stage2_table_config *config = &table->config;
	uint32_t level;

	for (level = 0; level < GMM_STAGE2_TABLE_LEVELS; level++)
		if (table->invalid[level])
			config->ops->table_free(config->owner, table->invalid[level],
						table->table_bytes);
	gmm_spin_destroy(&table->lock);
	gmm_section_domain_destroy(&table->sections);
	gmm_free(table, sizeof(*table));
}

/* Sizes, when the format has said how many levels there are. */
static void set_sizes(struct gmm_stage2_table *table)
{
	const struct gmm_stage2_format_facts *facts = &table->code->facts;
	uint64_t least = (uint64_t)1 << 12;

	table->frames = (uint64_t)1 << (table->config.gpa_bits - facts->page_shift);
	table->pfn_end = (uint64_t)1 << (table->config.pa_bits - facts->page_shift);
	table->table_bytes = (uint64_t)1 << facts->table_shift;
	table->root_bytes = (uint64_t)sizeof(uint64_t) << table->root_bits;
	if (table->root_bytes < least)
		table->root_bytes = least;
}

int gmm_stage2_table_create(const struct gmm_stage2_table_config *config,
			    struct gmm_stage2_table **made)
{
	struct gmm_stage2_table *table;
	int error = check_config(config);

	if (error)
		return error;
	table = gmm_zalloc(sizeof(*table));
	if (!table)
		return -GMM_ENOMEM;
	table->config = *config;
	table->code = formats[config->format];
	if (!config->gpa_bits)
		table->config.gpa_bits = table->code->facts.gpa_bits_default;
	if (!config->pa_bits)
		table->config.pa_bits = table->code->facts.pa_bits;
	table->leaf_levels = config->leaf_levels ? config->leaf_levels :
						   table->code->facts.leaf_levels;
	error = table->code->shape(table);
	if (!error)
		error = gmm_section_domain_init(&table->sections);
	if (error) {
		gmm_free(table, sizeof(*table));
		return error;
	}
	gmm_spin_init(&table->lock, GMM_RANK_TABLE);
	set_sizes(table);
	error = -GMM_ENOMEM;
	table->root = config->ops->table_alloc(config->owner, table->root_bytes);
	if (table->root)
		error = make_invalid(table);
	if (error) {
		if (table->root)
			config->ops->table_free(config->owner, table->root, table->root_bytes);
		free_parts(table);
		return error;
	}
	table->statistics.tables[table->levels - 1] = 1;
	*made = table;
	return 0;
}

int gmm_stage2_table_destroy(struct gmm_stage2_table *table)
{
	bool walked;

	gmm_lock_table(&table->lock);
	walked = table->walkers;
	gmm_unlock_table(&table->lock);
	if (walked)
		return -GMM_EBUSY;
	table->code->free_tables(table);
	free_parts(table);
	return 0;
}

void gmm_stage2_table_read_root(const struct gmm_stage2_table *table, struct gmm_stage2_root *root)
{
	*root = (struct gmm_stage2_root){
		.address = (uint64_t)(uintptr_t)table->root + table->config.physical_offset,
		.bytes = table->root_bytes,
		.levels = table->levels,
	};
	table->code->read_root(table, root);
}

void gmm_stage2_add_statistics(struct gmm_stage2_statistics *to,
			       const struct gmm_stage2_statistics *from)
{
	uint32_t level;

	for (level = 0; level < GMM_STAGE2_TABLE_LEVELS; level++) {
		to->tables[level] += gmm_load_relaxed(&from->tables[level]);
		to->leaves[level] += gmm_load_relaxed(&from->leaves[level]);
	}
	to->flushes += gmm_load_relaxed(&from->flushes);
	to->flushed_frames += gmm_load_relaxed(&from->flushed_frames);
}

void gmm_stage2_table_read_statistics(struct gmm_stage2_table *table,
				      struct gmm_stage2_statistics *statistics)
{
	const struct gmm_stage2_walker *walker;

	gmm_lock_table(&table->lock);
	*statistics = table->statistics;
	for (walker = table->walkers; walker; walker = walker->next)
		gmm_stage2_add_statistics(statistics, &walker->counted);
	gmm_unlock_table(&table->lock);
}

/* Checks a mapping, and makes one that the walker can take as it is. */
static int check_mapping(const struct gmm_stage2_table *table,
			 const struct gmm_stage2_mapping *mapping,
			 struct gmm_stage2_mapping *checked)
{
	int error = gmm_stage2_check_frames(table, mapping->gfn, mapping->count);
	uint32_t top = 0;

	if (error)
		return error;
	if (mapping->flags || (mapping->leaf & ~ALL_LEAF_BITS) ||
	    !(mapping->leaf & GMM_LEAF_READ) || mapping->memory >= GMM_LEAF_MEMORIES ||
	    mapping->pfn >= table->pfn_end || mapping->count > table->pfn_end - mapping->pfn)
		return -GMM_EINVAL;
	while (table->leaf_levels >> (top + 1) & 1)
		top++;
	*checked = *mapping;
	if (checked->level_max > top)
		checked->level_max = top;
	if (!(checked->leaf & GMM_LEAF_WRITE))
		checked->leaf &= ~GMM_LEAF_PROTECTED;
	return 0;
}

int gmm_stage2_table_map(struct gmm_stage2_walker *walker, const struct gmm_stage2_mapping *mapping,
			 uint64_t *done)
{
	struct gmm_stage2_mapping checked;
	uint64_t ignored;
	int error = check_mapping(walker->table, mapping, &checked);

	if (!done)
		done = &ignored;
	*done = 0;
	return error ? error : walker->table->code->map(walker, &checked, done);
}

int gmm_stage2_table_map_leaf(struct gmm_stage2_walker *walker,
			      const struct gmm_stage2_mapping *mapping, gmm_gfn_t gfn,
			      struct gmm_stage2_leaf *leaf)
{
	struct gmm_stage2_mapping checked;
	int error = check_mapping(walker->table, mapping, &checked);

	if (error)
		return error;
	if (gfn < mapping->gfn || gfn - mapping->gfn >= mapping->count)
		return -GMM_EINVAL;
	return walker->table->code->map_leaf(walker, &checked, gfn, leaf);
}

int gmm_stage2_table_populate(struct gmm_stage2_walker *walker,
			      const struct gmm_stage2_mapping *mapping, uint64_t *done)
{
	const struct gmm_stage2_table *table = walker->table;
	struct gmm_stage2_mapping rest;
	uint64_t made, ignored, tables;
	int error = check_mapping(table, mapping, &rest);

	if (!done)
		done = &ignored;
	*done = 0;
	while (!error && rest.count) {
		/* As many as are likely to be used, small leaves or not. */
		tables = (rest.count >> table->code->facts.index_bits >>
			  (rest.level_max ? table->code->facts.index_bits : 0)) +
			 table->levels;
		error = gmm_stage2_walker_top_up(walker, tables < GMM_STAGE2_STOCK_MAX ?
								 (uint32_t)tables :
								 GMM_STAGE2_STOCK_MAX);
		if (error)
			break;
		error = table->code->map(walker, &rest, &made);
		*done += made;
		rest.gfn += made;
		rest.pfn += made;
		rest.count -= made;
		/* The stock was used up; there is a new one. */
		if (error == -GMM_ENOMEM)
			error = 0;
	}
	gmm_stage2_stock_trim(walker, table->levels - 1);
	return error;
}

int gmm_stage2_table_touch(struct gmm_stage2_walker *walker, gmm_gfn_t gfn, uint32_t access,
			   uint32_t flags, struct gmm_stage2_leaf *leaf)
{
	int error = gmm_stage2_check_frames(walker->table, gfn, 1);

	if (error)
		return error;
	if (flags & ~GMM_STAGE2_TOUCH_SMALL)
		return -GMM_EINVAL;
	return walker->table->code->touch(walker, gfn, access, flags, leaf);
}

int gmm_stage2_table_look_up(struct gmm_stage2_walker *walker, gmm_gfn_t gfn,
			     struct gmm_stage2_leaf *leaf)
{
	int error = gmm_stage2_check_frames(walker->table, gfn, 1);

	return error ? error : walker->table->code->look_up(walker, gfn, leaf);
}

int gmm_stage2_table_walk(struct gmm_stage2_walker *walker, gmm_gfn_t gfn, uint64_t count,
			  gmm_stage2_leaf_visit_fn visit, void *context)
{
	int error = gmm_stage2_check_frames(walker->table, gfn, count);

	return error ? error : walker->table->code->walk(walker, gfn, count, visit, context);
}

/* Opens a change for a call that needs one. *own: it is to be ended. */
static int need_change(struct gmm_stage2_walker *walker, gmm_gfn_t gfn, uint64_t count, bool *own)
{
	int error = gmm_stage2_check_frames(walker->table, gfn, count);

	*own = false;
	if (error || gmm_stage2_has_change(walker, gfn, gfn + count - 1))
		return error;
	error = gmm_stage2_change_begin(walker, gfn, count);
	*own = !error;
	return error;
}

static void end_change(struct gmm_stage2_walker *walker, bool own)
{
	if (own)
		gmm_stage2_change_end(walker);
}

int gmm_stage2_table_replace(struct gmm_stage2_walker *walker, gmm_gfn_t gfn, gmm_pfn_t pfn,
			     uint32_t leaf)
{
	bool own;
	int answer;

	if (pfn >= walker->table->pfn_end || !(leaf & GMM_LEAF_READ))
		return -GMM_EINVAL;
	answer = need_change(walker, gfn, 1, &own);
	if (!answer)
		answer = walker->table->code->replace(walker, gfn, pfn, leaf);
	end_change(walker, own);
	return answer;
}

int64_t gmm_stage2_table_unmap(struct gmm_stage2_walker *walker, gmm_gfn_t gfn, uint64_t count,
			       uint64_t *dirty)
{
	bool own;
	int64_t answer = need_change(walker, gfn, count, &own);

	if (!answer)
		answer = walker->table->code->unmap(walker, gfn, count, dirty);
	end_change(walker, own);
	return answer;
}

int64_t gmm_stage2_table_write_protect(struct gmm_stage2_walker *walker, gmm_gfn_t gfn,
				       uint64_t count, const uint64_t *mask, uint64_t *dirty,
				       uint32_t flags)
{
	int64_t answer = gmm_stage2_check_frames(walker->table, gfn, count);

	if (answer)
		return answer;
	answer = walker->table->code->write_protect(walker, gfn, count, mask, dirty);
	if (!(flags & GMM_STAGE2_DEFER_FLUSH))
		gmm_stage2_flush_now(walker);
	return answer;
}

int64_t gmm_stage2_table_clean(struct gmm_stage2_walker *walker, gmm_gfn_t gfn, uint64_t count,
			       const uint64_t *mask, uint64_t *dirty, uint32_t flags)
{
	int64_t answer = gmm_stage2_check_frames(walker->table, gfn, count);

	if (answer)
		return answer;
	answer = walker->table->code->clean(walker, gfn, count, mask, dirty);
	if (!(flags & GMM_STAGE2_DEFER_FLUSH))
		gmm_stage2_flush_now(walker);
	return answer;
}

int64_t gmm_stage2_table_age(struct gmm_stage2_walker *walker, gmm_gfn_t gfn, uint64_t count,
			     uint64_t *young, uint32_t flags)
{
	struct gmm_stage2_range pending = walker->pending;
	int64_t answer = gmm_stage2_check_frames(walker->table, gfn, count);

	if (answer)
		return answer;
	answer = walker->table->code->age(walker, gfn, count, young);
	if (!(flags & GMM_STAGE2_AGE_FLUSH))
		walker->pending = pending;
	else if (!(flags & GMM_STAGE2_DEFER_FLUSH))
		gmm_stage2_flush_now(walker);
	return answer;
}

int64_t gmm_stage2_table_test_age(struct gmm_stage2_walker *walker, gmm_gfn_t gfn, uint64_t count,
				  uint64_t *young)
{
	int64_t answer = gmm_stage2_check_frames(walker->table, gfn, count);

	return answer ? answer : walker->table->code->test_age(walker, gfn, count, young);
}

int gmm_stage2_table_split(struct gmm_stage2_walker *walker, gmm_gfn_t gfn, uint64_t count,
			   uint32_t level, uint64_t *done)
{
	uint64_t ignored;
	int error = gmm_stage2_check_frames(walker->table, gfn, count);

	if (!done)
		done = &ignored;
	*done = 0;
	if (error)
		return error;
	if (level >= walker->table->levels || !(walker->table->leaf_levels >> level & 1))
		return -GMM_EINVAL;
	error = walker->table->code->split(walker, gfn, count, level, done);
	gmm_stage2_flush_now(walker);
	return error;
}

int64_t gmm_stage2_table_collapse(struct gmm_stage2_walker *walker, gmm_gfn_t gfn, uint64_t count,
				  uint32_t level_max)
{
	bool own;
	int64_t answer = need_change(walker, gfn, count, &own);

	if (!answer)
		answer = walker->table->code->collapse(walker, gfn, count, level_max);
	end_change(walker, own);
	return answer;
}
