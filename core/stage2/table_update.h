/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Looking, and changing bits of leaves: a part of the template of table_template.h. Every change is
 * a compare-and-exchange, so what a processor sets meanwhile is seen and kept.
 */

static int look_up(struct gmm_stage2_walker *walker, uint64_t frame, struct gmm_stage2_leaf *leaf)
{
	struct place place;
	int error = gmm_stage2_enter(walker, frame, frame, GMM_STAGE2_TRIES);

	if (error)
		return error;
	place_find(walker->table, frame, 0, &place);
	gmm_stage2_leave(walker);
	describe(leaf, frame, &place);
	return place_is_leaf(&place) ? 0 : -GMM_ENOENT;
}

/* The fast path. 1: the entry has become something else. */
static int touch_leaf(const struct gmm_stage2_table *table, struct place *place, uint32_t access,
		      uint32_t flags, bool *changed)
{
	uint32_t have, want;
	uint64_t next;

	for (;;) {
		if (!place_is_leaf(place))
			return 1;
		have = entry_leaf(place->seen);
		if (access & GMM_LEAF_WRITE & ~have)
			return -GMM_EROFS;
		if (access & ~have & (GMM_LEAF_READ | GMM_LEAF_EXEC))
			return -GMM_EFAULT;
		want = have | GMM_LEAF_YOUNG;
		if (access & GMM_LEAF_WRITE)
			want = (want | GMM_LEAF_DIRTY) & ~GMM_LEAF_PROTECTED;
		if ((flags & GMM_STAGE2_TOUCH_SMALL) && place->level &&
		    ((want ^ have) & (GMM_LEAF_DIRTY | GMM_LEAF_PROTECTED)))
			return -GMM_EXDEV;
		next = entry_with(table, place->seen, place->level, want);
		if (next == place->seen)
			return 0;
		if (gmm_compare_exchange(place->entry, &place->seen, next)) {
			place->seen = next;
			*changed = true;
			return 0;
		}
	}
}

static int touch(struct gmm_stage2_walker *walker, uint64_t frame, uint32_t access, uint32_t flags,
		 struct gmm_stage2_leaf *leaf)
{
	const struct gmm_stage2_table *table = walker->table;
	bool changed = false;
	struct place place;
	int error = gmm_stage2_enter(walker, frame, frame, GMM_STAGE2_TRIES);

	if (error)
		return error;
	do {
		place_find(table, frame, 0, &place);
		error = -GMM_ENOENT;
		if (place_is_leaf(&place))
			error = touch_leaf(table, &place, access, flags, &changed);
	} while (error > 0);
	gmm_stage2_leave(walker);
	describe(leaf, frame, &place);
	if (changed)
		leaf->flags |= GMM_STAGE2_CHANGED;
	/* Also when nothing changed: the vCPU faulted on what it remembers. */
	if (!error && (table->code->facts.facts & GMM_STAGE2_FLUSHES_AFTER_PERMIT))
		leaf->flags |= GMM_STAGE2_FLUSH_HERE;
	return error;
}

static int walk(struct gmm_stage2_walker *walker, uint64_t gfn, uint64_t count,
		gmm_stage2_leaf_visit_fn visit, void *context)
{
	const struct gmm_stage2_table *table = walker->table;
	int answer = 0;

	while (count && !answer) {
		uint64_t run, i;
		struct gmm_stage2_leaf leaf;
		struct place place;

		(void)gmm_stage2_enter(walker, gfn, last_of_run(gfn, count), GMM_STAGE2_WAITS);
		place_find(table, gfn, 0, &place);
		run = rest_of(gfn, place.level ? place.level : 1, count);
		if (place.level && place_is_leaf(&place)) {
			describe(&leaf, gfn, &place);
			answer = visit(context, &leaf);
		}
		for (i = 0; !place.level && i < run && !answer; i++) {
			place.seen = gmm_load_relaxed(place.entry + i);
			if (!place_is_leaf(&place))
				continue;
			describe(&leaf, gfn + i, &place);
			answer = visit(context, &leaf);
		}
		gmm_stage2_leave(walker);
		gfn += run;
		count -= run;
	}
	return answer;
}

