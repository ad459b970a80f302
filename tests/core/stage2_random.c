/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Random operations on a table of each format, against a plain array from frame to what is mapped
 * there, and against the processor's own reading of the table. The array knows the size of leaves
 * from looking at the table before an operation: which leaves there are is checked by other cases.
 */
#include "table_world.h"

#define R GMM_LEAF_READ
#define W GMM_LEAF_WRITE
#define X GMM_LEAF_EXEC
#define Y GMM_LEAF_YOUNG
#define D GMM_LEAF_DIRTY
#define P GMM_LEAF_PROTECTED

struct frame {
	uint64_t pfn;
	uint32_t leaf; /* 0: absent */
	uint32_t memory;
};

struct run {
	struct table_world world;
	struct frame *frames;
	uint64_t base; /* the first frame's GFN */
	uint64_t count;
	uint64_t random;
	bool sets_bits;
	uint64_t *mask;
	uint64_t *told;
};

static uint64_t below(struct run *run, uint64_t bound)
{
	return gmm_test_random(&run->random) % bound;
}

struct piece {
	uint64_t at;
	uint64_t count;
};

/* Some frames: a few, or large aligned parts. */
static struct piece take_piece(struct run *run)
{
	uint64_t span = table_world_span(&run->world, 1);
	struct piece piece;

	switch (below(run, 4)) {
	case 0:
		piece.at = below(run, run->count / span) * span;
		piece.count = span;
		break;
	case 1:
		piece.at = below(run, run->count);
		piece.count = 1 + below(run, run->count - piece.at);
		break;
	default:
		piece.at = below(run, run->count);
		piece.count = 1 + below(run, 100);
		if (piece.count > run->count - piece.at)
			piece.count = run->count - piece.at;
	}
	return piece;
}

/* What a leaf says that was made of these: without hardware, what is clean is protected. */
static uint32_t as_stored(const struct run *run, uint32_t leaf)
{
	if (!(leaf & W))
		leaf &= ~P;
	if (!run->sets_bits && (leaf & W) && !(leaf & D) &&
	    !(run->world.hardware.format == GMM_STAGE2_SV39X4 ||
	      run->world.hardware.format == GMM_STAGE2_SV48X4))
		leaf |= P;
	return leaf;
}

/* The frames of the leaf at a frame that are in the array. */
static struct piece leaf_of(struct run *run, uint64_t at)
{
	struct gmm_stage2_leaf leaf;
	struct piece piece = { at, 1 };

	if (gmm_stage2_table_look_up(run->world.walker, run->base + at, &leaf))
		return piece;
	piece.at = leaf.gfn - run->base;
	piece.count = leaf.count;
	return piece;
}

static bool is_set(const uint64_t *words, uint64_t at)
{
	return words[at / 64] >> (at % 64) & 1;
}

static void clear_words(struct run *run, uint64_t *words)
{
	gmm_memset(words, 0, (run->count + 63) / 64 * 8);
}

/* A larger leaf that was given young or dirty by a part has it as a whole. */
static void spread_over_large(struct run *run, uint64_t first, uint64_t count)
{
	uint64_t i, j;

	for (i = first; i < first + count; i++) {
		struct piece leaf = leaf_of(run, i);
		struct gmm_stage2_leaf now;

		if (leaf.count == 1)
			continue;
		if (gmm_stage2_table_look_up(run->world.walker, run->base + leaf.at, &now))
			return;
		for (j = leaf.at; j < leaf.at + leaf.count; j++)
			run->frames[j].leaf |= now.leaf & (Y | D);
		i = leaf.at + leaf.count - 1;
	}
}

