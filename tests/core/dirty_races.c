/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Writers against harvests: no write is in neither the base nor a harvest. Rules W6, P24-P26. */
#include "race.h"

struct writer {
	struct race race;
	struct gmm_gate gate; /* a device stays in its section at it */
	uint32_t turns;
	uint64_t wrote[MODEL_PAGES]; /* the last word of each page */
	uint32_t stride;
};

/* The guest writes the even pages. */
static int guest_writes(struct race *race)
{
	struct writer *writer = gmm_container_of(race, struct writer, race);
	uint64_t word = 0x100000;
	uint32_t page = 0, i;

	for (i = 0; i < writer->turns; i++) {
		if (!gmm_ok(model_guest_write(race->model, page, ++word)))
			return -GMM_EIO;
		writer->wrote[page] = word;
		page = (page + 2 * writer->stride) % MODEL_PAGES;
	}
	return 0;
}

/* A device writes the odd ones through a cache of all pages. */
static int device_writes(struct race *race)
{
	struct writer *writer = gmm_container_of(race, struct writer, race);
	uint64_t word = 0x200000;
	struct gmm_reader *reader;
	uint32_t page = 1, i;
	int error = gmm_reader_register(race->model->guest, &reader);

	for (i = 0; i < writer->turns && !error; i++) {
		error = model_cache_write(race->cache, reader, (uint64_t)page * MODEL_PAGE_BYTES,
					  ++word);
		writer->wrote[page] = word;
		page = (page + 2 * writer->stride) % MODEL_PAGES;
	}
	gmm_reader_unregister(reader);
	return error;
}

/* Takes pages away under the writers. */
static int takes_away(struct race *race)
{
	struct writer *writer = gmm_container_of(race, struct writer, race);
	uint32_t i;

	for (i = 0; i < writer->turns; i++) {
		int64_t answer = i % 2 ? gmm_evict(race->model->guest, 0, MODEL_PAGES, 0) :
					 gmm_age(race->model->guest, 0, MODEL_PAGES, 0, NULL);

		if (!gmm_ok(answer >= 0))
			return -GMM_EIO;
	}
	return 0;
}

static void apply_harvest(struct model *model, uint64_t *copy)
{
	uint64_t page[MODEL_PAGE_BYTES / 8], bits;
	uint32_t p;

	gmm_ok(gmm_dirty_harvest(model->guest, 0, 0, MODEL_PAGES, &bits) >= 0);
	for (p = 0; p < MODEL_PAGES; p++) {
		if (!((bits >> p) & 1))
			continue;
		gmm_equal(gmm_page_read(model->guest, p, page), 0);
		copy[p] = page[0];
	}
}

/* The log starts while everybody writes: `copy` is taken after that. */
static void take_base(struct model *model, uint64_t *copy)
{
	uint64_t page[MODEL_PAGE_BYTES / 8];
	uint32_t p;

	gmm_equal(gmm_slot_set_flags(model->guest, 0, GMM_SLOT_LOG_DIRTY), 0);
	for (p = 0; p < MODEL_PAGES; p++) {
		gmm_equal(gmm_page_read(model->guest, p, page), 0);
		copy[p] = page[0];
	}
}

enum {
	GUEST,
	DEVICE,
	TAKER,
	WRITERS
};

