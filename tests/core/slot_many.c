/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* As many slots as there may be. */
#include "model.h"

#define PAGE ((uint64_t)MODEL_PAGE_BYTES)

/* Slot `id` has frame 2 * id + 1, seen at an address of its own. */
static struct gmm_slot_config config_of(struct model *model, uint32_t id)
{
	struct gmm_slot_config config = model_slot(model, id, 2 * (uint64_t)id + 1, 0, 1);

	config.hva = MODEL_HVA + id * PAGE;
	config.pointer = (void *)(uintptr_t)(0x100000000000ull + id * PAGE);
	return config;
}

static void look_at_all(struct model *model, struct gmm_reader *reader, uint32_t count,
			uint32_t gone)
{
	uint32_t id;

	for (id = 0; id < count; id++) {
		struct gmm_slot_config wanted = config_of(model, id), found;
		void *pointer, *between;
		bool is = id % 3 != gone;

		gmm_section_enter(reader);
		pointer = gmm_slot_pointer(model->guest, wanted.gfn * PAGE + 8, 8, GMM_ACCESS_READ);
		between =
			gmm_slot_pointer(model->guest, (wanted.gfn + 1) * PAGE, 8, GMM_ACCESS_READ);
		gmm_section_exit(reader);
		gmm_ok(pointer == (is ? (uint8_t *)wanted.pointer + 8 : NULL));
		gmm_ok(!between);
		gmm_equal(gmm_slot_get(model->guest, id, &found), is ? 0 : -GMM_ENOENT);
		gmm_ok(!is || (found.gfn == wanted.gfn && found.hva == wanted.hva));
	}
}

static void run(uint32_t count)
{
	struct gmm_slot_config config;
	struct gmm_reader *reader;
	struct model model;
	uint32_t id;

	model_init(&model, MODEL_NO_SLOT);
	gmm_must(!gmm_reader_register(model.guest, &reader));
	/* In an order that is neither rising nor falling: 7 and `count` have no common factor. */
	for (id = 0; id < count; id++) {
		config = config_of(&model, (uint32_t)((uint64_t)id * 7 % count));
		gmm_equal(gmm_slot_add(model.guest, &config), 0);
	}
	gmm_equal(gmm_slot_count(model.guest), count);
	config = config_of(&model, 0);
	gmm_equal(gmm_slot_add(model.guest, &config), -GMM_EEXIST);
	config.id = GMM_SLOTS_MAX;
	config.gfn = 0;
	gmm_equal(gmm_slot_add(model.guest, &config), -GMM_EINVAL);
	look_at_all(&model, reader, count, 3);
	for (id = 1; id < count; id += 3)
		gmm_equal(gmm_slot_remove(model.guest, id), 0);
	look_at_all(&model, reader, count, 1);
	for (id = 0; id < count; id++)
		gmm_equal(gmm_slot_remove(model.guest, id), id % 3 == 1 ? -GMM_ENOENT : 0);
	gmm_equal(gmm_slot_count(model.guest), 0);
	gmm_reader_unregister(reader);
	model_fini(&model);
}

static void all_slots_there_may_be_are_added_found_and_removed(void)
{
	/* A schedule of threads has nothing to add here, so there it is a small number. */
	uint32_t count = gmm_test_turns(40);

	run(count < GMM_SLOTS_MAX ? count : GMM_SLOTS_MAX);
}

const struct gmm_test_case gmm_test_cases[] = {
	{ "all_slots_there_may_be_are_added_found_and_removed",
	  all_slots_there_may_be_are_added_found_and_removed },
	{ NULL, NULL },
};
