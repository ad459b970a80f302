/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A guest with a table in a format of hardware: faults against changes, harvests, aging and slots.
 * Rules L1, L5, L6, L7, L8, L11, L12, L17, W6.
 */
#include <gmm_port/lock.h>

#include "walked.h"

#define R GMM_ACCESS_READ
#define W GMM_ACCESS_WRITE
#define GFN 3u
#define PAGE 5u
#define LOGS GMM_SLOT_LOG_DIRTY

/* One call on a thread of its own. */
struct call {
	struct gmm_test_thread thread;
	struct walked *walked;
	gmm_gfn_t gfn;
	uint64_t count;
	uint32_t access;
	int answer;
	uint32_t done; /* atomic */
};

static void fault(void *arg)
{
	struct call *call = arg;

	call->answer = gmm_fault_serve_vcpu(call->walked->guest, call->walked->vcpu, call->gfn,
					    call->access);
	gmm_store_release(&call->done, 1u);
}

static void populate(void *arg)
{
	struct call *call = arg;

	call->answer = gmm_fault_populate(call->walked->guest, call->gfn, call->count, R,
					  GMM_POPULATE_MAP);
	gmm_store_release(&call->done, 1u);
}

static void remove_slot(void *arg)
{
	struct call *call = arg;

	call->answer = gmm_slot_remove(call->walked->guest, 0);
	gmm_store_release(&call->done, 1u);
}

static void start_held(struct call *call, void (*fn)(void *arg), struct gmm_gate *gate,
		       enum gmm_step_point step)
{
	gmm_gate_init(gate, 1);
	call->walked->gate = step == GMM_STEP_NONE ? gate : NULL;
	if (step != GMM_STEP_NONE)
		gmm_test_hold_step(step, gate);
	gmm_store_relaxed(&call->done, 0u);
	gmm_test_thread_start(&call->thread, fn, call);
	gmm_gate_wait_held(gate);
}

static int join_held(struct call *call, struct gmm_gate *gate)
{
	gmm_gate_open(gate);
	gmm_test_thread_join(&call->thread);
	call->walked->gate = NULL;
	gmm_test_unhold_steps();
	return call->answer;
}

static void give_way(struct call *call)
{
	uint32_t turn;

	for (turn = 0; turn < 300 && !gmm_load_acquire(&call->done); turn++)
		gmm_cpu_relax(turn);
}

/* L1, L12: by frames and by addresses, over when the fault goes on or not, and of a populate. */
static void what_a_change_has_overtaken_is_not_mapped(void)
{
	struct call call = { .access = R };
	struct gmm_guest_counters counters;
	struct walked walked;
	struct gmm_gate gate;
	uint32_t format, kind;
	uint64_t pfn;

	walked_each_format(format)
	{
		for (kind = 0; kind < 8; kind++) {
			struct gmm_range range = { GFN + PAGE, GFN + PAGE + 1 };
			enum gmm_range_kind by = kind & 1 ? GMM_RANGE_HVA : GMM_RANGE_GFN;

			gmm_must(walked_init(&walked, format, 0));
			walked_add(&walked, 0, GFN, 0, WALKED_SMALL, 0);
			if (kind & 1)
				range.start = WALKED_HVA + (PAGE << walked.world.facts->page_shift);
			range.end = kind & 1 ? range.start + 1 : range.end;
			call.walked = &walked;
			call.gfn = GFN + PAGE;
			call.access = kind & 2 ? W : R;
			start_held(&call, fault, &gate,
				   kind & 4 ? GMM_STEP_FAULT_INSTALL : GMM_STEP_NONE);
			/* Nobody waits for the fault. */
			gmm_equal(gmm_invalidate_begin(walked.guest, by, &range, 1,
						       GMM_INVALIDATE_NONBLOCKING, NULL),
				  0);
			gmm_store_release(&walked.moved[PAGE], 1u);
			if (kind & 2)
				gmm_invalidate_end(walked.guest, by, &range, 1);
			gmm_equal(join_held(&call, &gate), GMM_FAULT_HELD);
			gmm_equal(walked_leaves(&walked), 0);
			if (!(kind & 2))
				gmm_invalidate_end(walked.guest, by, &range, 1);
			gmm_guest_read_counters(walked.guest, &counters);
			gmm_equal(counters.faults_retried, 1);
			gmm_equal(walked_access(&walked, GFN + PAGE, R, &pfn), 0);
			gmm_equal(pfn, walked_frame(&walked, PAGE));
			walked_fini(&walked);
		}
	}
}

