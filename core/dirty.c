/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The bitmap of a slot and its harvest. Bits are taken first, then the pages are protected, then
 * sections are waited for, then the caller reads. A write that came before the protection is in
 * what is read; one that comes after faults, and is marked again. Protecting first would be wrong:
 * a fault between protection and taking marks a bit that is then taken, and leaves the page
 * writable.
 */
#include "dirty_impl.h"

#include <gmm_port/alloc.h>
#include <gmm_port/scan.h>
#include <gmm_port/step.h>

#include "bits.h"
#include "page_impl.h"
#include "vcpu_impl.h"

static uint64_t words_for(uint64_t bits)
{
	return (bits + 63) / 64;
}

struct gmm_dirty_map *gmm_dirty_map_create(uint64_t pages, uint64_t *marked)
{
	struct gmm_dirty_map *map = gmm_zalloc(sizeof(*map));

	if (!map)
		return NULL;
	map->page_count = pages;
	map->marked = marked;
	map->words = gmm_zalloc(words_for(pages) * sizeof(uint64_t));
	map->summary = gmm_zalloc(words_for(words_for(pages)) * sizeof(uint64_t));
	if (!map->words || !map->summary) {
		gmm_dirty_map_free(map);
		return NULL;
	}
	return map;
}

void gmm_dirty_map_free(struct gmm_dirty_map *map)
{
	if (!map)
		return;
	gmm_free(map->summary, words_for(words_for(map->page_count)) * sizeof(uint64_t));
	gmm_free(map->words, words_for(map->page_count) * sizeof(uint64_t));
	gmm_free(map, sizeof(*map));
}

/* The word before the summary: whoever finds the summary bit finds the word's. */
static void mark_word(struct gmm_dirty_map *map, uint64_t word, uint64_t bits)
{
	uint64_t before = gmm_fetch_or(&map->words[word], bits);

	gmm_fetch_or(&map->summary[word / 64], (uint64_t)1 << (word % 64));
	if (bits & ~before)
		gmm_fetch_add(map->marked, gmm_bits_count(bits & ~before));
}

void gmm_dirty_map_mark_slow(struct gmm_dirty_map *map, uint64_t page)
{
	mark_word(map, page / 64, (uint64_t)1 << (page % 64));
}

/* Bits first … of `word` that lie in [page, page + count). */
static uint64_t word_mask(uint64_t word, uint64_t page, uint64_t count)
{
	uint64_t mask = ~(uint64_t)0;

	if (word * 64 < page)
		mask &= ~(uint64_t)0 << (page - word * 64);
	if (page + count < word * 64 + 64)
		mask &= ~(uint64_t)0 >> (word * 64 + 64 - page - count);
	return mask;
}

void gmm_dirty_map_mark_range(struct gmm_dirty_map *map, uint64_t page, uint64_t count)
{
	uint64_t word;

	for (word = page / 64; count && word <= (page + count - 1) / 64; word++)
		mark_word(map, word, word_mask(word, page, count));
}

void gmm_dirty_map_merge(struct gmm_dirty_map *to, const struct gmm_dirty_map *from)
{
	uint64_t pages = to->page_count < from->page_count ? to->page_count : from->page_count;
	uint64_t word;

	for (word = 0; word < words_for(pages); word++) {
		uint64_t bits = gmm_load_relaxed(&from->words[word]) & word_mask(word, 0, pages);

		if (!bits)
			continue;
		gmm_fetch_or(&to->words[word], bits);
		gmm_fetch_or(&to->summary[word / 64], (uint64_t)1 << (word % 64));
	}
}

void gmm_dirty_mark_locked(struct gmm_guest *guest, gmm_gfn_t gfn, gmm_gfn_t last)
{
	struct gmm_interval *node;

	gmm_spin_assert_held(&guest->invalidation.lock);
	gmm_interval_for_each(node, &guest->slots.by_gfn, gfn, last) {
		struct gmm_slot *slot = gmm_container_of(node, struct gmm_slot, by_gfn);
		gmm_gfn_t first = gfn > node->start ? gfn : node->start;
		gmm_gfn_t end = last < node->last ? last : node->last;

		if (slot->dirty)
			gmm_dirty_map_mark_range(slot->dirty, first - node->start, end - first + 1);
	}
}

