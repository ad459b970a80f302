/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* A cache on one thread: its ledgers, its targets, what it keeps and what it resolves again. */
#include "model.h"

#define PAGE ((uint64_t)MODEL_PAGE_BYTES)
#define HOST_WRITE (GMM_CACHE_HOST | GMM_CACHE_WRITE)

struct bench {
	struct model model;
	struct gmm_cache *cache;
	struct gmm_reader *reader;
};

static void start_with(struct bench *bench, uint32_t traits, struct gmm_guest_config config)
{
	model_init_config(&bench->model, traits, config);
	if (gmm_cache_create(bench->model.guest, &bench->cache) ||
	    gmm_reader_register(bench->model.guest, &bench->reader))
		gmm_bail("no cache or reader");
}

static void start(struct bench *bench, uint32_t traits)
{
	start_with(bench, traits, (struct gmm_guest_config){ 0 });
}

static void finish(struct bench *bench)
{
	gmm_reader_unregister(bench->reader);
	gmm_equal(gmm_cache_destroy(bench->cache), 0);
	model_fini(&bench->model);
}

static void change(struct bench *bench, uint64_t page, bool move)
{
	struct gmm_range range = model_frames(page, 1);

	gmm_equal(gmm_invalidate_begin(bench->model.guest, GMM_RANGE_GFN, &range, 1, 0, NULL), 0);
	if (move)
		model_move_page(&bench->model, (uint32_t)page);
	gmm_invalidate_end(bench->model.guest, GMM_RANGE_GFN, &range, 1);
}

/* The word at an offset now, without a refresh; 0 when the cache is not valid. */
static uint64_t peek(struct bench *bench, uint64_t offset)
{
	uint64_t *pointer, word = 0;

	gmm_section_enter(bench->reader);
	pointer = gmm_cache_pointer(bench->cache, offset, sizeof(word));
	if (pointer)
		word = gmm_load_relaxed(pointer);
	gmm_section_exit(bench->reader);
	return word;
}

static uint32_t references(const struct bench *bench)
{
	uint32_t sum = 0, i;

	for (i = 0; i < MODEL_FRAMES; i++)
		sum += (uint32_t)bench->model.memory.references[i];
	return sum;
}

static uint32_t mappings(const struct bench *bench)
{
	uint32_t sum = 0, i;

	for (i = 0; i < MODEL_FRAMES; i++)
		sum += (uint32_t)bench->model.memory.mappings[i];
	return sum;
}

static uint32_t calls(const struct bench *bench, enum model_op op)
{
	return bench->model.memory.calls[op];
}

/* P22, P15 */
static void a_valid_cache_holds_no_reference(void)
{
	struct bench bench;

	start(&bench, 0);
	gmm_equal(gmm_cache_activate(bench.cache, PAGE, 3 * PAGE, GMM_CACHE_HOST), 0);
	gmm_equal(peek(&bench, PAGE), model_word(2));
	gmm_equal(references(&bench), 0);
	gmm_equal(mappings(&bench), 3);
	change(&bench, 2, false);
	gmm_equal(peek(&bench, PAGE), 0);
	gmm_equal(gmm_cache_refresh(bench.cache), 0);
	gmm_equal(references(&bench), 0);
	gmm_equal(gmm_cache_refresh(bench.cache), 0);
	gmm_equal(references(&bench), 0);
	gmm_equal(gmm_cache_deactivate(bench.cache), 0);
	gmm_equal(mappings(&bench), 0);
	finish(&bench);
}

static void check_failure(struct bench *bench, enum model_op op, uint32_t nth)
{
	/* Two stretches to resolve: what the first took must go when the second fails. */
	change(bench, 1, false);
	change(bench, 4, false);
	bench->model.memory.fail_at[op] = calls(bench, op) + nth;
	gmm_equal(gmm_cache_refresh(bench->cache), -GMM_EIO);
	gmm_equal(references(bench), 0);
	gmm_equal(mappings(bench), 0);
	gmm_equal(peek(bench, 0), 0);
	gmm_section_enter(bench->reader);
	gmm_equal(gmm_cache_pfn(bench->cache, 0), GMM_PFN_NONE);
	gmm_section_exit(bench->reader);
	gmm_equal(gmm_cache_refresh(bench->cache), 0);
	gmm_equal(references(bench), 0);
	gmm_equal(mappings(bench), 5);
	gmm_equal(peek(bench, 0), model_word(1));
	gmm_equal(peek(bench, 3 * PAGE), model_word(4));
}

