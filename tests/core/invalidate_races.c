/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Several changes at once, with readers and refreshes between them. */
#include "race.h"

#define PAGE ((uint64_t)MODEL_PAGE_BYTES)

struct scene {
	struct model model;
	struct gmm_cache *cache; /* of page 3 */
	struct gmm_reader *reader;
	uint32_t stop; /* atomic */
	uint32_t numbers;
};

static void begin_scene(struct scene *scene)
{
	*scene = (struct scene){ 0 };
	model_init(&scene->model, 0);
	if (gmm_cache_create(scene->model.guest, &scene->cache) ||
	    gmm_reader_register(scene->model.guest, &scene->reader))
		gmm_bail("no cache or reader");
	gmm_equal(gmm_cache_activate(scene->cache, 3 * PAGE, 8, GMM_CACHE_HOST), 0);
}

static void end_scene(struct scene *scene)
{
	gmm_reader_unregister(scene->reader);
	gmm_equal(gmm_cache_destroy(scene->cache), 0);
	model_fini(&scene->model);
}

static bool is_valid(struct scene *scene)
{
	bool valid;

	gmm_section_enter(scene->reader);
	valid = gmm_cache_pointer(scene->cache, 0, 8);
	gmm_section_exit(scene->reader);
	return valid;
}

/* Changes pages other than 3, next to it and away from it. A schedule may be unfair, so it ends. */
static void rotate(void *arg)
{
	struct scene *scene = arg;
	uint32_t page = gmm_fetch_add(&scene->numbers, 1u);
	uint32_t i;

	for (i = 0; i < gmm_test_turns(20) && !gmm_load_acquire(&scene->stop); i++) {
		struct race race = { .model = &scene->model };

		page = (page + 1) % MODEL_PAGES;
		race.first = page == 3 ? 2 : page;
		gmm_equal(page % 2 ? race_move_page(&race) : race_move_page_by_hva(&race), 0);
	}
}

/* P31 */
static void changes_that_do_not_overlap_never_delay_a_refresh(void)
{
	struct gmm_guest_counters before, after;
	struct gmm_test_thread threads[2];
	struct scene scene;
	uint32_t i;

	begin_scene(&scene);
	gmm_guest_read_counters(scene.model.guest, &before);
	for (i = 0; i < 2; i++)
		gmm_test_thread_start(&threads[i], rotate, &scene);
	for (i = 0; i < gmm_test_turns(6); i++) {
		gmm_ok(is_valid(&scene), "an unrelated change ended it");
		gmm_equal(gmm_cache_drop(scene.cache), 0);
		gmm_equal(gmm_cache_deactivate(scene.cache), 0);
		gmm_equal(gmm_cache_activate(scene.cache, 3 * PAGE, 8, GMM_CACHE_HOST), 0);
	}
	gmm_guest_read_counters(scene.model.guest, &after);
	gmm_equal(after.cache_retries, before.cache_retries);
	gmm_equal(after.range_waits, before.range_waits);
	gmm_store_release(&scene.stop, 1u);
	for (i = 0; i < 2; i++)
		gmm_test_thread_join(&threads[i]);
	end_scene(&scene);
}

/* P31: one that does overlap is slept for, and nothing is tried meanwhile. */
static void a_refresh_sleeps_while_its_range_changes(void)
{
	struct race refresh = { 0 };
	struct gmm_range range = model_frames(2, 3);
	struct gmm_guest_counters before, after;
	struct gmm_gate gate;
	struct scene scene;
	uint32_t calls;

	begin_scene(&scene);
	gmm_gate_init(&gate, GMM_GATE_NEVER);
	gmm_test_hold_step(GMM_STEP_INVALIDATE_WAIT, &gate);
	gmm_equal(gmm_invalidate_begin(scene.model.guest, GMM_RANGE_GFN, &range, 1, 0, NULL), 0);
	gmm_guest_read_counters(scene.model.guest, &before);
	calls = scene.model.memory.calls[MODEL_RESOLVE];
	refresh.cache = scene.cache;
	race_start(&refresh, race_refresh);
	gmm_ok(!race_done_or_at(&refresh, &gate));
	race_give_way(&refresh);
	gmm_ok(!race_is_done(&refresh));
	gmm_equal(scene.model.memory.calls[MODEL_RESOLVE], calls);
	gmm_guest_read_counters(scene.model.guest, &after);
	gmm_ok(after.range_waits > before.range_waits);
	gmm_equal(after.cache_retries, before.cache_retries);
	gmm_invalidate_end(scene.model.guest, GMM_RANGE_GFN, &range, 1);
	gmm_equal(race_join(&refresh), 0);
	end_scene(&scene);
}

