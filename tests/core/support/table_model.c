/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "table_model.h"
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

struct table_model {
	struct table_world world;
	struct frame *frames;
	uint64_t base; /* the first frame's GFN */
	uint64_t count;
	uint64_t (*take)(void *context, uint64_t bound);
	void *context;
	bool sets_bits;
	uint64_t *mask;
	uint64_t *told;
};

static uint64_t below(struct table_model *model, uint64_t bound)
{
	return model->take(model->context, bound);
}

struct piece {
	uint64_t at;
	uint64_t count;
};

/* Some frames: a few, or large aligned parts. */
static struct piece take_piece(struct table_model *model)
{
	uint64_t span = table_world_span(&model->world, 1);
	struct piece piece;

	switch (below(model, 4)) {
	case 0:
		piece.at = below(model, model->count / span) * span;
		piece.count = span;
		break;
	case 1:
		piece.at = below(model, model->count);
		piece.count = 1 + below(model, model->count - piece.at);
		break;
	default:
		piece.at = below(model, model->count);
		piece.count = 1 + below(model, 100);
		if (piece.count > model->count - piece.at)
			piece.count = model->count - piece.at;
	}
	return piece;
}

/* What a leaf says that was made of these: without hardware, what is clean is protected. */
static uint32_t as_stored(const struct table_model *model, uint32_t leaf)
{
	if (!(leaf & W))
		leaf &= ~P;
	if (!model->sets_bits && (leaf & W) && !(leaf & D) &&
	    !(model->world.hardware.format == GMM_STAGE2_SV39X4 ||
	      model->world.hardware.format == GMM_STAGE2_SV48X4))
		leaf |= P;
	return leaf;
}

/* The frames of the leaf at a frame that are in the array. */
static struct piece leaf_of(struct table_model *model, uint64_t at)
{
	struct gmm_stage2_leaf leaf;
	struct piece piece = { at, 1 };

	if (gmm_stage2_table_look_up(model->world.walker, model->base + at, &leaf))
		return piece;
	piece.at = leaf.gfn - model->base;
	piece.count = leaf.count;
	return piece;
}

static bool is_set(const uint64_t *words, uint64_t at)
{
	return words[at / 64] >> (at % 64) & 1;
}

static void clear_words(struct table_model *model, uint64_t *words)
{
	gmm_memset(words, 0, (model->count + 63) / 64 * 8);
}

/* A larger leaf that was given young or dirty by a part has it as a whole. */
static void spread_over_large(struct table_model *model, uint64_t first, uint64_t count)
{
	uint64_t i, j;

	for (i = first; i < first + count; i++) {
		struct piece leaf = leaf_of(model, i);
		struct gmm_stage2_leaf now;

		if (leaf.count == 1)
			continue;
		if (gmm_stage2_table_look_up(model->world.walker, model->base + leaf.at, &now))
			return;
		for (j = leaf.at; j < leaf.at + leaf.count; j++)
			model->frames[j].leaf |= now.leaf & (Y | D);
		i = leaf.at + leaf.count - 1;
	}
}

static void do_map(struct table_model *model)
{
	static const uint32_t leaves[] = { R | W | X | Y | D, R | W | X, R | X | Y, R | W | Y | P,
					   R | W | X | D | P };
	struct piece piece = take_piece(model);
	/* Frames that keep a frame's place within large leaves, or do not. */
	uint64_t shift = below(model, 3) ? 0 : 1 + below(model, 3);
	struct gmm_stage2_mapping mapping = {
		.gfn = model->base + piece.at,
		.count = piece.count,
		.pfn = table_world_span(&model->world, 1) * 8 + piece.at + shift,
		.leaf = leaves[below(model, 5)],
		.memory = below(model, 8) ? 0 : GMM_LEAF_DEVICE,
		.level_max = (uint32_t)below(model, 3),
	};
	uint64_t done, i;
	int error = gmm_stage2_table_populate(model->world.walker, &mapping, &done);

	if (model->world.hardware.format == GMM_STAGE2_SV39X4 ||
	    model->world.hardware.format == GMM_STAGE2_SV48X4)
		mapping.memory = 0; /* without Svpbmt */
	gmm_ok(!error || error == -GMM_EEXIST || error == -GMM_EXDEV, "map says %d", error);
	gmm_ok(error || done == piece.count);
	for (i = 0; i < done; i++) {
		struct frame *frame = &model->frames[piece.at + i];
		uint32_t had = frame->leaf;

		if (!had) {
			*frame = (struct frame){ mapping.pfn + i, as_stored(model, mapping.leaf),
						 mapping.memory };
			continue;
		}
		gmm_equal(frame->pfn, mapping.pfn + i);
		frame->leaf |= mapping.leaf & ~P;
		if ((mapping.leaf & W) && !(had & W))
			frame->leaf |= mapping.leaf & P;
		else if ((mapping.leaf & (W | P)) == W)
			frame->leaf &= ~P;
		frame->leaf = as_stored(model, frame->leaf);
	}
	spread_over_large(model, piece.at, done);
	if (!error)
		return;
	/* Why it stopped: something else is there, or a part of a leaf would have to allow more. */
	gmm_ok(model->frames[piece.at + done].leaf);
	if (error == -GMM_EEXIST)
		gmm_ok(model->frames[piece.at + done].pfn != mapping.pfn + done);
	else
		gmm_ok(leaf_of(model, piece.at + done).count > 1);
}