/* P13, P14, P17 */
static void a_failed_refresh_leaves_nothing_behind(void)
{
	struct bench bench;

	start(&bench, 0);
	gmm_equal(gmm_cache_activate(bench.cache, PAGE, 5 * PAGE, GMM_CACHE_HOST), 0);
	check_failure(&bench, MODEL_RESOLVE, 1);
	check_failure(&bench, MODEL_RESOLVE, 2);
	/* For map() to be called, the mapping must be gone. */
	gmm_equal(gmm_cache_drop(bench.cache), 0);
	check_failure(&bench, MODEL_MAP, 1);
	finish(&bench);
}

/* P13, P14, P17 at activation, and P8: after each refusal every lock is free again. */
static void a_failed_activation_can_be_refreshed_later(void)
{
	struct bench bench;
	uint32_t op;

	start(&bench, 0);
	for (op = MODEL_RESOLVE; op <= MODEL_MAP; op++) {
		bench.model.memory.fail_at[op] = calls(&bench, op) + 1;
		gmm_equal(gmm_cache_activate(bench.cache, PAGE * (2 + op), 8, GMM_CACHE_HOST),
			  -GMM_EIO);
		gmm_equal(references(&bench), 0);
		gmm_equal(mappings(&bench), 0);
		gmm_equal(gmm_cache_refresh(bench.cache), 0);
		gmm_equal(peek(&bench, 0), model_word(2 + op));
	}
	finish(&bench);
}

/* P18, P19 */
static void a_target_that_moves_within_its_page_is_not_resolved_again(void)
{
	uint64_t *words;
	uint32_t resolved, mapped, i;
	struct bench bench;

	start(&bench, 0);
	words = model_page(&bench.model, 6);
	for (i = 1; i < 8; i++)
		words[i] = 100 + i;
	gmm_equal(gmm_cache_activate(bench.cache, 6 * PAGE + 8, 8, GMM_CACHE_HOST), 0);
	gmm_equal(peek(&bench, 0), 101);
	resolved = bench.model.memory.resolved_pages;
	mapped = calls(&bench, MODEL_MAP);
	for (i = 1; i < 8; i++) {
		gmm_equal(gmm_cache_activate(bench.cache, 6 * PAGE + 8 * i, 8, GMM_CACHE_HOST), 0);
		gmm_equal(peek(&bench, 0), 100 + i);
	}
	gmm_equal(bench.model.memory.resolved_pages, resolved);
	gmm_equal(calls(&bench, MODEL_MAP), mapped);
	/* The same while it is not valid: the right offset after the next refresh. */
	change(&bench, 6, true);
	gmm_equal(gmm_cache_activate(bench.cache, 6 * PAGE + 16, 16, GMM_CACHE_HOST), 0);
	gmm_equal(peek(&bench, 8), model_word(6));
	gmm_ok(!peek(&bench, 9), "beyond the end");
	finish(&bench);
}

/* P33: there is one target, and whoever wants another moves the cache there. */
static void another_target_replaces_all_of_the_old_one(void)
{
	struct bench bench;
	uint32_t i;

	start(&bench, 0);
	for (i = 0; i < 3; i++) {
		gmm_equal(gmm_cache_activate(bench.cache, PAGE * i + 24, PAGE * (3 - i),
					     GMM_CACHE_HOST),
			  0);
		gmm_equal(peek(&bench, 0), model_word(i));
		gmm_equal(mappings(&bench), 4 - i);
		gmm_equal(peek(&bench, PAGE * (3 - i)), 0);
	}
	/* A change of the old target does not disturb the new one; one of the new one does. */
	change(&bench, 0, true);
	gmm_equal(peek(&bench, 0), model_word(2));
	change(&bench, 3, true);
	gmm_equal(peek(&bench, 0), 0);
	finish(&bench);
}

