/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* A vCPU sleeps outside guest mode, and whoever needs it finds it. Rule W8. */
#include "vcpu_user.h"

struct sleeper {
	struct race race;
	struct vcpu_user *user;
	uint32_t turns;
	uint32_t taken; /* requests that were there after a sleep; atomic */
	uint32_t awake; /* sleeps that ended; atomic */
};

static int sleep_and_take(struct race *race)
{
	struct sleeper *sleeper = gmm_container_of(race, struct sleeper, race);
	uint32_t i;

	for (i = 0; i < sleeper->turns; i++) {
		int error = gmm_vcpu_sleep(sleeper->user->vcpu);

		if (error)
			return error;
		gmm_fetch_or(&sleeper->taken, gmm_vcpu_take_requests(sleeper->user->vcpu));
		gmm_fetch_add(&sleeper->awake, 1u);
	}
	return 0;
}

static void sleeper_start(struct sleeper *sleeper, struct vcpu_user *user, struct model *model,
			  uint32_t turns)
{
	*sleeper = (struct sleeper){ .user = user, .turns = turns };
	sleeper->race.model = model;
	race_start(&sleeper->race, sleep_and_take);
}

static void a_request_wakes_a_vcpu_that_sleeps(void)
{
	struct sleeper sleeper;
	struct vcpu_user user;
	struct model model;

	model_init(&model, 0);
	vcpu_user_create(&user, &model, 0);
	sleeper_start(&sleeper, &user, &model, 1);
	gmm_equal(gmm_vcpu_request(user.vcpu, 9, GMM_REQUEST_WAIT), 0);
	gmm_equal(race_join(&sleeper.race), 0);
	gmm_equal(sleeper.taken, 1u << 9);
	gmm_equal(vcpu_user_kicks(&user), 0);
	vcpu_user_destroy(&user);
	model_fini(&model);
}

static void a_request_may_leave_it_asleep(void)
{
	struct sleeper sleeper;
	struct vcpu_user user;
	struct model model;

	model_init(&model, 0);
	vcpu_user_create(&user, &model, 0);
	sleeper_start(&sleeper, &user, &model, 1);
	gmm_equal(gmm_vcpu_request(user.vcpu, 9, GMM_REQUEST_NO_WAKEUP), 0);
	gmm_equal(gmm_vcpu_request(user.vcpu, GMM_REQUEST_NONE, 0), 0);
	race_give_way(&sleeper.race);
	gmm_ok(!race_is_done(&sleeper.race), "it was woken");
	gmm_vcpu_wake(user.vcpu);
	gmm_equal(race_join(&sleeper.race), 0);
	gmm_equal(sleeper.taken, 1u << 9);
	vcpu_user_destroy(&user);
	model_fini(&model);
}

static void no_wake_is_lost_wherever_it_comes(void)
{
	uint32_t turns = gmm_test_turns(4), i;
	struct sleeper sleeper;
	struct vcpu_user user;
	struct model model;

	model_init(&model, 0);
	vcpu_user_create(&user, &model, 0);
	sleeper_start(&sleeper, &user, &model, turns);
	for (i = 0; i < turns; i++) {
		uint32_t turn = 0;

		if (i % 2)
			gmm_vcpu_wake(user.vcpu);
		else
			gmm_equal(gmm_vcpu_request(user.vcpu, 1, 0), 0);
		while (gmm_load_acquire(&sleeper.awake) <= i)
			gmm_cpu_relax(turn++);
	}
	gmm_equal(race_join(&sleeper.race), 0);
	vcpu_user_destroy(&user);
	model_fini(&model);
}

/* A vCPU that sleeps is outside: a page that it uses in guest mode moves without it. */
static void who_moves_a_page_does_not_wait_for_a_sleeper(void)
{
	struct gmm_range range = model_frames(2, 1);
	struct sleeper sleeper;
	struct vcpu_user user;
	struct gmm_cache *cache;
	struct model model;

	model_init(&model, 0);
	vcpu_user_create(&user, &model, 0);
	cache = vcpu_user_cache(&model, 2, 0, &user, NULL);
	sleeper_start(&sleeper, &user, &model, 1);
	gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &range, 1, 0, NULL), 0);
	model_move_page(&model, 2);
	gmm_invalidate_end(model.guest, GMM_RANGE_GFN, &range, 1);
	gmm_ok(!race_is_done(&sleeper.race), "it was woken");
	gmm_vcpu_wake(user.vcpu);
	gmm_equal(race_join(&sleeper.race), 0);
	gmm_equal(gmm_vcpu_enter(user.vcpu), 0);
	gmm_equal(vcpu_user_read(&user, &model, cache), model_word(2));
	gmm_vcpu_exit(user.vcpu);
	gmm_equal(gmm_cache_destroy(cache), 0);
	vcpu_user_destroy(&user);
	model_fini(&model);
}

#define CASE(name)          \
	{                   \
#name, name \
	}

const struct gmm_test_case gmm_test_cases[] = {
	CASE(a_request_wakes_a_vcpu_that_sleeps),
	CASE(a_request_may_leave_it_asleep),
	CASE(no_wake_is_lost_wherever_it_comes),
	CASE(who_moves_a_page_does_not_wait_for_a_sleeper),
	{ NULL, NULL },
};
