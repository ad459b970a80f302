/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Slots come, move and go as the schedule has it, under readers, caches and work on their pages.
 */
#include "race.h"

#define PAGE ((uint64_t)MODEL_PAGE_BYTES)
#define SPACE 12u /* frames that slots of 4 pages are put at */
#define PAGES 4u  /* of a slot; slot i has pages from 4 * i on */

struct scene {
	struct model model;
	uint32_t threads; /* atomic: numbers handed out */
};

static uint64_t own_random(struct scene *scene, uint32_t *number)
{
	*number = gmm_fetch_add(&scene->threads, 1u);
	return gmm_test_seed() * 1000 + *number;
}

static void set_words(struct scene *scene, uint32_t slot, bool poison)
{
	uint32_t page;

	for (page = slot * PAGES; page < (slot + 1) * PAGES; page++)
		gmm_store_relaxed(model_page(&scene->model, page),
				  poison ? MODEL_POISON : model_word(page));
}

static void check_word(uint64_t word)
{
	gmm_ok(word >= model_word(0) && word < model_word(2 * PAGES), "saw %llx",
	       (unsigned long long)word);
}

/* Owns slot `number`: when it is not there, its memory holds poison. */
static void slot_keeper(void *arg)
{
	struct scene *scene = arg;
	struct gmm_guest *guest = scene->model.guest;
	uint32_t number, i;
	uint64_t random = own_random(scene, &number);
	bool is = false;

	for (i = 0; i < gmm_test_turns(6); i++) {
		gmm_gfn_t gfn = gmm_test_random(&random) % SPACE;
		struct gmm_slot_config config =
			model_slot(&scene->model, number, gfn, number * PAGES, PAGES);
		int error;

		switch (is ? gmm_test_random(&random) % 4 : 4) {
		case 0:
			gmm_equal(gmm_slot_remove(guest, number), 0);
			set_words(scene, number, true);
			is = false;
			break;
		case 1:
			error = gmm_slot_move(guest, number, gfn);
			gmm_ok(!error || error == -GMM_EEXIST);
			break;
		case 2:
			gmm_equal(gmm_slot_resize(guest, number, 2), 0);
			error = gmm_slot_resize(guest, number, PAGES);
			gmm_ok(!error || error == -GMM_EEXIST);
			break;
		case 3:
			gmm_equal(gmm_slot_set_flags(guest, number,
						     gmm_test_random(&random) % 2 ?
							     GMM_SLOT_READ_ONLY :
							     GMM_SLOT_LOG_DIRTY),
				  0);
			break;
		default:
			set_words(scene, number, false);
			error = gmm_slot_add(guest, &config);
			gmm_ok(!error || error == -GMM_EEXIST);
			is = !error;
			if (error)
				set_words(scene, number, true);
			break;
		}
	}
	if (is)
		gmm_equal(gmm_slot_remove(guest, number), 0);
	set_words(scene, number, false);
}

static void direct_reader(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader;
	uint32_t number, i;
	uint64_t random = own_random(scene, &number);

	gmm_must(!gmm_reader_register(scene->model.guest, &reader));
	for (i = 0; i < gmm_test_turns(12); i++) {
		gmm_gpa_t gpa = gmm_test_random(&random) % (SPACE + PAGES) * PAGE;
		uint64_t *pointer;
		uint32_t look;

		gmm_section_enter_inline(reader);
		pointer = gmm_slot_pointer_inline(scene->model.guest, gpa, 8, GMM_ACCESS_READ);
		/* Long enough for a removal that does not wait. */
		for (look = 0; pointer && look < 20; look++) {
			check_word(gmm_load_relaxed(pointer));
			gmm_cpu_relax(look);
		}
		gmm_section_exit_inline(reader);
	}
	gmm_reader_unregister(reader);
}

static void cache_reader(void *arg)
{
	struct scene *scene = arg;
	struct gmm_reader *reader;
	struct gmm_cache *cache;
	uint32_t number, i;
	uint64_t random = own_random(scene, &number);

	gmm_must(!gmm_reader_register(scene->model.guest, &reader));
	gmm_must(!gmm_cache_create(scene->model.guest, &cache));
	for (i = 0; i < gmm_test_turns(8); i++) {
		uint64_t *pointer;
		int error = gmm_test_random(&random) % 2 ?
				    gmm_cache_refresh(cache) :
				    gmm_cache_activate(cache,
						       gmm_test_random(&random) % SPACE * PAGE,
						       PAGE, GMM_CACHE_HOST | GMM_CACHE_WRITE);

		gmm_ok(!error || error == -GMM_EFAULT || error == -GMM_EINVAL);
		gmm_section_enter_inline(reader);
		pointer = gmm_cache_pointer_inline(cache, 0, 8);
		if (pointer) {
			check_word(gmm_load_relaxed(pointer));
			gmm_cache_mark_dirty_inline(cache, 0, 8);
			check_word(gmm_load_relaxed(pointer));
		}
		gmm_section_exit_inline(reader);
	}
	gmm_equal(gmm_cache_destroy(cache), 0);
	gmm_reader_unregister(reader);
}

