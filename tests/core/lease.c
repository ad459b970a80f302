/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Leases, one step after the other. Rule W7. */
#include <guestmm/lease.h>

#include "model.h"

#define PAGE ((uint64_t)MODEL_PAGE_BYTES)
#define HOST_WRITE (GMM_CACHE_HOST | GMM_CACHE_WRITE)

static struct gmm_cache *make_cache(struct model *model, uint64_t gpa, uint64_t length,
				    uint32_t uses)
{
	struct gmm_cache *cache;

	if (gmm_cache_create(model->guest, &cache))
		gmm_bail("no cache");
	gmm_equal(gmm_cache_activate(cache, gpa, length, uses), 0);
	return cache;
}

static uint64_t *take(struct gmm_cache *cache, uint64_t offset, uint64_t length, uint32_t flags)
{
	void *pointer = NULL;

	gmm_equal(gmm_lease_take(cache, offset, length, flags, &pointer), 0);
	return pointer;
}

static int try_take(struct gmm_cache *cache, uint64_t offset, uint64_t length, uint32_t flags)
{
	void *pointer;

	return gmm_lease_take(cache, offset, length, flags, &pointer);
}

static uint64_t harvest(struct model *model)
{
	uint64_t bits = 0;

	gmm_ok(gmm_dirty_harvest(model->guest, 0, 0, MODEL_PAGES, &bits) >= 0);
	return bits;
}

static void move_without_waiting(struct model *model, uint32_t page)
{
	struct gmm_range range = model_frames(page, 1);
	struct gmm_invalidate_result result;

	gmm_equal(gmm_invalidate_begin(model->guest, GMM_RANGE_GFN, &range, 1,
				       GMM_INVALIDATE_NONBLOCKING, &result),
		  0);
	gmm_equal(result.leased, 1);
	model_move_page(model, page);
	gmm_invalidate_end(model->guest, GMM_RANGE_GFN, &range, 1);
}

/* A change that found the pages as they were. */
static void change_nothing(struct model *model, uint32_t page)
{
	struct gmm_range range = model_frames(page, 1);

	gmm_equal(gmm_invalidate_begin(model->guest, GMM_RANGE_GFN, &range, 1,
				       GMM_INVALIDATE_NONBLOCKING, NULL),
		  0);
	gmm_invalidate_end(model->guest, GMM_RANGE_GFN, &range, 1);
}

static void a_lease_gives_the_pointer_outside_sections(void)
{
	struct gmm_guest_counters counters;
	struct gmm_cache *cache;
	struct model model;
	uint64_t *words;

	model_init(&model, 0);
	cache = make_cache(&model, 3 * PAGE + 16, 2 * PAGE, GMM_CACHE_HOST);
	words = take(cache, PAGE, 24, 0);
	gmm_ok(words == model_page(&model, 4) + 2);
	gmm_ok(take(cache, 0, 2 * PAGE, 0) == model_page(&model, 3) + 2);
	gmm_equal(gmm_lease_count(cache), 2);
	gmm_equal(words[0], model_word(4));
	gmm_lease_drop(cache, PAGE, 0);
	gmm_equal(gmm_lease_count(cache), 1);
	gmm_lease_drop(cache, 0, 0);
	gmm_equal(gmm_lease_count(cache), 0);
	gmm_guest_read_counters(model.guest, &counters);
	gmm_equal(counters.leases, 2);
	gmm_equal(gmm_cache_destroy(cache), 0);
	model_fini(&model);
}

