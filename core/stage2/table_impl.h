/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Inside of second-stage tables. table.c has what is the same for all formats; what goes over
 * entries is compiled once a format, from table_template.h, and called through a table of
 * functions once an operation.
 *
 * Who walks is in a section of the table's domain and has entered through
 * gmm_stage2_enter(), which asks for ranges that others have taken:
 *
 * - a change lets nobody else map in its range, from when begin has waited for the sections there
 *   were, until its end;
 * - a remake also keeps out everybody who changes entries, or looks at them: while an entry is
 *   broken, and until it is made again.
 *
 * Tables are unlinked by who has a change or a remake of all of their frames, and freed after the
 * flush, and after a wait for sections.
 */
#ifndef GMM_CORE_STAGE2_TABLE_IMPL_H
#define GMM_CORE_STAGE2_TABLE_IMPL_H

#include <guestmm/stage2_table.h>

#include <gmm_port/alloc.h>
#include <gmm_port/atomic.h>

#include "../section_impl.h"

#define GMM_DETACHED_INLINE 16u
#define GMM_DETACHED_BLOCK 510u

/* Frames first to last. */
struct gmm_stage2_range {
	uint64_t first;
	uint64_t last;
	bool open;
};

/* Tables that are unlinked and not flushed yet; made when there are many. */
struct gmm_stage2_detached {
	struct gmm_stage2_detached *next;
	uint64_t count;
	void *tables[GMM_DETACHED_BLOCK];
};

struct gmm_stage2_code;

struct gmm_stage2_table {
	const struct gmm_stage2_code *code;
	struct gmm_stage2_table_config config;
	/* immutable */
	uint64_t *root;
	uint64_t root_bytes;
	uint64_t table_bytes;
	uint64_t frames;  /* that the guest can address */
	uint64_t pfn_end; /* of page frames that entries may hold */
	uint32_t levels;
	uint32_t root_bits; /* of a GFN */
	uint32_t leaf_levels;
	/* What an entry of a level is when nothing is there; formats whose walkers ask say so. */
	uint64_t absent[GMM_STAGE2_TABLE_LEVELS];
	void *invalid[GMM_STAGE2_TABLE_LEVELS]; /* tables that absent[] refers to */

	struct gmm_section_domain sections;

	struct gmm_spinlock lock;
	struct gmm_stage2_walker *walkers; /* under lock */
	uint32_t taken;			   /* changes and remakes that are open; atomic */

	/* under lock: what walkers have counted that are gone, and the root */
	struct gmm_stage2_statistics statistics;
};

struct gmm_stage2_walker {
	struct gmm_stage2_table *table;
	struct gmm_reader *reader;
	struct gmm_stage2_walker *next; /* under the table's lock */

	/* under the table's lock; the walker itself reads them without */
	struct gmm_stage2_range change;
	struct gmm_stage2_range remake;
	bool meets; /* somebody else's change overlaps with this one's */

	/*
	 * Written by the walker in a section in which nothing was taken, or under the lock; read by
	 * a change that has waited for sections, under the lock.
	 */
	uint64_t watch_first;
	uint64_t watch_last;
	/* atomic */
	uint32_t watches;
	uint32_t overtaken; /* the watch */

	/* written by the walker's thread alone, or it would wait for others' caches; atomic */
	struct gmm_stage2_statistics counted;

	/* of the walker's thread */
	uint32_t stocked;
	uint32_t flush_flags;
	struct gmm_stage2_range pending; /* to be flushed */
	uint32_t detached_count;
	void *detached[GMM_DETACHED_INLINE];
	struct gmm_stage2_detached *blocks;
	void *stock[GMM_STAGE2_STOCK_MAX];
};

/* Adds to a number of walker->counted; differences of two of them may be negative. */
GMM_INLINE void gmm_stage2_count(uint64_t *counter, uint64_t more)
{
	gmm_store_relaxed(counter, gmm_load_relaxed(counter) + more);
}

/* Who wants to enter a range, and what it does when others have taken it. */
enum gmm_stage2_entry_kind {
	GMM_STAGE2_INSTALLS, /* kept out by changes and remakes: -GMM_EAGAIN */
	GMM_STAGE2_TRIES,    /* kept out by remakes: -GMM_EAGAIN */
	GMM_STAGE2_WAITS,    /* kept out by remakes: waits */
};

/* Enters a section, to work on frames from first to last. */
int gmm_stage2_enter_slow(struct gmm_stage2_walker *walker, uint64_t first, uint64_t last,
			  enum gmm_stage2_entry_kind kind);

GMM_INLINE int gmm_stage2_enter(struct gmm_stage2_walker *walker, uint64_t first, uint64_t last,
				enum gmm_stage2_entry_kind kind)
{
	gmm_section_enter_inline(walker->reader);
	if (gmm_likely(!gmm_load_acquire(&walker->table->taken)))
		return 0;
	return gmm_stage2_enter_slow(walker, first, last, kind);
}

GMM_INLINE void gmm_stage2_leave(struct gmm_stage2_walker *walker)
{
	gmm_section_exit_inline(walker->reader);
}

