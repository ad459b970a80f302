/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Narrow windows and circles of waiting that a review found: each once failed.
 */
#include "race.h"
#include "vcpu_user.h"
#define PAGE ((uint64_t)MODEL_PAGE_BYTES)
#define HOST_WRITE (GMM_CACHE_HOST | GMM_CACHE_WRITE)

/* A slot is removed while a cache is between unlisting and unmapping. */
static void a_removal_waits_for_a_cache_being_deactivated(void)
{
	struct model model;
	struct gmm_gate gate;
	struct gmm_cache *cache;
	struct race race = { .model = &model }, removal = { .model = &model };

	model_init(&model, 0);
	gmm_must(!gmm_cache_create(model.guest, &cache));
	gmm_equal(gmm_cache_activate(cache, 3 * PAGE, 8, HOST_WRITE), 0);
	gmm_gate_init(&gate, 1);
	gmm_test_hold_step(GMM_STEP_DEACTIVATE_UNLISTED, &gate);
	race.cache = cache;
	race_start(&race, race_deactivate);
	gmm_gate_wait_held(&gate);
	race_start(&removal, race_slot_remove);
	race_give_way(&removal);
	gmm_ok(!race_is_done(&removal));
	gmm_gate_open(&gate);
	gmm_equal(race_join(&removal), 0);
	gmm_equal(model.memory.mappings[3], 0);
	race_join(&race);
	gmm_equal(gmm_cache_destroy(cache), 0);
	model_fini(&model);
}

/* A vCPU in guest mode loses the frame it uses although nobody has waited for it. */
static void a_failed_refresh_leaves_a_vcpu_its_frame(void)
{
	struct model model;
	struct vcpu_user user;
	struct gmm_cache *cache;
	struct gmm_gate gate;
	struct race refresh = { .model = &model }, move = { .model = &model, .first = 5 };

	model_init(&model, 0);
	vcpu_user_create(&user, &model, 0);
	cache = vcpu_user_cache(&model, 5, GMM_CACHE_HOST, &user, NULL);
	gmm_equal(gmm_vcpu_enter(user.vcpu), 0);
	gmm_equal(vcpu_user_read(&user, &model, cache), model_word(5));
	gmm_equal(gmm_cache_drop(cache), 0);
	gmm_gate_init(&gate, 1);
	model.memory.gates[MODEL_MAP] = &gate;
	model.memory.fail_at[MODEL_MAP] = model.memory.calls[MODEL_MAP] + 1;
	refresh.cache = cache;
	race_start(&refresh, race_refresh);
	gmm_gate_wait_held(&gate);
	race_start(&move, race_move_page);
	vcpu_user_wait_kicked(&user, 1);
	gmm_equal(vcpu_user_read(&user, &model, cache), model_word(5));
	gmm_gate_open(&gate);
	race_give_way(&refresh);
	gmm_equal(vcpu_user_read(&user, &model, cache), model_word(5));
	gmm_vcpu_exit(user.vcpu);
	race_join(&move);
	race_join(&refresh);
	gmm_equal(gmm_cache_destroy(cache), 0);
	vcpu_user_destroy(&user);
	model_fini(&model);
}

/* A slot's removal undoes a mapping that a section uses. */
static int begin_end_hva(struct race *race)
{
	struct gmm_range range = { race->first, race->second };
	int error = gmm_invalidate_begin(race->model->guest, GMM_RANGE_HVA, &range, 1, 0, NULL);

	if (!error)
		gmm_invalidate_end(race->model->guest, GMM_RANGE_HVA, &range, 1);
	return error;
}

