/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Slots change while others look up, refresh, populate, or change ranges. */
#include "race.h"

#define PAGE ((uint64_t)MODEL_PAGE_BYTES)

struct bench {
	struct model model;
	struct gmm_guest *guest;
	struct gmm_cache *cache;
	struct gmm_reader *reader;
	struct race change;
	struct race other;
	struct gmm_gate gate;
};

static void start(struct bench *bench, uint32_t traits)
{
	model_init(&bench->model, traits);
	bench->guest = bench->model.guest;
	if (gmm_cache_create(bench->guest, &bench->cache) ||
	    gmm_reader_register(bench->guest, &bench->reader))
		gmm_bail("no cache or reader");
	bench->change = (struct race){ .model = &bench->model, .cache = bench->cache };
	bench->other = bench->change;
	gmm_gate_init(&bench->gate, 1);
}

static void finish(struct bench *bench)
{
	gmm_reader_unregister(bench->reader);
	gmm_equal(gmm_cache_destroy(bench->cache), 0);
	model_fini(&bench->model);
}

static bool is_shown(struct bench *bench, gmm_gfn_t gfn)
{
	bool shown;

	gmm_section_enter(bench->reader);
	shown = gmm_slot_pointer(bench->guest, gfn * PAGE, 8, GMM_ACCESS_READ);
	gmm_section_exit(bench->reader);
	return shown;
}

static bool is_valid(struct bench *bench)
{
	bool valid;

	gmm_section_enter(bench->reader);
	valid = gmm_cache_pointer(bench->cache, 0, 8);
	gmm_section_exit(bench->reader);
	return valid;
}

static void hold_change(struct bench *bench, enum gmm_step_point point,
			int (*call)(struct race *race))
{
	gmm_test_hold_step(point, &bench->gate);
	race_start(&bench->change, call);
	gmm_gate_wait_held(&bench->gate);
}

static int release_change(struct bench *bench)
{
	gmm_gate_open(&bench->gate);
	return race_join(&bench->change);
}

/* Two phases: nobody reaches the old place while it changes, nor the new one. */
static void check_two_phases_at(enum gmm_step_point point)
{
	struct bench bench;

	start(&bench, 0);
	gmm_equal(gmm_cache_activate(bench.cache, 3 * PAGE, 8, GMM_CACHE_HOST), 0);
	bench.change.second = 20;
	hold_change(&bench, point, race_slot_move);
	gmm_ok(!is_shown(&bench, 3) && !is_shown(&bench, 23) && !is_valid(&bench));
	race_start(&bench.other, race_refresh);
	race_give_way(&bench.other);
	gmm_ok(!race_is_done(&bench.other));
	gmm_equal(release_change(&bench), 0);
	gmm_equal(race_join(&bench.other), -GMM_EFAULT);
	gmm_ok(!is_shown(&bench, 3) && is_shown(&bench, 23) && !is_valid(&bench));
	gmm_equal(gmm_slot_move(bench.guest, 0, 0), 0);
	gmm_equal(gmm_cache_refresh(bench.cache), 0);
	gmm_ok(is_valid(&bench));
	finish(&bench);
}

static void a_slot_that_changes_is_out_of_reach(void)
{
	check_two_phases_at(GMM_STEP_SLOT_INVALID);
	gmm_test_unhold_steps();
	check_two_phases_at(GMM_STEP_SLOT_PUBLISH);
}

static int remove_and_poison(struct race *race)
{
	int error = gmm_slot_remove(race->model->guest, 0);
	uint32_t page;

	for (page = 0; page < MODEL_PAGES && !error; page++)
		gmm_store_relaxed(model_page(race->model, page), MODEL_POISON);
	return error;
}

static void a_slot_is_not_removed_under_a_reader(void)
{
	uint64_t *pointer;
	struct bench bench;

	start(&bench, 0);
	gmm_section_enter(bench.reader);
	pointer = gmm_slot_pointer(bench.guest, 5 * PAGE, 8, GMM_ACCESS_READ);
	gmm_must(pointer);
	race_start(&bench.other, remove_and_poison);
	race_give_way(&bench.other);
	gmm_ok(!race_is_done(&bench.other));
	gmm_equal(gmm_load_relaxed(pointer), model_word(5));
	gmm_section_exit(bench.reader);
	gmm_equal(race_join(&bench.other), 0);
	gmm_ok(!is_shown(&bench, 5));
	finish(&bench);
}