/*
 * Keeps everybody else out, after a wait for those that are in. -GMM_EAGAIN: another remake is
 * under way there, or, of who `installs`, a change of another walker.
 */
int gmm_stage2_remake_begin(struct gmm_stage2_walker *walker, uint64_t first, uint64_t last,
			    bool installs);
void gmm_stage2_remake_end(struct gmm_stage2_walker *walker);

/* Frames that a caller names: -GMM_EINVAL: none; -GMM_ERANGE: beyond the guest's addresses. */
GMM_INLINE int gmm_stage2_check_frames(const struct gmm_stage2_table *table, uint64_t gfn,
				       uint64_t count)
{
	if (!count)
		return -GMM_EINVAL;
	return gfn < table->frames && count <= table->frames - gfn ? 0 : -GMM_ERANGE;
}

/* Whether the walker has a change open that has all these frames. */
GMM_INLINE bool gmm_stage2_has_change(const struct gmm_stage2_walker *walker, uint64_t first,
				      uint64_t last)
{
	return walker->change.open && walker->change.first <= first && walker->change.last >= last;
}

/* A table from the stock, or NULL; and back, with all entries 0. */
uint64_t *gmm_stage2_stock_take(struct gmm_stage2_walker *walker);
void gmm_stage2_stock_put(struct gmm_stage2_walker *walker, uint64_t *entries);

void gmm_stage2_stock_trim(struct gmm_stage2_walker *walker, uint32_t tables);

/* Notes that translations of these frames are to be flushed. */
void gmm_stage2_note_flush(struct gmm_stage2_walker *walker, uint64_t first, uint64_t last,
			   uint32_t flags);
/* A table that nothing links to any more is to be freed after the flush; may flush. */
void gmm_stage2_detach(struct gmm_stage2_walker *walker, void *entries);
/* Flushes what is noted, unless the walker has a change open. */
void gmm_stage2_flush_now(struct gmm_stage2_walker *walker);

void gmm_stage2_add_statistics(struct gmm_stage2_statistics *to,
			       const struct gmm_stage2_statistics *from);

/* A const table of a format. */
struct gmm_stage2_code {
	struct gmm_stage2_format_facts facts;
	/* Sets levels and root_bits for config.gpa_bits, which is within the facts. */
	int (*shape)(struct gmm_stage2_table *table);
	void (*read_root)(const struct gmm_stage2_table *table, struct gmm_stage2_root *root);
	/* Fills a new table of entries of this level; NULL: all zero is right. */
	void (*fill_absent)(const struct gmm_stage2_table *table, uint64_t *entries, uint64_t count,
			    uint32_t level);
	void (*free_tables)(struct gmm_stage2_table *table);
	int (*map)(struct gmm_stage2_walker *walker, const struct gmm_stage2_mapping *mapping,
		   uint64_t *done);
	int (*map_leaf)(struct gmm_stage2_walker *walker, const struct gmm_stage2_mapping *mapping,
			uint64_t gfn, struct gmm_stage2_leaf *leaf);
	int (*touch)(struct gmm_stage2_walker *walker, uint64_t gfn, uint32_t access,
		     uint32_t flags, struct gmm_stage2_leaf *leaf);
	int (*look_up)(struct gmm_stage2_walker *walker, uint64_t gfn,
		       struct gmm_stage2_leaf *leaf);
	int (*walk)(struct gmm_stage2_walker *walker, uint64_t gfn, uint64_t count,
		    gmm_stage2_leaf_visit_fn visit, void *context);
	int64_t (*unmap)(struct gmm_stage2_walker *walker, uint64_t gfn, uint64_t count,
			 uint64_t *dirty);
	int (*replace)(struct gmm_stage2_walker *walker, uint64_t gfn, uint64_t pfn, uint32_t leaf);
	int64_t (*write_protect)(struct gmm_stage2_walker *walker, uint64_t gfn, uint64_t count,
				 const uint64_t *mask, uint64_t *dirty);
	int64_t (*clean)(struct gmm_stage2_walker *walker, uint64_t gfn, uint64_t count,
			 const uint64_t *mask, uint64_t *dirty);
	int64_t (*age)(struct gmm_stage2_walker *walker, uint64_t gfn, uint64_t count,
		       uint64_t *young);
	int64_t (*test_age)(struct gmm_stage2_walker *walker, uint64_t gfn, uint64_t count,
			    uint64_t *young);
	int (*split)(struct gmm_stage2_walker *walker, uint64_t gfn, uint64_t count, uint32_t level,
		     uint64_t *done);
	int64_t (*collapse)(struct gmm_stage2_walker *walker, uint64_t gfn, uint64_t count,
			    uint32_t level_max);
};

#define GMM_STAGE2_FORMAT_CODE(name, constant, text) \
	extern const struct gmm_stage2_code gmm_stage2_code_##name;
GMM_STAGE2_FORMAT_ROWS(GMM_STAGE2_FORMAT_CODE)
#undef GMM_STAGE2_FORMAT_CODE

#endif