static void what_is_populated_is_looked_up_behind_a_change(void)
{
	struct call call = { .gfn = GFN, .count = WALKED_SMALL };
	struct walked walked;
	struct gmm_gate gate;
	uint32_t format, page;
	uint64_t pfn;

	walked_each_format(format)
	{
		gmm_must(walked_init(&walked, format, 0));
		walked_add(&walked, 0, GFN, 0, WALKED_SMALL, 0);
		call.walked = &walked;
		start_held(&call, populate, &gate, GMM_STEP_NONE);
		walked_move(&walked, GFN + PAGE, PAGE);
		gmm_equal(join_held(&call, &gate), 0);
		for (page = 0; page < WALKED_SMALL; page++) {
			gmm_ok(walked_try(&walked, GFN + page, R, &pfn));
			gmm_equal(pfn, walked_frame(&walked, page));
		}
		walked_fini(&walked);
	}
}

/* L11: and a large leaf that would have the changed page becomes a small one (L17). */
static void an_unrelated_change_holds_nobody(void)
{
	struct call call = { .access = R };
	struct gmm_range range;
	struct walked walked;
	struct gmm_gate gate;
	uint32_t format, kind;
	uint64_t span, pfn;

	walked_each_format(format)
	{
		for (kind = 0; kind < 4; kind++) {
			gmm_must(walked_init(&walked, format, 1));
			span = walked.span;
			walked.huge = true;
			walked_add(&walked, 0, span, 0, span, 0);
			call.walked = &walked;
			call.gfn = span + PAGE;
			range = (struct gmm_range){ span + PAGE + 1, span + PAGE + 2 };
			start_held(&call, fault, &gate, GMM_STEP_FAULT_INSTALL);
			gmm_equal(gmm_invalidate_begin(walked.guest, GMM_RANGE_GFN, &range, 1, 0,
						       NULL),
				  0);
			if (kind & 1)
				gmm_store_release(&walked.moved[PAGE + 1], 1u);
			if (kind & 2)
				gmm_invalidate_end(walked.guest, GMM_RANGE_GFN, &range, 1);
			gmm_ok(join_held(&call, &gate) != GMM_FAULT_HELD);
			/* Over, and nothing has moved: as before. */
			gmm_equal(walked_leaf(&walked, span + PAGE).level, kind == 2);
			gmm_equal(!!walked_leaf(&walked, span + PAGE + 1).count, kind == 2);
			gmm_equal(walked_access(&walked, span + PAGE, R, &pfn), 0);
			gmm_equal(pfn, walked_frame(&walked, PAGE));
			if (!(kind & 2))
				gmm_invalidate_end(walked.guest, GMM_RANGE_GFN, &range, 1);
			gmm_equal(walked_access(&walked, span + PAGE + 1, R, &pfn), 0);
			gmm_equal(pfn, walked_frame(&walked, PAGE + 1));
			walked_fini(&walked);
		}
	}
}

static void a_slot_goes_when_its_faults_are_over(void)
{
	struct call served = { .access = W }, removed = { 0 };
	struct walked walked;
	struct gmm_gate gate;
	uint32_t format;

	walked_each_format(format)
	{
		gmm_must(walked_init(&walked, format, 0));
		walked_add(&walked, 0, GFN, 0, WALKED_SMALL, LOGS);
		gmm_equal(walked_access(&walked, GFN + 1, W, NULL), 0);
		served.walked = removed.walked = &walked;
		served.gfn = GFN + PAGE;
		start_held(&served, fault, &gate, GMM_STEP_NONE);
		gmm_store_relaxed(&removed.done, 0u);
		gmm_test_thread_start(&removed.thread, remove_slot, &removed);
		give_way(&removed);
		gmm_ok(!gmm_load_acquire(&removed.done), "the slot went under a fault");
		gmm_gate_open(&gate);
		gmm_test_thread_join(&removed.thread);
		gmm_test_thread_join(&served.thread);
		walked.gate = NULL;
		gmm_equal(removed.answer, 0);
		/* Before the change had come so far, or not at all. */
		gmm_ok(served.answer == GMM_FAULT_HELD || served.answer == 0 ||
		       served.answer == GMM_FAULT_FLUSH);
		gmm_equal(walked_leaves(&walked), 0);
		gmm_ok(!walked_try(&walked, GFN + 1, R, NULL));
		walked_fini(&walked);
	}
}