static void a_removal_undoes_no_mapping_under_a_reader(void)
{
	struct model model = { 0 };
	struct gmm_guest_config config = { 0 };
	struct gmm_slot_config slot;
	struct gmm_cache *x, *y;
	struct gmm_gate map_gate, begin_gate;
	struct race refresh = { .model = &model }, removal = { .model = &model, .first = 1 };
	struct race change = { .model = &model, .first = 6 * PAGE, .second = 7 * PAGE };
	struct race_reader reader = { .offset = 0 };

	config.hva_ops = model_ops(&model);
	config.hva_memory = &model.memory;
	model = (struct model){ 0 };
	config.hva_ops = model_ops(&model);
	model_init_config(&model, MODEL_NO_SLOT, config);
	slot = model_slot(&model, 1, 5, 5, 2);
	slot.hva = 5 * PAGE;
	gmm_equal(gmm_slot_add(model.guest, &slot), 0);
	gmm_must(!gmm_cache_create(model.guest, &x));
	gmm_must(!gmm_cache_create(model.guest, &y));
	gmm_equal(gmm_cache_activate_hva(x, 5 * PAGE, 8, HOST_WRITE), 0);
	gmm_equal(gmm_cache_activate_hva(y, 6 * PAGE, 8, HOST_WRITE), 0);
	/* The removal is held in drop_mappings() by x's unmap. */
	gmm_gate_init(&map_gate, 1);
	model.memory.gates[MODEL_UNMAP] = &map_gate;
	race_start(&removal, race_slot_remove);
	gmm_gate_wait_held(&map_gate);
	/* y is valid again, by the memory without a slot, and used. */
	gmm_equal(gmm_cache_refresh(y), 0);
	race_reader_start(&reader, &model, y);
	gmm_ok(reader.before == model_word(6));
	/* Somebody begins a change of y's range, and waits for the reader. */
	gmm_gate_init(&begin_gate, 1);
	gmm_test_hold_step(GMM_STEP_INVALIDATE_READERS, &begin_gate);
	race_start(&change, begin_end_hva);
	gmm_gate_wait_held(&begin_gate);
	gmm_gate_open(&map_gate);
	race_give_way(&removal);
	gmm_equal(model.memory.mappings[6], 1); /* the reader is still in its section */
	race_reader_end(&reader);
	gmm_equal(race_join(&removal), 0);
	gmm_gate_open(&begin_gate);
	race_join(&change);
	(void)refresh;
	gmm_equal(gmm_cache_destroy(x), 0);
	gmm_equal(gmm_cache_destroy(y), 0);
	model_fini(&model);
}

/* Destroy waits for a pin of a vCPU that waits for this thread's change. */
static int enter_call(struct race *race)
{
	int error = gmm_vcpu_enter((struct gmm_vcpu *)(uintptr_t)race->first);

	if (!error)
		gmm_vcpu_exit((struct gmm_vcpu *)(uintptr_t)race->first);
	return error;
}

static void a_cache_is_destroyed_in_a_change_of_its_own(void)
{
	struct model model;
	struct vcpu_user user;
	struct gmm_cache *cache;
	struct gmm_gate gate;
	struct gmm_range range = { 5, 6 };
	struct race enter = { .model = &model };

	model_init(&model, 0);
	vcpu_user_create(&user, &model, 0);
	cache = vcpu_user_cache(&model, 5, 0, &user, NULL);
	gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &range, 1, 0, NULL), 0);
	gmm_gate_init(&gate, 1);
	gmm_test_hold_step(GMM_STEP_INVALIDATE_WAIT, &gate);
	enter.first = (uintptr_t)user.vcpu;
	race_start(&enter, enter_call);
	gmm_gate_wait_held(&gate);
	gmm_gate_open(&gate);
	race_give_way(&enter);
	gmm_equal(gmm_cache_vcpu_remove(cache, user.vcpu), 0);
	gmm_equal(gmm_cache_destroy(cache), 0); /* hangs */
	gmm_invalidate_end(model.guest, GMM_RANGE_GFN, &range, 1);
	race_join(&enter);
	vcpu_user_destroy(&user);
	model_fini(&model);
}

/* Two threads change the same range; one waits for itself. */
static void two_threads_with_one_range_are_told_apart(void)
{
	struct model model;
	struct gmm_cache *cache;
	struct gmm_range range = { 5, 6 };
	struct race other = { .model = &model, .first = 5 };

	model_init(&model, 0);
	gmm_must(!gmm_cache_create(model.guest, &cache));
	gmm_equal(gmm_cache_activate(cache, 5 * PAGE, 8, HOST_WRITE), 0);
	gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &range, 1, 0, NULL), 0);
	race_start(&other, race_move_page);
	gmm_equal(race_join(&other), 0);
	gmm_equal(gmm_cache_refresh(cache), -GMM_EDEADLK); /* hangs */
	gmm_invalidate_end(model.guest, GMM_RANGE_GFN, &range, 1);
	gmm_equal(gmm_cache_destroy(cache), 0);
	model_fini(&model);
}

