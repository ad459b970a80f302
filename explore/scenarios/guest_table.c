/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A guest whose table processors walk (core/guest_table.h, core/fault_table.c): page 0 is what two
 * vCPUs, changes, harvests and the slot meet at. Processors keep translations until they are flushed;
 * the lock `running` is between what one translates and what it accesses.
 */
#include <gmm_port/lock.h>

#include "hardware.h"
#include "machine.h"
#include "scenario.h"

#define RANK_RUNNING 200 /* of no lock of the engine */
#define TABLES 24u
#define SPAN 512u /* frames of a large leaf */
#define PAGES 2u
#define GFN SPAN
#define FRAME (4 * SPAN) /* of page 0 */
#define TWIN (2 * SPAN)	 /* from a page's frame to its other one */
#define CPUS 2u
#define POISON MACHINE_POISON

#define LOGS 1u	     /* slot 0 has a log */
#define LARGE 2u     /* its pages go together unless one has moved */
#define UNTOUCHED 4u /* there are no tables yet */

struct page {
	uint64_t data[2]; /* of its two frames */
	uint64_t latest;
	uint64_t copy;	/* what a harvest has read */
	uint32_t moved; /* atomic */
};

struct state {
	uint32_t traits;
	struct gmm_stage2_table *table;
	struct gmm_stage2_walker *walker; /* of the first thread */
	struct gmm_guest *guest;
	struct gmm_vcpu *vcpus[CPUS];
	unsigned char *memory; /* of tables; not given back one by one, but poisoned */
	uint32_t used;
	uint32_t started; /* the log has begun; atomic */
	/* Under the lock, behind the first thread's preparations. */
	struct gmm_spinlock running;
	struct hardware hardware[CPUS];
	struct page pages[PAGES];
};

struct plan {
	uint32_t traits;
	void (*prepare)(struct state *state);
	void (*threads[3])(void *state);
	void (*check)(struct state *state);
};

static void *table_alloc(void *owner, uint64_t bytes)
{
	struct state *state = owner;
	uintptr_t first = ((uintptr_t)state->memory + MACHINE_PAGE_BYTES - 1) &
			  ~(uintptr_t)(MACHINE_PAGE_BYTES - 1);

	machine_check(bytes == MACHINE_PAGE_BYTES && state->used < TABLES);
	return (void *)(first + state->used++ * bytes);
}

static void table_free(void *owner, void *table, uint64_t bytes)
{
	gmm_memset(table, 0xff, bytes);
}

static void flush(void *owner, const struct gmm_stage2_flush *what)
{
	struct state *state = owner;
	uint32_t i;

	gmm_spin_lock(&state->running);
	for (i = 0; i < CPUS; i++)
		hardware_forget(&state->hardware[i], what->gfn << 12, what->count << 12);
	gmm_spin_unlock(&state->running);
}

static const struct gmm_stage2_table_ops table_ops = {
	.version = GMM_STAGE2_TABLE_OPS_VERSION,
	.name = "explore",
	.table_alloc = table_alloc,
	.table_free = table_free,
	.flush = flush,
};

static uint64_t frame_of(struct state *state, uint64_t page)
{
	bool moved = page < PAGES && gmm_load_acquire(&state->pages[page].moved);

	return FRAME + page + (moved ? TWIN : 0);
}

static int resolve(void *opaque, uint64_t page, uint32_t count, uint32_t access, gmm_pfn_t *pfns)
{
	uint32_t i;

	if (gmm_sim_call_fails(0, GMM_SIM_SITE("resolve")))
		return -GMM_ENOMEM;
	for (i = 0; i < count; i++)
		pfns[i] = frame_of(opaque, page + i);
	return 0;
}

static void put(void *opaque, const gmm_pfn_t *pfns, uint32_t count)
{
}

static int map(void *opaque, const gmm_pfn_t *pfns, uint32_t count, uint32_t access, void **pointer)
{
	return -GMM_EIO;
}

static void unmap(void *opaque, void *pointer, uint32_t count)
{
}

