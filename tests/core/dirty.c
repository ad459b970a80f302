/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The dirty bitmap: who marks, what a harvest takes and protects; one thread. Rules P24, L7, L13, L14, W6. */
#include "model.h"
#include "wide.h"

static int64_t harvest(struct model *model, uint64_t *bits)
{
	*bits = 0;
	return gmm_dirty_harvest(model->guest, 0, 0, MODEL_PAGES, bits);
}

/* Harvests slot 0 and expects exactly these pages. */
static void expect_dirty(struct model *model, uint64_t wanted)
{
	uint64_t bits;

	gmm_equal(harvest(model, &bits), __builtin_popcountll(wanted));
	gmm_equal(bits, wanted);
}

/* Whether the guest can write without a fault. */
static bool writes_through(struct model *model, uint32_t page)
{
	uint64_t word = 77;

	return model_guest_try(model, page, true, &word);
}

static void each_write_is_in_one_harvest(uint32_t traits)
{
	struct gmm_guest_counters counters;
	struct model model;
	uint64_t word;

	model_init(&model, MODEL_LAZY | MODEL_LOG_DIRTY | traits);
	expect_dirty(&model, 0);
	gmm_must(model_guest_read(&model, 1, &word));
	expect_dirty(&model, 0);
	gmm_must(model_guest_write(&model, 3, 1));
	gmm_must(model_guest_write(&model, 3, 2));
	expect_dirty(&model, 1u << 3);
	expect_dirty(&model, 0);
	gmm_must(model_guest_read(&model, 3, &word));
	gmm_equal(word, 2);
	expect_dirty(&model, 0);
	gmm_must(model_guest_write(&model, 3, 3));
	gmm_must(model_guest_write(&model, 1, 3));
	expect_dirty(&model, 1u << 1 | 1u << 3);
	gmm_guest_read_counters(model.guest, &counters);
	gmm_equal(counters.dirty_marked, 3);
	gmm_equal(counters.dirty_harvested, 3);
	model_fini(&model);
}

static void a_guest_write_is_in_exactly_one_harvest(void)
{
	each_write_is_in_one_harvest(MODEL_OWNER);
}

static void a_guest_write_that_the_owner_logs_is_in_exactly_one_harvest(void)
{
	each_write_is_in_one_harvest(MODEL_OWNER_LOGS);
}

static void a_write_to_resident_memory_is_in_exactly_one_harvest(void)
{
	struct model model;

	model_init(&model, MODEL_LOG_DIRTY);
	gmm_equal(gmm_fault_serve(model.guest, 2, GMM_ACCESS_READ), 0);
	expect_dirty(&model, 0);
	gmm_equal(gmm_fault_serve(model.guest, 2, GMM_ACCESS_WRITE), 0);
	expect_dirty(&model, 1u << 2);
	gmm_equal(gmm_fault_serve(model.guest, 2, GMM_ACCESS_READ), 0);
	expect_dirty(&model, 0);
	gmm_equal(gmm_fault_serve(model.guest, 2, GMM_ACCESS_WRITE), 0);
	expect_dirty(&model, 1u << 2);
	model_fini(&model);
}

/* It was written before the harvest that took its bit; what comes after is a look. */
static void a_read_of_a_page_that_was_aged_is_no_write(void)
{
	struct gmm_page_info info;
	struct model model;
	uint64_t word;

	model_init(&model, MODEL_LAZY | MODEL_OWNER | MODEL_LOG_DIRTY);
	gmm_must(model_guest_write(&model, 3, 1));
	gmm_equal(gmm_age(model.guest, 0, MODEL_PAGES, 0, NULL), 1);
	expect_dirty(&model, 1u << 3);
	gmm_equal(gmm_page_query(model.guest, 3, &info), 0);
	gmm_ok(!info.dirty, "it was harvested");
	gmm_must(model_guest_read(&model, 3, &word));
	expect_dirty(&model, 0);
	model_fini(&model);
}