/* P21, P20: other tests map areas that start within a page; unmap() checks what it gets. */
static void a_cache_for_guests_alone_is_never_mapped(void)
{
	struct bench bench;

	start(&bench, 0);
	gmm_equal(gmm_cache_activate(bench.cache, PAGE, 8, GMM_CACHE_GUEST), 0);
	gmm_section_enter(bench.reader);
	gmm_equal(gmm_cache_pfn(bench.cache, 0), 1);
	gmm_equal(gmm_cache_pfn(bench.cache, 1), GMM_PFN_NONE);
	gmm_ok(!gmm_cache_pointer(bench.cache, 0, 8));
	gmm_section_exit(bench.reader);
	gmm_equal(gmm_cache_drop(bench.cache), 0);
	change(&bench, 1, true);
	gmm_equal(gmm_cache_refresh(bench.cache), 0);
	gmm_section_enter(bench.reader);
	gmm_equal(gmm_cache_pfn(bench.cache, 0), 1 + MODEL_PAGES);
	gmm_section_exit(bench.reader);
	gmm_equal(gmm_cache_deactivate(bench.cache), 0);
	gmm_equal(calls(&bench, MODEL_MAP), 0);
	gmm_equal(calls(&bench, MODEL_UNMAP), 0);
	/* And the mapping goes when the use does. */
	gmm_equal(gmm_cache_activate(bench.cache, PAGE, 8, GMM_CACHE_GUEST | GMM_CACHE_HOST), 0);
	gmm_equal(mappings(&bench), 1);
	gmm_equal(gmm_cache_activate(bench.cache, PAGE, 8, GMM_CACHE_GUEST), 0);
	gmm_equal(mappings(&bench), 0);
	finish(&bench);
}

/* W4 */
static void a_refresh_resolves_only_what_was_hit(void)
{
	struct gmm_guest_counters before, after;
	uint32_t resolved, mapped;
	struct bench bench;

	start(&bench, 0);
	gmm_equal(gmm_cache_activate(bench.cache, 0, 8 * PAGE, GMM_CACHE_HOST), 0);
	resolved = bench.model.memory.resolved_pages;
	mapped = calls(&bench, MODEL_MAP);
	gmm_equal(resolved, 8);
	gmm_guest_read_counters(bench.model.guest, &before);
	change(&bench, 3, false);
	change(&bench, 5, false);
	gmm_equal(gmm_cache_refresh(bench.cache), 0);
	gmm_equal(bench.model.memory.resolved_pages, resolved + 2);
	/* The same frames: the mapping was kept. */
	gmm_equal(calls(&bench, MODEL_MAP), mapped);
	gmm_guest_read_counters(bench.model.guest, &after);
	gmm_equal(after.cache_refreshes, before.cache_refreshes + 1);
	gmm_equal(after.cache_refresh_kept, before.cache_refresh_kept + 1);
	gmm_equal(peek(&bench, 3 * PAGE), model_word(3));
	/* A refresh of a valid cache does nothing at all. */
	gmm_equal(gmm_cache_refresh(bench.cache), 0);
	gmm_equal(bench.model.memory.resolved_pages, resolved + 2);
	finish(&bench);
}

/* W4 */
static void an_unrelated_change_leaves_a_cache_valid(void)
{
	struct gmm_invalidate_result result = { 0 };
	struct gmm_slot_config config;
	struct gmm_range range = model_frames(9, 1);
	struct bench bench;

	start(&bench, MODEL_NO_SLOT);
	config = model_slot(&bench.model, 0, 0, 0, 8);
	gmm_equal(gmm_slot_add(bench.model.guest, &config), 0);
	gmm_equal(gmm_cache_activate(bench.cache, PAGE, PAGE, GMM_CACHE_HOST), 0);
	config = model_slot(&bench.model, 1, 8, 8, 4);
	gmm_equal(gmm_slot_add(bench.model.guest, &config), 0);
	gmm_equal(peek(&bench, 0), model_word(1));
	gmm_equal(gmm_slot_move(bench.model.guest, 1, 9), 0);
	gmm_equal(gmm_slot_set_flags(bench.model.guest, 1, GMM_SLOT_LOG_DIRTY), 0);
	gmm_equal(gmm_slot_resize(bench.model.guest, 1, 6), 0);
	gmm_equal(peek(&bench, 0), model_word(1));
	gmm_equal(gmm_invalidate_begin(bench.model.guest, GMM_RANGE_GFN, &range, 1, 0, &result), 0);
	gmm_equal(result.caches, 0);
	gmm_equal(peek(&bench, 0), model_word(1));
	gmm_invalidate_end(bench.model.guest, GMM_RANGE_GFN, &range, 1);
	gmm_equal(gmm_slot_remove(bench.model.guest, 1), 0);
	gmm_equal(peek(&bench, 0), model_word(1));
	/* Its own slot is another matter. */
	gmm_equal(gmm_slot_set_flags(bench.model.guest, 0, GMM_SLOT_READ_ONLY), 0);
	gmm_equal(peek(&bench, 0), 0);
	finish(&bench);
}

