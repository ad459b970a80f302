/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Faults against changes and each other. Rules L1, L11, L12, L22, L23, L24, W2. */
#include "race.h"

#define PAGE 5u

static int serve_read(struct race *race)
{
	return gmm_fault_serve(race->model->guest, race->first, GMM_ACCESS_READ);
}

static int serve_write(struct race *race)
{
	return gmm_fault_serve(race->model->guest, race->first, GMM_ACCESS_READ | GMM_ACCESS_WRITE);
}

static uint64_t wakes(struct model *model)
{
	uint64_t seen;

	gmm_spin_lock(&model->lock);
	seen = model->wakes;
	gmm_spin_unlock(&model->lock);
	return seen;
}

/* A vCPU that wants to write: faults, and waits when it is held. */
static int guest_writes(struct race *race)
{
	return model_guest_write(race->model, (uint32_t)race->first, race->second) ? 0 : -GMM_EIO;
}

static int guest_reads(struct race *race)
{
	return model_guest_read(race->model, (uint32_t)race->first, &race->second) ? 0 : -GMM_EIO;
}

/* Starts a fault and stops it at a step or, with no step, in an operation of the model. */
static void start_and_stop(struct race *fault, int (*call)(struct race *race), struct model *model,
			   struct gmm_gate *gate, enum gmm_step_point step, enum model_op op)
{
	gmm_gate_init(gate, 1);
	if (step != GMM_STEP_NONE)
		gmm_test_hold_step(step, gate);
	else
		model->memory.gates[op] = gate;
	fault->model = model;
	fault->first = PAGE;
	race_start(fault, call);
	gmm_gate_wait_held(gate);
}

/* A second fault on a page that is being served is not served twice, and its vCPU goes on afterwards. */
static void a_fault_on_a_busy_page_is_held_and_woken(void)
{
	static const enum gmm_step_point steps[] = { GMM_STEP_FAULT_CLAIMED, GMM_STEP_FAULT_INSTALL,
						     GMM_STEP_FAULT_MAPPED, GMM_STEP_NONE };
	struct gmm_guest_counters counters;
	struct race first = { 0 }, second = { 0 };
	struct gmm_gate gate;
	struct model model;
	uint64_t before;
	uint32_t i;

	for (i = 0; i < 4; i++) {
		model_init(&model, MODEL_LAZY | MODEL_OWNER);
		start_and_stop(&first, serve_read, &model, &gate, steps[i], MODEL_FILL);
		before = wakes(&model);
		gmm_equal(gmm_fault_serve(model.guest, PAGE, GMM_ACCESS_WRITE), GMM_FAULT_HELD);
		gmm_equal(gmm_fault_serve(model.guest, PAGE + 1, GMM_ACCESS_WRITE), 0);
		gmm_guest_read_counters(model.guest, &counters);
		gmm_equal(counters.faults_held, 1);
		second.model = &model;
		second.first = PAGE;
		second.second = 99;
		race_start(&second, guest_writes);
		gmm_gate_open(&gate);
		gmm_equal(race_join(&first), 0);
		gmm_equal(race_join(&second), 0);
		gmm_ok(wakes(&model) > before);
		gmm_equal(model.memory.calls[MODEL_FILL], 2);
		gmm_equal(gmm_load_relaxed(model_page(&model, PAGE)), 99);
		gmm_test_unhold_steps();
		model_fini(&model);
	}
}

static void many_vcpus_fault_on_one_page_and_it_is_filled_once(void)
{
	struct race vcpus[3];
	struct model model;
	uint32_t i;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	for (i = 0; i < 3; i++) {
		vcpus[i] = (struct race){ .model = &model, .first = PAGE };
		race_start(&vcpus[i], guest_reads);
	}
	for (i = 0; i < 3; i++) {
		gmm_equal(race_join(&vcpus[i]), 0);
		gmm_equal(vcpus[i].second, model_word(PAGE));
	}
	gmm_equal(model.memory.calls[MODEL_FILL], 1);
	model_fini(&model);
}

