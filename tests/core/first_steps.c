/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The shortest way through each part of the engine: when one of these fails, look here first.
 */
#include "model.h"

static void device(void *arg)
{
	struct model *model = arg;
	struct gmm_reader *reader;
	struct gmm_cache *cache;
	uint64_t word = 0;
	uint32_t i;

	gmm_must(!gmm_reader_register(model->guest, &reader));
	gmm_must(!gmm_cache_create(model->guest, &cache));
	gmm_equal(gmm_cache_activate(cache, 3 * MODEL_PAGE_BYTES, 8, GMM_CACHE_HOST), 0);
	for (i = 0; i < gmm_test_turns(10); i++) {
		gmm_equal(model_cache_read(cache, reader, 0, &word), 0);
		gmm_equal(word, model_word(3));
	}
	gmm_equal(gmm_cache_destroy(cache), 0);
	gmm_reader_unregister(reader);
}

static void a_cache_reads_what_the_page_holds_while_it_moves(void)
{
	struct gmm_range range = model_frames(3, 1);
	struct gmm_test_thread thread;
	struct model model;
	uint32_t i;

	model_init(&model, 0);
	gmm_test_thread_start(&thread, device, &model);
	for (i = 0; i < gmm_test_turns(5); i++) {
		gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &range, 1, 0, NULL), 0);
		model_move_page(&model, 3);
		gmm_invalidate_end(model.guest, GMM_RANGE_GFN, &range, 1);
	}
	gmm_test_thread_join(&thread);
	model_fini(&model);
}

static void guest(void *arg)
{
	struct model *model = arg;
	uint64_t word = 0, i;

	for (i = 1; i <= gmm_test_turns(8); i++) {
		gmm_must(model_guest_write(model, 5, i));
		gmm_must(model_guest_read(model, 5, &word));
		gmm_equal(word, i);
	}
}

static void a_guest_loses_no_write_to_pages_that_are_evicted(void)
{
	struct gmm_test_thread thread;
	struct model model;
	uint64_t last;
	uint32_t i;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	gmm_test_thread_start(&thread, guest, &model);
	for (i = 0; i < gmm_test_turns(5); i++)
		gmm_ok(gmm_evict(model.guest, 0, MODEL_PAGES, 0) >= 0);
	gmm_test_thread_join(&thread);
	gmm_must(model_guest_read(&model, 5, &last));
	gmm_equal(last, gmm_test_turns(8));
	model_fini(&model);
}

static void harvests_and_base_are_the_memory(void)
{
	uint64_t shadow[MODEL_PAGES], page[MODEL_PAGE_BYTES / 8];
	struct gmm_test_thread thread;
	struct model model;
	uint64_t bits;
	uint32_t i, p;

	for (p = 0; p < MODEL_PAGES; p++)
		shadow[p] = model_word(p);
	model_init(&model, MODEL_LAZY | MODEL_OWNER | MODEL_LOG_DIRTY);
	gmm_test_thread_start(&thread, guest, &model);
	for (i = 0; i < gmm_test_turns(4) + 1; i++) {
		if (i == gmm_test_turns(4))
			gmm_test_thread_join(&thread);
		gmm_ok(gmm_dirty_harvest(model.guest, 0, 0, MODEL_PAGES, &bits) >= 0);
		for (p = 0; p < MODEL_PAGES; p++)
			if ((bits >> p) & 1) {
				gmm_equal(gmm_page_read(model.guest, p, page), 0);
				shadow[p] = page[0];
			}
	}
	for (p = 0; p < MODEL_PAGES; p++) {
		gmm_equal(gmm_page_read(model.guest, p, page), 0);
		gmm_equal(shadow[p], page[0]);
	}
	model_fini(&model);
}

static void kick_nothing(void *opaque, uint32_t id)
{
	gmm_fetch_add((uint32_t *)opaque, 1u);
}

struct frame_user {
	struct model *model;
	struct gmm_cache *cache;
	struct gmm_vcpu *vcpu;
	uint32_t kicks;
};

/* Uses the frame by its number, as a guest would: the old one holds poison as soon as it has moved.
 */
