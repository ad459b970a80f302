/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Threads that use, refresh, re-target and drop caches while others change what is under them, as
 * the schedule has it. A frame that has been left holds poison, so a stale pointer shows.
 */
#include "race.h"

#define PAGE ((uint64_t)MODEL_PAGE_BYTES)
#define HOST_WRITE (GMM_CACHE_HOST | GMM_CACHE_WRITE)

/* What its threads share. Each takes its own random numbers from the seed and its number. */
struct scene {
	struct model model;
	struct gmm_cache *cache;
	uint32_t first; /* pages that are moved and read */
	uint32_t count;
	uint32_t turns;
	uint32_t threads; /* atomic: numbers handed out */
	uint32_t wrote;	  /* pages, a bit each; the writer's own until it has been joined */
	bool by_hva;
};

static uint64_t own_random(struct scene *scene)
{
	return gmm_test_seed() * 1000 + gmm_fetch_add(&scene->threads, 1u);
}

static void begin_scene(struct scene *scene, uint32_t traits, uint32_t first, uint32_t count)
{
	*scene = (struct scene){ .first = first, .count = count, .turns = gmm_test_turns(4) };
	model_init(&scene->model, traits);
	if (gmm_cache_create(scene->model.guest, &scene->cache))
		gmm_bail("no cache");
}

static void end_scene(struct scene *scene)
{
	gmm_equal(gmm_cache_destroy(scene->cache), 0);
	model_fini(&scene->model);
}

static void run(struct scene *scene, void (*const *mains)(void *arg), uint32_t count)
{
	struct gmm_test_thread threads[6];
	uint32_t i;

	for (i = 0; i < count; i++)
		gmm_test_thread_start(&threads[i], mains[i], scene);
	for (i = 0; i < count; i++)
		gmm_test_thread_join(&threads[i]);
}

/* Reads what the cache shows, sometimes after a refresh; it must be a page of the scene. */
static void reader(void *arg)
{
	struct scene *scene = arg;
	uint64_t random = own_random(scene);
	struct gmm_reader *handle;
	uint32_t i;

	gmm_must(!gmm_reader_register(scene->model.guest, &handle));
	for (i = 0; i < 2 * scene->turns; i++) {
		uint64_t *pointer, word;
		int error = 0;

		if (gmm_test_random(&random) % 2)
			error = gmm_cache_refresh(scene->cache);
		gmm_ok(!error || error == -GMM_EINVAL || error == -GMM_EXDEV || error == -GMM_EIO);
		gmm_section_enter_inline(handle);
		pointer = gmm_cache_pointer_inline(scene->cache, 0, 8);
		if (pointer) {
			word = gmm_load_relaxed(pointer);
			gmm_ok(word >= model_word(scene->first) &&
				       word < model_word(scene->first + scene->count),
			       "saw %llx", (unsigned long long)word);
			gmm_equal(gmm_load_relaxed(pointer), word);
		}
		gmm_section_exit_inline(handle);
	}
	gmm_reader_unregister(handle);
}

/* Moves all pages of the scene together, by frame or by address. */
static void mover(void *arg)
{
	struct scene *scene = arg;
	uint64_t random = own_random(scene);
	uint32_t i, page;

	for (i = 0; i < scene->turns; i++) {
		bool by_hva = scene->by_hva || gmm_test_random(&random) % 2;
		enum gmm_range_kind kind = by_hva ? GMM_RANGE_HVA : GMM_RANGE_GFN;
		struct gmm_range range = by_hva ? model_addresses(scene->first, scene->count) :
						  model_frames(scene->first, scene->count);
		uint32_t flags = gmm_test_random(&random) % 2 ? GMM_INVALIDATE_NONBLOCKING : 0;

		if (scene->by_hva)
			range = (struct gmm_range){ scene->first * PAGE,
						    (scene->first + scene->count) * PAGE };
		gmm_equal(gmm_invalidate_begin(scene->model.guest, kind, &range, 1, flags, NULL),
			  0);
		for (page = 0; page < scene->count; page++)
			model_move_page(&scene->model, scene->first + page);
		gmm_invalidate_end(scene->model.guest, kind, &range, 1);
	}
}

static void refresher(void *arg)
{
	struct scene *scene = arg;
	uint32_t i;

	for (i = 0; i < scene->turns; i++) {
		int error = gmm_cache_refresh(scene->cache);

		gmm_ok(!error || error == -GMM_EINVAL || error == -GMM_EXDEV || error == -GMM_EIO);
	}
}

