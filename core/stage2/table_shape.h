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

#define BREAK_BATCH 16u

/* An entry that is taken out: its table, which comes or goes, and the leaf. */
struct broken {
	uint64_t *entry;
	uint64_t *entries;
	uint64_t leaf;
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
	struct broken broken[BREAK_BATCH];
	uint32_t found = 0;
	struct place place;
	int error;

	if (!walker->stocked)
		return -GMM_ENOMEM;
	if (leaves > BREAK_BATCH)
		leaves = BREAK_BATCH;
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
		broken[found++].leaf = gmm_exchange(place.entry, FORMAT_ABSENT(table, level));
		gmm_stage2_note_flush(walker, first, first + span - 1, GMM_STAGE2_FLUSH_TABLES);
	}
	if (found)
		gmm_stage2_flush_pending(walker);
	for (i = 0; i < found; i++) {
		fill_parts(table, broken[i].entries, broken[i].leaf, level);
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

/* In a remake of the frames: unlinks the table if it is the parts of a leaf. */
static bool collapse_break(struct gmm_stage2_walker *walker, uint64_t start, uint32_t level,
			   struct broken *broken)
{
	struct gmm_stage2_table *table = walker->table;
	struct place place;

	place_find(table, start, level, &place);
	if (place.level != level || !entry_is_table(table, place.seen, level))
		return false;
	broken->entry = place.entry;
	broken->entries = entries_of(table, place.seen);
	if (!parts_of_leaf(table, broken->entries, level, &broken->leaf))
		return false;
	gmm_exchange(place.entry, FORMAT_ABSENT(table, level));
	gmm_stage2_note_flush(walker, start, start + span_of(level) - 1, GMM_STAGE2_FLUSH_TABLES);
	return true;
}

/* It is forgotten, so no processor sets bits in its entries any more: only now are they read. */
static void collapse_make(struct gmm_stage2_walker *walker, uint32_t level, struct broken *broken)
{
	struct gmm_stage2_table *table = walker->table;
	bool same = parts_of_leaf(table, broken->entries, level, &broken->leaf);

	gmm_assert(same); /* nobody else could change them */
	(void)same;
	gmm_store_release(broken->entry, broken->leaf);
	count_leaves(walker, level, 1);
	count_leaves(walker, level - 1, -(uint64_t)FORMAT_ENTRIES);
	count_tables(walker, level - 1, (uint64_t)-1);
	gmm_stage2_detach(walker, broken->entries);
}

/* Up to BREAK_BATCH tables side by side, with one flush. Answers how many leaves it made. */
static uint32_t collapse_tables(struct gmm_stage2_walker *walker, uint32_t level, uint64_t start,
				uint64_t tables)
{
	struct broken broken[BREAK_BATCH];
	uint64_t span = span_of(level), i;
	uint32_t found = 0, turn = 0;

	while (gmm_stage2_remake_begin(walker, start, start + tables * span - 1, false))
		gmm_cpu_relax(turn++);
	for (i = 0; i < tables; i++)
		found += collapse_break(walker, start + i * span, level, &broken[found]);
	if (found)
		gmm_stage2_flush_pending(walker);
	for (i = 0; i < found; i++)
		collapse_make(walker, level, &broken[i]);
	gmm_stage2_remake_end(walker);
	return found;
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
	uint64_t end = gfn + count, span, start, tables, i;
	int64_t made = 0;
	uint32_t level;

	for (level = 1; level <= level_max && (walker->table->leaf_levels >> level & 1); level++) {
		span = span_of(level);
		start = first_of(gfn + span - 1, level);
		for (; start < end && end - start >= span; start += tables * span) {
			tables = (end - start) / span;
			if (tables > BREAK_BATCH)
				tables = BREAK_BATCH;
			for (i = 0; i < tables; i++)
				if (may_collapse(walker, start + i * span, level))
					break;
			/* Nobody is kept out of what is before the first one. */
			if (i < tables)
				made += collapse_tables(walker, level, start + i * span,
							tables - i);
		}
	}
	return made;
}