static void a_lease_that_is_refused_counts_nothing(void)
{
	struct gmm_cache *cache, *guest_only, *inactive;
	struct gmm_reader *reader;
	struct model model;

	model_init(&model, 0);
	gmm_must(!gmm_reader_register(model.guest, &reader));
	cache = make_cache(&model, 3 * PAGE, PAGE, GMM_CACHE_HOST);
	guest_only = make_cache(&model, 3 * PAGE, PAGE, GMM_CACHE_GUEST);
	gmm_must(!gmm_cache_create(model.guest, &inactive));
	gmm_equal(try_take(cache, 0, 0, 0), -GMM_EINVAL);
	gmm_equal(try_take(cache, 0, 8, 4), -GMM_EINVAL);
	gmm_equal(try_take(cache, 8, PAGE, 0), -GMM_ERANGE);
	gmm_equal(try_take(cache, PAGE + 1, 1, 0), -GMM_ERANGE);
	gmm_equal(try_take(cache, 8, ~(uint64_t)0, 0), -GMM_ERANGE);
	gmm_equal(try_take(cache, 0, 8, GMM_LEASE_WRITE), -GMM_EROFS);
	gmm_equal(try_take(guest_only, 0, 8, 0), -GMM_EINVAL);
	gmm_equal(try_take(inactive, 0, 8, 0), -GMM_EINVAL);
	gmm_section_enter(reader);
	gmm_equal(try_take(cache, 0, 8, 0), -GMM_EDEADLK);
	gmm_section_exit(reader);
	gmm_equal(gmm_lease_count(cache) + gmm_lease_count(guest_only) + gmm_lease_count(inactive),
		  0);
	gmm_equal(gmm_cache_destroy(inactive), 0);
	gmm_equal(gmm_cache_destroy(guest_only), 0);
	gmm_equal(gmm_cache_destroy(cache), 0);
	gmm_reader_unregister(reader);
	model_fini(&model);
}

static void a_lease_makes_its_pages_resident(void)
{
	struct gmm_cache *cache;
	struct model model;

	model_init(&model, MODEL_LAZY);
	cache = make_cache(&model, 3 * PAGE, 2 * PAGE, HOST_WRITE);
	gmm_equal(gmm_evict(model.guest, 3, 2, 0), 2);
	gmm_equal(take(cache, PAGE, 8, GMM_LEASE_WRITE)[0], model_word(4));
	gmm_equal(gmm_resident_pages(model.guest), 2);
	gmm_lease_drop(cache, PAGE, 0);
	gmm_equal(gmm_cache_destroy(cache), 0);
	model_fini(&model);
}

static void what_was_written_is_dirty_at_the_drop(void)
{
	struct gmm_cache *cache;
	struct model model;

	model_init(&model, MODEL_LOG_DIRTY);
	cache = make_cache(&model, 3 * PAGE + 8, 3 * PAGE, HOST_WRITE);
	take(cache, 0, 3 * PAGE, GMM_LEASE_WRITE)[0] = 1;
	gmm_equal(harvest(&model), 0);
	gmm_lease_drop(cache, PAGE - 9, 2);
	gmm_equal(harvest(&model), 3u << 3);
	take(cache, 0, 8, GMM_LEASE_WRITE);
	gmm_lease_drop(cache, 0, 0);
	gmm_equal(harvest(&model), 0);
	take(cache, 0, 3 * PAGE, GMM_LEASE_WRITE);
	gmm_lease_drop(cache, 0, 3 * PAGE);
	gmm_equal(harvest(&model), 15u << 3);
	gmm_equal(gmm_cache_destroy(cache), 0);
	model_fini(&model);
}

/* An area over two slots: each has its own log. By HVA there is none. */
static void each_page_is_marked_in_its_own_slot(void)
{
	struct gmm_slot_config first, second;
	struct gmm_cache *cache, *by_hva;
	struct model model;
	uint64_t bits[2];

	model_init(&model, MODEL_NO_SLOT);
	first = model_slot(&model, 0, 0, 0, 4);
	second = model_slot(&model, 1, 4, 4, 4);
	first.flags = second.flags = GMM_SLOT_LOG_DIRTY;
	first.hva = 0; /* an address that could be taken for a GPA */
	gmm_equal(gmm_slot_add(model.guest, &first), 0);
	gmm_equal(gmm_slot_add(model.guest, &second), 0);
	cache = make_cache(&model, 2 * PAGE, 4 * PAGE, HOST_WRITE);
	take(cache, 0, 4 * PAGE, GMM_LEASE_WRITE);
	gmm_lease_drop(cache, PAGE, 2 * PAGE);
	gmm_equal(gmm_dirty_harvest(model.guest, 0, 0, 4, &bits[0]), 1);
	gmm_equal(gmm_dirty_harvest(model.guest, 1, 0, 4, &bits[1]), 1);
	gmm_equal(bits[0], 1u << 3);
	gmm_equal(bits[1], 1u << 0);
	gmm_must(!gmm_cache_create(model.guest, &by_hva));
	gmm_equal(gmm_cache_activate_hva(by_hva, PAGE, 8, HOST_WRITE), 0);
	take(by_hva, 0, 8, GMM_LEASE_WRITE);
	gmm_lease_drop(by_hva, 0, 8);
	gmm_equal(gmm_dirty_harvest(model.guest, 0, 0, 4, &bits[0]), 0);
	gmm_equal(gmm_cache_destroy(by_hva), 0);
	gmm_equal(gmm_cache_destroy(cache), 0);
	gmm_equal(gmm_slot_remove(model.guest, 1), 0);
	model_fini(&model);
}

