/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Splitting and collapsing: a part of the template of table_template.h.
 */

/* Fills a table with the parts of a leaf of `level`. */
static void fill_parts(const struct gmm_stage2_table *table, uint64_t *entries, uint64_t old,
		       uint32_t level)
{
	uint64_t step = span_of(level - 1) * FORMAT_PFN_STEP, i;
	uint64_t value =
		entry_make(table, entry_pfn(old), level - 1, entry_leaf(old), entry_memory(old));

	for (i = 0; i < FORMAT_ENTRIES; i++)
		entries[i] = value + i * step;
}

static void count_split(struct gmm_stage2_walker *walker, uint32_t level)
{
	count_leaves(walker, level, (uint64_t)-1);
	count_leaves(walker, level - 1, FORMAT_ENTRIES);
	count_tables(walker, level - 1, 1);
}

/* In place; what a walker sets in the leaf meanwhile makes the exchange fail. In a section. */
static int split_leaf(struct gmm_stage2_walker *walker, struct place *place, uint64_t frame)
{
	struct gmm_stage2_table *table = walker->table;
	uint64_t *entries = gmm_stage2_stock_take(walker);
	uint64_t start = first_of(frame, place->level);

	if (!entries)
		return -GMM_ENOMEM;
	do {
		if (!place_is_leaf(place)) {
			table_put(walker, entries);
			return 0;
		}
		fill_parts(table, entries, place->seen, place->level);
	} while (!gmm_compare_exchange(place->entry, &place->seen, link_to(table, entries)));
	count_split(walker, place->level);
	gmm_stage2_note_flush(walker, start, start + span_of(place->level) - 1,
			      GMM_STAGE2_FLUSH_TABLES);
	return 0;
}

#define SPLIT_BATCH 16u

/* Leaves that are taken out, and the tables that come in their places. */
struct broken {
	uint64_t *entry;
	uint64_t *entries;
	uint64_t old;
};

/* Keeps others out of leaves side by side, or of the first one if it must be. How many. */
static int break_begin(struct gmm_stage2_walker *walker, uint64_t start, uint64_t span,
		       uint64_t *leaves)
{
	int error = gmm_stage2_remake_begin(walker, start, start + *leaves * span - 1, true);

	if (!error || *leaves == 1)
		return error;
	*leaves = 1;
	return gmm_stage2_remake_begin(walker, start, start + span - 1, true);
}

/*
 * By break-before-make: as many leaves side by side as one table has and the stock serves are taken
 * out, forgotten by all processors at once, and then replaced.
 */
static int split_broken(struct gmm_stage2_walker *walker, uint32_t level, uint64_t frame,
			uint64_t count)
{
	struct gmm_stage2_table *table = walker->table;
	uint64_t start = first_of(frame, level), span = span_of(level);
	uint64_t leaves = (rest_of(frame, level + 1, count) + (frame - start) + span - 1) / span, i;
	struct broken broken[SPLIT_BATCH];
	uint32_t found = 0;
	struct place place;
	int error;

	if (!walker->stocked)
		return -GMM_ENOMEM;
	if (leaves > SPLIT_BATCH)
		leaves = SPLIT_BATCH;
	if (leaves > walker->stocked)
		leaves = walker->stocked;
	error = break_begin(walker, start, span, &leaves);
	if (error)
		return error;
	for (i = 0; i < leaves; i++) {
		uint64_t first = start + i * span;

		place_find(table, first, level, &place);
		if (place.level != level || !place_is_leaf(&place))
			continue;
		broken[found].entry = place.entry;
		broken[found].entries = gmm_stage2_stock_take(walker);
		broken[found++].old = gmm_exchange(place.entry, FORMAT_ABSENT(table, level));
		gmm_stage2_note_flush(walker, first, first + span - 1, GMM_STAGE2_FLUSH_TABLES);
	}
	if (found)
		gmm_stage2_flush_pending(walker);
	for (i = 0; i < found; i++) {
		fill_parts(table, broken[i].entries, broken[i].old, level);
		gmm_store_release(broken[i].entry, link_to(table, broken[i].entries));
		count_split(walker, level);
	}
	gmm_stage2_remake_end(walker);
	return 0;
}