void gmm_dirty_mark(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count)
{
	gmm_gfn_t last = gfn + count - 1;

	if (!count || last < gfn)
		return;
	gmm_lock_invalidate(&guest->invalidation.lock);
	gmm_dirty_mark_locked(guest, gfn, last);
	gmm_unlock_invalidate(&guest->invalidation.lock);
}

int gmm_operation_begin_slot(struct gmm_guest *guest, uint32_t id, uint64_t first, uint64_t count,
			     struct gmm_operation *operation)
{
	struct gmm_slot *slot;
	gmm_gfn_t gfn = 0;
	uint64_t pages = 0;
	int error;

	if (id >= GMM_SLOTS_MAX)
		return -GMM_ENOENT;
	for (;;) {
		gmm_lock_invalidate(&guest->invalidation.lock);
		slot = guest->slots.by_id[id];
		if (slot) {
			gfn = slot->config.gfn;
			pages = slot->config.count;
		}
		gmm_unlock_invalidate(&guest->invalidation.lock);
		if (!slot)
			return -GMM_ENOENT;
		if (!count || first >= pages || count > pages - first)
			return -GMM_ERANGE;
		error = gmm_operation_begin(guest, gfn + first, count, GMM_OPERATION_WAIT_SLOT,
					    operation);
		if (error && error != -GMM_EFAULT)
			return error;
		if (!error && operation->slot->config.id == id &&
		    operation->slot->config.gfn == gfn && gmm_operation_count(operation) == count)
			return 0;
		/* It changed before the operation kept it from changing. */
		if (!error)
			gmm_operation_end(operation);
	}
}

/*
 * Resident memory has no page states to own: translation and mark change in the lock in which
 * faults set both; in a guest's table the mark comes behind the translation.
 */
static int clean_entries(void *context, gmm_gfn_t gfn, uint64_t *entries, uint32_t count)
{
	uint32_t i;

	for (i = 0; i < count; i++)
		if (gmm_load_relaxed(&entries[i]) & (GMM_PAGE_WRITABLE | GMM_PAGE_DIRTY))
			gmm_fetch_and(&entries[i], ~(GMM_PAGE_WRITABLE | GMM_PAGE_DIRTY));
	return 0;
}

static int protect_resident(struct gmm_operation *operation, gmm_gfn_t gfn, uint64_t count)
{
	struct gmm_guest *guest = operation->guest;
	const struct gmm_stage2_ops *ops = guest->config.stage2_ops;
	struct gmm_span span = gmm_slot_span(guest, operation->slot, gfn, count);

	if (guest->table.table) {
		gmm_guest_table_protect(&guest->table, gfn, count, NULL);
		return 0;
	}
	gmm_lock_invalidate(&guest->invalidation.lock);
	gmm_stage2_visit(&guest->stage2, gfn, count, clean_entries, NULL);
	gmm_unlock_invalidate(&guest->invalidation.lock);
	if (!ops || (ops->flags & GMM_STAGE2_LOGS_WRITES))
		return 0;
	return ops->protect(guest->config.stage2_owner, &span) ? -GMM_EIO : 0;
}

static int protect_stretch(struct gmm_operation *operation, struct gmm_page_run *run,
			   uint32_t first, uint32_t count)
{
	struct gmm_guest *guest = operation->guest;
	struct gmm_span span = gmm_run_span(operation, run, first, count);

	return guest->config.stage2_ops->protect(guest->config.stage2_owner, &span) ? -GMM_EIO : 0;
}

static void clean_run(struct gmm_page_run *run)
{
	uint32_t i;

	for (i = 0; i < run->count; i++)
		run->values[i] &= ~(GMM_PAGE_WRITABLE | GMM_PAGE_DIRTY);
}

