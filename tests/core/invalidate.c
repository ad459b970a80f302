/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Changes of ranges: what they reach, what they refuse, and how many are told apart. A thread that
 * would wait for its own change is refused with -GMM_EDEADLK: so one thread can ask what is active.
 */
#include "race.h"

#define PAGE ((uint64_t)MODEL_PAGE_BYTES)

static bool is_active(struct model *model, enum gmm_range_kind kind, struct gmm_range range)
{
	int error = gmm_invalidate_wait(model->guest, kind, range);

	gmm_ok(!error || error == -GMM_EDEADLK);
	return error;
}

/* A change that this thread may make while it makes another. */
static void begin(struct model *model, enum gmm_range_kind kind, struct gmm_range range)
{
	gmm_equal(gmm_invalidate_begin(model->guest, kind, &range, 1, GMM_INVALIDATE_NONBLOCKING,
				       NULL),
		  0);
}

static void end(struct model *model, enum gmm_range_kind kind, struct gmm_range range)
{
	gmm_invalidate_end(model->guest, kind, &range, 1);
}

static bool is_valid(struct gmm_cache *cache, struct gmm_reader *reader)
{
	bool valid;

	gmm_section_enter(reader);
	valid = gmm_cache_pointer(cache, 0, 8);
	gmm_section_exit(reader);
	return valid;
}

/* G1: a range up to the end of a slot, from any page of it, by frames and by addresses. */
static void check_ranges_to_the_end(gmm_gfn_t gfn, gmm_hva_t hva, uint64_t count)
{
	struct gmm_cache *caches[2]; /* of the last page, by GPA and by HVA */
	struct gmm_slot_config config;
	struct gmm_reader *reader;
	struct model model;
	uint64_t k;
	uint32_t kind, i;

	model_init(&model, MODEL_NO_SLOT);
	config = model_slot(&model, 0, gfn, 0, count);
	config.hva = hva;
	gmm_equal(gmm_slot_add(model.guest, &config), 0);
	gmm_must(!gmm_reader_register(model.guest, &reader));
	for (i = 0; i < 2; i++)
		gmm_must(!gmm_cache_create(model.guest, &caches[i]));
	gmm_equal(gmm_cache_activate(caches[0], (gfn + count - 1) * PAGE, 8, GMM_CACHE_HOST), 0);
	gmm_equal(gmm_cache_activate_hva(caches[1], hva + (count - 1) * PAGE, 8, GMM_CACHE_HOST),
		  0);
	for (kind = 0; kind < 2; kind++) {
		for (k = 0; k < count; k++) {
			struct gmm_range range = { gfn + k, gfn + count };

			if (kind == GMM_RANGE_HVA)
				range = (struct gmm_range){ hva + k * PAGE, hva + count * PAGE };
			/* The last byte of the number space has no address behind it. */
			if (!range.end)
				range.end--;
			begin(&model, kind, range);
			for (i = 0; i < 2; i++)
				gmm_ok(!is_valid(caches[i], reader), "from page %u",
				       (unsigned int)k);
			end(&model, kind, range);
			for (i = 0; i < 2; i++)
				gmm_equal(gmm_cache_refresh(caches[i]), 0);
		}
	}
	for (i = 0; i < 2; i++)
		gmm_equal(gmm_cache_destroy(caches[i]), 0);
	gmm_reader_unregister(reader);
	model_fini(&model);
}

static void a_range_to_the_end_of_a_slot_reaches_its_last_page(void)
{
	check_ranges_to_the_end(0, MODEL_HVA, 4);
	check_ranges_to_the_end(0, 0, 1);
	/* At the very ends of both spaces. */
	check_ranges_to_the_end(((uint64_t)1 << (GMM_GPA_BITS_DEFAULT - 12)) - 3,
				0 - (uint64_t)3 * MODEL_PAGE_BYTES, 3);
}

/* W3: however many ranges, readers are waited for once. */
#define BATCH 1000u

