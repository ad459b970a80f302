/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Entries and registers bit by bit. The numbers are written from the manuals that docs/FORMATS.md
 * names, and not from what core/stage2/ defines.
 */
#include "table_world.h"

#define R GMM_LEAF_READ
#define W GMM_LEAF_WRITE
#define X GMM_LEAF_EXEC
#define Y GMM_LEAF_YOUNG
#define D GMM_LEAF_DIRTY
#define P GMM_LEAF_PROTECTED
#define HD GMM_STAGE2_HARDWARE_DIRTY

struct expected {
	uint32_t format;
	uint32_t flags;
	uint32_t level;
	uint32_t leaf;
	uint32_t memory;
	uint64_t entry; /* with frame 0 */
};

#define RWX (R | W | X)
#define UC GMM_LEAF_UNCACHED
#define DEV GMM_LEAF_DEVICE

/* Bits that are software's own are in the numbers too: nothing else may use them. */
static const struct expected expectations[] = {
	/* P 0, R/W 1, U/S 2, PWT 3, PCD 4, A 5, D 6, PS 7; ours 9; NX 63 */
	{ GMM_STAGE2_NPT, 0, 0, RWX | Y | D, 0, 0x267 },
	{ GMM_STAGE2_NPT, 0, 0, RWX | Y, 0, 0x227 },
	{ GMM_STAGE2_NPT, 0, 0, R, 0, 0x8000000000000005 },
	{ GMM_STAGE2_NPT, 0, 0, RWX | Y | D | P, 0, 0x265 },
	{ GMM_STAGE2_NPT, 0, 0, R | W | Y, UC, 0x8000000000000237 },
	{ GMM_STAGE2_NPT, 0, 0, R | W | Y, DEV, 0x800000000000023f },
	{ GMM_STAGE2_NPT, 0, 1, RWX | Y | D, 0, 0x2e7 },
	{ GMM_STAGE2_NPT, 0, 2, R | X, 0, 0x85 },
	/* R 0, W 1, X 2, type 5:3, ignore PAT 6, large 7, A 8, D 9; ours 52 */
	{ GMM_STAGE2_EPT, HD, 0, RWX | Y | D, 0, 0x0010000000000377 },
	{ GMM_STAGE2_EPT, HD, 0, R, 0, 0x71 },
	{ GMM_STAGE2_EPT, HD, 0, RWX | Y | P, 0, 0x0010000000000175 },
	{ GMM_STAGE2_EPT, HD, 0, R | W | Y, UC, 0x001000000000014b },
	{ GMM_STAGE2_EPT, HD, 0, R | W | Y, DEV, 0x0010000000000143 },
	{ GMM_STAGE2_EPT, HD, 1, RWX | Y | D, 0, 0x00100000000003f7 },
	{ GMM_STAGE2_EPT, HD, 2, R | X, 0, 0xf5 },
	/* V 0, R 1, W 2, X 3, U 4, G 5, A 6, D 7; ours 8; PBMT 62:61 */
	{ GMM_STAGE2_SV39X4, 0, 0, RWX | Y | D, 0, 0x1df },
	{ GMM_STAGE2_SV39X4, HD, 0, RWX, 0, 0x11f },
	{ GMM_STAGE2_SV39X4, 0, 1, R | Y, 0, 0x53 },
	{ GMM_STAGE2_SV39X4, 0, 2, RWX | Y | D | P, 0, 0x1db },
	{ GMM_STAGE2_SV39X4, GMM_STAGE2_SVPBMT, 0, R | W | Y, UC, 0x2000000000000157 },
	{ GMM_STAGE2_SV39X4, GMM_STAGE2_SVPBMT, 0, R | W | Y, DEV, 0x4000000000000157 },
	{ GMM_STAGE2_SV39X4, 0, 0, R | W | Y, DEV, 0x157 },
	{ GMM_STAGE2_SV48X4, 0, 0, RWX | Y | D, 0, 0x1df },
	{ GMM_STAGE2_SV48X4, 0, 3, R | X | Y, 0, 0x5b },
	/* type 1:0, MemAttr 5:2, S2AP 7:6, SH 9:8, AF 10, DBM 51, XN 54; ours 55, 56 */
	{ GMM_STAGE2_ARM64_4K, 0, 0, RWX | Y | D, 0, 0x00800000000007ff },
	{ GMM_STAGE2_ARM64_4K, 0, 0, RWX | Y, 0, 0x008000000000077f },
	{ GMM_STAGE2_ARM64_4K, HD, 0, RWX | Y, 0, 0x008800000000077f },
	{ GMM_STAGE2_ARM64_4K, HD, 0, RWX | Y | D, 0, 0x00880000000007ff },
	{ GMM_STAGE2_ARM64_4K, HD, 0, RWX | Y | D | P, 0, 0x018000000000077f },
	{ GMM_STAGE2_ARM64_4K, 0, 0, R, 0, 0x004000000000037f },
	{ GMM_STAGE2_ARM64_4K, 0, 0, R | W | Y | D, UC, 0x00c00000000007d7 },
	{ GMM_STAGE2_ARM64_4K, 0, 0, R | W | Y | D, DEV, 0x00c00000000007c7 },
	{ GMM_STAGE2_ARM64_4K, 0, 1, RWX | Y | D, 0, 0x00800000000007fd },
	{ GMM_STAGE2_ARM64_4K, 0, 2, R | X | Y, 0, 0x77d },
	{ GMM_STAGE2_ARM64_16K, 0, 0, RWX | Y | D, 0, 0x00800000000007ff },
	{ GMM_STAGE2_ARM64_16K, 0, 1, RWX | Y | D, 0, 0x00800000000007fd },
	{ GMM_STAGE2_ARM64_64K, 0, 0, RWX | Y | D, 0, 0x00800000000007ff },
	{ GMM_STAGE2_ARM64_64K, 0, 1, R | X | Y, 0, 0x77d },
	/* V 0, D 1, PLV 3:2, MAT 5:4, huge 6, P 7, W 8; ours 9 (M), 10; NR 61, NX 62 */
	{ GMM_STAGE2_LOONGARCH_16K, 0, 0, RWX | Y | D, 0, 0x393 },
	{ GMM_STAGE2_LOONGARCH_16K, 0, 0, RWX | Y, 0, 0x291 },
	{ GMM_STAGE2_LOONGARCH_16K, 0, 0, RWX | Y | D | P, 0, 0x691 },
	{ GMM_STAGE2_LOONGARCH_16K, 0, 0, R, 0, 0x4000000000000090 },
	{ GMM_STAGE2_LOONGARCH_16K, 0, 0, R | W | Y | D, UC, 0x40000000000003a3 },
	{ GMM_STAGE2_LOONGARCH_16K, 0, 0, R | W | Y | D, DEV, 0x4000000000000383 },
	{ GMM_STAGE2_LOONGARCH_16K, 0, 1, RWX | Y | D, 0, 0x3d3 },
	{ GMM_STAGE2_LOONGARCH_4K, 0, 0, RWX | Y | D, 0, 0x393 },
	{ GMM_STAGE2_LOONGARCH_4K, 0, 1, R | X | Y, 0, 0xd1 },
};