static void ask_nobody(void *opaque, struct gmm_cache *cache)
{
}

static void a_leased_cache_is_not_taken_away(void)
{
	struct gmm_cache *cache;
	struct model model;
	uint64_t *word;

	model_init(&model, 0);
	cache = make_cache(&model, 3 * PAGE, 8, HOST_WRITE);
	word = take(cache, 0, 8, 0);
	gmm_equal(gmm_cache_deactivate(cache), -GMM_EBUSY);
	gmm_equal(gmm_cache_destroy(cache), -GMM_EBUSY);
	gmm_equal(gmm_cache_drop(cache), -GMM_EBUSY);
	gmm_equal(gmm_cache_activate(cache, 5 * PAGE, 8, HOST_WRITE), -GMM_EBUSY);
	gmm_equal(gmm_cache_activate(cache, 3 * PAGE + 8, 8, HOST_WRITE), -GMM_EBUSY);
	gmm_equal(gmm_cache_activate_hva(cache, MODEL_HVA, 8, HOST_WRITE), -GMM_EBUSY);
	gmm_equal(gmm_lease_set_ask(cache, ask_nobody, NULL), -GMM_EBUSY);
	gmm_equal(gmm_cache_refresh(cache), 0);
	gmm_equal(model.memory.calls[MODEL_RESOLVE], 1);
	gmm_equal(model.memory.calls[MODEL_UNMAP], 0);
	gmm_ok(take(cache, 0, 8, 0) == word);
	gmm_lease_drop(cache, 0, 0);
	gmm_equal(gmm_cache_drop(cache), -GMM_EBUSY);
	gmm_lease_drop(cache, 0, 0);
	gmm_equal(gmm_cache_drop(cache), 0);
	gmm_equal(gmm_cache_activate(cache, 5 * PAGE, 8, HOST_WRITE), 0);
	gmm_equal(gmm_cache_deactivate(cache), 0);
	gmm_equal(gmm_lease_set_ask(cache, ask_nobody, NULL), 0);
	gmm_equal(gmm_cache_destroy(cache), 0);
	model_fini(&model);
}

static void check_passed_over(bool by_hva)
{
	struct gmm_guest_counters counters;
	struct gmm_cache *cache;
	struct model model;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	gmm_equal(gmm_fault_populate(model.guest, 0, MODEL_PAGES, GMM_ACCESS_WRITE, 0), 0);
	gmm_must(!gmm_cache_create(model.guest, &cache));
	gmm_equal(by_hva ? gmm_cache_activate_hva(cache, MODEL_HVA + 4 * PAGE, PAGE + 8,
						  HOST_WRITE) :
			   gmm_cache_activate(cache, 4 * PAGE, PAGE + 8, HOST_WRITE),
		  0);
	take(cache, 0, 8, 0)[0] = 44;
	gmm_equal(gmm_evict(model.guest, 0, MODEL_PAGES, 0), MODEL_PAGES - 2);
	gmm_equal(gmm_resident_pages(model.guest), 2);
	gmm_ok(gmm_resident_trim(model.guest, 0) == 0);
	gmm_equal(*model_page(&model, 4), 44);
	gmm_guest_read_counters(model.guest, &counters);
	gmm_ok(counters.lease_passed >= 4);
	gmm_equal(counters.lease_asks + counters.lease_waits, 0);
	gmm_lease_drop(cache, 0, 8);
	gmm_equal(gmm_resident_trim(model.guest, 0), 2);
	gmm_equal(take(cache, 0, 8, 0)[0], 44);
	gmm_lease_drop(cache, 0, 0);
	gmm_equal(gmm_cache_destroy(cache), 0);
	model_fini(&model);
}

