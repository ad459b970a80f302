/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Pages that somebody else took away: repaired or lost, and never silently wrong. Rules W9, W2. */
#include <guestmm/repair.h>

#include "race.h"

#define PAGE 5u

/* What the engine told about lost pages; a bit for each frame. */
static uint64_t told;
static uint32_t lines;
static uint64_t pages_told;

static void on_lost(void *opaque, gmm_gfn_t gfn, uint64_t count)
{
	gmm_ok(gfn + count <= MODEL_PAGES && opaque == &told);
	gmm_fetch_add(&pages_told, count);
	gmm_fetch_or(&told, (((uint64_t)1 << count) - 1) << gfn);
}

static void on_line(void *opaque, enum gmm_log_level level, const char *text)
{
	gmm_ok(level == GMM_LOG_ERROR && text[0] == 'l' && text[5] == ' ', "%s", text);
	gmm_fetch_add(&lines, 1u);
}

static void begin(struct model *model, uint32_t traits)
{
	told = pages_told = 0;
	lines = 0;
	model_init_config(
		model, MODEL_LAZY | traits,
		(struct gmm_guest_config){ .log = on_line, .lost = on_lost, .lost_opaque = &told });
}

static void expect_counts(struct model *model, uint64_t repaired, uint64_t lost)
{
	struct gmm_guest_counters counters;

	gmm_guest_read_counters(model->guest, &counters);
	gmm_equal(counters.pages_repaired, repaired);
	gmm_equal(counters.pages_lost, lost);
	gmm_equal(gmm_load_acquire(&pages_told), lost);
	gmm_equal(!lines, !lost);
}

static void expect_word(struct model *model, uint32_t page, uint64_t wanted)
{
	uint64_t word = ~wanted;

	gmm_ok(model_guest_read(model, page, &word));
	gmm_equal(word, wanted);
}

static gmm_hva_t address(uint32_t page)
{
	return MODEL_HVA + (gmm_hva_t)page * MODEL_PAGE_BYTES;
}

static enum gmm_page_state state_of(struct model *model, uint32_t page)
{
	struct gmm_page_info info;

	gmm_equal(gmm_page_query(model->guest, page, &info), 0);
	gmm_ok(!info.busy);
	return info.state;
}

static void clean_pages_are_repaired_and_changed_ones_reported(void)
{
	struct gmm_repair_result result = { 0 };
	struct model model;
	uint64_t word, bits;
	uint32_t i;

	begin(&model, MODEL_OWNER | MODEL_LOG_DIRTY);
	gmm_must(model_guest_read(&model, 3, &word));  /* of the source */
	gmm_must(model_guest_write(&model, 4, 44));    /* changed */
	gmm_must(model_guest_write(&model, PAGE, 55)); /* in the store */
	gmm_equal(gmm_evict(model.guest, PAGE, 1, 0), 1);
	gmm_must(model_guest_read(&model, PAGE, &word));
	gmm_equal(gmm_discard(model.guest, 6, 1), 0); /* zero */
	gmm_must(model_guest_read(&model, 6, &word));
	gmm_must(model_guest_write(&model, 7, 77)); /* nobody takes it */
	gmm_equal(gmm_dirty_harvest(model.guest, 0, 0, MODEL_PAGES, &bits), 4);
	for (i = 3; i < 7; i++)
		model_take_page(&model, i);
	gmm_equal(gmm_repair(model.guest, 0, MODEL_PAGES, &result), 0);
	gmm_equal(result.repaired, 3);
	gmm_equal(result.lost, 1);
	expect_counts(&model, 3, 1);
	gmm_equal(told, 1u << 4);
	gmm_equal(gmm_resident_pages(model.guest), 1);
	gmm_equal(state_of(&model, 3), GMM_PAGE_ABSENT);
	gmm_equal(state_of(&model, 4), GMM_PAGE_ZERO);
	gmm_equal(state_of(&model, PAGE), GMM_PAGE_EVICTED);
	gmm_equal(state_of(&model, 6), GMM_PAGE_ZERO);
	/* What is zero now is a change that a harvest has to see. */
	gmm_equal(gmm_dirty_harvest(model.guest, 0, 0, MODEL_PAGES, &bits), 1);
	gmm_equal(bits, 1u << 4);
	expect_word(&model, 3, model_word(3));
	expect_word(&model, 4, 0);
	expect_word(&model, PAGE, 55);
	expect_word(&model, 6, 0);
	expect_word(&model, 7, 77);
	gmm_equal(gmm_repair(model.guest, 0, MODEL_PAGES, &result), 0);
	gmm_equal(result.repaired + result.lost, 4);
	model_fini(&model);
}

