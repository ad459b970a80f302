/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * From GPA to pointer without a cache: the direct table through changes of slots and ranges.
 * Pointers are compared and never followed, so slots can be larger than the model's memory.
 */
#include "model.h"

#define PAGE ((uint64_t)MODEL_PAGE_BYTES)
#define CHUNK 512u /* pages that share an entry of the table when they are all one slot's */
#define FOR_READ GMM_ACCESS_READ
#define FOR_WRITE (GMM_ACCESS_READ | GMM_ACCESS_WRITE)

struct bench {
	struct model model;
	struct gmm_guest *guest;
	struct gmm_reader *reader;
};

static void start(struct bench *bench)
{
	model_init(&bench->model, MODEL_NO_SLOT);
	bench->guest = bench->model.guest;
	if (gmm_reader_register(bench->guest, &bench->reader))
		gmm_bail("no reader");
}

static void finish(struct bench *bench)
{
	gmm_reader_unregister(bench->reader);
	model_fini(&bench->model);
}

/* Where slot `id` is seen by the engine, far from all others. */
static uint8_t *base_of(uint32_t id)
{
	return (uint8_t *)(uintptr_t)(0x100000000000ull + ((uint64_t)id << 32));
}

static int add(struct bench *bench, uint32_t id, gmm_gfn_t gfn, uint64_t count, uint32_t flags)
{
	struct gmm_slot_config config = model_slot(&bench->model, id, gfn, 0, count);

	config.pointer = base_of(id);
	config.flags = flags;
	config.hva = MODEL_HVA + ((uint64_t)id << 32);
	return gmm_slot_add(bench->guest, &config);
}

static void *look(struct bench *bench, gmm_gpa_t gpa, uint64_t length, uint32_t access)
{
	void *pointer;

	gmm_section_enter(bench->reader);
	pointer = gmm_slot_pointer(bench->guest, gpa, length, access);
	gmm_section_exit(bench->reader);
	return pointer;
}

#define seen_at(bench, gfn) look(bench, (gfn)*PAGE + 16, 8, FOR_READ)

static bool shows(struct bench *bench, gmm_gfn_t gfn, uint32_t id, uint64_t page)
{
	return seen_at(bench, gfn) == base_of(id) + page * PAGE + 16;
}

static void an_area_is_found_when_it_is_one_piece(void)
{
	uint64_t first = CHUNK - 4;
	struct bench bench;

	start(&bench);
	/* Slot 1 starts within a chunk, covers one wholly, and ends within a third. */
	gmm_equal(add(&bench, 1, first, CHUNK + 8, 0), 0);
	gmm_ok(look(&bench, first * PAGE, (CHUNK + 8) * PAGE, FOR_WRITE) == base_of(1));
	gmm_ok(!look(&bench, first * PAGE, (CHUNK + 8) * PAGE + 1, FOR_READ));
	gmm_ok(!look(&bench, first * PAGE - 1, 2, FOR_READ));
	gmm_ok(!look(&bench, first * PAGE, 0, FOR_READ));
	gmm_ok(!look(&bench, first * PAGE + 8, ~(uint64_t)0, FOR_READ));
	gmm_ok(!look(&bench, first * PAGE + 8, 0 - first * PAGE, FOR_READ));
	gmm_ok(!look(&bench, (uint64_t)1 << GMM_GPA_BITS_DEFAULT, 1, FOR_READ));
	gmm_ok(!look(&bench, ~(uint64_t)0, 1, FOR_READ));
	gmm_ok(!look(&bench, ((uint64_t)1 << GMM_GPA_BITS_DEFAULT) - 1, 1, FOR_READ));
	/* Side by side for the guest, not for the host; then read-only. */
	gmm_equal(add(&bench, 2, first + CHUNK + 8, 4, GMM_SLOT_READ_ONLY), 0);
	gmm_ok(!look(&bench, (first + CHUNK + 8) * PAGE - 4, 8, FOR_READ));
	gmm_ok(shows(&bench, first + CHUNK + 9, 2, 1));
	gmm_ok(!look(&bench, (first + CHUNK + 9) * PAGE, 8, FOR_WRITE));
	gmm_ok(!look(&bench, (first + CHUNK + 9) * PAGE, 8, GMM_ACCESS_WRITE));
	gmm_equal(gmm_slot_set_flags(bench.guest, 2, 0), 0);
	gmm_ok(look(&bench, (first + CHUNK + 9) * PAGE, 8, FOR_WRITE));
	/* Nothing there is nothing, whatever is asked. */
	gmm_ok(!look(&bench, 8 * CHUNK * PAGE, 8, 0));
	gmm_ok(!look(&bench, 0, 8, 0));
	gmm_equal(gmm_slot_remove(bench.guest, 1), 0);
	gmm_equal(gmm_slot_remove(bench.guest, 2), 0);
	gmm_ok(!seen_at(&bench, first) && !seen_at(&bench, first + CHUNK + 9));
	finish(&bench);
}