/* W2: whoever serves faults waits for no change, of any kind, and the end of the change wakes. */
static void held_while_a_change_is_on(enum gmm_range_kind kind, uint32_t flags)
{
	struct gmm_range range = kind == GMM_RANGE_GFN ? model_frames(PAGE, 1) :
							 model_addresses(PAGE, 1);
	struct race vcpu = { 0 };
	struct model model;
	uint64_t before;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	gmm_equal(gmm_invalidate_begin(model.guest, kind, &range, 1, flags, NULL), 0);
	gmm_equal(gmm_fault_serve(model.guest, PAGE, GMM_ACCESS_READ), GMM_FAULT_HELD);
	gmm_equal(gmm_fault_serve(model.guest, PAGE + 1, GMM_ACCESS_READ), 0);
	gmm_equal(model.memory.calls[MODEL_FILL], 1);
	vcpu.model = &model;
	vcpu.first = PAGE;
	race_start(&vcpu, guest_reads);
	race_give_way(&vcpu);
	gmm_ok(!race_is_done(&vcpu));
	before = wakes(&model);
	gmm_invalidate_end(model.guest, kind, &range, 1);
	gmm_ok(wakes(&model) > before, "nobody woke who was held");
	gmm_equal(race_join(&vcpu), 0);
	gmm_equal(vcpu.second, model_word(PAGE));
	model_fini(&model);
}

static void a_fault_in_a_changing_range_is_held_and_woken(void)
{
	held_while_a_change_is_on(GMM_RANGE_GFN, 0);
	held_while_a_change_is_on(GMM_RANGE_HVA, 0);
	held_while_a_change_is_on(GMM_RANGE_GFN, GMM_INVALIDATE_NONBLOCKING);
}

static int changes_nothing(struct race *race)
{
	struct gmm_range range = model_frames(PAGE, 1);
	int error = gmm_invalidate_begin(race->model->guest, GMM_RANGE_GFN, &range, 1, 0, NULL);

	if (!error)
		gmm_invalidate_end(race->model->guest, GMM_RANGE_GFN, &range, 1);
	return error;
}

/*
 * What a change waits for is no stale installation. The thread that serves faults could not undo it
 * either: where userfaultfd tells of events, dropping a mapping waits for that thread (W2).
 */
static void an_installation_that_is_waited_for_is_not_undone(void)
{
	struct race change = { 0 }, vcpu = { 0 };
	struct gmm_gate gate;
	struct model model;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	gmm_gate_init(&gate, 1);
	gmm_test_hold_step(GMM_STEP_FAULT_MAPPED, &gate);
	vcpu.model = &model;
	vcpu.first = PAGE;
	race_start(&vcpu, guest_reads);
	gmm_gate_wait_held(&gate);
	change.model = &model;
	race_start(&change, changes_nothing);
	race_give_way(&change);
	gmm_ok(!race_is_done(&change), "a change does not wait for an installation");
	gmm_gate_open(&gate);
	gmm_equal(race_join(&change), 0);
	gmm_equal(race_join(&vcpu), 0);
	gmm_equal(vcpu.second, model_word(PAGE));
	gmm_equal(model.memory.calls[MODEL_LIVE_UNMAP], 0);
	gmm_equal(model.memory.calls[MODEL_LIVE_MAP], 1);
	model_fini(&model);
}

static int set_read_only(struct race *race)
{
	return gmm_slot_set_flags(race->model->guest, 0, GMM_SLOT_READ_ONLY);
}

static void a_fault_in_a_changing_slot_is_held_and_woken(void)
{
	struct race change = { 0 }, vcpu = { 0 };
	struct gmm_gate gate;
	struct model model;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	change.model = vcpu.model = &model;
	gmm_gate_init(&gate, 1);
	gmm_test_hold_step(GMM_STEP_SLOT_PUBLISH, &gate);
	race_start(&change, set_read_only);
	gmm_gate_wait_held(&gate);
	vcpu.first = PAGE;
	race_start(&vcpu, guest_reads);
	race_give_way(&vcpu);
	gmm_gate_open(&gate);
	gmm_equal(race_join(&change), 0);
	gmm_equal(race_join(&vcpu), 0);
	gmm_equal(vcpu.second, model_word(PAGE));
	model_fini(&model);
}

