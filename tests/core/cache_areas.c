/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Areas over several pages and slots (W5), and caches by host virtual address. */
#include "model.h"

#define PAGE ((uint64_t)MODEL_PAGE_BYTES)
#define HOST_WRITE (GMM_CACHE_HOST | GMM_CACHE_WRITE)

struct bench {
	struct model model;
	struct gmm_cache *cache;
	struct gmm_reader *reader;
};

static void add(struct bench *bench, struct gmm_slot_config config, uint32_t flags)
{
	config.flags = flags;
	gmm_equal(gmm_slot_add(bench->model.guest, &config), 0);
}

/* Slot 1 has pages 0 to 3 at frames 10 to 13, slot 2 pages 4 to 7 at frames 14 to 17. */
static void start(struct bench *bench, uint32_t flags_1, uint32_t flags_2)
{
	model_init(&bench->model, MODEL_NO_SLOT);
	if (gmm_cache_create(bench->model.guest, &bench->cache) ||
	    gmm_reader_register(bench->model.guest, &bench->reader))
		gmm_bail("no cache or reader");
	add(bench, model_slot(&bench->model, 1, 10, 0, 4), flags_1);
	add(bench, model_slot(&bench->model, 2, 14, 4, 4), flags_2);
}

static void finish(struct bench *bench)
{
	gmm_reader_unregister(bench->reader);
	gmm_equal(gmm_cache_destroy(bench->cache), 0);
	gmm_slot_remove(bench->model.guest, 1);
	gmm_slot_remove(bench->model.guest, 2);
	model_fini(&bench->model);
}

static void check_words(struct bench *bench, uint32_t first, uint32_t count)
{
	uint64_t word = 0;
	uint32_t i;

	for (i = 0; i < count; i++) {
		gmm_equal(model_cache_read(bench->cache, bench->reader, i * PAGE, &word), 0);
		gmm_equal(word, model_word(first + i));
	}
}

static void an_area_crosses_pages_and_slots(void)
{
	struct bench bench;
	uint8_t *base;

	start(&bench, 0, 0);
	gmm_equal(gmm_cache_activate(bench.cache, 11 * PAGE, 6 * PAGE, HOST_WRITE), 0);
	check_words(&bench, 1, 6);
	gmm_section_enter(bench.reader);
	base = gmm_cache_pointer(bench.cache, 0, 6 * PAGE);
	gmm_ok(base && base == (uint8_t *)model_page(&bench.model, 1), "one contiguous area");
	gmm_ok(gmm_cache_writable(bench.cache));
	gmm_section_exit(bench.reader);
	/* Either slot ends it. */
	gmm_equal(gmm_slot_remove(bench.model.guest, 2), 0);
	gmm_section_enter(bench.reader);
	gmm_ok(!gmm_cache_pointer(bench.cache, 0, 8));
	gmm_section_exit(bench.reader);
	gmm_equal(gmm_cache_refresh(bench.cache), -GMM_EFAULT);
	add(&bench, model_slot(&bench.model, 2, 14, 4, 4), 0);
	gmm_equal(gmm_cache_refresh(bench.cache), 0);
	check_words(&bench, 1, 6);
	finish(&bench);
}

static void frames_that_are_no_one_range_are_refused(void)
{
	struct bench bench;

	start(&bench, 0, 0);
	gmm_equal(gmm_slot_remove(bench.model.guest, 2), 0);
	/* Other pages than those that come next. */
	add(&bench, model_slot(&bench.model, 2, 14, 6, 4), 0);
	gmm_equal(gmm_cache_activate(bench.cache, 12 * PAGE, 4 * PAGE, GMM_CACHE_HOST), -GMM_EXDEV);
	gmm_equal(gmm_cache_refresh(bench.cache), -GMM_EXDEV);
	/* A target that it can have, and the old one once the slots allow it. */
	gmm_equal(gmm_cache_activate(bench.cache, 12 * PAGE, 2 * PAGE, GMM_CACHE_HOST), 0);
	check_words(&bench, 2, 2);
	/* Frames of one memory and slot that are no range: what map() says. */
	model_move_page(&bench.model, 0);
	gmm_equal(gmm_cache_activate(bench.cache, 10 * PAGE, 2 * PAGE, GMM_CACHE_HOST), -GMM_EXDEV);
	/* For guests alone nothing is mapped, so it does not matter. */
	gmm_equal(gmm_cache_activate(bench.cache, 10 * PAGE, 2 * PAGE, GMM_CACHE_GUEST), 0);
	gmm_section_enter(bench.reader);
	gmm_equal(gmm_cache_pfn(bench.cache, 0), MODEL_PAGES);
	gmm_equal(gmm_cache_pfn(bench.cache, 1), 1);
	gmm_section_exit(bench.reader);
	finish(&bench);
}