static void base_and_harvests_are_the_memory(uint32_t traits)
{
	static int (*const calls[])(struct race * race) = { guest_writes, device_writes,
							    takes_away };
	struct writer writers[WRITERS];
	uint64_t copy[MODEL_PAGES], page[MODEL_PAGE_BYTES / 8];
	struct gmm_cache *cache;
	struct model model;
	uint32_t i, p;

	model_init(&model, MODEL_LAZY | traits);
	model.memory.strict = true;
	gmm_must(!gmm_cache_create(model.guest, &cache));
	gmm_equal(gmm_cache_activate(cache, 0, MODEL_PAGES * MODEL_PAGE_BYTES,
				     GMM_CACHE_HOST | GMM_CACHE_WRITE),
		  0);
	for (i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){ .stride = 1 + gmm_test_seed() % 3,
					      .turns = gmm_test_turns(i == TAKER ? 4 : 10) };
		writers[i].race.model = &model;
		writers[i].race.cache = cache;
		for (p = 0; p < MODEL_PAGES; p++)
			writers[i].wrote[p] = model_word(p);
		race_start(&writers[i].race, calls[i]);
	}
	take_base(&model, copy);
	for (i = 0; i < gmm_test_turns(3); i++)
		apply_harvest(&model, copy);
	for (i = 0; i < WRITERS; i++)
		gmm_equal(race_join(&writers[i].race), 0);
	/* P24: the last writes before the stop are in the last harvest. */
	apply_harvest(&model, copy);
	for (p = 0; p < MODEL_PAGES; p++) {
		gmm_equal(gmm_page_read(model.guest, p, page), 0);
		gmm_ok(copy[p] == page[0], "page %u: the copy has 0x%llx, the memory 0x%llx", p,
		       (unsigned long long)copy[p], (unsigned long long)page[0]);
		gmm_equal(page[0], writers[p % 2 ? DEVICE : GUEST].wrote[p]);
	}
	gmm_equal(gmm_cache_destroy(cache), 0);
	model_fini(&model);
}

static void base_and_harvests_are_the_memory_with_protection(void)
{
	base_and_harvests_are_the_memory(MODEL_OWNER);
}

static void base_and_harvests_are_the_memory_with_an_owner_that_logs(void)
{
	base_and_harvests_are_the_memory(MODEL_OWNER_LOGS);
}

static void base_and_harvests_are_the_memory_where_nothing_maps_protected(void)
{
	base_and_harvests_are_the_memory(MODEL_OWNER_UNPROTECTED);
}

struct harvester {
	struct race race;
	uint64_t bits;
};

static int harvest(struct race *race)
{
	struct harvester *harvester = gmm_container_of(race, struct harvester, race);

	return (int)gmm_dirty_harvest(race->model->guest, 0, 0, MODEL_PAGES, &harvester->bits);
}

static int clear(struct race *race)
{
	struct harvester *harvester = gmm_container_of(race, struct harvester, race);

	return (int)gmm_dirty_clear(race->model->guest, 0, 0, MODEL_PAGES, &harvester->bits);
}

/* Stores, marks, and stays in the section: its next store there needs no new mark to be harvested. */
static int device_stays(struct race *race)
{
	struct writer *writer = gmm_container_of(race, struct writer, race);
	struct gmm_reader *reader;
	uint64_t *pointer;

	if (gmm_reader_register(race->model->guest, &reader))
		return -GMM_ENOMEM;
	gmm_section_enter(reader);
	pointer = gmm_cache_pointer(race->cache, 0, sizeof(*pointer));
	if (gmm_ok(pointer)) {
		gmm_store_relaxed(pointer, (uint64_t)1);
		gmm_cache_mark_dirty(race->cache, 0, sizeof(*pointer));
		gmm_gate_pass(&writer->gate);
		gmm_store_relaxed(pointer, (uint64_t)2);
	}
	gmm_section_exit(reader);
	gmm_reader_unregister(reader);
	return 0;
}

/* W6: the bit is taken; a section that found it set before may store still. */
static void waits_for_sections(int (*call)(struct race *race))
{
	struct harvester harvester = { 0 };
	struct writer device = { 0 };
	struct gmm_cache *cache;
	struct model model;

	model_init(&model, MODEL_LOG_DIRTY);
	gmm_must(!gmm_cache_create(model.guest, &cache));
	gmm_equal(gmm_cache_activate(cache, 4 * MODEL_PAGE_BYTES, 8,
				     GMM_CACHE_HOST | GMM_CACHE_WRITE),
		  0);
	gmm_gate_init(&device.gate, 1);
	device.race.model = &model;
	device.race.cache = cache;
	race_start(&device.race, device_stays);
	gmm_gate_wait_held(&device.gate);
	harvester.race.model = &model;
	harvester.bits = 1u << 4;
	race_start(&harvester.race, call);
	race_give_way(&harvester.race);
	gmm_ok(!race_is_done(&harvester.race), "the section was not waited for");
	gmm_gate_open(&device.gate);
	gmm_equal(race_join(&harvester.race), 1);
	gmm_equal(harvester.bits, 1u << 4);
	gmm_equal(gmm_load_relaxed(model_page(&model, 4)), 2);
	gmm_equal(race_join(&device.race), 0);
	gmm_equal(gmm_cache_destroy(cache), 0);
	model_fini(&model);
}

