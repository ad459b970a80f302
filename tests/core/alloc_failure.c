/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Each allocation of each call fails once: the call says so and has changed nothing, it succeeds
 * when it is made again, and nothing is left when all is gone.
 */
#include "model.h"

#define PAGE ((uint64_t)MODEL_PAGE_BYTES)
#define FAILURES_MAX 40u
#define READERS 20u

struct scene {
	struct model model;
	struct gmm_guest *guest;
	struct gmm_cache *cache, *made;
	struct gmm_reader *readers[READERS];
	struct gmm_vcpu *vcpu, *other;
	struct gmm_slot_config before;
};

/* What the call needs, the call, and what it made. The model has slot 0 of MODEL_PAGES pages. */
struct attempt {
	const char *name;
	uint32_t traits;
	void (*prepare)(struct scene *scene);
	int64_t (*call)(struct scene *scene);
	void (*undo)(struct scene *scene);
};

static void kick_nobody(void *opaque, uint32_t id)
{
}

static int64_t add_direct_slot(struct scene *scene)
{
	/* Parts of two chunks at the ends, whole ones between, in another table of the directory. */
	struct gmm_slot_config config = model_slot(&scene->model, 1, (1u << 18) - 700, 0, 1900);

	config.pointer = (void *)(uintptr_t)0x100000000000ull;
	config.flags = GMM_SLOT_LOG_DIRTY;
	return gmm_slot_add(scene->guest, &config);
}

static int64_t add_lazy_slot(struct scene *scene)
{
	struct gmm_slot_config config = model_slot(&scene->model, 1, 100, 0, 4);

	config.flags = GMM_SLOT_LOG_DIRTY | GMM_SLOT_LOG_ALL_SET;
	return gmm_slot_add(scene->guest, &config);
}

static void remove_slot(struct scene *scene)
{
	gmm_equal(gmm_slot_remove(scene->guest, 1), 0);
}

static void fill_some(struct scene *scene)
{
	gmm_equal(gmm_fault_populate(scene->guest, 2, 5, GMM_ACCESS_WRITE, 0), 0);
}

static int64_t move_slot(struct scene *scene)
{
	return gmm_slot_move(scene->guest, 0, (1u << 18) - 5);
}

static int64_t grow_slot(struct scene *scene)
{
	return gmm_slot_resize(scene->guest, 0, 600);
}

static int64_t start_log(struct scene *scene)
{
	return gmm_slot_set_flags(scene->guest, 0, GMM_SLOT_LOG_DIRTY);
}

static int64_t register_readers(struct scene *scene)
{
	uint32_t i;

	for (i = 0; i < READERS; i++) {
		int error = gmm_reader_register(scene->guest, &scene->readers[i]);

		if (!error)
			continue;
		while (i--)
			gmm_reader_unregister(scene->readers[i]);
		return error;
	}
	return 0;
}

static void unregister_readers(struct scene *scene)
{
	uint32_t i;

	for (i = 0; i < READERS; i++)
		gmm_reader_unregister(scene->readers[i]);
}

static int64_t create_cache(struct scene *scene)
{
	return gmm_cache_create(scene->guest, &scene->made);
}

static void destroy_cache(struct scene *scene)
{
	gmm_equal(gmm_cache_destroy(scene->made), 0);
}

static int64_t activate_cache(struct scene *scene)
{
	return gmm_cache_activate(scene->cache, 2 * PAGE, 9 * PAGE, GMM_CACHE_HOST);
}

static int64_t create_vcpu(struct scene *scene)
{
	return gmm_vcpu_create(scene->guest, 2, kick_nobody, NULL, &scene->other);
}

static void destroy_vcpu(struct scene *scene)
{
	gmm_equal(gmm_vcpu_destroy(scene->other), 0);
}

static int64_t create_ring(struct scene *scene)
{
	return gmm_dirty_ring_create(scene->vcpu, GMM_DIRTY_RING_MIN);
}

static int64_t add_vcpu(struct scene *scene)
{
	return gmm_cache_vcpu_add(scene->cache, scene->vcpu);
}

static void remove_vcpu(struct scene *scene)
{
	gmm_equal(gmm_cache_vcpu_remove(scene->cache, scene->vcpu), 0);
}

static int64_t fault(struct scene *scene)
{
	return gmm_fault_serve(scene->guest, 3, GMM_ACCESS_WRITE);
}