static void slots_with_different_rights_are_refused(void)
{
	struct bench bench;

	start(&bench, 0, GMM_SLOT_READ_ONLY);
	gmm_equal(gmm_cache_activate(bench.cache, 12 * PAGE, 4 * PAGE, HOST_WRITE), -GMM_EXDEV);
	gmm_equal(gmm_cache_activate(bench.cache, 12 * PAGE, 4 * PAGE, GMM_CACHE_HOST), -GMM_EXDEV);
	/* A read-only slot gives a read-only cache. */
	gmm_equal(gmm_cache_activate(bench.cache, 14 * PAGE, 2 * PAGE, HOST_WRITE), 0);
	gmm_section_enter(bench.reader);
	gmm_ok(gmm_cache_pointer(bench.cache, 0, 2 * PAGE));
	gmm_ok(!gmm_cache_writable(bench.cache));
	gmm_section_exit(bench.reader);
	gmm_equal(gmm_slot_set_flags(bench.model.guest, 2, 0), 0);
	gmm_equal(gmm_cache_refresh(bench.cache), 0);
	gmm_section_enter(bench.reader);
	gmm_ok(gmm_cache_writable(bench.cache));
	gmm_section_exit(bench.reader);
	finish(&bench);
}

static void a_hole_in_an_area_is_refused(void)
{
	struct bench bench;

	start(&bench, 0, 0);
	gmm_equal(gmm_cache_activate(bench.cache, 9 * PAGE, 2 * PAGE, GMM_CACHE_HOST), -GMM_EFAULT);
	gmm_equal(gmm_cache_activate(bench.cache, 17 * PAGE, 2 * PAGE, GMM_CACHE_HOST),
		  -GMM_EFAULT);
	gmm_equal(gmm_cache_activate(bench.cache, 30 * PAGE, 8, GMM_CACHE_HOST), -GMM_EFAULT);
	gmm_equal(gmm_slot_move(bench.model.guest, 2, 29), 0);
	gmm_equal(gmm_cache_refresh(bench.cache), 0);
	check_words(&bench, 5, 1);
	finish(&bench);
}

static uint64_t harvest(struct bench *bench, uint32_t slot)
{
	uint64_t bits = 0;

	gmm_ok(gmm_dirty_harvest(bench->model.guest, slot, 0, 4, &bits) >= 0);
	return bits;
}

static void mark(struct bench *bench, uint64_t offset, uint64_t length)
{
	gmm_equal(gmm_cache_refresh(bench->cache), 0);
	gmm_section_enter(bench->reader);
	gmm_ok(gmm_cache_pointer(bench->cache, offset, length));
	gmm_cache_mark_dirty(bench->cache, offset, length);
	gmm_section_exit(bench->reader);
}

static void each_page_is_marked_in_its_own_slot(void)
{
	struct bench bench;

	start(&bench, GMM_SLOT_LOG_DIRTY, GMM_SLOT_LOG_DIRTY);
	/* The area starts within page 1 and ends within page 6. */
	gmm_equal(gmm_cache_activate(bench.cache, 11 * PAGE + 100, 5 * PAGE, HOST_WRITE), 0);
	mark(&bench, 0, 1);
	gmm_equal(harvest(&bench, 1), 2);
	gmm_equal(harvest(&bench, 2), 0);
	mark(&bench, PAGE - 101, 2);
	gmm_equal(harvest(&bench, 1), 2 | 4);
	mark(&bench, 3 * PAGE - 101, 2);
	gmm_equal(harvest(&bench, 1), 8);
	gmm_equal(harvest(&bench, 2), 1);
	mark(&bench, 5 * PAGE - 1, 1);
	gmm_equal(harvest(&bench, 1), 0);
	gmm_equal(harvest(&bench, 2), 4);
	mark(&bench, 17, 0);
	gmm_equal(harvest(&bench, 1), 0);
	mark(&bench, 0, 5 * PAGE);
	gmm_equal(harvest(&bench, 1), 2 | 4 | 8);
	gmm_equal(harvest(&bench, 2), 1 | 2 | 4);
	/* One of the two without a log. */
	gmm_equal(gmm_slot_set_flags(bench.model.guest, 1, 0), 0);
	mark(&bench, 0, 5 * PAGE);
	gmm_equal(harvest(&bench, 2), 1 | 2 | 4);
	/* In one slot alone, over two pages. */
	gmm_equal(gmm_cache_activate(bench.cache, 14 * PAGE + 100, 2 * PAGE, HOST_WRITE), 0);
	mark(&bench, PAGE - 101, 2);
	gmm_equal(harvest(&bench, 2), 1 | 2);
	mark(&bench, PAGE, 8);
	gmm_equal(harvest(&bench, 2), 2);
	finish(&bench);
}

