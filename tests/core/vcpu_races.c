/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* vCPUs against who kicks them and who moves what they use. Rules P23, P34, W8. */
#include "vcpu_user.h"

/* A request on a thread of its own. */
struct asker {
	struct race race;
	struct gmm_vcpu *vcpu;
	uint32_t request;
	uint32_t flags;
};

static int ask(struct race *race)
{
	struct asker *asker = gmm_container_of(race, struct asker, race);

	return gmm_vcpu_request(asker->vcpu, asker->request, asker->flags);
}

static void asker_start(struct asker *asker, struct vcpu_user *user, uint32_t request,
			uint32_t flags)
{
	asker->vcpu = user->vcpu;
	asker->request = request;
	asker->flags = flags;
	race_start(&asker->race, ask);
}

static void waiting_ends_only_when_the_vcpu_has_left(void)
{
	struct asker asker = { 0 };
	struct vcpu_user user;
	struct model model;

	model_init(&model, 0);
	vcpu_user_create(&user, &model, 0);
	gmm_equal(gmm_vcpu_enter(user.vcpu), 0);
	asker_start(&asker, &user, 3, GMM_REQUEST_WAIT);
	vcpu_user_wait_kicked(&user, 1);
	race_give_way(&asker.race);
	gmm_ok(!race_is_done(&asker.race), "it did not wait");
	gmm_ok(gmm_vcpu_exit(user.vcpu));
	gmm_equal(race_join(&asker.race), 1);
	gmm_equal(gmm_vcpu_take_requests(user.vcpu), 1u << 3);
	vcpu_user_destroy(&user);
	model_fini(&model);
}

/* The stay in which it was kicked, not the next one: else who kicks may wait for ever. */
static void waiting_ends_although_the_vcpu_entered_again_at_once(void)
{
	struct asker asker = { 0 };
	struct vcpu_user user;
	struct gmm_gate kicked;
	struct model model;

	model_init(&model, 0);
	vcpu_user_create(&user, &model, 0);
	gmm_gate_init(&kicked, 1);
	gmm_test_hold_step(GMM_STEP_VCPU_KICKED, &kicked);
	gmm_equal(gmm_vcpu_enter(user.vcpu), 0);
	asker_start(&asker, &user, GMM_REQUEST_NONE, GMM_REQUEST_WAIT);
	gmm_gate_wait_held(&kicked);
	gmm_ok(gmm_vcpu_exit(user.vcpu));
	gmm_equal(gmm_vcpu_enter(user.vcpu), 0);
	gmm_gate_open(&kicked);
	gmm_equal(race_join(&asker.race), 1);
	gmm_ok(!gmm_vcpu_exit(user.vcpu), "it was kicked in its second stay");
	vcpu_user_destroy(&user);
	model_fini(&model);
}

/* The same without a gate: the sleep and the end of the stay meet anywhere. */
static void waiting_ends_wherever_the_stay_does(void)
{
	struct asker asker = { 0 };
	struct vcpu_user user;
	struct model model;
	uint32_t i;

	model_init(&model, 0);
	vcpu_user_create(&user, &model, 0);
	for (i = 1; i <= gmm_test_turns(3); i++) {
		gmm_equal(gmm_vcpu_enter(user.vcpu), 0);
		asker_start(&asker, &user, GMM_REQUEST_NONE, GMM_REQUEST_WAIT);
		vcpu_user_wait_kicked(&user, i);
		gmm_ok(gmm_vcpu_exit(user.vcpu));
		gmm_equal(gmm_vcpu_enter(user.vcpu), 0);
		gmm_equal(race_join(&asker.race), 1);
		gmm_ok(!gmm_vcpu_exit(user.vcpu));
	}
	vcpu_user_destroy(&user);
	model_fini(&model);
}

static int enter(struct race *race)
{
	struct asker *self = gmm_container_of(race, struct asker, race);

	return gmm_vcpu_enter(self->vcpu);
}

/* Holds an entry between "visible as in guest" and "checks again". */
static void start_entering(struct asker *entry, struct vcpu_user *user, struct gmm_gate *gate)
{
	gmm_gate_init(gate, 1);
	gmm_test_hold_step(GMM_STEP_VCPU_ENTERING, gate);
	entry->vcpu = user->vcpu;
	race_start(&entry->race, enter);
	gmm_gate_wait_held(gate);
	gmm_equal(gmm_vcpu_mode(user->vcpu), GMM_VCPU_ENTERING);
}