static void begin(struct bench *bench, struct gmm_range range, enum gmm_range_kind kind)
{
	gmm_equal(gmm_invalidate_begin(bench->guest, kind, &range, 1, GMM_INVALIDATE_NONBLOCKING,
				       NULL),
		  0);
}

static void end(struct bench *bench, struct gmm_range range, enum gmm_range_kind kind)
{
	gmm_invalidate_end(bench->guest, kind, &range, 1);
}

static struct gmm_range addresses(uint32_t id, uint64_t page, uint64_t count)
{
	uint64_t start = MODEL_HVA + ((uint64_t)id << 32) + page * PAGE;

	return (struct gmm_range){ start, start + count * PAGE };
}

/* A page is hidden while any change covers it, and shown again when none does (W9). */
static void what_is_being_changed_is_hidden_until_its_end(void)
{
	uint32_t kind;
	struct bench bench;

	start(&bench);
	/* Chunk 1 is all slot 1's, so are parts of chunks 0 and 2; slot 2 shares chunk 2. */
	gmm_equal(add(&bench, 1, CHUNK - 8, CHUNK + 16, 0), 0);
	gmm_equal(add(&bench, 2, 2 * CHUNK + 8, 4, 0), 0);
	for (kind = 0; kind < 2; kind++) {
		struct gmm_range one = model_frames(CHUNK + 5, 1);
		struct gmm_range same_chunk = model_frames(CHUNK + 9, 1);
		struct gmm_range both = model_frames(2 * CHUNK + 6, 4);
		struct gmm_range second = model_frames(2 * CHUNK + 8, 1);

		if (kind == GMM_RANGE_HVA) {
			one = addresses(1, 13, 1);
			same_chunk = addresses(1, 17, 1);
			both = addresses(1, CHUNK + 14, 2);
			second = addresses(2, 0, 1);
		}
		begin(&bench, one, kind);
		gmm_ok(!seen_at(&bench, CHUNK + 5));
		gmm_ok(!look(&bench, (CHUNK + 4) * PAGE, 3 * PAGE, FOR_READ));
		gmm_ok(shows(&bench, CHUNK - 8, 1, 0));
		gmm_ok(shows(&bench, 2 * CHUNK + 8, 2, 0));
		begin(&bench, same_chunk, kind);
		end(&bench, one, kind);
		gmm_ok(!seen_at(&bench, CHUNK + 9));
		end(&bench, same_chunk, kind);
		gmm_ok(shows(&bench, CHUNK + 5, 1, 13) && shows(&bench, CHUNK + 9, 1, 17));
		gmm_ok(shows(&bench, 2 * CHUNK - 1, 1, CHUNK + 7));
		/* A chunk of pages of two slots, which end one after the other. */
		begin(&bench, both, kind);
		begin(&bench, second, kind);
		gmm_ok(!seen_at(&bench, 2 * CHUNK + 7) && !seen_at(&bench, 2 * CHUNK + 8));
		gmm_ok(shows(&bench, 2 * CHUNK + 11, 2, 3));
		end(&bench, both, kind);
		gmm_ok(shows(&bench, 2 * CHUNK + 7, 1, CHUNK + 15));
		gmm_ok(!seen_at(&bench, 2 * CHUNK + 8));
		end(&bench, second, kind);
		gmm_ok(shows(&bench, 2 * CHUNK + 8, 2, 0) && shows(&bench, 2 * CHUNK + 9, 2, 1));
		/* The same page twice. */
		begin(&bench, second, kind);
		begin(&bench, second, kind);
		end(&bench, second, kind);
		gmm_ok(!seen_at(&bench, 2 * CHUNK + 8));
		end(&bench, second, kind);
		gmm_ok(shows(&bench, 2 * CHUNK + 8, 2, 0));
	}
	gmm_equal(gmm_slot_remove(bench.guest, 1), 0);
	gmm_equal(gmm_slot_remove(bench.guest, 2), 0);
	finish(&bench);
}

