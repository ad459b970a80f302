/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Walkers: who keeps whom out of a range, tables in stock, and what is to be flushed.
 */
#include "table_impl.h"

static bool overlaps(const struct gmm_stage2_range *range, uint64_t first, uint64_t last)
{
	return range->open && range->first <= last && range->last >= first;
}

/* Under the lock. Whether somebody else has a remake, or a change, of some of the frames. */
static bool is_taken(const struct gmm_stage2_walker *walker, uint64_t first, uint64_t last,
		     bool changes)
{
	const struct gmm_stage2_walker *other;

	for (other = walker->table->walkers; other; other = other->next) {
		if (other == walker)
			continue;
		if (overlaps(&other->remake, first, last) ||
		    (changes && overlaps(&other->change, first, last)))
			return true;
	}
	return false;
}

int gmm_stage2_enter_slow(struct gmm_stage2_walker *walker, uint64_t first, uint64_t last,
			  enum gmm_stage2_entry_kind kind)
{
	struct gmm_stage2_table *table = walker->table;
	uint32_t turn = 0;
	bool taken;

	for (;;) {
		gmm_lock_table(&table->lock);
		taken = is_taken(walker, first, last, kind == GMM_STAGE2_INSTALLS);
		gmm_unlock_table(&table->lock);
		if (!taken)
			return 0;
		gmm_section_exit_inline(walker->reader);
		if (kind != GMM_STAGE2_WAITS)
			return -GMM_EAGAIN;
		gmm_cpu_relax(turn++);
		gmm_section_enter_inline(walker->reader);
	}
}

int gmm_stage2_remake_begin(struct gmm_stage2_walker *walker, uint64_t first, uint64_t last,
			    bool installs)
{
	struct gmm_stage2_table *table = walker->table;
	int error = 0;

	gmm_lock_table(&table->lock);
	if (is_taken(walker, first, last, installs)) {
		error = -GMM_EAGAIN;
	} else {
		walker->remake = (struct gmm_stage2_range){ first, last, true };
		gmm_fetch_add(&table->taken, 1u);
	}
	gmm_unlock_table(&table->lock);
	if (!error)
		gmm_section_domain_wait(&table->sections);
	return error;
}

void gmm_stage2_remake_end(struct gmm_stage2_walker *walker)
{
	struct gmm_stage2_table *table = walker->table;

	gmm_lock_table(&table->lock);
	walker->remake.open = false;
	gmm_fetch_add(&table->taken, (uint32_t)-1);
	gmm_unlock_table(&table->lock);
}

/* From now on watches are begun under the lock; those from before are seen here. */
static void overtake(struct gmm_stage2_walker *walker, uint64_t first, uint64_t last)
{
	struct gmm_stage2_table *table = walker->table;
	struct gmm_stage2_walker *other;

	gmm_lock_table(&table->lock);
	for (other = table->walkers; other; other = other->next)
		if (other != walker && gmm_load_acquire(&other->watches) &&
		    other->watch_first <= last && other->watch_last >= first)
			gmm_store_release(&other->overtaken, 1u);
	gmm_unlock_table(&table->lock);
}

int gmm_stage2_change_begin(struct gmm_stage2_walker *walker, gmm_gfn_t gfn, uint64_t count)
{
	struct gmm_stage2_table *table = walker->table;
	int error = gmm_stage2_check_frames(table, gfn, count);
	uint64_t last = gfn + count - 1;
	struct gmm_stage2_walker *other;

	if (error)
		return error;
	if (walker->change.open)
		return -GMM_EBUSY;
	gmm_lock_table(&table->lock);
	walker->change = (struct gmm_stage2_range){ gfn, last, true };
	walker->meets = false;
	gmm_fetch_add(&table->taken, 1u);
	for (other = table->walkers; other; other = other->next) {
		if (other == walker)
			continue;
		if (overlaps(&other->change, gfn, last))
			walker->meets = other->meets = true;
	}
	gmm_unlock_table(&table->lock);
	gmm_section_domain_wait(&table->sections);
	overtake(walker, gfn, last);
	return 0;
}