/* A fault on a page that is gone neither fails nor comes again and again. */
static void a_fault_on_a_page_that_is_gone_is_served(void)
{
	static const uint32_t owners[] = { MODEL_OWNER, MODEL_OWNER_LOGS, MODEL_OWNER_UNPROTECTED };
	struct model model;
	uint64_t word;
	uint32_t i;

	for (i = 0; i < 3; i++) {
		bool protects = owners[i] != MODEL_OWNER_UNPROTECTED;

		begin(&model, owners[i] | MODEL_LOG_DIRTY);
		gmm_must(model_guest_read(&model, PAGE, &word));
		model_take_page(&model, PAGE);
		/* Where nothing maps protected the page counts as changed. */
		expect_word(&model, PAGE, protects ? model_word(PAGE) : 0);
		expect_counts(&model, protects, !protects);
		model_take_page(&model, PAGE);
		gmm_ok(model_guest_write(&model, PAGE, 7));
		expect_word(&model, PAGE, 7);
		model_take_page(&model, PAGE);
		expect_word(&model, PAGE, 0);
		/* A cache may have written to it meanwhile: it stays changed. */
		gmm_equal(gmm_evict(model.guest, PAGE, 1, 0), 1);
		gmm_equal(state_of(&model, PAGE), GMM_PAGE_EVICTED);
		expect_word(&model, PAGE, 0);
		/* Aged: the table says that it is not mapped. */
		gmm_ok(model_guest_write(&model, PAGE, 8));
		gmm_equal(gmm_age(model.guest, 0, MODEL_PAGES, 0, NULL), 1);
		model_take_page(&model, PAGE);
		expect_word(&model, PAGE, 0);
		expect_counts(&model, protects ? 2 : 0, protects ? 2 : 4);
		model_fini(&model);
	}
}

/* Who serves the fault is not told that there was no page; the owner of the second stage finds out. */
static void a_write_to_a_clean_page_that_is_gone_loses_nothing(void)
{
	struct model model;
	uint64_t word;

	begin(&model, MODEL_OWNER);
	gmm_must(model_guest_read(&model, PAGE, &word));
	gmm_equal(gmm_age(model.guest, 0, MODEL_PAGES, 0, NULL), 1);
	model_take_page(&model, PAGE);
	gmm_equal(gmm_fault_serve(model.guest, PAGE, GMM_ACCESS_READ | GMM_ACCESS_WRITE), 0);
	expect_counts(&model, 1, 0);
	expect_word(&model, PAGE, model_word(PAGE));
	model_fini(&model);
}

static void write_through(struct gmm_cache *cache, struct gmm_reader *reader, uint64_t word)
{
	uint64_t *pointer;

	gmm_section_enter(reader);
	pointer = gmm_cache_pointer(cache, 0, 8);
	if (gmm_ok(pointer))
		gmm_store_relaxed(pointer, word);
	gmm_section_exit(reader);
}

/* Who finds the page gone, and cannot invalidate its caches. */
static void read_it(struct model *model)
{
	uint64_t contents[MODEL_PAGE_BYTES / 8];

	gmm_equal(gmm_page_read(model->guest, PAGE, contents), 0);
	gmm_equal(contents[0], 0);
}