/* W5 */
static void drop_keeps_the_translation(void)
{
	uint32_t resolved;
	struct bench bench;

	start(&bench, 0);
	gmm_equal(gmm_cache_drop(bench.cache), -GMM_EINVAL);
	gmm_equal(gmm_cache_activate(bench.cache, 5 * PAGE + 8, PAGE, GMM_CACHE_HOST), 0);
	gmm_equal(mappings(&bench), 2);
	resolved = bench.model.memory.resolved_pages;
	gmm_equal(gmm_cache_drop(bench.cache), 0);
	gmm_equal(gmm_cache_drop(bench.cache), 0);
	gmm_equal(mappings(&bench), 0);
	gmm_equal(peek(&bench, 0), 0);
	gmm_equal(gmm_cache_refresh(bench.cache), 0);
	gmm_equal(bench.model.memory.resolved_pages, resolved);
	gmm_equal(mappings(&bench), 2);
	gmm_equal(peek(&bench, 0), model_word(5));
	/* A page that is hit while it is dropped is resolved again all the same. */
	gmm_equal(gmm_cache_drop(bench.cache), 0);
	change(&bench, 6, false);
	gmm_equal(gmm_cache_refresh(bench.cache), 0);
	gmm_equal(bench.model.memory.resolved_pages, resolved + 1);
	finish(&bench);
}

/* P10, and the refusals of activation */
static void an_inactive_cache_is_refused(void)
{
	struct bench bench;

	start(&bench, 0);
	gmm_equal(gmm_cache_refresh(bench.cache), -GMM_EINVAL);
	gmm_equal(gmm_cache_deactivate(bench.cache), 0);
	gmm_equal(gmm_cache_activate(bench.cache, PAGE, 8, GMM_CACHE_HOST), 0);
	gmm_equal(gmm_cache_deactivate(bench.cache), 0);
	gmm_equal(gmm_cache_deactivate(bench.cache), 0);
	gmm_equal(peek(&bench, 0), 0);
	gmm_equal(gmm_cache_refresh(bench.cache), -GMM_EINVAL);
	gmm_equal(peek(&bench, 0), 0);
	gmm_equal(gmm_cache_activate(bench.cache, PAGE, 8, GMM_CACHE_HOST), 0);
	gmm_equal(peek(&bench, 0), model_word(1));
	finish(&bench);
}

static void a_refused_activation_changes_nothing(void)
{
	uint64_t end = (uint64_t)1 << GMM_GPA_BITS_DEFAULT;
	struct bench bench;

	start(&bench, 0);
	gmm_equal(gmm_cache_activate(bench.cache, PAGE, 8, GMM_CACHE_HOST), 0);
	gmm_equal(gmm_cache_activate(bench.cache, 0, 0, GMM_CACHE_HOST), -GMM_EINVAL);
	gmm_equal(gmm_cache_activate(bench.cache, 0, 8, 0), -GMM_EINVAL);
	gmm_equal(gmm_cache_activate(bench.cache, 0, 8, GMM_CACHE_WRITE), -GMM_EINVAL);
	gmm_equal(gmm_cache_activate(bench.cache, 0, 8, GMM_CACHE_HOST | 8), -GMM_EINVAL);
	gmm_equal(gmm_cache_activate(bench.cache, 0, GMM_CACHE_PAGES_MAX * PAGE + 1,
				     GMM_CACHE_HOST),
		  -GMM_EINVAL);
	gmm_equal(gmm_cache_activate(bench.cache, 8, GMM_CACHE_PAGES_MAX * PAGE, GMM_CACHE_HOST),
		  -GMM_EINVAL);
	gmm_equal(gmm_cache_activate(bench.cache, end - 4, 8, GMM_CACHE_HOST), -GMM_ERANGE);
	gmm_equal(gmm_cache_activate(bench.cache, GMM_GPA_NONE, 2, GMM_CACHE_HOST), -GMM_ERANGE);
	gmm_equal(gmm_cache_activate_hva(bench.cache, ~(uint64_t)0 - 3, 8, GMM_CACHE_HOST),
		  -GMM_ERANGE);
	gmm_equal(peek(&bench, 0), model_word(1));
	change(&bench, 1, true);
	gmm_equal(gmm_cache_refresh(bench.cache), 0);
	gmm_equal(peek(&bench, 0), model_word(1));
	finish(&bench);
}