/* What a harvest does not find in the log yet, though it may be written already, the next one does. */
static void a_write_under_a_harvest_is_in_the_next_one(void)
{
	struct call call = { .access = W, .gfn = GFN + PAGE };
	struct walked walked;
	struct gmm_gate gate;
	uint32_t format, there;
	uint64_t bits;

	walked_each_format(format)
	{
		for (there = 0; there < 2; there++) {
			gmm_must(walked_init(&walked, format, 0));
			walked_add(&walked, 0, GFN, 0, WALKED_SMALL, LOGS);
			if (there)
				gmm_equal(walked_access(&walked, GFN + PAGE, R, NULL), 0);
			call.walked = &walked;
			start_held(&call, fault, &gate, GMM_STEP_FAULT_MAPPED);
			gmm_ok(walked_try(&walked, GFN + PAGE, W, NULL));
			gmm_equal(gmm_dirty_harvest(walked.guest, 0, 0, WALKED_SMALL, &bits), 0);
			gmm_ok(join_held(&call, &gate) != GMM_FAULT_HELD);
			gmm_equal(gmm_dirty_harvest(walked.guest, 0, 0, WALKED_SMALL, &bits), 1);
			gmm_equal(bits, 1u << PAGE);
			gmm_ok(!walked_try(&walked, GFN + PAGE, W, NULL));
			walked_fini(&walked);
		}
	}
}

static bool hold_flush(struct table_world *world, const struct gmm_stage2_flush *flush)
{
	gmm_gate_pass(world->context);
	return false;
}

static void harvest_once(void *arg)
{
	struct call *call = arg;
	uint64_t bits;

	call->answer = (int)gmm_dirty_harvest(call->walked->guest, 0, 0, WALKED_SMALL, &bits);
	gmm_store_release(&call->done, 1u);
}

/* Who finds a page protected by another harvest cannot know that it was flushed. */
static void a_harvest_relies_on_no_flush_of_another(void)
{
	struct call call = { 0 };
	struct walked walked;
	struct gmm_gate gate;
	uint32_t format;
	uint64_t bits;

	walked_each_format(format)
	{
		gmm_must(walked_init(&walked, format, 0));
		walked_add(&walked, 0, GFN, 0, WALKED_SMALL, LOGS);
		gmm_equal(walked_access(&walked, GFN + PAGE, W, NULL), 0);
		walked.world.on_flush = hold_flush;
		walked.world.context = &gate;
		call.walked = &walked;
		gmm_gate_init(&gate, 1);
		gmm_test_thread_start(&call.thread, harvest_once, &call);
		gmm_gate_wait_held(&gate);
		gmm_ok(walked_try(&walked, GFN + PAGE, W, NULL));
		/* A device writes it, too. */
		gmm_dirty_mark(walked.guest, GFN + PAGE, 1);
		gmm_equal(gmm_dirty_harvest(walked.guest, 0, 0, WALKED_SMALL, &bits), 1);
		gmm_ok(!walked_try(&walked, GFN + PAGE, W, NULL), "nobody would know of this one");
		gmm_equal(join_held(&call, &gate), 1);
		walked.world.on_flush = NULL;
		walked_fini(&walked);
	}
}

#define VCPUS 3u
#define POISON 0xdeadull

