/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Leases against whoever changes what is leased. Rule W7. */
#include <guestmm/lease.h>

#include "vcpu_user.h"

#define PAGE ((uint64_t)MODEL_PAGE_BYTES)
#define HOST_WRITE (GMM_CACHE_HOST | GMM_CACHE_WRITE)

/* Page 3 is leased; `call` goes on beside it. */
struct bench {
	struct model model;
	struct gmm_cache *cache;
	struct race call, other;
	struct gmm_gate gate;
	uint64_t *word;
	uint32_t asked; /* atomic */
};

static void note_ask(void *opaque, struct gmm_cache *cache)
{
	gmm_fetch_add((uint32_t *)opaque, 1u);
}

static uint64_t *take(struct gmm_cache *cache)
{
	void *pointer = NULL;

	gmm_equal(gmm_lease_take(cache, 0, 8, 0, &pointer), 0);
	return pointer;
}

static int try_take(struct gmm_cache *cache)
{
	void *pointer;

	return gmm_lease_take(cache, 0, 8, GMM_LEASE_NO_WAIT, &pointer);
}

static void start(struct bench *bench, uint32_t traits, bool by_hva)
{
	*bench = (struct bench){ 0 };
	model_init(&bench->model, traits);
	if (gmm_cache_create(bench->model.guest, &bench->cache))
		gmm_bail("no cache");
	gmm_equal(gmm_lease_set_ask(bench->cache, note_ask, &bench->asked), 0);
	gmm_equal(by_hva ? gmm_cache_activate_hva(bench->cache, MODEL_HVA + 3 * PAGE, 8,
						  HOST_WRITE) :
			   gmm_cache_activate(bench->cache, 3 * PAGE, 8, HOST_WRITE),
		  0);
	bench->word = take(bench->cache);
	bench->call = (struct race){ .model = &bench->model, .cache = bench->cache, .first = 3 };
	bench->other = bench->call;
	gmm_gate_init(&bench->gate, GMM_GATE_NEVER);
}

static void finish(struct bench *bench)
{
	gmm_equal(gmm_cache_destroy(bench->cache), 0);
	model_fini(&bench->model);
}

static void check_asked(struct bench *bench, uint32_t times)
{
	gmm_equal(gmm_load_acquire(&bench->asked), times);
}

/* Returns when the call sleeps for leases, or is about to. */
static void start_and_wait_asleep(struct bench *bench, int (*call)(struct race *race))
{
	gmm_test_hold_step(GMM_STEP_LEASE_WAIT, &bench->gate);
	race_start(&bench->call, call);
	gmm_ok(!race_done_or_at(&bench->call, &bench->gate), "it did not wait for the lease");
	race_give_way(&bench->call);
	gmm_ok(!race_is_done(&bench->call));
}

/* Until the last of two leases, dropped by another thread than took them. */
static void check_change_waits(int (*call)(struct race *race), bool by_hva)
{
	struct bench bench;

	start(&bench, 0, by_hva);
	take(bench.cache);
	start_and_wait_asleep(&bench, call);
	gmm_equal(gmm_load_relaxed(bench.word), model_word(3));
	check_asked(&bench, 1);
	gmm_equal(try_take(bench.cache), -GMM_EAGAIN);
	gmm_lease_drop(bench.cache, 0, 0);
	race_give_way(&bench.call);
	gmm_ok(!race_is_done(&bench.call));
	gmm_equal(gmm_load_relaxed(bench.word), model_word(3));
	gmm_lease_drop(bench.cache, 0, 0);
	gmm_equal(race_join(&bench.call), 0);
	gmm_test_unhold_steps();
	check_asked(&bench, 1);
	gmm_equal(*take(bench.cache), model_word(3));
	gmm_lease_drop(bench.cache, 0, 0);
	finish(&bench);
}

static void a_change_waits_for_the_last_lease(void)
{
	check_change_waits(race_move_page, false);
	check_change_waits(race_move_page_by_hva, false);
	check_change_waits(race_move_page, true);
	check_change_waits(race_move_page_by_hva, true);
}

static int slot_remove(struct race *race)
{
	return gmm_slot_remove(race->model->guest, 0);
}

static int slot_move(struct race *race)
{
	return gmm_slot_move(race->model->guest, 0, 40);
}