static void a_request_during_an_entry_is_taken_before_the_guest_runs(void)
{
	struct asker entry = { 0 };
	struct vcpu_user user;
	struct gmm_gate gate;
	struct model model;

	model_init(&model, 0);
	vcpu_user_create(&user, &model, 0);
	start_entering(&entry, &user, &gate);
	gmm_equal(gmm_vcpu_request(user.vcpu, 5, 0), 1);
	gmm_gate_open(&gate);
	gmm_equal(race_join(&entry.race), -GMM_EAGAIN);
	gmm_equal(gmm_vcpu_mode(user.vcpu), GMM_VCPU_OUTSIDE);
	gmm_equal(gmm_vcpu_take_requests(user.vcpu), 1u << 5);
	gmm_equal(vcpu_user_kicks(&user), 0);
	vcpu_user_destroy(&user);
	model_fini(&model);
}

static void a_kick_during_an_entry_makes_it_look_again_and_go_on(void)
{
	struct asker entry = { 0 }, asker = { 0 };
	struct gmm_gate gate, kicked;
	struct vcpu_user user;
	struct model model;

	model_init(&model, 0);
	vcpu_user_create(&user, &model, 0);
	start_entering(&entry, &user, &gate);
	gmm_gate_init(&kicked, 1);
	gmm_test_hold_step(GMM_STEP_VCPU_KICKED, &kicked);
	asker_start(&asker, &user, GMM_REQUEST_NONE, GMM_REQUEST_WAIT);
	gmm_gate_wait_held(&kicked);
	gmm_gate_open(&gate);
	gmm_equal(race_join(&entry.race), 0);
	gmm_gate_open(&kicked);
	gmm_equal(race_join(&asker.race), 1);
	gmm_equal(vcpu_user_kicks(&user), 0);
	gmm_ok(!gmm_vcpu_exit(user.vcpu));
	vcpu_user_destroy(&user);
	model_fini(&model);
}

/* One of the two sees the other: who asks finds it entering, or who enters finds the request. */
static void a_request_and_an_entry_never_miss_each_other(void)
{
	struct asker entry = { 0 };
	struct vcpu_user user;
	struct model model;
	uint32_t i;
	int was_inside, entered;

	model_init(&model, 0);
	vcpu_user_create(&user, &model, 0);
	entry.vcpu = user.vcpu;
	for (i = 0; i < 11 + gmm_test_turns(1); i++) {
		race_start(&entry.race, enter);
		was_inside = gmm_vcpu_request(user.vcpu, 5, GMM_REQUEST_NO_WAKEUP);
		entered = race_join(&entry.race);
		gmm_must(was_inside || entered == -GMM_EAGAIN);
		if (!entered)
			gmm_ok(gmm_vcpu_exit(user.vcpu), "not kicked");
		gmm_equal(gmm_vcpu_take_requests(user.vcpu), 1u << 5);
	}
	vcpu_user_destroy(&user);
	model_fini(&model);
}

/* Leaves only when both have been kicked. */
struct pair {
	struct race race;
	struct vcpu_user *self;
	struct vcpu_user *other;
	uint32_t *inside; /* how many are in guest mode */
};

static int stay_until_both_are_kicked(struct race *race)
{
	struct pair *pair = gmm_container_of(race, struct pair, race);
	int error = gmm_vcpu_enter(pair->self->vcpu);

	if (error)
		return error;
	gmm_fetch_add(pair->inside, 1u);
	vcpu_user_wait_kicked(pair->self, 1);
	vcpu_user_wait_kicked(pair->other, 1);
	gmm_vcpu_exit(pair->self->vcpu);
	return 0;
}

static void all_are_kicked_before_any_is_waited_for(void)
{
	struct gmm_range range = model_frames(2, 1);
	struct vcpu_user users[2];
	struct pair pairs[2];
	struct gmm_cache *cache;
	struct model model;
	uint32_t inside = 0, turn = 0, i;

	model_init(&model, 0);
	for (i = 0; i < 2; i++)
		vcpu_user_create(&users[i], &model, i);
	cache = vcpu_user_cache(&model, 2, 0, &users[0], &users[1]);
	for (i = 0; i < 2; i++) {
		pairs[i] =
			(struct pair){ .self = &users[i], .other = &users[!i], .inside = &inside };
		race_start(&pairs[i].race, stay_until_both_are_kicked);
	}
	while (gmm_load_acquire(&inside) < 2)
		gmm_cpu_relax(turn++);
	gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &range, 1, 0, NULL), 0);
	for (i = 0; i < 2; i++)
		gmm_equal(gmm_vcpu_mode(users[i].vcpu), GMM_VCPU_OUTSIDE);
	gmm_invalidate_end(model.guest, GMM_RANGE_GFN, &range, 1);
	for (i = 0; i < 2; i++)
		gmm_equal(race_join(&pairs[i].race), 0);
	gmm_equal(gmm_cache_destroy(cache), 0);
	for (i = 0; i < 2; i++)
		vcpu_user_destroy(&users[i]);
	model_fini(&model);
}