enum update {
	UPDATE_PROTECT,
	UPDATE_CLEAN,
	UPDATE_AGE,
	UPDATE_TEST_AGE,
};

#define UPDATE_FOUND 1u
#define UPDATE_CHANGED 2u

/* Whether a leaf of this value is told or changed: the test that most entries of a long range fail. */
GMM_INLINE bool update_concerns(uint64_t entry, const enum update update)
{
	switch (update) {
	case UPDATE_PROTECT:
		return entry_is_dirty(entry) || entry_is_writable(entry);
	case UPDATE_CLEAN:
		return entry_is_dirty(entry);
	default:
		return entry_is_young(entry);
	}
}

/* What is looked for was there, and the entry was changed. */
GMM_INLINE uint32_t update_entry(uint64_t *entry, uint32_t level, const enum update update)
{
	uint64_t seen = gmm_load_relaxed(entry), next;
	uint32_t answer;

	do {
		if (!update_concerns(seen, update) || !entry_is_leaf(seen, level))
			return 0;
		answer = UPDATE_FOUND | UPDATE_CHANGED;
		switch (update) {
		case UPDATE_PROTECT:
			answer = entry_is_dirty(seen) ? UPDATE_FOUND : 0;
			if (!entry_is_writable(seen))
				return answer;
			answer |= UPDATE_CHANGED;
			next = entry_make_protected(seen);
			break;
		case UPDATE_CLEAN:
			next = entry_make_clean(seen);
			break;
		case UPDATE_AGE:
			next = entry_make_old(seen);
			break;
		default:
			return UPDATE_FOUND;
		}
	} while (!gmm_compare_exchange(entry, &seen, next));
	return answer;
}

/* A call on a range: what it selects, and what it tells. */
struct update_call {
	struct gmm_stage2_walker *walker;
	uint64_t gfn;
	uint64_t count;
	const uint64_t *mask;
	uint64_t *found;
};

/* Bits [at, at + count) of a mask, at most to the end of their word. */
static inline uint64_t mask_bits(const uint64_t *mask, uint64_t at, uint64_t count)
{
	uint64_t bits = mask ? mask[at / 64] >> (at % 64) : ~(uint64_t)0;

	return count < 64 ? bits & (((uint64_t)1 << count) - 1) : bits;
}

static inline uint64_t bits_in_word(uint64_t at, uint64_t count)
{
	return 64 - at % 64 < count ? 64 - at % 64 : count;
}

/* A run of entries of level 0. */
GMM_INLINE uint64_t update_small(const struct update_call *call, uint64_t *entries, uint64_t at,
				 uint64_t run, const enum update update)
{
	uint64_t told = 0, end = at + run, bits, j;

	for (; at < end; at += bits, entries += bits) {
		uint64_t found = 0, changed = 0, selected;

		bits = bits_in_word(at, end - at);
		selected = mask_bits(call->mask, at, bits);
		if (!selected)
			continue;
		for (j = gmm_bits_lowest(selected); j < bits; j++) {
			uint32_t answer;

			if (!update_concerns(gmm_load_relaxed(entries + j), update) ||
			    !(selected >> j & 1))
				continue;
			answer = update_entry(entries + j, 0, update);
			found |= (uint64_t)(answer & UPDATE_FOUND) << j;
			changed |= (uint64_t)(answer >> 1) << j;
		}
		if (call->found && found)
			call->found[at / 64] |= found << (at % 64);
		told += gmm_bits_count(update == UPDATE_PROTECT ? changed : found);
		if (changed && update != UPDATE_TEST_AGE)
			gmm_stage2_note_flush(call->walker,
					      call->gfn + at + gmm_bits_lowest(changed),
					      call->gfn + at + bits - 1, 0);
	}
	return told;
}