static void describe_frame(void *opaque, uint64_t page, gmm_pfn_t pfn, struct gmm_frame_info *info)
{
	struct state *state = opaque;

	if (!(state->traits & LARGE) || page >= SPAN || gmm_load_acquire(&state->pages[0].moved) ||
	    gmm_load_acquire(&state->pages[1].moved))
		return;
	info->first_page = 0;
	info->count = SPAN;
}

static const struct gmm_memory_ops memory_ops = {
	.version = GMM_MEMORY_OPS_VERSION,
	.name = "explore",
	.resolve = resolve,
	.put = put,
	.map = map,
	.unmap = unmap,
	.describe_frame = describe_frame,
};

static void kick(void *opaque, uint32_t id)
{
}

static void add_slot(struct state *state, uint32_t id, gmm_gfn_t gfn, uint64_t page, uint64_t count)
{
	struct gmm_slot_config slot = {
		.id = id,
		.flags = state->traits & LOGS ? GMM_SLOT_LOG_DIRTY : 0,
		.gfn = gfn,
		.count = count,
		.hva = MACHINE_HVA + page * MACHINE_PAGE_BYTES,
		.memory_ops = &memory_ops,
		.memory = state,
		.memory_page = page,
	};

	machine_must(gmm_slot_add(state->guest, &slot));
}

static int fault(struct state *state, uint32_t cpu, uint32_t page, uint32_t access)
{
	int answer = machine_again(
		gmm_fault_serve_vcpu(state->guest, state->vcpus[cpu], GFN + page, access));

	machine_check(answer == 0 || answer == GMM_FAULT_HELD || answer == -GMM_EFAULT);
	return answer;
}

/*
 * By faults in a slot beside it tables are linked and each vCPU's stock is full: what follows
 * allocates none.
 */
static void fill_stocks(struct state *state)
{
	uint32_t page = state->traits & LARGE ? SPAN : 8;

	add_slot(state, 1, GFN + page, SPAN, 3);
	machine_check(!fault(state, 0, page, GMM_ACCESS_READ));
	machine_check(!fault(state, 0, page + 1, GMM_ACCESS_READ));
	machine_check(!fault(state, 1, page + 2, GMM_ACCESS_READ));
}

static void make(struct state *state, uint32_t traits)
{
	struct gmm_stage2_table_config table = {
		.format = GMM_STAGE2_NPT,
		.gpa_bits = 30,
		.ops = &table_ops,
		.owner = state,
	};
	struct gmm_guest_config config = { .max_vcpus = CPUS };
	uint32_t i;

	state->traits = traits;
	state->memory = gmm_zalloc((TABLES + 1) * MACHINE_PAGE_BYTES);
	machine_check(state->memory);
	gmm_spin_init(&state->running, RANK_RUNNING);
	for (i = 0; i < PAGES; i++) {
		state->pages[i].data[0] = state->pages[i].latest = state->pages[i].copy = i;
		state->pages[i].data[1] = POISON;
	}
	machine_must(gmm_stage2_table_create(&table, &state->table));
	machine_must(gmm_stage2_walker_create(state->table, &state->walker));
	for (i = 0; i < CPUS; i++) {
		state->hardware[i].format = GMM_STAGE2_NPT;
		state->hardware[i].sets_bits = state->hardware[i].remembers = true;
		gmm_stage2_table_read_root(state->table, &state->hardware[i].root);
	}
	config.table = state->table;
	machine_must(gmm_guest_create(&config, &state->guest));
	for (i = 0; i < CPUS; i++)
		machine_must(gmm_vcpu_create(state->guest, i, kick, state, &state->vcpus[i]));
	add_slot(state, 0, GFN, 0, traits & LARGE ? SPAN : PAGES);
	if (!(traits & UNTOUCHED))
		fill_stocks(state);
}

