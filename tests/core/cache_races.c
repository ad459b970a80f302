/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* A call on a cache is held in the middle while another one, or a change of its range, goes on. */
#include "race.h"

#define PAGE ((uint64_t)MODEL_PAGE_BYTES)

struct bench {
	struct model model;
	struct gmm_cache *cache;
	struct gmm_reader *reader;
	struct race call; /* the one that is held */
	struct race other;
	struct gmm_gate gate;
};

static void start_with(struct bench *bench, uint32_t traits, struct gmm_guest_config config)
{
	model_init_config(&bench->model, traits, config);
	if (gmm_cache_create(bench->model.guest, &bench->cache) ||
	    gmm_reader_register(bench->model.guest, &bench->reader))
		gmm_bail("no cache or reader");
	bench->call = (struct race){ .model = &bench->model, .cache = bench->cache };
	bench->other = bench->call;
	gmm_gate_init(&bench->gate, 1);
}

/* A cache of page 3, 8 bytes. */
static void start(struct bench *bench)
{
	start_with(bench, 0, (struct gmm_guest_config){ 0 });
	gmm_equal(gmm_cache_activate(bench->cache, 3 * PAGE, 8, GMM_CACHE_HOST | GMM_CACHE_WRITE),
		  0);
}

static void finish(struct bench *bench)
{
	gmm_reader_unregister(bench->reader);
	gmm_equal(gmm_cache_destroy(bench->cache), 0);
	model_fini(&bench->model);
}

static void move(struct bench *bench, uint32_t page)
{
	struct race race = { .model = &bench->model, .first = page };

	gmm_equal(race_move_page(&race), 0);
}

static void hold_call(struct bench *bench, enum gmm_step_point point, int (*call)(struct race *))
{
	gmm_test_hold_step(point, &bench->gate);
	race_start(&bench->call, call);
	gmm_gate_wait_held(&bench->gate);
}

static int release_call(struct bench *bench)
{
	gmm_gate_open(&bench->gate);
	return race_join(&bench->call);
}

static uint64_t *pointer(struct bench *bench)
{
	uint64_t *found;

	gmm_section_enter(bench->reader);
	found = gmm_cache_pointer(bench->cache, 0, 8);
	gmm_section_exit(bench->reader);
	return found;
}

/* With nobody at it, a refresh makes the cache show the page as it is now. */
static void check_usable(struct bench *bench, uint32_t page)
{
	gmm_equal(gmm_cache_refresh(bench->cache), 0);
	gmm_ok(pointer(bench) == model_page(&bench->model, page));
	gmm_equal(bench->model.memory.mappings[bench->model.memory.frame_of[page]], 1);
}

/* P1; P27, P29: the reader comes through at once, whatever the refresh is doing. */
static void check_not_valid_at(enum gmm_step_point point)
{
	struct bench bench;

	start(&bench);
	move(&bench, 3);
	hold_call(&bench, point, race_refresh);
	gmm_ok(!pointer(&bench));
	gmm_section_enter(bench.reader);
	gmm_equal(gmm_cache_pfn(bench.cache, 0), GMM_PFN_NONE);
	gmm_ok(!gmm_cache_writable(bench.cache));
	gmm_section_exit(bench.reader);
	gmm_equal(release_call(&bench), 0);
	check_usable(&bench, 3);
	finish(&bench);
}

static void a_cache_is_not_valid_before_its_refresh_is_through(void)
{
	check_not_valid_at(GMM_STEP_REFRESH_RESOLVE);
	gmm_test_unhold_steps();
	check_not_valid_at(GMM_STEP_REFRESH_MAP);
	gmm_test_unhold_steps();
	check_not_valid_at(GMM_STEP_REFRESH_PUBLISH);
}