static void do_map(struct run *run)
{
	static const uint32_t leaves[] = { R | W | X | Y | D, R | W | X, R | X | Y, R | W | Y | P,
					   R | W | X | D | P };
	struct piece piece = take_piece(run);
	/* Frames that keep a frame's place within large leaves, or do not. */
	uint64_t shift = below(run, 3) ? 0 : 1 + below(run, 3);
	struct gmm_stage2_mapping mapping = {
		.gfn = run->base + piece.at,
		.count = piece.count,
		.pfn = table_world_span(&run->world, 1) * 8 + piece.at + shift,
		.leaf = leaves[below(run, 5)],
		.memory = below(run, 8) ? 0 : GMM_LEAF_DEVICE,
		.level_max = (uint32_t)below(run, 3),
	};
	uint64_t done, i;
	int error = gmm_stage2_table_populate(run->world.walker, &mapping, &done);

	if (run->world.hardware.format == GMM_STAGE2_SV39X4 ||
	    run->world.hardware.format == GMM_STAGE2_SV48X4)
		mapping.memory = 0; /* without Svpbmt */
	gmm_ok(!error || error == -GMM_EEXIST || error == -GMM_EXDEV, "map says %d", error);
	gmm_ok(error || done == piece.count);
	for (i = 0; i < done; i++) {
		struct frame *frame = &run->frames[piece.at + i];
		uint32_t had = frame->leaf;

		if (!had) {
			*frame = (struct frame){ mapping.pfn + i, as_stored(run, mapping.leaf),
						 mapping.memory };
			continue;
		}
		gmm_equal(frame->pfn, mapping.pfn + i);
		frame->leaf |= mapping.leaf & ~P;
		if ((mapping.leaf & W) && !(had & W))
			frame->leaf |= mapping.leaf & P;
		else if ((mapping.leaf & (W | P)) == W)
			frame->leaf &= ~P;
		frame->leaf = as_stored(run, frame->leaf);
	}
	spread_over_large(run, piece.at, done);
	if (!error)
		return;
	/* Why it stopped: something else is there, or a part of a leaf would have to allow more. */
	gmm_ok(run->frames[piece.at + done].leaf);
	if (error == -GMM_EEXIST)
		gmm_ok(run->frames[piece.at + done].pfn != mapping.pfn + done);
	else
		gmm_ok(leaf_of(run, piece.at + done).count > 1);
}

static void do_unmap(struct run *run)
{
	struct piece piece = take_piece(run);
	uint64_t expected = 0, i, j;
	int64_t gone;

	clear_words(run, run->told);
	clear_words(run, run->mask);
	for (i = piece.at; i < piece.at + piece.count; i++) {
		struct piece leaf = leaf_of(run, i);

		if (!run->frames[i].leaf)
			continue;
		for (j = leaf.at; j < leaf.at + leaf.count; j++) {
			if (run->frames[j].leaf & D && j >= piece.at && j < piece.at + piece.count)
				run->mask[(j - piece.at) / 64] |= (uint64_t)1
								  << ((j - piece.at) % 64);
			run->frames[j].leaf = 0;
			expected++;
		}
	}
	gone = gmm_stage2_table_unmap(run->world.walker, run->base + piece.at, piece.count,
				      run->told);
	gmm_equal(gone, expected);
	gmm_ok(!gmm_memcmp(run->told, run->mask, (run->count + 63) / 64 * 8));
}

static void fill_mask(struct run *run)
{
	uint64_t i;

	for (i = 0; i < (run->count + 63) / 64; i++)
		run->mask[i] = below(run, 3) ? gmm_test_random(&run->random) :
			       below(run, 2) ? 0 :
					       ~(uint64_t)0;
}

/* Which of a leaf's frames are in the piece, and selected. */
static uint64_t count_selected(const struct run *run, struct piece piece, struct piece leaf,
			       const uint64_t *mask)
{
	uint64_t count = 0, i;

	for (i = leaf.at; i < leaf.at + leaf.count; i++)
		count += i >= piece.at && i < piece.at + piece.count &&
			 (!mask || is_set(mask, i - piece.at));
	return count;
}

static void do_clean(struct run *run)
{
	struct piece piece = take_piece(run);
	const uint64_t *mask = below(run, 2) ? run->mask : NULL;
	uint64_t expected = 0, i, j;
	int64_t told;

	fill_mask(run);
	clear_words(run, run->told);
	told = gmm_stage2_table_clean(run->world.walker, run->base + piece.at, piece.count, mask,
				      run->told, 0);
	for (i = piece.at; i < piece.at + piece.count; i = j) {
		struct piece leaf = leaf_of(run, i);
		uint64_t selected = count_selected(run, piece, leaf, mask);

		for (j = i; j < leaf.at + leaf.count && j < piece.at + piece.count; j++) {
			bool wanted = !mask || is_set(mask, j - piece.at);

			gmm_equal(is_set(run->told, j - piece.at),
				  wanted && (run->frames[j].leaf & D));
			expected += wanted && (run->frames[j].leaf & D);
			if (selected == leaf.count && (run->frames[j].leaf & D))
				run->frames[j].leaf = as_stored(run, run->frames[j].leaf & ~D);
		}
	}
	gmm_equal(told, expected);
}