static void a_batch_waits_for_readers_once(void)
{
	struct gmm_range *ranges = gmm_zalloc(BATCH * sizeof(*ranges));
	struct gmm_guest_counters before, after;
	struct gmm_invalidate_result result = { 0 };
	struct gmm_reader *reader;
	struct gmm_cache *cache;
	struct model model;
	uint32_t i;

	gmm_must(ranges);
	for (i = 0; i < BATCH; i++)
		ranges[i] = model_frames(2 * (uint64_t)i, 1);
	model_init(&model, 0);
	gmm_must(!gmm_reader_register(model.guest, &reader));
	gmm_must(!gmm_cache_create(model.guest, &cache));
	gmm_equal(gmm_cache_activate(cache, 0, 6 * PAGE, GMM_CACHE_HOST), 0);
	gmm_guest_read_counters(model.guest, &before);
	gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, ranges, BATCH, 0, &result), 0);
	gmm_guest_read_counters(model.guest, &after);
	gmm_equal(after.reader_waits, before.reader_waits + 1);
	gmm_equal(after.invalidations, before.invalidations + BATCH);
	/* One cache, hit three times, was valid once. */
	gmm_equal(result.caches, 1);
	gmm_equal(after.cache_invalidations, before.cache_invalidations + 1);
	gmm_ok(after.range_merges - before.range_merges >= BATCH - GMM_ACTIVE_RANGES);
	for (i = 0; i < BATCH; i++)
		gmm_ok(is_active(&model, GMM_RANGE_GFN, ranges[i]));
	gmm_ok(!is_active(&model, GMM_RANGE_GFN, model_frames(2 * BATCH + 1, 1)));
	gmm_invalidate_end(model.guest, GMM_RANGE_GFN, ranges, BATCH);
	gmm_ok(!is_active(&model, GMM_RANGE_GFN, model_frames(0, ~(uint64_t)0)));
	gmm_equal(gmm_cache_refresh(cache), 0);
	/* Pages 0, 2 and 4 were hit, and those only. */
	gmm_equal(model.memory.resolved_pages, 6 + 3);
	gmm_equal(gmm_cache_destroy(cache), 0);
	gmm_reader_unregister(reader);
	model_fini(&model);
	gmm_free(ranges, BATCH * sizeof(*ranges));
}

/* Up to GMM_ACTIVE_RANGES are told apart; more cover more than asked, never less, and all ends. */
static void ranges_beyond_the_table_cover_more_and_never_less(void)
{
	uint32_t extra = 8, total = GMM_ACTIVE_RANGES + extra, i, j;
	struct gmm_guest_counters counters;
	struct model model;

	model_init(&model, 0);
	for (i = 0; i < total; i++) {
		begin(&model, GMM_RANGE_GFN, model_frames(100 * (uint64_t)i, 10));
		gmm_guest_read_counters(model.guest, &counters);
		gmm_equal(counters.range_merges,
			  i < GMM_ACTIVE_RANGES ? 0 : i - GMM_ACTIVE_RANGES + 1);
		for (j = 0; j <= i; j++)
			gmm_ok(is_active(&model, GMM_RANGE_GFN,
					 model_frames(100 * (uint64_t)j + 9, 1)));
		if (i < GMM_ACTIVE_RANGES)
			gmm_ok(!is_active(&model, GMM_RANGE_GFN,
					  model_frames(100 * (uint64_t)i + 10, 90)));
	}
	for (i = 0; i < total; i++) {
		end(&model, GMM_RANGE_GFN, model_frames(100 * (uint64_t)i, 10));
		for (j = i + 1; j < total; j++)
			gmm_ok(is_active(&model, GMM_RANGE_GFN,
					 model_frames(100 * (uint64_t)j, 1)));
	}
	gmm_ok(!is_active(&model, GMM_RANGE_GFN, model_frames(0, ~(uint64_t)0)));
	model_fini(&model);
}

/* Against a plain list, in random order, with ranges that overlap and repeat. */
#define LISTED 48u

static void random_begins_and_ends_never_cover_less(void)
{
	uint64_t random = gmm_test_seed();
	struct gmm_range listed[LISTED];
	uint32_t count = 0, i, turn;
	bool overflowed = false;
	struct model model;

	model_init(&model, MODEL_NO_SLOT);
	for (turn = 0; turn < gmm_test_turns(60); turn++) {
		uint64_t probe = gmm_test_random(&random) % 420;
		bool wanted = false;

		if (count < LISTED && gmm_test_random(&random) % 3) {
			listed[count] = model_frames(gmm_test_random(&random) % 400,
						     1 + gmm_test_random(&random) % 12);
			begin(&model, GMM_RANGE_GFN, listed[count++]);
			overflowed |= count > GMM_ACTIVE_RANGES;
		} else if (count) {
			i = (uint32_t)(gmm_test_random(&random) % count);
			end(&model, GMM_RANGE_GFN, listed[i]);
			listed[i] = listed[--count];
			overflowed &= count > 0;
		}
		for (i = 0; i < count; i++)
			wanted |= probe >= listed[i].start && probe < listed[i].end;
		if (wanted)
			gmm_ok(is_active(&model, GMM_RANGE_GFN, model_frames(probe, 1)));
		else if (!overflowed)
			gmm_ok(!is_active(&model, GMM_RANGE_GFN, model_frames(probe, 1)));
	}
	while (count)
		end(&model, GMM_RANGE_GFN, listed[--count]);
	gmm_ok(!is_active(&model, GMM_RANGE_GFN, model_frames(0, ~(uint64_t)0)));
	model_fini(&model);
}