/* How many frames of a run are selected; with `found`, tells them. */
static uint64_t selected_of(const struct update_call *call, uint64_t at, uint64_t run,
			    uint64_t *found)
{
	uint64_t count = 0, end = at + run, bits;

	for (; at < end; at += bits) {
		uint64_t selected;

		bits = bits_in_word(at, end - at);
		selected = mask_bits(call->mask, at, bits);
		count += gmm_bits_count(selected);
		if (found)
			found[at / 64] |= selected << (at % 64);
	}
	return count;
}

/* A leaf above level 0, of which the run is a part or the whole. */
static uint64_t update_large(const struct update_call *call, const struct place *place, uint64_t at,
			     uint64_t run, enum update update)
{
	uint64_t selected = selected_of(call, at, run, NULL), start;
	uint32_t answer;

	if (!selected)
		return 0;
	/* A part cannot be cleaned: what is told again is not lost. */
	if (update == UPDATE_CLEAN && selected < span_of(place->level))
		answer = entry_is_dirty(place->seen) ? UPDATE_FOUND : 0;
	else if (update == UPDATE_PROTECT)
		answer = update_entry(place->entry, place->level, UPDATE_PROTECT);
	else if (update == UPDATE_CLEAN)
		answer = update_entry(place->entry, place->level, UPDATE_CLEAN);
	else if (update == UPDATE_AGE)
		answer = update_entry(place->entry, place->level, UPDATE_AGE);
	else
		answer = update_entry(place->entry, place->level, UPDATE_TEST_AGE);
	if ((answer & UPDATE_FOUND) && call->found)
		selected_of(call, at, run, call->found);
	if (answer & UPDATE_CHANGED) {
		start = first_of(call->gfn + at, place->level);
		gmm_stage2_note_flush(call->walker, start, start + span_of(place->level) - 1, 0);
	}
	return answer & (update == UPDATE_PROTECT ? UPDATE_CHANGED : UPDATE_FOUND) ? selected : 0;
}

GMM_INLINE int64_t update_range(const struct update_call *call, const enum update update)
{
	uint64_t at = 0, told = 0;

	while (at < call->count) {
		uint64_t frame = call->gfn + at, run, step = 0;
		struct place place;

		(void)gmm_stage2_enter(call->walker, frame, last_of_run(frame, call->count - at),
				       GMM_STAGE2_WAITS);
		place_find(call->walker->table, frame, 0, &place);
		run = rest_of(frame, place.level ? place.level : 1, call->count - at);
		if (!place.level)
			step = update_small(call, place.entry, at, run, update);
		else if (place_is_leaf(&place))
			step = update_large(call, &place, at, run, update);
		/* A leaf that was split meanwhile is gone through again. */
		if (!step && place.level && place_is_leaf(&place) &&
		    entry_is_table(call->walker->table, gmm_load_acquire(place.entry), place.level))
			run = 0;
		gmm_stage2_leave(call->walker);
		told += step;
		at += run;
	}
	return (int64_t)told;
}

static int64_t write_protect(struct gmm_stage2_walker *walker, uint64_t gfn, uint64_t count,
			     const uint64_t *mask, uint64_t *dirty)
{
	struct update_call call = { walker, gfn, count, mask, dirty };

	return update_range(&call, UPDATE_PROTECT);
}

static int64_t clean(struct gmm_stage2_walker *walker, uint64_t gfn, uint64_t count,
		     const uint64_t *mask, uint64_t *dirty)
{
	struct update_call call = { walker, gfn, count, mask, dirty };

	return update_range(&call, UPDATE_CLEAN);
}

static int64_t age(struct gmm_stage2_walker *walker, uint64_t gfn, uint64_t count, uint64_t *young)
{
	struct update_call call = { walker, gfn, count, NULL, young };

	return update_range(&call, UPDATE_AGE);
}

static int64_t test_age(struct gmm_stage2_walker *walker, uint64_t gfn, uint64_t count,
			uint64_t *young)
{
	struct update_call call = { walker, gfn, count, NULL, young };

	return update_range(&call, UPDATE_TEST_AGE);
}
