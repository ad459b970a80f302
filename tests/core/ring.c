/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The dirty ring of a vCPU, one thread. Rules R1, R3-R6 of docs/RULES.md. */
#include "vcpu_user.h"
#include "wide.h"

#define SIZE GMM_DIRTY_RING_MIN
#define SOFT (SIZE - GMM_DIRTY_RING_RESERVE)

/* Slot 0 logs, and faults of the guest are those of vCPU 1, which has a ring. */
static void ring_init(struct model *model, struct vcpu_user *user, uint32_t traits)
{
	model_init(model, MODEL_LAZY | MODEL_OWNER | MODEL_LOG_DIRTY | traits);
	vcpu_user_create(user, model, 1);
	gmm_equal(gmm_dirty_ring_create(user->vcpu, SIZE), 0);
	model->vcpu = user->vcpu;
}

static void ring_fini(struct model *model, struct vcpu_user *user)
{
	vcpu_user_destroy(user);
	model_fini(model);
}

/* The bits of slot 0. */
static uint64_t peek(struct model *model)
{
	uint64_t bits = 0;

	gmm_ok(gmm_dirty_peek(model->guest, 0, 0, MODEL_PAGES, &bits) >= 0);
	return bits;
}

static uint64_t harvest(struct model *model)
{
	uint64_t bits = 0;

	gmm_ok(gmm_dirty_harvest(model->guest, 0, 0, MODEL_PAGES, &bits) >= 0);
	return bits;
}

/* Whether the guest can write the page without a fault, and so without a trace in the log. */
static bool unseen(struct model *model, uint32_t page)
{
	uint64_t word = 77;

	return model_guest_try(model, page, true, &word);
}

static void a_ring_has_a_size_within_limits_and_is_made_once(void)
{
	struct gmm_dirty_entry entry;
	struct vcpu_user user;
	struct model model;

	model_init(&model, MODEL_LOG_DIRTY);
	vcpu_user_create(&user, &model, 0);
	gmm_equal(gmm_dirty_ring_push(user.vcpu, 0, 1), -GMM_ENOENT);
	gmm_equal(gmm_dirty_ring_reset(user.vcpu), -GMM_ENOENT);
	gmm_equal(gmm_dirty_ring_harvest(user.vcpu, &entry, 1), 0);
	gmm_ok(!gmm_dirty_ring_entries(user.vcpu) && !gmm_dirty_ring_full(user.vcpu));
	gmm_equal(gmm_dirty_ring_create(user.vcpu, GMM_DIRTY_RING_MIN / 2), -GMM_EINVAL);
	gmm_equal(gmm_dirty_ring_create(user.vcpu, GMM_DIRTY_RING_MAX * 2), -GMM_EINVAL);
	gmm_equal(gmm_dirty_ring_create(user.vcpu, GMM_DIRTY_RING_MIN + 1), -GMM_EINVAL);
	gmm_equal(gmm_dirty_ring_create(user.vcpu, SIZE), 0);
	gmm_equal(gmm_dirty_ring_create(user.vcpu, SIZE), -GMM_EEXIST);
	gmm_ok(gmm_dirty_ring_entries(user.vcpu));
	vcpu_user_destroy(&user);
	model_fini(&model);
}

static void a_write_fault_of_the_vcpu_goes_to_its_ring(void)
{
	struct gmm_dirty_entry out[4];
	struct vcpu_user user;
	struct model model;

	ring_init(&model, &user, 0);
	gmm_must(model_guest_write(&model, 3, 1));
	gmm_must(model_guest_write(&model, 3, 2));
	gmm_must(model_guest_write(&model, 9, 1));
	gmm_equal(gmm_dirty_ring_entries(user.vcpu)[1].page, 9);
	gmm_equal(gmm_dirty_ring_harvest(user.vcpu, out, 1), 1);
	gmm_ok(out[0].slot == 0 && out[0].page == 3 && out[0].flags == GMM_DIRTY_ENTRY_DIRTY);
	gmm_equal(gmm_dirty_ring_harvest(user.vcpu, out, 4), 1);
	gmm_ok(out[0].slot == 0 && out[0].page == 9);
	gmm_equal(gmm_dirty_ring_harvest(user.vcpu, out, 4), 0);
	gmm_equal(gmm_dirty_ring_reset(user.vcpu), 2);
	gmm_equal(gmm_dirty_ring_reset(user.vcpu), 0);
	gmm_equal(peek(&model), 0);
	ring_fini(&model, &user);
}