static int split(struct gmm_stage2_walker *walker, uint64_t gfn, uint64_t count, uint32_t level,
		 uint64_t *done)
{
	int error = 0;

	*done = 0;
	while (*done < count && !error) {
		uint64_t frame = gfn + *done;
		struct place place;
		bool large;

		error = gmm_stage2_enter(walker, frame, frame, GMM_STAGE2_INSTALLS);
		if (error)
			break;
		place_find(walker->table, frame, level, &place);
		large = place.level > level && place_is_leaf(&place);
		if (large && !FORMAT_BREAKS)
			error = split_leaf(walker, &place, frame);
		gmm_stage2_leave(walker);
		if (large && FORMAT_BREAKS)
			error = split_broken(walker, place.level, frame, count - *done);
		if (!large)
			*done += rest_of(frame, place.level > level ? place.level : level + 1,
					 count - *done);
	}
	return error;
}

/*
 * Whether the entries of a table are the parts of one leaf of `level`, and which: young, dirty and
 * protected if any part is.
 */
static bool parts_of_leaf(const struct gmm_stage2_table *table, const uint64_t *entries,
			  uint32_t level, uint64_t *leaf)
{
	const uint32_t any = GMM_LEAF_YOUNG | GMM_LEAF_DIRTY | GMM_LEAF_PROTECTED;
	uint64_t first = gmm_load_relaxed(&entries[0]), i;
	uint32_t bits, all;

	if (!entry_is_leaf(first, level - 1) || (entry_pfn(first) & (span_of(level) - 1)))
		return false;
	all = bits = entry_leaf(first);
	for (i = 1; i < FORMAT_ENTRIES; i++) {
		uint64_t entry = gmm_load_relaxed(&entries[i]);

		if (!entry_is_leaf(entry, level - 1) ||
		    entry_pfn(entry) != entry_pfn(first) + i * span_of(level - 1) ||
		    entry_memory(entry) != entry_memory(first) ||
		    ((entry_leaf(entry) ^ bits) & ~any))
			return false;
		all |= entry_leaf(entry);
	}
	*leaf = entry_make(table, entry_pfn(first), level, all, entry_memory(first));
	return true;
}

/*
 * In a remake of the frames: the table is unlinked and forgotten, so that no processor sets bits in
 * it any more, and only then read.
 */
static bool collapse_table(struct gmm_stage2_walker *walker, struct place *place, uint64_t start)
{
	struct gmm_stage2_table *table = walker->table;
	uint64_t *entries = entries_of(table, place->seen), leaf = 0;
	uint32_t level = place->level;

	if (!parts_of_leaf(table, entries, level, &leaf))
		return false;
	gmm_exchange(place->entry, FORMAT_ABSENT(table, level));
	gmm_stage2_note_flush(walker, start, start + span_of(level) - 1, GMM_STAGE2_FLUSH_TABLES);
	gmm_stage2_flush_pending(walker);
	if (!parts_of_leaf(table, entries, level, &leaf)) {
		gmm_assert(false); /* nobody else could change them */
		gmm_store_release(place->entry, link_to(table, entries));
		return false;
	}
	gmm_store_release(place->entry, leaf);
	count_leaves(walker, level, 1);
	count_leaves(walker, level - 1, -(uint64_t)FORMAT_ENTRIES);
	count_tables(walker, level - 1, (uint64_t)-1);
	gmm_stage2_detach(walker, entries);
	return true;
}

/* Whether it is worth the while to keep others out. */
static bool may_collapse(struct gmm_stage2_walker *walker, uint64_t start, uint32_t level)
{
	struct gmm_stage2_table *table = walker->table;
	struct place place;
	uint64_t leaf;
	bool may;

	(void)gmm_stage2_enter(walker, start, start + span_of(level) - 1, GMM_STAGE2_WAITS);
	place_find(table, start, level, &place);
	may = place.level == level && entry_is_table(table, place.seen, level) &&
	      parts_of_leaf(table, entries_of(table, place.seen), level, &leaf);
	gmm_stage2_leave(walker);
	return may;
}

static int64_t collapse(struct gmm_stage2_walker *walker, uint64_t gfn, uint64_t count,
			uint32_t level_max)
{
	struct gmm_stage2_table *table = walker->table;
	uint64_t end = gfn + count;
	int64_t made = 0;
	uint32_t level;

	for (level = 1; level <= level_max && (table->leaf_levels >> level & 1); level++) {
		uint64_t span = span_of(level), start = first_of(gfn + span - 1, level);

		for (; start < end && end - start >= span; start += span) {
			struct place place;
			uint32_t turn = 0;

			if (!may_collapse(walker, start, level))
				continue;
			while (gmm_stage2_remake_begin(walker, start, start + span - 1, false))
				gmm_cpu_relax(turn++);
			place_find(table, start, level, &place);
			if (place.level == level && entry_is_table(table, place.seen, level))
				made += collapse_table(walker, &place, start);
			gmm_stage2_remake_end(walker);
		}
	}
	return made;
}