static void frame_user(void *arg)
{
	struct frame_user *user = arg;
	uint32_t i;

	for (i = 0; i < gmm_test_turns(10); i++) {
		gmm_pfn_t pfn;

		gmm_equal(gmm_vcpu_enter(user->vcpu), 0);
		pfn = gmm_vcpu_pfn(user->vcpu, user->cache, 0);
		gmm_must(pfn < MODEL_FRAMES);
		gmm_equal(gmm_load_relaxed((uint64_t *)(user->model->memory.frames +
							pfn * MODEL_PAGE_BYTES)),
			  model_word(2));
		gmm_vcpu_exit(user->vcpu);
	}
}

static void a_vcpu_never_uses_a_frame_that_moved(void)
{
	struct gmm_range range = model_frames(2, 1);
	struct frame_user user = { 0 };
	struct gmm_test_thread thread;
	struct model model;
	uint32_t i;

	model_init(&model, 0);
	user.model = &model;
	gmm_must(!gmm_vcpu_create(model.guest, 1, kick_nothing, &user.kicks, &user.vcpu));
	gmm_must(!gmm_cache_create(model.guest, &user.cache));
	gmm_equal(gmm_cache_activate(user.cache, 2 * MODEL_PAGE_BYTES, MODEL_PAGE_BYTES,
				     GMM_CACHE_GUEST),
		  0);
	gmm_equal(gmm_cache_vcpu_add(user.cache, user.vcpu), 0);
	gmm_test_thread_start(&thread, frame_user, &user);
	for (i = 0; i < gmm_test_turns(5); i++) {
		gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &range, 1, 0, NULL), 0);
		model_move_page(&model, 2);
		gmm_invalidate_end(model.guest, GMM_RANGE_GFN, &range, 1);
	}
	gmm_test_thread_join(&thread);
	gmm_equal(gmm_cache_destroy(user.cache), 0);
	gmm_equal(gmm_vcpu_destroy(user.vcpu), 0);
	model_fini(&model);
}

static void slots_come_and_go_under_readers(void)
{
	struct gmm_slot_config slot;
	struct gmm_reader *reader;
	struct model model;
	uint64_t *pointer;

	model_init(&model, MODEL_NO_SLOT);
	gmm_must(!gmm_reader_register(model.guest, &reader));
	slot = model_slot(&model, 7, 100, 0, 4);
	gmm_equal(gmm_slot_add(model.guest, &slot), 0);
	gmm_section_enter(reader);
	pointer = gmm_slot_pointer(model.guest, 101 * MODEL_PAGE_BYTES + 8, 8, GMM_ACCESS_WRITE);
	gmm_ok(pointer == model_page(&model, 1) + 1);
	gmm_section_exit(reader);
	gmm_equal(gmm_slot_move(model.guest, 7, 99), 0);
	gmm_section_enter(reader);
	pointer = gmm_slot_pointer(model.guest, 101 * MODEL_PAGE_BYTES + 8, 8, GMM_ACCESS_WRITE);
	gmm_ok(pointer == model_page(&model, 2) + 1);
	gmm_ok(!gmm_slot_pointer(model.guest, 103 * MODEL_PAGE_BYTES, 8, GMM_ACCESS_READ));
	gmm_section_exit(reader);
	gmm_equal(gmm_slot_remove(model.guest, 7), 0);
	gmm_section_enter(reader);
	gmm_ok(!gmm_slot_pointer(model.guest, 101 * MODEL_PAGE_BYTES, 8, GMM_ACCESS_READ));
	gmm_section_exit(reader);
	gmm_reader_unregister(reader);
	model_fini(&model);
}

const struct gmm_test_case gmm_test_cases[] = {
	{ "a_cache_reads_what_the_page_holds_while_it_moves",
	  a_cache_reads_what_the_page_holds_while_it_moves },
	{ "a_guest_loses_no_write_to_pages_that_are_evicted",
	  a_guest_loses_no_write_to_pages_that_are_evicted },
	{ "harvests_and_base_are_the_memory", harvests_and_base_are_the_memory },
	{ "a_vcpu_never_uses_a_frame_that_moved", a_vcpu_never_uses_a_frame_that_moved },
	{ "slots_come_and_go_under_readers", slots_come_and_go_under_readers },
	{ NULL, NULL },
};