/* W9, W1: whoever changes a range is not let wait for itself. */
static void nobody_waits_for_a_change_of_its_own(void)
{
	struct gmm_range range = model_frames(3, 2), other = model_frames(8, 1);
	struct gmm_cache *cache, *elsewhere;
	struct gmm_slot_config config;
	struct model model;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	config = model_slot(&model, 1, 100, 0, 1);
	gmm_must(!gmm_cache_create(model.guest, &cache));
	gmm_must(!gmm_cache_create(model.guest, &elsewhere));
	gmm_equal(gmm_cache_activate(cache, 4 * PAGE, 8, GMM_CACHE_HOST), 0);
	gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &range, 1, 0, NULL), 0);
	gmm_equal(gmm_cache_refresh(cache), -GMM_EDEADLK);
	gmm_equal(gmm_cache_activate(cache, 3 * PAGE, 8, GMM_CACHE_HOST), -GMM_EDEADLK);
	gmm_equal(gmm_cache_activate_hva(cache, MODEL_HVA + 3 * PAGE, 8, GMM_CACHE_HOST),
		  -GMM_EDEADLK);
	gmm_equal(gmm_invalidate_wait(model.guest, GMM_RANGE_GFN, range), -GMM_EDEADLK);
	gmm_equal(gmm_invalidate_wait(model.guest, GMM_RANGE_HVA, model_addresses(4, 1)),
		  -GMM_EDEADLK);
	gmm_equal(gmm_fault_populate(model.guest, 2, 2, GMM_ACCESS_READ, 0), -GMM_EDEADLK);
	/* Another blocking change, overlapping or not, and slots of any frames. */
	gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &other, 1, 0, NULL),
		  -GMM_EDEADLK);
	gmm_equal(gmm_slot_add(model.guest, &config), -GMM_EDEADLK);
	gmm_equal(gmm_slot_remove(model.guest, 0), -GMM_EDEADLK);
	gmm_equal(gmm_slot_move(model.guest, 0, 50), -GMM_EDEADLK);
	gmm_equal(gmm_slot_resize(model.guest, 0, 5), -GMM_EDEADLK);
	gmm_equal(gmm_slot_set_flags(model.guest, 0, GMM_SLOT_READ_ONLY), -GMM_EDEADLK);
	/* What needs not wait goes on. */
	begin(&model, GMM_RANGE_GFN, other);
	end(&model, GMM_RANGE_GFN, other);
	gmm_equal(gmm_cache_activate(elsewhere, 5 * PAGE, 8, GMM_CACHE_HOST), 0);
	gmm_equal(gmm_cache_refresh(elsewhere), 0);
	gmm_equal(gmm_fault_populate(model.guest, 5, 2, GMM_ACCESS_READ, 0), 0);
	gmm_equal(gmm_invalidate_wait(model.guest, GMM_RANGE_GFN, model_frames(5, 9)), 0);
	end(&model, GMM_RANGE_GFN, range);
	gmm_equal(gmm_cache_activate(cache, 3 * PAGE, 8, GMM_CACHE_HOST), 0);
	gmm_equal(gmm_cache_destroy(elsewhere), 0);
	gmm_equal(gmm_cache_destroy(cache), 0);
	model_fini(&model);
}

static void a_refused_begin_changes_nothing(void)
{
	struct gmm_range empty = { 5, 5 }, backward = { 6, 5 };
	struct gmm_range second_bad[2] = { { 3, 4 }, { 7, 7 } };
	struct gmm_range good = model_frames(3, 1);
	struct gmm_reader *reader;
	struct gmm_cache *cache;
	struct model model;

	model_init(&model, 0);
	gmm_must(!gmm_reader_register(model.guest, &reader));
	gmm_must(!gmm_cache_create(model.guest, &cache));
	gmm_equal(gmm_cache_activate(cache, 3 * PAGE, 3 * PAGE, GMM_CACHE_HOST), 0);
	gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &empty, 1, 0, NULL),
		  -GMM_EINVAL);
	gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_HVA, &backward, 1, 0, NULL),
		  -GMM_EINVAL);
	gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, second_bad, 2, 0, NULL),
		  -GMM_EINVAL);
	gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &good, 0, 0, NULL), -GMM_EINVAL);
	gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &good, 1, 2, NULL), -GMM_EINVAL);
	gmm_equal(gmm_invalidate_begin(model.guest, (enum gmm_range_kind)2, &good, 1, 0, NULL),
		  -GMM_EINVAL);
	gmm_equal(gmm_invalidate_wait(model.guest, GMM_RANGE_GFN, empty), -GMM_EINVAL);
	gmm_ok(is_valid(cache, reader));
	gmm_ok(!is_active(&model, GMM_RANGE_GFN, model_frames(0, 100)));
	gmm_equal(gmm_cache_destroy(cache), 0);
	gmm_reader_unregister(reader);
	model_fini(&model);
}