/* P1, P2, P3 */
static void a_reader_never_sees_a_frame_that_was_left(void)
{
	static void (*const mains[])(void *arg) = { reader, mover, refresher };
	struct scene scene;

	begin_scene(&scene, 0, 2, 3);
	gmm_equal(gmm_cache_activate(scene.cache, 2 * PAGE + 8, 3 * PAGE - 8, GMM_CACHE_HOST), 0);
	run(&scene, mains, 3);
	gmm_equal(gmm_cache_refresh(scene.cache), 0);
	end_scene(&scene);
}

/* P4 to P7, P9 to P12, P18, P19, P30 */
static void retargeter(void *arg)
{
	struct scene *scene = arg;
	uint64_t random = own_random(scene);
	uint32_t i;

	for (i = 0; i < scene->turns; i++) {
		uint64_t page = scene->first + gmm_test_random(&random) % scene->count;
		uint64_t offset = gmm_test_random(&random) % 3 * 8;
		int error = 0;

		switch (gmm_test_random(&random) % 6) {
		case 0:
			error = gmm_cache_drop(scene->cache);
			break;
		case 1:
			gmm_equal(gmm_cache_deactivate(scene->cache), 0);
			break;
		case 2:
			error = gmm_cache_activate_hva(
				scene->cache, MODEL_HVA + page * PAGE + offset, 8, HOST_WRITE);
			break;
		default:
			error = gmm_cache_activate(scene->cache, page * PAGE + offset, 8,
						   GMM_CACHE_HOST);
			break;
		}
		gmm_ok(!error || error == -GMM_EINVAL || error == -GMM_EIO);
	}
}

static void caches_that_go_here_and_there_never_mix(void)
{
	static void (*const mains[])(void *arg) = { reader, retargeter, mover, retargeter };
	struct gmm_reader *handle;
	struct scene scene;
	uint64_t word = 0;

	begin_scene(&scene, 0, 2, 2);
	run(&scene, mains, 4);
	gmm_equal(gmm_cache_activate(scene.cache, 3 * PAGE, 8, GMM_CACHE_HOST), 0);
	gmm_must(!gmm_reader_register(scene.model.guest, &handle));
	gmm_equal(model_cache_read(scene.cache, handle, 0, &word), 0);
	gmm_equal(word, model_word(3));
	gmm_reader_unregister(handle);
	end_scene(&scene);
}

/* P13 to P17: the ledgers, when now and then an operation of the memory fails. */
static void breaker(void *arg)
{
	struct scene *scene = arg;
	uint64_t random = own_random(scene);
	struct model_memory *memory = &scene->model.memory;
	uint32_t i;

	for (i = 0; i < scene->turns; i++) {
		uint32_t op = gmm_test_random(&random) % 2 ? MODEL_RESOLVE : MODEL_MAP;

		gmm_spin_lock(&memory->lock);
		memory->fail_at[op] = memory->calls[op] + 1;
		gmm_spin_unlock(&memory->lock);
		gmm_equal(race_move_page(&(struct race){ .model = &scene->model, .first = 2 }), 0);
	}
}

static void failures_on_the_way_leave_no_debt(void)
{
	static void (*const mains[])(void *arg) = { reader, retargeter, breaker, refresher };
	struct scene scene;

	begin_scene(&scene, 0, 2, 2);
	run(&scene, mains, 4);
	end_scene(&scene);
}

/* P35 */
static void caches_of_memory_in_no_slot_are_never_stale(void)
{
	static void (*const mains[])(void *arg) = { reader, mover, refresher };
	struct gmm_guest_config config = { 0 };
	struct scene scene = { .first = 5, .count = 2, .turns = gmm_test_turns(4), .by_hva = true };

	config.hva_ops = model_ops(&scene.model);
	config.hva_memory = &scene.model.memory;
	model_init_config(&scene.model, MODEL_NO_SLOT, config);
	gmm_must(!gmm_cache_create(scene.model.guest, &scene.cache));
	gmm_equal(gmm_cache_activate_hva(scene.cache, 5 * PAGE, 2 * PAGE, GMM_CACHE_HOST), 0);
	run(&scene, mains, 3);
	end_scene(&scene);
}

/* P24, P26, W5: what was written is in the log, whichever target the cache had. */
static void writer(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *handle;
	uint64_t value = 1;
	uint32_t i;

	gmm_must(!gmm_reader_register(scene->model.guest, &handle));
	for (i = 0; i < 4 * scene->turns; i++) {
		uint8_t *pointer;

		(void)gmm_cache_refresh(scene->cache);
		gmm_section_enter_inline(handle);
		pointer = gmm_cache_pointer_inline(scene->cache, PAGE / 2, 8);
		if (pointer && gmm_cache_writable_inline(scene->cache)) {
			uint64_t page = (uint64_t)(pointer - scene->model.memory.frames) / PAGE;

			/* Word 0 of the page is what is compared. */
			gmm_store_relaxed(model_page(&scene->model, (uint32_t)page), value++);
			gmm_cache_mark_dirty_inline(scene->cache, PAGE / 2, 8);
			scene->wrote |= 1u << page;
		}
		gmm_section_exit_inline(handle);
	}
	gmm_reader_unregister(handle);
}