static int64_t populate(struct scene *scene)
{
	return gmm_fault_populate(scene->guest, 2, 7, GMM_ACCESS_WRITE, GMM_POPULATE_MAP);
}

static int64_t evict(struct scene *scene)
{
	int64_t answer = gmm_evict(scene->guest, 0, MODEL_PAGES, 0);

	return answer > 0 ? 0 : answer;
}

static int64_t discard(struct scene *scene)
{
	return gmm_discard(scene->guest, 1, 3);
}

static int64_t age(struct scene *scene)
{
	int64_t answer = gmm_age(scene->guest, 0, MODEL_PAGES, 0, NULL);

	return answer > 0 ? 0 : answer;
}

static int64_t harvest(struct scene *scene)
{
	uint64_t bits;
	int64_t answer = gmm_dirty_harvest(scene->guest, 0, 0, MODEL_PAGES, &bits);

	return answer > 0 ? 0 : answer;
}

static int64_t read_page(struct scene *scene)
{
	uint64_t page[MODEL_PAGE_BYTES / 8];

	return gmm_page_read(scene->guest, 3, page);
}

static int64_t trim(struct scene *scene)
{
	int64_t answer = gmm_resident_trim(scene->guest, 0);

	return answer > 0 ? 0 : answer;
}

static int64_t change_range(struct scene *scene)
{
	struct gmm_range range = model_frames(0, MODEL_PAGES);
	int error = gmm_invalidate_begin(scene->guest, GMM_RANGE_GFN, &range, 1, 0, NULL);

	if (!error)
		gmm_invalidate_end(scene->guest, GMM_RANGE_GFN, &range, 1);
	return error;
}

#define LAZY (MODEL_LAZY | MODEL_OWNER)
#define LOGGED (LAZY | MODEL_LOG_DIRTY)

static const struct attempt attempts[] = {
	{ "add a direct slot", 0, NULL, add_direct_slot, remove_slot },
	{ "add a lazy slot", LAZY, NULL, add_lazy_slot, remove_slot },
	{ "move a direct slot", MODEL_LOG_DIRTY, NULL, move_slot, NULL },
	{ "move a lazy slot", LOGGED, fill_some, move_slot, NULL },
	{ "grow a slot", MODEL_LOG_DIRTY, NULL, grow_slot, NULL },
	{ "start a log", LAZY, fill_some, start_log, NULL },
	{ "register readers", 0, NULL, register_readers, unregister_readers },
	{ "create a cache", 0, NULL, create_cache, destroy_cache },
	{ "activate a cache", 0, NULL, activate_cache, NULL },
	{ "activate a cache of lazy memory", LAZY, NULL, activate_cache, NULL },
	{ "create a vCPU", 0, NULL, create_vcpu, destroy_vcpu },
	{ "create a ring", LOGGED, NULL, create_ring, NULL },
	{ "add a vCPU to a cache", 0, NULL, add_vcpu, remove_vcpu },
	{ "fault on lazy memory", LOGGED, NULL, fault, NULL },
	{ "fault on resident memory", MODEL_OWNER | MODEL_LOG_DIRTY, NULL, fault, NULL },
	{ "populate", LOGGED, NULL, populate, NULL },
	{ "evict", LOGGED, fill_some, evict, NULL },
	{ "discard", LOGGED, NULL, discard, NULL },
	{ "age", LAZY, fill_some, age, NULL },
	{ "harvest", LOGGED, fill_some, harvest, NULL },
	{ "read a page", LAZY, NULL, read_page, NULL },
	{ "trim", LAZY, fill_some, trim, NULL },
	{ "change a range", LAZY, fill_some, change_range, NULL },
};

static void start(struct scene *scene, const struct attempt *attempt)
{
	*scene = (struct scene){ 0 };
	model_init(&scene->model, attempt->traits);
	scene->guest = scene->model.guest;
	if (gmm_cache_create(scene->guest, &scene->cache) ||
	    gmm_vcpu_create(scene->guest, 1, kick_nobody, NULL, &scene->vcpu))
		gmm_bail("no cache or vCPU");
	if (attempt->prepare)
		attempt->prepare(scene);
	gmm_equal(gmm_slot_get(scene->guest, 0, &scene->before), 0);
}

static void finish(struct scene *scene)
{
	gmm_equal(gmm_cache_destroy(scene->cache), 0);
	gmm_equal(gmm_vcpu_destroy(scene->vcpu), 0);
	model_fini(&scene->model);
}