static int slot_shrink(struct race *race)
{
	return gmm_slot_resize(race->model->guest, 0, 2);
}

static int slot_log(struct race *race)
{
	return gmm_slot_set_flags(race->model->guest, 0, GMM_SLOT_LOG_DIRTY);
}

static int discard(struct race *race)
{
	return gmm_discard(race->model->guest, 2, 3);
}

static void changes_of_slots_and_discards_wait_for_leases(void)
{
	static int (*const calls[])(struct race * race) = { slot_remove, slot_move, slot_shrink,
							    slot_log, discard };
	struct bench bench;
	uint32_t i;

	for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		start(&bench, MODEL_LAZY | MODEL_OWNER, false);
		start_and_wait_asleep(&bench, calls[i]);
		gmm_equal(gmm_load_relaxed(bench.word), model_word(3));
		gmm_equal(bench.model.memory.calls[MODEL_UNMAP], 0);
		gmm_lease_drop(bench.cache, 0, 8);
		gmm_equal(race_join(&bench.call), 0);
		gmm_test_unhold_steps();
		check_asked(&bench, 1);
		finish(&bench);
	}
}

/* What a slot's log loses when it goes on into another: nothing that a lease wrote before. */
static void a_log_that_goes_on_keeps_what_a_lease_marked(void)
{
	struct bench bench;
	uint64_t bits;

	start(&bench, MODEL_LOG_DIRTY, false);
	start_and_wait_asleep(&bench, slot_shrink);
	gmm_lease_drop(bench.cache, 0, 8);
	gmm_equal(race_join(&bench.call), 0);
	gmm_test_unhold_steps();
	gmm_equal(gmm_slot_resize(bench.model.guest, 0, 4), 0);
	gmm_equal(gmm_dirty_harvest(bench.model.guest, 0, 0, 4, &bits), 0);
	finish(&bench);
	start(&bench, MODEL_LOG_DIRTY, false);
	start_and_wait_asleep(&bench, race_move_page);
	gmm_lease_drop(bench.cache, 0, 8);
	gmm_equal(race_join(&bench.call), 0);
	gmm_test_unhold_steps();
	gmm_equal(gmm_dirty_harvest(bench.model.guest, 0, 0, 4, &bits), 1);
	gmm_equal(bits, 1u << 3);
	finish(&bench);
}

/* Two changes wait for one lease: its holder is asked once. */
static void two_changes_ask_once(void)
{
	struct bench bench;

	start(&bench, 0, false);
	gmm_test_hold_step(GMM_STEP_LEASE_WAIT, &bench.gate);
	race_start(&bench.call, race_move_page);
	race_start(&bench.other, race_move_page);
	while (gmm_gate_callers(&bench.gate) < 2 || !gmm_load_acquire(&bench.asked))
		gmm_cpu_relax(0);
	check_asked(&bench, 1);
	gmm_lease_drop(bench.cache, 0, 0);
	gmm_equal(race_join(&bench.call), 0);
	gmm_equal(race_join(&bench.other), 0);
	gmm_test_unhold_steps();
	check_asked(&bench, 1);
	finish(&bench);
}

static int take_waiting(struct race *race)
{
	void *pointer = NULL;
	int error = gmm_lease_take(race->cache, 0, 8, 0, &pointer);

	race->second = error ? 0 : gmm_load_relaxed((uint64_t *)pointer);
	return error;
}

/* From its begin to its end, also while it waits itself. */
static void no_lease_is_taken_during_a_change(void)
{
	static const enum gmm_step_point points[] = { GMM_STEP_INVALIDATE_REGISTERED,
						      GMM_STEP_INVALIDATE_CHANGING,
						      GMM_STEP_INVALIDATE_END };
	struct bench bench;
	uint32_t i;

	for (i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		start(&bench, 0, false);
		gmm_gate_init(&bench.gate, 1);
		gmm_test_hold_step(points[i], &bench.gate);
		if (points[i] != GMM_STEP_INVALIDATE_REGISTERED)
			gmm_lease_drop(bench.cache, 0, 0);
		race_start(&bench.call, race_move_page);
		gmm_gate_wait_held(&bench.gate);
		gmm_equal(try_take(bench.cache), -GMM_EAGAIN);
		race_start(&bench.other, take_waiting);
		race_give_way(&bench.other);
		gmm_ok(!race_is_done(&bench.other));
		if (points[i] == GMM_STEP_INVALIDATE_REGISTERED)
			gmm_lease_drop(bench.cache, 0, 0);
		gmm_gate_open(&bench.gate);
		gmm_equal(race_join(&bench.call), 0);
		gmm_equal(race_join(&bench.other), 0);
		gmm_test_unhold_steps();
		gmm_equal(bench.other.second, model_word(3));
		gmm_lease_drop(bench.cache, 0, 0);
		finish(&bench);
	}
}