/* Where the frame number is: its lowest bit in the entry. */
static uint32_t pfn_shift(uint32_t format)
{
	switch (format) {
	case GMM_STAGE2_SV39X4:
	case GMM_STAGE2_SV48X4:
		return 10;
	case GMM_STAGE2_ARM64_16K:
	case GMM_STAGE2_LOONGARCH_16K:
		return 14;
	case GMM_STAGE2_ARM64_64K:
		return 16;
	default:
		return 12;
	}
}

static void check_entry(const struct expected *expected)
{
	struct gmm_stage2_table_config config = { .format = expected->format,
						  .flags = expected->flags };
	struct gmm_stage2_mapping mapping = { .leaf = expected->leaf,
					      .memory = expected->memory,
					      .level_max = expected->level };
	struct hardware_result result;
	struct gmm_stage2_leaf leaf;
	struct table_world world;
	uint64_t span, top;

	gmm_must(table_world_init(&world, config));
	span = table_world_span(&world, expected->level);
	/* Frames as high as there are of each kind. */
	top = (uint64_t)1 << (world.facts->gpa_bits_default - world.facts->page_shift);
	mapping.gfn = top - span;
	mapping.pfn = ((uint64_t)1 << (world.facts->pa_bits - world.facts->page_shift)) - span;
	mapping.count = span;
	gmm_equal(gmm_stage2_walker_top_up(world.walker, 0), 0);
	gmm_equal(gmm_stage2_table_map_leaf(world.walker, &mapping, top - 1, &leaf), 0);
	gmm_equal(leaf.level, expected->level);
	gmm_equal(leaf.entry, expected->entry | mapping.pfn << pfn_shift(expected->format));
	gmm_equal(leaf.memory,
		  expected->format == GMM_STAGE2_SV39X4 && !(expected->flags & GMM_STAGE2_SVPBMT) ?
			  0 :
			  expected->memory);
	/* The processor reads it in the same way, at the last page of the address space. */
	if (expected->leaf & Y) {
		gmm_equal(table_world_access(&world, top - 1, R, &result), HARDWARE_DONE);
		gmm_equal(table_world_pfn(&world, &result), mapping.pfn + span - 1);
		gmm_equal(result.memory, leaf.memory);
		gmm_equal(result.level, expected->level);
		gmm_equal(table_world_access(&world, top - 1, X, &result),
			  expected->leaf & X ? HARDWARE_DONE : HARDWARE_FORBIDDEN);
	}
	gmm_equal(table_world_access(&world, top - span - 1, R, &result), HARDWARE_ABSENT);
	table_world_fini(&world);
}

