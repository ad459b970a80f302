/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Each allocation of a call fails in its turn: the call says -GMM_ENOMEM, has changed nothing, and
 * works as soon as there is memory. What is leaked is found in the end.
 */
#include "vcpu_user.h"

#define PAGE 5u

/* A call on a fresh model, and what must be so after it failed and after it succeeded. */
struct attempt {
	uint32_t traits;
	void (*prepare)(struct model *model, struct vcpu_user *user);
	int (*call)(struct model *model, struct vcpu_user *user);
	void (*untouched)(struct model *model, struct vcpu_user *user);
	uint32_t allocations; /* at least */
};

/* Returns whether the nth allocation was reached. */
static bool fail_nth(const struct attempt *attempt, uint32_t nth)
{
	uint64_t live = gmm_port_alloc_live();
	struct vcpu_user user;
	struct model model;
	bool failed;
	int answer;

	model_init(&model, attempt->traits);
	vcpu_user_create(&user, &model, 0);
	if (attempt->prepare)
		attempt->prepare(&model, &user);
	gmm_port_alloc_fail_at(nth);
	answer = attempt->call(&model, &user);
	failed = gmm_port_alloc_failed();
	gmm_port_alloc_fail_at(0);
	if (failed) {
		gmm_equal(answer, -GMM_ENOMEM);
		if (attempt->untouched)
			attempt->untouched(&model, &user);
		answer = attempt->call(&model, &user);
	}
	gmm_ok(answer >= 0, "%d with memory again", answer);
	vcpu_user_destroy(&user);
	model_fini(&model);
	gmm_equal(gmm_port_alloc_live(), live);
	return failed;
}

static void fail_each(const struct attempt *attempt)
{
	uint32_t nth = 1;

	while (fail_nth(attempt, nth))
		nth++;
	gmm_ok(nth > attempt->allocations, "only %u allocations", nth - 1);
}

static void not_resident(struct model *model, struct vcpu_user *user)
{
	struct gmm_page_info info;

	gmm_equal(gmm_page_query(model->guest, PAGE, &info), 0);
	gmm_ok(info.state == GMM_PAGE_ABSENT && !info.busy && !info.mapped);
	gmm_equal(model->memory.calls[MODEL_FILL], 0);
	gmm_equal(model->memory.calls[MODEL_RESOLVE], 0);
}

static int serve(struct model *model, struct vcpu_user *user)
{
	return gmm_fault_serve(model->guest, PAGE, GMM_ACCESS_WRITE);
}

static int populate(struct model *model, struct vcpu_user *user)
{
	return gmm_fault_populate(model->guest, PAGE, 2, GMM_ACCESS_READ, 0);
}

static int discard(struct model *model, struct vcpu_user *user)
{
	return gmm_discard(model->guest, PAGE, 1);
}

static int read_page(struct model *model, struct vcpu_user *user)
{
	uint64_t page[MODEL_PAGE_BYTES / 8];

	return gmm_page_read(model->guest, PAGE, page);
}

static void a_fault_without_memory_for_tables_changes_nothing(void)
{
	static const struct attempt attempts[] = {
		{ MODEL_LAZY | MODEL_OWNER, NULL, serve, not_resident, 3 },
		{ 0, NULL, serve, not_resident, 3 },
		{ MODEL_LAZY | MODEL_OWNER, NULL, populate, not_resident, 3 },
		{ MODEL_LAZY | MODEL_OWNER, NULL, discard, not_resident, 3 },
		{ MODEL_LAZY | MODEL_OWNER, NULL, read_page, not_resident, 0 },
	};
	uint32_t i;

	for (i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++)
		fail_each(&attempts[i]);
}

static void make_resident(struct model *model, struct vcpu_user *user)
{
	gmm_ok(model_guest_write(model, PAGE, 7));
}

static void still_resident(struct model *model, struct vcpu_user *user)
{
	uint64_t word = 0;

	gmm_equal(gmm_resident_pages(model->guest), 1);
	gmm_ok(model_guest_try(model, PAGE, true, &(uint64_t){ 7 }));
	gmm_ok(model_guest_read(model, PAGE, &word));
	gmm_equal(word, 7);
}