static int end_elsewhere(struct race *race)
{
	end(race->model, GMM_RANGE_GFN, model_frames(race->first, 1));
	return 0;
}

static int wait_for_range(struct race *race)
{
	return gmm_invalidate_wait(race->model->guest, (enum gmm_range_kind)race->second,
				   race->second == GMM_RANGE_GFN ? model_frames(race->first, 1) :
								   model_addresses(race->first, 1));
}

/* G5: changes by frame and by address are one state; who sleeps is woken when the last one ends. */
static void who_waits_is_woken_at_the_last_end_wherever_that_is(void)
{
	struct race waiter = { .first = 3 }, ender = { .first = 3 }, refresh = { 0 };
	struct gmm_gate gate;
	struct model model;
	uint32_t kind;

	for (kind = 0; kind < 2; kind++) {
		model_init(&model, 0);
		gmm_gate_init(&gate, GMM_GATE_NEVER);
		gmm_test_hold_step(GMM_STEP_INVALIDATE_WAIT, &gate);
		gmm_must(!gmm_cache_create(model.guest, &refresh.cache));
		gmm_equal(gmm_cache_activate(refresh.cache, 3 * PAGE, 8, GMM_CACHE_HOST), 0);
		begin(&model, GMM_RANGE_GFN, model_frames(3, 1));
		begin(&model, GMM_RANGE_GFN, model_frames(3, 1));
		waiter.model = ender.model = refresh.model = &model;
		waiter.second = kind;
		race_start(&waiter, wait_for_range);
		race_start(&refresh, race_refresh);
		gmm_ok(!race_done_or_at(&waiter, &gate));
		end(&model, GMM_RANGE_GFN, model_frames(3, 1));
		race_give_way(&waiter);
		gmm_ok(!race_is_done(&waiter) && !race_is_done(&refresh));
		race_start(&ender, end_elsewhere);
		race_join(&ender);
		gmm_equal(race_join(&waiter), 0);
		gmm_equal(race_join(&refresh), 0);
		gmm_equal(gmm_cache_destroy(refresh.cache), 0);
		gmm_test_unhold_steps();
		model_fini(&model);
	}
}

static void a_hit_among_many_caches_looks_at_few(void)
{
	struct gmm_invalidate_result result = { 0 };
	struct gmm_range range = model_frames(7, 1);
	struct gmm_cache *caches[256];
	struct model model;
	uint32_t i;

	model_init(&model, 0);
	for (i = 0; i < 256; i++) {
		gmm_must(!gmm_cache_create(model.guest, &caches[i]));
		gmm_equal(gmm_cache_activate(caches[i], (i == 100 ? 7 : i % 7) * PAGE, 8,
					     GMM_CACHE_HOST),
			  0);
	}
	gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &range, 1, 0, &result), 0);
	gmm_invalidate_end(model.guest, GMM_RANGE_GFN, &range, 1);
	gmm_equal(result.caches, 1);
	gmm_ok(result.nodes <= 40, "looked at %u", result.nodes);
	for (i = 0; i < 256; i++)
		gmm_equal(gmm_cache_destroy(caches[i]), 0);
	model_fini(&model);
}

const struct gmm_test_case gmm_test_cases[] = {
	{ "a_range_to_the_end_of_a_slot_reaches_its_last_page",
	  a_range_to_the_end_of_a_slot_reaches_its_last_page },
	{ "a_batch_waits_for_readers_once", a_batch_waits_for_readers_once },
	{ "ranges_beyond_the_table_cover_more_and_never_less",
	  ranges_beyond_the_table_cover_more_and_never_less },
	{ "random_begins_and_ends_never_cover_less", random_begins_and_ends_never_cover_less },
	{ "nobody_waits_for_a_change_of_its_own", nobody_waits_for_a_change_of_its_own },
	{ "a_refused_begin_changes_nothing", a_refused_begin_changes_nothing },
	{ "who_waits_is_woken_at_the_last_end_wherever_that_is",
	  who_waits_is_woken_at_the_last_end_wherever_that_is },
	{ "a_hit_among_many_caches_looks_at_few", a_hit_among_many_caches_looks_at_few },
	{ NULL, NULL },
};