/* Memory that is there from the start has no state to own, but its writes are the vCPU's too. */
static void a_write_fault_on_resident_memory_goes_to_the_ring_too(void)
{
	struct gmm_dirty_entry out;
	struct vcpu_user user;
	struct model model;

	model_init(&model, MODEL_LOG_DIRTY);
	vcpu_user_create(&user, &model, 1);
	gmm_equal(gmm_dirty_ring_create(user.vcpu, SIZE), 0);
	gmm_equal(gmm_fault_serve_vcpu(model.guest, user.vcpu, 4, GMM_ACCESS_WRITE), 0);
	gmm_equal(gmm_dirty_ring_harvest(user.vcpu, &out, 1), 1);
	gmm_equal(out.page, 4);
	vcpu_user_destroy(&user);
	model_fini(&model);
}

static void after_a_reset_the_next_write_is_seen_again(void)
{
	struct gmm_dirty_entry out;
	struct vcpu_user user;
	struct model model;
	uint32_t i;

	ring_init(&model, &user, 0);
	for (i = 1; i < 4; i++) {
		gmm_must(model_guest_write(&model, 3, i));
		gmm_equal(gmm_dirty_ring_harvest(user.vcpu, &out, 1), 1);
		gmm_equal(out.page, 3);
		gmm_equal(gmm_dirty_ring_reset(user.vcpu), 1);
		gmm_ok(!unseen(&model, 3));
	}
	ring_fini(&model, &user);
}

/* R1: beyond the soft limit the vCPU stays out, beyond the size the bitmap takes over. */
static void a_push_never_fails(void)
{
	struct gmm_dirty_entry out;
	struct vcpu_user user;
	struct model model;
	uint32_t i;

	ring_init(&model, &user, 0);
	for (i = 0; i < SIZE; i++) {
		gmm_equal(gmm_dirty_ring_full(user.vcpu), i >= SOFT);
		gmm_equal(gmm_vcpu_enter(user.vcpu), i >= SOFT ? -GMM_EAGAIN : 0);
		if (i < SOFT)
			gmm_vcpu_exit(user.vcpu);
		gmm_equal(gmm_dirty_ring_push(user.vcpu, 0, 2), 0);
	}
	gmm_equal(gmm_dirty_ring_push(user.vcpu, 0, 5), 0);
	gmm_must(model_guest_write(&model, 6, 1));
	gmm_equal(gmm_dirty_ring_push(user.vcpu, 0, MODEL_PAGES), 0);
	gmm_equal(gmm_dirty_ring_push(user.vcpu, 99, 1), 0);
	for (i = 0; i < SIZE; i++)
		gmm_equal(gmm_dirty_ring_harvest(user.vcpu, &out, 1), 1);
	gmm_equal(gmm_dirty_ring_harvest(user.vcpu, &out, 1), 0);
	gmm_equal(gmm_dirty_ring_reset(user.vcpu), SIZE);
	gmm_ok(!gmm_dirty_ring_full(user.vcpu));
	gmm_equal(gmm_vcpu_enter(user.vcpu), 0);
	gmm_vcpu_exit(user.vcpu);
	gmm_equal(harvest(&model), 1u << 5 | 1u << 6);
	ring_fini(&model, &user);
}

static void indices_go_round_many_times(void)
{
	struct gmm_dirty_entry out[SIZE];
	uint64_t next = 0, seen = 0;
	struct vcpu_user user;
	struct model model;
	uint32_t i, round, got;

	ring_init(&model, &user, 0);
	for (round = 0; round < 9; round++) {
		for (i = 0; i < SIZE - 7; i++)
			gmm_equal(gmm_dirty_ring_push(user.vcpu, 0, next++ % MODEL_PAGES), 0);
		while ((got = gmm_dirty_ring_harvest(user.vcpu, out, 10)))
			for (i = 0; i < got; i++)
				gmm_equal(out[i].page, seen++ % MODEL_PAGES);
		gmm_equal(gmm_dirty_ring_reset(user.vcpu), SIZE - 7);
	}
	gmm_equal(seen, next);
	ring_fini(&model, &user);
}