/* Nobody uses a slot's memory through the guest when its removal has returned. */
struct guarded {
	struct gmm_memory_ops ops; /* those of the model, with a guard before each */
	struct model *model;
	uint32_t gone; /* atomic */
};

/* One at a time: the table of operations has no place for it. */
static struct guarded *guarded;

static void check_not_gone(void)
{
	gmm_ok(!gmm_load_acquire(&guarded->gone), "the memory of a removed slot is used");
}

static int guarded_resolve(void *memory, uint64_t page, uint32_t count, uint32_t access,
			   gmm_pfn_t *pfns)
{
	check_not_gone();
	return model_ops(guarded->model)->resolve(memory, page, count, access, pfns);
}

static void guarded_put(void *memory, const gmm_pfn_t *pfns, uint32_t count)
{
	check_not_gone();
	model_ops(guarded->model)->put(memory, pfns, count);
}

static int guarded_map(void *memory, const gmm_pfn_t *pfns, uint32_t count, uint32_t access,
		       void **pointer)
{
	check_not_gone();
	return model_ops(guarded->model)->map(memory, pfns, count, access, pointer);
}

static void guarded_unmap(void *memory, void *pointer, uint32_t count)
{
	check_not_gone();
	model_ops(guarded->model)->unmap(memory, pointer, count);
}

static void start_guarded(struct bench *bench, struct guarded *guard)
{
	struct gmm_slot_config config;

	start(bench, MODEL_NO_SLOT);
	*guard = (struct guarded){ .ops = *model_ops(&bench->model), .model = &bench->model };
	guard->ops.resolve = guarded_resolve;
	guard->ops.put = guarded_put;
	guard->ops.map = guarded_map;
	guard->ops.unmap = guarded_unmap;
	guarded = guard;
	config = model_slot(&bench->model, 0, 0, 0, MODEL_PAGES);
	config.memory_ops = &guard->ops;
	gmm_equal(gmm_slot_add(bench->guest, &config), 0);
}

static int remove_guarded(struct race *race)
{
	int error = gmm_slot_remove(race->model->guest, 0);

	gmm_store_release(&guarded->gone, 1u);
	return error;
}

static void a_removed_slot_leaves_no_mapping_in_caches(void)
{
	struct guarded guard;
	struct bench bench;
	uint32_t by_hva;

	for (by_hva = 0; by_hva < 2; by_hva++) {
		start_guarded(&bench, &guard);
		gmm_equal(by_hva ? gmm_cache_activate_hva(bench.cache, MODEL_HVA + 3 * PAGE, 8,
							  GMM_CACHE_HOST) :
				   gmm_cache_activate(bench.cache, 3 * PAGE, 8, GMM_CACHE_HOST),
			  0);
		gmm_equal(remove_guarded(&bench.other), 0);
		gmm_equal(bench.model.memory.mappings[3], 0);
		gmm_equal(gmm_cache_refresh(bench.cache), -GMM_EFAULT);
		finish(&bench);
	}
}

/* Of a cache at the old frames nobody would know when the memory goes. */
static void a_moved_slot_leaves_no_mapping_in_caches(void)
{
	struct bench bench;

	start(&bench, 0);
	gmm_equal(gmm_cache_activate(bench.cache, 3 * PAGE, 8, GMM_CACHE_HOST), 0);
	gmm_equal(gmm_slot_move(bench.guest, 0, 20), 0);
	gmm_equal(bench.model.memory.mappings[3], 0);
	gmm_equal(gmm_cache_refresh(bench.cache), -GMM_EFAULT);
	finish(&bench);
}

