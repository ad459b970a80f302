/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* x86-64 extended page tables, with accessed and dirty bits: docs/FORMATS.md, "x86-ept". */
#include "table_impl.h"

#define FORMAT ept
#define FORMAT_INDEX_BITS 9u
#define FORMAT_PFN_STEP (1ull << 12)

#define EPT_READ (1ull << 0)
#define EPT_WRITE (1ull << 1)
#define EPT_EXEC (1ull << 2)
#define EPT_RWX 7ull
#define EPT_TYPE_SHIFT 3
#define EPT_TYPE_MASK (7ull << EPT_TYPE_SHIFT)
#define EPT_TYPE_UC (0ull << EPT_TYPE_SHIFT)
#define EPT_TYPE_WC (1ull << EPT_TYPE_SHIFT)
#define EPT_TYPE_WB (6ull << EPT_TYPE_SHIFT)
#define EPT_IGNORE_PAT (1ull << 6)
#define EPT_LARGE (1ull << 7) /* above level 0 */
#define EPT_ACCESSED (1ull << 8)
#define EPT_DIRTY (1ull << 9)
#define EPT_RIGHT (1ull << 52) /* software: the guest may write */
#define EPT_ADDRESS 0x000ffffffffff000ull

#define EPTP_WB 6ull
#define EPTP_LEVELS_SHIFT 3
#define EPTP_ACCESSED_DIRTY (1ull << 6)

#define FORMAT_FACTS                                                                     \
	{                                                                                \
		.name = "x86-ept", .page_shift = 12, .table_shift = 12, .index_bits = 9, \
		.gpa_bits = 57, .gpa_bits_default = 48, .pa_bits = 52, .leaf_levels = 7, \
		.facts = GMM_STAGE2_CAN_SET_DIRTY, .memory_types = 7,                    \
	}

static inline bool entry_is_leaf(uint64_t entry, uint32_t level)
{
	return (entry & EPT_READ) && (!level || entry & EPT_LARGE);
}

static inline bool entry_is_table(const struct gmm_stage2_table *table, uint64_t entry,
				  uint32_t level)
{
	return (entry & EPT_RWX) && !(entry & EPT_LARGE);
}

static inline uint64_t entry_link(uint64_t address)
{
	return address | EPT_RWX | EPT_ACCESSED;
}

static inline uint64_t entry_address(uint64_t entry)
{
	return entry & EPT_ADDRESS;
}

static inline uint64_t entry_make(const struct gmm_stage2_table *table, uint64_t pfn,
				  uint32_t level, uint32_t leaf, uint32_t memory)
{
	uint64_t entry = pfn << 12 | EPT_READ | EPT_IGNORE_PAT;

	if (level)
		entry |= EPT_LARGE;
	if (leaf & GMM_LEAF_WRITE)
		entry |= EPT_RIGHT | (leaf & GMM_LEAF_PROTECTED ? 0 : EPT_WRITE);
	if (leaf & GMM_LEAF_EXEC)
		entry |= EPT_EXEC;
	if (leaf & GMM_LEAF_YOUNG)
		entry |= EPT_ACCESSED;
	if (leaf & GMM_LEAF_DIRTY)
		entry |= EPT_DIRTY;
	if (memory == GMM_LEAF_CACHED)
		return entry | EPT_TYPE_WB;
	return entry | (memory == GMM_LEAF_DEVICE ? EPT_TYPE_UC : EPT_TYPE_WC);
}

static inline uint32_t entry_leaf(uint64_t entry)
{
	uint32_t leaf = GMM_LEAF_READ;

	if (entry & EPT_RIGHT)
		leaf |= GMM_LEAF_WRITE | (entry & EPT_WRITE ? 0 : GMM_LEAF_PROTECTED);
	if (entry & EPT_EXEC)
		leaf |= GMM_LEAF_EXEC;
	if (entry & EPT_ACCESSED)
		leaf |= GMM_LEAF_YOUNG;
	if (entry & EPT_DIRTY)
		leaf |= GMM_LEAF_DIRTY;
	return leaf;
}

static inline uint32_t entry_memory(uint64_t entry)
{
	if ((entry & EPT_TYPE_MASK) == EPT_TYPE_WB)
		return GMM_LEAF_CACHED;
	return (entry & EPT_TYPE_MASK) == EPT_TYPE_UC ? GMM_LEAF_DEVICE : GMM_LEAF_UNCACHED;
}

static inline bool entry_is_young(uint64_t entry)
{
	return entry & EPT_ACCESSED;
}

static inline uint64_t entry_make_old(uint64_t entry)
{
	return entry & ~EPT_ACCESSED;
}

static inline bool entry_is_dirty(uint64_t entry)
{
	return entry & EPT_DIRTY;
}

static inline uint64_t entry_make_clean(uint64_t entry)
{
	return entry & ~EPT_DIRTY;
}

static inline bool entry_is_writable(uint64_t entry)
{
	return entry & EPT_WRITE;
}

static inline uint64_t entry_make_protected(uint64_t entry)
{
	return entry & ~EPT_WRITE;
}

static int format_shape(struct gmm_stage2_table *table)
{
	if (!(table->config.flags & GMM_STAGE2_HARDWARE_DIRTY))
		return -GMM_EINVAL;
	table->levels = table->config.gpa_bits > 48 ? 5 : 4;
	table->root_bits = 9;
	return 0;
}

static void format_read_root(const struct gmm_stage2_table *table, struct gmm_stage2_root *root)
{
	root->base = root->address | EPTP_WB | (uint64_t)(table->levels - 1) << EPTP_LEVELS_SHIFT |
		     EPTP_ACCESSED_DIRTY;
}

#include "table_template.h"