/* An entry is stopped at `step`, the page that it is about to use moves, and the entry goes on. */
static void move_during_entry(enum gmm_step_point step)
{
	struct asker entry = { 0 };
	struct race mover = { .first = 2 };
	struct gmm_gate gate, kicked;
	struct vcpu_user user;
	struct gmm_cache *cache;
	struct model model;

	model_init(&model, 0);
	vcpu_user_create(&user, &model, 0);
	cache = vcpu_user_cache(&model, 2, GMM_CACHE_HOST, &user, NULL);
	mover.model = &model;
	/* The frame is another one already, so the entry resolves and maps. */
	race_start(&mover, race_move_page);
	gmm_equal(race_join(&mover), 0);
	gmm_gate_init(&gate, 1);
	gmm_gate_init(&kicked, 1);
	gmm_test_hold_step(step, &gate);
	gmm_test_hold_step(GMM_STEP_VCPU_KICKED, &kicked);
	entry.vcpu = user.vcpu;
	race_start(&entry.race, enter);
	gmm_gate_wait_held(&gate);
	race_start(&mover, race_move_page);
	if (race_done_or_at(&mover, &kicked))
		gmm_ok(step != GMM_STEP_VCPU_ENTERING, "the vCPU was not waited for");
	gmm_gate_open(&gate);
	gmm_gate_open(&kicked);
	gmm_equal(race_join(&entry.race), 0);
	gmm_equal(vcpu_user_read(&user, &model, cache), model_word(2));
	gmm_vcpu_exit(user.vcpu);
	gmm_equal(race_join(&mover), 0);
	gmm_equal(gmm_cache_destroy(cache), 0);
	vcpu_user_destroy(&user);
	model_fini(&model);
}

static void a_page_that_moves_before_frames_are_resolved_is_seen(void)
{
	move_during_entry(GMM_STEP_REFRESH_RESOLVE);
}

static void a_page_that_moves_before_frames_are_mapped_is_seen(void)
{
	move_during_entry(GMM_STEP_REFRESH_MAP);
}

static void a_page_that_moves_before_the_cache_is_valid_is_seen(void)
{
	move_during_entry(GMM_STEP_REFRESH_PUBLISH);
}

static void a_page_that_moves_before_the_last_check_is_seen(void)
{
	move_during_entry(GMM_STEP_VCPU_ENTERING);
}

/* Kicked and waited for: until it leaves, its frame stays, although the cache is not valid any more. */
static void a_frame_stays_right_until_the_exit(void)
{
	struct race mover = { .first = 2 };
	struct gmm_gate kicked;
	struct vcpu_user user;
	struct gmm_cache *cache;
	struct model model;

	model_init(&model, 0);
	vcpu_user_create(&user, &model, 0);
	cache = vcpu_user_cache(&model, 2, 0, &user, NULL);
	mover.model = &model;
	gmm_gate_init(&kicked, 1);
	gmm_test_hold_step(GMM_STEP_VCPU_KICKED, &kicked);
	gmm_equal(gmm_vcpu_enter(user.vcpu), 0);
	race_start(&mover, race_move_page);
	gmm_gate_wait_held(&kicked);
	gmm_equal(vcpu_user_read(&user, &model, cache), model_word(2));
	gmm_gate_open(&kicked);
	race_give_way(&mover);
	gmm_equal(vcpu_user_read(&user, &model, cache), model_word(2));
	gmm_ok(gmm_vcpu_exit(user.vcpu));
	gmm_equal(race_join(&mover), 0);
	gmm_equal(gmm_vcpu_enter(user.vcpu), 0);
	gmm_equal(vcpu_user_read(&user, &model, cache), model_word(2));
	gmm_vcpu_exit(user.vcpu);
	gmm_equal(gmm_cache_destroy(cache), 0);
	vcpu_user_destroy(&user);
	model_fini(&model);
}