static void do_unmap(struct table_model *model)
{
	struct piece piece = take_piece(model);
	uint64_t expected = 0, i, j;
	int64_t gone;

	clear_words(model, model->told);
	clear_words(model, model->mask);
	for (i = piece.at; i < piece.at + piece.count; i++) {
		struct piece leaf = leaf_of(model, i);

		if (!model->frames[i].leaf)
			continue;
		for (j = leaf.at; j < leaf.at + leaf.count; j++) {
			if (model->frames[j].leaf & D && j >= piece.at &&
			    j < piece.at + piece.count)
				model->mask[(j - piece.at) / 64] |= (uint64_t)1
								    << ((j - piece.at) % 64);
			model->frames[j].leaf = 0;
			expected++;
		}
	}
	gone = gmm_stage2_table_unmap(model->world.walker, model->base + piece.at, piece.count,
				      model->told);
	gmm_equal(gone, expected);
	gmm_ok(!gmm_memcmp(model->told, model->mask, (model->count + 63) / 64 * 8));
}

static void fill_mask(struct table_model *model)
{
	uint64_t i;

	for (i = 0; i < (model->count + 63) / 64; i++)
		model->mask[i] = below(model, 3) ? below(model, 65536) * 0x0001000100010001ull :
				 below(model, 2) ? 0 :
						   ~(uint64_t)0;
}

/* Which of a leaf's frames are in the piece, and selected. */
static uint64_t count_selected(const struct table_model *model, struct piece piece,
			       struct piece leaf, const uint64_t *mask)
{
	uint64_t count = 0, i;

	for (i = leaf.at; i < leaf.at + leaf.count; i++)
		count += i >= piece.at && i < piece.at + piece.count &&
			 (!mask || is_set(mask, i - piece.at));
	return count;
}

static void do_clean(struct table_model *model)
{
	struct piece piece = take_piece(model);
	const uint64_t *mask = below(model, 2) ? model->mask : NULL;
	uint64_t expected = 0, i, j;
	int64_t told;

	fill_mask(model);
	clear_words(model, model->told);
	told = gmm_stage2_table_clean(model->world.walker, model->base + piece.at, piece.count,
				      mask, model->told, 0);
	for (i = piece.at; i < piece.at + piece.count; i = j) {
		struct piece leaf = leaf_of(model, i);
		uint64_t selected = count_selected(model, piece, leaf, mask);

		for (j = i; j < leaf.at + leaf.count && j < piece.at + piece.count; j++) {
			bool wanted = !mask || is_set(mask, j - piece.at);

			gmm_equal(is_set(model->told, j - piece.at),
				  wanted && (model->frames[j].leaf & D));
			expected += wanted && (model->frames[j].leaf & D);
			if (selected == leaf.count && (model->frames[j].leaf & D))
				model->frames[j].leaf =
					as_stored(model, model->frames[j].leaf & ~D);
		}
	}
	gmm_equal(told, expected);
}

static void do_write_protect(struct table_model *model)
{
	struct piece piece = take_piece(model);
	const uint64_t *mask = below(model, 2) ? model->mask : NULL;
	uint64_t expected = 0, i, j;
	int64_t told;

	fill_mask(model);
	clear_words(model, model->told);
	told = gmm_stage2_table_write_protect(model->world.walker, model->base + piece.at,
					      piece.count, mask, model->told, 0);
	for (i = piece.at; i < piece.at + piece.count; i = j) {
		struct piece leaf = leaf_of(model, i);
		uint64_t selected = count_selected(model, piece, leaf, mask);
		bool open = (model->frames[i].leaf & (W | P)) == W;

		for (j = i; j < leaf.at + leaf.count && j < piece.at + piece.count; j++)
			gmm_equal(is_set(model->told, j - piece.at),
				  (!mask || is_set(mask, j - piece.at)) &&
					  (model->frames[j].leaf & D));
		if (!selected || !open)
			continue;
		expected += selected;
		for (j = leaf.at; j < leaf.at + leaf.count; j++)
			model->frames[j].leaf |= P;
		j = leaf.at + leaf.count;
	}
	gmm_equal(told, expected);
}