static void do_write_protect(struct run *run)
{
	struct piece piece = take_piece(run);
	const uint64_t *mask = below(run, 2) ? run->mask : NULL;
	uint64_t expected = 0, i, j;
	int64_t told;

	fill_mask(run);
	clear_words(run, run->told);
	told = gmm_stage2_table_write_protect(run->world.walker, run->base + piece.at, piece.count,
					      mask, run->told, 0);
	for (i = piece.at; i < piece.at + piece.count; i = j) {
		struct piece leaf = leaf_of(run, i);
		uint64_t selected = count_selected(run, piece, leaf, mask);
		bool open = (run->frames[i].leaf & (W | P)) == W;

		for (j = i; j < leaf.at + leaf.count && j < piece.at + piece.count; j++)
			gmm_equal(is_set(run->told, j - piece.at),
				  (!mask || is_set(mask, j - piece.at)) &&
					  (run->frames[j].leaf & D));
		if (!selected || !open)
			continue;
		expected += selected;
		for (j = leaf.at; j < leaf.at + leaf.count; j++)
			run->frames[j].leaf |= P;
		j = leaf.at + leaf.count;
	}
	gmm_equal(told, expected);
}

static void do_age(struct run *run)
{
	struct piece piece = take_piece(run);
	uint64_t expected = 0, i, j;
	bool test = below(run, 2);
	int64_t told;

	clear_words(run, run->told);
	if (test)
		told = gmm_stage2_table_test_age(run->world.walker, run->base + piece.at,
						 piece.count, run->told);
	else
		told = gmm_stage2_table_age(run->world.walker, run->base + piece.at, piece.count,
					    run->told, GMM_STAGE2_AGE_FLUSH);
	for (i = piece.at; i < piece.at + piece.count; i++) {
		gmm_equal(is_set(run->told, i - piece.at), !!(run->frames[i].leaf & Y));
		expected += !!(run->frames[i].leaf & Y);
	}
	for (i = piece.at; !test && i < piece.at + piece.count; i++) {
		struct piece leaf = leaf_of(run, i);

		for (j = leaf.at; j < leaf.at + leaf.count; j++)
			run->frames[j].leaf &= ~Y;
		i = leaf.at + leaf.count - 1;
	}
	gmm_equal(told, expected);
}

static void do_replace(struct run *run)
{
	uint64_t at = below(run, run->count), pfn = 7 + below(run, 1000);
	uint32_t leaf = below(run, 2) ? R | W | X : R;
	struct frame *frame = &run->frames[at];
	struct piece large = leaf_of(run, at);
	int answer = gmm_stage2_table_replace(run->world.walker, run->base + at, pfn, leaf);

	if (!frame->leaf) {
		gmm_equal(answer, -GMM_ENOENT);
	} else if (large.count > 1) {
		gmm_equal(answer, -GMM_EXDEV);
	} else {
		gmm_equal(answer, !!(frame->leaf & D));
		frame->pfn = pfn;
		frame->leaf = as_stored(run, frame->leaf & (leaf | Y | D | P));
	}
}

static void do_split(struct run *run)
{
	struct piece piece = take_piece(run);
	uint64_t done = 0;
	int error;

	do {
		gmm_equal(gmm_stage2_walker_top_up(run->world.walker, 0), 0);
		error = gmm_stage2_table_split(run->world.walker, run->base + piece.at, piece.count,
					       0, &done);
	} while (error == -GMM_ENOMEM);
	gmm_equal(error, 0);
	gmm_equal(done, piece.count);
	gmm_equal(leaf_of(run, piece.at).count, 1);
	gmm_equal(leaf_of(run, piece.at + piece.count - 1).count, 1);
}

