/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Repair against everybody else, and somebody who takes pages while all of them work. Rule W9. */
#include <guestmm/repair.h>

#include "race.h"

#define PAGE 5u

static int repair(struct race *race)
{
	return gmm_repair(race->model->guest, 0, MODEL_PAGES, NULL);
}

static int evict(struct race *race)
{
	return (int)gmm_evict(race->model->guest, 0, MODEL_PAGES, 0);
}

static int discard(struct race *race)
{
	return gmm_discard(race->model->guest, PAGE, 1);
}

static int harvest(struct race *race)
{
	return (int)gmm_dirty_harvest(race->model->guest, 0, 0, MODEL_PAGES, &race->second);
}

static int fault(struct race *race)
{
	return model_guest_read(race->model, PAGE, &race->second) ? 0 : -GMM_EIO;
}

static int touch(struct race *race)
{
	return gmm_repair_touched(race->model->guest, MODEL_HVA + PAGE * MODEL_PAGE_BYTES);
}

/*
 * A changed page is taken, and two find out at once: it is lost once, and zero for both. The
 * repair stands where it owns the page, or anywhere before.
 */
static void who_meets_a_repair_finds_the_page_lost_once(void)
{
	static int (*const others[])(struct race * race) = { repair,  evict, discard,
							     harvest, fault, touch };
	static const enum gmm_step_point steps[] = { GMM_STEP_INVALIDATE_CHANGING,
						     GMM_STEP_REPAIR_CLAIMED,
						     GMM_STEP_INVALIDATE_END };
	struct gmm_guest_counters counters;
	uint32_t i, j;

	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		for (j = 0; j < 3; j++) {
			struct race first = { 0 }, second = { 0 };
			struct gmm_gate gate;
			struct model model;
			uint64_t word = 1;

			model_init(&model, MODEL_LAZY | MODEL_OWNER | MODEL_LOG_DIRTY);
			first.model = second.model = &model;
			gmm_must(model_guest_write(&model, PAGE, 7));
			model_take_page(&model, PAGE);
			gmm_gate_init(&gate, 1);
			gmm_test_hold_step(steps[j], &gate);
			race_start(&first, repair);
			gmm_gate_wait_held(&gate);
			race_start(&second, others[i]);
			race_give_way(&second);
			gmm_gate_open(&gate);
			gmm_equal(race_join(&first), 0);
			gmm_ok(race_join(&second) >= 0);
			gmm_test_unhold_steps();
			gmm_ok(model_guest_read(&model, PAGE, &word));
			gmm_equal(word, 0);
			gmm_guest_read_counters(model.guest, &counters);
			/* A discard that came first has made the page zero itself. */
			gmm_equal(counters.pages_lost,
				  others[i] == discard && !counters.pages_lost ? 0 : 1);
			model_fini(&model);
		}
	}
}

/* Who protects a page does not ask for it: a repair that passed it over would leave it unreported. */
static void a_repair_waits_for_pages_that_somebody_changes(void)
{
	struct race harvester = { 0 }, repairer = { 0 };
	struct gmm_guest_counters counters;
	struct gmm_gate gate;
	struct model model;

	model_init(&model, MODEL_LAZY | MODEL_OWNER | MODEL_LOG_DIRTY);
	harvester.model = repairer.model = &model;
	gmm_must(model_guest_write(&model, PAGE, 7));
	gmm_gate_init(&gate, 1);
	model.memory.gates[MODEL_LIVE_PROTECT] = &gate;
	race_start(&harvester, harvest);
	gmm_gate_wait_held(&gate);
	model_take_page(&model, PAGE);
	race_start(&repairer, repair);
	race_give_way(&repairer);
	gmm_ok(!race_is_done(&repairer));
	gmm_gate_open(&gate);
	gmm_equal(race_join(&repairer), 0);
	gmm_ok(race_join(&harvester) >= 0);
	gmm_guest_read_counters(model.guest, &counters);
	gmm_equal(counters.pages_lost, 1);
	model_fini(&model);
}

struct user {
	struct race race;
	uint32_t page;
	uint32_t turns;
};

/* Its page holds what it wrote, or is zero because it was lost: never anything else. */
static int guest_user(struct race *race)
{
	struct user *user = gmm_container_of(race, struct user, race);
	struct gmm_guest_counters before, after;
	uint64_t word = 0, i;

	for (i = 1; i <= user->turns; i++) {
		gmm_guest_read_counters(race->model->guest, &before);
		if (!model_guest_write(race->model, user->page, i) ||
		    !model_guest_read(race->model, user->page, &word))
			return -GMM_EIO;
		gmm_guest_read_counters(race->model->guest, &after);
		gmm_ok(word == i || (word == 0 && after.pages_lost > before.pages_lost),
		       "%u holds %u of turn %u, unreported", user->page, (unsigned int)word,
		       (unsigned int)i);
		if (!model_guest_read(race->model, 9, &word))
			return -GMM_EIO;
		gmm_equal(word, model_word(9));
	}
	return 0;
}

static int taking_user(struct race *race)
{
	struct user *user = gmm_container_of(race, struct user, race);
	uint32_t i;

	for (i = 0; i < user->turns; i++) {
		model_take_page(race->model, i % 3 == 2 ? 9 : 3 + i % 3);
		if (i % 4 == 3 && gmm_repair(race->model->guest, 3, 7, NULL))
			return -GMM_EIO;
	}
	return 0;
}

static int evicting_user(struct race *race)
{
	struct user *user = gmm_container_of(race, struct user, race);
	uint32_t i;

	for (i = 0; i < user->turns; i++)
		if (gmm_evict(race->model->guest, 0, MODEL_PAGES, 0) < 0)
			return -GMM_EIO;
	return 0;
}

static void whatever_is_taken_nothing_is_silently_wrong(void)
{
	static int (*const calls[])(struct race * race) = { guest_user, guest_user, taking_user,
							    evicting_user };
	struct user users[4];
	struct model model;
	uint32_t i;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	for (i = 0; i < 4; i++) {
		users[i] = (struct user){ .page = 3 + i, .turns = gmm_test_turns(4) };
		users[i].race.model = &model;
		race_start(&users[i].race, calls[i]);
	}
	for (i = 0; i < 4; i++)
		gmm_equal(race_join(&users[i].race), 0);
	gmm_equal(gmm_repair(model.guest, 0, MODEL_PAGES, NULL), 0);
	model_fini(&model);
}

#define CASE(name)          \
	{                   \
#name, name \
	}

const struct gmm_test_case gmm_test_cases[] = {
	CASE(who_meets_a_repair_finds_the_page_lost_once),
	CASE(a_repair_waits_for_pages_that_somebody_changes),
	CASE(whatever_is_taken_nothing_is_silently_wrong),
	{ NULL, NULL },
};