/* P2: the change is known, but nothing has changed yet. */
static void check_refresh_waits_at(enum gmm_step_point point)
{
	struct gmm_guest_counters before, after;
	struct bench bench;

	start(&bench);
	gmm_guest_read_counters(bench.model.guest, &before);
	bench.call.first = 3;
	hold_call(&bench, point, race_move_page);
	gmm_ok(!pointer(&bench));
	race_start(&bench.other, race_refresh);
	race_give_way(&bench.other);
	gmm_ok(!race_is_done(&bench.other));
	gmm_ok(!pointer(&bench));
	gmm_equal(release_call(&bench), 0);
	gmm_equal(race_join(&bench.other), 0);
	gmm_ok(pointer(&bench) == model_page(&bench.model, 3));
	/* It slept, and came through at its first attempt. */
	gmm_guest_read_counters(bench.model.guest, &after);
	gmm_equal(after.cache_retries, before.cache_retries);
	finish(&bench);
}

static void a_refresh_sleeps_from_the_begin_of_a_change_to_its_end(void)
{
	check_refresh_waits_at(GMM_STEP_INVALIDATE_REGISTERED);
	gmm_test_unhold_steps();
	check_refresh_waits_at(GMM_STEP_INVALIDATE_READERS);
	gmm_test_unhold_steps();
	check_refresh_waits_at(GMM_STEP_INVALIDATE_CHANGING);
	gmm_test_unhold_steps();
	check_refresh_waits_at(GMM_STEP_INVALIDATE_END);
}

/* P3, and P11 for a cache that is being activated: a whole change passes it by. */
static void check_retry_at(enum gmm_step_point point, bool by_hva)
{
	struct gmm_guest_counters before, after;
	struct bench bench;

	start_with(&bench, 0, (struct gmm_guest_config){ 0 });
	gmm_guest_read_counters(bench.model.guest, &before);
	bench.call.first = 3 * PAGE;
	bench.call.second = 8;
	hold_call(&bench, point, race_activate);
	bench.other.first = 3;
	gmm_equal(by_hva ? race_move_page_by_hva(&bench.other) : race_move_page(&bench.other), 0);
	gmm_equal(release_call(&bench), 0);
	gmm_ok(pointer(&bench) == model_page(&bench.model, 3));
	gmm_guest_read_counters(bench.model.guest, &after);
	gmm_equal(after.cache_retries, before.cache_retries + 1);
	finish(&bench);
}

static void a_refresh_that_a_change_has_overtaken_starts_again(void)
{
	uint32_t by_hva;

	for (by_hva = 0; by_hva < 2; by_hva++) {
		check_retry_at(GMM_STEP_REFRESH_RESOLVE, by_hva);
		gmm_test_unhold_steps();
		check_retry_at(GMM_STEP_REFRESH_MAP, by_hva);
		gmm_test_unhold_steps();
		check_retry_at(GMM_STEP_REFRESH_PUBLISH, by_hva);
		gmm_test_unhold_steps();
	}
}

/* P16, P17: four turns are overtaken while they resolve, the fifth fails. */
static int resolve_and_change(void *opaque, uint64_t page, uint32_t count, uint32_t access,
			      gmm_pfn_t *pfns)
{
	struct model *model = gmm_container_of((struct model_memory *)opaque, struct model, memory);
	struct race race = { .model = model, .first = 3 };
	int error = model_ops(model)->resolve(opaque, page, count, access, pfns);

	if (model->memory.calls[MODEL_RESOLVE] < 5)
		gmm_equal(race_move_page(&race), 0);
	return error;
}

static void use_ops(struct bench *bench, const struct gmm_memory_ops *ops)
{
	struct gmm_slot_config slot = model_slot(&bench->model, 0, 0, 0, MODEL_PAGES);

	slot.memory_ops = ops;
	gmm_equal(gmm_slot_add(bench->model.guest, &slot), 0);
}

