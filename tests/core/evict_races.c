/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The evictor against everybody else. Rules W2, W6, W10. */
#include "race.h"

#define PAGE 5u

static const enum gmm_step_point evict_steps[] = {
	GMM_STEP_INVALIDATE_REGISTERED, GMM_STEP_INVALIDATE_CHANGING, GMM_STEP_EVICT_CLAIMED,
	GMM_STEP_EVICT_PROTECTED,	GMM_STEP_EVICT_WRITTEN,	      GMM_STEP_EVICT_RELEASED,
	GMM_STEP_INVALIDATE_END
};
#define EVICT_STEPS (sizeof(evict_steps) / sizeof(evict_steps[0]))

/* A slot's change passes through steps of the same names: the evictor stands at its first. */
static int evict_page(struct race *race)
{
	return (int)gmm_evict(race->model->guest, PAGE, 1, 0);
}

static int refresh(struct race *race)
{
	return gmm_cache_refresh(race->cache);
}

static int harvest(struct race *race)
{
	return (int)gmm_dirty_harvest(race->model->guest, 0, 0, MODEL_PAGES, &race->second);
}

static int discard(struct race *race)
{
	return gmm_discard(race->model->guest, PAGE, 1);
}

static int read_page(struct race *race)
{
	uint64_t page[MODEL_PAGE_BYTES / 8];
	int error = gmm_page_read(race->model->guest, PAGE, page);

	race->second = page[0];
	return error;
}

static int populate(struct race *race)
{
	return gmm_fault_populate(race->model->guest, PAGE, 1, GMM_ACCESS_READ, 0);
}

static int remove_slot(struct race *race)
{
	return gmm_slot_remove(race->model->guest, 0);
}

/* PAGE holds 7. The evictor is stopped at a step, another call starts, and both go on. */
struct meeting {
	struct model model;
	struct race evictor;
	struct race other;
	struct gmm_gate gate;
	struct gmm_cache *cache;
};

static void meet(struct meeting *meeting, uint32_t step, int (*call)(struct race *race),
		 uint64_t *word)
{
	model_init(&meeting->model, MODEL_LAZY | MODEL_OWNER | MODEL_LOG_DIRTY);
	gmm_equal(gmm_cache_create(meeting->model.guest, &meeting->cache), 0);
	gmm_equal(gmm_cache_activate(meeting->cache, PAGE * MODEL_PAGE_BYTES, 8,
				     GMM_CACHE_HOST | GMM_CACHE_WRITE),
		  0);
	gmm_ok(model_guest_write(&meeting->model, PAGE, 7));
	gmm_gate_init(&meeting->gate, 1);
	gmm_test_hold_step(evict_steps[step], &meeting->gate);
	meeting->evictor = (struct race){ .model = &meeting->model };
	meeting->other = (struct race){ .model = &meeting->model, .cache = meeting->cache };
	race_start(&meeting->evictor, evict_page);
	gmm_gate_wait_held(&meeting->gate);
	race_start(&meeting->other, call);
	race_give_way(&meeting->other);
	gmm_gate_open(&meeting->gate);
	gmm_ok(race_join(&meeting->evictor) >= 0);
	gmm_ok(race_join(&meeting->other) >= 0);
	gmm_test_unhold_steps();
	*word = 0;
	if (call != remove_slot)
		gmm_ok(model_guest_read(&meeting->model, PAGE, word));
}

static void part(struct meeting *meeting)
{
	gmm_equal(gmm_cache_destroy(meeting->cache), 0);
	model_fini(&meeting->model);
}

static void a_refresh_beside_an_eviction_finds_the_contents(void)
{
	struct gmm_reader *reader;
	struct meeting meeting;
	uint64_t word;
	uint32_t i;

	for (i = 0; i < EVICT_STEPS; i++) {
		meet(&meeting, i, refresh, &word);
		gmm_equal(word, 7);
		gmm_must(!gmm_reader_register(meeting.model.guest, &reader));
		gmm_equal(model_cache_read(meeting.cache, reader, 0, &word), 0);
		gmm_equal(word, 7);
		gmm_equal(model_cache_write(meeting.cache, reader, 0, 8), 0);
		gmm_equal(gmm_evict(meeting.model.guest, 0, MODEL_PAGES, 0), 1);
		gmm_equal(model_cache_read(meeting.cache, reader, 0, &word), 0);
		gmm_equal(word, 8);
		gmm_reader_unregister(reader);
		part(&meeting);
	}
}