/* P9, P28, P36: no lock is held between the look-up and the use, so nothing can be taken twice. */
static void two_caches_and_one_twice_are_used_in_one_section(void)
{
	struct gmm_cache *other;
	uint64_t *first, *again, *second;
	struct bench bench;

	start(&bench, 0);
	gmm_must(!gmm_cache_create(bench.model.guest, &other));
	gmm_equal(gmm_cache_activate(bench.cache, PAGE, 8, HOST_WRITE), 0);
	gmm_equal(gmm_cache_activate(other, 2 * PAGE, 8, HOST_WRITE), 0);
	gmm_section_enter(bench.reader);
	first = gmm_cache_pointer(bench.cache, 0, 8);
	second = gmm_cache_pointer(other, 0, 8);
	gmm_section_enter(bench.reader);
	again = gmm_cache_pointer(bench.cache, 0, 8);
	gmm_section_exit(bench.reader);
	gmm_ok(first && first == again && second && second != first);
	gmm_section_exit(bench.reader);
	gmm_equal(gmm_cache_destroy(other), 0);
	finish(&bench);
}

static void a_length_is_checked_against_the_area(void)
{
	struct bench bench;
	uint8_t *base;

	start(&bench, 0);
	gmm_equal(gmm_cache_activate(bench.cache, PAGE - 2, 6, GMM_CACHE_HOST), 0);
	gmm_section_enter(bench.reader);
	base = gmm_cache_pointer(bench.cache, 0, 6);
	gmm_ok(base && base == (uint8_t *)model_page(&bench.model, 1) - 2);
	gmm_ok(gmm_cache_pointer(bench.cache, 5, 1) == base + 5);
	gmm_ok(gmm_cache_pointer(bench.cache, 6, 0) == base + 6);
	gmm_ok(!gmm_cache_pointer(bench.cache, 0, 7));
	gmm_ok(!gmm_cache_pointer(bench.cache, 6, 1));
	gmm_ok(!gmm_cache_pointer(bench.cache, 7, 0));
	gmm_ok(!gmm_cache_pointer(bench.cache, 2, ~(uint64_t)0));
	gmm_ok(!gmm_cache_pointer(bench.cache, ~(uint64_t)0, 2));
	gmm_ok(!gmm_cache_writable(bench.cache));
	gmm_section_exit(bench.reader);
	finish(&bench);
}

const struct gmm_test_case gmm_test_cases[] = {
	{ "a_valid_cache_holds_no_reference", a_valid_cache_holds_no_reference },
	{ "a_failed_refresh_leaves_nothing_behind", a_failed_refresh_leaves_nothing_behind },
	{ "a_failed_activation_can_be_refreshed_later",
	  a_failed_activation_can_be_refreshed_later },
	{ "a_target_that_moves_within_its_page_is_not_resolved_again",
	  a_target_that_moves_within_its_page_is_not_resolved_again },
	{ "another_target_replaces_all_of_the_old_one",
	  another_target_replaces_all_of_the_old_one },
	{ "a_cache_for_guests_alone_is_never_mapped", a_cache_for_guests_alone_is_never_mapped },
	{ "a_refresh_resolves_only_what_was_hit", a_refresh_resolves_only_what_was_hit },
	{ "an_unrelated_change_leaves_a_cache_valid", an_unrelated_change_leaves_a_cache_valid },
	{ "drop_keeps_the_translation", drop_keeps_the_translation },
	{ "an_inactive_cache_is_refused", an_inactive_cache_is_refused },
	{ "a_refused_activation_changes_nothing", a_refused_activation_changes_nothing },
	{ "two_caches_and_one_twice_are_used_in_one_section",
	  two_caches_and_one_twice_are_used_in_one_section },
	{ "a_length_is_checked_against_the_area", a_length_is_checked_against_the_area },
	{ NULL, NULL },
};