static void touch_it_without_memory(struct model *model)
{
	model->memory.fail_with = -GMM_ENOMEM;
	model->memory.fail_at[MODEL_FILL] = model->memory.calls[MODEL_FILL] + 1;
	gmm_equal(gmm_repair_touched(model->guest, address(PAGE)), -GMM_ENOMEM);
}

static void fault_without_memory(struct model *model)
{
	model->memory.fail_with = -GMM_ENOMEM;
	model->memory.fail_at[MODEL_FILL] = model->memory.calls[MODEL_FILL] + 1;
	gmm_equal(gmm_fault_serve(model->guest, PAGE, GMM_ACCESS_READ | GMM_FAULT_MISSING),
		  -GMM_ENOMEM);
}

/* What a cache writes that stayed valid over the loss goes out with the page. */
static void what_a_cache_writes_after_a_loss_is_kept(void)
{
	static void (*const finders[])(struct model * model) = { read_it, touch_it_without_memory,
								 fault_without_memory };
	struct gmm_reader *reader;
	struct gmm_cache *cache;
	struct model model;
	uint32_t i;

	for (i = 0; i < 3; i++) {
		begin(&model, MODEL_OWNER);
		gmm_must(!gmm_reader_register(model.guest, &reader));
		gmm_must(!gmm_cache_create(model.guest, &cache));
		gmm_must(!gmm_cache_activate(cache, PAGE * MODEL_PAGE_BYTES, 8,
					     GMM_CACHE_HOST | GMM_CACHE_WRITE));
		write_through(cache, reader, 7);
		model_take_page(&model, PAGE);
		finders[i](&model);
		/* The device's next access finds the hole, waits, and goes on. */
		gmm_equal(gmm_repair_touched(model.guest, address(PAGE)), 0);
		write_through(cache, reader, 9);
		gmm_equal(gmm_evict(model.guest, PAGE, 1, 0), 1);
		expect_word(&model, PAGE, 9);
		expect_counts(&model, 0, 1);
		gmm_reader_unregister(reader);
		gmm_equal(gmm_cache_destroy(cache), 0);
		model_fini(&model);
	}
}

static void what_is_read_of_a_page_that_is_gone_is_not_taken_for_its_contents(void)
{
	uint64_t contents[MODEL_PAGE_BYTES / 8];
	struct model model;
	uint64_t word;

	begin(&model, MODEL_OWNER);
	gmm_must(model_guest_read(&model, 3, &word));
	gmm_must(model_guest_write(&model, 4, 44));
	gmm_must(model_guest_write(&model, PAGE, 55));
	model_take_page(&model, 3);
	model_take_page(&model, 4);
	gmm_equal(gmm_page_read(model.guest, 3, contents), 0);
	gmm_equal(contents[0], model_word(3));
	gmm_equal(gmm_page_read(model.guest, 4, contents), 0);
	gmm_equal(contents[0], 0);
	expect_counts(&model, 1, 1);
	/* An eviction would write out the zeros of the hole, and nobody would know. */
	gmm_must(model_guest_write(&model, 4, 45));
	model_take_page(&model, PAGE);
	gmm_equal(gmm_evict(model.guest, 0, MODEL_PAGES, 0), 2);
	expect_counts(&model, 1, 2);
	gmm_equal(gmm_resident_pages(model.guest), 0);
	gmm_equal(state_of(&model, PAGE), GMM_PAGE_ZERO);
	expect_word(&model, 4, 45);
	expect_word(&model, PAGE, 0);
	model_fini(&model);
}