/* Only what was harvested is taken back. */
static void a_reset_leaves_what_nobody_harvested(void)
{
	struct gmm_dirty_entry out[2];
	struct vcpu_user user;
	struct model model;

	ring_init(&model, &user, 0);
	gmm_must(model_guest_write(&model, 3, 1));
	gmm_must(model_guest_write(&model, 4, 1));
	gmm_equal(gmm_dirty_ring_reset(user.vcpu), 0);
	gmm_equal(gmm_dirty_ring_harvest(user.vcpu, out, 1), 1);
	gmm_equal(gmm_dirty_ring_reset(user.vcpu), 1);
	gmm_ok(!unseen(&model, 3) && unseen(&model, 4));
	gmm_equal(gmm_dirty_ring_harvest(user.vcpu, out, 2), 1);
	gmm_equal(out[0].page, 4);
	ring_fini(&model, &user);
}

/* Another program harvests by the flags alone. */
static void an_outside_consumer_needs_only_the_flags(void)
{
	struct gmm_dirty_entry *entries, out;
	struct vcpu_user user;
	struct model model;
	uint32_t i;

	ring_init(&model, &user, 0);
	entries = gmm_dirty_ring_entries(user.vcpu);
	for (i = 0; i < 3; i++)
		gmm_must(model_guest_write(&model, 3 + i, 1));
	for (i = 0; i < 2; i++) {
		gmm_equal(gmm_load_acquire(&entries[i].flags), GMM_DIRTY_ENTRY_DIRTY);
		gmm_store_release(&entries[i].flags, GMM_DIRTY_ENTRY_HARVESTED);
	}
	gmm_equal(gmm_dirty_ring_reset(user.vcpu), 2);
	gmm_ok(!unseen(&model, 3) && !unseen(&model, 4) && unseen(&model, 5));
	gmm_equal(gmm_dirty_ring_harvest(user.vcpu, &out, 1), 1);
	gmm_equal(out.page, 5);
	ring_fini(&model, &user);
}

/* R4. Pushes the pages, and expects that exactly they lose their write permission. */
static void pages_are_protected(const uint32_t *pages, uint32_t count)
{
	struct wide *wide = wide_create(false, 0x100, GMM_SLOT_LOG_DIRTY);
	struct gmm_dirty_entry out[SIZE];
	struct gmm_page_info info;
	uint32_t kicks, page, i;
	struct gmm_vcpu *vcpu;

	gmm_must(!gmm_vcpu_create(wide->guest, 0, (gmm_vcpu_kick_fn)(uintptr_t)1, &kicks, &vcpu));
	gmm_equal(gmm_dirty_ring_create(vcpu, SIZE), 0);
	for (page = 0; page < 300; page++)
		gmm_equal(gmm_fault_serve(wide->guest, 0x100 + page, GMM_ACCESS_WRITE), 0);
	for (i = 0; i < count; i++)
		gmm_equal(gmm_dirty_ring_push(vcpu, 0, pages[i]), 0);
	gmm_equal(gmm_dirty_ring_harvest(vcpu, out, SIZE), count);
	gmm_equal(gmm_dirty_ring_reset(vcpu), count);
	for (page = 0; page < 300; page++) {
		bool pushed = false;

		for (i = 0; i < count; i++)
			pushed |= pages[i] == page;
		gmm_equal(gmm_page_query(wide->guest, 0x100 + page, &info), 0);
		gmm_ok(info.writable == !pushed, "page %u", page);
	}
	gmm_equal(gmm_vcpu_destroy(vcpu), 0);
	wide_destroy(wide);
}

