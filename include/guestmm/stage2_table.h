/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Second-stage tables that processors walk: guest frames to page frames, in the format of a
 * machine's hardware. docs/FORMATS.md says what each bit is and where that is written.
 *
 * Frames (GFN, PFN, counts) are pages of the format's granule: gmm_stage2_format_facts.page_shift.
 * Level 0 has the smallest pages; level 1 is the tables of level 0's entries, and so on.
 *
 * A thread works on a table through a walker of its own. All calls of all walkers may run at once,
 * on the same frames too; each changes an entry in one atomic step, and nothing is lost that a
 * processor sets in it meanwhile. What excludes calls is a change (gmm_stage2_change_begin()):
 * while one is open nobody else maps or splits in its range. Range calls work table by table, and
 * others see a part of what one does.
 *
 * No call waits for a lock that sleeps. Calls on a range wait, bounded by one flush, while another
 * walker remakes a leaf in it (split by break-before-make, replace, collapse); touch, look-up and
 * what maps say -GMM_EAGAIN instead. "May sleep" is said where table_alloc() is called.
 *
 * Of two calls that take the same permission or bit away at once one finds it gone, and may return
 * before the other one has flushed: harvests of one range come one after the other.
 */
#ifndef GUESTMM_STAGE2_TABLE_H
#define GUESTMM_STAGE2_TABLE_H

#include <guestmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Formats: a row is an identifier of core/stage2/, a constant and a name. This is the table that a
 * new format adds its row to.
 */
#define GMM_STAGE2_FORMAT_ROWS(ROW)                            \
	ROW(npt, GMM_STAGE2_NPT, "x86-npt")                    \
	ROW(ept, GMM_STAGE2_EPT, "x86-ept")                    \
	ROW(sv39x4, GMM_STAGE2_SV39X4, "riscv-sv39x4")         \
	ROW(sv48x4, GMM_STAGE2_SV48X4, "riscv-sv48x4")         \
	ROW(arm64_4k, GMM_STAGE2_ARM64_4K, "arm64-4k")         \
	ROW(arm64_16k, GMM_STAGE2_ARM64_16K, "arm64-16k")      \
	ROW(arm64_64k, GMM_STAGE2_ARM64_64K, "arm64-64k")      \
	ROW(la_16k, GMM_STAGE2_LOONGARCH_16K, "loongarch-16k") \
	ROW(la_4k, GMM_STAGE2_LOONGARCH_4K, "loongarch-4k")

#define GMM_STAGE2_FORMAT_CONSTANT(name, constant, text) constant,
enum gmm_stage2_format {
	GMM_STAGE2_FORMAT_ROWS(GMM_STAGE2_FORMAT_CONSTANT) GMM_STAGE2_FORMATS /* how many */
};
#undef GMM_STAGE2_FORMAT_CONSTANT

#define GMM_STAGE2_TABLE_LEVELS 5u /* at most, of any format */

/* What is true of a format. */
enum gmm_stage2_fact {
	/*
	 * L6: a vCPU that faulted may go on faulting until it has flushed its own translation, when
	 * an absent entry was mapped, or when an entry allows more than before. The calls that
	 * install say so (GMM_STAGE2_FLUSH_HERE).
	 */
	GMM_STAGE2_FLUSHES_AFTER_MAP = 1,
	GMM_STAGE2_FLUSHES_AFTER_PERMIT = 2,
	/* An entry that changes its frame or its size is made invalid and flushed in between. */
	GMM_STAGE2_BREAKS_BEFORE_MAKE = 4,
	/* Walkers set accessed and dirty bits: always, or with GMM_STAGE2_HARDWARE_DIRTY. */
	GMM_STAGE2_ALWAYS_SETS_DIRTY = 8,
	GMM_STAGE2_CAN_SET_DIRTY = 16,
};

struct gmm_stage2_format_facts {
	const char *name;
	uint32_t page_shift;  /* of level 0 */
	uint32_t table_shift; /* bytes of a table, also of a page; the root may be larger */
	uint32_t index_bits;  /* GFN bits that one level takes; the root may take more */
	uint32_t gpa_bits;    /* at most */
	uint32_t gpa_bits_default;
	uint32_t pa_bits;      /* of physical addresses that an entry can hold */
	uint32_t leaf_levels;  /* bit n: level n can be a leaf */
	uint32_t facts;	       /* GMM_STAGE2_… of enum gmm_stage2_fact */
	uint32_t memory_types; /* bit n: has enum gmm_leaf_memory n; what it has not is cached */
};