static void do_collapse(struct run *run)
{
	struct piece piece = take_piece(run);
	uint64_t i, j;
	int64_t made =
		gmm_stage2_table_collapse(run->world.walker, run->base + piece.at, piece.count, 2);

	gmm_ok(made >= 0);
	for (i = piece.at; i < piece.at + piece.count; i = j) {
		struct piece leaf = leaf_of(run, i);
		uint32_t any = 0;

		for (j = leaf.at; j < leaf.at + leaf.count; j++)
			any |= run->frames[j].leaf & (Y | D | P);
		for (j = leaf.at; j < leaf.at + leaf.count; j++)
			if (run->frames[j].leaf)
				run->frames[j].leaf |= any;
	}
}

static void do_access(struct run *run)
{
	static const uint32_t kinds[] = { R, W, X };
	uint64_t at = below(run, run->count), j;
	struct frame *frame = &run->frames[at];
	uint32_t access = kinds[below(run, 3)], now = 0;
	struct hardware_result result;
	enum hardware_answer answer =
		table_world_access(&run->world, run->base + at, access, &result);
	struct piece leaf = leaf_of(run, at);
	struct gmm_stage2_leaf touched;
	bool asks;

	if (!frame->leaf) {
		gmm_equal(answer, HARDWARE_ABSENT);
		return;
	}
	asks = !run->sets_bits && (!(frame->leaf & Y) || (access == W && !(frame->leaf & D)));
	if (!(frame->leaf & access) || (access == W && (frame->leaf & P)) || asks) {
		gmm_ok(answer == HARDWARE_FORBIDDEN || answer == HARDWARE_OLD,
		       "format %u: %d for access %x to %x", run->world.hardware.format, answer,
		       access, frame->leaf);
		j = (uint64_t)gmm_stage2_table_touch(run->world.walker, run->base + at, access, 0,
						     &touched);
		gmm_equal((int)j, frame->leaf & access ? 0 :
				  access == W	       ? -GMM_EROFS :
							 -GMM_EFAULT);
		if (!(frame->leaf & access))
			return;
		hardware_forget(&run->world.hardware,
				(run->base + at) << run->world.facts->page_shift, 1);
		answer = table_world_access(&run->world, run->base + at, access, &result);
		if (access == W)
			for (j = leaf.at; j < leaf.at + leaf.count; j++)
				run->frames[j].leaf &= ~P;
	}
	gmm_equal(answer, HARDWARE_DONE);
	gmm_equal(table_world_pfn(&run->world, &result), frame->pfn);
	gmm_equal(result.memory, frame->memory);
	now = Y | (access == W ? D : 0);
	for (j = leaf.at; j < leaf.at + leaf.count; j++)
		run->frames[j].leaf |= now;
}

/* Every frame, and what statistics and a walk say. */
struct tally {
	struct run *run;
	uint64_t frames;
	uint64_t leaves[GMM_STAGE2_TABLE_LEVELS];
};

static int visit(void *context, const struct gmm_stage2_leaf *leaf)
{
	struct tally *tally = context;
	uint64_t i;

	tally->frames += leaf->count;
	tally->leaves[leaf->level]++;
	for (i = 0; i < leaf->count; i++) {
		const struct frame *frame = &tally->run->frames[leaf->gfn - tally->run->base + i];

		if (!gmm_equal(leaf->leaf, frame->leaf) || !gmm_equal(leaf->pfn + i, frame->pfn) ||
		    !gmm_equal(leaf->memory, frame->memory))
			return 1;
	}
	return 0;
}

static void check_all(struct run *run)
{
	struct tally tally = { .run = run };
	struct gmm_stage2_statistics statistics;
	uint64_t mapped = 0, i;

	gmm_equal(gmm_stage2_table_walk(run->world.walker, run->base, run->count, visit, &tally),
		  0);
	for (i = 0; i < run->count; i++)
		mapped += run->frames[i].leaf != 0;
	gmm_equal(tally.frames, mapped);
	gmm_stage2_table_read_statistics(run->world.table, &statistics);
	for (i = 0; i < GMM_STAGE2_TABLE_LEVELS; i++)
		gmm_equal(statistics.leaves[i], tally.leaves[i]);
}