static void every_turn_of_a_refresh_puts_what_it_took(void)
{
	struct gmm_memory_ops ops;
	struct bench bench;
	uint32_t i;

	start_with(&bench, MODEL_NO_SLOT, (struct gmm_guest_config){ 0 });
	ops = *model_ops(&bench.model);
	ops.resolve = resolve_and_change;
	use_ops(&bench, &ops);
	bench.model.memory.fail_at[MODEL_RESOLVE] = 5;
	gmm_equal(gmm_cache_activate(bench.cache, 3 * PAGE, 8, GMM_CACHE_HOST), -GMM_EIO);
	for (i = 0; i < MODEL_FRAMES; i++) {
		gmm_equal(bench.model.memory.references[i], 0);
		gmm_equal(bench.model.memory.mappings[i], 0);
	}
	check_usable(&bench, 3);
	gmm_equal(gmm_cache_deactivate(bench.cache), 0);
	gmm_equal(gmm_slot_remove(bench.model.guest, 0), 0);
	finish(&bench);
}

/* P35: a change of memory in no slot at all is noticed like any other. */
static void a_change_outside_all_slots_overtakes_a_refresh(void)
{
	struct gmm_range range = { 3 * PAGE, 4 * PAGE };
	struct gmm_guest_config config = { 0 };
	struct bench bench = { 0 };

	config.hva_ops = model_ops(&bench.model);
	config.hva_memory = &bench.model.memory;
	start_with(&bench, MODEL_NO_SLOT, config);
	gmm_equal(gmm_cache_activate_hva(bench.cache, 3 * PAGE, 8, GMM_CACHE_HOST), 0);
	gmm_equal(gmm_invalidate_begin(bench.model.guest, GMM_RANGE_HVA, &range, 1, 0, NULL), 0);
	gmm_invalidate_end(bench.model.guest, GMM_RANGE_HVA, &range, 1);
	hold_call(&bench, GMM_STEP_REFRESH_PUBLISH, race_refresh);
	gmm_equal(gmm_invalidate_begin(bench.model.guest, GMM_RANGE_HVA, &range, 1, 0, NULL), 0);
	model_move_page(&bench.model, 3);
	gmm_invalidate_end(bench.model.guest, GMM_RANGE_HVA, &range, 1);
	gmm_equal(release_call(&bench), 0);
	gmm_ok(pointer(&bench) == model_page(&bench.model, 3));
	finish(&bench);
}

/* P4, P5 */
static void two_activations_do_not_mix(void)
{
	struct bench bench;
	uint32_t same;

	for (same = 0; same < 2; same++) {
		start_with(&bench, 0, (struct gmm_guest_config){ 0 });
		bench.call.first = 3 * PAGE;
		bench.call.second = 8;
		bench.other.first = same ? 3 * PAGE : 9 * PAGE;
		bench.other.second = 8;
		hold_call(&bench, GMM_STEP_REFRESH_MAP, race_activate);
		race_start(&bench.other, race_activate);
		race_give_way(&bench.other);
		gmm_ok(!race_is_done(&bench.other));
		gmm_ok(!pointer(&bench));
		gmm_equal(release_call(&bench), 0);
		gmm_equal(race_join(&bench.other), 0);
		check_usable(&bench, same ? 3 : 9);
		gmm_section_enter(bench.reader);
		gmm_equal(gmm_cache_pfn(bench.cache, 0), same ? 3 : 9);
		gmm_section_exit(bench.reader);
		gmm_test_unhold_steps();
		finish(&bench);
	}
}

/* P6: the refresh is about to keep the mapping that a drop undoes. */
static void a_drop_does_not_undo_what_a_refresh_keeps(void)
{
	struct gmm_range range = model_frames(3, 1);
	struct bench bench;

	start(&bench);
	gmm_equal(gmm_invalidate_begin(bench.model.guest, GMM_RANGE_GFN, &range, 1, 0, NULL), 0);
	gmm_invalidate_end(bench.model.guest, GMM_RANGE_GFN, &range, 1);
	hold_call(&bench, GMM_STEP_REFRESH_PUBLISH, race_refresh);
	race_start(&bench.other, race_drop);
	race_give_way(&bench.other);
	gmm_equal(release_call(&bench), 0);
	gmm_equal(race_join(&bench.other), 0);
	check_usable(&bench, 3);
	finish(&bench);
}

