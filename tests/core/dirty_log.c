/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* A log starts, stops, and fails; the owner that logs itself. Rules L13, L14. */
#include "model.h"

static uint64_t harvest(struct model *model)
{
	uint64_t bits = 0;

	gmm_ok(gmm_dirty_harvest(model->guest, 0, 0, MODEL_PAGES, &bits) >= 0);
	return bits;
}

static bool writes_through(struct model *model, uint32_t page)
{
	uint64_t word = 77;

	return model_guest_try(model, page, true, &word);
}

static void starting_a_log_protects_what_is_writable(void)
{
	struct model model;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	gmm_must(model_guest_write(&model, 2, 1));
	gmm_must(model_guest_write(&model, 3, 1));
	gmm_ok(writes_through(&model, 2));
	gmm_equal(gmm_slot_set_flags(model.guest, 0, GMM_SLOT_LOG_DIRTY), 0);
	gmm_ok(!writes_through(&model, 2) && !writes_through(&model, 3));
	gmm_equal(harvest(&model), 0);
	gmm_must(model_guest_write(&model, 3, 2));
	gmm_equal(harvest(&model), 1u << 3);
	model_fini(&model);
}

static void starting_a_log_protects_resident_memory(void)
{
	struct gmm_page_info info;
	struct model model;

	model_init(&model, 0);
	gmm_equal(gmm_fault_serve(model.guest, 2, GMM_ACCESS_WRITE), 0);
	gmm_equal(gmm_slot_set_flags(model.guest, 0, GMM_SLOT_LOG_DIRTY), 0);
	gmm_equal(gmm_page_query(model.guest, 2, &info), 0);
	gmm_ok(!info.writable);
	gmm_equal(harvest(&model), 0);
	gmm_equal(gmm_fault_serve(model.guest, 2, GMM_ACCESS_WRITE), 0);
	gmm_equal(harvest(&model), 1u << 2);
	model_fini(&model);
}

static void a_log_that_starts_all_set_protects_at_the_first_harvest(void)
{
	struct model model;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	gmm_must(model_guest_write(&model, 2, 1));
	gmm_equal(gmm_slot_set_flags(model.guest, 0, GMM_SLOT_LOG_DIRTY | GMM_SLOT_LOG_ALL_SET), 0);
	gmm_equal(model.memory.calls[MODEL_LIVE_PROTECT], 0);
	gmm_ok(writes_through(&model, 2));
	gmm_equal(harvest(&model), (1u << MODEL_PAGES) - 1);
	gmm_ok(!writes_through(&model, 2));
	gmm_must(model_guest_write(&model, 2, 3));
	gmm_equal(harvest(&model), 1u << 2);
	model_fini(&model);
}

static void a_slot_added_with_an_all_set_log_has_all_pages(void)
{
	struct gmm_slot_config slot;
	struct model model;
	uint64_t bits = 0;

	model_init(&model, MODEL_NO_SLOT);
	slot = model_slot(&model, 0, 0, 0, MODEL_PAGES);
	slot.flags = GMM_SLOT_LOG_DIRTY | GMM_SLOT_LOG_ALL_SET;
	gmm_equal(gmm_slot_add(model.guest, &slot), 0);
	gmm_equal(gmm_dirty_harvest(model.guest, 0, 0, 10, &bits), 10);
	gmm_equal(harvest(&model), 0x3fu << 10);
	model_fini(&model);
}

static void a_log_that_stops_is_gone_and_costs_nothing(void)
{
	struct model model;
	uint64_t bits;

	model_init(&model, MODEL_LAZY | MODEL_OWNER | MODEL_LOG_DIRTY);
	gmm_must(model_guest_write(&model, 2, 1));
	gmm_equal(gmm_slot_set_flags(model.guest, 0, 0), 0);
	gmm_equal(gmm_dirty_harvest(model.guest, 0, 0, MODEL_PAGES, &bits), -GMM_EINVAL);
	gmm_equal(gmm_dirty_peek(model.guest, 0, 0, MODEL_PAGES, &bits), -GMM_EINVAL);
	gmm_equal(gmm_dirty_clear(model.guest, 0, 0, MODEL_PAGES, &bits), -GMM_EINVAL);
	gmm_dirty_mark(model.guest, 2, 1);
	gmm_ok(writes_through(&model, 2));
	gmm_equal(gmm_slot_set_flags(model.guest, 0, GMM_SLOT_LOG_DIRTY), 0);
	gmm_equal(harvest(&model), 0);
	model_fini(&model);
}