static int evict_all(struct race *race)
{
	return (int)gmm_evict(race->model->guest, 0, MODEL_PAGES, 0);
}

/* The eviction has chosen the page already: it chooses again. */
static void a_lease_taken_before_the_eviction_begins_is_passed_over(void)
{
	struct bench bench;

	start(&bench, MODEL_LAZY | MODEL_OWNER, false);
	gmm_lease_drop(bench.cache, 0, 0);
	gmm_equal(gmm_fault_populate(bench.model.guest, 2, 3, GMM_ACCESS_WRITE, 0), 0);
	gmm_gate_init(&bench.gate, 1);
	gmm_test_hold_step(GMM_STEP_EVICT_PICKED, &bench.gate);
	race_start(&bench.call, evict_all);
	gmm_gate_wait_held(&bench.gate);
	bench.word = take(bench.cache);
	gmm_store_relaxed(bench.word, (uint64_t)33);
	gmm_gate_open(&bench.gate);
	gmm_equal(race_join(&bench.call), 2);
	gmm_test_unhold_steps();
	gmm_equal(gmm_load_relaxed(bench.word), 33);
	check_asked(&bench, 0);
	gmm_lease_drop(bench.cache, 0, 8);
	gmm_equal(evict_all(&bench.call), 1);
	gmm_equal(*take(bench.cache), 33);
	gmm_lease_drop(bench.cache, 0, 0);
	finish(&bench);
}

static int guest_write(struct race *race)
{
	return model_guest_write(race->model, 3, race->second) ? 0 : -GMM_EIO;
}

/*
 * The I/O itself may stand in a fault (one mapping for all), and so may a vCPU: while leases are
 * waited for, faults of the range are served.
 */
static void faults_go_on_while_a_change_waits_for_leases(void)
{
	static int (*const calls[])(struct race * race) = { race_move_page, slot_move, discard };
	struct bench bench;
	uint32_t i;

	for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		start(&bench, MODEL_LAZY | MODEL_OWNER, false);
		start_and_wait_asleep(&bench, calls[i]);
		bench.other.second = 77;
		race_start(&bench.other, guest_write);
		gmm_equal(race_join(&bench.other), 0);
		gmm_equal(gmm_load_relaxed(bench.word), 77);
		gmm_lease_drop(bench.cache, 0, 8);
		gmm_equal(race_join(&bench.call), 0);
		gmm_test_unhold_steps();
		finish(&bench);
	}
}

/* A harvest does not wait: the mark that follows it makes the page dirty again. */
static void a_harvest_beside_a_lease_finds_the_page_again(void)
{
	struct bench bench;
	uint64_t bits;

	start(&bench, MODEL_LAZY | MODEL_OWNER | MODEL_LOG_DIRTY, false);
	gmm_dirty_mark(bench.model.guest, 3, 1);
	gmm_store_relaxed(bench.word, (uint64_t)5);
	gmm_equal(gmm_dirty_harvest(bench.model.guest, 0, 0, MODEL_PAGES, &bits), 1);
	gmm_lease_drop(bench.cache, 0, 8);
	gmm_equal(gmm_dirty_harvest(bench.model.guest, 0, 0, MODEL_PAGES, &bits), 1);
	gmm_equal(bits, 1u << 3);
	check_asked(&bench, 0);
	finish(&bench);
}

static void move_without_waiting(struct bench *bench)
{
	struct gmm_range range = model_frames(3, 1);

	gmm_equal(gmm_invalidate_begin(bench->model.guest, GMM_RANGE_GFN, &range, 1,
				       GMM_INVALIDATE_NONBLOCKING, NULL),
		  0);
	model_move_page(&bench->model, 3);
	gmm_invalidate_end(bench->model.guest, GMM_RANGE_GFN, &range, 1);
}

