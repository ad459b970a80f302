/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* x86-64 nested paging: docs/FORMATS.md, "x86-npt". */
#include "table_impl.h"

#define FORMAT npt
#define FORMAT_INDEX_BITS 9u
#define FORMAT_PFN_STEP (1ull << 12)

#define NPT_PRESENT (1ull << 0)
#define NPT_WRITE (1ull << 1)
#define NPT_USER (1ull << 2) /* nested walks are user accesses */
#define NPT_PWT (1ull << 3)
#define NPT_PCD (1ull << 4)
#define NPT_ACCESSED (1ull << 5)
#define NPT_DIRTY (1ull << 6)
#define NPT_LARGE (1ull << 7) /* above level 0 */
#define NPT_RIGHT (1ull << 9) /* software: the guest may write */
#define NPT_NO_EXEC (1ull << 63)
#define NPT_ADDRESS 0x000ffffffffff000ull

#define FORMAT_FACTS                                                                     \
	{                                                                                \
		.name = "x86-npt", .page_shift = 12, .table_shift = 12, .index_bits = 9, \
		.gpa_bits = 57, .gpa_bits_default = 48, .pa_bits = 52, .leaf_levels = 7, \
		.facts = GMM_STAGE2_ALWAYS_SETS_DIRTY, .memory_types = 7,                \
	}

static inline bool entry_is_leaf(uint64_t entry, uint32_t level)
{
	return level ? (entry & (NPT_PRESENT | NPT_LARGE)) == (NPT_PRESENT | NPT_LARGE) :
		       entry & NPT_PRESENT;
}

static inline bool entry_is_table(const struct gmm_stage2_table *table, uint64_t entry,
				  uint32_t level)
{
	return (entry & (NPT_PRESENT | NPT_LARGE)) == NPT_PRESENT;
}

static inline uint64_t entry_link(uint64_t address)
{
	return address | NPT_PRESENT | NPT_WRITE | NPT_USER | NPT_ACCESSED;
}

static inline uint64_t entry_address(uint64_t entry)
{
	return entry & NPT_ADDRESS;
}

static inline uint64_t entry_make(const struct gmm_stage2_table *table, uint64_t pfn,
				  uint32_t level, uint32_t leaf, uint32_t memory)
{
	uint64_t entry = pfn << 12 | NPT_PRESENT | NPT_USER;

	if (level)
		entry |= NPT_LARGE;
	if (leaf & GMM_LEAF_WRITE)
		entry |= NPT_RIGHT | (leaf & GMM_LEAF_PROTECTED ? 0 : NPT_WRITE);
	if (!(leaf & GMM_LEAF_EXEC))
		entry |= NPT_NO_EXEC;
	if (leaf & GMM_LEAF_YOUNG)
		entry |= NPT_ACCESSED;
	if (leaf & GMM_LEAF_DIRTY)
		entry |= NPT_DIRTY;
	if (memory != GMM_LEAF_CACHED)
		entry |= memory == GMM_LEAF_DEVICE ? NPT_PCD | NPT_PWT : NPT_PCD;
	return entry;
}

static inline uint32_t entry_leaf(uint64_t entry)
{
	uint32_t leaf = GMM_LEAF_READ;

	if (entry & NPT_RIGHT)
		leaf |= GMM_LEAF_WRITE | (entry & NPT_WRITE ? 0 : GMM_LEAF_PROTECTED);
	if (!(entry & NPT_NO_EXEC))
		leaf |= GMM_LEAF_EXEC;
	if (entry & NPT_ACCESSED)
		leaf |= GMM_LEAF_YOUNG;
	if (entry & NPT_DIRTY)
		leaf |= GMM_LEAF_DIRTY;
	return leaf;
}

static inline uint32_t entry_memory(uint64_t entry)
{
	if (!(entry & NPT_PCD))
		return GMM_LEAF_CACHED;
	return entry & NPT_PWT ? GMM_LEAF_DEVICE : GMM_LEAF_UNCACHED;
}

static inline bool entry_is_young(uint64_t entry)
{
	return entry & NPT_ACCESSED;
}

static inline uint64_t entry_make_old(uint64_t entry)
{
	return entry & ~NPT_ACCESSED;
}

static inline bool entry_is_dirty(uint64_t entry)
{
	return entry & NPT_DIRTY;
}

static inline uint64_t entry_make_clean(uint64_t entry)
{
	return entry & ~NPT_DIRTY;
}

static inline bool entry_is_writable(uint64_t entry)
{
	return entry & NPT_WRITE;
}

static inline uint64_t entry_make_protected(uint64_t entry)
{
	return entry & ~NPT_WRITE;
}

static int format_shape(struct gmm_stage2_table *table)
{
	/* As deep as the host's own tables: CR4.LA57 decides. */
	table->levels = table->config.gpa_bits > 48 ? 5 : 4;
	table->root_bits = 9;
	return 0;
}

static void format_read_root(const struct gmm_stage2_table *table, struct gmm_stage2_root *root)
{
	root->base = root->address;
}

#include "table_template.h"