static void a_harvest_waits_for_sections(void)
{
	waits_for_sections(harvest);
}

static void a_clear_waits_for_sections(void)
{
	waits_for_sections(clear);
}

/* Between taking the bit and protecting, the guest still writes through: that write is in what is read. */
static void a_write_between_taking_and_protecting_is_read_or_marked(void)
{
	uint64_t page[MODEL_PAGE_BYTES / 8], word = 2, bits;
	struct harvester harvester = { 0 };
	struct gmm_gate gate;
	struct model model;

	model_init(&model, MODEL_LAZY | MODEL_OWNER | MODEL_LOG_DIRTY);
	gmm_must(model_guest_write(&model, 4, 1));
	gmm_gate_init(&gate, 1);
	gmm_test_hold_step(GMM_STEP_DIRTY_CLEARED, &gate);
	harvester.race.model = &model;
	race_start(&harvester.race, harvest);
	gmm_gate_wait_held(&gate);
	gmm_ok(model_guest_try(&model, 4, true, &word), "protected before the bit was taken");
	gmm_gate_open(&gate);
	gmm_equal(race_join(&harvester.race), 1);
	gmm_equal(gmm_page_read(model.guest, 4, page), 0);
	gmm_equal(page[0], 2);
	gmm_ok(!model_guest_try(&model, 4, true, &word));
	gmm_must(model_guest_write(&model, 4, 3));
	gmm_equal(gmm_dirty_harvest(model.guest, 0, 0, MODEL_PAGES, &bits), 1);
	model_fini(&model);
}

static int fault_for_write(struct race *race)
{
	return gmm_fault_serve(race->model->guest, race->first, GMM_ACCESS_WRITE);
}

/* From the moment at which the guest can write the page, its bit is there. */
static void the_mark_comes_before_the_mapping(uint32_t traits, bool filled)
{
	struct race fault = { .first = 4 };
	uint64_t word = 2, bits = 0;
	struct gmm_gate gate;
	struct model model;

	model_init(&model, MODEL_LAZY | MODEL_LOG_DIRTY | traits);
	if (filled)
		gmm_equal(gmm_fault_serve(model.guest, 4, GMM_ACCESS_READ), 0);
	gmm_gate_init(&gate, 1);
	gmm_test_hold_step(GMM_STEP_FAULT_MAPPED, &gate);
	fault.model = &model;
	race_start(&fault, fault_for_write);
	gmm_gate_wait_held(&gate);
	gmm_ok(model_guest_try(&model, 4, true, &word));
	gmm_equal(gmm_dirty_peek(model.guest, 0, 0, MODEL_PAGES, &bits), 1);
	gmm_equal(bits, 1u << 4);
	gmm_gate_open(&gate);
	gmm_equal(race_join(&fault), 0);
	gmm_test_unhold_steps();
	model_fini(&model);
}

static void a_page_is_marked_before_it_is_mapped_for_writing(void)
{
	the_mark_comes_before_the_mapping(MODEL_OWNER, false);
	the_mark_comes_before_the_mapping(MODEL_OWNER, true);
	the_mark_comes_before_the_mapping(MODEL_OWNER_UNPROTECTED, false);
}

/* The harvest took the mark of a fault that is still mapping: it waits for it and protects the page. */
static void a_harvest_waits_for_a_fault_whose_mark_it_took(void)
{
	struct race fault = { .first = 4 };
	struct harvester harvester = { 0 };
	struct gmm_gate gate;
	struct model model;
	uint64_t word = 2;

	model_init(&model, MODEL_LAZY | MODEL_OWNER | MODEL_LOG_DIRTY);
	gmm_gate_init(&gate, 1);
	gmm_test_hold_step(GMM_STEP_FAULT_MAPPED, &gate);
	fault.model = harvester.race.model = &model;
	race_start(&fault, fault_for_write);
	gmm_gate_wait_held(&gate);
	race_start(&harvester.race, harvest);
	race_give_way(&harvester.race);
	gmm_gate_open(&gate);
	gmm_equal(race_join(&fault), 0);
	gmm_equal(race_join(&harvester.race), 1);
	gmm_equal(harvester.bits, 1u << 4);
	gmm_ok(!model_guest_try(&model, 4, true, &word), "its next write is not logged");
	model_fini(&model);
}