int gmm_dirty_protect(struct gmm_operation *operation, gmm_gfn_t gfn, uint64_t count, bool always)
{
	struct gmm_guest *guest = operation->guest;
	const struct gmm_stage2_ops *ops = guest->config.stage2_ops;
	/* Aging makes a page unwritable and leaves it dirty: it is to be clean too. */
	struct gmm_page_walk walk = { operation, gfn, gfn + count - 1,
				      .filter = { .any = GMM_PAGE_WRITABLE | GMM_PAGE_DIRTY },
				      .wait = true };
	struct gmm_page_run run;
	int error = 0;

	if (!gmm_slot_is_lazy(operation->slot))
		return protect_resident(operation, gfn, count);
	if (!ops || ((ops->flags & GMM_STAGE2_LOGS_WRITES) && !always))
		return 0;
	while (!error && gmm_run_claim(&walk, &run)) {
		error = gmm_run_stretches(operation, &run, GMM_PAGE_WRITABLE, protect_stretch);
		if (!error)
			clean_run(&run);
		gmm_run_release(operation, &run);
	}
	return error;
}

typedef int (*collect_fn)(void *owner, const struct gmm_span *span, uint64_t *words);

/* What vCPUs wrote by the owner's account becomes the bitmap; also on failure, as far as it got. */
static int collect(struct gmm_operation *operation, bool goes_on, uint64_t *bitmap)
{
	struct gmm_guest *guest = operation->guest;
	const struct gmm_stage2_ops *ops = guest->config.stage2_ops;
	uint64_t count = gmm_operation_count(operation);
	struct gmm_span span = gmm_slot_span(guest, operation->slot, operation->node.start, count);
	collect_fn fn;
	int error;

	gmm_dirty_rings_drain(guest);
	if (!ops || !(ops->flags & GMM_STAGE2_LOGS_WRITES)) {
		gmm_memset(bitmap, 0, words_for(count) * sizeof(*bitmap));
		return 0;
	}
	fn = goes_on && ops->collect_dirty_next ? ops->collect_dirty_next : ops->collect_dirty;
	error = fn(guest->config.stage2_owner, &span, bitmap);
	bitmap[words_for(count) - 1] &= word_mask(words_for(count) - 1, 0, count);
	return error ? -GMM_EIO : 0;
}

/*
 * Adds all bits of a group of 64 words at most to the bitmap. A summary bit may stay without its
 * word, never the other way.
 */
static uint64_t take_group(struct gmm_dirty_map *map, uint64_t word, uint64_t end, uint64_t first,
			   uint64_t count, uint64_t *bitmap)
{
	bool whole = word % 64 == 0 && word_mask(word, first, count) == ~(uint64_t)0 &&
		     (end == word + 64 || end == words_for(map->page_count)) &&
		     (first + count == map->page_count || end * 64 <= first + count);
	uint64_t summary = gmm_load_acquire(&map->summary[word / 64]);
	uint64_t taken = 0;

	if (!summary)
		return 0;
	if (whole)
		summary = gmm_exchange(&map->summary[word / 64], (uint64_t)0);
	for (; word < end; word++) {
		uint64_t mask = word_mask(word, first, count);
		uint64_t bits;

		if (!((summary >> (word % 64)) & 1) ||
		    !(gmm_load_relaxed(&map->words[word]) & mask))
			continue;
		bits = gmm_fetch_and(&map->words[word], ~mask) & mask;
		bitmap[word - first / 64] |= bits;
		taken += gmm_bits_count(bits);
	}
	return taken;
}

/* Adds the slot's own bits to what the owner had. Returns how many bits there are. */
static uint64_t take(struct gmm_dirty_map *map, uint64_t first, uint64_t count, uint64_t *bitmap)
{
	uint64_t word = first / 64;
	uint64_t end = words_for(first + count);
	uint64_t taken = 0, all;

	while (word < end) {
		uint64_t group_end = (word / 64 + 1) * 64;

		if (group_end > end)
			group_end = end;
		taken += take_group(map, word, group_end, first, count, bitmap);
		word = group_end;
	}
	all = gmm_scan_count(bitmap, words_for(count));
	if (all != taken)
		gmm_fetch_add(map->marked, all - taken);
	return all;
}