static void check_removal_against_refresh_at(enum gmm_step_point point)
{
	struct guarded guard;
	struct bench bench;
	int error;

	start_guarded(&bench, &guard);
	bench.change.first = 3 * PAGE;
	bench.change.second = 8;
	hold_change(&bench, point, race_activate);
	race_start(&bench.other, remove_guarded);
	race_give_way(&bench.other);
	/* It may have been through before the removal began. */
	error = release_change(&bench);
	gmm_ok(!error || error == -GMM_EFAULT);
	gmm_equal(race_join(&bench.other), 0);
	finish(&bench);
}

static void a_slot_is_not_removed_under_a_refresh(void)
{
	check_removal_against_refresh_at(GMM_STEP_REFRESH_RESOLVE);
	gmm_test_unhold_steps();
	check_removal_against_refresh_at(GMM_STEP_REFRESH_MAP);
	gmm_test_unhold_steps();
	check_removal_against_refresh_at(GMM_STEP_REFRESH_PUBLISH);
}

/* What is filling pages is waited for; what would start waits. */
static void a_slot_is_not_removed_under_populate(void)
{
	struct bench bench;

	start(&bench, MODEL_LAZY | MODEL_OWNER);
	bench.model.memory.gates[MODEL_FILL] = &bench.gate;
	bench.change.first = 2;
	bench.change.second = 4;
	race_start(&bench.change, race_populate);
	gmm_gate_wait_held(&bench.gate);
	race_start(&bench.other, race_slot_remove);
	race_give_way(&bench.other);
	gmm_ok(!race_is_done(&bench.other));
	gmm_equal(release_change(&bench), 0);
	gmm_equal(race_join(&bench.other), 0);
	gmm_equal(gmm_resident_pages(bench.guest), 0);
	finish(&bench);
}

static void populate_waits_for_a_slot_that_changes(void)
{
	struct bench bench;

	start(&bench, MODEL_LAZY | MODEL_OWNER);
	bench.change.second = 2;
	hold_change(&bench, GMM_STEP_SLOT_INVALID, race_slot_move);
	bench.other.first = 3;
	bench.other.second = 1;
	race_start(&bench.other, race_populate);
	race_give_way(&bench.other);
	gmm_ok(!race_is_done(&bench.other));
	gmm_equal(release_change(&bench), 0);
	gmm_equal(race_join(&bench.other), 0);
	/* Frame 3 is page 1 now, and that is the page that was filled. */
	gmm_ok(bench.model.memory.resident[1] && !bench.model.memory.resident[3]);
	finish(&bench);
}

/* The owner of a slot's change may take long; memory is kept within its limit meanwhile. */
static void a_trim_passes_over_a_slot_that_changes(void)
{
	struct bench bench;

	start(&bench, MODEL_LAZY | MODEL_OWNER);
	gmm_equal(gmm_fault_populate(bench.guest, 0, 4, GMM_ACCESS_READ, 0), 0);
	bench.change.second = 2;
	hold_change(&bench, GMM_STEP_SLOT_INVALID, race_slot_move);
	gmm_equal(gmm_resident_trim(bench.guest, 0), 0);
	gmm_equal(release_change(&bench), 0);
	gmm_equal(gmm_resident_trim(bench.guest, 0), 4);
	finish(&bench);
}

static int add_slot(struct race *race)
{
	struct gmm_slot_config config = model_slot(race->model, 0, 10, 0, 4);

	return gmm_slot_add(race->model->guest, &config);
}

static int lengthen_slot(struct race *race)
{
	return gmm_slot_resize(race->model->guest, 0, 4);
}

/* W2: a fault may be held for frames that are no slot's when the change has ended. */
static void who_is_held_at_what_is_refused_is_woken(void)
{
	int (*const calls[])(struct race *) = { add_slot, lengthen_slot };
	uint64_t wakes;
	uint32_t i;

	for (i = 0; i < 2; i++) {
		struct gmm_slot_config config;
		struct bench bench;

		start(&bench, MODEL_LAZY | MODEL_OWNER | MODEL_NO_SLOT);
		config = model_slot(&bench.model, 0, 10, 0, 2);
		if (i)
			gmm_equal(gmm_slot_add(bench.guest, &config), 0);
		bench.model.slot_change_fails = -GMM_EIO;
		hold_change(&bench, GMM_STEP_INVALIDATE_END, calls[i]);
		gmm_equal(gmm_fault_serve(bench.guest, 13, GMM_ACCESS_READ), GMM_FAULT_HELD);
		gmm_spin_lock(&bench.model.lock);
		wakes = bench.model.wakes_at[3];
		gmm_spin_unlock(&bench.model.lock);
		gmm_equal(release_change(&bench), -GMM_EIO);
		gmm_test_unhold_steps();
		gmm_ok(bench.model.wakes_at[3] > wakes);
		bench.model.slot_change_fails = 0;
		finish(&bench);
	}
}