/*
 * A reader that writes through the pointer from before the target moved within its page marks the
 * page that it wrote (P26), also where each page has a log of its own.
 */
struct late_marker {
	struct bench *bench;
	struct gmm_gate gate;
};

static void mark_late(void *arg)
{
	struct late_marker *marker = arg;
	struct bench *bench = marker->bench;
	struct gmm_page_info info;
	struct gmm_reader *reader;
	uint32_t turn = 0;
	uint64_t *pointer;

	gmm_must(!gmm_reader_register(bench->model.guest, &reader));
	gmm_section_enter(reader);
	pointer = gmm_cache_pointer(bench->cache, 8, 8);
	gmm_must(pointer);
	gmm_gate_pass(&marker->gate);
	while (gmm_cache_pointer(bench->cache, 8, 8))
		gmm_cpu_relax(turn++);
	/* Whoever cleared it has left the engine's lock when this returns. */
	gmm_equal(gmm_page_query(bench->model.guest, 13, &info), 0);
	gmm_store_relaxed(pointer, (uint64_t)5);
	gmm_cache_mark_dirty(bench->cache, 8, 8);
	gmm_section_exit(reader);
	gmm_reader_unregister(reader);
}

static void a_mark_after_the_target_moved_is_of_the_page_that_was_written(void)
{
	struct late_marker marker;
	struct gmm_test_thread thread;
	struct bench bench;

	start(&bench, GMM_SLOT_LOG_DIRTY, GMM_SLOT_LOG_DIRTY);
	/* Offset 8 is in the last bytes of page 3, slot 1; after the move in page 4, slot 2. */
	gmm_equal(gmm_cache_activate(bench.cache, 14 * PAGE - 16, 64, HOST_WRITE), 0);
	marker.bench = &bench;
	gmm_gate_init(&marker.gate, GMM_GATE_ALL);
	gmm_test_thread_start(&thread, mark_late, &marker);
	gmm_gate_wait_held(&marker.gate);
	gmm_gate_open(&marker.gate);
	gmm_equal(gmm_cache_activate(bench.cache, 14 * PAGE - 8, 64, HOST_WRITE), 0);
	gmm_test_thread_join(&thread);
	gmm_equal(harvest(&bench, 1), 8);
	gmm_equal(harvest(&bench, 2), 0);
	finish(&bench);
}

/* By host virtual address */

static void an_hva_in_a_slot_reaches_its_page_and_is_not_logged(void)
{
	struct gmm_invalidate_result result = { 0 };
	struct gmm_range range = model_frames(11, 1);
	struct bench bench;

	start(&bench, GMM_SLOT_LOG_DIRTY, 0);
	gmm_equal(gmm_cache_activate_hva(bench.cache, MODEL_HVA + PAGE, 2 * PAGE, HOST_WRITE), 0);
	check_words(&bench, 1, 2);
	mark(&bench, 0, 2 * PAGE);
	gmm_equal(harvest(&bench, 1), 0);
	/* A change of the slot's frames is one of its addresses. */
	gmm_equal(gmm_invalidate_begin(bench.model.guest, GMM_RANGE_GFN, &range, 1, 0, &result), 0);
	gmm_equal(result.caches, 1);
	gmm_invalidate_end(bench.model.guest, GMM_RANGE_GFN, &range, 1);
	check_words(&bench, 1, 2);
	/* It stays where it is when the slot's frames go elsewhere. */
	gmm_equal(gmm_slot_move(bench.model.guest, 1, 100), 0);
	check_words(&bench, 1, 2);
	/* Two slots, or a slot and nothing, are no one area. */
	gmm_equal(gmm_cache_activate_hva(bench.cache, MODEL_HVA + 3 * PAGE, 2 * PAGE, HOST_WRITE),
		  -GMM_EXDEV);
	gmm_equal(gmm_cache_activate_hva(bench.cache, MODEL_HVA + 7 * PAGE, 2 * PAGE, HOST_WRITE),
		  -GMM_EXDEV);
	gmm_equal(gmm_cache_activate_hva(bench.cache, MODEL_HVA + 20 * PAGE, 8, HOST_WRITE),
		  -GMM_EFAULT);
	finish(&bench);
}