/* Everything at once. The lock is between what a processor translates and what it accesses. */
struct machine {
	struct walked walked;
	struct gmm_spinlock running;
	struct hardware hardware[VCPUS];
	struct gmm_vcpu *vcpus[VCPUS];
	uint64_t data[2 * WALKED_SMALL]; /* by frame */
	uint64_t latest[WALKED_SMALL];	 /* what a guest wrote last, by page */
	uint64_t copy[WALKED_SMALL];	 /* what a harvest has read */
	gmm_gfn_t gfn;			 /* of the slot; atomic */
	uint32_t stopped;		 /* vCPUs that are through; atomic */
	uint32_t turns;
};

struct processor {
	struct gmm_test_thread thread;
	struct machine *machine;
	uint32_t id;
	uint64_t random;
};

static bool forget(struct table_world *world, const struct gmm_stage2_flush *flush)
{
	struct walked *walked = gmm_container_of(world, struct walked, world);
	struct machine *machine = gmm_container_of(walked, struct machine, walked);
	uint32_t i;

	gmm_spin_lock(&machine->running);
	for (i = 0; i < VCPUS; i++)
		hardware_forget(&machine->hardware[i], flush->gfn << world->facts->page_shift,
				flush->count << world->facts->page_shift);
	gmm_spin_unlock(&machine->running);
	return true;
}

static void kick(void *opaque, uint32_t id)
{
}

static struct machine *machine_make(uint32_t flags)
{
	/* The simulator and the repetitions go through the formats. */
	uint32_t format = (uint32_t)gmm_test_seed() % GMM_STAGE2_FORMATS, i;
	struct machine *machine = gmm_zalloc(sizeof(*machine));

	if (!machine || !walked_init(&machine->walked, format, 0))
		gmm_bail("no machine");
	gmm_spin_init(&machine->running, 200);
	machine->walked.world.on_flush = forget;
	machine->gfn = GFN;
	machine->turns = gmm_test_turns(4);
	walked_add(&machine->walked, 0, GFN, 0, WALKED_SMALL, flags);
	for (i = 0; i < WALKED_SMALL; i++) {
		machine->data[i] = i;
		machine->data[WALKED_SMALL + i] = POISON;
		machine->latest[i] = machine->copy[i] = i;
	}
	for (i = 0; i < VCPUS; i++) {
		machine->hardware[i] = machine->walked.world.hardware;
		/* Freed tables hold what is reserved; asking the ledger takes long. */
		machine->hardware[i].is_table = NULL;
		gmm_equal(gmm_vcpu_create(machine->walked.guest, 1 + i, kick, machine,
					  &machine->vcpus[i]),
			  0);
	}
	return machine;
}

static void machine_free(struct machine *machine)
{
	uint32_t i;

	gmm_equal(gmm_slot_remove(machine->walked.guest, 0), 0);
	for (i = 0; i < VCPUS; i++) {
		gmm_equal(gmm_vcpu_destroy(machine->vcpus[i]), 0);
		gmm_equal(machine->hardware[i].count, 0);
	}
	walked_fini(&machine->walked);
	gmm_spin_destroy(&machine->running);
	gmm_free(machine, sizeof(*machine));
}

/* One access. False: it faults. */
static bool access_once(struct processor *processor, gmm_gfn_t gfn, uint32_t page, bool write)
{
	struct machine *machine = processor->machine;
	uint32_t shift = machine->walked.world.facts->page_shift;
	struct hardware_result result;
	enum hardware_answer answer;
	uint64_t *word;

	gmm_spin_lock(&machine->running);
	answer = hardware_access(&machine->hardware[processor->id], gfn << shift, write ? W : R,
				 &result);
	if (answer == HARDWARE_DONE) {
		word = &machine->data[(result.address >> shift) - machine->walked.base];
		gmm_ok(*word != POISON, "a frame is reached that is the page's no more");
		if (write)
			machine->latest[page] = *word = gmm_test_random(&processor->random) | 1;
		else
			gmm_equal(*word, machine->latest[page]);
	}
	gmm_spin_unlock(&machine->running);
	gmm_ok(answer != HARDWARE_RESERVED && answer != HARDWARE_CONFLICT);
	return answer == HARDWARE_DONE;
}