static struct gmm_gate in_guest_mode;

static int enter_and_fault(struct race *race)
{
	int error = gmm_vcpu_enter(race->model->vcpu);

	if (error)
		return error;
	gmm_gate_pass(&in_guest_mode);
	if (!model_guest_read(race->model, 0, &race->second))
		error = -GMM_EIO;
	gmm_vcpu_exit(race->model->vcpu);
	return error;
}

static int start_log(struct race *race)
{
	return gmm_slot_set_flags(race->model->guest, 0, GMM_SLOT_LOG_DIRTY);
}

static int change_all_frames(struct race *race)
{
	struct gmm_range range = { 0, MODEL_PAGES };
	int error = gmm_invalidate_begin(race->model->guest, GMM_RANGE_GFN, &range, 1, 0, NULL);

	if (!error)
		gmm_invalidate_end(race->model->guest, GMM_RANGE_GFN, &range, 1);
	return error;
}

static void no_kick(void *opaque, uint32_t id)
{
}

/* Slot 0 has frames 0 and 1, slot 1 frames 2 and 3, of which a vCPU uses one. */
static void add_two_slots(struct bench *bench)
{
	struct gmm_slot_config config;
	uint32_t i;

	for (i = 0; i < 2; i++) {
		config = model_slot(&bench->model, i, i * 2, i * 2, 2);
		gmm_must(!gmm_slot_add(bench->guest, &config));
	}
	gmm_must(!gmm_vcpu_create(bench->guest, 0, no_kick, NULL, &bench->model.vcpu));
	gmm_must(!gmm_cache_activate(bench->cache, 2 * PAGE, 8, GMM_CACHE_GUEST));
	gmm_must(!gmm_cache_vcpu_add(bench->cache, bench->model.vcpu));
}

static void check_wide_change_beside_a_slot_at(enum gmm_step_point point)
{
	struct race vcpu = { 0 };
	struct bench bench;

	start(&bench, MODEL_LAZY | MODEL_OWNER | MODEL_NO_SLOT);
	add_two_slots(&bench);
	vcpu.model = &bench.model;
	gmm_gate_init(&in_guest_mode, 1);
	race_start(&vcpu, enter_and_fault);
	gmm_gate_wait_held(&in_guest_mode);
	hold_change(&bench, point, start_log);
	race_start(&bench.other, change_all_frames);
	race_give_way(&bench.other);
	gmm_gate_open(&bench.gate);
	race_give_way(&bench.change);
	gmm_gate_open(&in_guest_mode);
	gmm_equal(race_join(&vcpu), 0);
	gmm_equal(vcpu.second, model_word(0));
	gmm_equal(race_join(&bench.change), 0);
	gmm_equal(race_join(&bench.other), 0);
	gmm_test_unhold_steps();
	gmm_equal(gmm_cache_vcpu_remove(bench.cache, bench.model.vcpu), 0);
	gmm_equal(gmm_vcpu_destroy(bench.model.vcpu), 0);
	gmm_equal(gmm_cache_deactivate(bench.cache), 0);
	gmm_equal(gmm_slot_remove(bench.guest, 1), 0);
	finish(&bench);
}

/*
 * G5, W8: a change of more than a slot's frames waits for a vCPU that then faults in the slot. The
 * slot's change waits for the other one, and so may not hold that fault meanwhile.
 */
static void a_slot_holds_no_fault_for_which_another_change_waits(void)
{
	check_wide_change_beside_a_slot_at(GMM_STEP_SLOT_INVALID);
	check_wide_change_beside_a_slot_at(GMM_STEP_SLOT_PUBLISH);
}

