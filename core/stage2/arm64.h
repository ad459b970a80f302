/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * arm64 stage 2, a part of the template for arm64_4k.c and its like, which define ARM64_SHIFT of
 * the granule, ARM64_NAME, ARM64_LEAVES, ARM64_TG0 and ARM64_SL0_LEVELS, the number of levels for
 * which SL0 is 0: docs/FORMATS.md, "arm64". Our level 0 is the architecture's level 3.
 */
#include "table_impl.h"

#define FORMAT_INDEX_BITS (ARM64_SHIFT - 3u)
#define FORMAT_PFN_STEP (1ull << ARM64_SHIFT)
#define FORMAT_BREAKS 1

#define ARM64_TYPE 3ull
#define ARM64_TYPE_BLOCK 1ull
#define ARM64_TYPE_TABLE 3ull /* and a page, at level 0 */
#define ARM64_ATTR_SHIFT 2
#define ARM64_ATTR_MASK (15ull << ARM64_ATTR_SHIFT)
#define ARM64_ATTR_DEVICE (1ull << ARM64_ATTR_SHIFT) /* nGnRE */
#define ARM64_ATTR_NC (5ull << ARM64_ATTR_SHIFT)
#define ARM64_ATTR_WB (15ull << ARM64_ATTR_SHIFT)
#define ARM64_READ (1ull << 6)
#define ARM64_WRITE (1ull << 7)
#define ARM64_INNER_SHAREABLE (3ull << 8)
#define ARM64_ACCESSED (1ull << 10)
#define ARM64_DBM (1ull << 51) /* a walker may set ARM64_WRITE */
#define ARM64_NO_EXEC (1ull << 54)
#define ARM64_RIGHT (1ull << 55)   /* software: the guest may write */
#define ARM64_WRITTEN (1ull << 56) /* software: dirty, where ARM64_WRITE cannot say so */
#define ARM64_ADDRESS (0x0000ffffffffffffull & ~((1ull << ARM64_SHIFT) - 1))

#define VTCR_SL0_SHIFT 6
#define VTCR_TG0_SHIFT 14
#define VTCR_HA (1ull << 21)
#define VTCR_HD (1ull << 22)

#define FORMAT_FACTS                                                                       \
	{                                                                                  \
		.name = ARM64_NAME, .page_shift = ARM64_SHIFT, .table_shift = ARM64_SHIFT, \
		.index_bits = ARM64_SHIFT - 3, .gpa_bits = 48, .gpa_bits_default = 40,     \
		.pa_bits = 48, .leaf_levels = ARM64_LEAVES,                                \
		.facts = GMM_STAGE2_FLUSHES_AFTER_PERMIT | GMM_STAGE2_BREAKS_BEFORE_MAKE | \
			 GMM_STAGE2_CAN_SET_DIRTY,                                         \
		.memory_types = 7,                                                         \
	}

static inline bool entry_is_leaf(uint64_t entry, uint32_t level)
{
	return (entry & ARM64_TYPE) == (level ? ARM64_TYPE_BLOCK : ARM64_TYPE_TABLE);
}

static inline bool entry_is_table(const struct gmm_stage2_table *table, uint64_t entry,
				  uint32_t level)
{
	return (entry & ARM64_TYPE) == ARM64_TYPE_TABLE;
}

static inline uint64_t entry_link(uint64_t address)
{
	return address | ARM64_TYPE_TABLE;
}

static inline uint64_t entry_address(uint64_t entry)
{
	return entry & ARM64_ADDRESS;
}