/* A change in the last entry, and a slot's of the same range in an entry of its own. */
static void a_slot_changes_beside_a_merged_change_of_its_frames(void)
{
	struct model model;
	struct gmm_range range = { 0, MODEL_PAGES };
	struct race removal = { .model = &model, .first = 0 };
	struct gmm_gate gate;
	uint32_t i;

	model_init(&model, 0);
	for (i = 0; i < GMM_ACTIVE_RANGES - 1; i++) {
		struct gmm_range one = { 1000 + 2 * i, 1001 + 2 * i };

		gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &one, 1,
					       GMM_INVALIDATE_NONBLOCKING, NULL),
			  0);
	}
	gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &range, 1,
				       GMM_INVALIDATE_NONBLOCKING, NULL),
		  0);
	for (i = 0; i < GMM_ACTIVE_RANGES - 1; i++) {
		struct gmm_range one = { 1000 + 2 * i, 1001 + 2 * i };

		gmm_invalidate_end(model.guest, GMM_RANGE_GFN, &one, 1);
	}
	gmm_gate_init(&gate, 1);
	/* Before it holds faults: for that it waits for the merged change. */
	gmm_test_hold_step(GMM_STEP_SLOT_INVALID, &gate);
	race_start(&removal, race_slot_remove);
	gmm_gate_wait_held(&gate);
	gmm_invalidate_end(model.guest, GMM_RANGE_GFN, &range, 1);
	gmm_gate_open(&gate);
	gmm_equal(race_join(&removal), 0); /* hangs */
	model_fini(&model);
}

/* Three wait for each other. */
struct cycle {
	struct model model;
	struct vcpu_user user;
	struct gmm_cache *used, *other;
	struct gmm_gate in_guest;
};
static int vcpu_main(struct race *race)
{
	struct cycle *cycle = gmm_container_of(race->model, struct cycle, model);
	uint64_t word;

	while (gmm_vcpu_enter(cycle->user.vcpu))
		;
	gmm_gate_pass(&cycle->in_guest);
	model_guest_read(race->model, 9, &word); /* held by the change of 9 */
	gmm_vcpu_exit(cycle->user.vcpu);
	return 0;
}
static void nobody_waits_for_a_change_while_changing_something_else(void)
{
	struct cycle cycle;
	struct gmm_range range = { 9, 10 };
	struct race vcpu = { 0 }, move = { .first = 5 };

	model_init(&cycle.model, MODEL_LAZY | MODEL_OWNER);
	vcpu.model = move.model = &cycle.model;
	vcpu_user_create(&cycle.user, &cycle.model, 0);
	cycle.used = vcpu_user_cache(&cycle.model, 5, 0, &cycle.user, NULL);
	gmm_must(!gmm_cache_create(cycle.model.guest, &cycle.other));
	gmm_gate_init(&cycle.in_guest, GMM_GATE_ALL);
	race_start(&vcpu, vcpu_main);
	gmm_gate_wait_held(&cycle.in_guest);
	gmm_equal(gmm_invalidate_begin(cycle.model.guest, GMM_RANGE_GFN, &range, 1, 0, NULL), 0);
	gmm_gate_open(&cycle.in_guest);
	race_give_way(&vcpu);
	race_start(&move, race_move_page);
	vcpu_user_wait_kicked(&cycle.user, 1);
	gmm_cache_activate(cycle.other, 5 * PAGE, 8, HOST_WRITE); /* hangs */
	gmm_invalidate_end(cycle.model.guest, GMM_RANGE_GFN, &range, 1);
	race_join(&vcpu);
	race_join(&move);
	gmm_cache_destroy(cycle.other);
	gmm_cache_destroy(cycle.used);
	vcpu_user_destroy(&cycle.user);
	model_fini(&cycle.model);
}