/* A change of one frame from `first` on, with the flags `second`. */
static int begin_only(struct race *race)
{
	struct gmm_range range = model_frames(race->first, 1);

	return gmm_invalidate_begin(race->model->guest, GMM_RANGE_GFN, &range, 1,
				    (uint32_t)race->second, NULL);
}

static void end_for(struct race *race)
{
	struct gmm_range range = model_frames(race->first, 1);

	gmm_invalidate_end(race->model->guest, GMM_RANGE_GFN, &range, 1);
}

static int begin_twenty(struct race *race)
{
	struct gmm_range range = model_frames(race->first, 20);

	return gmm_invalidate_begin(race->model->guest, GMM_RANGE_GFN, &range, 1, 0, NULL);
}

/* W3: non-blocking does not mean that host readers are not waited for. */
static void a_non_blocking_begin_waits_for_readers_too(void)
{
	struct race change = { .first = 3, .second = GMM_INVALIDATE_NONBLOCKING };
	struct race_reader reader = { 0 };
	struct scene scene;

	begin_scene(&scene);
	change.model = &scene.model;
	race_reader_start(&reader, &scene.model, scene.cache);
	race_start(&change, begin_only);
	race_give_way(&change);
	gmm_ok(!race_is_done(&change));
	race_reader_end(&reader);
	gmm_equal(race_join(&change), 0);
	model_move_page(&scene.model, 3);
	gmm_equal(reader.after, model_word(3));
	end_for(&change);
	end_scene(&scene);
}

/* W3: the cache is invalid already, by a change that has not waited for its readers yet. */
static void a_begin_waits_for_readers_of_what_another_one_cleared(void)
{
	struct race first = { .first = 3 }, second = { .first = 3 };
	struct race_reader reader = { 0 };
	struct gmm_gate gate;
	struct scene scene;

	begin_scene(&scene);
	first.model = second.model = &scene.model;
	gmm_gate_init(&gate, 1);
	gmm_test_hold_step(GMM_STEP_INVALIDATE_READERS, &gate);
	race_reader_start(&reader, &scene.model, scene.cache);
	race_start(&first, begin_only);
	gmm_gate_wait_held(&gate);
	race_start(&second, begin_only);
	race_give_way(&second);
	gmm_ok(!race_is_done(&second));
	race_reader_end(&reader);
	gmm_equal(race_join(&second), 0);
	end_for(&second);
	/* The first is still on, so nobody may use the page yet. */
	gmm_ok(!is_valid(&scene));
	gmm_gate_open(&gate);
	gmm_equal(race_join(&first), 0);
	end_for(&first);
	gmm_equal(gmm_cache_refresh(scene.cache), 0);
	gmm_ok(is_valid(&scene));
	end_scene(&scene);
}

/* Many threads have changes on, more than are told apart. */
static void crowd(void *arg)
{
	struct scene *scene = arg;
	uint32_t number = gmm_fetch_add(&scene->numbers, 1u);
	uint64_t random = gmm_test_seed() * 100 + number;
	struct gmm_range ranges[12];
	uint32_t turn, i;

	for (turn = 0; turn < gmm_test_turns(2); turn++) {
		for (i = 0; i < 12; i++) {
			uint64_t start = gmm_test_random(&random) % 500;

			ranges[i] = model_frames(start, 1 + gmm_test_random(&random) % 9);
		}
		gmm_equal(gmm_invalidate_begin(scene->model.guest, GMM_RANGE_GFN, ranges, 12, 0,
					       NULL),
			  0);
		gmm_invalidate_end(scene->model.guest, GMM_RANGE_GFN, ranges, 12);
	}
}