/* The fault is stopped before it installs, PAGE moves, the fault goes on. */
static int overtake(struct model *model, struct race *fault, enum gmm_range_kind kind, bool hold)
{
	struct gmm_range range = kind == GMM_RANGE_GFN ? model_frames(PAGE, 1) :
							 model_addresses(PAGE, 1);
	struct gmm_gate gate;
	int answer;

	start_and_stop(fault, serve_write, model, &gate, GMM_STEP_FAULT_INSTALL, 0);
	gmm_equal(gmm_invalidate_begin(model->guest, kind, &range, 1, 0, NULL), 0);
	model_move_page(model, PAGE);
	if (!hold)
		gmm_invalidate_end(model->guest, kind, &range, 1);
	gmm_gate_open(&gate);
	answer = race_join(fault);
	if (hold)
		gmm_invalidate_end(model->guest, kind, &range, 1);
	gmm_test_unhold_steps();
	return answer;
}

/* L1, L12: it leaves no translation to the old frame, nor a trace that it was ever used. */
static void an_overtaken_fault_installs_nothing(uint32_t traits)
{
	struct gmm_guest_counters counters;
	struct gmm_page_info info;
	struct race fault = { 0 };
	struct model model;
	uint64_t word;
	uint32_t i;

	for (i = 0; i < 4; i++) {
		enum gmm_range_kind kind = i / 2 ? GMM_RANGE_GFN : GMM_RANGE_HVA;

		model_init(&model, traits);
		gmm_equal(overtake(&model, &fault, kind, i % 2), GMM_FAULT_HELD);
		gmm_equal(gmm_page_query(model.guest, PAGE, &info), 0);
		gmm_ok(!info.mapped && !info.writable && !info.young && !info.busy);
		gmm_ok(!model_guest_try(&model, PAGE, false, &word));
		gmm_guest_read_counters(model.guest, &counters);
		gmm_equal(counters.faults_retried, 1);
		gmm_equal(gmm_fault_serve(model.guest, PAGE, GMM_ACCESS_WRITE), 0);
		gmm_equal(gmm_page_query(model.guest, PAGE, &info), 0);
		gmm_ok(info.mapped && info.writable);
		if (!(traits & MODEL_LAZY))
			gmm_equal(info.pfn, PAGE + MODEL_PAGES);
		model_fini(&model);
	}
}

static void an_overtaken_fault_on_lazy_memory_installs_nothing(void)
{
	an_overtaken_fault_installs_nothing(MODEL_LAZY | MODEL_OWNER);
}

static void an_overtaken_fault_on_resident_memory_installs_nothing(void)
{
	an_overtaken_fault_installs_nothing(0);
}

/* The change is over when the fault notices, and nobody else will wake the vCPU: it faults again. */
static void a_vcpu_whose_fault_was_overtaken_goes_on(void)
{
	struct gmm_range range = model_frames(PAGE, 1);
	struct race vcpu = { .second = 8 };
	struct gmm_gate gate;
	struct model model;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	start_and_stop(&vcpu, guest_writes, &model, &gate, GMM_STEP_FAULT_INSTALL, 0);
	gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &range, 1, 0, NULL), 0);
	model_move_page(&model, PAGE);
	gmm_invalidate_end(model.guest, GMM_RANGE_GFN, &range, 1);
	gmm_gate_open(&gate);
	gmm_equal(race_join(&vcpu), 0);
	gmm_equal(gmm_load_relaxed(model_page(&model, PAGE)), 8);
	model_fini(&model);
}

static void a_vcpu_whose_mapping_the_host_puts_off_goes_on(void)
{
	struct model model;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	model.memory.fail_at[MODEL_LIVE_MAP] = 1;
	model.memory.fail_with = -GMM_EAGAIN;
	gmm_must(model_guest_write(&model, PAGE, 8));
	gmm_equal(model.memory.calls[MODEL_FILL], 1);
	model_fini(&model);
}