/* Page of the area, in bytes from its end: 8 bytes in one page, or 4 in each of two. */
static void mark_through_cache(struct model *model, struct gmm_reader *reader, gmm_gpa_t gpa,
			       uint64_t length)
{
	struct gmm_cache *cache;

	gmm_must(!gmm_cache_create(model->guest, &cache));
	gmm_equal(gmm_cache_activate(cache, gpa, length, GMM_CACHE_HOST | GMM_CACHE_WRITE), 0);
	gmm_section_enter(reader);
	gmm_ok(gmm_cache_pointer(cache, 0, length));
	gmm_cache_mark_dirty(cache, 0, 0);
	gmm_cache_mark_dirty(cache, 0, length);
	gmm_section_exit(reader);
	gmm_equal(gmm_cache_destroy(cache), 0);
}

static void a_mark_through_a_cache_covers_the_pages_written(void)
{
	struct gmm_reader *reader;
	struct model model;

	model_init(&model, MODEL_LOG_DIRTY);
	gmm_must(!gmm_reader_register(model.guest, &reader));
	mark_through_cache(&model, reader, 5 * MODEL_PAGE_BYTES + 16, 8);
	expect_dirty(&model, 1u << 5);
	mark_through_cache(&model, reader, 6 * MODEL_PAGE_BYTES - 4, 8);
	expect_dirty(&model, 3u << 5);
	mark_through_cache(&model, reader, 6 * MODEL_PAGE_BYTES - 4, 4);
	expect_dirty(&model, 1u << 5);
	mark_through_cache(&model, reader, 1 * MODEL_PAGE_BYTES + 9, 5 * MODEL_PAGE_BYTES - 9);
	expect_dirty(&model, 0x3e);
	gmm_reader_unregister(reader);
	model_fini(&model);
}

/* Each page's mark goes to its own slot, and to none where there is no log. */
static void a_mark_that_crosses_slots_goes_to_each(void)
{
	struct gmm_slot_config slot;
	struct gmm_reader *reader;
	struct model model;
	uint64_t bits;

	model_init(&model, MODEL_NO_SLOT);
	gmm_must(!gmm_reader_register(model.guest, &reader));
	slot = model_slot(&model, 0, 100, 0, 4);
	slot.flags = GMM_SLOT_LOG_DIRTY;
	gmm_equal(gmm_slot_add(model.guest, &slot), 0);
	slot = model_slot(&model, 1, 104, 4, 2);
	gmm_equal(gmm_slot_add(model.guest, &slot), 0);
	slot = model_slot(&model, 2, 106, 6, 4);
	slot.flags = GMM_SLOT_LOG_DIRTY;
	gmm_equal(gmm_slot_add(model.guest, &slot), 0);
	mark_through_cache(&model, reader, 104 * MODEL_PAGE_BYTES - 1, 2);
	gmm_equal(gmm_dirty_harvest(model.guest, 0, 0, 4, &bits), 1);
	gmm_equal(bits, 1u << 3);
	mark_through_cache(&model, reader, 102 * MODEL_PAGE_BYTES + 5, 5 * MODEL_PAGE_BYTES);
	gmm_equal(gmm_dirty_harvest(model.guest, 0, 0, 4, &bits), 2);
	gmm_equal(bits, 3u << 2);
	gmm_equal(gmm_dirty_harvest(model.guest, 2, 0, 4, &bits), 2);
	gmm_equal(bits, 3);
	gmm_equal(gmm_dirty_harvest(model.guest, 1, 0, 2, &bits), -GMM_EINVAL);
	gmm_equal(gmm_slot_remove(model.guest, 1), 0);
	gmm_equal(gmm_slot_remove(model.guest, 2), 0);
	gmm_reader_unregister(reader);
	model_fini(&model);
}