static void do_age(struct table_model *model)
{
	struct piece piece = take_piece(model);
	uint64_t expected = 0, i, j;
	bool test = below(model, 2);
	int64_t told;

	clear_words(model, model->told);
	if (test)
		told = gmm_stage2_table_test_age(model->world.walker, model->base + piece.at,
						 piece.count, model->told);
	else
		told = gmm_stage2_table_age(model->world.walker, model->base + piece.at,
					    piece.count, model->told, GMM_STAGE2_AGE_FLUSH);
	for (i = piece.at; i < piece.at + piece.count; i++) {
		gmm_equal(is_set(model->told, i - piece.at), !!(model->frames[i].leaf & Y));
		expected += !!(model->frames[i].leaf & Y);
	}
	for (i = piece.at; !test && i < piece.at + piece.count; i++) {
		struct piece leaf = leaf_of(model, i);

		for (j = leaf.at; j < leaf.at + leaf.count; j++)
			model->frames[j].leaf &= ~Y;
		i = leaf.at + leaf.count - 1;
	}
	gmm_equal(told, expected);
}

static void do_replace(struct table_model *model)
{
	uint64_t at = below(model, model->count), pfn = 7 + below(model, 1000);
	uint32_t leaf = below(model, 2) ? R | W | X : R;
	struct frame *frame = &model->frames[at];
	struct piece large = leaf_of(model, at);
	int answer = gmm_stage2_table_replace(model->world.walker, model->base + at, pfn, leaf);

	if (!frame->leaf) {
		gmm_equal(answer, -GMM_ENOENT);
	} else if (large.count > 1) {
		gmm_equal(answer, -GMM_EXDEV);
	} else {
		gmm_equal(answer, !!(frame->leaf & D));
		frame->pfn = pfn;
		frame->leaf = as_stored(model, frame->leaf & (leaf | Y | D | P));
	}
}

static void do_split(struct table_model *model)
{
	struct piece piece = take_piece(model);
	uint64_t done = 0;
	int error;

	do {
		gmm_equal(gmm_stage2_walker_top_up(model->world.walker, 0), 0);
		error = gmm_stage2_table_split(model->world.walker, model->base + piece.at,
					       piece.count, 0, &done);
	} while (error == -GMM_ENOMEM);
	gmm_equal(error, 0);
	gmm_equal(done, piece.count);
	gmm_equal(leaf_of(model, piece.at).count, 1);
	gmm_equal(leaf_of(model, piece.at + piece.count - 1).count, 1);
}

static void do_collapse(struct table_model *model)
{
	struct piece piece = take_piece(model);
	uint64_t i, j;
	int64_t made = gmm_stage2_table_collapse(model->world.walker, model->base + piece.at,
						 piece.count, 2);

	gmm_ok(made >= 0);
	for (i = piece.at; i < piece.at + piece.count; i = j) {
		struct piece leaf = leaf_of(model, i);
		uint32_t any = 0;

		for (j = leaf.at; j < leaf.at + leaf.count; j++)
			any |= model->frames[j].leaf & (Y | D | P);
		for (j = leaf.at; j < leaf.at + leaf.count; j++)
			if (model->frames[j].leaf)
				model->frames[j].leaf |= any;
	}
}

static void do_access(struct table_model *model)
{
	static const uint32_t kinds[] = { R, W, X };
	uint64_t at = below(model, model->count), j;
	struct frame *frame = &model->frames[at];
	uint32_t access = kinds[below(model, 3)], now = 0;
	struct hardware_result result;
	enum hardware_answer answer =
		table_world_access(&model->world, model->base + at, access, &result);
	struct piece leaf = leaf_of(model, at);
	struct gmm_stage2_leaf touched;
	bool asks;

	if (!frame->leaf) {
		gmm_equal(answer, HARDWARE_ABSENT);
		return;
	}
	asks = !model->sets_bits && (!(frame->leaf & Y) || (access == W && !(frame->leaf & D)));
	if (!(frame->leaf & access) || (access == W && (frame->leaf & P)) || asks) {
		gmm_ok(answer == HARDWARE_FORBIDDEN || answer == HARDWARE_OLD,
		       "format %u: %d for access %x to %x", model->world.hardware.format, answer,
		       access, frame->leaf);
		j = (uint64_t)gmm_stage2_table_touch(model->world.walker, model->base + at, access,
						     0, &touched);
		gmm_equal((int)j, frame->leaf & access ? 0 :
				  access == W	       ? -GMM_EROFS :
							 -GMM_EFAULT);
		if (!(frame->leaf & access))
			return;
		hardware_forget(&model->world.hardware,
				(model->base + at) << model->world.facts->page_shift, 1);
		answer = table_world_access(&model->world, model->base + at, access, &result);
		if (access == W)
			for (j = leaf.at; j < leaf.at + leaf.count; j++)
				model->frames[j].leaf &= ~P;
	}
	gmm_equal(answer, HARDWARE_DONE);
	gmm_equal(table_world_pfn(&model->world, &result), frame->pfn);
	gmm_equal(result.memory, frame->memory);
	now = Y | (access == W ? D : 0);
	for (j = leaf.at; j < leaf.at + leaf.count; j++)
		model->frames[j].leaf |= now;
}