static void runs_are_protected_in_any_order_without_loss(void)
{
	static const uint32_t forward[] = { 10, 11, 12, 73, 74, 75 };
	static const uint32_t backward[] = { 73, 72, 10, 9, 8 };
	static const uint32_t far_back[] = { 100, 37, 36, 100, 163, 164 };
	static const uint32_t full_window[] = { 64, 65, 127, 63, 128, 64, 0 };
	static const uint32_t twice[] = { 5, 5, 4, 5, 299, 0, 299 };

	pages_are_protected(forward, 6);
	pages_are_protected(backward, 5);
	pages_are_protected(far_back, 6);
	pages_are_protected(full_window, 7);
	pages_are_protected(twice, 7);
}

static void random_pages_are_protected(void)
{
	uint64_t random = gmm_test_seed();
	uint32_t pages[SIZE], count, i, page = 150;

	count = 1 + gmm_test_random(&random) % SIZE;
	for (i = 0; i < count; i++) {
		/* Mostly near the last one, on both sides. */
		page = gmm_test_random(&random) % 4 ?
			       (page + 300 + gmm_test_random(&random) % 140 - 70) % 300 :
			       gmm_test_random(&random) % 300;
		pages[i] = page;
	}
	pages_are_protected(pages, count);
}

/* R5: what does not exist is passed over, and takes nothing with it that does. */
static void bad_slots_and_pages_are_passed_over(void)
{
	struct gmm_dirty_entry out[8];
	struct vcpu_user user;
	struct model model;

	ring_init(&model, &user, 0);
	gmm_must(model_guest_write(&model, 3, 1));
	gmm_equal(gmm_dirty_ring_push(user.vcpu, 7, 3), 0);
	gmm_equal(gmm_dirty_ring_push(user.vcpu, ~0u, ~(uint64_t)0), 0);
	gmm_equal(gmm_dirty_ring_push(user.vcpu, 0, ~(uint64_t)0), 0);
	gmm_equal(gmm_dirty_ring_push(user.vcpu, 0, ~(uint64_t)0 - 3), 0);
	gmm_must(model_guest_write(&model, 4, 1));
	gmm_equal(gmm_dirty_ring_harvest(user.vcpu, out, 8), 6);
	gmm_equal(gmm_dirty_ring_reset(user.vcpu), 6);
	gmm_ok(!unseen(&model, 3) && !unseen(&model, 4));
	gmm_equal(peek(&model), 0);
	ring_fini(&model, &user);
}

static void a_page_beyond_the_slot_does_not_hide_the_last_one(void)
{
	struct gmm_dirty_entry out[2];
	struct vcpu_user user;
	struct model model;

	ring_init(&model, &user, 0);
	gmm_must(model_guest_write(&model, MODEL_PAGES - 1, 1));
	gmm_equal(gmm_dirty_ring_push(user.vcpu, 0, MODEL_PAGES), 0);
	gmm_equal(gmm_dirty_ring_harvest(user.vcpu, out, 2), 2);
	gmm_equal(gmm_dirty_ring_reset(user.vcpu), 2);
	gmm_ok(!unseen(&model, MODEL_PAGES - 1), "its next write is not logged");
	ring_fini(&model, &user);
}

/* R6: one log. A harvest of the bitmap takes what the ring holds, and the device's marks with it. */
static void a_harvest_merges_ring_and_bitmap(void)
{
	struct gmm_dirty_entry out;
	struct vcpu_user user;
	struct model model;

	ring_init(&model, &user, 0);
	gmm_must(model_guest_write(&model, 3, 1));
	gmm_dirty_mark(model.guest, 8, 1);
	gmm_equal(peek(&model), 1u << 3 | 1u << 8);
	gmm_equal(gmm_dirty_ring_harvest(user.vcpu, &out, 1), 0);
	gmm_must(model_guest_write(&model, 4, 1));
	gmm_equal(harvest(&model), 1u << 3 | 1u << 4 | 1u << 8);
	gmm_ok(!unseen(&model, 3) && !unseen(&model, 4));
	gmm_equal(gmm_dirty_ring_reset(user.vcpu), 0);
	gmm_must(model_guest_write(&model, 3, 2));
	gmm_equal(gmm_dirty_ring_harvest(user.vcpu, &out, 1), 1);
	gmm_equal(out.page, 3);
	ring_fini(&model, &user);
}