/*
 * What somebody else took away in a change that overlaps may not have been flushed yet: then this
 * one, which found it gone, flushes all of its own.
 */
void gmm_stage2_change_end(struct gmm_stage2_walker *walker)
{
	struct gmm_stage2_table *table = walker->table;
	bool meets;

	gmm_assert(walker->change.open);
	gmm_lock_table(&table->lock);
	meets = walker->meets;
	gmm_unlock_table(&table->lock);
	if (meets)
		gmm_stage2_note_flush(walker, walker->change.first, walker->change.last, 0);
	gmm_stage2_flush_pending(walker);
	gmm_lock_table(&table->lock);
	walker->change.open = false;
	gmm_fetch_add(&table->taken, (uint32_t)-1);
	gmm_unlock_table(&table->lock);
}

static void open_watch(struct gmm_stage2_walker *walker, uint64_t gfn, uint64_t count)
{
	walker->watch_first = gfn;
	walker->watch_last = gfn + count - 1;
	gmm_store_relaxed(&walker->overtaken, 0u);
	gmm_store_release(&walker->watches, 1u);
}

int gmm_stage2_watch_begin(struct gmm_stage2_walker *walker, gmm_gfn_t gfn, uint64_t count)
{
	struct gmm_stage2_table *table = walker->table;
	const struct gmm_stage2_walker *other;
	int error = gmm_stage2_check_frames(table, gfn, count);

	if (error)
		return error;
	gmm_assert(!gmm_load_relaxed(&walker->watches));
	gmm_section_enter_inline(walker->reader);
	/* A change that is begun meanwhile waits for this section, and then sees the watch. */
	if (gmm_likely(!gmm_load_acquire(&table->taken))) {
		open_watch(walker, gfn, count);
		gmm_section_exit_inline(walker->reader);
		return 0;
	}
	gmm_section_exit_inline(walker->reader);
	gmm_lock_table(&table->lock);
	for (other = table->walkers; other; other = other->next)
		if (other != walker && overlaps(&other->change, gfn, gfn + count - 1))
			error = -GMM_EAGAIN;
	if (!error)
		open_watch(walker, gfn, count);
	gmm_unlock_table(&table->lock);
	return error;
}

void gmm_stage2_watch_end(struct gmm_stage2_walker *walker)
{
	gmm_store_release(&walker->watches, 0u);
}

uint64_t *gmm_stage2_stock_take(struct gmm_stage2_walker *walker)
{
	return walker->stocked ? walker->stock[--walker->stocked] : NULL;
}

void gmm_stage2_stock_put(struct gmm_stage2_walker *walker, uint64_t *entries)
{
	gmm_assert(walker->stocked < GMM_STAGE2_STOCK_MAX);
	walker->stock[walker->stocked++] = entries;
}

int gmm_stage2_walker_top_up(struct gmm_stage2_walker *walker, uint32_t tables)
{
	const struct gmm_stage2_table *table = walker->table;

	if (tables > GMM_STAGE2_STOCK_MAX)
		return -GMM_EINVAL;
	if (!tables)
		tables = table->levels - 1;
	while (walker->stocked < tables) {
		void *entries =
			table->config.ops->table_alloc(table->config.owner, table->table_bytes);

		if (!entries)
			return -GMM_ENOMEM;
		gmm_stage2_stock_put(walker, entries);
	}
	return 0;
}

static void free_one(struct gmm_stage2_table *table, void *entries)
{
	table->config.ops->table_free(table->config.owner, entries, table->table_bytes);
}

/* Gives back what is in stock beyond `tables`. */
void gmm_stage2_stock_trim(struct gmm_stage2_walker *walker, uint32_t tables)
{
	while (walker->stocked > tables)
		free_one(walker->table, gmm_stage2_stock_take(walker));
}

