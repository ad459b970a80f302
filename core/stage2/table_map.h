/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Installing: a part of the template of table_template.h. In sections, by compare-and-exchange; a
 * table is filled before it is linked (L9).
 */

/* Whether a leaf of this level may be made at `start`, its first frame. */
static inline bool leaf_fits(const struct gmm_stage2_table *table,
			     const struct gmm_stage2_mapping *mapping, uint64_t start,
			     uint32_t level)
{
	uint64_t span = span_of(level);

	return level <= mapping->level_max && (table->leaf_levels >> level & 1) &&
	       start >= mapping->gfn && start - mapping->gfn <= mapping->count - 1 &&
	       mapping->count - (start - mapping->gfn) >= span && !(start & (span - 1)) &&
	       !((mapping->pfn + (start - mapping->gfn)) & (span - 1));
}

/* Links an empty table below an absent entry; 0 also when somebody else just has. */
static int link_empty(struct gmm_stage2_walker *walker, struct place *place)
{
	struct gmm_stage2_table *table = walker->table;
	uint64_t *entries = table_take(walker, place->level - 1);

	if (!entries)
		return -GMM_ENOMEM;
	if (gmm_compare_exchange(place->entry, &place->seen, link_to(table, entries)))
		count_tables(walker, place->level - 1, 1);
	else
		table_put(walker, entries);
	return 0;
}

/* The same for entries of level 0, filled with a mapping's before anybody can see them. */
static int link_filled(struct gmm_stage2_walker *walker, const struct gmm_stage2_mapping *mapping,
		       struct place *place, uint64_t *at)
{
	struct gmm_stage2_table *table = walker->table;
	uint64_t frame = mapping->gfn + *at, run = rest_of(frame, 1, mapping->count - *at), i;
	uint64_t *entries = table_take(walker, 0);
	uint64_t value = entry_make(table, mapping->pfn + *at, 0, mapping->leaf, mapping->memory);
	uint64_t *to;

	if (!entries)
		return -GMM_ENOMEM;
	to = entries + (frame & (FORMAT_ENTRIES - 1));
	for (i = 0; i < run; i++)
		to[i] = value + i * FORMAT_PFN_STEP;
	if (!gmm_compare_exchange(place->entry, &place->seen, link_to(table, entries))) {
		table_put(walker, entries);
		return 0;
	}
	count_tables(walker, 0, 1);
	count_leaves(walker, 0, run);
	*at += run;
	return 0;
}

/*
 * Gives a leaf what it lacks. 0, or 1: it is no leaf any more, look again. `whole`: the mapping
 * has all of its frames.
 */
static int leaf_widen(const struct gmm_stage2_table *table,
		      const struct gmm_stage2_mapping *mapping, struct place *place, uint64_t pfn,
		      bool whole, bool *changed)
{
	const uint32_t rights = GMM_LEAF_READ | GMM_LEAF_WRITE | GMM_LEAF_EXEC;

	for (;;) {
		uint32_t have, want;
		uint64_t next;

		if (!place_is_leaf(place))
			return 1;
		if (entry_pfn(place->seen) != pfn)
			return -GMM_EEXIST;
		have = entry_leaf(place->seen);
		want = have | (mapping->leaf & ~GMM_LEAF_PROTECTED);
		if (mapping->leaf & GMM_LEAF_WRITE & ~have)
			want |= mapping->leaf & GMM_LEAF_PROTECTED;
		else if ((mapping->leaf & (GMM_LEAF_WRITE | GMM_LEAF_PROTECTED)) == GMM_LEAF_WRITE)
			want &= ~GMM_LEAF_PROTECTED;
		next = entry_with(table, place->seen, place->level, want);
		if (next == place->seen)
			return 0;
		if (!whole && ((want ^ have) & (rights | GMM_LEAF_PROTECTED)))
			return -GMM_EXDEV;
		if (gmm_compare_exchange(place->entry, &place->seen, next)) {
			place->seen = next;
			*changed = true;
			return 0;
		}
	}
}

/* Entries of level 0 in a table that others may use. */
static int map_small(struct gmm_stage2_walker *walker, const struct gmm_stage2_mapping *mapping,
		     uint64_t *entries, uint64_t *at)
{
	struct gmm_stage2_table *table = walker->table;
	uint64_t frame = mapping->gfn + *at, run = rest_of(frame, 1, mapping->count - *at);
	uint64_t value = entry_make(table, mapping->pfn + *at, 0, mapping->leaf, mapping->memory);
	uint64_t made = 0, i;
	int error = 0;

	for (i = 0; i < run; i++, value += FORMAT_PFN_STEP) {
		struct place place = { .entry = &entries[i] };
		bool changed;

		if (gmm_likely(gmm_compare_exchange(place.entry, &place.seen, value))) {
			made++;
			continue;
		}
		error = leaf_widen(table, mapping, &place, mapping->pfn + *at + i, true, &changed);
		if (error)
			break;
	}
	count_leaves(walker, 0, made);
	*at += i;
	return error > 0 ? 0 : error;
}