/* L14: what nobody can write is not logged, and says so when it is asked for. */
static void a_read_only_slot_has_no_log(void)
{
	struct gmm_slot_config slot;
	struct model model;
	uint64_t bits;

	model_init(&model, MODEL_NO_SLOT | MODEL_LAZY | MODEL_OWNER);
	slot = model_slot(&model, 0, 0, 0, MODEL_PAGES);
	slot.flags = GMM_SLOT_READ_ONLY | GMM_SLOT_LOG_DIRTY;
	gmm_equal(gmm_slot_add(model.guest, &slot), -GMM_EINVAL);
	slot.flags = GMM_SLOT_READ_ONLY;
	gmm_equal(gmm_slot_add(model.guest, &slot), 0);
	gmm_equal(gmm_slot_set_flags(model.guest, 0, GMM_SLOT_READ_ONLY | GMM_SLOT_LOG_DIRTY),
		  -GMM_EINVAL);
	gmm_ok(!model_guest_write(&model, 2, 1));
	gmm_dirty_mark(model.guest, 2, 1);
	gmm_equal(gmm_dirty_harvest(model.guest, 0, 0, MODEL_PAGES, &bits), -GMM_EINVAL);
	model_fini(&model);
}

static void an_owner_that_logs_is_asked_and_protects_itself(void)
{
	struct model model;
	uint64_t bits;

	model_init(&model, MODEL_LAZY | MODEL_OWNER_LOGS | MODEL_LOG_DIRTY);
	gmm_must(model_guest_write(&model, 2, 1));
	gmm_dirty_mark(model.guest, 4, 1);
	gmm_equal(gmm_dirty_harvest(model.guest, 0, 0, 2, &bits), 0);
	gmm_equal(gmm_dirty_peek(model.guest, 0, 0, MODEL_PAGES, &bits), 2);
	gmm_equal(bits, 1u << 2 | 1u << 4);
	gmm_ok(!model.logged[2], "the owner's bit has moved");
	gmm_must(model_guest_write(&model, 5, 1));
	gmm_equal(harvest(&model), 1u << 2 | 1u << 4 | 1u << 5);
	gmm_equal(model.memory.calls[MODEL_LIVE_PROTECT], 0);
	gmm_ok(writes_through(&model, 2));
	gmm_equal(harvest(&model), 1u << 2);
	gmm_equal(model.nexts, 0);
	/* In a pass it is told that this is a further part. */
	gmm_must(model_guest_write(&model, 3, 1));
	gmm_dirty_mark(model.guest, 6, 1);
	gmm_equal(gmm_dirty_harvest_next(model.guest, 0, 0, MODEL_PAGES, &bits), 2);
	gmm_equal(bits, 1u << 3 | 1u << 6);
	gmm_equal(model.nexts, 1);
	model_fini(&model);
	model_init(&model, MODEL_LAZY | MODEL_OWNER | MODEL_LOG_DIRTY);
	gmm_must(model_guest_write(&model, 3, 1));
	gmm_equal(gmm_dirty_harvest_next(model.guest, 0, 0, MODEL_PAGES, &bits), 1);
	model_fini(&model);
}

/* L13: without a log, or where each write shows anyway, there is no second fault. */
static void who_logs_not_is_not_made_to_fault_twice(void)
{
	static const uint32_t owners[] = { MODEL_OWNER, MODEL_OWNER_UNPROTECTED };
	struct gmm_page_info info;
	struct model model;
	uint32_t i;

	for (i = 0; i < 2; i++) {
		model_init(&model, MODEL_LAZY | owners[i] | MODEL_LOG_DIRTY);
		gmm_equal(gmm_fault_serve(model.guest, 2, GMM_ACCESS_READ), 0);
		gmm_equal(gmm_page_query(model.guest, 2, &info), 0);
		gmm_equal(info.writable, i == 1);
		gmm_equal(harvest(&model), i == 1 ? 1u << 2 : 0);
		model_fini(&model);
	}
	model_init(&model, 0);
	gmm_equal(gmm_fault_serve(model.guest, 2, GMM_ACCESS_READ), 0);
	gmm_equal(gmm_page_query(model.guest, 2, &info), 0);
	gmm_ok(info.writable);
	model_fini(&model);
}