/* L11: what changes elsewhere is no reason to start again. */
static void an_unrelated_change_overtakes_nobody(void)
{
	static const uint32_t traits[] = { 0, MODEL_LAZY | MODEL_OWNER };
	struct gmm_range ranges[2] = { model_frames(0, PAGE),
				       model_frames(PAGE + 1, MODEL_PAGES - PAGE - 1) };
	struct gmm_guest_counters counters;
	struct race fault = { 0 };
	struct gmm_gate gate;
	struct model model;
	uint32_t i;

	for (i = 0; i < 2; i++) {
		model_init(&model, traits[i]);
		start_and_stop(&fault, serve_write, &model, &gate, GMM_STEP_FAULT_INSTALL, 0);
		gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, ranges, 2, 0, NULL), 0);
		gmm_gate_open(&gate);
		gmm_equal(race_join(&fault), 0);
		gmm_invalidate_end(model.guest, GMM_RANGE_GFN, ranges, 2);
		gmm_guest_read_counters(model.guest, &counters);
		gmm_equal(counters.faults_retried, 0);
		gmm_test_unhold_steps();
		model_fini(&model);
	}
}

/* L24: however often it is overtaken, it needs nothing more than the first time. */
static void retries_use_nothing_up(void)
{
	struct race fault = { 0 };
	struct model model;
	uint64_t live = 0;
	uint32_t i;

	model_init(&model, 0);
	for (i = 0; i < 10; i++) {
		gmm_equal(overtake(&model, &fault, GMM_RANGE_GFN, false), GMM_FAULT_HELD);
		if (!i)
			live = gmm_port_alloc_live();
		gmm_equal(gmm_port_alloc_live(), live);
	}
	gmm_port_alloc_fail_at(1);
	gmm_equal(gmm_fault_serve(model.guest, PAGE, GMM_ACCESS_WRITE), 0);
	gmm_port_alloc_fail_at(0);
	gmm_equal(model.memory.calls[MODEL_RESOLVE], 11);
	model_fini(&model);
}

/* L22: a page that moves and was not mapped is not mapped afterwards either. */
static void a_change_maps_nothing_that_was_absent(void)
{
	struct gmm_range range = model_frames(PAGE, 2);
	struct gmm_page_info info;
	struct model model;
	uint32_t i;

	model_init(&model, MODEL_LOG_DIRTY);
	gmm_equal(gmm_fault_serve(model.guest, PAGE, GMM_ACCESS_READ), 0);
	gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &range, 1, 0, NULL), 0);
	for (i = 0; i < 2; i++) {
		gmm_equal(gmm_page_query(model.guest, PAGE + i, &info), 0);
		gmm_ok(!info.mapped && !info.young);
		model_move_page(&model, PAGE + i);
	}
	gmm_invalidate_end(model.guest, GMM_RANGE_GFN, &range, 1);
	for (i = 0; i < 2; i++) {
		gmm_equal(gmm_page_query(model.guest, PAGE + i, &info), 0);
		gmm_ok(!info.mapped && !info.dirty);
	}
	model_fini(&model);
}

static int fault_again_and_again(struct race *race)
{
	uint32_t i;

	for (i = 0; i < gmm_test_turns(12); i++) {
		int answer = gmm_fault_serve(race->model->guest, PAGE, GMM_ACCESS_READ);

		if (answer < 0)
			return answer;
	}
	return 0;
}

/* L1, L12, L23: between begin and end nothing of the page is in the table, whatever faults there are. */
static void nothing_is_in_the_table_while_a_page_moves(void)
{
	struct gmm_range range = model_frames(PAGE, 1);
	struct gmm_page_info info;
	struct race vcpu = { 0 };
	struct model model;
	uint32_t i;

	model_init(&model, 0);
	vcpu.model = &model;
	race_start(&vcpu, fault_again_and_again);
	for (i = 0; i < gmm_test_turns(6); i++) {
		gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &range, 1, 0, NULL), 0);
		model_move_page(&model, PAGE);
		gmm_equal(gmm_page_query(model.guest, PAGE, &info), 0);
		gmm_ok(!info.mapped, "mapped while it changes");
		gmm_ok(!info.young, "young while it changes");
		gmm_invalidate_end(model.guest, GMM_RANGE_GFN, &range, 1);
	}
	gmm_equal(race_join(&vcpu), 0);
	gmm_equal(gmm_fault_serve(model.guest, PAGE, GMM_ACCESS_READ), 0);
	gmm_equal(gmm_page_query(model.guest, PAGE, &info), 0);
	gmm_equal(info.pfn, model.memory.frame_of[PAGE]);
	model_fini(&model);
}