static void a_chunk_is_split_when_it_gets_a_second_slot(void)
{
	struct bench bench;

	start(&bench);
	gmm_equal(add(&bench, 1, 0, CHUNK, 0), 0);
	gmm_equal(gmm_slot_resize(bench.guest, 1, 100), 0);
	gmm_ok(shows(&bench, 99, 1, 99) && !seen_at(&bench, 100));
	gmm_equal(add(&bench, 2, 100, CHUNK - 100, GMM_SLOT_READ_ONLY), 0);
	gmm_ok(shows(&bench, 99, 1, 99) && shows(&bench, 100, 2, 0));
	gmm_ok(shows(&bench, CHUNK - 1, 2, CHUNK - 101));
	gmm_equal(gmm_slot_remove(bench.guest, 2), 0);
	gmm_ok(shows(&bench, 99, 1, 99) && !seen_at(&bench, 100));
	gmm_equal(gmm_slot_resize(bench.guest, 1, 3 * CHUNK), 0);
	gmm_ok(look(&bench, 0, 3 * CHUNK * PAGE, FOR_WRITE) == base_of(1));
	gmm_equal(gmm_slot_move(bench.guest, 1, CHUNK), 0);
	gmm_ok(!seen_at(&bench, 0) && !seen_at(&bench, CHUNK - 1));
	gmm_ok(look(&bench, CHUNK * PAGE, 3 * CHUNK * PAGE, FOR_WRITE) == base_of(1));
	gmm_equal(gmm_slot_move(bench.guest, 1, CHUNK + 1), 0);
	gmm_ok(!seen_at(&bench, CHUNK) && shows(&bench, CHUNK + 1, 1, 0));
	gmm_equal(gmm_slot_remove(bench.guest, 1), 0);
	finish(&bench);
}

/* Against a plain list. */
#define IDS 6u
#define SPACE 1600u

struct known {
	bool is;
	uint64_t gfn, count;
	bool read_only;
};

static bool is_free(const struct known *known, uint32_t self, uint64_t gfn, uint64_t count)
{
	uint32_t i;

	for (i = 0; i < IDS; i++)
		if (i != self && known[i].is && known[i].gfn < gfn + count &&
		    gfn < known[i].gfn + known[i].count)
			return false;
	return true;
}