static void run(uint32_t traits, void (*const *mains)(void *arg), uint32_t count)
{
	struct gmm_test_thread threads[5];
	struct scene scene = { 0 };
	uint32_t i;

	model_init(&scene.model, traits | MODEL_NO_SLOT);
	/* Keepers come first, so that their numbers are those of their slots. */
	for (i = 0; i < count; i++) {
		gmm_test_thread_start(&threads[i], mains[i], &scene);
		while (gmm_load_acquire(&scene.threads) <= i)
			gmm_cpu_relax(i);
	}
	for (i = 0; i < count; i++)
		gmm_test_thread_join(&threads[i]);
	gmm_equal(gmm_slot_count(scene.model.guest), 0);
	gmm_equal(gmm_resident_pages(scene.model.guest), 0);
	model_fini(&scene.model);
}

static void nobody_reaches_memory_whose_slot_is_gone(void)
{
	static void (*const mains[])(void *arg) = { slot_keeper, slot_keeper, direct_reader,
						    cache_reader };

	run(0, mains, 4);
}

/* The same over lazy memory, with work on the pages of whatever slot is there. */
static void forget_contents(struct scene *scene, uint32_t slot)
{
	struct model_memory *memory = &scene->model.memory;
	uint32_t page;

	gmm_spin_lock(&memory->lock);
	for (page = slot * PAGES; page < (slot + 1) * PAGES; page++)
		memory->resident[page] = false;
	gmm_spin_unlock(&memory->lock);
}

static void lazy_keeper(void *arg)
{
	struct scene *scene = arg;
	struct gmm_guest *guest = scene->model.guest;
	uint32_t number, i;
	uint64_t random = own_random(scene, &number);

	for (i = 0; i < gmm_test_turns(3); i++) {
		struct gmm_slot_config config = model_slot(&scene->model, number,
							   gmm_test_random(&random) % SPACE,
							   number * PAGES, PAGES);
		int error;

		config.flags = gmm_test_random(&random) % 2 ? GMM_SLOT_LOG_DIRTY : 0;
		if (gmm_slot_add(guest, &config))
			continue;
		error = gmm_slot_move(guest, number, gmm_test_random(&random) % SPACE);
		gmm_ok(!error || error == -GMM_EEXIST);
		gmm_equal(gmm_slot_set_flags(guest, number, GMM_SLOT_LOG_DIRTY), 0);
		gmm_equal(gmm_slot_remove(guest, number), 0);
		forget_contents(scene, number);
	}
}

static void page_worker(void *arg)
{
	struct scene *scene = arg;
	struct gmm_guest *guest = scene->model.guest;
	uint64_t page[MODEL_PAGE_BYTES / 8];
	uint32_t number, i;
	uint64_t random = own_random(scene, &number);

	for (i = 0; i < gmm_test_turns(8); i++) {
		gmm_gfn_t gfn = gmm_test_random(&random) % SPACE;
		int64_t answer = 0;
		uint64_t bits;

		switch (gmm_test_random(&random) % 6) {
		case 0:
			answer = gmm_fault_populate(guest, gfn, PAGES, GMM_ACCESS_WRITE, 0);
			break;
		case 1:
			answer = gmm_evict(guest, gfn, 2, 0);
			break;
		case 2:
			answer = gmm_page_read(guest, gfn, page);
			if (!answer)
				check_word(page[0]);
			break;
		case 3:
			answer = gmm_fault_serve(guest, gfn, GMM_ACCESS_WRITE);
			break;
		case 4:
			answer = gmm_dirty_harvest(guest, (uint32_t)gfn % 2, 0, PAGES, &bits);
			break;
		default:
			answer = gmm_age(guest, gfn, PAGES, 0, NULL);
			break;
		}
		gmm_ok(answer >= 0 || answer == -GMM_EFAULT || answer == -GMM_ERANGE ||
			       answer == -GMM_ENOENT || answer == -GMM_EINVAL,
		       "%d", (int)answer);
	}
}

static void work_on_pages_never_outlives_their_slot(void)
{
	static void (*const mains[])(void *arg) = { lazy_keeper, lazy_keeper, page_worker,
						    page_worker, cache_reader };

	run(MODEL_LAZY | MODEL_OWNER, mains, 5);
}

const struct gmm_test_case gmm_test_cases[] = {
	{ "nobody_reaches_memory_whose_slot_is_gone", nobody_reaches_memory_whose_slot_is_gone },
	{ "work_on_pages_never_outlives_their_slot", work_on_pages_never_outlives_their_slot },
	{ NULL, NULL },
};