static void a_leased_page_is_not_evicted(void)
{
	check_passed_over(false);
	check_passed_over(true);
}

static uint64_t young_of(struct model *model, uint32_t flags)
{
	uint64_t bits = ~(uint64_t)0;
	int64_t young = gmm_age(model->guest, 0, MODEL_PAGES, flags, &bits);

	gmm_equal(young, __builtin_popcountll(bits));
	gmm_equal(gmm_age(model->guest, 0, MODEL_PAGES, GMM_AGE_TEST_ONLY, NULL) >= 0, 1);
	return bits;
}

static void check_young(uint32_t traits)
{
	struct gmm_cache *cache;
	struct model model;

	model_init(&model, traits);
	cache = make_cache(&model, 4 * PAGE, 2 * PAGE, GMM_CACHE_HOST);
	young_of(&model, 0);
	gmm_equal(young_of(&model, 0), 0);
	take(cache, 0, 8, 0);
	gmm_equal(young_of(&model, 0), 3u << 4);
	gmm_equal(gmm_fault_serve(model.guest, 5, GMM_ACCESS_READ), 0);
	gmm_equal(gmm_fault_serve(model.guest, 7, GMM_ACCESS_READ), 0);
	gmm_equal(young_of(&model, GMM_AGE_TEST_ONLY), 0xb0);
	gmm_equal(young_of(&model, 0), 0xb0);
	gmm_equal(young_of(&model, 0), 3u << 4);
	gmm_lease_drop(cache, 0, 0);
	gmm_equal(young_of(&model, 0), 0);
	gmm_equal(gmm_cache_destroy(cache), 0);
	model_fini(&model);
}

static void a_leased_page_is_young(void)
{
	check_young(0);
	check_young(MODEL_LAZY | MODEL_OWNER);
}

static void count_lines(void *opaque, enum gmm_log_level level, const char *text)
{
	if (level == GMM_LOG_WARNING)
		(*(uint32_t *)opaque)++;
}

/* The frames are the same afterwards: the lease goes on, and others may be taken. */
static void a_change_that_does_not_wait_counts_the_lease_and_warns_once(void)
{
	uint32_t lines = 0;
	struct gmm_guest_config config = { .log = count_lines, .log_opaque = &lines };
	struct gmm_guest_counters counters;
	struct gmm_cache *cache;
	struct model model;
	uint64_t *word;

	model_init_config(&model, 0, config);
	cache = make_cache(&model, 3 * PAGE, 8, HOST_WRITE);
	word = take(cache, 0, 8, 0);
	change_nothing(&model, 3);
	change_nothing(&model, 3);
	gmm_guest_read_counters(model.guest, &counters);
	gmm_equal(counters.nonblocking_leased, 2);
	gmm_equal(lines, 1);
	gmm_ok(take(cache, 0, 8, GMM_LEASE_NO_WAIT) == word);
	gmm_equal(gmm_lease_count(cache), 2);
	gmm_equal(model.memory.calls[MODEL_MAP], 1);
	gmm_equal(model.memory.calls[MODEL_UNMAP], 0);
	gmm_lease_drop(cache, 0, 0);
	gmm_lease_drop(cache, 0, 0);
	gmm_equal(gmm_cache_destroy(cache), 0);
	model_fini(&model);
}