static void caches_of_the_range_are_not_valid_afterwards(void)
{
	struct gmm_reader *reader;
	struct gmm_cache *hit, *other;
	struct model model;
	uint64_t word = 0;

	begin(&model, MODEL_OWNER);
	gmm_must(!gmm_reader_register(model.guest, &reader));
	gmm_must(!gmm_cache_create(model.guest, &hit) && !gmm_cache_create(model.guest, &other));
	gmm_equal(gmm_cache_activate(hit, PAGE * MODEL_PAGE_BYTES, 8,
				     GMM_CACHE_HOST | GMM_CACHE_WRITE),
		  0);
	gmm_equal(gmm_cache_activate(other, (PAGE + 1) * MODEL_PAGE_BYTES, 8, GMM_CACHE_HOST), 0);
	gmm_equal(model_cache_write(hit, reader, 0, 5), 0);
	model_take_page(&model, PAGE);
	gmm_equal(gmm_repair(model.guest, PAGE, 1, NULL), 0);
	gmm_section_enter(reader);
	gmm_ok(!gmm_cache_pointer(hit, 0, 8) && gmm_cache_pointer(other, 0, 8));
	gmm_equal(gmm_repair(model.guest, PAGE, 1, NULL), -GMM_EDEADLK);
	gmm_section_exit(reader);
	expect_counts(&model, 0, 1);
	gmm_equal(model_cache_read(hit, reader, 0, &word), 0);
	gmm_equal(word, 0);
	gmm_equal(gmm_cache_destroy(hit) | gmm_cache_destroy(other), 0);
	gmm_reader_unregister(reader);
	model_fini(&model);
}

/* W2: who touched it is in a section, so who serves it waits for none. */
static void a_touched_page_is_made_resident_beside_its_section(void)
{
	struct gmm_reader *reader;
	struct gmm_cache *cache;
	struct model model;
	uint64_t *pointer;

	begin(&model, MODEL_OWNER);
	gmm_must(!gmm_reader_register(model.guest, &reader));
	gmm_must(!gmm_cache_create(model.guest, &cache));
	gmm_equal(gmm_cache_activate(cache, PAGE * MODEL_PAGE_BYTES, 8,
				     GMM_CACHE_HOST | GMM_CACHE_WRITE),
		  0);
	gmm_section_enter(reader);
	pointer = gmm_cache_pointer(cache, 0, 8);
	gmm_must(pointer);
	model_take_page(&model, PAGE);
	gmm_equal(gmm_repair_touched(model.guest, address(PAGE)), 0);
	expect_counts(&model, 0, 1);
	gmm_equal(gmm_load_relaxed(pointer), 0);
	gmm_store_relaxed(pointer, 99);
	gmm_cache_mark_dirty(cache, 0, 8);
	gmm_section_exit(reader);
	/* The cache stayed valid, so that the page counts as changed. */
	gmm_equal(gmm_evict(model.guest, PAGE, 1, 0), 1);
	expect_word(&model, PAGE, 99);
	/* One that is absent, or there, is no error. */
	gmm_equal(gmm_repair_touched(model.guest, address(9)), 0);
	gmm_equal(gmm_repair_touched(model.guest, address(9)), 0);
	gmm_equal(state_of(&model, 9), GMM_PAGE_PRESENT);
	gmm_equal(gmm_repair_touched(model.guest, address(MODEL_PAGES)), -GMM_EFAULT);
	expect_counts(&model, 0, 1);
	gmm_equal(gmm_cache_destroy(cache), 0);
	gmm_reader_unregister(reader);
	model_fini(&model);
}

