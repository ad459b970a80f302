/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Taking away, in a change of the frames: a part of the template of table_template.h.
 */

static inline void tell_dirty(uint64_t *dirty, uint64_t at, uint64_t count)
{
	uint64_t bits, end = at + count;

	for (; dirty && at < end; at += bits) {
		bits = bits_in_word(at, end - at);
		dirty[at / 64] |= mask_bits(NULL, at, bits) << (at % 64);
	}
}

/* A run of entries of level 0; how many were there. */
static uint64_t zap_small(struct gmm_stage2_walker *walker, uint64_t *entries, uint64_t gfn,
			  uint64_t at, uint64_t run, uint64_t *dirty)
{
	uint64_t gone = 0, first = 0, last = 0, i;

	for (i = 0; i < run; i++) {
		uint64_t old;

		if (!gmm_load_relaxed(&entries[i]))
			continue;
		old = gmm_exchange(&entries[i], (uint64_t)0);
		if (!entry_is_leaf(old, 0))
			continue;
		if (!gone++)
			first = gfn + at + i;
		last = gfn + at + i;
		if (entry_is_dirty(old))
			tell_dirty(dirty, at + i, 1);
	}
	if (gone)
		gmm_stage2_note_flush(walker, first, last, 0);
	count_leaves(walker, 0, -gone);
	return gone;
}

/*
 * A leaf above level 0; how many frames went: 0 when somebody else has split it or taken it away.
 * Splitting is kept out of the frames of the change only, and those may be a part.
 */
static uint64_t zap_large(struct gmm_stage2_walker *walker, struct place *place, uint64_t gfn,
			  uint64_t at, uint64_t run, uint64_t *dirty)
{
	uint64_t start = first_of(gfn + at, place->level), span = span_of(place->level);

	do {
		if (!place_is_leaf(place))
			return 0;
	} while (!gmm_compare_exchange(place->entry, &place->seen,
				       FORMAT_ABSENT(walker->table, place->level)));
	if (entry_is_dirty(place->seen))
		tell_dirty(dirty, at, run);
	gmm_stage2_note_flush(walker, start, start + span - 1, 0);
	count_leaves(walker, place->level, (uint64_t)-1);
	return span;
}

/*
 * A leaf that reaches out of the range, in a format that may not map a smaller one there before the
 * flush: others are kept out of all of it.
 */
static uint64_t zap_reaching_out(struct gmm_stage2_walker *walker, uint32_t level, uint64_t gfn,
				 uint64_t at, uint64_t run, uint64_t *dirty)
{
	uint64_t start = first_of(gfn + at, level), gone = 0;
	struct place place;
	uint32_t turn = 0;

	while (gmm_stage2_remake_begin(walker, start, start + span_of(level) - 1, false))
		gmm_cpu_relax(turn++);
	place_find(walker->table, gfn + at, level, &place);
	if (place.level == level && place_is_leaf(&place))
		gone = zap_large(walker, &place, gfn, at, run, dirty);
	gmm_stage2_flush_pending(walker);
	gmm_stage2_remake_end(walker);
	return gone;
}

/*
 * All frames from `gfn` to before `end` are gone: unlinks the tables that end there and have no
 * other frames.
 */
static void detach_before(struct gmm_stage2_walker *walker, uint64_t gfn, uint64_t end)
{
	struct gmm_stage2_table *table = walker->table;
	uint32_t level;

	/* `level` is that of the entry which links to the table. */
	for (level = 1; level < table->levels; level++) {
		uint64_t span = span_of(level), *entries = NULL;
		struct place place;

		if ((end & (span - 1)) || end - gfn < span)
			return;
		(void)gmm_stage2_enter(walker, end - span, end - 1, GMM_STAGE2_WAITS);
		place_find(table, end - 1, level, &place);
		if (place.level == level && entry_is_table(table, place.seen, level)) {
			/* Of two who both have a change here, one gets it. */
			if (gmm_compare_exchange(place.entry, &place.seen,
						 FORMAT_ABSENT(table, level)))
				entries = entries_of(table, place.seen);
		}
		gmm_stage2_leave(walker);
		if (!entries)
			continue;
		count_tables(walker, level - 1, (uint64_t)-1);
		gmm_stage2_note_flush(walker, end - span, end - 1, GMM_STAGE2_FLUSH_TABLES);
		gmm_stage2_detach(walker, entries);
	}
}