static void an_explicit_mark_passes_over_what_has_no_log(void)
{
	struct gmm_slot_config slot;
	struct model model;
	uint64_t bits;

	model_init(&model, MODEL_NO_SLOT);
	slot = model_slot(&model, 0, 10, 0, 4);
	slot.flags = GMM_SLOT_LOG_DIRTY;
	gmm_equal(gmm_slot_add(model.guest, &slot), 0);
	slot = model_slot(&model, 1, 20, 4, 4);
	slot.flags = GMM_SLOT_READ_ONLY;
	gmm_equal(gmm_slot_add(model.guest, &slot), 0);
	slot = model_slot(&model, 2, 30, 8, 4);
	slot.flags = GMM_SLOT_LOG_DIRTY;
	gmm_equal(gmm_slot_add(model.guest, &slot), 0);
	gmm_dirty_mark(model.guest, 0, 0);
	gmm_dirty_mark(model.guest, 14, 16);
	gmm_dirty_mark(model.guest, 34, 100);
	gmm_dirty_mark(model.guest, ~(uint64_t)0, 2);
	gmm_equal(gmm_dirty_harvest(model.guest, 0, 0, 4, &bits), 0);
	gmm_dirty_mark(model.guest, 12, 20);
	gmm_equal(gmm_dirty_harvest(model.guest, 0, 0, 4, &bits), 2);
	gmm_equal(bits, 3u << 2);
	gmm_equal(gmm_dirty_harvest(model.guest, 2, 0, 4, &bits), 2);
	gmm_equal(bits, 3);
	gmm_equal(gmm_slot_remove(model.guest, 1), 0);
	gmm_equal(gmm_slot_remove(model.guest, 2), 0);
	model_fini(&model);
}

static void a_harvest_out_of_range_is_refused(void)
{
	struct gmm_reader *reader;
	struct model model;
	uint64_t bits[2];

	model_init(&model, MODEL_LOG_DIRTY);
	gmm_dirty_mark(model.guest, 2, 1);
	gmm_equal(gmm_dirty_harvest(model.guest, 1, 0, 1, bits), -GMM_ENOENT);
	gmm_equal(gmm_dirty_harvest(model.guest, GMM_SLOTS_MAX, 0, 1, bits), -GMM_ENOENT);
	gmm_equal(gmm_dirty_harvest(model.guest, ~0u, 0, 1, bits), -GMM_ENOENT);
	gmm_equal(gmm_dirty_harvest(model.guest, 0, 1, 1, bits), -GMM_EINVAL);
	gmm_equal(gmm_dirty_harvest(model.guest, 0, 0, 0, bits), -GMM_ERANGE);
	gmm_equal(gmm_dirty_harvest(model.guest, 0, 0, MODEL_PAGES + 1, bits), -GMM_ERANGE);
	gmm_equal(gmm_dirty_harvest(model.guest, 0, 64, 1, bits), -GMM_ERANGE);
	gmm_equal(gmm_dirty_peek(model.guest, 0, 64, ~(uint64_t)0, bits), -GMM_ERANGE);
	gmm_equal(gmm_dirty_clear(model.guest, 0, 32, 1, bits), -GMM_EINVAL);
	gmm_must(!gmm_reader_register(model.guest, &reader));
	gmm_section_enter(reader);
	gmm_equal(gmm_dirty_harvest(model.guest, 0, 0, 1, bits), -GMM_EDEADLK);
	gmm_equal(gmm_dirty_clear(model.guest, 0, 0, 1, bits), -GMM_EDEADLK);
	gmm_section_exit(reader);
	gmm_reader_unregister(reader);
	expect_dirty(&model, 1u << 2);
	gmm_equal(gmm_slot_set_flags(model.guest, 0, 0), 0);
	gmm_equal(gmm_dirty_harvest(model.guest, 0, 0, 1, bits), -GMM_EINVAL);
	model_fini(&model);
}

/* L7: who is not in the mask keeps its bit and its write permission. */
static void clearing_obeys_the_mask(void)
{
	struct model model;
	uint64_t bits;
	uint32_t page;

	model_init(&model, MODEL_LAZY | MODEL_OWNER | MODEL_LOG_DIRTY);
	for (page = 1; page < 7; page++)
		gmm_must(model_guest_write(&model, page, page));
	gmm_equal(gmm_dirty_peek(model.guest, 0, 0, MODEL_PAGES, &bits), 6);
	gmm_equal(bits, 0x7e);
	gmm_equal(gmm_dirty_peek(model.guest, 0, 0, MODEL_PAGES, &bits), 6);
	bits = 1u << 2 | 1u << 5 | 1u << 9;
	gmm_equal(gmm_dirty_clear(model.guest, 0, 0, MODEL_PAGES, &bits), 2);
	gmm_equal(bits, 1u << 2 | 1u << 5);
	for (page = 1; page < 7; page++)
		gmm_equal(writes_through(&model, page), page != 2 && page != 5);
	gmm_equal(gmm_dirty_peek(model.guest, 0, 0, MODEL_PAGES, &bits), 4);
	gmm_equal(bits, 1u << 1 | 1u << 3 | 1u << 4 | 1u << 6);
	gmm_must(model_guest_write(&model, 5, 1));
	expect_dirty(&model, 1u << 1 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 6);
	model_fini(&model);
}