/* Enters, leaves when it is kicked or after a while, takes what is asked; until it is told to stop. */
struct runner {
	struct race race;
	struct vcpu_user *user;
	struct gmm_cache *cache; /* of page 2, or NULL */
	uint32_t taken[32];	 /* atomic */
	uint32_t stop;		 /* atomic */
	uint32_t stays;
	bool patient; /* leaves only when kicked */
};

static int run(struct race *race)
{
	struct runner *runner = gmm_container_of(race, struct runner, race);
	struct vcpu_user *user = runner->user;

	for (;;) {
		uint32_t turn = 0, taken, bit;
		int error;

		gmm_cpu_relax(runner->stays);
		taken = gmm_vcpu_take_requests(user->vcpu);

		for (bit = 0; bit < 32; bit++)
			if ((taken >> bit) & 1)
				gmm_fetch_add(&runner->taken[bit], 1u);
		/* After the requests, so that one made after `stop` ends it. */
		if (gmm_load_acquire(&runner->stop))
			return 0;
		error = gmm_vcpu_enter(user->vcpu);
		if (error == -GMM_EAGAIN)
			continue;
		if (error)
			return error;
		if (runner->cache)
			gmm_equal(vcpu_user_read(user, runner->race.model, runner->cache),
				  model_word(2));
		while (gmm_vcpu_mode(user->vcpu) != GMM_VCPU_EXITING &&
		       (runner->patient || turn < 3))
			gmm_cpu_relax(turn++);
		gmm_vcpu_exit(user->vcpu);
		runner->stays++;
	}
}

/* A thread that makes request number `request` and waits until it was handed out, again and again. */
struct caller {
	struct race race;
	struct runner *runner;
	uint32_t request;
};

static int call_and_wait(struct race *race)
{
	struct caller *caller = gmm_container_of(race, struct caller, race);
	struct runner *runner = caller->runner;
	struct gmm_vcpu *vcpu = runner->user->vcpu;
	uint32_t i;

	for (i = 1; i <= gmm_test_turns(3); i++) {
		uint32_t turn = 0;
		int answer = gmm_vcpu_request(vcpu, caller->request, 0);
		bool inside = gmm_vcpu_mode(vcpu) == GMM_VCPU_IN_GUEST;

		if (!gmm_ok(answer >= 0))
			return answer;
		/* It was outside; so it must not be inside before it has taken the request. */
		if (!answer && inside)
			gmm_equal(gmm_load_acquire(&runner->taken[caller->request]), i);
		while (gmm_load_acquire(&runner->taken[caller->request]) < i)
			gmm_cpu_relax(turn++);
	}
	gmm_equal(gmm_load_acquire(&runner->taken[caller->request]), i - 1);
	return 0;
}

static void each_request_is_handed_out_once(void)
{
	struct caller callers[2];
	struct vcpu_user user;
	struct runner runner = { .user = &user, .patient = true };
	struct model model;
	uint32_t i;

	model_init(&model, 0);
	vcpu_user_create(&user, &model, 0);
	runner.race.model = &model;
	race_start(&runner.race, run);
	for (i = 0; i < 2; i++) {
		callers[i] = (struct caller){ .runner = &runner, .request = 30 + i };
		race_start(&callers[i].race, call_and_wait);
	}
	for (i = 0; i < 2; i++)
		gmm_equal(race_join(&callers[i].race), 0);
	gmm_store_release(&runner.stop, 1u);
	gmm_ok(gmm_vcpu_request(user.vcpu, 0, 0) >= 0);
	gmm_equal(race_join(&runner.race), 0);
	gmm_vcpu_take_requests(user.vcpu);
	vcpu_user_destroy(&user);
	model_fini(&model);
}

/* Blocking and not, with and without other caches of the page: nobody reads what a frame held before. */
static void a_running_vcpu_never_reads_a_frame_that_moved(void)
{
	struct gmm_range range = model_frames(2, 1);
	struct vcpu_user users[2];
	struct runner runners[2];
	struct gmm_cache *cache;
	struct model model;
	uint32_t i;

	model_init(&model, 0);
	for (i = 0; i < 2; i++)
		vcpu_user_create(&users[i], &model, i);
	cache = vcpu_user_cache(&model, 2, 0, &users[0], &users[1]);
	for (i = 0; i < 2; i++) {
		runners[i] = (struct runner){ .user = &users[i], .cache = cache };
		runners[i].race.model = &model;
		race_start(&runners[i].race, run);
	}
	for (i = 0; i < gmm_test_turns(4); i++) {
		gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &range, 1, 0, NULL), 0);
		model_move_page(&model, 2);
		gmm_invalidate_end(model.guest, GMM_RANGE_GFN, &range, 1);
	}
	for (i = 0; i < 2; i++) {
		gmm_store_release(&runners[i].stop, 1u);
		gmm_equal(race_join(&runners[i].race), 0);
	}
	gmm_equal(gmm_cache_destroy(cache), 0);
	for (i = 0; i < 2; i++)
		vcpu_user_destroy(&users[i]);
	model_fini(&model);
}