static void a_crowd_of_changes_leaves_nothing_active(void)
{
	struct gmm_test_thread threads[4];
	struct scene scene;
	uint32_t i;

	begin_scene(&scene);
	for (i = 0; i < 4; i++)
		gmm_test_thread_start(&threads[i], crowd, &scene);
	for (i = 0; i < gmm_test_turns(3); i++)
		gmm_equal(gmm_cache_refresh(scene.cache), 0);
	for (i = 0; i < 4; i++)
		gmm_test_thread_join(&threads[i]);
	gmm_equal(gmm_invalidate_wait(scene.model.guest, GMM_RANGE_GFN, model_frames(0, 1000)), 0);
	gmm_equal(gmm_cache_refresh(scene.cache), 0);
	end_scene(&scene);
}

/*
 * Two begins that share the full table, both between "known" and "faults are held": each holds its
 * own range and ends it, whichever entries the two are in.
 */
static void begins_in_a_full_table_hold_and_end_their_own(void)
{
	struct race contained = { .first = 300 }, overlapping = { .first = 290 };
	struct gmm_gate first, second;
	struct gmm_range far;
	struct scene scene;
	uint32_t last = GMM_ACTIVE_RANGES - 1, i;

	begin_scene(&scene);
	contained.model = overlapping.model = &scene.model;
	/* All entries but the last far away from the last. */
	for (i = 0; i < GMM_ACTIVE_RANGES; i++) {
		far = model_frames(i < last ? 10000 + 1000 * (uint64_t)i : 200, 1);
		gmm_equal(gmm_invalidate_begin(scene.model.guest, GMM_RANGE_GFN, &far, 1,
					       GMM_INVALIDATE_NONBLOCKING, NULL),
			  0);
	}
	gmm_gate_init(&first, 1);
	gmm_gate_init(&second, 1);
	gmm_test_hold_step(GMM_STEP_INVALIDATE_REGISTERED, &first);
	gmm_test_hold_step(GMM_STEP_INVALIDATE_REGISTERED, &second);
	/* Frame 300 grows the last; then an entry becomes free, and frames 290 to 309 take it. */
	race_start(&contained, begin_only);
	gmm_gate_wait_held(&first);
	far = model_frames(10000, 1);
	gmm_invalidate_end(scene.model.guest, GMM_RANGE_GFN, &far, 1);
	race_start(&overlapping, begin_twenty);
	gmm_gate_wait_held(&second);
	gmm_gate_open(&first);
	gmm_equal(race_join(&contained), 0);
	gmm_gate_open(&second);
	gmm_equal(race_join(&overlapping), 0);
	end_for(&contained);
	far = model_frames(overlapping.first, 20);
	gmm_invalidate_end(scene.model.guest, GMM_RANGE_GFN, &far, 1);
	for (i = 1; i < GMM_ACTIVE_RANGES; i++) {
		far = model_frames(i < last ? 10000 + 1000 * (uint64_t)i : 200, 1);
		gmm_invalidate_end(scene.model.guest, GMM_RANGE_GFN, &far, 1);
	}
	gmm_equal(gmm_invalidate_wait(scene.model.guest, GMM_RANGE_GFN, model_frames(0, 99999)), 0);
	end_scene(&scene);
}

const struct gmm_test_case gmm_test_cases[] = {
	{ "changes_that_do_not_overlap_never_delay_a_refresh",
	  changes_that_do_not_overlap_never_delay_a_refresh },
	{ "a_refresh_sleeps_while_its_range_changes", a_refresh_sleeps_while_its_range_changes },
	{ "a_non_blocking_begin_waits_for_readers_too",
	  a_non_blocking_begin_waits_for_readers_too },
	{ "a_begin_waits_for_readers_of_what_another_one_cleared",
	  a_begin_waits_for_readers_of_what_another_one_cleared },
	{ "a_crowd_of_changes_leaves_nothing_active", a_crowd_of_changes_leaves_nothing_active },
	{ "begins_in_a_full_table_hold_and_end_their_own",
	  begins_in_a_full_table_hold_and_end_their_own },
	{ NULL, NULL },
};