/* The facts of a format, or NULL when there is none of that number. */
GMM_API const struct gmm_stage2_format_facts *gmm_stage2_format_read_facts(uint32_t format);

/* What a leaf allows and what has happened to it. A set of bits; the first three are GMM_ACCESS_*. */
#define GMM_LEAF_READ 1u
#define GMM_LEAF_WRITE 2u /* the guest may write; not whether a write faults first */
#define GMM_LEAF_EXEC 4u
#define GMM_LEAF_YOUNG 8u  /* accessed since it was made old; an old one may fault at any access */
#define GMM_LEAF_DIRTY 16u /* written since it was cleaned */
/* With GMM_LEAF_WRITE: a write faults and is then allowed by gmm_stage2_table_touch(). */
#define GMM_LEAF_PROTECTED 32u

/* How accesses are cached. By the frame, never by what mapped it once (L2). */
enum gmm_leaf_memory {
	GMM_LEAF_CACHED = 0,   /* write-back, coherent */
	GMM_LEAF_UNCACHED = 1, /* ordinary memory, not cached, stores may be combined */
	GMM_LEAF_DEVICE = 2,   /* strongly ordered */
	GMM_LEAF_MEMORIES
};

/* What happened to translations, as the owner of a table is told once for a batch. */
struct gmm_stage2_flush {
	gmm_gfn_t gfn; /* a range that holds all frames that changed */
	uint64_t count;
	uint32_t flags;
};
/* Entries above leaves went too: flush what walkers remember of tables (arm64: not only last level) */
#define GMM_STAGE2_FLUSH_TABLES 1u

#define GMM_STAGE2_TABLE_OPS_VERSION 1u

/* What a table needs of who owns it. */
struct gmm_stage2_table_ops {
	uint32_t version; /* GMM_STAGE2_TABLE_OPS_VERSION */
	const char *name;

	/*
	 * Zeroed memory of `bytes`, a power of two from 4096 to 1 MiB, at a multiple of `bytes`
	 * both as a pointer and physically; its physical address is its pointer plus
	 * config.physical_offset. NULL when there is none. May sleep.
	 */
	void *(*table_alloc)(void *owner, uint64_t bytes);
	/* Any context but a section of this table. No walker can reach it any more. */
	void (*table_free)(void *owner, void *table, uint64_t bytes);
	/*
	 * Makes all processors that run this guest forget translations of the range, and what they
	 * remember of tables if said so; complete on return: also stores made through them are
	 * visible. Where a monitor of a load-linked would survive it (LoongArch), it goes too (L21).
	 * Called without a lock, outside sections, from any call of this header that changes
	 * entries. Must not call back.
	 */
	void (*flush)(void *owner, const struct gmm_stage2_flush *flush);
};

/* Walkers set accessed and dirty bits: EPTP bit 6, VTCR_EL2.HA and HD. EPT requires it. */
#define GMM_STAGE2_HARDWARE_DIRTY 1u
/* RISC-V: the machine has Svpbmt; without it memory types are those of the machine's regions. */
#define GMM_STAGE2_SVPBMT 2u

struct gmm_stage2_table_config {
	uint32_t format;	  /* enum gmm_stage2_format */
	uint32_t flags;		  /* GMM_STAGE2_HARDWARE_DIRTY, GMM_STAGE2_SVPBMT */
	uint32_t gpa_bits;	  /* of the guest's addresses, 0: the format's default */
	uint32_t pa_bits;	  /* of this machine's addresses, 0: the format's */
	uint32_t leaf_levels;	  /* bit n: this machine has leaves of level n; 0: the format's */
	uint64_t physical_offset; /* physical address of a table minus its pointer, modulo 2^64 */
	const struct gmm_stage2_table_ops *ops;
	void *owner;
};

struct gmm_stage2_table;
struct gmm_stage2_walker;

/*
 * Makes an empty table. -GMM_EINVAL: format, a flag, a number of bits or a level that the format
 * does not have; operations missing. -GMM_ENOMEM. May sleep.
 */
GMM_API int gmm_stage2_table_create(const struct gmm_stage2_table_config *config,
				    struct gmm_stage2_table **table);

/*
 * Frees all tables. No processor walks it any more, and its translations have been flushed; no
 * change is open. -GMM_EBUSY: it has walkers.
 */
GMM_API int gmm_stage2_table_destroy(struct gmm_stage2_table *table);