/* The consumer has taken an entry and not reset it yet: it is still its business to protect the page. */
static void a_harvest_between_ring_harvest_and_reset_loses_no_write(void)
{
	struct gmm_dirty_entry out;
	struct vcpu_user user;
	struct model model;
	uint64_t bits;

	ring_init(&model, &user, 0);
	gmm_must(model_guest_write(&model, 3, 1));
	gmm_equal(gmm_dirty_ring_harvest(user.vcpu, &out, 1), 1);
	bits = harvest(&model);
	gmm_ok(gmm_dirty_ring_reset(user.vcpu) >= 0);
	gmm_ok(!unseen(&model, 3), "its next write is not logged (the harvest had 0x%llx)",
	       (unsigned long long)bits);
	ring_fini(&model, &user);
}

/* Taken back and not protected, it would be in no log: then the bitmap has it. */
static void a_reset_that_cannot_protect_loses_no_write(void)
{
	struct gmm_dirty_entry out;
	struct vcpu_user user;
	struct model model;

	ring_init(&model, &user, 0);
	gmm_must(model_guest_write(&model, 3, 1));
	gmm_equal(gmm_dirty_ring_harvest(user.vcpu, &out, 1), 1);
	model.memory.fail_at[MODEL_LIVE_PROTECT] = 1;
	(void)gmm_dirty_ring_reset(user.vcpu);
	if (unseen(&model, 3) && gmm_dirty_ring_reset(user.vcpu) <= 0)
		gmm_equal(harvest(&model), 1u << 3);
	ring_fini(&model, &user);
}

/* What an outside consumer has taken is its own; what comes behind it is there for a harvest. */
static void a_harvest_sees_what_an_outside_consumer_left(void)
{
	struct gmm_dirty_entry *entries;
	struct vcpu_user user;
	struct model model;

	ring_init(&model, &user, 0);
	entries = gmm_dirty_ring_entries(user.vcpu);
	gmm_must(model_guest_write(&model, 3, 1));
	gmm_must(model_guest_write(&model, 4, 1));
	gmm_store_release(&entries[0].flags, GMM_DIRTY_ENTRY_HARVESTED);
	gmm_equal(harvest(&model) & 1u << 4, 1u << 4);
	gmm_ok(gmm_dirty_ring_reset(user.vcpu) >= 1);
	gmm_ok(!unseen(&model, 3) && !unseen(&model, 4));
	gmm_must(model_guest_write(&model, 4, 2));
	gmm_equal(harvest(&model), 1u << 4);
	ring_fini(&model, &user);
}

static void a_vcpu_that_goes_leaves_its_entries_to_the_bitmap(void)
{
	struct vcpu_user user;
	struct model model;

	ring_init(&model, &user, 0);
	gmm_must(model_guest_write(&model, 3, 1));
	model.vcpu = NULL;
	vcpu_user_destroy(&user);
	gmm_equal(harvest(&model), 1u << 3);
	model_fini(&model);
}

#define CASE(name)          \
	{                   \
#name, name \
	}

const struct gmm_test_case gmm_test_cases[] = {
	CASE(a_ring_has_a_size_within_limits_and_is_made_once),
	CASE(a_write_fault_of_the_vcpu_goes_to_its_ring),
	CASE(a_write_fault_on_resident_memory_goes_to_the_ring_too),
	CASE(after_a_reset_the_next_write_is_seen_again),
	CASE(a_push_never_fails),
	CASE(indices_go_round_many_times),
	CASE(a_reset_leaves_what_nobody_harvested),
	CASE(an_outside_consumer_needs_only_the_flags),
	CASE(runs_are_protected_in_any_order_without_loss),
	CASE(random_pages_are_protected),
	CASE(bad_slots_and_pages_are_passed_over),
	CASE(a_page_beyond_the_slot_does_not_hide_the_last_one),
	CASE(a_harvest_merges_ring_and_bitmap),
	CASE(a_harvest_between_ring_harvest_and_reset_loses_no_write),
	CASE(a_reset_that_cannot_protect_loses_no_write),
	CASE(a_harvest_sees_what_an_outside_consumer_left),
	CASE(a_vcpu_that_goes_leaves_its_entries_to_the_bitmap),
	{ NULL, NULL },
};