/* A cache by HVA of lazy memory whose slot moves: always accessible. */
static void h_evict(void *arg)
{
	struct race *race = arg;
	uint32_t i;

	for (i = 0; i < gmm_test_turns(4); i++) {
		gmm_evict(race->model->guest, 0, 4, 0);
		gmm_evict(race->model->guest, 100, 4, 0);
	}
}
static void h_move(void *arg)
{
	struct race *race = arg;
	uint32_t i;

	for (i = 0; i < gmm_test_turns(4); i++)
		gmm_equal(gmm_slot_move(race->model->guest, 0, i % 2 ? 0 : 100), 0);
}
static void h_refresh(void *arg)
{
	struct race *race = arg;
	uint32_t i;

	for (i = 0; i < gmm_test_turns(6); i++)
		gmm_equal(gmm_cache_refresh(race->cache), 0);
}
static void a_refresh_by_address_survives_a_move_of_its_slot(void)
{
	struct model model;
	struct race race = { .model = &model };
	struct gmm_test_thread threads[3];
	struct gmm_cache *cache;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	gmm_must(!gmm_cache_create(model.guest, &cache));
	race.cache = cache;
	gmm_equal(gmm_cache_activate_hva(cache, MODEL_HVA + 2 * PAGE, 8, HOST_WRITE), 0);
	gmm_test_thread_start(&threads[0], h_evict, &race);
	gmm_test_thread_start(&threads[1], h_move, &race);
	gmm_test_thread_start(&threads[2], h_refresh, &race);
	gmm_test_thread_join(&threads[0]);
	gmm_test_thread_join(&threads[1]);
	gmm_test_thread_join(&threads[2]);
	gmm_equal(gmm_cache_destroy(cache), 0);
	model_fini(&model);
}

/* Reset beside harvests while the consumer has written HARVESTED into free entries. */
static void i_reset(void *arg)
{
	uint32_t i;

	for (i = 0; i < gmm_test_turns(3); i++)
		gmm_dirty_ring_reset(arg);
}
static void i_harvest(void *arg)
{
	struct model *model = arg;
	uint64_t bits;
	uint32_t i;

	for (i = 0; i < gmm_test_turns(3); i++)
		gmm_ok(gmm_dirty_harvest(model->guest, 0, 0, MODEL_PAGES, &bits) >= 0);
}
static void a_reset_stays_behind_what_was_pushed(void)
{
	struct model model;
	struct vcpu_user user;
	struct gmm_test_thread threads[2];
	struct gmm_dirty_entry out, *entries;
	uint32_t i;

	model_init(&model, MODEL_LOG_DIRTY);
	vcpu_user_create(&user, &model, 0);
	gmm_must(!gmm_dirty_ring_create(user.vcpu, GMM_DIRTY_RING_MIN));
	entries = gmm_dirty_ring_entries(user.vcpu);
	gmm_test_thread_start(&threads[0], i_reset, user.vcpu);
	gmm_test_thread_start(&threads[1], i_harvest, &model);
	for (i = 0; i < gmm_test_turns(3); i++) {
		gmm_dirty_ring_push(user.vcpu, 0, i % MODEL_PAGES);
		gmm_store_release(&entries[(i + 1) % GMM_DIRTY_RING_MIN].flags, 2u);
		gmm_store_release(&entries[(i + 2) % GMM_DIRTY_RING_MIN].flags, 2u);
	}
	gmm_test_thread_join(&threads[0]);
	gmm_test_thread_join(&threads[1]);
	for (i = 0; i < GMM_DIRTY_RING_MIN; i++)
		gmm_store_release(&entries[i].flags, 0u);
	while (gmm_dirty_ring_harvest(user.vcpu, &out, 1))
		;
	gmm_dirty_ring_reset(user.vcpu);
	gmm_ok(!gmm_dirty_ring_full(user.vcpu));
	vcpu_user_destroy(&user);
	model_fini(&model);
}

/* A change of a slot and a thread that, in a change of one page, looks at another. */
static void no_page_is_read_in_a_change_that_a_slot_waits_for(void)
{
	struct model model;
	struct gmm_range range = { 5, 6 };
	struct race removal = { .model = &model, .first = 0, .second = 100 };
	struct gmm_gate gate;
	static uint64_t words[512];

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &range, 1, 0, NULL), 0);
	gmm_gate_init(&gate, 1);
	gmm_test_hold_step(GMM_STEP_SLOT_INVALID, &gate);
	race_start(&removal, race_slot_move);
	gmm_gate_wait_held(&gate);
	gmm_gate_open(&gate);
	gmm_page_read(model.guest, 9, words); /* hangs */
	gmm_invalidate_end(model.guest, GMM_RANGE_GFN, &range, 1);
	race_join(&removal);
	model_fini(&model);
}