static int64_t unmap(struct gmm_stage2_walker *walker, uint64_t gfn, uint64_t count,
		     uint64_t *dirty)
{
	uint64_t at = 0, gone = 0;

	while (at < count) {
		uint64_t frame = gfn + at, run, start, step = 0;
		bool large, reaches_out;
		struct place place;

		(void)gmm_stage2_enter(walker, frame, last_of_run(frame, count - at),
				       GMM_STAGE2_WAITS);
		place_find(walker->table, frame, 0, &place);
		run = rest_of(frame, place.level ? place.level : 1, count - at);
		start = first_of(frame, place.level);
		large = place.level && place_is_leaf(&place);
		reaches_out = large && FORMAT_BREAKS &&
			      (start < gfn || start + span_of(place.level) > gfn + count);
		if (!place.level)
			gone += zap_small(walker, place.entry, gfn, at, run, dirty);
		else if (large && !reaches_out)
			step = zap_large(walker, &place, gfn, at, run, dirty);
		gmm_stage2_leave(walker);
		if (reaches_out)
			step = zap_reaching_out(walker, place.level, gfn, at, run, dirty);
		gone += step;
		/* It was large, and is something else by now. */
		if (large && !step)
			continue;
		at += run;
		detach_before(walker, gfn, gfn + at);
	}
	return (int64_t)gone;
}

/* The entry of a frame with another page frame; never with more than `leaf`. */
static inline uint64_t replaced(const struct gmm_stage2_table *table, uint64_t old, uint64_t pfn,
				uint32_t leaf)
{
	uint32_t rights = GMM_LEAF_READ | GMM_LEAF_WRITE | GMM_LEAF_EXEC;
	uint32_t have = entry_leaf(old);

	have &= ~(rights & ~leaf);
	if (!(have & GMM_LEAF_WRITE))
		have &= ~GMM_LEAF_PROTECTED;
	return entry_make(table, pfn, 0, have, entry_memory(old));
}

/* By break-before-make: nobody else sees the entry broken. */
static int replace_broken(struct gmm_stage2_walker *walker, uint64_t frame, uint64_t pfn,
			  uint32_t leaf)
{
	struct gmm_stage2_table *table = walker->table;
	struct place place;
	uint32_t turn = 0;
	uint64_t old;
	int answer = -GMM_ENOENT;

	while (gmm_stage2_remake_begin(walker, frame, frame, false))
		gmm_cpu_relax(turn++);
	place_find(table, frame, 0, &place);
	if (place_is_leaf(&place) && place.level) {
		answer = -GMM_EXDEV;
	} else if (place_is_leaf(&place)) {
		old = gmm_exchange(place.entry, (uint64_t)0);
		gmm_stage2_note_flush(walker, frame, frame, 0);
		gmm_stage2_flush_pending(walker);
		answer = entry_is_dirty(old);
		gmm_store_release(place.entry, replaced(table, old, pfn, leaf));
	}
	gmm_stage2_remake_end(walker);
	return answer;
}

static int replace(struct gmm_stage2_walker *walker, uint64_t frame, uint64_t pfn, uint32_t leaf)
{
	struct place place;
	int answer = -GMM_ENOENT;

	if (FORMAT_BREAKS)
		return replace_broken(walker, frame, pfn, leaf);
	(void)gmm_stage2_enter(walker, frame, frame, GMM_STAGE2_WAITS);
	place_find(walker->table, frame, 0, &place);
	while (place_is_leaf(&place)) {
		answer = -GMM_EXDEV;
		if (place.level)
			break;
		answer = entry_is_dirty(place.seen);
		if (gmm_compare_exchange(place.entry, &place.seen,
					 replaced(walker->table, place.seen, pfn, leaf))) {
			gmm_stage2_note_flush(walker, frame, frame, 0);
			break;
		}
		answer = -GMM_ENOENT;
	}
	gmm_stage2_leave(walker);
	return answer;
}
