/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Sections: who waits for whom (W1). */
#include "guest_impl.h"
#include "race.h"

static int wait_for_sections(struct race *race)
{
	return gmm_section_wait(race->model->guest);
}

struct nesting {
	struct race race;
	struct gmm_gate gate;
	uint64_t word; /* written in the section, so plainly: the wait orders it */
	uint32_t depth;
};

static int stay(struct race *race)
{
	struct nesting *nesting = gmm_container_of(race, struct nesting, race);
	struct gmm_reader *reader;
	uint32_t i;

	if (gmm_reader_register(race->model->guest, &reader))
		gmm_bail("no reader");
	for (i = 0; i < nesting->depth; i++)
		gmm_section_enter(reader);
	/* Leaves the inner ones: the outermost is what counts. */
	for (i = 1; i < nesting->depth; i++)
		gmm_section_exit(reader);
	gmm_gate_pass(&nesting->gate);
	nesting->word = 7;
	gmm_section_exit(reader);
	gmm_reader_unregister(reader);
	return 0;
}

static void check_that_a_writer_waits(uint32_t depth)
{
	struct nesting nesting = { .depth = depth };
	struct race writer = { 0 };
	struct model model;

	model_init(&model, 0);
	nesting.race.model = &model;
	writer.model = &model;
	gmm_gate_init(&nesting.gate, GMM_GATE_ALL);
	race_start(&nesting.race, stay);
	gmm_gate_wait_held(&nesting.gate);
	race_start(&writer, wait_for_sections);
	race_give_way(&writer);
	gmm_ok(!race_is_done(&writer));
	gmm_gate_open(&nesting.gate);
	gmm_equal(race_join(&writer), 0);
	gmm_equal(nesting.word, 7);
	race_join(&nesting.race);
	model_fini(&model);
}

static void a_writer_waits_for_the_sections_entered_before(void)
{
	check_that_a_writer_waits(1);
}

static void leaving_an_inner_section_is_not_leaving(void)
{
	check_that_a_writer_waits(3);
}

/* Enters a second section while a writer waits for the first, and stays until that is done. */
static int enter_again(struct race *race)
{
	struct race *writer = (struct race *)(uintptr_t)race->first;
	struct gmm_reader *reader;
	uint64_t epoch;
	uint32_t turn = 0;

	if (gmm_reader_register(race->model->guest, &reader))
		gmm_bail("no reader");
	gmm_section_enter(reader);
	epoch = gmm_load_acquire(gmm_reader_hot(reader)->epoch);
	race_start(writer, wait_for_sections);
	while (gmm_load_acquire(gmm_reader_hot(reader)->epoch) == epoch)
		gmm_cpu_relax(turn++);
	gmm_section_exit(reader);
	gmm_section_enter(reader);
	while (!race_is_done(writer))
		gmm_cpu_relax(turn++);
	gmm_section_exit(reader);
	gmm_reader_unregister(reader);
	return 0;
}

static void a_writer_does_not_wait_for_sections_entered_later(void)
{
	struct race reader = { 0 }, writer = { 0 };
	struct model model;

	model_init(&model, 0);
	reader.model = &model;
	writer.model = &model;
	reader.first = (uintptr_t)&writer;
	race_start(&reader, enter_again);
	race_join(&reader);
	gmm_equal(race_join(&writer), 0);
	model_fini(&model);
}

static void a_writer_waits_for_its_own_guest_only(void)
{
	struct race writer = { 0 };
	struct race_reader reader = { 0 };
	struct model one, other;

	model_init(&one, 0);
	model_init(&other, 0);
	race_reader_start(&reader, &one, NULL);
	writer.model = &other;
	race_start(&writer, wait_for_sections);
	gmm_equal(race_join(&writer), 0);
	race_reader_end(&reader);
	model_fini(&other);
	model_fini(&one);
}

#define MANY_READERS 40u /* more than one block of them */

static void every_one_of_many_readers_is_waited_for(void)
{
	struct gmm_reader *readers[MANY_READERS];
	struct race writer = { 0 };
	struct race_reader first = { 0 }, last = { 0 };
	struct model model;
	uint32_t i;

	model_init(&model, 0);
	race_reader_start(&first, &model, NULL);
	for (i = 0; i < MANY_READERS; i++)
		gmm_must(!gmm_reader_register(model.guest, &readers[i]));
	gmm_equal(gmm_guest_destroy(model.guest), -GMM_EBUSY);
	race_reader_start(&last, &model, NULL);
	writer.model = &model;
	race_start(&writer, wait_for_sections);
	race_give_way(&writer);
	gmm_ok(!race_is_done(&writer));
	race_reader_end(&last);
	race_give_way(&writer);
	gmm_ok(!race_is_done(&writer));
	race_reader_end(&first);
	gmm_equal(race_join(&writer), 0);
	for (i = 0; i < MANY_READERS; i++)
		gmm_reader_unregister(readers[i]);
	model_fini(&model);
}