static void a_failure_changes_nothing_and_can_be_repeated(void)
{
	static const enum model_op ops[] = { MODEL_LOST, MODEL_FILL };
	struct model model;
	uint64_t word = 0;
	uint32_t i;

	for (i = 0; i < 2; i++) {
		begin(&model, MODEL_OWNER);
		gmm_must(model_guest_write(&model, PAGE, 5));
		model_take_page(&model, PAGE);
		model.memory.fail_at[ops[i]] = model.memory.calls[ops[i]] + 1;
		gmm_ok(!model_guest_read(&model, PAGE, &word));
		gmm_equal(state_of(&model, PAGE), i ? GMM_PAGE_ZERO : GMM_PAGE_PRESENT);
		expect_word(&model, PAGE, 0);
		expect_counts(&model, 0, 1);
		gmm_equal(gmm_resident_pages(model.guest), 1);
		model_fini(&model);
	}
	begin(&model, MODEL_OWNER);
	gmm_must(model_guest_write(&model, PAGE, 5));
	model_take_page(&model, PAGE);
	model.memory.fail_at[MODEL_LOST] = model.memory.calls[MODEL_LOST] + 1;
	gmm_equal(gmm_repair(model.guest, 0, MODEL_PAGES, NULL), -GMM_EIO);
	expect_counts(&model, 0, 0);
	gmm_equal(gmm_repair(model.guest, 0, MODEL_PAGES, NULL), 0);
	expect_counts(&model, 0, 1);
	gmm_equal(gmm_repair(model.guest, 0, 0, NULL), -GMM_EINVAL);
	gmm_equal(gmm_repair(model.guest, ~(uint64_t)0, 1, NULL), -GMM_ERANGE);
	gmm_equal(gmm_repair(model.guest, MODEL_PAGES, 1000, NULL), 0);
	model_fini(&model);
}

/* The memory cannot fill just now: nothing is lost by that, and whoever asked goes on. */
static void a_fill_that_is_to_be_tried_again_is(void)
{
	struct model model;
	uint64_t word;

	begin(&model, MODEL_OWNER);
	model.memory.fail_with = -GMM_EAGAIN;
	model.memory.fail_at[MODEL_FILL] = 1;
	gmm_equal(gmm_fault_serve(model.guest, PAGE, GMM_ACCESS_READ), GMM_FAULT_HELD);
	gmm_ok(model.wakes > 0);
	gmm_must(model_guest_read(&model, PAGE, &word));
	model.memory.fail_at[MODEL_FILL] = model.memory.calls[MODEL_FILL] + 1;
	gmm_equal(gmm_fault_populate(model.guest, 0, MODEL_PAGES, GMM_ACCESS_READ, 0), 0);
	gmm_equal(gmm_resident_pages(model.guest), MODEL_PAGES);
	model_fini(&model);
}

/* What is resident from the start has no pages to be asked for; its caches are hit all the same. */
static void memory_that_cannot_say_is_only_invalidated(void)
{
	struct gmm_reader *reader;
	struct gmm_cache *cache;
	struct model model;

	model_init(&model, 0);
	gmm_must(!gmm_reader_register(model.guest, &reader));
	gmm_must(!gmm_cache_create(model.guest, &cache));
	gmm_equal(gmm_cache_activate(cache, 0, 8, GMM_CACHE_HOST), 0);
	gmm_equal(gmm_repair(model.guest, 0, 1, NULL), 0);
	gmm_section_enter(reader);
	gmm_ok(!gmm_cache_pointer(cache, 0, 8));
	gmm_section_exit(reader);
	gmm_equal(gmm_repair_touched(model.guest, address(0)), -GMM_EOPNOTSUPP);
	gmm_equal(gmm_cache_destroy(cache), 0);
	gmm_reader_unregister(reader);
	model_fini(&model);
}

#define CASE(name)          \
	{                   \
#name, name \
	}

const struct gmm_test_case gmm_test_cases[] = {
	CASE(clean_pages_are_repaired_and_changed_ones_reported),
	CASE(a_fault_on_a_page_that_is_gone_is_served),
	CASE(a_write_to_a_clean_page_that_is_gone_loses_nothing),
	CASE(what_a_cache_writes_after_a_loss_is_kept),
	CASE(what_is_read_of_a_page_that_is_gone_is_not_taken_for_its_contents),
	CASE(caches_of_the_range_are_not_valid_afterwards),
	CASE(a_touched_page_is_made_resident_beside_its_section),
	CASE(a_failure_changes_nothing_and_can_be_repeated),
	CASE(a_fill_that_is_to_be_tried_again_is),
	CASE(memory_that_cannot_say_is_only_invalidated),
	{ NULL, NULL },
};