static void play(const struct plan *plan)
{
	static const char *const names[] = { "A", "B", "C" };
	struct state *state = gmm_zalloc(sizeof(*state));
	struct gmm_sim_thread *threads[3];
	struct gmm_stage2_leaf leaf;
	uint32_t i, count = 0, page;

	machine_check(state);
	make(state, plan->traits);
	if (plan->prepare)
		plan->prepare(state);
	for (; count < 3 && plan->threads[count]; count++)
		threads[count] = gmm_sim_thread_start(plan->threads[count], state, names[count]);
	gmm_sim_checkpoint();
	for (i = 0; i < count; i++)
		gmm_sim_thread_join(threads[i]);
	/* What is mapped is where the page is. */
	for (page = 0; page < PAGES; page++)
		if (!gmm_stage2_table_look_up(state->walker, GFN + page, &leaf))
			machine_check(leaf.pfn + (GFN + page - leaf.gfn) == frame_of(state, page));
	if (plan->check)
		plan->check(state);
	gmm_slot_remove(state->guest, 0);
	gmm_slot_remove(state->guest, 1);
	machine_check(gmm_stage2_table_look_up(state->walker, GFN, &leaf) == -GMM_ENOENT);
	for (i = 0; i < CPUS; i++)
		machine_must(gmm_vcpu_destroy(state->vcpus[i]));
	machine_must(gmm_guest_destroy(state->guest));
	gmm_stage2_walker_destroy(state->walker);
	machine_must(gmm_stage2_table_destroy(state->table));
	gmm_spin_destroy(&state->running);
	gmm_free(state->memory, (TABLES + 1) * MACHINE_PAGE_BYTES);
	gmm_free(state, sizeof(*state));
}

/* One access. False: it faults. */
static bool access_once(struct state *state, uint32_t cpu, uint32_t page, bool write,
			uint64_t value)
{
	struct hardware_result result;
	enum hardware_answer answer;
	uint64_t *word;

	gmm_spin_lock(&state->running);
	answer = hardware_access(&state->hardware[cpu], (uint64_t)(GFN + page) << 12,
				 write ? GMM_LEAF_WRITE : GMM_LEAF_READ, &result);
	machine_check(answer != HARDWARE_RESERVED && answer != HARDWARE_CONFLICT);
	if (answer == HARDWARE_DONE) {
		word = &state->pages[page].data[result.address >> 12 != FRAME + page];
		machine_check(*word != POISON);
		if (write)
			state->pages[page].latest = *word = value;
		else
			machine_check(*word == state->pages[page].latest);
	}
	gmm_spin_unlock(&state->running);
	return answer == HARDWARE_DONE;
}

/* False: the slot is gone. */
static bool guest_access(struct state *state, uint32_t cpu, uint32_t page, bool write,
			 uint64_t value)
{
	struct gmm_range range = { GFN + page, GFN + page + 1 };
	int answer;

	while (!access_once(state, cpu, page, write, value)) {
		answer = fault(state, cpu, page,
			       write ? GMM_ACCESS_READ | GMM_ACCESS_WRITE : GMM_ACCESS_READ);
		if (answer == -GMM_EFAULT)
			return false;
		if (answer == GMM_FAULT_HELD)
			machine_must(gmm_invalidate_wait(state->guest, GMM_RANGE_GFN, range));
	}
	return true;
}

static void move_page(struct state *state, uint32_t page, enum gmm_range_kind kind, uint32_t flags)
{
	struct gmm_range range = { GFN + page, GFN + page + 1 };
	struct page *at = &state->pages[page];
	uint32_t was = gmm_load_relaxed(&at->moved);

	if (kind == GMM_RANGE_HVA) {
		range.start = MACHINE_HVA + page * (uint64_t)MACHINE_PAGE_BYTES;
		range.end = range.start + 1;
	}
	machine_must(gmm_invalidate_begin(state->guest, kind, &range, 1, flags, NULL));
	gmm_spin_lock(&state->running);
	at->data[!was] = at->data[was];
	at->data[was] = POISON;
	gmm_store_release(&at->moved, !was);
	gmm_spin_unlock(&state->running);
	gmm_invalidate_end(state->guest, kind, &range, 1);
}