static void run_format(uint32_t format, uint32_t flags, uint32_t turns)
{
	static void (*const operations[])(struct run * run) = {
		do_map, do_map,	    do_map,   do_map,	 do_unmap,  do_clean,  do_write_protect,
		do_age, do_replace, do_split, do_access, do_access, do_access, do_collapse,
	};
	struct gmm_stage2_table_config config = { .format = format, .flags = flags };
	struct gmm_stage2_statistics statistics;
	struct run *run = gmm_zalloc(sizeof(*run));
	uint64_t words;
	uint32_t i;

	gmm_must(run);
	config.gpa_bits = gmm_stage2_format_read_facts(format)->gpa_bits;
	if (config.gpa_bits > 48)
		config.gpa_bits = 48;
	if (format == GMM_STAGE2_SV48X4 || format == GMM_STAGE2_SV39X4)
		config.gpa_bits = 0;
	gmm_must(table_world_init(&run->world, config));
	run->world.hardware.remembers = gmm_test_seed() & 1;
	run->sets_bits = format == GMM_STAGE2_NPT || (flags & GMM_STAGE2_HARDWARE_DIRTY);
	run->random = gmm_test_seed() + format * 1000;
	run->count = 3 * table_world_span(&run->world, 1);
	run->base = 2 * table_world_span(&run->world, 2) - 2 * table_world_span(&run->world, 1);
	words = (run->count + 63) / 64 * 8;
	run->frames = gmm_zalloc(run->count * sizeof(*run->frames));
	run->mask = gmm_zalloc(words);
	run->told = gmm_zalloc(words);
	gmm_must(run->frames && run->mask && run->told);
	for (i = 0; i < turns; i++)
		operations[below(run, sizeof(operations) / sizeof(operations[0]))](run);
	check_all(run);
	/* All gone: tables too, but for the root and those that were only partly in the range. */
	gmm_ok(gmm_stage2_table_unmap(run->world.walker, 0,
				      run->base + run->count + table_world_span(&run->world, 2),
				      NULL) >= 0);
	gmm_stage2_table_read_statistics(run->world.table, &statistics);
	gmm_equal(statistics.tables[0], 0);
	for (i = 0; i < GMM_STAGE2_TABLE_LEVELS; i++)
		gmm_equal(statistics.leaves[i], 0);
	table_world_fini(&run->world);
	gmm_free(run->frames, run->count * sizeof(*run->frames));
	gmm_free(run->mask, words);
	gmm_free(run->told, words);
	gmm_free(run, sizeof(*run));
}

/* All formats with real threads' speed; in the simulator one a schedule. */
static void random_operations_do_what_they_say(void)
{
	static const struct {
		uint32_t format, flags;
	} all[] = {
		{ GMM_STAGE2_NPT, 0 },
		{ GMM_STAGE2_EPT, GMM_STAGE2_HARDWARE_DIRTY },
		{ GMM_STAGE2_SV39X4, 0 },
		{ GMM_STAGE2_SV48X4, GMM_STAGE2_HARDWARE_DIRTY },
		{ GMM_STAGE2_ARM64_4K, 0 },
		{ GMM_STAGE2_ARM64_4K, GMM_STAGE2_HARDWARE_DIRTY },
		{ GMM_STAGE2_LOONGARCH_4K, 0 },
		{ GMM_STAGE2_ARM64_16K, GMM_STAGE2_HARDWARE_DIRTY },
		{ GMM_STAGE2_LOONGARCH_16K, 0 },
		{ GMM_STAGE2_ARM64_64K, 0 },
	};
	const uint32_t count = sizeof(all) / sizeof(all[0]), small = 7;
	uint32_t i;

	if (gmm_test_turns(1) == 1) {
		i = (uint32_t)gmm_test_seed() % small;
		run_format(all[i].format, all[i].flags, 40);
		return;
	}
	for (i = 0; i < count; i++)
		run_format(all[i].format, all[i].flags, 1000);
}

const struct gmm_test_case gmm_test_cases[] = {
	{ "random_operations_do_what_they_say", random_operations_do_what_they_say },
	{ NULL, NULL },
};