/* P7, P10: whatever the refresh had in hand, the end is an inactive cache and nothing mapped. */
static void check_deactivation_against(enum gmm_step_point point)
{
	struct bench bench;

	start(&bench);
	move(&bench, 3);
	hold_call(&bench, point, race_refresh);
	race_start(&bench.other, race_deactivate);
	race_give_way(&bench.other);
	gmm_equal(release_call(&bench), 0);
	gmm_equal(race_join(&bench.other), 0);
	gmm_ok(!pointer(&bench));
	gmm_equal(gmm_cache_refresh(bench.cache), -GMM_EINVAL);
	gmm_equal(bench.model.memory.mappings[bench.model.memory.frame_of[3]], 0);
	move(&bench, 3);
	gmm_ok(!pointer(&bench));
	gmm_equal(gmm_cache_activate(bench.cache, 3 * PAGE, 8, GMM_CACHE_HOST), 0);
	check_usable(&bench, 3);
	finish(&bench);
}

static void a_deactivation_waits_for_a_refresh(void)
{
	check_deactivation_against(GMM_STEP_REFRESH_RESOLVE);
	gmm_test_unhold_steps();
	check_deactivation_against(GMM_STEP_REFRESH_MAP);
	gmm_test_unhold_steps();
	check_deactivation_against(GMM_STEP_REFRESH_PUBLISH);
}

/* P10, P11: out of the index is not valid, and does not become so. */
static void a_cache_that_is_being_deactivated_is_not_used(void)
{
	struct bench bench;

	start(&bench);
	hold_call(&bench, GMM_STEP_DEACTIVATE_UNLISTED, race_deactivate);
	gmm_ok(!pointer(&bench));
	race_start(&bench.other, race_refresh);
	race_give_way(&bench.other);
	move(&bench, 3);
	gmm_ok(!pointer(&bench));
	gmm_equal(release_call(&bench), 0);
	gmm_equal(race_join(&bench.other), -GMM_EINVAL);
	gmm_ok(!pointer(&bench));
	finish(&bench);
}

/* P9, P12; W3 for a change: nothing goes that a reader in its section holds. */
static void check_reader_against(int (*call)(struct race *race), uint64_t first, uint64_t second)
{
	struct race_reader reader = { 0 };
	struct bench bench;

	start(&bench);
	race_reader_start(&reader, &bench.model, bench.cache);
	bench.other.first = first;
	bench.other.second = second;
	race_start(&bench.other, call);
	race_give_way(&bench.other);
	gmm_ok(!race_is_done(&bench.other));
	gmm_equal(bench.model.memory.mappings[3], 1);
	race_reader_end(&reader);
	gmm_equal(reader.before, model_word(3));
	gmm_equal(reader.after, model_word(3));
	gmm_equal(race_join(&bench.other), 0);
	if (call != race_deactivate && call != race_slot_remove)
		gmm_equal(gmm_cache_refresh(bench.cache), 0);
	finish(&bench);
}

static void nothing_is_undone_under_a_reader(void)
{
	check_reader_against(race_activate, 9 * PAGE, 8);
	check_reader_against(race_activate, 3 * PAGE + 16, 8);
	check_reader_against(race_deactivate, 0, 0);
	check_reader_against(race_drop, 0, 0);
	check_reader_against(race_move_page, 3, 0);
	check_reader_against(race_move_page_by_hva, 3, 0);
	check_reader_against(race_slot_remove, 0, 0);
}