static void harvest(struct state *state)
{
	uint64_t bits[SPAN / 64] = { 0 };
	uint32_t page;

	machine_check(gmm_dirty_harvest(state->guest, 0, 0, state->traits & LARGE ? SPAN : PAGES,
					bits) >= 0);
	for (page = 0; page < PAGES; page++) {
		if (!(bits[0] >> page & 1))
			continue;
		gmm_spin_lock(&state->running);
		state->pages[page].copy =
			state->pages[page].data[gmm_load_relaxed(&state->pages[page].moved)];
		gmm_spin_unlock(&state->running);
	}
}

static void nothing_is_lost(struct state *state)
{
	harvest(state);
	machine_check(state->pages[0].copy == state->pages[0].latest);
	machine_check(state->pages[1].copy == state->pages[1].latest);
}

/* Before the threads */

static void read_page_0(struct state *state)
{
	machine_check(guest_access(state, 0, 0, false, 0) && guest_access(state, 1, 0, false, 0));
}

static void written_page_0(struct state *state)
{
	machine_check(guest_access(state, 0, 0, true, 55) && guest_access(state, 1, 0, true, 56));
}

static void clean_page_0(struct state *state)
{
	written_page_0(state);
	harvest(state);
	read_page_0(state);
}

static void old_page_0(struct state *state)
{
	written_page_0(state);
	machine_check(gmm_age(state->guest, GFN, 1, 0, NULL) == 1);
}

/* Threads */

static void reads(void *arg)
{
	machine_check(guest_access(arg, 0, 0, false, 0));
}

static void writes(void *arg)
{
	machine_check(guest_access(arg, 0, 0, true, 77));
}

static void writes_twice(void *arg)
{
	machine_check(guest_access(arg, 0, 0, true, 77) && guest_access(arg, 0, 0, true, 78));
}

static void other_writes(void *arg)
{
	machine_check(guest_access(arg, 1, 0, true, 88));
}

/* Nobody changes page 1. */
static void faults_on_page_1(void *arg)
{
	machine_check(fault(arg, 0, 1, GMM_ACCESS_READ) == 0);
}

static void uses_page_1(void *arg)
{
	machine_check(guest_access(arg, 1, 1, true, 99));
}

static void writes_if_there(void *arg)
{
	guest_access(arg, 0, 0, true, 77);
}

static void moves(void *arg)
{
	move_page(arg, 0, GMM_RANGE_GFN, 0);
}

static void moves_by_hva(void *arg)
{
	move_page(arg, 0, GMM_RANGE_HVA, 0);
}

static void moves_without_blocking(void *arg)
{
	move_page(arg, 0, GMM_RANGE_GFN, GMM_INVALIDATE_NONBLOCKING);
}

static void moves_page_1(void *arg)
{
	move_page(arg, 1, GMM_RANGE_GFN, 0);
}

static void harvests(void *arg)
{
	harvest(arg);
}

static void ages(void *arg)
{
	struct state *state = arg;

	machine_check(gmm_age(state->guest, GFN, 1, 0, NULL) >= 0);
}

static void removes_slot(void *arg)
{
	struct state *state = arg;

	machine_must(gmm_slot_remove(state->guest, 0));
	gmm_spin_lock(&state->running);
	state->pages[0].data[0] = state->pages[0].data[1] = POISON;
	gmm_spin_unlock(&state->running);
}

static void starts_log(void *arg)
{
	struct state *state = arg;

	machine_must(gmm_slot_set_flags(state->guest, 0, GMM_SLOT_LOG_DIRTY));
	gmm_spin_lock(&state->running);
	state->pages[0].copy = state->pages[0].latest;
	gmm_spin_unlock(&state->running);
}

static void populates(void *arg)
{
	struct state *state = arg;

	machine_must(gmm_fault_populate(state->guest, GFN, 2, GMM_ACCESS_READ, GMM_POPULATE_MAP));
}