/* The frame has gone under the lease: who needs the new one asks for it, and waits. */
static void a_refresh_waits_for_the_lease_on_a_frame_that_went(void)
{
	struct bench bench;

	start(&bench, 0, false);
	move_without_waiting(&bench);
	start_and_wait_asleep(&bench, race_refresh);
	check_asked(&bench, 1);
	gmm_equal(bench.model.memory.calls[MODEL_UNMAP], 0);
	gmm_lease_drop(bench.cache, 0, 0);
	gmm_equal(race_join(&bench.call), 0);
	gmm_test_unhold_steps();
	gmm_equal(*take(bench.cache), model_word(3));
	gmm_lease_drop(bench.cache, 0, 0);
	finish(&bench);
}

static struct vcpu_user *entering; /* of the one case that runs */

static int enter(struct race *race)
{
	return gmm_vcpu_enter(entering->vcpu);
}

static void a_vcpu_waits_for_the_lease_on_a_frame_that_went(void)
{
	struct vcpu_user user;
	struct bench bench;

	start(&bench, 0, false);
	gmm_lease_drop(bench.cache, 0, 0);
	gmm_equal(gmm_cache_activate(bench.cache, 3 * PAGE, PAGE, HOST_WRITE | GMM_CACHE_GUEST), 0);
	vcpu_user_create(&user, &bench.model, 0);
	gmm_equal(gmm_cache_vcpu_add(bench.cache, user.vcpu), 0);
	bench.word = take(bench.cache);
	move_without_waiting(&bench);
	entering = &user;
	start_and_wait_asleep(&bench, enter);
	check_asked(&bench, 1);
	gmm_lease_drop(bench.cache, 0, 0);
	gmm_equal(race_join(&bench.call), 0);
	gmm_test_unhold_steps();
	gmm_equal(vcpu_user_read(&user, &bench.model, bench.cache), model_word(3));
	gmm_vcpu_exit(user.vcpu);
	gmm_equal(gmm_cache_vcpu_remove(bench.cache, user.vcpu), 0);
	vcpu_user_destroy(&user);
	finish(&bench);
}

/* All at once: I/O by leases that end on another thread, changes, evictions, harvests. */
#define SCENE_PAGES 4u
#define IN_FLIGHT 3u

struct io {
	struct gmm_cache *cache;
	uint64_t *word;
	uint32_t page;
	uint32_t state; /* atomic: 0 free, 1 in flight */
	uint64_t value;
};

struct scene {
	struct model model;
	struct gmm_cache *caches[SCENE_PAGES];
	struct io io[IN_FLIGHT];
	uint64_t value[SCENE_PAGES]; /* stored last; of the completing thread */
	uint64_t copy[SCENE_PAGES];  /* as of the last harvest; of the harvesting thread */
	uint32_t submitted;
	uint32_t ended; /* atomic */
	uint32_t turns;
};

static void submit(void *arg)
{
	struct scene *scene = arg;
	uint64_t random = gmm_test_seed() * 1000;
	uint32_t turn, i;

	for (turn = 0; turn < scene->turns; turn++) {
		uint32_t page = (uint32_t)(gmm_test_random(&random) % SCENE_PAGES);
		struct io *io = &scene->io[turn % IN_FLIGHT];
		void *pointer = NULL;

		for (i = 0; gmm_load_acquire(&io->state); i++)
			gmm_cpu_relax(i);
		gmm_equal(gmm_lease_take(scene->caches[page], 0, 8, GMM_LEASE_WRITE, &pointer), 0);
		io->cache = scene->caches[page];
		io->word = pointer;
		io->page = page;
		io->value = 0x100 + turn;
		gmm_store_release(&io->state, 1u);
	}
	for (turn = 0; turn < IN_FLIGHT; turn++)
		for (i = 0; gmm_load_acquire(&scene->io[turn].state); i++)
			gmm_cpu_relax(i);
	gmm_store_release(&scene->ended, 1u);
}

/* The device: what was stored last is still there, then it stores something else. */
static void complete(void *arg)
{
	struct scene *scene = arg;
	uint32_t turn = 0, idle = 0;

	while (!gmm_load_acquire(&scene->ended)) {
		struct io *io = &scene->io[turn % IN_FLIGHT];

		if (!gmm_load_acquire(&io->state)) {
			gmm_cpu_relax(idle++);
			turn++;
			continue;
		}
		gmm_equal(gmm_load_relaxed(io->word), scene->value[io->page]);
		scene->value[io->page] = io->value;
		gmm_store_relaxed(io->word, io->value);
		gmm_lease_drop(io->cache, 0, 8);
		gmm_store_release(&io->state, 0u);
	}
}

