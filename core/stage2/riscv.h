/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * RISC-V G-stage, a part of the template for sv39x4.c and sv48x4.c, which define RISCV_LEVELS,
 * RISCV_MODE and RISCV_NAME: docs/FORMATS.md, "riscv". The root has two bits more.
 */
#include "table_impl.h"

#define FORMAT_INDEX_BITS 9u
#define FORMAT_PFN_STEP (1ull << 10)

#define RISCV_VALID (1ull << 0)
#define RISCV_READ (1ull << 1)
#define RISCV_WRITE (1ull << 2)
#define RISCV_EXEC (1ull << 3)
#define RISCV_USER (1ull << 4) /* G-stage accesses are user accesses */
#define RISCV_ACCESSED (1ull << 6)
#define RISCV_DIRTY (1ull << 7)
#define RISCV_RIGHT (1ull << 8) /* RSW: the guest may write */
#define RISCV_PFN_SHIFT 10
#define RISCV_PFN_MASK 0x003ffffffffffc00ull
#define RISCV_PBMT_NC (1ull << 61)
#define RISCV_PBMT_IO (2ull << 61)
#define RISCV_PBMT_MASK (3ull << 61)

#define FORMAT_FACTS                                                                      \
	{                                                                                 \
		.name = RISCV_NAME, .page_shift = 12, .table_shift = 12, .index_bits = 9, \
		.gpa_bits = 12 + 9 * RISCV_LEVELS + 2,                                    \
		.gpa_bits_default = 12 + 9 * RISCV_LEVELS + 2, .pa_bits = 56,             \
		.leaf_levels = (1u << RISCV_LEVELS) - 1,                                  \
		.facts = GMM_STAGE2_FLUSHES_AFTER_MAP | GMM_STAGE2_FLUSHES_AFTER_PERMIT | \
			 GMM_STAGE2_CAN_SET_DIRTY,                                        \
		.memory_types = 7,                                                        \
	}

static inline bool entry_is_leaf(uint64_t entry, uint32_t level)
{
	return entry & RISCV_READ;
}

static inline bool entry_is_table(const struct gmm_stage2_table *table, uint64_t entry,
				  uint32_t level)
{
	return (entry & (RISCV_VALID | RISCV_READ)) == RISCV_VALID;
}

static inline uint64_t entry_link(uint64_t address)
{
	return address >> 12 << RISCV_PFN_SHIFT | RISCV_VALID;
}

static inline uint64_t entry_address(uint64_t entry)
{
	return (entry & RISCV_PFN_MASK) >> RISCV_PFN_SHIFT << 12;
}

static inline uint64_t entry_make(const struct gmm_stage2_table *table, uint64_t pfn,
				  uint32_t level, uint32_t leaf, uint32_t memory)
{
	uint64_t entry = pfn << RISCV_PFN_SHIFT | RISCV_VALID | RISCV_READ | RISCV_USER;

	if (leaf & GMM_LEAF_WRITE)
		entry |= RISCV_RIGHT | (leaf & GMM_LEAF_PROTECTED ? 0 : RISCV_WRITE);
	if (leaf & GMM_LEAF_EXEC)
		entry |= RISCV_EXEC;
	if (leaf & GMM_LEAF_YOUNG)
		entry |= RISCV_ACCESSED;
	if (leaf & GMM_LEAF_DIRTY)
		entry |= RISCV_DIRTY;
	if (memory != GMM_LEAF_CACHED && (table->config.flags & GMM_STAGE2_SVPBMT))
		entry |= memory == GMM_LEAF_DEVICE ? RISCV_PBMT_IO : RISCV_PBMT_NC;
	return entry;
}

static inline uint32_t entry_leaf(uint64_t entry)
{
	uint32_t leaf = GMM_LEAF_READ;

	if (entry & RISCV_RIGHT)
		leaf |= GMM_LEAF_WRITE | (entry & RISCV_WRITE ? 0 : GMM_LEAF_PROTECTED);
	if (entry & RISCV_EXEC)
		leaf |= GMM_LEAF_EXEC;
	if (entry & RISCV_ACCESSED)
		leaf |= GMM_LEAF_YOUNG;
	if (entry & RISCV_DIRTY)
		leaf |= GMM_LEAF_DIRTY;
	return leaf;
}

static inline uint32_t entry_memory(uint64_t entry)
{
	if (!(entry & RISCV_PBMT_MASK))
		return GMM_LEAF_CACHED;
	return entry & RISCV_PBMT_IO ? GMM_LEAF_DEVICE : GMM_LEAF_UNCACHED;
}

static inline bool entry_is_young(uint64_t entry)
{
	return entry & RISCV_ACCESSED;
}

static inline uint64_t entry_make_old(uint64_t entry)
{
	return entry & ~RISCV_ACCESSED;
}

static inline bool entry_is_dirty(uint64_t entry)
{
	return entry & RISCV_DIRTY;
}

static inline uint64_t entry_make_clean(uint64_t entry)
{
	return entry & ~RISCV_DIRTY;
}

static inline bool entry_is_writable(uint64_t entry)
{
	return entry & RISCV_WRITE;
}

static inline uint64_t entry_make_protected(uint64_t entry)
{
	return entry & ~RISCV_WRITE;
}

static int format_shape(struct gmm_stage2_table *table)
{
	table->levels = RISCV_LEVELS;
	table->root_bits = 11;
	return 0;
}

static void format_read_root(const struct gmm_stage2_table *table, struct gmm_stage2_root *root)
{
	root->base = (uint64_t)RISCV_MODE << 60 | root->address >> 12;
}

#include "table_template.h"