/* What is written into registers of a processor, without VMID or ASID. */
struct gmm_stage2_root {
	uint64_t address; /* physical, of the root */
	uint64_t bytes;	  /* of the root: more than a table's where it is concatenated */
	uint32_t levels;  /* levels of tables, 1 … GMM_STAGE2_TABLE_LEVELS */
	/*
	 * nCR3; EPTP; hgatp with its mode; VTTBR_EL2; the address for PGD.
	 */
	uint64_t base;
	/*
	 * arm64: the fields T0SZ, SL0, TG0, HA and HD of VTCR_EL2; LoongArch: PWCL, and PWCH in the
	 * upper half; else 0.
	 */
	uint64_t control;
};
GMM_API void gmm_stage2_table_read_root(const struct gmm_stage2_table *table,
					struct gmm_stage2_root *root);

struct gmm_stage2_statistics {
	uint64_t tables[GMM_STAGE2_TABLE_LEVELS]; /* tables whose entries are of this level */
	uint64_t leaves[GMM_STAGE2_TABLE_LEVELS]; /* leaves of this level */
	uint64_t flushes;			  /* calls of flush() */
	uint64_t flushed_frames;		  /* sum of their counts */
};
/* Exact while nobody changes the table. */
GMM_API void gmm_stage2_table_read_statistics(struct gmm_stage2_table *table,
					      struct gmm_stage2_statistics *statistics);

/*
 * A walker is used by one thread at a time: a vCPU's, or one of management. It keeps tables that
 * were allocated ahead, and what is to be flushed. -GMM_ENOMEM. May sleep.
 */
GMM_API int gmm_stage2_walker_create(struct gmm_stage2_table *table,
				     struct gmm_stage2_walker **walker);
/* Flushes what is pending. Not within its change or watch. */
GMM_API void gmm_stage2_walker_destroy(struct gmm_stage2_walker *walker);

/*
 * Allocates until the walker has `tables` tables in stock (0: enough to map or split any one
 * frame). Called before locks are taken; a stock that was enough for a call is enough for it
 * again when it is repeated (L24). -GMM_ENOMEM, -GMM_EINVAL: more than GMM_STAGE2_STOCK_MAX.
 * May sleep.
 */
#define GMM_STAGE2_STOCK_MAX 64u
GMM_API int gmm_stage2_walker_top_up(struct gmm_stage2_walker *walker, uint32_t tables);

/*
 * Between looking up a frame and mapping it (L1, L11): from here on a change that overlaps makes
 * the walker's maps say -GMM_EAGAIN, also when it is over by then; changes elsewhere do not. One
 * watch a walker at a time. -GMM_EAGAIN: the range is being changed now.
 */
GMM_API int gmm_stage2_watch_begin(struct gmm_stage2_walker *walker, gmm_gfn_t gfn, uint64_t count);
GMM_API void gmm_stage2_watch_end(struct gmm_stage2_walker *walker);

/*
 * A change: from begin's return until end nobody but this walker maps, splits or collapses in the
 * range; others are told -GMM_EAGAIN. Begin waits, bounded, for those that are at it now. Within
 * its change a walker's calls put off their flush: end flushes once, the hull of all, then frees
 * tables, and only then lets others in. What a frame was mapped to is unused after end, or
 * after gmm_stage2_flush_pending(). Changes of different walkers may overlap; a walker has one at a
 * time. Allocates nothing. -GMM_EINVAL, -GMM_ERANGE: no such frames; -GMM_EBUSY: the
 * walker has one open.
 */
GMM_API int gmm_stage2_change_begin(struct gmm_stage2_walker *walker, gmm_gfn_t gfn,
				    uint64_t count);
GMM_API void gmm_stage2_change_end(struct gmm_stage2_walker *walker);

/* Flushes what this walker has put off, and frees the tables that waited for it. */
GMM_API void gmm_stage2_flush_pending(struct gmm_stage2_walker *walker);

/* Frames to be mapped: `count` of them from `gfn` on, to consecutive frames from `pfn` on. */
struct gmm_stage2_mapping {
	gmm_gfn_t gfn;
	uint64_t count;
	gmm_pfn_t pfn;
	uint32_t leaf;	 /* GMM_LEAF_* */
	uint32_t memory; /* enum gmm_leaf_memory */
	/*
	 * The level of the largest leaf that the host's memory and the slot permit (L17, L18). A leaf also lies
	 * within the mapping with both addresses aligned, and is not made where a table is. So
	 * clip the mapping to the slot; and 0 while the slot logs writes.
	 */
	uint32_t level_max;
	uint32_t flags; /* 0 */
};