static void run_guest(void *arg)
{
	struct processor *processor = arg;
	struct machine *machine = processor->machine;
	struct gmm_guest *guest = machine->walked.guest;
	uint32_t turn, shift = machine->walked.world.facts->page_shift;

	for (turn = 0; turn < machine->turns; turn++) {
		uint64_t number = gmm_test_random(&processor->random);
		uint32_t page = number % WALKED_SMALL;
		bool write = number >> 32 & 1;
		gmm_gfn_t gfn;

		for (;;) {
			struct gmm_range range;
			int answer;

			gfn = gmm_load_acquire(&machine->gfn) + page;
			if (access_once(processor, gfn, page, write))
				break;
			answer = gmm_fault_serve_vcpu(guest, machine->vcpus[processor->id], gfn,
						      write ? R | W : R);
			gmm_ok(answer >= 0 || answer == -GMM_EFAULT, "a fault says %d", answer);
			range = (struct gmm_range){ gfn, gfn + 1 };
			if (answer == -GMM_EFAULT)
				gmm_cpu_relax(100);
			if (answer == GMM_FAULT_HELD)
				gmm_equal(gmm_invalidate_wait(guest, GMM_RANGE_GFN, range), 0);
			if (answer == GMM_FAULT_FLUSH) {
				gmm_spin_lock(&machine->running);
				hardware_forget(&machine->hardware[processor->id], gfn << shift,
						(uint64_t)1 << shift);
				gmm_spin_unlock(&machine->running);
			}
		}
	}
	gmm_fetch_add(&machine->stopped, 1u);
}

static void move_frames(struct machine *machine, uint32_t page, uint32_t count)
{
	uint32_t i;

	gmm_spin_lock(&machine->running);
	for (i = page; i < page + count; i++) {
		bool was = gmm_load_relaxed(&machine->walked.moved[i]);

		machine->data[was ? i : WALKED_SMALL + i] =
			machine->data[was ? WALKED_SMALL + i : i];
		machine->data[was ? WALKED_SMALL + i : i] = POISON;
		gmm_store_release(&machine->walked.moved[i], (uint32_t)!was);
	}
	gmm_spin_unlock(&machine->running);
}

static void move_pages(void *arg)
{
	struct machine *machine = arg;
	uint32_t shift = machine->walked.world.facts->page_shift;
	uint64_t random = gmm_test_seed() + 77;

	while (gmm_load_acquire(&machine->stopped) < VCPUS) {
		uint64_t number = gmm_test_random(&random);
		uint32_t page = number % (WALKED_SMALL - 3), count = 1 + (number >> 8) % 3;
		enum gmm_range_kind kind = number >> 16 & 1 ? GMM_RANGE_HVA : GMM_RANGE_GFN;
		struct gmm_range range = { GFN + page, GFN + page + count };

		if (kind == GMM_RANGE_HVA) {
			range.start = WALKED_HVA + ((uint64_t)page << shift);
			range.end = range.start + ((uint64_t)count << shift);
		}
		gmm_equal(gmm_invalidate_begin(machine->walked.guest, kind, &range, 1,
					       number >> 17 & 1 ? GMM_INVALIDATE_NONBLOCKING : 0,
					       NULL),
			  0);
		move_frames(machine, page, count);
		gmm_invalidate_end(machine->walked.guest, kind, &range, 1);
		gmm_cpu_relax(100);
	}
}

static void harvest(struct machine *machine)
{
	uint64_t bits;
	uint32_t page;

	gmm_ok(gmm_dirty_harvest(machine->walked.guest, 0, 0, WALKED_SMALL, &bits) >= 0);
	for (page = 0; page < WALKED_SMALL; page++) {
		if (!(bits >> page & 1))
			continue;
		gmm_spin_lock(&machine->running);
		machine->copy[page] =
			machine->data[walked_frame(&machine->walked, page) - machine->walked.base];
		gmm_spin_unlock(&machine->running);
	}
}

