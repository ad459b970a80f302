/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Ways through a table: a part of the template of table_template.h.
 */

#ifndef FORMAT_ABSENT
#define FORMAT_ABSENT(table, level) ((uint64_t)0)
#endif
#ifndef FORMAT_BREAKS
#define FORMAT_BREAKS 0
#endif
#ifndef FORMAT_FILL_ABSENT
#define FORMAT_FILL_ABSENT NULL
#endif

#define FORMAT_PAGE_SHIFT (FORMAT_INDEX_BITS + 3u)
#define FORMAT_ENTRIES (1u << FORMAT_INDEX_BITS)

/* An entry, what it was, and its level. */
struct place {
	uint64_t *entry;
	uint64_t seen;
	uint32_t level;
};

/* Frames that an entry of a level stands for. */
static inline uint64_t span_of(uint32_t level)
{
	return (uint64_t)1 << (level * FORMAT_INDEX_BITS);
}

static inline uint64_t first_of(uint64_t frame, uint32_t level)
{
	return frame & ~(span_of(level) - 1);
}

/* Frames from this one to the end of its entry of a level, at most `count`. */
static inline uint64_t rest_of(uint64_t frame, uint32_t level, uint64_t count)
{
	uint64_t rest = span_of(level) - (frame & (span_of(level) - 1));

	return rest < count ? rest : count;
}

static inline uint64_t entry_pfn(uint64_t entry)
{
	return entry_address(entry) >> FORMAT_PAGE_SHIFT;
}

static inline uint64_t *entries_of(const struct gmm_stage2_table *table, uint64_t link)
{
	return (uint64_t *)(uintptr_t)(entry_address(link) - table->config.physical_offset);
}

static inline uint64_t link_to(const struct gmm_stage2_table *table, const uint64_t *entries)
{
	return entry_link((uint64_t)(uintptr_t)entries + table->config.physical_offset);
}

static inline void place_below(const struct gmm_stage2_table *table, struct place *place,
			       uint64_t frame)
{
	place->level--;
	place->entry = entries_of(table, place->seen) +
		       (frame >> (place->level * FORMAT_INDEX_BITS) & (FORMAT_ENTRIES - 1));
}

static inline void place_at_root(const struct gmm_stage2_table *table, struct place *place,
				 uint64_t frame)
{
	place->level = table->levels - 1;
	place->entry = table->root + (frame >> (place->level * FORMAT_INDEX_BITS));
}

/* The entry of a frame at `level`, or above where there is no table. In a section. */
static inline void place_find(const struct gmm_stage2_table *table, uint64_t frame, uint32_t level,
			      struct place *place)
{
	place_at_root(table, place, frame);
	for (;;) {
		place->seen = gmm_load_acquire(place->entry);
		if (place->level == level || !entry_is_table(table, place->seen, place->level))
			return;
		place_below(table, place, frame);
	}
}

static inline bool place_is_leaf(const struct place *place)
{
	return entry_is_leaf(place->seen, place->level);
}

/* The last frame of a call's frames that lies in one table of level-0 entries with the first. */
static inline uint64_t last_of_run(uint64_t frame, uint64_t count)
{
	return frame + rest_of(frame, 1, count) - 1;
}

static inline void count_leaves(struct gmm_stage2_walker *walker, uint32_t level, uint64_t more)
{
	gmm_stage2_count(&walker->counted.leaves[level], more);
}

static inline void count_tables(struct gmm_stage2_walker *walker, uint32_t level, uint64_t more)
{
	gmm_stage2_count(&walker->counted.tables[level], more);
}

static void describe(struct gmm_stage2_leaf *leaf, uint64_t frame, const struct place *place)
{
	*leaf = (struct gmm_stage2_leaf){
		.gfn = first_of(frame, place->level),
		.count = span_of(place->level),
		.entry = place->seen,
		.level = place->level,
	};
	if (!place_is_leaf(place)) {
		leaf->pfn = GMM_PFN_NONE;
		return;
	}
	leaf->pfn = entry_pfn(place->seen);
	leaf->leaf = entry_leaf(place->seen);
	leaf->memory = entry_memory(place->seen);
}

/* The entry with these GMM_LEAF_* instead of its own. */
static inline uint64_t entry_with(const struct gmm_stage2_table *table, uint64_t entry,
				  uint32_t level, uint32_t leaf)
{
	return entry_make(table, entry_pfn(entry), level, leaf, entry_memory(entry));
}

/* An empty table of entries of a level, linked nowhere; NULL: the stock is used up. */
static uint64_t *table_take(struct gmm_stage2_walker *walker, uint32_t level)
{
	uint64_t *entries = gmm_stage2_stock_take(walker);
	const struct gmm_stage2_table *table = walker->table;

	if (entries && level && table->code->fill_absent)
		table->code->fill_absent(table, entries, FORMAT_ENTRIES, level);
	return entries;
}

/* The same back: somebody else was faster. */
static void table_put(struct gmm_stage2_walker *walker, uint64_t *entries)
{
	gmm_memset(entries, 0, FORMAT_ENTRIES * sizeof(uint64_t));
	gmm_stage2_stock_put(walker, entries);
}