/* An access to a leaf that is there now, and the leaf. */
struct gmm_stage2_leaf {
	gmm_gfn_t gfn;	/* its first frame; or of the hole that was found instead */
	uint64_t count; /* its frames */
	gmm_pfn_t pfn;	/* of its first frame */
	uint64_t entry; /* as the hardware sees it; for tests and logs */
	uint32_t level;
	uint32_t leaf;	 /* GMM_LEAF_* */
	uint32_t memory; /* enum gmm_leaf_memory */
	uint32_t flags;	 /* GMM_STAGE2_FLUSH_HERE, GMM_STAGE2_CHANGED */
};
/* L6: before it enters, the vCPU that faulted flushes its own translation of the frame. */
#define GMM_STAGE2_FLUSH_HERE 1u
/* The call changed the entry. */
#define GMM_STAGE2_CHANGED 2u

/*
 * Maps all frames. What is absent gets leaves as large as permitted, from tables in stock; what is
 * there with the same frame is given what it lacks (more rights, young, dirty), never less, and
 * keeps its memory type. L13: pass GMM_LEAF_DIRTY where writes need not be seen.
 * Stores in *done how many frames from the first on are mapped, also on failure.
 * -GMM_EAGAIN: the range is being changed, or the watch was overtaken. -GMM_EEXIST: a frame is
 * mapped to something else. -GMM_EXDEV: frames are in a larger leaf that would have to allow more
 * than before and is not in the mapping as a whole: split it. -GMM_ENOMEM: the stock is used up:
 * top up, and call for the rest. -GMM_EINVAL: a memory type or flag that does not exist, no
 * GMM_LEAF_READ, a PFN beyond pa_bits; -GMM_ERANGE: beyond the guest's addresses. `done` may be
 * NULL.
 */
GMM_API int gmm_stage2_table_map(struct gmm_stage2_walker *walker,
				 const struct gmm_stage2_mapping *mapping, uint64_t *done);

/*
 * The slow path of a fault: maps the largest leaf that has frame `gfn` and is permitted by the
 * mapping; of what else the mapping holds, nothing. *leaf tells what is there now.
 * Errors as of map.
 */
GMM_API int gmm_stage2_table_map_leaf(struct gmm_stage2_walker *walker,
				      const struct gmm_stage2_mapping *mapping, gmm_gfn_t gfn,
				      struct gmm_stage2_leaf *leaf);

/* As map, and tops up as often as it takes: for populating. Also -GMM_ENOMEM. May sleep. */
GMM_API int gmm_stage2_table_populate(struct gmm_stage2_walker *walker,
				      const struct gmm_stage2_mapping *mapping, uint64_t *done);

/*
 * The fast path of a fault: makes an old leaf young, and for a write a clean or protected one
 * dirty and writable, computed and stored once (L23); no frame is looked at (L5, L12).
 * `access`: GMM_LEAF_READ, _WRITE or _EXEC. With GMM_STAGE2_TOUCH_SMALL a write does not make
 * a leaf above level 0 writable that is protected or clean: -GMM_EXDEV, split it first.
 * -GMM_ENOENT: nothing is mapped (leaf->gfn, count: the hole). -GMM_EROFS, -GMM_EFAULT: the leaf
 * does not allow writing, or reading or executing. -GMM_EAGAIN: it is being remade; let the vCPU
 * try again.
 */
#define GMM_STAGE2_TOUCH_SMALL 1u
GMM_API int gmm_stage2_table_touch(struct gmm_stage2_walker *walker, gmm_gfn_t gfn, uint32_t access,
				   uint32_t flags, struct gmm_stage2_leaf *leaf);

/* What is there. Errors -GMM_ENOENT, -GMM_EAGAIN and -GMM_ERANGE, as of touch. */
GMM_API int gmm_stage2_table_look_up(struct gmm_stage2_walker *walker, gmm_gfn_t gfn,
				     struct gmm_stage2_leaf *leaf);

/*
 * Calls visit() for each leaf that has a frame of the range, in order; a leaf may begin before it.
 * A non-zero answer ends the walk and is returned. In a section: visit() must not sleep nor use
 * this walker.
 */
typedef int (*gmm_stage2_leaf_visit_fn)(void *context, const struct gmm_stage2_leaf *leaf);
GMM_API int gmm_stage2_table_walk(struct gmm_stage2_walker *walker, gmm_gfn_t gfn, uint64_t count,
				  gmm_stage2_leaf_visit_fn visit, void *context);