static void an_hva_outside_slots_is_the_guests_own_memory(void)
{
	struct gmm_guest_config config = { 0 };
	struct bench bench = { 0 };
	struct gmm_range range = { 3 * PAGE, 4 * PAGE };

	config.hva_ops = model_ops(&bench.model);
	config.hva_memory = &bench.model.memory;
	model_init_config(&bench.model, MODEL_NO_SLOT, config);
	gmm_must(!gmm_cache_create(bench.model.guest, &bench.cache));
	gmm_must(!gmm_reader_register(bench.model.guest, &bench.reader));
	gmm_equal(gmm_cache_activate_hva(bench.cache, 2 * PAGE, 3 * PAGE, HOST_WRITE), 0);
	check_words(&bench, 2, 3);
	gmm_equal(gmm_invalidate_begin(bench.model.guest, GMM_RANGE_HVA, &range, 1, 0, NULL), 0);
	gmm_section_enter(bench.reader);
	gmm_ok(!gmm_cache_pointer(bench.cache, 0, 8));
	gmm_section_exit(bench.reader);
	gmm_invalidate_end(bench.model.guest, GMM_RANGE_HVA, &range, 1);
	check_words(&bench, 2, 3);
	/* A slot comes, and has the addresses. */
	add(&bench, model_slot(&bench.model, 1, 10, 0, 4), 0);
	gmm_equal(gmm_cache_activate_hva(bench.cache, MODEL_HVA, 8, HOST_WRITE), 0);
	check_words(&bench, 0, 1);
	finish(&bench);
}

/* Bytes at the edges of an HVA range: it is widened to whole pages. */
static void a_range_of_bytes_counts_as_whole_pages(void)
{
	struct gmm_range range = { MODEL_HVA + 2 * PAGE - 1, MODEL_HVA + 2 * PAGE + 1 };
	struct gmm_invalidate_result result = { 0 };
	struct gmm_cache *by_gpa[3];
	struct bench bench;
	uint32_t i;

	start(&bench, 0, 0);
	for (i = 0; i < 3; i++) {
		gmm_must(!gmm_cache_create(bench.model.guest, &by_gpa[i]));
		gmm_equal(gmm_cache_activate(by_gpa[i], (11 + i) * PAGE + 64, 8, GMM_CACHE_HOST),
			  0);
	}
	gmm_equal(gmm_invalidate_begin(bench.model.guest, GMM_RANGE_HVA, &range, 1, 0, &result), 0);
	gmm_equal(result.caches, 2);
	gmm_section_enter(bench.reader);
	gmm_ok(!gmm_cache_pointer(by_gpa[0], 0, 8) && !gmm_cache_pointer(by_gpa[1], 0, 8));
	gmm_ok(gmm_cache_pointer(by_gpa[2], 0, 8));
	gmm_section_exit(bench.reader);
	gmm_invalidate_end(bench.model.guest, GMM_RANGE_HVA, &range, 1);
	for (i = 0; i < 3; i++)
		gmm_equal(gmm_cache_destroy(by_gpa[i]), 0);
	finish(&bench);
}

const struct gmm_test_case gmm_test_cases[] = {
	{ "an_area_crosses_pages_and_slots", an_area_crosses_pages_and_slots },
	{ "frames_that_are_no_one_range_are_refused", frames_that_are_no_one_range_are_refused },
	{ "slots_with_different_rights_are_refused", slots_with_different_rights_are_refused },
	{ "a_hole_in_an_area_is_refused", a_hole_in_an_area_is_refused },
	{ "each_page_is_marked_in_its_own_slot", each_page_is_marked_in_its_own_slot },
	{ "a_mark_after_the_target_moved_is_of_the_page_that_was_written",
	  a_mark_after_the_target_moved_is_of_the_page_that_was_written },
	{ "an_hva_in_a_slot_reaches_its_page_and_is_not_logged",
	  an_hva_in_a_slot_reaches_its_page_and_is_not_logged },
	{ "an_hva_outside_slots_is_the_guests_own_memory",
	  an_hva_outside_slots_is_the_guests_own_memory },
	{ "a_range_of_bytes_counts_as_whole_pages", a_range_of_bytes_counts_as_whole_pages },
	{ NULL, NULL },
};