#define PLAN(function, ...)                                      \
	static void function(void *arg)                          \
	{                                                        \
		static const struct plan plan = { __VA_ARGS__ }; \
                                                                 \
		play(&plan);                                     \
	}

PLAN(fault_move, .threads = { reads, moves })
PLAN(first_fault_move, .traits = UNTOUCHED, .threads = { reads, moves })
PLAN(fault_move_by_hva, .threads = { writes, moves_by_hva })
PLAN(fault_move_nonblocking, .threads = { writes, moves_without_blocking })
PLAN(again_move, .prepare = read_page_0, .threads = { writes_twice, moves })
PLAN(old_move, .prepare = old_page_0, .threads = { reads, moves, ages })
PLAN(two_faults_move, .threads = { writes, other_writes, moves })
PLAN(unrelated_move, .threads = { faults_on_page_1, moves })
PLAN(large_move, .traits = LARGE, .threads = { reads, uses_page_1, moves_page_1 })
PLAN(populate_move, .threads = { populates, moves })
PLAN(write_harvest, .traits = LOGS, .prepare = clean_page_0, .threads = { writes, harvests },
     .check = nothing_is_lost)
PLAN(written_harvest, .traits = LOGS, .prepare = written_page_0,
     .threads = { writes_twice, harvests }, .check = nothing_is_lost)
PLAN(two_write_harvest, .traits = LOGS, .prepare = clean_page_0,
     .threads = { writes, other_writes, harvests }, .check = nothing_is_lost)
PLAN(write_move_harvest, .traits = LOGS, .prepare = clean_page_0,
     .threads = { writes, moves, harvests }, .check = nothing_is_lost)
PLAN(write_remove, .prepare = written_page_0, .threads = { writes_if_there, removes_slot })
PLAN(fault_remove, .threads = { writes_if_there, removes_slot })
PLAN(write_start_log, .prepare = written_page_0, .threads = { writes_twice, starts_log },
     .check = nothing_is_lost)

const struct explore_scenario explore_guest_table_scenarios[] = {
	{ "walked-fault-move", "L1 L5", "a guest's table: a page is mapped while its frame changes",
	  fault_move, 3, false },
	{ "walked-first-fault-move", "L1 L9", "... where there are no tables yet", first_fault_move,
	  2, false },
	{ "walked-fault-move-by-hva", "L1 G1", "... told by HVA", fault_move_by_hva, 2, false },
	{ "walked-fault-move-nonblocking", "L1 W3", "... by who may not sleep",
	  fault_move_nonblocking, 2, false },
	{ "walked-again-move", "L5 L6", "... a page that processors remember", again_move, 2,
	  false },
	{ "walked-old-move", "L12 L23", "... an old page, aged meanwhile", old_move, 2, false },
	{ "walked-two-faults-move", "L1", "... by two vCPUs", two_faults_move, 1, false },
	{ "walked-unrelated-move", "L11", "another page changes: the fault is not held",
	  unrelated_move, 2, false },
	{ "walked-large-move", "L17 L11", "... which a large leaf would have", large_move, 1,
	  false },
	{ "walked-populate-move", "L1 L24", "a page moves while it is populated", populate_move, 2,
	  false },
	{ "walked-write-harvest", "W6", "a clean page is written and harvested", write_harvest, 3,
	  false },
	{ "walked-written-harvest", "W6", "... one that processors may write already",
	  written_harvest, 3, false },
	{ "walked-two-write-harvest", "W6 L7", "... by two vCPUs", two_write_harvest, 2, false },
	{ "walked-write-move-harvest", "W6 L1", "... and moved", write_move_harvest, 1, false },
	{ "walked-write-remove", "L3", "the slot of a written page goes", write_remove, 2, false },
	{ "walked-fault-remove", "L1", "... of a page that is about to be mapped", fault_remove, 2,
	  false },
	{ "walked-write-start-log", "L8 L18", "a page is written while the log starts",
	  write_start_log, 2, false },
	{ .name = NULL },
};