/* Activate says -GMM_EDEADLK, which changes nothing, and has changed the target. */
static void a_refused_activation_changes_nothing(void)
{
	struct model model;
	struct gmm_cache *cache;
	struct gmm_reader *reader;
	struct gmm_range range = { 5, 6 };

	model_init(&model, 0);
	gmm_must(!gmm_cache_create(model.guest, &cache));
	gmm_must(!gmm_reader_register(model.guest, &reader));
	gmm_equal(gmm_cache_activate(cache, 3 * PAGE, 8, HOST_WRITE), 0);
	gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &range, 1, 0, NULL), 0);
	gmm_equal(gmm_cache_activate(cache, 5 * PAGE, 8, HOST_WRITE), -GMM_EDEADLK);
	gmm_section_enter(reader);
	gmm_ok(gmm_cache_pointer(cache, 0, 8));
	gmm_section_exit(reader);
	gmm_invalidate_end(model.guest, GMM_RANGE_GFN, &range, 1);
	gmm_reader_unregister(reader);
	gmm_equal(gmm_cache_destroy(cache), 0);
	model_fini(&model);
}

/* A vCPU uses a frame of a cache that is being deactivated while somebody changes the frame. */
static void a_change_waits_for_the_vcpu_of_a_cache_that_goes(void)
{
	struct model model;
	struct vcpu_user user;
	struct gmm_cache *cache;
	struct race gone = { .model = &model }, move = { .model = &model, .first = 5 };

	model_init(&model, 0);
	vcpu_user_create(&user, &model, 0);
	cache = vcpu_user_cache(&model, 5, 0, &user, NULL);
	gmm_equal(gmm_vcpu_enter(user.vcpu), 0);
	gone.cache = cache;
	race_start(&gone, race_deactivate);
	vcpu_user_wait_kicked(&user, 1);
	race_start(&move, race_move_page);
	race_give_way(&move);
	gmm_equal(vcpu_user_read(&user, &model, cache), model_word(5));
	gmm_vcpu_exit(user.vcpu);
	race_join(&move);
	race_join(&gone);
	gmm_equal(gmm_cache_destroy(cache), 0);
	vcpu_user_destroy(&user);
	model_fini(&model);
}

const struct gmm_test_case gmm_test_cases[] = {
	{ "a_removal_waits_for_a_cache_being_deactivated",
	  a_removal_waits_for_a_cache_being_deactivated },
	{ "a_failed_refresh_leaves_a_vcpu_its_frame", a_failed_refresh_leaves_a_vcpu_its_frame },
	{ "a_removal_undoes_no_mapping_under_a_reader",
	  a_removal_undoes_no_mapping_under_a_reader },
	{ "a_cache_is_destroyed_in_a_change_of_its_own",
	  a_cache_is_destroyed_in_a_change_of_its_own },
	{ "two_threads_with_one_range_are_told_apart", two_threads_with_one_range_are_told_apart },
	{ "a_slot_changes_beside_a_merged_change_of_its_frames",
	  a_slot_changes_beside_a_merged_change_of_its_frames },
	{ "nobody_waits_for_a_change_while_changing_something_else",
	  nobody_waits_for_a_change_while_changing_something_else },
	{ "a_refresh_by_address_survives_a_move_of_its_slot",
	  a_refresh_by_address_survives_a_move_of_its_slot },
	{ "a_reset_stays_behind_what_was_pushed", a_reset_stays_behind_what_was_pushed },
	{ "no_page_is_read_in_a_change_that_a_slot_waits_for",
	  no_page_is_read_in_a_change_that_a_slot_waits_for },
	{ "a_refused_activation_changes_nothing", a_refused_activation_changes_nothing },
	{ "a_change_waits_for_the_vcpu_of_a_cache_that_goes",
	  a_change_waits_for_the_vcpu_of_a_cache_that_goes },
	{ NULL, NULL },
};