/* Bits whose pages could not be protected are still there for the next harvest. */
static void a_harvest_that_cannot_protect_puts_the_bits_back(void)
{
	struct model model;
	uint64_t bits;

	model_init(&model, MODEL_LAZY | MODEL_OWNER | MODEL_LOG_DIRTY);
	gmm_must(model_guest_write(&model, 2, 1));
	gmm_must(model_guest_write(&model, 5, 1));
	model.memory.fail_at[MODEL_LIVE_PROTECT] = 2;
	gmm_equal(gmm_dirty_harvest(model.guest, 0, 0, MODEL_PAGES, &bits), -GMM_EIO);
	gmm_equal(gmm_dirty_peek(model.guest, 0, 0, MODEL_PAGES, &bits), 2);
	gmm_equal(bits, 1u << 2 | 1u << 5);
	model.memory.fail_at[MODEL_LIVE_PROTECT] = model.memory.calls[MODEL_LIVE_PROTECT] + 1;
	gmm_equal(gmm_dirty_clear(model.guest, 0, 0, MODEL_PAGES, &bits), -GMM_EIO);
	gmm_equal(harvest(&model), 1u << 2 | 1u << 5);
	gmm_ok(!writes_through(&model, 2) && !writes_through(&model, 5));
	model_fini(&model);
}

static void a_harvest_whose_owner_fails_loses_nothing(void)
{
	struct model model;
	uint64_t bits;

	model_init(&model, MODEL_LAZY | MODEL_OWNER_LOGS | MODEL_LOG_DIRTY);
	gmm_must(model_guest_write(&model, 2, 1));
	gmm_dirty_mark(model.guest, 4, 1);
	model.memory.fail_at[MODEL_LIVE_COLLECT] = 1;
	gmm_equal(gmm_dirty_harvest(model.guest, 0, 0, MODEL_PAGES, &bits), -GMM_EIO);
	gmm_equal(harvest(&model), 1u << 2 | 1u << 4);
	model_fini(&model);
}

/* A refused call changes nothing: a log that cannot protect would miss writes. */
static void a_log_that_cannot_protect_does_not_start(void)
{
	struct gmm_slot_config slot;
	struct model model;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	gmm_must(model_guest_write(&model, 2, 1));
	model.memory.fail_at[MODEL_LIVE_PROTECT] = 1;
	gmm_equal(gmm_slot_set_flags(model.guest, 0, GMM_SLOT_LOG_DIRTY), -GMM_EIO);
	gmm_equal(gmm_slot_get(model.guest, 0, &slot), 0);
	gmm_equal(slot.flags, 0);
	gmm_equal(gmm_slot_set_flags(model.guest, 0, GMM_SLOT_LOG_DIRTY), 0);
	gmm_must(model_guest_write(&model, 2, 2));
	gmm_equal(harvest(&model), 1u << 2);
	model_fini(&model);
}

static void a_log_that_the_owner_refuses_does_not_start(void)
{
	struct gmm_slot_config slot;
	struct model model;

	model_init(&model, MODEL_LAZY | MODEL_OWNER);
	model.slot_change_fails = -GMM_EOPNOTSUPP;
	gmm_equal(gmm_slot_set_flags(model.guest, 0, GMM_SLOT_LOG_DIRTY), -GMM_EOPNOTSUPP);
	model.slot_change_fails = 0;
	gmm_equal(gmm_slot_get(model.guest, 0, &slot), 0);
	gmm_equal(slot.flags, 0);
	model_fini(&model);
}

#define CASE(name)          \
	{                   \
#name, name \
	}

const struct gmm_test_case gmm_test_cases[] = {
	CASE(starting_a_log_protects_what_is_writable),
	CASE(starting_a_log_protects_resident_memory),
	CASE(a_log_that_starts_all_set_protects_at_the_first_harvest),
	CASE(a_slot_added_with_an_all_set_log_has_all_pages),
	CASE(a_log_that_stops_is_gone_and_costs_nothing),
	CASE(a_read_only_slot_has_no_log),
	CASE(an_owner_that_logs_is_asked_and_protects_itself),
	CASE(who_logs_not_is_not_made_to_fault_twice),
	CASE(a_harvest_that_cannot_protect_puts_the_bits_back),
	CASE(a_harvest_whose_owner_fails_loses_nothing),
	CASE(a_log_that_cannot_protect_does_not_start),
	CASE(a_log_that_the_owner_refuses_does_not_start),
	{ NULL, NULL },
};