static void nothing_that_may_sleep_is_done_in_a_section(void)
{
	struct gmm_range range = model_frames(0, 1);
	struct gmm_slot_config config;
	struct gmm_reader *reader;
	struct gmm_cache *cache;
	uint64_t page[MODEL_PAGE_BYTES / 8];
	uint64_t bits = 0;
	struct model model;

	model_init(&model, MODEL_LAZY | MODEL_OWNER | MODEL_LOG_DIRTY);
	config = model_slot(&model, 1, 100, 0, 1);
	gmm_must(!gmm_reader_register(model.guest, &reader));
	gmm_must(!gmm_cache_create(model.guest, &cache));
	gmm_equal(gmm_cache_activate(cache, 8, 8, GMM_CACHE_HOST), 0);
	gmm_section_enter(reader);
	gmm_section_enter(reader);
	gmm_section_exit(reader);
	gmm_equal(gmm_section_wait(model.guest), -GMM_EDEADLK);
	gmm_equal(gmm_cache_activate(cache, 16, 8, GMM_CACHE_HOST), -GMM_EDEADLK);
	gmm_equal(gmm_cache_activate_hva(cache, MODEL_HVA, 8, GMM_CACHE_HOST), -GMM_EDEADLK);
	gmm_equal(gmm_cache_refresh(cache), -GMM_EDEADLK);
	gmm_equal(gmm_cache_drop(cache), -GMM_EDEADLK);
	gmm_equal(gmm_cache_deactivate(cache), -GMM_EDEADLK);
	gmm_equal(gmm_cache_destroy(cache), -GMM_EDEADLK);
	gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &range, 1, 0, NULL),
		  -GMM_EDEADLK);
	gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &range, 1,
				       GMM_INVALIDATE_NONBLOCKING, NULL),
		  -GMM_EDEADLK);
	gmm_equal(gmm_invalidate_wait(model.guest, GMM_RANGE_GFN, range), -GMM_EDEADLK);
	gmm_equal(gmm_slot_add(model.guest, &config), -GMM_EDEADLK);
	gmm_equal(gmm_slot_remove(model.guest, 0), -GMM_EDEADLK);
	gmm_equal(gmm_slot_move(model.guest, 0, 50), -GMM_EDEADLK);
	gmm_equal(gmm_slot_resize(model.guest, 0, 5), -GMM_EDEADLK);
	gmm_equal(gmm_slot_set_flags(model.guest, 0, 0), -GMM_EDEADLK);
	gmm_equal(gmm_fault_populate(model.guest, 0, 1, GMM_ACCESS_READ, 0), -GMM_EDEADLK);
	gmm_equal(gmm_page_read(model.guest, 0, page), -GMM_EDEADLK);
	gmm_equal(gmm_evict(model.guest, 0, 1, 0), -GMM_EDEADLK);
	gmm_equal(gmm_discard(model.guest, 0, 1), -GMM_EDEADLK);
	gmm_equal(gmm_age(model.guest, 0, 1, 0, NULL), -GMM_EDEADLK);
	gmm_equal(gmm_resident_trim(model.guest, 0), -GMM_EDEADLK);
	gmm_equal(gmm_dirty_harvest(model.guest, 0, 0, MODEL_PAGES, &bits), -GMM_EDEADLK);
	/* Nothing of all that was done: the cache still is what it was. */
	gmm_ok(gmm_cache_pointer(cache, 0, 8) == model_page(&model, 0) + 1);
	gmm_section_exit(reader);
	gmm_equal(gmm_slot_count(model.guest), 1);
	gmm_equal(gmm_cache_destroy(cache), 0);
	gmm_reader_unregister(reader);
	model_fini(&model);
}

/*
 * The heart of it: a reader stores its mark and looks, a writer takes away and looks at marks; the
 * barriers see to it that one of them finds the other.
 */
struct taken {
	struct race race;
	uint64_t gone; /* atomic: the word is not to be read */
	uint64_t word; /* atomic: poison when it must not be read any more */
};