static void step(struct bench *bench, struct known *known, uint64_t *random)
{
	uint32_t id = (uint32_t)(gmm_test_random(random) % IDS);
	uint64_t gfn = gmm_test_random(random) % 3 ? gmm_test_random(random) % SPACE :
						     gmm_test_random(random) % 4 * CHUNK;
	uint64_t count = gmm_test_random(random) % 3 ? 1 + gmm_test_random(random) % 900 : CHUNK;
	uint32_t flags = gmm_test_random(random) % 2 ? GMM_SLOT_READ_ONLY : 0;
	struct known *one = &known[id];

	if (!one->is) {
		bool is = is_free(known, id, gfn, count);

		gmm_equal(add(bench, id, gfn, count, flags), is ? 0 : -GMM_EEXIST);
		if (is)
			*one = (struct known){ true, gfn, count, flags };
		return;
	}
	switch (gmm_test_random(random) % 4) {
	case 0:
		gmm_equal(gmm_slot_remove(bench->guest, id), 0);
		one->is = false;
		break;
	case 1:
		if (gmm_slot_move(bench->guest, id, gfn))
			gmm_ok(!is_free(known, id, gfn, one->count));
		else
			one->gfn = gfn;
		break;
	case 2:
		if (gmm_slot_resize(bench->guest, id, count))
			gmm_ok(!is_free(known, id, one->gfn, count));
		else
			one->count = count;
		break;
	default:
		gmm_equal(gmm_slot_set_flags(bench->guest, id, flags), 0);
		one->read_only = flags;
		break;
	}
}

static void check_all(struct bench *bench, const struct known *known)
{
	uint32_t i, gfn, count = 0;

	for (i = 0; i < IDS; i++)
		count += known[i].is;
	gmm_equal(gmm_slot_count(bench->guest), count);
	for (gfn = 0; gfn < SPACE + 900; gfn += gfn % 64 == 62 ? 3 : 31) {
		uint8_t *readable = NULL;
		bool writable = false;

		for (i = 0; i < IDS; i++) {
			if (known[i].is && gfn >= known[i].gfn &&
			    gfn < known[i].gfn + known[i].count) {
				readable = base_of(i) + (gfn - known[i].gfn) * PAGE;
				writable = !known[i].read_only;
			}
		}
		gmm_ok(look(bench, gfn * PAGE, 8, FOR_READ) == readable);
		gmm_ok(look(bench, gfn * PAGE, 8, FOR_WRITE) == (writable ? readable : NULL));
	}
}

static void random_changes_of_slots_show_what_there_is(void)
{
	struct known known[IDS] = { { false, 0, 0, false } };
	uint64_t random = gmm_test_seed();
	struct bench bench;
	uint32_t i;

	start(&bench);
	for (i = 0; i < gmm_test_turns(6); i++) {
		step(&bench, known, &random);
		check_all(&bench, known);
	}
	for (i = 0; i < IDS; i++)
		if (known[i].is)
			gmm_equal(gmm_slot_remove(bench.guest, i), 0);
	finish(&bench);
}

static void lazy_memory_has_no_direct_pointer(void)
{
	struct gmm_slot_config config;
	struct gmm_reader *reader;
	struct model model;

	model_init(&model, MODEL_LAZY | MODEL_NO_SLOT);
	gmm_must(!gmm_reader_register(model.guest, &reader));
	config = model_slot(&model, 0, 4, 0, 4);
	config.pointer = model.memory.frames;
	gmm_equal(gmm_slot_add(model.guest, &config), 0);
	gmm_section_enter(reader);
	gmm_ok(!gmm_slot_pointer(model.guest, 5 * PAGE, 8, FOR_READ));
	gmm_section_exit(reader);
	gmm_reader_unregister(reader);
	model_fini(&model);
}

const struct gmm_test_case gmm_test_cases[] = {
	{ "an_area_is_found_when_it_is_one_piece", an_area_is_found_when_it_is_one_piece },
	{ "what_is_being_changed_is_hidden_until_its_end",
	  what_is_being_changed_is_hidden_until_its_end },
	{ "a_chunk_is_split_when_it_gets_a_second_slot",
	  a_chunk_is_split_when_it_gets_a_second_slot },
	{ "random_changes_of_slots_show_what_there_is",
	  random_changes_of_slots_show_what_there_is },
	{ "lazy_memory_has_no_direct_pointer", lazy_memory_has_no_direct_pointer },
	{ NULL, NULL },
};