/* P30: the cache goes elsewhere while a change of its old place is on, and the other way round. */
static void a_change_follows_the_target_and_not_the_cache(void)
{
	struct bench bench;

	start(&bench);
	bench.call.first = 3;
	hold_call(&bench, GMM_STEP_INVALIDATE_REGISTERED, race_move_page);
	gmm_equal(gmm_cache_activate(bench.cache, 9 * PAGE, 8, GMM_CACHE_HOST), 0);
	gmm_ok(pointer(&bench) == model_page(&bench.model, 9));
	gmm_equal(release_call(&bench), 0);
	gmm_ok(pointer(&bench) == model_page(&bench.model, 9));

	gmm_gate_init(&bench.gate, 1);
	race_start(&bench.call, race_move_page);
	gmm_gate_wait_held(&bench.gate);
	bench.other.first = 3 * PAGE;
	bench.other.second = 8;
	race_start(&bench.other, race_activate);
	race_give_way(&bench.other);
	gmm_ok(!race_is_done(&bench.other));
	gmm_equal(release_call(&bench), 0);
	gmm_equal(race_join(&bench.other), 0);
	gmm_ok(pointer(&bench) == model_page(&bench.model, 3));
	finish(&bench);
}

/* P32: mapping makes somebody change the range, each time. */
static int map_and_change(void *opaque, const gmm_pfn_t *pfns, uint32_t count, uint32_t access,
			  void **at)
{
	struct model *model = gmm_container_of((struct model_memory *)opaque, struct model, memory);
	struct gmm_range range = model_addresses(3, 1);
	int error = model_ops(model)->map(opaque, pfns, count, access, at);

	gmm_equal(gmm_invalidate_begin(model->guest, GMM_RANGE_HVA, &range, 1, 0, NULL), 0);
	gmm_invalidate_end(model->guest, GMM_RANGE_HVA, &range, 1);
	return error;
}

static void a_mapping_that_changes_its_own_range_is_kept(void)
{
	struct gmm_memory_ops ops;
	struct bench bench;

	start_with(&bench, MODEL_NO_SLOT, (struct gmm_guest_config){ 0 });
	ops = *model_ops(&bench.model);
	ops.map = map_and_change;
	use_ops(&bench, &ops);
	gmm_equal(gmm_cache_activate(bench.cache, 3 * PAGE, 8, GMM_CACHE_HOST), 0);
	check_usable(&bench, 3);
	gmm_equal(bench.model.memory.calls[MODEL_MAP], 1);
	move(&bench, 3);
	check_usable(&bench, 3);
	gmm_equal(bench.model.memory.calls[MODEL_MAP], 2);
	gmm_equal(gmm_cache_deactivate(bench.cache), 0);
	gmm_equal(gmm_slot_remove(bench.model.guest, 0), 0);
	finish(&bench);
}

const struct gmm_test_case gmm_test_cases[] = {
	{ "a_cache_is_not_valid_before_its_refresh_is_through",
	  a_cache_is_not_valid_before_its_refresh_is_through },
	{ "a_refresh_sleeps_from_the_begin_of_a_change_to_its_end",
	  a_refresh_sleeps_from_the_begin_of_a_change_to_its_end },
	{ "a_refresh_that_a_change_has_overtaken_starts_again",
	  a_refresh_that_a_change_has_overtaken_starts_again },
	{ "every_turn_of_a_refresh_puts_what_it_took", every_turn_of_a_refresh_puts_what_it_took },
	{ "a_change_outside_all_slots_overtakes_a_refresh",
	  a_change_outside_all_slots_overtakes_a_refresh },
	{ "two_activations_do_not_mix", two_activations_do_not_mix },
	{ "a_drop_does_not_undo_what_a_refresh_keeps", a_drop_does_not_undo_what_a_refresh_keeps },
	{ "a_deactivation_waits_for_a_refresh", a_deactivation_waits_for_a_refresh },
	{ "a_cache_that_is_being_deactivated_is_not_used",
	  a_cache_that_is_being_deactivated_is_not_used },
	{ "nothing_is_undone_under_a_reader", nothing_is_undone_under_a_reader },
	{ "a_change_follows_the_target_and_not_the_cache",
	  a_change_follows_the_target_and_not_the_cache },
	{ "a_mapping_that_changes_its_own_range_is_kept",
	  a_mapping_that_changes_its_own_range_is_kept },
	{ NULL, NULL },
};