/*
 * Gives a present frame another page frame (a migration, a copy on write): same rights, protection
 * and memory type, still dirty if it was, and never more than `leaf` allows (GMM_LEAF_*). What is
 * absent stays so (L22): -GMM_ENOENT. Flushed on return. Opens a change of its own unless the
 * walker has one there. -GMM_EXDEV: the frame is in a larger leaf: split it first, or unmap.
 * Answers 1 if it was dirty.
 */
GMM_API int gmm_stage2_table_replace(struct gmm_stage2_walker *walker, gmm_gfn_t gfn, gmm_pfn_t pfn,
				     uint32_t leaf);

/*
 * Bits of frames: bit 0 of word 0 is the call's first frame. Results are or-ed in. Any may be NULL:
 * a mask that selects all, a result that nobody wants.
 */

/*
 * Makes frames absent, in a change of its own unless the walker has one that holds all (-GMM_EBUSY: it
 * has another one). A larger leaf that
 * is only partly in the range goes as a whole. Answers how many frames went. `dirty`: those that
 * were. Tables that are left without a use are freed when they lie in the range as a whole (L3).
 */
GMM_API int64_t gmm_stage2_table_unmap(struct gmm_stage2_walker *walker, gmm_gfn_t gfn,
				       uint64_t count, uint64_t *dirty);

/* Of write_protect, clean and age: flushed later, by flush_pending, change_end or another call. */
#define GMM_STAGE2_DEFER_FLUSH 1u

/*
 * Takes away the permission to write, keeping the right: the next write faults. Larger leaves are
 * protected as a whole if any frame of theirs is selected (L7: smaller ones by the mask). `dirty`:
 * selected frames that are dirty; they stay so. Answers how many selected frames are protected
 * that were not. Flushed on return.
 */
GMM_API int64_t gmm_stage2_table_write_protect(struct gmm_stage2_walker *walker, gmm_gfn_t gfn,
					       uint64_t count, const uint64_t *mask,
					       uint64_t *dirty, uint32_t flags);

/*
 * Takes dirty away and tells it in `dirty`: the next write sets it again, by the walker or after
 * a fault. Of a larger leaf that is not selected as a whole the selected frames are told and it
 * stays dirty: told again rather than lost. Answers how many frames were told. Flushed on
 * return, so a page read after that holds all writes that were told.
 */
GMM_API int64_t gmm_stage2_table_clean(struct gmm_stage2_walker *walker, gmm_gfn_t gfn,
				       uint64_t count, const uint64_t *mask, uint64_t *dirty,
				       uint32_t flags);

/*
 * Makes frames old. `young`: those that were young; answers how many. A larger leaf counts for all
 * its frames. Does not flush unless asked: an access through a remembered translation may then not
 * be seen; that is no error, only late.
 */
#define GMM_STAGE2_AGE_FLUSH 2u
GMM_API int64_t gmm_stage2_table_age(struct gmm_stage2_walker *walker, gmm_gfn_t gfn,
				     uint64_t count, uint64_t *young, uint32_t flags);
/* Tells which are young and changes nothing. */
GMM_API int64_t gmm_stage2_table_test_age(struct gmm_stage2_walker *walker, gmm_gfn_t gfn,
					  uint64_t count, uint64_t *young);

/*
 * Replaces leaves of the range that are above `level` by smaller ones of that level, which are as
 * young, dirty and protected as they were. Uses tables in stock. *done: frames from the first on
 * that are done, also on failure; may be NULL. -GMM_ENOMEM: the stock is used up; -GMM_EAGAIN:
 * the range is being changed; -GMM_EINVAL: the format has no leaf of that level. Flushed on
 * return.
 */
GMM_API int gmm_stage2_table_split(struct gmm_stage2_walker *walker, gmm_gfn_t gfn, uint64_t count,
				   uint32_t level, uint64_t *done);

/*
 * Replaces tables of the range whose entries are the parts of one larger leaf, up to `level_max`,
 * by that leaf: young, dirty and protected if any part is; parts that differ in rights or memory
 * type stay. Opens a change of its own unless the walker has one there. The leaf is away for a
 * moment, and vCPUs that fault meanwhile try again. Answers how many leaves it made.
 */
GMM_API int64_t gmm_stage2_table_collapse(struct gmm_stage2_walker *walker, gmm_gfn_t gfn,
					  uint64_t count, uint32_t level_max);

#ifdef __cplusplus
}
#endif

#endif