/* A cache goes while the vCPU of its set comes and goes; the set forgets it, or the call is refused. */
static void a_cache_is_destroyed_while_a_vcpu_of_its_set_runs(void)
{
	struct vcpu_user user;
	struct runner runner = { .user = &user };
	struct gmm_cache *cache;
	struct model model;
	uint32_t i;
	int error;

	model_init(&model, 0);
	vcpu_user_create(&user, &model, 0);
	runner.race.model = &model;
	race_start(&runner.race, run);
	for (i = 0; i < gmm_test_turns(2); i++) {
		uint32_t turn = 0;

		cache = vcpu_user_cache(&model, 2, 0, NULL, NULL);
		while ((error = gmm_cache_vcpu_add(cache, user.vcpu)) == -GMM_EBUSY)
			gmm_cpu_relax(turn++);
		gmm_equal(error, 0);
		if (i % 2)
			gmm_equal(gmm_cache_deactivate(cache), 0);
		while ((error = gmm_cache_destroy(cache)) == -GMM_EBUSY)
			gmm_cpu_relax(turn++);
		gmm_equal(error, 0);
	}
	gmm_store_release(&runner.stop, 1u);
	gmm_equal(race_join(&runner.race), 0);
	gmm_equal(gmm_vcpu_enter(user.vcpu), 0);
	gmm_vcpu_exit(user.vcpu);
	vcpu_user_destroy(&user);
	model_fini(&model);
}

static int move_page_without_blocking(struct race *race)
{
	struct gmm_range range = model_frames(race->first, 1);
	int error = gmm_invalidate_begin(race->model->guest, GMM_RANGE_GFN, &range, 1,
					 GMM_INVALIDATE_NONBLOCKING, NULL);

	if (error)
		return error;
	model_move_page(race->model, (uint32_t)race->first);
	gmm_invalidate_end(race->model->guest, GMM_RANGE_GFN, &range, 1);
	return 0;
}

/* P34: not waiting for vCPUs does not mean not waiting for readers. */
static void a_nonblocking_begin_still_excludes_readers(void)
{
	struct race mover = { .first = 2 };
	struct race_reader reader = { 0 };
	struct gmm_cache *cache;
	struct model model;

	model_init(&model, 0);
	cache = vcpu_user_cache(&model, 2, GMM_CACHE_HOST, NULL, NULL);
	race_reader_start(&reader, &model, cache);
	mover.model = &model;
	race_start(&mover, move_page_without_blocking);
	race_give_way(&mover);
	gmm_ok(!race_is_done(&mover), "the reader was not waited for");
	race_reader_end(&reader);
	gmm_equal(reader.before, model_word(2));
	gmm_equal(reader.after, model_word(2));
	gmm_equal(race_join(&mover), 0);
	gmm_equal(gmm_cache_destroy(cache), 0);
	model_fini(&model);
}

#define CASE(name)          \
	{                   \
#name, name \
	}

const struct gmm_test_case gmm_test_cases[] = {
	CASE(waiting_ends_only_when_the_vcpu_has_left),
	CASE(waiting_ends_although_the_vcpu_entered_again_at_once),
	CASE(waiting_ends_wherever_the_stay_does),
	CASE(a_request_during_an_entry_is_taken_before_the_guest_runs),
	CASE(a_kick_during_an_entry_makes_it_look_again_and_go_on),
	CASE(a_request_and_an_entry_never_miss_each_other),
	CASE(all_are_kicked_before_any_is_waited_for),
	CASE(a_page_that_moves_before_frames_are_resolved_is_seen),
	CASE(a_page_that_moves_before_frames_are_mapped_is_seen),
	CASE(a_page_that_moves_before_the_cache_is_valid_is_seen),
	CASE(a_page_that_moves_before_the_last_check_is_seen),
	CASE(a_frame_stays_right_until_the_exit),
	CASE(each_request_is_handed_out_once),
	CASE(a_running_vcpu_never_reads_a_frame_that_moved),
	CASE(a_cache_is_destroyed_while_a_vcpu_of_its_set_runs),
	CASE(a_nonblocking_begin_still_excludes_readers),
	{ NULL, NULL },
};