static void entries_are_what_the_manuals_say(void)
{
	uint32_t i;

	for (i = 0; i < sizeof(expectations) / sizeof(expectations[0]); i++)
		check_entry(&expectations[i]);
}

struct expected_root {
	uint32_t format;
	uint32_t flags;
	uint32_t gpa_bits;
	uint32_t levels;
	uint64_t bytes;
	uint64_t base; /* without the address */
	uint64_t control;
};

static const struct expected_root roots[] = {
	{ GMM_STAGE2_NPT, 0, 48, 4, 4096, 0, 0 },
	{ GMM_STAGE2_NPT, 0, 57, 5, 4096, 0, 0 },
	{ GMM_STAGE2_NPT, 0, 40, 4, 4096, 0, 0 },
	/* write-back 6, levels less one in 5:3, accessed and dirty bits 6 */
	{ GMM_STAGE2_EPT, HD, 48, 4, 4096, 0x5e, 0 },
	{ GMM_STAGE2_EPT, HD, 57, 5, 4096, 0x66, 0 },
	{ GMM_STAGE2_SV39X4, 0, 0, 3, 16384, 0x8000000000000000, 0 },
	{ GMM_STAGE2_SV48X4, 0, 0, 4, 16384, 0x9000000000000000, 0 },
	/* T0SZ 5:0, SL0 7:6, TG0 15:14, HA 21, HD 22 */
	{ GMM_STAGE2_ARM64_4K, 0, 40, 3, 8192, 0, 24 | 1 << 6 },
	{ GMM_STAGE2_ARM64_4K, HD, 48, 4, 4096, 0, 16 | 2 << 6 | 1 << 21 | 1 << 22 },
	{ GMM_STAGE2_ARM64_4K, 0, 43, 3, 65536, 0, 21 | 1 << 6 },
	{ GMM_STAGE2_ARM64_4K, 0, 44, 4, 4096, 0, 20 | 2 << 6 },
	{ GMM_STAGE2_ARM64_4K, 0, 32, 2, 16384, 0, 32 | 0 << 6 },
	{ GMM_STAGE2_ARM64_16K, 0, 40, 2, 262144, 0, 24 | 1 << 6 | 2 << 14 },
	{ GMM_STAGE2_ARM64_16K, 0, 48, 3, 32768, 0, 16 | 2 << 6 | 2 << 14 },
	{ GMM_STAGE2_ARM64_64K, 0, 40, 2, 16384, 0, 24 | 1 << 6 | 1 << 14 },
	{ GMM_STAGE2_ARM64_64K, 0, 48, 3, 4096, 0, 16 | 2 << 6 | 1 << 14 },
	/* PWCL: PT 4:0 9:5, Dir1 14:10 19:15, Dir2 24:20 29:25; PWCH: Dir3 5:0 11:6 */
	{ GMM_STAGE2_LOONGARCH_16K, 0, 47, 3, 16384, 0,
	  14 | 11 << 5 | 25 << 10 | 11 << 15 | (uint64_t)(36 | 11 << 6) << 32 },
	{ GMM_STAGE2_LOONGARCH_4K, 0, 48, 4, 4096, 0,
	  12 | 9 << 5 | 21 << 10 | 9 << 15 | 30 << 20 | 9 << 25 | (uint64_t)(39 | 9 << 6) << 32 },
	{ GMM_STAGE2_LOONGARCH_4K, 0, 39, 3, 4096, 0,
	  12 | 9 << 5 | 21 << 10 | 9 << 15 | (uint64_t)(30 | 9 << 6) << 32 },
};