static void a_harvest_beside_an_eviction_has_the_bit(void)
{
	struct meeting meeting;
	uint64_t word, bits;
	uint32_t i;

	for (i = 0; i < EVICT_STEPS; i++) {
		meet(&meeting, i, harvest, &word);
		gmm_equal(word, 7);
		gmm_equal(meeting.other.second, 1u << PAGE);
		gmm_ok(model_guest_write(&meeting.model, PAGE, 9));
		gmm_equal(gmm_dirty_harvest(meeting.model.guest, 0, 0, MODEL_PAGES, &bits), 1);
		part(&meeting);
	}
}

static void a_discard_beside_an_eviction_makes_zero(void)
{
	struct meeting meeting;
	uint64_t word;
	uint32_t i;

	for (i = 0; i < EVICT_STEPS; i++) {
		meet(&meeting, i, discard, &word);
		gmm_equal(meeting.other.answer, 0);
		gmm_equal(word, 0);
		part(&meeting);
	}
}

static void a_read_beside_an_eviction_finds_the_contents(void)
{
	struct meeting meeting;
	uint64_t word;
	uint32_t i;

	for (i = 0; i < EVICT_STEPS; i++) {
		meet(&meeting, i, read_page, &word);
		gmm_equal(word, 7);
		gmm_equal(meeting.other.second, 7);
		part(&meeting);
	}
}

static void a_populate_beside_an_eviction_fills_again(void)
{
	struct meeting meeting;
	uint64_t word;
	uint32_t i;

	for (i = 0; i < EVICT_STEPS; i++) {
		meet(&meeting, i, populate, &word);
		gmm_equal(word, 7);
		part(&meeting);
	}
}

static void a_slot_goes_only_when_the_evictor_is_done(void)
{
	struct gmm_page_info info;
	struct meeting meeting;
	uint64_t word;
	uint32_t i;

	for (i = 0; i < EVICT_STEPS; i++) {
		meet(&meeting, i, remove_slot, &word);
		gmm_equal(meeting.other.answer, 0);
		gmm_equal(gmm_page_query(meeting.model.guest, PAGE, &info), -GMM_EFAULT);
		gmm_equal(gmm_resident_pages(meeting.model.guest), 0);
		part(&meeting);
	}
}

/* Made resident, evicted, resolved: it must not be the caller's problem. */
static void a_refresh_that_an_eviction_overtakes_starts_again(void)
{
	struct race refresher = { 0 };
	struct gmm_reader *reader;
	struct gmm_gate gate;
	struct model model;
	uint64_t word = 0;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	model.memory.strict = true;
	gmm_must(!gmm_cache_create(model.guest, &refresher.cache));
	gmm_equal(gmm_cache_activate(refresher.cache, PAGE * MODEL_PAGE_BYTES, 8, GMM_CACHE_HOST),
		  0);
	gmm_equal(gmm_evict(model.guest, PAGE, 1, 0), 1);
	gmm_gate_init(&gate, 1);
	model.memory.gates[MODEL_RESOLVE] = &gate;
	race_start(&refresher, refresh);
	gmm_gate_wait_held(&gate);
	gmm_equal(gmm_evict(model.guest, PAGE, 1, 0), 1);
	gmm_gate_open(&gate);
	gmm_equal(race_join(&refresher), 0);
	gmm_must(!gmm_reader_register(model.guest, &reader));
	gmm_equal(model_cache_read(refresher.cache, reader, 0, &word), 0);
	gmm_equal(word, model_word(PAGE));
	gmm_reader_unregister(reader);
	gmm_equal(gmm_cache_destroy(refresher.cache), 0);
	model_fini(&model);
}

static int fault(struct race *race)
{
	return gmm_fault_serve(race->model->guest, PAGE, GMM_ACCESS_WRITE);
}

/* Who is at a page is left alone; and discarding, which may not leave one out, waits. */
static void busy_pages_are_left_by_evict_and_waited_for_by_discard(void)
{
	struct race filler = { 0 }, discarder = { 0 };
	struct gmm_gate gate;
	struct model model;
	uint64_t word;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	filler.model = discarder.model = &model;
	gmm_must(model_guest_write(&model, 2, 1));
	gmm_gate_init(&gate, 1);
	model.memory.gates[MODEL_FILL] = &gate;
	race_start(&filler, fault);
	gmm_gate_wait_held(&gate);
	gmm_equal(gmm_evict(model.guest, 0, MODEL_PAGES, 0), 1);
	race_start(&discarder, discard);
	race_give_way(&discarder);
	gmm_ok(!race_is_done(&discarder));
	gmm_gate_open(&gate);
	gmm_equal(race_join(&discarder), 0);
	gmm_equal(race_join(&filler), 0);
	gmm_must(model_guest_read(&model, PAGE, &word));
	gmm_equal(word, 0);
	model_fini(&model);
}