static void area_retargeter(void *arg)
{
	struct scene *scene = arg;
	uint64_t random = own_random(scene);
	uint32_t i;

	/* Around the end of slot 0, which has pages 0 to 2; at times in both slots, at times in one. */
	for (i = 0; i < scene->turns; i++) {
		uint64_t gpa = 2 * PAGE + gmm_test_random(&random) % 5 * (PAGE / 4);

		gmm_equal(gmm_cache_activate(scene->cache, gpa, PAGE, HOST_WRITE), 0);
	}
}

static uint64_t harvest(struct scene *scene, uint64_t *shadow)
{
	uint64_t page[MODEL_PAGE_BYTES / 8];
	uint64_t all = 0, bits;
	uint32_t slot, i;

	for (slot = 0; slot < 2; slot++) {
		uint32_t first = slot ? 3 : 0, count = slot ? 5 : 3;

		gmm_ok(gmm_dirty_harvest(scene->model.guest, slot, 0, count, &bits) >= 0);
		all |= bits << first;
		for (i = 0; i < count; i++) {
			if (!((bits >> i) & 1))
				continue;
			gmm_equal(gmm_page_read(scene->model.guest, first + i, page), 0);
			shadow[first + i] = page[0];
		}
	}
	return all;
}

static void what_was_written_through_a_moving_cache_is_in_the_log(void)
{
	static void (*const mains[])(void *arg) = { writer, area_retargeter };
	struct gmm_test_thread threads[2];
	struct gmm_slot_config config;
	uint64_t shadow[8], harvested = 0;
	struct scene scene;
	uint32_t i;

	begin_scene(&scene, MODEL_NO_SLOT, 0, 8);
	config = model_slot(&scene.model, 0, 0, 0, 3);
	config.flags = GMM_SLOT_LOG_DIRTY;
	gmm_equal(gmm_slot_add(scene.model.guest, &config), 0);
	config = model_slot(&scene.model, 1, 3, 3, 5);
	config.flags = GMM_SLOT_LOG_DIRTY;
	gmm_equal(gmm_slot_add(scene.model.guest, &config), 0);
	for (i = 0; i < 8; i++)
		shadow[i] = model_word(i);
	for (i = 0; i < 2; i++)
		gmm_test_thread_start(&threads[i], mains[i], &scene);
	for (i = 0; i < gmm_test_turns(2); i++)
		harvested |= harvest(&scene, shadow);
	for (i = 0; i < 2; i++)
		gmm_test_thread_join(&threads[i]);
	harvested |= harvest(&scene, shadow);
	gmm_equal(scene.wrote & ~harvested, 0);
	for (i = 0; i < 8; i++)
		gmm_equal(shadow[i], *model_page(&scene.model, i));
	gmm_equal(gmm_cache_deactivate(scene.cache), 0);
	gmm_equal(gmm_slot_remove(scene.model.guest, 1), 0);
	end_scene(&scene);
}

/* W2: what a cache shows is resident, however often it is evicted. */
static void evictor(void *arg)
{
	struct scene *scene = arg;
	uint32_t i;

	for (i = 0; i < scene->turns; i++)
		gmm_ok(gmm_evict(scene->model.guest, scene->first, scene->count, 0) >= 0);
}

static void a_cache_of_lazy_memory_shows_resident_pages_only(void)
{
	static void (*const mains[])(void *arg) = { reader, evictor, refresher, reader };
	struct scene scene;

	begin_scene(&scene, MODEL_LAZY | MODEL_OWNER, 4, 1);
	gmm_equal(gmm_cache_activate(scene.cache, 4 * PAGE, 8, GMM_CACHE_HOST), 0);
	run(&scene, mains, 4);
	end_scene(&scene);
}

const struct gmm_test_case gmm_test_cases[] = {
	{ "a_reader_never_sees_a_frame_that_was_left", a_reader_never_sees_a_frame_that_was_left },
	{ "caches_that_go_here_and_there_never_mix", caches_that_go_here_and_there_never_mix },
	{ "failures_on_the_way_leave_no_debt", failures_on_the_way_leave_no_debt },
	{ "caches_of_memory_in_no_slot_are_never_stale",
	  caches_of_memory_in_no_slot_are_never_stale },
	{ "what_was_written_through_a_moving_cache_is_in_the_log",
	  what_was_written_through_a_moving_cache_is_in_the_log },
	{ "a_cache_of_lazy_memory_shows_resident_pages_only",
	  a_cache_of_lazy_memory_shows_resident_pages_only },
	{ NULL, NULL },
};