static inline uint64_t entry_make(const struct gmm_stage2_table *table, uint64_t pfn,
				  uint32_t level, uint32_t leaf, uint32_t memory)
{
	uint64_t entry = pfn << ARM64_SHIFT | ARM64_READ | ARM64_INNER_SHAREABLE |
			 (level ? ARM64_TYPE_BLOCK : ARM64_TYPE_TABLE);
	bool open = (leaf & (GMM_LEAF_WRITE | GMM_LEAF_PROTECTED)) == GMM_LEAF_WRITE;

	if (leaf & GMM_LEAF_WRITE)
		entry |= ARM64_RIGHT;
	if (open && (table->config.flags & GMM_STAGE2_HARDWARE_DIRTY))
		entry |= ARM64_DBM;
	if (leaf & GMM_LEAF_DIRTY)
		entry |= open ? ARM64_WRITE : ARM64_WRITTEN;
	if (!(leaf & GMM_LEAF_EXEC))
		entry |= ARM64_NO_EXEC;
	if (leaf & GMM_LEAF_YOUNG)
		entry |= ARM64_ACCESSED;
	if (memory == GMM_LEAF_CACHED)
		return entry | ARM64_ATTR_WB;
	return entry | (memory == GMM_LEAF_DEVICE ? ARM64_ATTR_DEVICE : ARM64_ATTR_NC);
}

static inline bool entry_is_writable(uint64_t entry)
{
	return entry & (ARM64_WRITE | ARM64_DBM);
}

static inline uint32_t entry_leaf(uint64_t entry)
{
	uint32_t leaf = GMM_LEAF_READ;

	if (entry & ARM64_RIGHT)
		leaf |= GMM_LEAF_WRITE | (entry_is_writable(entry) ? 0 : GMM_LEAF_PROTECTED);
	if (!(entry & ARM64_NO_EXEC))
		leaf |= GMM_LEAF_EXEC;
	if (entry & ARM64_ACCESSED)
		leaf |= GMM_LEAF_YOUNG;
	if (entry & (ARM64_WRITE | ARM64_WRITTEN))
		leaf |= GMM_LEAF_DIRTY;
	return leaf;
}

static inline uint32_t entry_memory(uint64_t entry)
{
	if ((entry & ARM64_ATTR_MASK) == ARM64_ATTR_WB)
		return GMM_LEAF_CACHED;
	return (entry & ARM64_ATTR_MASK) == ARM64_ATTR_NC ? GMM_LEAF_UNCACHED : GMM_LEAF_DEVICE;
}

static inline bool entry_is_young(uint64_t entry)
{
	return entry & ARM64_ACCESSED;
}

static inline uint64_t entry_make_old(uint64_t entry)
{
	return entry & ~ARM64_ACCESSED;
}

static inline bool entry_is_dirty(uint64_t entry)
{
	return entry & (ARM64_WRITE | ARM64_WRITTEN);
}

static inline uint64_t entry_make_clean(uint64_t entry)
{
	return entry & ~(ARM64_WRITE | ARM64_WRITTEN);
}

static inline uint64_t entry_make_protected(uint64_t entry)
{
	return (entry & ~(ARM64_WRITE | ARM64_DBM)) | (entry & ARM64_WRITE ? ARM64_WRITTEN : 0);
}

static int format_shape(struct gmm_stage2_table *table)
{
	uint32_t bits = table->config.gpa_bits - ARM64_SHIFT;

	if (table->config.gpa_bits < 32)
		return -GMM_EINVAL;
	/* Up to 16 tables side by side are a root and save a level. */
	table->levels = (bits - 4 + FORMAT_INDEX_BITS - 1) / FORMAT_INDEX_BITS;
	table->root_bits = bits - (table->levels - 1) * FORMAT_INDEX_BITS;
	return 0;
}

static void format_read_root(const struct gmm_stage2_table *table, struct gmm_stage2_root *root)
{
	root->base = root->address;
	root->control = (64u - table->config.gpa_bits) |
			(uint64_t)(table->levels - ARM64_SL0_LEVELS) << VTCR_SL0_SHIFT |
			(uint64_t)ARM64_TG0 << VTCR_TG0_SHIFT;
	if (table->config.flags & GMM_STAGE2_HARDWARE_DIRTY)
		root->control |= VTCR_HA | VTCR_HD;
}

#include "table_template.h"