static void a_harvest_of_some_pages_leaves_the_others(void)
{
	struct wide *wide = wide_create(false, 0x200, GMM_SLOT_LOG_DIRTY);
	uint64_t bits[WIDE_PAGES / 64 + 1];
	struct gmm_page_info info;
	uint32_t page;

	for (page = 60; page < 200; page++)
		gmm_equal(gmm_fault_serve(wide->guest, 0x200 + page, GMM_ACCESS_WRITE), 0);
	gmm_equal(gmm_dirty_harvest(wide->guest, 0, 64, 70, bits), 70);
	gmm_ok(bits[0] == ~(uint64_t)0 && bits[1] == 0x3f);
	for (page = 60; page < 200; page++) {
		gmm_equal(gmm_page_query(wide->guest, 0x200 + page, &info), 0);
		gmm_ok(info.writable == (page < 64 || page >= 134), "page %u", page);
	}
	gmm_equal(gmm_dirty_harvest(wide->guest, 0, 0, WIDE_PAGES, bits), 4 + 66);
	gmm_equal(bits[0], (uint64_t)0xf << 60);
	gmm_equal(bits[1], 0);
	gmm_equal(bits[2], ~(uint64_t)0x3f);
	gmm_equal(bits[3], 0xff);
	wide_destroy(wide);
}

/* Resident memory: in stretches of the bitmap, and beyond their ends. */
static void a_harvest_protects_its_pages_and_no_others(void)
{
	const uint64_t first = 192, count = 1000;
	struct wide *wide = wide_create(false, 0x200, GMM_SLOT_LOG_DIRTY);
	uint64_t bits[WIDE_PAGES / 64 + 1];
	struct gmm_page_info info;
	uint32_t page;

	for (page = 0; page < WIDE_PAGES; page++)
		gmm_equal(gmm_fault_serve(wide->guest, 0x200 + page, GMM_ACCESS_WRITE), 0);
	gmm_equal(gmm_dirty_harvest(wide->guest, 0, 0, WIDE_PAGES, bits), WIDE_PAGES);
	for (page = 0; page < WIDE_PAGES; page += 3)
		gmm_equal(gmm_fault_serve(wide->guest, 0x200 + page, GMM_ACCESS_WRITE), 0);
	gmm_equal(gmm_dirty_peek(wide->guest, 0, first, count, bits), 334);
	/* Those of a mask: every other one of those that are written. */
	for (page = 0; page < count; page++)
		if ((first + page) % 6 != 3)
			bits[page / 64] &= ~((uint64_t)1 << (page % 64));
	gmm_equal(gmm_dirty_clear(wide->guest, 0, first, count, bits), 167);
	for (page = 0; page < WIDE_PAGES; page++) {
		bool inside = page >= first && page < first + count;

		gmm_equal(gmm_page_query(wide->guest, 0x200 + page, &info), 0);
		gmm_ok(info.writable == (page % 3 == 0 && !(inside && page % 6 == 3)), "page %u",
		       page);
	}
	wide_destroy(wide);
}

#define HUGE_PAGES 9001u /* of a slot whose pages nobody touches: three words of summary */
#define HUGE_WORDS ((HUGE_PAGES + 63) / 64)

struct shadow {
	struct model model;
	uint64_t wanted[HUGE_WORDS];
	uint64_t bits[HUGE_WORDS];
};

static void shadow_mark(struct shadow *shadow, uint32_t page, uint32_t count)
{
	gmm_dirty_mark(shadow->model.guest, page, count);
	for (; count && page < HUGE_PAGES; page++, count--)
		shadow->wanted[page / 64] |= (uint64_t)1 << (page % 64);
}

