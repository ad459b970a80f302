/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * LoongArch, as KVM's refill walks it with lddir and ldpte; a part of the template for la_16k.c and
 * la_4k.c, which define LA_SHIFT of the page, LA_NAME and LA_GPA_BITS: docs/FORMATS.md, "loongarch". A walker
 * follows any entry of a directory, so an absent one refers to a table of absent entries.
 */
#include "table_impl.h"

#define FORMAT_INDEX_BITS (LA_SHIFT - 3u)
#define FORMAT_PFN_STEP (1ull << LA_SHIFT)
#define FORMAT_ABSENT(table, level) ((table)->absent[level])

#define LA_VALID (1ull << 0) /* young */
#define LA_DIRTY (1ull << 1) /* may be written without a fault */
#define LA_MAT_SHIFT 4
#define LA_MAT_MASK (3ull << LA_MAT_SHIFT)
#define LA_MAT_SUC (0ull << LA_MAT_SHIFT)
#define LA_MAT_CC (1ull << LA_MAT_SHIFT)
#define LA_MAT_WUC (2ull << LA_MAT_SHIFT)
#define LA_HUGE (1ull << 6) /* above level 0 */
#define LA_PRESENT (1ull << 7)
#define LA_WRITE (1ull << 8)	/* hardware walkers set LA_DIRTY where it is set (L16) */
#define LA_RIGHT (1ull << 9)	/* software: the guest may write */
#define LA_WRITTEN (1ull << 10) /* software: dirty, where LA_DIRTY cannot say so */
#define LA_NO_EXEC (1ull << 62)
#define LA_ADDRESS (0x0000ffffffffffffull & ~((1ull << LA_SHIFT) - 1))

#define FORMAT_FACTS                                                                     \
	{                                                                                \
		.name = LA_NAME, .page_shift = LA_SHIFT, .table_shift = LA_SHIFT,        \
		.index_bits = LA_SHIFT - 3, .gpa_bits = LA_GPA_BITS,                     \
		.gpa_bits_default = LA_GPA_BITS, .pa_bits = 48, .leaf_levels = 3,        \
		.facts = GMM_STAGE2_FLUSHES_AFTER_MAP | GMM_STAGE2_FLUSHES_AFTER_PERMIT, \
		.memory_types = 7,                                                       \
	}

static inline bool entry_is_leaf(uint64_t entry, uint32_t level)
{
	return (entry & LA_PRESENT) && (!level || entry & LA_HUGE);
}

static inline bool entry_is_table(const struct gmm_stage2_table *table, uint64_t entry,
				  uint32_t level)
{
	return !(entry & LA_HUGE) && entry != table->absent[level];
}

static inline uint64_t entry_link(uint64_t address)
{
	return address;
}

static inline uint64_t entry_address(uint64_t entry)
{
	return entry & LA_ADDRESS;
}

static inline uint64_t entry_make(const struct gmm_stage2_table *table, uint64_t pfn,
				  uint32_t level, uint32_t leaf, uint32_t memory)
{
	uint64_t entry = pfn << LA_SHIFT | LA_PRESENT;

	if (level)
		entry |= LA_HUGE;
	if (leaf & GMM_LEAF_WRITE)
		entry |= LA_RIGHT;
	if (leaf & GMM_LEAF_DIRTY)
		entry |= (leaf & (GMM_LEAF_WRITE | GMM_LEAF_PROTECTED)) == GMM_LEAF_WRITE ?
				 LA_DIRTY | LA_WRITE :
				 LA_WRITTEN;
	if (!(leaf & GMM_LEAF_EXEC))
		entry |= LA_NO_EXEC;
	if (leaf & GMM_LEAF_YOUNG)
		entry |= LA_VALID;
	if (memory == GMM_LEAF_CACHED)
		return entry | LA_MAT_CC;
	return entry | (memory == GMM_LEAF_DEVICE ? LA_MAT_SUC : LA_MAT_WUC);
}

static inline bool entry_is_writable(uint64_t entry)
{
	return entry & LA_DIRTY;
}

static inline uint32_t entry_leaf(uint64_t entry)
{
	uint32_t leaf = GMM_LEAF_READ;

	if (entry & LA_RIGHT)
		leaf |= GMM_LEAF_WRITE | (entry & LA_DIRTY ? 0 : GMM_LEAF_PROTECTED);
	if (!(entry & LA_NO_EXEC))
		leaf |= GMM_LEAF_EXEC;
	if (entry & LA_VALID)
		leaf |= GMM_LEAF_YOUNG;
	if (entry & (LA_DIRTY | LA_WRITTEN))
		leaf |= GMM_LEAF_DIRTY;
	return leaf;
}

static inline uint32_t entry_memory(uint64_t entry)
{
	if ((entry & LA_MAT_MASK) == LA_MAT_CC)
		return GMM_LEAF_CACHED;
	return (entry & LA_MAT_MASK) == LA_MAT_SUC ? GMM_LEAF_DEVICE : GMM_LEAF_UNCACHED;
}

static inline bool entry_is_young(uint64_t entry)
{
	return entry & LA_VALID;
}

static inline uint64_t entry_make_old(uint64_t entry)
{
	return entry & ~LA_VALID;
}

static inline bool entry_is_dirty(uint64_t entry)
{
	return entry & (LA_DIRTY | LA_WRITTEN);
}

static inline uint64_t entry_make_clean(uint64_t entry)
{
	return entry & ~(LA_DIRTY | LA_WRITE | LA_WRITTEN);
}

static inline uint64_t entry_make_protected(uint64_t entry)
{
	return (entry & ~(LA_DIRTY | LA_WRITE)) | (entry & LA_DIRTY ? LA_WRITTEN : 0);
}

static int format_shape(struct gmm_stage2_table *table)
{
	uint32_t bits = table->config.gpa_bits - LA_SHIFT;

	table->levels = (bits + FORMAT_INDEX_BITS - 1) / FORMAT_INDEX_BITS;
	if (table->levels < 2)
		table->levels = 2;
	table->root_bits = FORMAT_INDEX_BITS;
	return 0;
}

/*
 * As Linux does: the root is Dir3, level 1 is Dir1, and level 2, if it is not the root, Dir2, whose
 * base has five bits: four levels of 16K pages cannot be said.
 */
static void format_read_root(const struct gmm_stage2_table *table, struct gmm_stage2_root *root)
{
	uint64_t width = FORMAT_INDEX_BITS;
	uint64_t low = LA_SHIFT | width << 5;
	uint64_t high = (LA_SHIFT + (table->levels - 1) * width) | width << 6;

	if (table->levels > 2)
		low |= (LA_SHIFT + width) << 10 | width << 15;
	if (table->levels > 3)
		low |= (LA_SHIFT + 2 * width) << 20 | width << 25;
	root->base = root->address;
	root->control = low | high << 32;
}

static void format_fill_absent(const struct gmm_stage2_table *table, uint64_t *entries,
			       uint64_t count, uint32_t level)
{
	uint64_t i;

	for (i = 0; i < count; i++)
		entries[i] = table->absent[level];
}
#define FORMAT_FILL_ABSENT format_fill_absent

#include "table_template.h"
