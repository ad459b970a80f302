/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Changes of slots on one thread: what is refused changes nothing, what is done is done wholly. */
#include "model.h"

#define PAGE ((uint64_t)MODEL_PAGE_BYTES)
#define FRAMES 40u /* looked at */
#define IDS 4u

/* All that can be seen of the slots. */
struct picture {
	uint32_t count;
	int errors[IDS];
	struct gmm_slot_config slots[IDS];
	void *readable[FRAMES];
	void *writable[FRAMES];
	struct gmm_slot_info told;
	uint64_t allocated;
};

struct bench {
	struct model model;
	struct gmm_reader *reader;
	struct picture before, after;
};

static void start(struct bench *bench, uint32_t traits)
{
	model_init(&bench->model, traits | MODEL_NO_SLOT);
	if (gmm_reader_register(bench->model.guest, &bench->reader))
		gmm_bail("no reader");
}

static void finish(struct bench *bench)
{
	uint32_t id;

	for (id = 1; id < IDS; id++)
		gmm_slot_remove(bench->model.guest, id);
	gmm_reader_unregister(bench->reader);
	model_fini(&bench->model);
}

static void take_picture(struct bench *bench, struct picture *picture)
{
	struct gmm_guest *guest = bench->model.guest;
	uint32_t i;

	gmm_memset(picture, 0, sizeof(*picture));
	picture->count = gmm_slot_count(guest);
	for (i = 0; i < IDS; i++)
		picture->errors[i] = gmm_slot_get(guest, i, &picture->slots[i]);
	gmm_section_enter(bench->reader);
	for (i = 0; i < FRAMES; i++) {
		picture->readable[i] = gmm_slot_pointer(guest, i * PAGE, 8, GMM_ACCESS_READ);
		picture->writable[i] =
			gmm_slot_pointer(guest, i * PAGE, 8, GMM_ACCESS_READ | GMM_ACCESS_WRITE);
	}
	gmm_section_exit(bench->reader);
	picture->told = bench->model.slot_now;
	picture->allocated = gmm_port_alloc_live();
}

static void check_unchanged(struct bench *bench, const char *what)
{
	take_picture(bench, &bench->after);
	gmm_ok(!gmm_memcmp(&bench->before, &bench->after, sizeof(bench->before)), "after %s", what);
}