/* The frames are others: the mapping stays for the lease, and no new lease gets the old one. */
static void a_refresh_does_not_replace_a_leased_mapping(void)
{
	struct gmm_cache *cache;
	struct model model;
	uint64_t *word;

	model_init(&model, 0);
	cache = make_cache(&model, 3 * PAGE, 8, HOST_WRITE);
	word = take(cache, 0, 8, 0);
	move_without_waiting(&model, 3);
	gmm_equal(try_take(cache, 0, 8, GMM_LEASE_NO_WAIT), -GMM_EAGAIN);
	gmm_equal(try_take(cache, 0, 8, GMM_LEASE_NO_WAIT), -GMM_EAGAIN);
	gmm_equal(model.memory.calls[MODEL_UNMAP], 0);
	gmm_equal(*word, MODEL_POISON);
	/* Back where it was: the mapping would do, but which frames it shows is not known now. */
	move_without_waiting(&model, 3);
	gmm_equal(try_take(cache, 0, 8, GMM_LEASE_NO_WAIT), -GMM_EAGAIN);
	gmm_equal(gmm_cache_deactivate(cache), -GMM_EBUSY);
	gmm_lease_drop(cache, 0, 0);
	gmm_equal(take(cache, 0, 8, GMM_LEASE_NO_WAIT)[0], model_word(3));
	gmm_equal(model.memory.calls[MODEL_UNMAP], 1);
	gmm_lease_drop(cache, 0, 0);
	gmm_equal(gmm_cache_destroy(cache), 0);
	model_fini(&model);
}

/* P13: whatever fails, what is leased stays mapped, and the next refresh starts from nothing. */
static void check_failure_keeps_mapping(enum model_op op)
{
	struct gmm_cache *cache;
	struct model model;
	uint64_t *word;

	model_init(&model, 0);
	cache = make_cache(&model, 3 * PAGE, 8, HOST_WRITE);
	word = take(cache, 0, 8, 0);
	change_nothing(&model, 3);
	model.memory.fail_at[op] = model.memory.calls[op] + 1;
	model.memory.fail_with = -GMM_EIO;
	gmm_equal(try_take(cache, 0, 8, GMM_LEASE_NO_WAIT), op == MODEL_MAP ? 0 : -GMM_EIO);
	gmm_equal(model.memory.calls[MODEL_UNMAP], 0);
	gmm_equal(model.memory.mappings[model.memory.frame_of[3]], 1);
	gmm_equal(*word, model_word(3));
	if (op == MODEL_MAP)
		gmm_lease_drop(cache, 0, 0);
	gmm_lease_drop(cache, 0, 0);
	model.memory.fail_at[op] = 0;
	gmm_ok(take(cache, 0, 8, 0) == word);
	gmm_lease_drop(cache, 0, 0);
	gmm_equal(gmm_cache_destroy(cache), 0);
	model_fini(&model);
}

static void a_refresh_that_fails_keeps_a_leased_mapping(void)
{
	check_failure_keeps_mapping(MODEL_RESOLVE);
	check_failure_keeps_mapping(MODEL_MAP);
}

/* An active cache without frames, over a slot without tables: the lease has all to allocate. */
static struct gmm_cache *make_empty_cache(struct model *model)
{
	struct gmm_slot_config slot = model_slot(model, 0, 0, 0, MODEL_PAGES);
	struct gmm_cache *cache;

	if (gmm_cache_create(model->guest, &cache))
		gmm_bail("no cache");
	gmm_port_alloc_fail_at(1);
	gmm_equal(gmm_cache_activate(cache, 3 * PAGE, 5 * PAGE, HOST_WRITE), -GMM_ENOMEM);
	gmm_port_alloc_fail_at(0);
	gmm_equal(gmm_slot_add(model->guest, &slot), 0);
	return cache;
}

static void a_lease_without_memory_counts_nothing(void)
{
	struct gmm_cache *cache;
	struct model model;
	bool failed = true;
	uint32_t n;
	int error;

	for (n = 1; failed; n++) {
		model_init(&model, MODEL_LAZY | MODEL_NO_SLOT);
		cache = make_empty_cache(&model);
		gmm_port_alloc_fail_at(n);
		error = try_take(cache, 0, 8, GMM_LEASE_WRITE);
		failed = gmm_port_alloc_failed();
		gmm_port_alloc_fail_at(0);
		gmm_equal(error, failed ? -GMM_ENOMEM : 0);
		gmm_equal(gmm_lease_count(cache), !failed);
		if (failed)
			take(cache, 0, 8, GMM_LEASE_WRITE);
		gmm_lease_drop(cache, 0, 8);
		gmm_equal(gmm_cache_destroy(cache), 0);
		model_fini(&model);
	}
	gmm_ok(n > 3, "%u allocations", n);
}