/* G5: a slot does not go elsewhere while somebody changes its frames there. */
static void a_slot_waits_for_changes_of_its_frames(void)
{
	struct gmm_range range = model_frames(3, 1);
	struct bench bench;

	start(&bench, 0);
	gmm_equal(gmm_cache_activate(bench.cache, 23 * PAGE, 8, GMM_CACHE_HOST), -GMM_EFAULT);
	gmm_equal(gmm_invalidate_begin(bench.guest, GMM_RANGE_GFN, &range, 1, 0, NULL), 0);
	bench.change.second = 20;
	race_start(&bench.change, race_slot_move);
	race_give_way(&bench.change);
	gmm_ok(!race_is_done(&bench.change));
	model_move_page(&bench.model, 3);
	gmm_invalidate_end(bench.guest, GMM_RANGE_GFN, &range, 1);
	gmm_equal(race_join(&bench.change), 0);
	gmm_equal(gmm_cache_refresh(bench.cache), 0);
	gmm_section_enter(bench.reader);
	gmm_ok(gmm_cache_pointer(bench.cache, 0, 8) == model_page(&bench.model, 3));
	gmm_section_exit(bench.reader);
	finish(&bench);
}

/* Guests share nothing: what one thread does to one says nothing about another one. */
static void two_guests_do_not_meet(void)
{
	struct gmm_range range = model_frames(0, MODEL_PAGES);
	struct bench one, other;

	start(&one, 0);
	start(&other, 0);
	gmm_equal(gmm_cache_activate(one.cache, 3 * PAGE, 8, GMM_CACHE_HOST), 0);
	gmm_equal(gmm_cache_activate(other.cache, 3 * PAGE, 8, GMM_CACHE_HOST), 0);
	gmm_equal(gmm_invalidate_begin(one.guest, GMM_RANGE_GFN, &range, 1, 0, NULL), 0);
	gmm_ok(!is_valid(&one) && !is_shown(&one, 3));
	gmm_ok(is_valid(&other) && is_shown(&other, 3));
	gmm_equal(gmm_cache_drop(other.cache), 0);
	gmm_equal(gmm_cache_refresh(other.cache), 0);
	gmm_equal(gmm_slot_move(other.guest, 0, 1), 0);
	gmm_equal(gmm_invalidate_begin(other.guest, GMM_RANGE_GFN, &range, 1, 0, NULL), 0);
	gmm_invalidate_end(other.guest, GMM_RANGE_GFN, &range, 1);
	gmm_equal(gmm_cache_refresh(one.cache), -GMM_EDEADLK);
	gmm_invalidate_end(one.guest, GMM_RANGE_GFN, &range, 1);
	gmm_equal(gmm_cache_refresh(one.cache), 0);
	finish(&one);
	finish(&other);
}

const struct gmm_test_case gmm_test_cases[] = {
	{ "a_slot_that_changes_is_out_of_reach", a_slot_that_changes_is_out_of_reach },
	{ "a_slot_is_not_removed_under_a_reader", a_slot_is_not_removed_under_a_reader },
	{ "a_removed_slot_leaves_no_mapping_in_caches",
	  a_removed_slot_leaves_no_mapping_in_caches },
	{ "a_moved_slot_leaves_no_mapping_in_caches", a_moved_slot_leaves_no_mapping_in_caches },
	{ "a_slot_is_not_removed_under_a_refresh", a_slot_is_not_removed_under_a_refresh },
	{ "a_slot_is_not_removed_under_populate", a_slot_is_not_removed_under_populate },
	{ "populate_waits_for_a_slot_that_changes", populate_waits_for_a_slot_that_changes },
	{ "a_trim_passes_over_a_slot_that_changes", a_trim_passes_over_a_slot_that_changes },
	{ "a_slot_waits_for_changes_of_its_frames", a_slot_waits_for_changes_of_its_frames },
	{ "who_is_held_at_what_is_refused_is_woken", who_is_held_at_what_is_refused_is_woken },
	{ "a_slot_holds_no_fault_for_which_another_change_waits",
	  a_slot_holds_no_fault_for_which_another_change_waits },
	{ "two_guests_do_not_meet", two_guests_do_not_meet },
	{ NULL, NULL },
};