/* P26: the mark is for the page that the pointer was for, wherever the cache goes then. */
static void a_mark_is_for_the_page_that_was_written(void)
{
	struct race mover = { 0 };
	struct writer device = { 0 };
	struct gmm_cache *cache;
	struct model model;
	uint64_t bits = 0;

	model_init(&model, MODEL_LOG_DIRTY);
	gmm_must(!gmm_cache_create(model.guest, &cache));
	gmm_equal(gmm_cache_activate(cache, 4 * MODEL_PAGE_BYTES, 8,
				     GMM_CACHE_HOST | GMM_CACHE_WRITE),
		  0);
	device.race.model = mover.model = &model;
	device.race.cache = mover.cache = cache;
	gmm_gate_init(&device.gate, 1);
	race_start(&device.race, device_stays);
	gmm_gate_wait_held(&device.gate);
	mover.first = 9 * MODEL_PAGE_BYTES;
	mover.second = 8;
	race_start(&mover, race_activate);
	race_give_way(&mover);
	gmm_ok(!race_is_done(&mover), "re-targeted under a reader");
	gmm_gate_open(&device.gate);
	gmm_equal(race_join(&device.race), 0);
	gmm_equal(race_join(&mover), 0);
	gmm_equal(gmm_dirty_harvest(model.guest, 0, 0, MODEL_PAGES, &bits), 1);
	gmm_equal(bits, 1u << 4);
	gmm_equal(gmm_cache_destroy(cache), 0);
	model_fini(&model);
}

/* P25: the slot goes while a section writes to it; what comes in its place has no mark of it. */
static void a_mark_is_for_the_slot_that_was_written(void)
{
	struct race remover = { 0 };
	struct writer device = { 0 };
	struct gmm_slot_config slot;
	struct gmm_cache *cache;
	struct model model;
	uint64_t bits = 0;

	model_init(&model, MODEL_LOG_DIRTY);
	gmm_must(!gmm_cache_create(model.guest, &cache));
	gmm_equal(gmm_cache_activate(cache, 4 * MODEL_PAGE_BYTES, 8,
				     GMM_CACHE_HOST | GMM_CACHE_WRITE),
		  0);
	device.race.model = remover.model = &model;
	device.race.cache = cache;
	gmm_gate_init(&device.gate, 1);
	race_start(&device.race, device_stays);
	gmm_gate_wait_held(&device.gate);
	race_start(&remover, race_slot_remove);
	race_give_way(&remover);
	gmm_ok(!race_is_done(&remover), "removed under a reader");
	gmm_gate_open(&device.gate);
	gmm_equal(race_join(&device.race), 0);
	gmm_equal(race_join(&remover), 0);
	slot = model_slot(&model, 0, 0, 0, MODEL_PAGES);
	slot.flags = GMM_SLOT_LOG_DIRTY;
	gmm_equal(gmm_slot_add(model.guest, &slot), 0);
	gmm_equal(gmm_dirty_harvest(model.guest, 0, 0, MODEL_PAGES, &bits), 0);
	gmm_equal(gmm_cache_destroy(cache), 0);
	model_fini(&model);
}

#define CASE(name)          \
	{                   \
#name, name \
	}

const struct gmm_test_case gmm_test_cases[] = {
	CASE(base_and_harvests_are_the_memory_with_protection),
	CASE(base_and_harvests_are_the_memory_with_an_owner_that_logs),
	CASE(base_and_harvests_are_the_memory_where_nothing_maps_protected),
	CASE(a_harvest_waits_for_sections),
	CASE(a_clear_waits_for_sections),
	CASE(a_write_between_taking_and_protecting_is_read_or_marked),
	CASE(a_page_is_marked_before_it_is_mapped_for_writing),
	CASE(a_harvest_waits_for_a_fault_whose_mark_it_took),
	CASE(a_mark_is_for_the_page_that_was_written),
	CASE(a_mark_is_for_the_slot_that_was_written),
	{ NULL, NULL },
};