static int look_again_and_again(struct race *race)
{
	struct taken *taken = gmm_container_of(race, struct taken, race);
	struct gmm_reader *reader;
	uint32_t i, look;

	if (gmm_reader_register(race->model->guest, &reader))
		gmm_bail("no reader");
	for (i = 0; i < gmm_test_turns(8); i++) {
		gmm_section_enter_inline(reader);
		/* Long enough for a writer that does not wait to come through meanwhile. */
		for (look = gmm_load_relaxed(&taken->gone) ? 30 : 0; look < 30; look++) {
			gmm_ok(gmm_load_relaxed(&taken->word) != MODEL_POISON);
			gmm_cpu_relax(look);
		}
		gmm_section_exit_inline(reader);
	}
	gmm_reader_unregister(reader);
	return 0;
}

static void run_takers(void)
{
	struct taken taken = { 0 };
	struct model model;
	uint32_t i;

	model_init(&model, MODEL_NO_SLOT);
	taken.race.model = &model;
	race_start(&taken.race, look_again_and_again);
	for (i = 0; i < gmm_test_turns(6); i++) {
		(void)gmm_exchange(&taken.gone, (uint64_t)1);
		gmm_section_domain_wait(&model.guest->sections);
		(void)gmm_exchange(&taken.word, MODEL_POISON);
		gmm_cpu_relax(0);
		gmm_store_release(&taken.word, (uint64_t)i);
		gmm_store_release(&taken.gone, (uint64_t)0);
	}
	race_join(&taken.race);
	model_fini(&model);
}

static void a_reader_and_a_writer_never_miss_each_other(void)
{
	run_takers();
}

/* Registers, reads, unregisters, again and again. */
static int come_and_go(struct race *race)
{
	uint32_t i;

	for (i = 0; i < gmm_test_turns(4); i++) {
		struct gmm_reader *reader;
		uint64_t *pointer;

		if (gmm_reader_register(race->model->guest, &reader))
			gmm_bail("no reader");
		gmm_section_enter(reader);
		pointer = gmm_cache_pointer(race->cache, 0, 8);
		if (pointer)
			gmm_equal(gmm_load_relaxed(pointer), model_word(2));
		gmm_section_exit(reader);
		gmm_reader_unregister(reader);
	}
	return 0;
}

static void run_comers_and_goers(struct gmm_guest_config config)
{
	struct race readers[2] = { 0 };
	struct race mover = { .first = 2 };
	struct gmm_cache *cache;
	struct model model;
	uint32_t i;

	model_init_config(&model, 0, config);
	gmm_must(!gmm_cache_create(model.guest, &cache));
	gmm_equal(gmm_cache_activate(cache, 2 * MODEL_PAGE_BYTES, 8, GMM_CACHE_HOST), 0);
	mover.model = &model;
	for (i = 0; i < 2; i++) {
		readers[i].model = &model;
		readers[i].cache = cache;
		race_start(&readers[i], come_and_go);
	}
	for (i = 0; i < gmm_test_turns(3); i++) {
		gmm_equal(race_move_page(&mover), 0);
		gmm_equal(gmm_cache_refresh(cache), 0);
	}
	race_join(&readers[0]);
	race_join(&readers[1]);
	gmm_equal(gmm_cache_destroy(cache), 0);
	model_fini(&model);
}

static void readers_come_and_go_under_writers(void)
{
	run_comers_and_goers((struct gmm_guest_config){ 0 });
}

/* Without membarrier and its like, readers pass a full barrier. */
static void sections_hold_without_an_asymmetric_barrier(void)
{
	gmm_port_section_barrier_refuse(true);
	run_takers();
	run_comers_and_goers((struct gmm_guest_config){ 0 });
	check_that_a_writer_waits(2);
	gmm_port_section_barrier_refuse(false);
}

const struct gmm_test_case gmm_test_cases[] = {
	{ "a_writer_waits_for_the_sections_entered_before",
	  a_writer_waits_for_the_sections_entered_before },
	{ "leaving_an_inner_section_is_not_leaving", leaving_an_inner_section_is_not_leaving },
	{ "a_writer_does_not_wait_for_sections_entered_later",
	  a_writer_does_not_wait_for_sections_entered_later },
	{ "a_writer_waits_for_its_own_guest_only", a_writer_waits_for_its_own_guest_only },
	{ "every_one_of_many_readers_is_waited_for", every_one_of_many_readers_is_waited_for },
	{ "nothing_that_may_sleep_is_done_in_a_section",
	  nothing_that_may_sleep_is_done_in_a_section },
	{ "a_reader_and_a_writer_never_miss_each_other",
	  a_reader_and_a_writer_never_miss_each_other },
	{ "readers_come_and_go_under_writers", readers_come_and_go_under_writers },
	{ "sections_hold_without_an_asymmetric_barrier",
	  sections_hold_without_an_asymmetric_barrier },
	{ NULL, NULL },
};