/* A leaf above level 0 that is there already. */
static int map_over(struct gmm_stage2_walker *walker, const struct gmm_stage2_mapping *mapping,
		    struct place *place, uint64_t *at)
{
	uint64_t frame = mapping->gfn + *at, start = first_of(frame, place->level);
	uint64_t span = span_of(place->level);
	bool whole = start >= mapping->gfn && mapping->count - (start - mapping->gfn) >= span;
	bool changed;
	int error = leaf_widen(walker->table, mapping, place, mapping->pfn + *at - (frame - start),
			       whole, &changed);

	if (!error)
		*at += rest_of(frame, place->level, mapping->count - *at);
	return error > 0 ? 0 : error;
}

/* Maps what one leaf or one table holds, or makes a step towards it. */
static int map_step(struct gmm_stage2_walker *walker, const struct gmm_stage2_mapping *mapping,
		    uint64_t *at)
{
	struct gmm_stage2_table *table = walker->table;
	uint64_t frame = mapping->gfn + *at;
	struct place place;

	place_find(table, frame, 0, &place);
	if (!place.level)
		return map_small(walker, mapping, place.entry, at);
	if (place_is_leaf(&place))
		return map_over(walker, mapping, &place, at);
	/* Absent: the largest leaf whose place this is, or a table. */
	if (leaf_fits(table, mapping, frame, place.level)) {
		if (gmm_compare_exchange(place.entry, &place.seen,
					 entry_make(table, mapping->pfn + *at, place.level,
						    mapping->leaf, mapping->memory))) {
			count_leaves(walker, place.level, 1);
			*at += span_of(place.level);
		}
		return 0;
	}
	if (place.level == 1)
		return link_filled(walker, mapping, &place, at);
	return link_empty(walker, &place);
}

static inline bool overtaken(const struct gmm_stage2_walker *walker)
{
	return gmm_load_relaxed(&walker->watches) &&
	       gmm_unlikely(gmm_load_acquire(&walker->overtaken));
}

/* Frames that an installation at `frame` may concern. */
static inline struct gmm_stage2_range install_range(const struct gmm_stage2_mapping *mapping,
						    uint64_t frame)
{
	uint32_t level = mapping->level_max + 1;
	uint64_t end = mapping->gfn + mapping->count - 1;
	struct gmm_stage2_range range = { first_of(frame, level),
					  first_of(frame, level) + span_of(level) - 1, true };

	if (range.first < mapping->gfn)
		range.first = mapping->gfn;
	if (range.last > end)
		range.last = end;
	return range;
}

static int map(struct gmm_stage2_walker *walker, const struct gmm_stage2_mapping *mapping,
	       uint64_t *done)
{
	int error = 0;

	*done = 0;
	while (*done < mapping->count && !error) {
		uint64_t frame = mapping->gfn + *done;

		error = gmm_stage2_enter(walker, frame, install_range(mapping, frame).last,
					 GMM_STAGE2_INSTALLS);
		if (error)
			break;
		error = overtaken(walker) ? -GMM_EAGAIN : map_step(walker, mapping, done);
		gmm_stage2_leave(walker);
	}
	return error;
}

/* One leaf with the frame. 1: look again. */
static int map_leaf_step(struct gmm_stage2_walker *walker, const struct gmm_stage2_mapping *mapping,
			 uint64_t frame, struct gmm_stage2_leaf *leaf)
{
	struct gmm_stage2_table *table = walker->table;
	struct place place;
	uint64_t start, pfn;
	bool changed = false;
	int error;

	place_find(table, frame, 0, &place);
	start = first_of(frame, place.level);
	pfn = mapping->pfn + (start - mapping->gfn);
	if (place_is_leaf(&place)) {
		error = leaf_widen(table, mapping, &place, pfn,
				   start >= mapping->gfn && start - mapping->gfn < mapping->count &&
					   mapping->count - (start - mapping->gfn) >=
						   span_of(place.level),
				   &changed);
		if (error)
			return error;
		describe(leaf, frame, &place);
		leaf->flags = changed ? GMM_STAGE2_CHANGED : 0;
		if (table->code->facts.facts & GMM_STAGE2_FLUSHES_AFTER_PERMIT)
			leaf->flags |= GMM_STAGE2_FLUSH_HERE;
		return 0;
	}
	if (place.level && !leaf_fits(table, mapping, start, place.level)) {
		error = link_empty(walker, &place);
		return error ? error : 1;
	}
	start = entry_make(table, pfn, place.level, mapping->leaf, mapping->memory);
	if (!gmm_compare_exchange(place.entry, &place.seen, start))
		return 1;
	count_leaves(walker, place.level, 1);
	place.seen = start;
	describe(leaf, frame, &place);
	leaf->flags = GMM_STAGE2_CHANGED;
	if (table->code->facts.facts & GMM_STAGE2_FLUSHES_AFTER_MAP)
		leaf->flags |= GMM_STAGE2_FLUSH_HERE;
	return 0;
}

static int map_leaf(struct gmm_stage2_walker *walker, const struct gmm_stage2_mapping *mapping,
		    uint64_t frame, struct gmm_stage2_leaf *leaf)
{
	struct gmm_stage2_range range = install_range(mapping, frame);
	int error;

	do {
		error = gmm_stage2_enter(walker, range.first, range.last, GMM_STAGE2_INSTALLS);
		if (error)
			return error;
		error = overtaken(walker) ? -GMM_EAGAIN :
					    map_leaf_step(walker, mapping, frame, leaf);
		gmm_stage2_leave(walker);
	} while (error > 0);
	return error;
}