static void check_unchanged(struct scene *scene, const struct attempt *attempt, uint64_t resident)
{
	struct gmm_slot_config now;

	gmm_equal(gmm_slot_count(scene->guest), 1);
	gmm_equal(gmm_slot_get(scene->guest, 0, &now), 0);
	gmm_ok(!gmm_memcmp(&now, &scene->before, sizeof(now)), "%s", attempt->name);
	gmm_equal(gmm_resident_pages(scene->guest), resident);
}

/* The nth allocation of the call fails. Returns false when the call has not so many. */
static bool try_nth(const struct attempt *attempt, uint64_t nth)
{
	uint64_t live = gmm_port_alloc_live(), resident;
	struct scene scene;
	int64_t answer;
	bool failed;

	start(&scene, attempt);
	resident = gmm_resident_pages(scene.guest);
	gmm_port_alloc_fail_at(nth);
	answer = attempt->call(&scene);
	failed = gmm_port_alloc_failed();
	gmm_port_alloc_fail_at(0);
	gmm_ok(answer == (failed ? -GMM_ENOMEM : 0), "%s: %d at allocation %u", attempt->name,
	       (int)answer, (unsigned int)nth);
	if (failed) {
		check_unchanged(&scene, attempt, resident);
		gmm_ok(!attempt->call(&scene), "%s: made again", attempt->name);
	}
	if (attempt->undo)
		attempt->undo(&scene);
	finish(&scene);
	gmm_ok(gmm_port_alloc_live() == live, "%s: something is left", attempt->name);
	return failed;
}

static void a_call_without_memory_changes_nothing(void)
{
	uint64_t i, nth;

	for (i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++) {
		for (nth = 1; try_nth(&attempts[i], nth); nth++)
			gmm_must(nth < FAILURES_MAX);
	}
}

static void no_guest_is_made_without_memory(void)
{
	struct gmm_guest_config config = { .max_vcpus = 4 };
	uint64_t live = gmm_port_alloc_live(), nth;
	struct gmm_guest *guest;
	int error;

	for (nth = 1; nth < FAILURES_MAX; nth++) {
		gmm_port_alloc_fail_at(nth);
		error = gmm_guest_create(&config, &guest);
		if (!gmm_port_alloc_failed())
			break;
		gmm_equal(error, -GMM_ENOMEM);
		gmm_equal(gmm_port_alloc_live(), live);
	}
	gmm_port_alloc_fail_at(0);
	gmm_ok(nth > 3);
	gmm_must(!error);
	gmm_equal(gmm_guest_destroy(guest), 0);
	gmm_equal(gmm_port_alloc_live(), live);
}

/* A cache that cannot get what a larger target needs has that target, and is refreshed later. */
static void a_cache_without_memory_is_refreshed_later(void)
{
	struct gmm_reader *reader;
	struct gmm_cache *cache;
	struct model model;
	uint64_t word = 0;

	model_init(&model, 0);
	gmm_must(!gmm_reader_register(model.guest, &reader));
	gmm_must(!gmm_cache_create(model.guest, &cache));
	gmm_equal(gmm_cache_activate(cache, 3 * PAGE, 8, GMM_CACHE_HOST), 0);
	gmm_port_alloc_fail_at(1);
	gmm_equal(gmm_cache_activate(cache, 5 * PAGE, 4 * PAGE, GMM_CACHE_HOST), -GMM_ENOMEM);
	gmm_port_alloc_fail_at(0);
	gmm_section_enter(reader);
	gmm_ok(!gmm_cache_pointer(cache, 0, 8));
	gmm_equal(gmm_cache_pfn(cache, 0), GMM_PFN_NONE);
	gmm_section_exit(reader);
	gmm_equal(model.memory.mappings[3], 0);
	gmm_equal(model_cache_read(cache, reader, 3 * PAGE, &word), 0);
	gmm_equal(word, model_word(8));
	gmm_equal(gmm_cache_destroy(cache), 0);
	gmm_reader_unregister(reader);
	model_fini(&model);
}

const struct gmm_test_case gmm_test_cases[] = {
	{ "a_call_without_memory_changes_nothing", a_call_without_memory_changes_nothing },
	{ "no_guest_is_made_without_memory", no_guest_is_made_without_memory },
	{ "a_cache_without_memory_is_refreshed_later", a_cache_without_memory_is_refreshed_later },
	{ NULL, NULL },
};