static void roots_are_what_the_manuals_say(void)
{
	uint32_t i;

	for (i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
		const struct expected_root *expected = &roots[i];
		struct gmm_stage2_table_config config = { .format = expected->format,
							  .flags = expected->flags,
							  .gpa_bits = expected->gpa_bits };
		const struct gmm_stage2_root *root;
		struct hardware_result result;
		struct table_world world;
		uint64_t address, last;

		gmm_must(table_world_init(&world, config));
		root = &world.hardware.root;
		address = root->address;
		gmm_equal(root->levels, expected->levels);
		gmm_equal(root->bytes, expected->bytes);
		gmm_equal(address & (root->bytes - 1), 0);
		gmm_equal(root->control, expected->control);
		if (expected->format == GMM_STAGE2_SV39X4 || expected->format == GMM_STAGE2_SV48X4)
			address >>= 12;
		gmm_equal(root->base, expected->base | address);
		/* First and last page of the address space, and nothing behind it. */
		last = ((uint64_t)1
			<< ((expected->gpa_bits ? expected->gpa_bits : world.facts->gpa_bits) -
			    world.facts->page_shift)) -
		       1;
		table_world_map(&world, 0, 1, 5, RWX | Y, 0);
		table_world_map(&world, last, 1, 7, RWX | Y, 0);
		gmm_equal(table_world_access(&world, 0, R, &result), HARDWARE_DONE);
		gmm_equal(table_world_pfn(&world, &result), 5);
		gmm_equal(table_world_access(&world, last, R, &result), HARDWARE_DONE);
		gmm_equal(table_world_pfn(&world, &result), 7);
		gmm_equal(table_world_access(&world, last - 1, R, &result), HARDWARE_ABSENT);
		gmm_equal(gmm_stage2_table_unmap(world.walker, last, 2, NULL), -GMM_ERANGE);
		gmm_equal(gmm_stage2_table_unmap(world.walker, last + 1, 1, NULL), -GMM_ERANGE);
		table_world_fini(&world);
	}
}

/* What walkers do with rights, protection, young and dirty, and what touch() does then. */
static void check_access(uint32_t format, uint32_t flags)
{
	struct gmm_stage2_table_config config = { .format = format, .flags = flags };
	bool sets = format == GMM_STAGE2_NPT || (flags & HD);
	uint64_t dirty = 0, young = 0;
	struct hardware_result result;
	struct gmm_stage2_leaf leaf;
	struct table_world world;

	if (format == GMM_STAGE2_LOONGARCH_16K || format == GMM_STAGE2_LOONGARCH_4K)
		sets = false;
	gmm_must(table_world_init(&world, config));
	table_world_map(&world, 3, 1, 100, RWX, 0);
	/* Old: the processor makes it young, or asks. */
	gmm_equal(table_world_access(&world, 3, R, &result), sets ? HARDWARE_DONE : HARDWARE_OLD);
	gmm_equal(gmm_stage2_table_touch(world.walker, 3, R, 0, &leaf), 0);
	gmm_equal(!!(leaf.flags & GMM_STAGE2_CHANGED), !sets);
	gmm_equal(!!(leaf.flags & GMM_STAGE2_FLUSH_HERE),
		  !!(world.facts->facts & GMM_STAGE2_FLUSHES_AFTER_PERMIT));
	gmm_equal(table_world_access(&world, 3, R, &result), HARDWARE_DONE);
	/* Clean: the processor makes it dirty, or asks. */
	gmm_equal(table_world_access(&world, 3, W, &result),
		  sets ? HARDWARE_DONE : HARDWARE_FORBIDDEN);
	gmm_equal(gmm_stage2_table_touch(world.walker, 3, W, 0, &leaf), 0);
	gmm_equal(!!(leaf.flags & GMM_STAGE2_CHANGED), !sets);
	gmm_equal(table_world_access(&world, 3, W, &result), HARDWARE_DONE);
	gmm_equal(gmm_stage2_table_age(world.walker, 3, 1, &young, 0), 1);
	gmm_equal(young, 1);
	gmm_equal(gmm_stage2_table_age(world.walker, 3, 1, &young, 0), 0);
	gmm_equal(gmm_stage2_table_clean(world.walker, 3, 1, NULL, &dirty, 0), 1);
	gmm_equal(dirty, 1);
	gmm_equal(gmm_stage2_table_clean(world.walker, 3, 1, NULL, &dirty, 0), 0);
	gmm_equal(gmm_stage2_table_look_up(world.walker, 3, &leaf), 0);
	gmm_equal(leaf.leaf & (RWX | Y | D), RWX);
	/* L16: protected is protected from the processor too; the right stays. */
	gmm_equal(gmm_stage2_table_touch(world.walker, 3, W, 0, &leaf), 0);
	gmm_equal(gmm_stage2_table_write_protect(world.walker, 3, 1, NULL, NULL, 0), 1);
	gmm_equal(gmm_stage2_table_write_protect(world.walker, 3, 1, NULL, NULL, 0), 0);
	gmm_equal(table_world_access(&world, 3, W, &result), HARDWARE_FORBIDDEN);
	gmm_equal(table_world_access(&world, 3, R, &result), HARDWARE_DONE);
	gmm_equal(gmm_stage2_table_look_up(world.walker, 3, &leaf), 0);
	gmm_equal(leaf.leaf, RWX | Y | D | P);
	gmm_equal(gmm_stage2_table_touch(world.walker, 3, W, 0, &leaf), 0);
	gmm_equal(table_world_access(&world, 3, W, &result), HARDWARE_DONE);
	/* Read-only and not executable. */
	table_world_map(&world, 4, 1, 101, R | Y, 0);
	gmm_equal(table_world_access(&world, 4, W, &result), HARDWARE_FORBIDDEN);
	gmm_equal(table_world_access(&world, 4, X, &result), HARDWARE_FORBIDDEN);
	gmm_equal(gmm_stage2_table_touch(world.walker, 4, W, 0, &leaf), -GMM_EROFS);
	gmm_equal(gmm_stage2_table_touch(world.walker, 4, X, 0, &leaf), -GMM_EFAULT);
	gmm_equal(gmm_stage2_table_touch(world.walker, 5, R, 0, &leaf), -GMM_ENOENT);
	table_world_fini(&world);
}