static uint64_t take_masked(struct gmm_dirty_map *map, uint64_t first, uint64_t count,
			    uint64_t *bitmap)
{
	uint64_t taken = 0;
	uint64_t i;

	for (i = 0; i < words_for(count); i++) {
		uint64_t mask = bitmap[i] & word_mask(first / 64 + i, first, count);

		bitmap[i] = mask ? gmm_fetch_and(&map->words[first / 64 + i], ~mask) & mask : 0;
		taken += gmm_bits_count(bitmap[i]);
	}
	return taken;
}

/* First page at or behind `from` whose bit is `set`; `count` when there is none. */
static uint64_t next_bit(const uint64_t *bitmap, uint64_t from, uint64_t count, bool set)
{
	while (from < count) {
		uint64_t word = (set ? bitmap[from / 64] : ~bitmap[from / 64]) >> (from % 64);

		if (word) {
			from += gmm_bits_lowest(word);
			return from < count ? from : count;
		}
		from = (from / 64 + 1) * 64;
		if (set)
			from = gmm_scan_next(bitmap, from / 64, words_for(count)) * 64;
	}
	return count;
}

struct taken {
	struct gmm_guest *guest;
	const uint64_t *bitmap;
	gmm_gfn_t start; /* of its first bit */
};

/*
 * A fault has its table before it takes the lock in which it marks, so no page of the bitmap is in
 * a table that is not there.
 */
static int clean_taken(void *context, gmm_gfn_t gfn, uint64_t *entries, uint32_t count)
{
	const struct taken *taken = context;
	uint64_t first = gfn - taken->start, end = first + count;
	uint64_t page = next_bit(taken->bitmap, first, end, true);

	if (page == end)
		return 0;
	gmm_lock_invalidate(&taken->guest->invalidation.lock);
	for (; page < end; page = next_bit(taken->bitmap, page + 1, end, true))
		clean_entries(NULL, taken->start + page, &entries[page - first], 1);
	gmm_unlock_invalidate(&taken->guest->invalidation.lock);
	return 0;
}

static void clean_resident(struct gmm_operation *operation, const uint64_t *bitmap)
{
	struct gmm_guest *guest = operation->guest;
	struct taken taken = { guest, bitmap, operation->node.start };

	if (guest->table.table) {
		gmm_guest_table_protect(&guest->table, taken.start, gmm_operation_count(operation),
					bitmap);
		return;
	}
	gmm_stage2_visit(&guest->stage2, taken.start, gmm_operation_count(operation), clean_taken,
			 &taken);
}

static int protect_pages(struct gmm_operation *operation, gmm_gfn_t gfn, uint64_t count)
{
	struct gmm_guest *guest = operation->guest;
	struct gmm_span span = gmm_slot_span(guest, operation->slot, gfn, count);

	if (gmm_slot_is_lazy(operation->slot))
		return gmm_dirty_protect(operation, gfn, count, false);
	return guest->config.stage2_ops->protect(guest->config.stage2_owner, &span) ? -GMM_EIO : 0;
}

static int protect_taken(struct gmm_operation *operation, const uint64_t *bitmap)
{
	const struct gmm_stage2_ops *ops = operation->guest->config.stage2_ops;
	uint64_t count = gmm_operation_count(operation);
	uint64_t page = next_bit(bitmap, 0, count, true);
	int error = 0;

	if (!gmm_slot_is_lazy(operation->slot))
		clean_resident(operation, bitmap);
	if (!ops || (ops->flags & GMM_STAGE2_LOGS_WRITES))
		return 0;
	while (page < count && !error) {
		uint64_t end = next_bit(bitmap, page, count, false);

		error = protect_pages(operation, operation->node.start + page, end - page);
		page = next_bit(bitmap, end, count, true);
	}
	return error;
}