#define refused(bench, call, error)                       \
	do {                                              \
		gmm_equal(call, -(error));                \
		check_unchanged(bench, "refused " #call); \
	} while (0)

static struct gmm_slot_config at(struct bench *bench, uint32_t id, gmm_gfn_t gfn, uint64_t page,
				 uint64_t count)
{
	return model_slot(&bench->model, id, gfn, page, count);
}

static int add(struct bench *bench, struct gmm_slot_config config)
{
	return gmm_slot_add(bench->model.guest, &config);
}

static void a_bad_argument_is_refused_and_changes_nothing(void)
{
	struct gmm_memory_ops ops;
	struct gmm_slot_config good, bad;
	struct bench bench;

	start(&bench, MODEL_OWNER);
	gmm_equal(add(&bench, at(&bench, 0, 10, 0, 4)), 0);
	good = at(&bench, 1, 20, 4, 4);
	ops = *good.memory_ops;
	take_picture(&bench, &bench.before);
#define refused_with(member, value, error)                \
	do {                                              \
		bad = good;                               \
		bad.member = value;                       \
		refused(&bench, add(&bench, bad), error); \
	} while (0)
	refused_with(id, GMM_SLOTS_MAX, GMM_EINVAL);
	refused_with(count, 0, GMM_EINVAL);
	refused_with(hva, good.hva + 8, GMM_EINVAL);
	refused_with(pointer, (uint8_t *)good.pointer + 8, GMM_EINVAL);
	refused_with(flags, 8, GMM_EINVAL);
	refused_with(flags, GMM_SLOT_READ_ONLY | GMM_SLOT_LOG_DIRTY, GMM_EINVAL);
	refused_with(flags, GMM_SLOT_LOG_ALL_SET, GMM_EINVAL);
	refused_with(memory_ops, NULL, GMM_EINVAL);
	refused_with(gfn, (uint64_t)1 << (GMM_GPA_BITS_DEFAULT - 12), GMM_ERANGE);
	refused_with(gfn, ((uint64_t)1 << (GMM_GPA_BITS_DEFAULT - 12)) - 3, GMM_ERANGE);
	refused_with(gfn, ~(uint64_t)0 - 1, GMM_ERANGE);
	refused_with(count, ~(uint64_t)0, GMM_ERANGE);
	refused_with(hva, 0 - 3 * PAGE, GMM_ERANGE);
	refused_with(memory_page, ~(uint64_t)0 - 2, GMM_ERANGE);
	refused_with(pointer, (void *)(uintptr_t)(0 - 3 * PAGE), GMM_ERANGE);
	bad = good;
	bad.memory_ops = &ops;
	ops.version++;
	refused(&bench, add(&bench, bad), GMM_EINVAL);
	ops.version--;
	ops.put = NULL;
	refused(&bench, add(&bench, bad), GMM_EINVAL);
	ops = *good.memory_ops;
	ops.flags = GMM_MEMORY_LAZY;
	refused(&bench, add(&bench, bad), GMM_EINVAL);
	ops.flags = GMM_MEMORY_EVICTABLE;
	refused(&bench, add(&bench, bad), GMM_EINVAL);
	ops = *good.memory_ops;
	ops.flags |= GMM_MEMORY_LAZY | GMM_MEMORY_HOST_ONLY;
	refused(&bench, add(&bench, bad), GMM_EINVAL);
	ops.flags = GMM_MEMORY_BY_FILE;
	refused(&bench, add(&bench, bad), GMM_EINVAL);
	gmm_equal(add(&bench, good), 0);
	finish(&bench);
}

static void what_is_taken_is_refused_and_changes_nothing(void)
{
	struct gmm_guest *guest;
	struct bench bench;

	start(&bench, MODEL_OWNER);
	guest = bench.model.guest;
	gmm_equal(add(&bench, at(&bench, 0, 10, 0, 4)), 0);
	gmm_equal(add(&bench, at(&bench, 1, 20, 4, 4)), 0);
	take_picture(&bench, &bench.before);
	refused(&bench, add(&bench, at(&bench, 1, 30, 8, 1)), GMM_EEXIST);
	refused(&bench, add(&bench, at(&bench, 2, 10, 8, 4)), GMM_EEXIST);
	refused(&bench, add(&bench, at(&bench, 2, 13, 8, 1)), GMM_EEXIST);
	refused(&bench, add(&bench, at(&bench, 2, 9, 8, 2)), GMM_EEXIST);
	refused(&bench, add(&bench, at(&bench, 2, 5, 0, 16)), GMM_EEXIST);
	refused(&bench, add(&bench, at(&bench, 2, 14, 0, 7)), GMM_EEXIST);
	refused(&bench, gmm_slot_remove(guest, 2), GMM_ENOENT);
	refused(&bench, gmm_slot_remove(guest, GMM_SLOTS_MAX), GMM_ENOENT);
	refused(&bench, gmm_slot_move(guest, 2, 30), GMM_ENOENT);
	refused(&bench, gmm_slot_move(guest, 0, 17), GMM_EEXIST);
	refused(&bench, gmm_slot_move(guest, 0, (uint64_t)1 << 28), GMM_ERANGE);
	refused(&bench, gmm_slot_move(guest, 0, ~(uint64_t)0), GMM_ERANGE);
	refused(&bench, gmm_slot_resize(guest, 2, 1), GMM_ENOENT);
	refused(&bench, gmm_slot_resize(guest, 0, 0), GMM_EINVAL);
	refused(&bench, gmm_slot_resize(guest, 0, 11), GMM_EEXIST);
	refused(&bench, gmm_slot_resize(guest, 1, ~(uint64_t)0), GMM_ERANGE);
	refused(&bench, gmm_slot_set_flags(guest, 2, 0), GMM_ENOENT);
	refused(&bench, gmm_slot_set_flags(guest, 0, 8), GMM_EINVAL);
	refused(&bench, gmm_slot_set_flags(guest, 0, GMM_SLOT_READ_ONLY | GMM_SLOT_LOG_DIRTY),
		GMM_EINVAL);
	gmm_equal(gmm_guest_destroy(guest), -GMM_EBUSY);
	check_unchanged(&bench, "destroying a guest that is in use");
	/* Changes that change nothing. */
	gmm_equal(gmm_slot_move(guest, 0, 10), 0);
	gmm_equal(gmm_slot_resize(guest, 0, 4), 0);
	gmm_equal(gmm_slot_set_flags(guest, 0, 0), 0);
	check_unchanged(&bench, "a change to what it is");
	/* Side by side is not taken. */
	gmm_equal(add(&bench, at(&bench, 2, 14, 8, 6)), 0);
	finish(&bench);
}

static void what_the_owner_refuses_is_undone(void)
{
	struct gmm_page_info info;
	struct gmm_reader *reader;
	struct gmm_cache *cache;
	struct gmm_guest *guest;
	struct bench bench;
	uint64_t bits = 0, word = 0;
	uint32_t lazy;

	for (lazy = 0; lazy < 2; lazy++) {
		start(&bench, MODEL_OWNER | (lazy ? MODEL_LAZY : 0));
		guest = bench.model.guest;
		reader = bench.reader;
		gmm_equal(add(&bench, at(&bench, 0, 0, 0, 4)), 0);
		gmm_equal(gmm_slot_set_flags(guest, 0, GMM_SLOT_LOG_DIRTY), 0);
		gmm_must(!gmm_cache_create(guest, &cache));
		gmm_equal(gmm_cache_activate(cache, 2 * PAGE, 8, GMM_CACHE_HOST | GMM_CACHE_WRITE),
			  0);
		gmm_equal(model_cache_write(cache, reader, 0, 77), 0);
		/* Tables that a change needs may be made, and stay. */
		gmm_equal(gmm_slot_move(guest, 0, 20), 0);
		gmm_equal(gmm_slot_move(guest, 0, 0), 0);
		take_picture(&bench, &bench.before);
		bench.model.slot_change_fails = -GMM_EIO;
		refused(&bench, add(&bench, at(&bench, 1, 20, 4, 4)), GMM_EIO);
		refused(&bench, gmm_slot_remove(guest, 0), GMM_EIO);
		refused(&bench, gmm_slot_move(guest, 0, 20), GMM_EIO);
		refused(&bench, gmm_slot_move(guest, 0, 2), GMM_EIO);
		refused(&bench, gmm_slot_resize(guest, 0, 2), GMM_EIO);
		refused(&bench, gmm_slot_resize(guest, 0, 8), GMM_EIO);
		refused(&bench, gmm_slot_set_flags(guest, 0, 0), GMM_EIO);
		bench.model.slot_change_fails = 0;
		gmm_equal(gmm_page_query(guest, 2, &info), 0);
		gmm_ok(!lazy || info.state == GMM_PAGE_PRESENT);
		gmm_equal(gmm_resident_pages(guest), lazy);
		gmm_equal(model_cache_read(cache, reader, 0, &word), 0);
		gmm_equal(word, 77);
		gmm_equal(gmm_dirty_harvest(guest, 0, 0, 4, &bits), 1);
		gmm_equal(bits, 4);
		gmm_equal(gmm_cache_destroy(cache), 0);
		finish(&bench);
	}
}

static void the_owner_is_told_every_change(void)
{
	struct gmm_slot_info *told;
	struct gmm_guest *guest;
	struct bench bench;

	start(&bench, MODEL_OWNER);
	guest = bench.model.guest;
	told = &bench.model.slot_now;
	gmm_equal(add(&bench, at(&bench, 3, 10, 2, 4)), 0);
	gmm_ok(told->id == 3 && told->gfn == 10 && told->count == 4 && !told->flags);
	gmm_equal(told->hva, MODEL_HVA + 2 * PAGE);
	gmm_ok(told->memory == &bench.model.memory);
	gmm_equal(gmm_slot_move(guest, 3, 12), 0);
	gmm_ok(told->id == 3 && told->gfn == 12 && told->count == 4);
	gmm_equal(gmm_slot_resize(guest, 3, 6), 0);
	gmm_ok(told->id == 3 && told->gfn == 12 && told->count == 6);
	gmm_equal(gmm_slot_set_flags(guest, 3, GMM_SLOT_LOG_DIRTY), 0);
	gmm_ok(told->id == 3 && told->flags == GMM_SLOT_LOG_DIRTY);
	gmm_equal(gmm_slot_remove(guest, 3), 0);
	gmm_ok(told->id == 3 && !told->count);
	finish(&bench);
}

/* Contents, states and dirty bits go with the slot, also over itself. */
static void check_move(struct bench *bench, gmm_gfn_t from, gmm_gfn_t to)
{
	struct gmm_guest *guest = bench->model.guest;
	struct gmm_page_info info;
	uint64_t bits = 0;
	uint32_t i;

	gmm_equal(gmm_fault_serve(guest, from + 1, GMM_ACCESS_WRITE), 0);
	gmm_equal(gmm_evict(guest, from + 2, 1, 0), 1);
	gmm_equal(gmm_slot_move(guest, 0, to), 0);
	for (i = 0; i < FRAMES; i++)
		gmm_equal(gmm_page_query(guest, i, &info), i >= to && i < to + 6 ? 0 : -GMM_EFAULT);
	gmm_equal(gmm_page_query(guest, to + 1, &info), 0);
	gmm_ok(info.state == GMM_PAGE_PRESENT && info.pfn == 1);
	gmm_equal(gmm_page_query(guest, to + 2, &info), 0);
	gmm_equal(info.state, GMM_PAGE_EVICTED);
	gmm_equal(gmm_page_query(guest, to + 3, &info), 0);
	gmm_equal(info.state, GMM_PAGE_ABSENT);
	gmm_ok(gmm_dirty_harvest(guest, 0, 0, 6, &bits) >= 1);
	gmm_ok(bits & 2);
	gmm_equal(gmm_fault_serve(guest, to + 2, GMM_ACCESS_WRITE), 0);
}

static void a_moved_slot_takes_everything_along(void)
{
	struct gmm_slot_config config;
	struct bench bench;

	start(&bench, MODEL_LAZY | MODEL_OWNER);
	config = at(&bench, 0, 10, 0, 6);
	config.flags = GMM_SLOT_LOG_DIRTY;
	gmm_equal(add(&bench, config), 0);
	gmm_equal(gmm_fault_serve(bench.model.guest, 12, GMM_ACCESS_WRITE), 0);
	check_move(&bench, 10, 12);
	check_move(&bench, 12, 7);
	check_move(&bench, 7, 30);
	check_move(&bench, 30, 0);
	gmm_equal(gmm_resident_pages(bench.model.guest), 2);
	finish(&bench);
}

static void a_resized_slot_forgets_what_is_cut_off(void)
{
	struct gmm_page_info info;
	struct gmm_guest *guest;
	struct bench bench;
	uint64_t bits = 0;

	start(&bench, MODEL_LAZY | MODEL_OWNER);
	guest = bench.model.guest;
	gmm_equal(add(&bench, at(&bench, 0, 10, 0, 8)), 0);
	gmm_equal(gmm_slot_set_flags(guest, 0, GMM_SLOT_LOG_DIRTY), 0);
	gmm_equal(gmm_fault_serve(guest, 11, GMM_ACCESS_WRITE), 0);
	gmm_equal(gmm_fault_serve(guest, 15, GMM_ACCESS_WRITE), 0);
	gmm_equal(gmm_resident_pages(guest), 2);
	gmm_equal(gmm_slot_resize(guest, 0, 4), 0);
	gmm_equal(gmm_resident_pages(guest), 1);
	gmm_equal(gmm_page_query(guest, 15, &info), -GMM_EFAULT);
	bench.model.memory.resident[5] = false;
	gmm_equal(gmm_dirty_harvest(guest, 0, 0, 8, &bits), -GMM_ERANGE);
	gmm_equal(gmm_slot_resize(guest, 0, 7), 0);
	gmm_equal(gmm_page_query(guest, 15, &info), 0);
	gmm_equal(info.state, GMM_PAGE_ABSENT);
	/* The log of what stayed is kept. */
	gmm_equal(gmm_dirty_harvest(guest, 0, 0, 7, &bits), 1);
	gmm_equal(bits, 2);
	gmm_equal(gmm_slot_remove(guest, 0), 0);
	gmm_equal(gmm_resident_pages(guest), 0);
	finish(&bench);
}

static void pages_of_a_removed_slot_are_forgotten(void)
{
	struct gmm_page_info info;
	struct gmm_guest *guest;
	struct bench bench;

	start(&bench, MODEL_LAZY | MODEL_OWNER);
	guest = bench.model.guest;
	gmm_equal(add(&bench, at(&bench, 0, 10, 0, 4)), 0);
	gmm_equal(gmm_fault_serve(guest, 11, GMM_ACCESS_WRITE), 0);
	gmm_equal(gmm_slot_remove(guest, 0), 0);
	gmm_equal(gmm_fault_serve(guest, 11, GMM_ACCESS_WRITE), -GMM_EFAULT);
	bench.model.memory.resident[1] = false;
	gmm_equal(add(&bench, at(&bench, 1, 10, 0, 4)), 0);
	gmm_equal(gmm_page_query(guest, 11, &info), 0);
	gmm_ok(info.state == GMM_PAGE_ABSENT && !info.mapped);
	finish(&bench);
}

static void expect_served(struct bench *bench, uint32_t page)
{
	gmm_equal(bench->model.written_answer, 0);
	gmm_ok(bench->model.writable[page], "page %u is not mapped", page);
	bench->model.written_answer = -1;
}

static void expect_written(struct bench *bench, gmm_gfn_t gfn)
{
	struct gmm_page_info info;

	gmm_equal(gmm_page_query(bench->model.guest, gfn, &info), 0);
	gmm_ok(info.writable && info.dirty, "frame %llu", (unsigned long long)gfn);
}

/*
 * KVM waits for vCPUs that stand in a fault, also in one on what is just being added, or at the old
 * and new place of what moves: all are served while it is told.
 */
static void faults_are_served_while_the_owner_is_told(void)
{
	struct gmm_slot_config config;
	struct gmm_guest *guest;
	struct bench bench;
	uint64_t bits = 0;

	start(&bench, MODEL_LAZY | MODEL_OWNER);
	guest = bench.model.guest;
	config = at(&bench, 0, 10, 0, 4);
	config.flags = GMM_SLOT_LOG_DIRTY;
	bench.model.written_meanwhile = MODEL_HVA + 2 * PAGE;
	gmm_equal(add(&bench, config), 0);
	expect_served(&bench, 2);
	expect_written(&bench, 12);
	bench.model.written_meanwhile = MODEL_HVA + 6 * PAGE;
	gmm_equal(gmm_slot_resize(guest, 0, 8), 0);
	expect_served(&bench, 6);
	expect_written(&bench, 16);
	/* Overlapping: at the new frames of the slot its old ones still are others. */
	bench.model.written_meanwhile = MODEL_HVA + 3 * PAGE;
	gmm_equal(gmm_slot_move(guest, 0, 12), 0);
	expect_served(&bench, 3);
	expect_written(&bench, 15);
	bench.model.written_meanwhile = MODEL_HVA + 1 * PAGE;
	gmm_equal(gmm_slot_resize(guest, 0, 7), 0);
	expect_served(&bench, 1);
	bench.model.written_meanwhile = 0;
	gmm_equal(gmm_dirty_harvest(guest, 0, 0, 7, &bits), 4);
	gmm_equal(bits, 1u << 1 | 1u << 2 | 1u << 3 | 1u << 6);
	gmm_equal(gmm_resident_pages(guest), 4);
	finish(&bench);
}

/* What was faulted in before the owner said no is forgotten again. */
static void what_is_refused_leaves_no_faulted_page(void)
{
	struct gmm_slot_config config;
	struct gmm_guest *guest;
	struct bench bench;
	uint64_t bits = 0;

	start(&bench, MODEL_LAZY | MODEL_OWNER);
	guest = bench.model.guest;
	config = at(&bench, 0, 10, 0, 4);
	config.flags = GMM_SLOT_LOG_DIRTY;
	bench.model.slot_change_fails = -GMM_EIO;
	bench.model.written_meanwhile = MODEL_HVA + 2 * PAGE;
	gmm_equal(gmm_slot_add(guest, &config), -GMM_EIO);
	expect_served(&bench, 2);
	gmm_equal(gmm_resident_pages(guest), 0);
	gmm_equal(gmm_slot_count(guest), 0);
	gmm_equal(gmm_fault_serve_at(guest, NULL, MODEL_HVA, GMM_ACCESS_READ), -GMM_EFAULT);
	bench.model.memory.resident[2] = false;
	bench.model.slot_change_fails = 0;
	bench.model.written_meanwhile = 0;
	gmm_equal(add(&bench, config), 0);
	bench.model.slot_change_fails = -GMM_EIO;
	bench.model.written_meanwhile = MODEL_HVA + 5 * PAGE;
	gmm_equal(gmm_slot_resize(guest, 0, 8), -GMM_EIO);
	expect_served(&bench, 5);
	bench.model.written_meanwhile = MODEL_HVA + 1 * PAGE;
	gmm_equal(gmm_slot_resize(guest, 0, 8), -GMM_EIO);
	expect_served(&bench, 1);
	bench.model.slot_change_fails = 0;
	bench.model.written_meanwhile = 0;
	gmm_equal(gmm_resident_pages(guest), 1);
	/* What was written in the part that stayed is in the log that stayed. */
	gmm_equal(gmm_dirty_harvest(guest, 0, 0, 4, &bits), 1);
	gmm_equal(bits, 2);
	bench.model.memory.resident[5] = false;
	finish(&bench);
}

/* P25: what a cache wrote in a slot that goes is marked nowhere else, then or later. */
static void a_slot_that_goes_takes_its_log_along(void)
{
	struct gmm_slot_config config;
	struct gmm_guest *guest;
	struct gmm_cache *cache;
	struct bench bench;
	uint64_t bits = 0;

	start(&bench, 0);
	guest = bench.model.guest;
	gmm_equal(add(&bench, at(&bench, 0, 10, 0, 4)), 0);
	gmm_equal(gmm_slot_set_flags(guest, 0, GMM_SLOT_LOG_DIRTY), 0);
	gmm_must(!gmm_cache_create(guest, &cache));
	gmm_equal(gmm_cache_activate(cache, 11 * PAGE, 8, GMM_CACHE_HOST | GMM_CACHE_WRITE), 0);
	gmm_equal(model_cache_write(cache, bench.reader, 0, 5), 0);
	gmm_equal(gmm_slot_remove(guest, 0), 0);
	config = at(&bench, 1, 10, 4, 4);
	config.flags = GMM_SLOT_LOG_DIRTY;
	gmm_equal(add(&bench, config), 0);
	gmm_equal(gmm_cache_drop(cache), 0);
	gmm_equal(gmm_cache_deactivate(cache), 0);
	gmm_equal(gmm_dirty_harvest(guest, 1, 0, 4, &bits), 0);
	gmm_equal(gmm_cache_destroy(cache), 0);
	finish(&bench);
}

const struct gmm_test_case gmm_test_cases[] = {
	{ "a_bad_argument_is_refused_and_changes_nothing",
	  a_bad_argument_is_refused_and_changes_nothing },
	{ "what_is_taken_is_refused_and_changes_nothing",
	  what_is_taken_is_refused_and_changes_nothing },
	{ "what_the_owner_refuses_is_undone", what_the_owner_refuses_is_undone },
	{ "the_owner_is_told_every_change", the_owner_is_told_every_change },
	{ "a_moved_slot_takes_everything_along", a_moved_slot_takes_everything_along },
	{ "a_resized_slot_forgets_what_is_cut_off", a_resized_slot_forgets_what_is_cut_off },
	{ "pages_of_a_removed_slot_are_forgotten", pages_of_a_removed_slot_are_forgotten },
	{ "faults_are_served_while_the_owner_is_told", faults_are_served_while_the_owner_is_told },
	{ "what_is_refused_leaves_no_faulted_page", what_is_refused_leaves_no_faulted_page },
	{ "a_slot_that_goes_takes_its_log_along", a_slot_that_goes_takes_its_log_along },
	{ NULL, NULL },
};