/* Harvests and compares with what was marked; forgets it there. */
static void shadow_harvest(struct shadow *shadow, uint32_t first, uint32_t count)
{
	uint32_t word, i;
	uint64_t mask;

	gmm_ok(gmm_dirty_harvest(shadow->model.guest, 0, first, count, shadow->bits) >= 0);
	for (i = 0; i < (count + 63) / 64; i++) {
		word = first / 64 + i;
		mask = count - i * 64 < 64 ? ((uint64_t)1 << (count - i * 64)) - 1 : ~(uint64_t)0;
		gmm_ok(shadow->bits[i] == (shadow->wanted[word] & mask), "word %u of %u+%u", word,
		       first, count);
		shadow->wanted[word] &= ~mask;
	}
}

static struct shadow *shadow_create(void)
{
	struct shadow *shadow = gmm_zalloc(sizeof(*shadow));
	struct gmm_slot_config slot;

	if (!shadow)
		gmm_bail("no memory");
	model_init(&shadow->model, MODEL_NO_SLOT);
	slot = model_slot(&shadow->model, 0, 0, 0, HUGE_PAGES);
	slot.flags = GMM_SLOT_LOG_DIRTY;
	slot.pointer = NULL;
	gmm_equal(gmm_slot_add(shadow->model.guest, &slot), 0);
	return shadow;
}

static void shadow_destroy(struct shadow *shadow)
{
	model_fini(&shadow->model);
	gmm_free(shadow, sizeof(*shadow));
}

static void bits_at_the_borders_of_words_and_summaries_are_found(void)
{
	static const uint32_t pages[] = { 0,	63,   64,   127,  4031, 4032,	       4095,
					  4096, 4159, 8191, 8192, 8999, HUGE_PAGES - 1 };
	struct shadow *shadow = shadow_create();
	uint32_t i, round;

	for (round = 0; round < 3; round++) {
		for (i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
			shadow_mark(shadow, pages[i], 1);
			if (round == 1)
				shadow_harvest(shadow, pages[i] / 64 * 64, pages[i] % 64 + 1);
		}
		shadow_harvest(shadow, 4032, 65);
		shadow_harvest(shadow, 0, HUGE_PAGES);
	}
	shadow_mark(shadow, 0, HUGE_PAGES + 50);
	shadow_harvest(shadow, 8960, HUGE_PAGES - 8960);
	shadow_harvest(shadow, 4096, 4096);
	shadow_harvest(shadow, 0, HUGE_PAGES);
	shadow_destroy(shadow);
}

static void random_marks_and_harvests_agree_with_a_plain_bitmap(void)
{
	struct shadow *shadow = shadow_create();
	uint64_t random = gmm_test_seed();
	uint32_t i;

	for (i = 0; i < 60; i++) {
		uint32_t first = gmm_test_random(&random) % HUGE_PAGES;
		uint32_t count =
			1 + gmm_test_random(&random) %
				    (gmm_test_random(&random) % 3 ? 70u : HUGE_PAGES - first);

		if (gmm_test_random(&random) % 3) {
			shadow_mark(shadow, first, count);
			continue;
		}
		first = first / 64 * 64;
		if (count > HUGE_PAGES - first)
			count = HUGE_PAGES - first;
		shadow_harvest(shadow, first, count);
	}
	shadow_harvest(shadow, 0, HUGE_PAGES);
	shadow_harvest(shadow, 0, HUGE_PAGES);
	shadow_destroy(shadow);
}

#define CASE(name)          \
	{                   \
#name, name \
	}

const struct gmm_test_case gmm_test_cases[] = {
	CASE(a_guest_write_is_in_exactly_one_harvest),
	CASE(a_guest_write_that_the_owner_logs_is_in_exactly_one_harvest),
	CASE(a_write_to_resident_memory_is_in_exactly_one_harvest),
	CASE(a_read_of_a_page_that_was_aged_is_no_write),
	CASE(a_mark_through_a_cache_covers_the_pages_written),
	CASE(a_mark_that_crosses_slots_goes_to_each),
	CASE(an_explicit_mark_passes_over_what_has_no_log),
	CASE(a_harvest_out_of_range_is_refused),
	CASE(clearing_obeys_the_mask),
	CASE(a_harvest_of_some_pages_leaves_the_others),
	CASE(a_harvest_protects_its_pages_and_no_others),
	CASE(bits_at_the_borders_of_words_and_summaries_are_found),
	CASE(random_marks_and_harvests_agree_with_a_plain_bitmap),
	{ NULL, NULL },
};