static void put_back(struct gmm_dirty_map *map, uint64_t first, uint64_t count,
		     const uint64_t *bitmap)
{
	uint64_t words = words_for(count);
	uint64_t i;

	for (i = gmm_scan_next(bitmap, 0, words); i < words;
	     i = gmm_scan_next(bitmap, i + 1, words))
		mark_word(map, first / 64 + i, bitmap[i]);
}

/* The end of a harvest: the bits are taken. */
static int64_t settle(struct gmm_operation *operation, uint64_t first, uint64_t taken,
		      const uint64_t *bitmap)
{
	struct gmm_guest *guest = operation->guest;
	int error;

	gmm_step(GMM_STEP_DIRTY_CLEARED);
	error = taken ? protect_taken(operation, bitmap) : 0;
	if (error) {
		put_back(operation->slot->dirty, first, gmm_operation_count(operation), bitmap);
		return error;
	}
	if (!gmm_leaves_out(guest, GMM_LEAVE_OUT_SECTIONS) &&
	    gmm_section_domain_wait(&guest->sections))
		gmm_count(guest, reader_waits, 1);
	gmm_count(guest, dirty_harvested, taken);
	gmm_trace(harvest, guest, operation->slot->config.id, first, gmm_operation_count(operation),
		  taken);
	return (int64_t)taken;
}

static int begin(struct gmm_guest *guest, uint32_t slot, uint64_t first, uint64_t count,
		 struct gmm_operation *operation)
{
	int error;

	if (first % 64)
		return -GMM_EINVAL;
	error = gmm_operation_begin_slot(guest, slot, first, count, operation);
	if (!error && !operation->slot->dirty) {
		gmm_operation_end(operation);
		error = -GMM_EINVAL;
	}
	return error;
}

static int64_t harvest(struct gmm_guest *guest, uint32_t slot, uint64_t first, uint64_t count,
		       bool goes_on, uint64_t *bitmap)
{
	struct gmm_operation operation;
	int64_t answer = begin(guest, slot, first, count, &operation);

	if (answer)
		return answer;
	answer = collect(&operation, goes_on, bitmap);
	if (answer)
		put_back(operation.slot->dirty, first, count, bitmap);
	else
		answer = settle(&operation, first,
				take(operation.slot->dirty, first, count, bitmap), bitmap);
	gmm_operation_end(&operation);
	return answer;
}

int64_t gmm_dirty_harvest(struct gmm_guest *guest, uint32_t slot, uint64_t first, uint64_t count,
			  uint64_t *bitmap)
{
	return harvest(guest, slot, first, count, false, bitmap);
}

int64_t gmm_dirty_harvest_next(struct gmm_guest *guest, uint32_t slot, uint64_t first,
			       uint64_t count, uint64_t *bitmap)
{
	return harvest(guest, slot, first, count, true, bitmap);
}

int64_t gmm_dirty_peek(struct gmm_guest *guest, uint32_t slot, uint64_t first, uint64_t count,
		       uint64_t *bitmap)
{
	struct gmm_operation operation;
	int64_t answer = begin(guest, slot, first, count, &operation);
	uint64_t i;

	if (answer)
		return answer;
	answer = collect(&operation, false, bitmap);
	put_back(operation.slot->dirty, first, count, bitmap);
	for (i = 0; !answer && i < words_for(count); i++)
		bitmap[i] = gmm_load_acquire(&operation.slot->dirty->words[first / 64 + i]) &
			    word_mask(first / 64 + i, first, count);
	if (!answer)
		answer = (int64_t)gmm_scan_count(bitmap, words_for(count));
	gmm_operation_end(&operation);
	return answer;
}

int64_t gmm_dirty_clear(struct gmm_guest *guest, uint32_t slot, uint64_t first, uint64_t count,
			uint64_t *bitmap)
{
	struct gmm_operation operation;
	int64_t answer = begin(guest, slot, first, count, &operation);

	if (answer)
		return answer;
	answer = settle(&operation, first, take_masked(operation.slot->dirty, first, count, bitmap),
			bitmap);
	gmm_operation_end(&operation);
	return answer;
}