/* Readers and writers of every kind, on few pages, while these come and go. */
struct user {
	struct race race;
	uint32_t page; /* its own: nobody else writes it */
	uint32_t turns;
};

static int guest_user(struct race *race)
{
	struct user *user = gmm_container_of(race, struct user, race);
	uint64_t word = 0, i;

	for (i = 1; i <= user->turns; i++) {
		if (!model_guest_write(race->model, user->page, i) ||
		    !model_guest_read(race->model, user->page, &word))
			return -GMM_EIO;
		gmm_equal(word, i);
		if (!model_guest_read(race->model, 9, &word))
			return -GMM_EIO;
		gmm_equal(word, model_word(9));
	}
	return 0;
}

static int device_user(struct race *race)
{
	struct user *user = gmm_container_of(race, struct user, race);
	struct gmm_reader *reader;
	uint64_t word = 0, i;
	int error = gmm_reader_register(race->model->guest, &reader);

	for (i = 1; i <= user->turns && !error; i++) {
		error = model_cache_write(race->cache, reader,
					  (uint64_t)user->page * MODEL_PAGE_BYTES, i);
		if (!error)
			error = model_cache_read(race->cache, reader,
						 (uint64_t)user->page * MODEL_PAGE_BYTES, &word);
		gmm_equal(word, i);
		if (!error)
			error = model_cache_read(race->cache, reader, 9 * MODEL_PAGE_BYTES, &word);
		gmm_equal(word, model_word(9));
	}
	gmm_reader_unregister(reader);
	return error;
}

static int evicting_user(struct race *race)
{
	struct user *user = gmm_container_of(race, struct user, race);
	uint32_t i;

	for (i = 0; i < user->turns; i++) {
		int64_t answer = i % 3 == 2 ?
					 gmm_resident_trim(race->model->guest, MODEL_PAGES / 4) :
					 gmm_evict(race->model->guest, 0, MODEL_PAGES, 0);

		if (answer < 0 && answer != -GMM_EBUSY)
			return (int)answer;
	}
	return 0;
}

static void nobody_loses_anything_while_pages_come_and_go(void)
{
	static int (*const calls[])(struct race * race) = { guest_user, device_user, evicting_user,
							    evicting_user };
	struct user users[4];
	struct gmm_cache *cache;
	struct model model;
	uint32_t i;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	model.memory.strict = true;
	gmm_must(!gmm_cache_create(model.guest, &cache));
	gmm_equal(gmm_cache_activate(cache, 0, 10 * MODEL_PAGE_BYTES,
				     GMM_CACHE_HOST | GMM_CACHE_WRITE),
		  0);
	for (i = 0; i < 4; i++) {
		users[i] = (struct user){ .page = 3 + i, .turns = gmm_test_turns(i < 2 ? 4 : 3) };
		users[i].race.model = &model;
		users[i].race.cache = cache;
		race_start(&users[i].race, calls[i]);
	}
	for (i = 0; i < 4; i++)
		gmm_equal(race_join(&users[i].race), 0);
	gmm_equal(gmm_cache_destroy(cache), 0);
	model_fini(&model);
}

#define CASE(name)          \
	{                   \
#name, name \
	}

const struct gmm_test_case gmm_test_cases[] = {
	CASE(a_refresh_beside_an_eviction_finds_the_contents),
	CASE(a_harvest_beside_an_eviction_has_the_bit),
	CASE(a_discard_beside_an_eviction_makes_zero),
	CASE(a_read_beside_an_eviction_finds_the_contents),
	CASE(a_populate_beside_an_eviction_fills_again),
	CASE(a_slot_goes_only_when_the_evictor_is_done),
	CASE(a_refresh_that_an_eviction_overtakes_starts_again),
	CASE(busy_pages_are_left_by_evict_and_waited_for_by_discard),
	CASE(nobody_loses_anything_while_pages_come_and_go),
	{ NULL, NULL },
};