void gmm_stage2_note_flush(struct gmm_stage2_walker *walker, uint64_t first, uint64_t last,
			   uint32_t flags)
{
	struct gmm_stage2_range *pending = &walker->pending;

	if (!pending->open)
		*pending = (struct gmm_stage2_range){ first, last, true };
	if (first < pending->first)
		pending->first = first;
	if (last > pending->last)
		pending->last = last;
	walker->flush_flags |= flags;
}

void gmm_stage2_detach(struct gmm_stage2_walker *walker, void *entries)
{
	struct gmm_stage2_detached *block = walker->blocks;

	if (walker->detached_count < GMM_DETACHED_INLINE) {
		walker->detached[walker->detached_count++] = entries;
		return;
	}
	if (!block || block->count == GMM_DETACHED_BLOCK) {
		block = gmm_zalloc_atomic(sizeof(*block));
		if (!block) {
			/* More than one flush then. */
			gmm_stage2_flush_pending(walker);
			walker->detached[walker->detached_count++] = entries;
			return;
		}
		block->next = walker->blocks;
		walker->blocks = block;
	}
	block->tables[block->count++] = entries;
}

void gmm_stage2_flush_pending(struct gmm_stage2_walker *walker)
{
	struct gmm_stage2_table *table = walker->table;
	struct gmm_stage2_range *pending = &walker->pending;

	if (pending->open) {
		struct gmm_stage2_flush flush = {
			.gfn = pending->first,
			.count = pending->last - pending->first + 1,
			.flags = walker->flush_flags,
		};

		pending->open = false;
		walker->flush_flags = 0;
		table->config.ops->flush(table->config.owner, &flush);
		gmm_stage2_count(&walker->counted.flushes, 1);
		gmm_stage2_count(&walker->counted.flushed_frames, flush.count);
	}
	if (!walker->detached_count)
		return;
	/* Processors have forgotten the tables; now threads that found them before. */
	gmm_section_domain_wait(&table->sections);
	while (walker->detached_count)
		free_one(table, walker->detached[--walker->detached_count]);
	while (walker->blocks) {
		struct gmm_stage2_detached *block = walker->blocks;

		while (block->count)
			free_one(table, block->tables[--block->count]);
		walker->blocks = block->next;
		gmm_free(block, sizeof(*block));
	}
}

void gmm_stage2_flush_now(struct gmm_stage2_walker *walker)
{
	if (!walker->change.open)
		gmm_stage2_flush_pending(walker);
}

int gmm_stage2_walker_create(struct gmm_stage2_table *table, struct gmm_stage2_walker **walker)
{
	struct gmm_stage2_walker *made = gmm_zalloc(sizeof(*made));
	int error;

	if (!made)
		return -GMM_ENOMEM;
	error = gmm_section_domain_register(&table->sections, &made->reader);
	if (error) {
		gmm_free(made, sizeof(*made));
		return error;
	}
	made->table = table;
	gmm_lock_table(&table->lock);
	made->next = table->walkers;
	table->walkers = made;
	gmm_unlock_table(&table->lock);
	*walker = made;
	return 0;
}

void gmm_stage2_walker_destroy(struct gmm_stage2_walker *walker)
{
	struct gmm_stage2_table *table = walker->table;
	struct gmm_stage2_walker **link;

	gmm_assert(!walker->change.open && !gmm_load_relaxed(&walker->watches));
	gmm_stage2_flush_pending(walker);
	gmm_stage2_stock_trim(walker, 0);
	gmm_lock_table(&table->lock);
	for (link = &table->walkers; *link != walker; link = &(*link)->next)
		;
	*link = walker->next;
	gmm_stage2_add_statistics(&table->statistics, &walker->counted);
	gmm_unlock_table(&table->lock);
	gmm_reader_unregister(walker->reader);
	gmm_free(walker, sizeof(*walker));
}