/* A thread that changes something sleeps for nobody's lease. */
static void who_changes_something_does_not_wait_for_a_lease(void)
{
	struct gmm_range range = model_frames(9, 1);
	struct gmm_cache *cache;
	struct model model;

	model_init(&model, 0);
	cache = make_cache(&model, 3 * PAGE, 8, HOST_WRITE);
	take(cache, 0, 8, 0);
	move_without_waiting(&model, 3);
	gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &range, 1, 0, NULL), 0);
	gmm_equal(gmm_cache_refresh(cache), -GMM_EDEADLK);
	gmm_equal(try_take(cache, 0, 8, 0), -GMM_EDEADLK);
	gmm_lease_drop(cache, 0, 0);
	gmm_equal(gmm_cache_refresh(cache), 0);
	gmm_invalidate_end(model.guest, GMM_RANGE_GFN, &range, 1);
	gmm_equal(gmm_cache_destroy(cache), 0);
	model_fini(&model);
}

struct holder {
	uint32_t asked;
	uint32_t drops; /* leases that it drops when asked */
};

static void drop_when_asked(void *opaque, struct gmm_cache *cache)
{
	struct holder *holder = opaque;

	holder->asked++;
	for (; holder->drops; holder->drops--)
		gmm_lease_drop(cache, 0, 8);
}

/* On this thread, so a holder may begin a change over what it has leased. */
static void a_change_asks_and_goes_on_when_all_is_dropped(void)
{
	struct holder holder = { .drops = 3 };
	struct gmm_range range = model_frames(2, 3);
	struct gmm_invalidate_result result;
	struct gmm_guest_counters counters;
	struct gmm_cache *cache;
	struct model model;

	model_init(&model, MODEL_LOG_DIRTY);
	gmm_must(!gmm_cache_create(model.guest, &cache));
	gmm_equal(gmm_lease_set_ask(cache, drop_when_asked, &holder), 0);
	gmm_equal(gmm_cache_activate(cache, 3 * PAGE, 8, HOST_WRITE), 0);
	take(cache, 0, 8, GMM_LEASE_WRITE);
	take(cache, 0, 8, GMM_LEASE_WRITE);
	take(cache, 0, 8, GMM_LEASE_WRITE);
	gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &range, 1, 0, &result), 0);
	gmm_equal(result.leased, 1);
	gmm_equal(holder.asked, 1);
	gmm_equal(gmm_lease_count(cache), 0);
	gmm_equal(try_take(cache, 0, 8, GMM_LEASE_NO_WAIT), -GMM_EAGAIN);
	gmm_invalidate_end(model.guest, GMM_RANGE_GFN, &range, 1);
	gmm_equal(harvest(&model), 1u << 3);
	/* The next lease is asked for again. */
	holder.drops = 1;
	take(cache, 0, 8, 0);
	gmm_equal(gmm_slot_move(model.guest, 0, 32), 0);
	gmm_equal(holder.asked, 2);
	gmm_guest_read_counters(model.guest, &counters);
	gmm_equal(counters.lease_asks, 2);
	gmm_equal(counters.lease_waits, 2);
	gmm_equal(gmm_cache_destroy(cache), 0);
	model_fini(&model);
}

#define CASE(name)          \
	{                   \
#name, name \
	}
const struct gmm_test_case gmm_test_cases[] = {
	CASE(a_lease_gives_the_pointer_outside_sections),
	CASE(a_lease_that_is_refused_counts_nothing),
	CASE(a_lease_makes_its_pages_resident),
	CASE(what_was_written_is_dirty_at_the_drop),
	CASE(each_page_is_marked_in_its_own_slot),
	CASE(a_leased_cache_is_not_taken_away),
	CASE(a_leased_page_is_not_evicted),
	CASE(a_leased_page_is_young),
	CASE(a_change_that_does_not_wait_counts_the_lease_and_warns_once),
	CASE(a_refresh_does_not_replace_a_leased_mapping),
	CASE(a_refresh_that_fails_keeps_a_leased_mapping),
	CASE(a_lease_without_memory_counts_nothing),
	CASE(who_changes_something_does_not_wait_for_a_lease),
	CASE(a_change_asks_and_goes_on_when_all_is_dropped),
	{ NULL, NULL },
};