static int evict_all(struct race *race)
{
	return (int)gmm_evict(race->model->guest, 0, MODEL_PAGES, 0);
}

/* W2, W10: wherever the evictor is, a fault returns at once, and the vCPU goes on when it is done. */
static void a_fault_never_waits_for_the_evictor(void)
{
	static const enum gmm_step_point steps[] = {
		GMM_STEP_INVALIDATE_REGISTERED, GMM_STEP_INVALIDATE_CHANGING,
		GMM_STEP_EVICT_CLAIMED,		GMM_STEP_EVICT_PROTECTED,
		GMM_STEP_EVICT_WRITTEN,		GMM_STEP_EVICT_RELEASED,
		GMM_STEP_INVALIDATE_END
	};
	struct race evictor = { 0 }, vcpu = { 0 };
	struct gmm_gate gate;
	struct model model;
	uint32_t i;
	int answer;

	for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		bool owned = steps[i] == GMM_STEP_EVICT_CLAIMED ||
			     steps[i] == GMM_STEP_EVICT_PROTECTED ||
			     steps[i] == GMM_STEP_EVICT_WRITTEN;

		model_init(&model, MODEL_LAZY | MODEL_OWNER);
		gmm_must(model_guest_write(&model, PAGE, 1));
		gmm_gate_init(&gate, 1);
		gmm_test_hold_step(steps[i], &gate);
		evictor.model = vcpu.model = &model;
		race_start(&evictor, evict_all);
		gmm_gate_wait_held(&gate);
		answer = gmm_fault_serve(model.guest, PAGE, GMM_ACCESS_WRITE);
		gmm_ok(answer == (owned ? GMM_FAULT_HELD : 0), "step %u: %d", i, answer);
		gmm_equal(gmm_fault_serve(model.guest, PAGE + 1, GMM_ACCESS_WRITE), 0);
		vcpu.first = PAGE;
		vcpu.second = 2;
		race_start(&vcpu, guest_writes);
		/* As long as it is not protected the page is written without a fault. */
		if (owned && steps[i] != GMM_STEP_EVICT_CLAIMED) {
			race_give_way(&vcpu);
			gmm_ok(!race_is_done(&vcpu));
			gmm_gate_open(&gate);
			gmm_equal(race_join(&vcpu), 0);
		} else {
			gmm_equal(race_join(&vcpu), 0);
			gmm_gate_open(&gate);
		}
		gmm_ok(race_join(&evictor) >= 0);
		gmm_must(model_guest_read(&model, PAGE, &vcpu.second));
		gmm_equal(vcpu.second, 2);
		gmm_test_unhold_steps();
		model_fini(&model);
	}
}

#define CASE(name)          \
	{                   \
#name, name \
	}

const struct gmm_test_case gmm_test_cases[] = {
	CASE(a_fault_on_a_busy_page_is_held_and_woken),
	CASE(many_vcpus_fault_on_one_page_and_it_is_filled_once),
	CASE(a_fault_in_a_changing_range_is_held_and_woken),
	CASE(a_fault_in_a_changing_slot_is_held_and_woken),
	CASE(an_installation_that_is_waited_for_is_not_undone),
	CASE(an_overtaken_fault_on_lazy_memory_installs_nothing),
	CASE(an_overtaken_fault_on_resident_memory_installs_nothing),
	CASE(a_vcpu_whose_fault_was_overtaken_goes_on),
	CASE(a_vcpu_whose_mapping_the_host_puts_off_goes_on),
	CASE(an_unrelated_change_overtakes_nobody),
	CASE(retries_use_nothing_up),
	CASE(a_change_maps_nothing_that_was_absent),
	CASE(nothing_is_in_the_table_while_a_page_moves),
	CASE(a_fault_never_waits_for_the_evictor),
	{ NULL, NULL },
};