static int evict(struct model *model, struct vcpu_user *user)
{
	return (int)gmm_evict(model->guest, 0, MODEL_PAGES, 0);
}

static int trim(struct model *model, struct vcpu_user *user)
{
	return (int)gmm_resident_trim(model->guest, 0);
}

static int start_log(struct model *model, struct vcpu_user *user)
{
	return gmm_slot_set_flags(model->guest, 0, GMM_SLOT_LOG_DIRTY);
}

static void no_log(struct model *model, struct vcpu_user *user)
{
	struct gmm_slot_config slot;

	gmm_equal(gmm_slot_get(model->guest, 0, &slot), 0);
	gmm_equal(slot.flags, 0);
	still_resident(model, user);
}

static int age(struct model *model, struct vcpu_user *user)
{
	return (int)gmm_age(model->guest, 0, MODEL_PAGES, 0, NULL);
}

static void changes_without_memory_change_nothing(void)
{
	static const struct attempt attempts[] = {
		{ MODEL_LAZY | MODEL_OWNER, make_resident, evict, still_resident, 1 },
		{ MODEL_LAZY | MODEL_OWNER, make_resident, trim, NULL, 1 },
		{ MODEL_LAZY | MODEL_OWNER, make_resident, discard, still_resident, 0 },
		{ MODEL_LAZY | MODEL_OWNER, make_resident, age, still_resident, 0 },
		{ MODEL_LAZY | MODEL_OWNER, make_resident, start_log, no_log, 3 },
	};
	uint32_t i;

	for (i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++)
		fail_each(&attempts[i]);
}

static void kick_nothing(void *opaque, uint32_t id)
{
}

static int create_vcpu(struct model *model, struct vcpu_user *user)
{
	struct gmm_vcpu *vcpu;
	int error = gmm_vcpu_create(model->guest, 1, kick_nothing, NULL, &vcpu);

	return error ? error : gmm_vcpu_destroy(vcpu);
}

static int create_ring(struct model *model, struct vcpu_user *user)
{
	return gmm_dirty_ring_create(user->vcpu, GMM_DIRTY_RING_MIN);
}

static void no_ring(struct model *model, struct vcpu_user *user)
{
	gmm_ok(!gmm_dirty_ring_entries(user->vcpu));
	gmm_equal(gmm_dirty_ring_push(user->vcpu, 0, 1), -GMM_ENOENT);
	gmm_equal(gmm_vcpu_enter(user->vcpu), 0);
	gmm_vcpu_exit(user->vcpu);
}

/* Into the sets of more caches than there is room for at first. */
static int join_sets(struct model *model, struct vcpu_user *user)
{
	struct gmm_cache *caches[6];
	uint32_t count = 0, i;
	int error = 0;

	while (count < 6 && !error) {
		error = gmm_cache_create(model->guest, &caches[count]);
		if (error)
			break;
		error = gmm_cache_vcpu_add(caches[count], user->vcpu);
		if (error)
			gmm_equal(gmm_cache_vcpu_remove(caches[count], user->vcpu), -GMM_ENOENT);
		count++;
	}
	for (i = 0; i < count; i++)
		gmm_equal(gmm_cache_destroy(caches[i]), 0);
	return error;
}

static void vcpus_without_memory_change_nothing(void)
{
	static const struct attempt attempts[] = {
		{ 0, NULL, create_vcpu, NULL, 1 },
		{ 0, NULL, create_ring, no_ring, 2 },
		{ 0, NULL, join_sets, NULL, 8 },
	};
	uint32_t i;

	for (i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++)
		fail_each(&attempts[i]);
}

#define CASE(name)          \
	{                   \
#name, name \
	}

const struct gmm_test_case gmm_test_cases[] = {
	CASE(a_fault_without_memory_for_tables_changes_nothing),
	CASE(changes_without_memory_change_nothing),
	CASE(vcpus_without_memory_change_nothing),
	{ NULL, NULL },
};