static void processors_and_touches_go_together(void)
{
	uint32_t format;

	for (format = 0; format < GMM_STAGE2_FORMATS; format++) {
		if (format != GMM_STAGE2_EPT)
			check_access(format, 0);
		if (gmm_stage2_format_read_facts(format)->facts & GMM_STAGE2_CAN_SET_DIRTY)
			check_access(format, HD);
	}
}

/* L16: a processor of LoongArch that walks by itself sets D where W is, and nowhere else. */
static void a_hardware_walker_of_loongarch_makes_nothing_writable_that_is_clean(void)
{
	struct gmm_stage2_table_config config = { .format = GMM_STAGE2_LOONGARCH_16K };
	struct hardware_result result;
	struct table_world world;
	uint64_t dirty = 0;

	gmm_must(table_world_init(&world, config));
	world.hardware.sets_bits = true;
	table_world_map(&world, 3, 2, 100, RWX | Y | D, 0);
	gmm_equal(gmm_stage2_table_clean(world.walker, 3, 1, NULL, &dirty, 0), 1);
	gmm_equal(table_world_access(&world, 3, W, &result), HARDWARE_FORBIDDEN);
	gmm_equal(gmm_stage2_table_write_protect(world.walker, 4, 1, NULL, NULL, 0), 1);
	gmm_equal(table_world_access(&world, 4, W, &result), HARDWARE_FORBIDDEN);
	table_world_fini(&world);
}

static void refuse(struct gmm_stage2_table_config config)
{
	struct table_world world;

	gmm_ok(!table_world_init(&world, config));
	gmm_equal(world.live, 0);
}

static void a_config_that_no_format_has_is_refused(void)
{
	struct gmm_stage2_table_config good = { .format = GMM_STAGE2_NPT }, bad;
	struct gmm_stage2_table *table;

	gmm_equal(gmm_stage2_table_create(&good, &table), -GMM_EINVAL);
	bad = good, bad.format = GMM_STAGE2_FORMATS;
	gmm_equal(gmm_stage2_table_create(&bad, &table), -GMM_EINVAL);
	gmm_ok(!gmm_stage2_format_read_facts(GMM_STAGE2_FORMATS));
	bad = good, bad.flags = 0x100, refuse(bad);
	bad = good, bad.gpa_bits = 58, refuse(bad);
	bad = good, bad.pa_bits = 53, refuse(bad);
	bad = good, bad.leaf_levels = 5, refuse(bad);
	bad = good, bad.leaf_levels = 15, refuse(bad);
	bad = good, bad.format = GMM_STAGE2_EPT, refuse(bad);
	bad = good, bad.format = GMM_STAGE2_ARM64_4K, bad.gpa_bits = 31, refuse(bad);
}

const struct gmm_test_case gmm_test_cases[] = {
	{ "entries_are_what_the_manuals_say", entries_are_what_the_manuals_say },
	{ "roots_are_what_the_manuals_say", roots_are_what_the_manuals_say },
	{ "processors_and_touches_go_together", processors_and_touches_go_together },
	{ "a_hardware_walker_of_loongarch_makes_nothing_writable_that_is_clean",
	  a_hardware_walker_of_loongarch_makes_nothing_writable_that_is_clean },
	{ "a_config_that_no_format_has_is_refused", a_config_that_no_format_has_is_refused },
	{ NULL, NULL },
};