static void age(void *arg)
{
	struct machine *machine = arg;
	struct gmm_page_info info;
	uint32_t turn = 0;

	while (gmm_load_acquire(&machine->stopped) < VCPUS) {
		gmm_ok(gmm_age(machine->walked.guest, 0, 64, turn++ & 1 ? GMM_AGE_TEST_ONLY : 0,
			       NULL) >= 0);
		gmm_equal(gmm_page_query(machine->walked.guest, GFN + turn % WALKED_SMALL, &info),
			  0);
		gmm_equal(gmm_fault_populate(machine->walked.guest, GFN + turn % WALKED_SMALL, 1, R,
					     GMM_POPULATE_MAP),
			  0);
		gmm_cpu_relax(100);
	}
}

static void start_guests(struct machine *machine, struct processor *processors)
{
	uint32_t i;

	for (i = 0; i < VCPUS; i++) {
		processors[i] = (struct processor){
			.machine = machine,
			.id = i,
			.random = gmm_test_seed() * 31 + i + 1,
		};
		gmm_test_thread_start(&processors[i].thread, run_guest, &processors[i]);
	}
}

static void no_write_is_lost_and_no_old_frame_is_reached(void)
{
	struct machine *machine = machine_make(LOGS);
	struct processor processors[VCPUS];
	struct gmm_test_thread mover, ager;
	uint32_t i;

	start_guests(machine, processors);
	gmm_test_thread_start(&mover, move_pages, machine);
	gmm_test_thread_start(&ager, age, machine);
	while (gmm_load_acquire(&machine->stopped) < VCPUS) {
		harvest(machine);
		gmm_cpu_relax(100);
	}
	for (i = 0; i < VCPUS; i++)
		gmm_test_thread_join(&processors[i].thread);
	gmm_test_thread_join(&mover);
	gmm_test_thread_join(&ager);
	harvest(machine);
	for (i = 0; i < WALKED_SMALL; i++)
		gmm_equal(machine->copy[i], machine->latest[i]);
	machine_free(machine);
}

/* The slot goes, its memory moves when nobody has it, and it comes back elsewhere. */
static void change_slot(struct machine *machine, uint64_t number)
{
	struct gmm_guest *guest = machine->walked.guest;
	gmm_gfn_t gfn = GFN + (number >> 8 & 1 ? 100 : 0);

	switch (number % 4) {
	case 0:
		gmm_equal(gmm_slot_set_flags(guest, 0, number >> 9 & 1 ? LOGS : 0), 0);
		break;
	case 1:
		gmm_equal(gmm_slot_move(guest, 0, gfn), 0);
		gmm_store_release(&machine->gfn, gfn);
		break;
	default:
		gmm_equal(gmm_slot_remove(guest, 0), 0);
		move_frames(machine, 0, WALKED_SMALL);
		walked_add(&machine->walked, 0, gfn, 0, WALKED_SMALL, number >> 9 & 1 ? LOGS : 0);
		gmm_store_release(&machine->gfn, gfn);
	}
}

static void slots_that_go_leave_nothing_behind(void)
{
	struct machine *machine = machine_make(0);
	struct processor processors[VCPUS];
	uint64_t random = gmm_test_seed() + 5;
	uint32_t i;

	start_guests(machine, processors);
	for (i = 0; i < machine->turns && gmm_load_acquire(&machine->stopped) < VCPUS; i++) {
		change_slot(machine, gmm_test_random(&random));
		gmm_cpu_relax(100);
	}
	for (i = 0; i < VCPUS; i++)
		gmm_test_thread_join(&processors[i].thread);
	machine_free(machine);
}

#define CASE(name)          \
	{                   \
#name, name \
	}

const struct gmm_test_case gmm_test_cases[] = {
	CASE(what_a_change_has_overtaken_is_not_mapped),
	CASE(what_is_populated_is_looked_up_behind_a_change),
	CASE(an_unrelated_change_holds_nobody),
	CASE(a_slot_goes_when_its_faults_are_over),
	CASE(a_write_under_a_harvest_is_in_the_next_one),
	CASE(a_harvest_relies_on_no_flush_of_another),
	CASE(no_write_is_lost_and_no_old_frame_is_reached),
	CASE(slots_that_go_leave_nothing_behind),
	{ NULL, NULL },
};