static void change(void *arg)
{
	struct scene *scene = arg;
	uint64_t random = gmm_test_seed() * 1000 + 1;
	uint32_t turn;

	for (turn = 0; turn < scene->turns; turn++) {
		struct race race = { .model = &scene->model,
				     .first = gmm_test_random(&random) % SCENE_PAGES };

		if (gmm_test_random(&random) % 2)
			gmm_equal(race_move_page(&race), 0);
		else
			gmm_equal(race_move_page_by_hva(&race), 0);
	}
}

static void evict(void *arg)
{
	struct scene *scene = arg;
	uint32_t turn;

	for (turn = 0; turn < scene->turns; turn++)
		gmm_ok(gmm_evict(scene->model.guest, 0, SCENE_PAGES, 0) >= 0);
}

static void copy_dirty(struct scene *scene)
{
	uint64_t words[MODEL_PAGE_BYTES / 8];
	uint64_t bits = 0;
	uint32_t page;

	gmm_ok(gmm_dirty_harvest(scene->model.guest, 0, 0, SCENE_PAGES, &bits) >= 0);
	for (page = 0; page < SCENE_PAGES; page++) {
		if (!((bits >> page) & 1))
			continue;
		gmm_equal(gmm_page_read(scene->model.guest, page, words), 0);
		scene->copy[page] = words[0];
	}
}

static void harvest(void *arg)
{
	struct scene *scene = arg;
	uint32_t turn;

	for (turn = 0; turn < scene->turns; turn++)
		copy_dirty(scene);
}

static void check_scene(uint32_t traits, void (*other)(void *arg))
{
	void (*const mains[])(void *arg) = { submit, complete, harvest, other };
	struct gmm_test_thread threads[4];
	struct scene scene = { .turns = gmm_test_turns(6) };
	uint32_t i;

	model_init(&scene.model, traits | MODEL_LOG_DIRTY);
	for (i = 0; i < SCENE_PAGES; i++) {
		scene.value[i] = scene.copy[i] = model_word(i);
		if (gmm_cache_create(scene.model.guest, &scene.caches[i]))
			gmm_bail("no cache");
		gmm_equal(gmm_cache_activate(scene.caches[i], i * PAGE, 8, HOST_WRITE), 0);
	}
	for (i = 0; i < 4; i++)
		gmm_test_thread_start(&threads[i], mains[i], &scene);
	for (i = 0; i < 4; i++)
		gmm_test_thread_join(&threads[i]);
	copy_dirty(&scene);
	for (i = 0; i < SCENE_PAGES; i++) {
		gmm_equal(scene.copy[i], scene.value[i]);
		gmm_equal(gmm_cache_destroy(scene.caches[i]), 0);
	}
	model_fini(&scene.model);
}

static void io_by_leases_loses_nothing_while_pages_move(void)
{
	check_scene(0, change);
}

static void io_by_leases_loses_nothing_beside_evictions(void)
{
	check_scene(MODEL_LAZY | MODEL_OWNER, evict);
}

#define CASE(name)          \
	{                   \
#name, name \
	}

const struct gmm_test_case gmm_test_cases[] = {
	CASE(a_change_waits_for_the_last_lease),
	CASE(changes_of_slots_and_discards_wait_for_leases),
	CASE(a_log_that_goes_on_keeps_what_a_lease_marked),
	CASE(two_changes_ask_once),
	CASE(no_lease_is_taken_during_a_change),
	CASE(a_lease_taken_before_the_eviction_begins_is_passed_over),
	CASE(faults_go_on_while_a_change_waits_for_leases),
	CASE(a_harvest_beside_a_lease_finds_the_page_again),
	CASE(a_refresh_waits_for_the_lease_on_a_frame_that_went),
	CASE(a_vcpu_waits_for_the_lease_on_a_frame_that_went),
	CASE(io_by_leases_loses_nothing_while_pages_move),
	CASE(io_by_leases_loses_nothing_beside_evictions),
	{ NULL, NULL },
};