/* Every frame, and what statistics and a walk say. */
struct tally {
	struct table_model *model;
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
		const struct frame *frame =
			&tally->model->frames[leaf->gfn - tally->model->base + i];

		if (!gmm_equal(leaf->leaf, frame->leaf) || !gmm_equal(leaf->pfn + i, frame->pfn) ||
		    !gmm_equal(leaf->memory, frame->memory))
			return 1;
	}
	return 0;
}

static void check_all(struct table_model *model)
{
	struct tally tally = { .model = model };
	struct gmm_stage2_statistics statistics;
	uint64_t mapped = 0, i;

	gmm_equal(gmm_stage2_table_walk(model->world.walker, model->base, model->count, visit,
					&tally),
		  0);
	for (i = 0; i < model->count; i++)
		mapped += model->frames[i].leaf != 0;
	gmm_equal(tally.frames, mapped);
	gmm_stage2_table_read_statistics(model->world.table, &statistics);
	for (i = 0; i < GMM_STAGE2_TABLE_LEVELS; i++)
		gmm_equal(statistics.leaves[i], tally.leaves[i]);
}

struct table_model *table_model_create(uint32_t format, uint32_t flags,
				       uint64_t (*take)(void *context, uint64_t bound),
				       void *context)
{
	struct gmm_stage2_table_config config = { .format = format, .flags = flags };
	struct table_model *model = gmm_zalloc(sizeof(*model));
	uint64_t span;

	if (!model)
		gmm_bail("no memory for a model");
	config.gpa_bits = gmm_stage2_format_read_facts(format)->gpa_bits;
	if (config.gpa_bits > 48)
		config.gpa_bits = 48;
	if (format == GMM_STAGE2_SV48X4 || format == GMM_STAGE2_SV39X4)
		config.gpa_bits = 0;
	if (!table_world_init(&model->world, config))
		gmm_bail("no table for a model");
	span = table_world_span(&model->world, 1);
	model->take = take;
	model->context = context;
	model->world.hardware.remembers = below(model, 2);
	model->sets_bits = format == GMM_STAGE2_NPT || (flags & GMM_STAGE2_HARDWARE_DIRTY);
	model->count = 3 * span;
	model->base = 2 * table_world_span(&model->world, 2) - 2 * span;
	model->frames = gmm_zalloc(model->count * sizeof(*model->frames));
	model->mask = gmm_zalloc((model->count + 63) / 64 * 8);
	model->told = gmm_zalloc((model->count + 63) / 64 * 8);
	if (!model->frames || !model->mask || !model->told)
		gmm_bail("no memory for a model");
	return model;
}

void table_model_step(struct table_model *model)
{
	static void (*const operations[])(struct table_model * model) = {
		do_map, do_map,	    do_map,   do_map,	 do_unmap,  do_clean,  do_write_protect,
		do_age, do_replace, do_split, do_access, do_access, do_access, do_collapse,
	};

	operations[below(model, sizeof(operations) / sizeof(operations[0]))](model);
}

void table_model_finish(struct table_model *model)
{
	struct gmm_stage2_statistics statistics;
	uint32_t i;

	check_all(model);
	/* All gone: tables too, but for those that were only partly in the range. */
	gmm_ok(gmm_stage2_table_unmap(
		       model->world.walker, 0,
		       model->base + model->count + table_world_span(&model->world, 2), NULL) >= 0);
	gmm_stage2_table_read_statistics(model->world.table, &statistics);
	gmm_equal(statistics.tables[0], 0);
	for (i = 0; i < GMM_STAGE2_TABLE_LEVELS; i++)
		gmm_equal(statistics.leaves[i], 0);
	table_world_fini(&model->world);
	gmm_free(model->frames, model->count * sizeof(*model->frames));
	gmm_free(model->mask, (model->count + 63) / 64 * 8);
	gmm_free(model->told, (model->count + 63) / 64 * 8);
	gmm_free(model, sizeof(*model));
}
