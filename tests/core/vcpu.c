/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* vCPUs: modes, requests, sets, and what is refused; one thread. Rules P23, P34, W8. */
#include "vcpu_user.h"

static void a_vcpu_goes_through_its_modes(void)
{
	struct vcpu_user user;
	struct model model;

	model_init(&model, 0);
	vcpu_user_create(&user, &model, 3);
	gmm_equal(gmm_vcpu_mode(user.vcpu), GMM_VCPU_OUTSIDE);
	gmm_equal(gmm_vcpu_enter(user.vcpu), 0);
	gmm_equal(gmm_vcpu_mode(user.vcpu), GMM_VCPU_IN_GUEST);
	gmm_equal(gmm_vcpu_request(user.vcpu, 3, 0), 1);
	gmm_equal(gmm_vcpu_mode(user.vcpu), GMM_VCPU_EXITING);
	gmm_equal(vcpu_user_kicks(&user), 1);
	gmm_equal(gmm_vcpu_request(user.vcpu, 4, 0), 1);
	gmm_ok(gmm_vcpu_exit(user.vcpu), "it was kicked");
	gmm_equal(gmm_vcpu_mode(user.vcpu), GMM_VCPU_OUTSIDE);
	gmm_equal(gmm_vcpu_take_requests(user.vcpu), 1u << 3 | 1u << 4);
	gmm_equal(gmm_vcpu_enter(user.vcpu), 0);
	gmm_ok(!gmm_vcpu_exit(user.vcpu), "it was not kicked");
	vcpu_user_destroy(&user);
	model_fini(&model);
}

static void a_pending_request_keeps_a_vcpu_out(void)
{
	struct vcpu_user user;
	struct model model;
	uint32_t request;

	model_init(&model, 0);
	vcpu_user_create(&user, &model, 0);
	for (request = 0; request < GMM_REQUEST_NONE; request++) {
		gmm_equal(gmm_vcpu_request(user.vcpu, request, 0), 0);
		gmm_equal(gmm_vcpu_enter(user.vcpu), -GMM_EAGAIN);
		gmm_equal(gmm_vcpu_mode(user.vcpu), GMM_VCPU_OUTSIDE);
		gmm_equal(gmm_vcpu_take_requests(user.vcpu), 1u << request);
		gmm_equal(gmm_vcpu_take_requests(user.vcpu), 0);
	}
	gmm_equal(gmm_vcpu_enter(user.vcpu), 0);
	gmm_vcpu_exit(user.vcpu);
	gmm_equal(vcpu_user_kicks(&user), 0);
	vcpu_user_destroy(&user);
	model_fini(&model);
}

/* P23: what makes a vCPU leave, and nothing else, must not keep it from entering. */
static void a_request_without_a_number_leaves_no_bit(void)
{
	struct vcpu_user user;
	struct model model;

	model_init(&model, 0);
	vcpu_user_create(&user, &model, 0);
	gmm_equal(gmm_vcpu_request(user.vcpu, GMM_REQUEST_NONE, GMM_REQUEST_WAIT), 0);
	gmm_equal(gmm_vcpu_enter(user.vcpu), 0);
	gmm_equal(gmm_vcpu_request(user.vcpu, GMM_REQUEST_NONE, 0), 1);
	gmm_ok(gmm_vcpu_exit(user.vcpu));
	gmm_equal(gmm_vcpu_take_requests(user.vcpu), 0);
	gmm_equal(gmm_vcpu_enter(user.vcpu), 0);
	gmm_ok(!gmm_vcpu_exit(user.vcpu));
	vcpu_user_destroy(&user);
	model_fini(&model);
}

static void an_invalidation_leaves_no_bit(void)
{
	struct gmm_range range = model_frames(2, 1);
	struct vcpu_user user;
	struct gmm_cache *cache;
	struct model model;
	uint32_t i;

	model_init(&model, 0);
	vcpu_user_create(&user, &model, 0);
	cache = vcpu_user_cache(&model, 2, 0, &user, NULL);
	for (i = 0; i < 3; i++) {
		gmm_equal(gmm_vcpu_enter(user.vcpu), 0);
		gmm_equal(vcpu_user_read(&user, &model, cache), model_word(2));
		gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &range, 1,
					       GMM_INVALIDATE_NONBLOCKING, NULL),
			  0);
		gmm_ok(gmm_vcpu_exit(user.vcpu));
		model_move_page(&model, 2);
		gmm_invalidate_end(model.guest, GMM_RANGE_GFN, &range, 1);
		gmm_equal(gmm_vcpu_take_requests(user.vcpu), 0);
	}
	gmm_equal(gmm_cache_destroy(cache), 0);
	vcpu_user_destroy(&user);
	model_fini(&model);
}

static void what_is_out_of_range_is_refused(void)
{
	struct vcpu_user user, again;
	struct model model;

	model_init(&model, 0);
	vcpu_user_create(&user, &model, 1);
	gmm_equal(gmm_vcpu_create(model.guest, 4, (gmm_vcpu_kick_fn)(uintptr_t)1, NULL,
				  &again.vcpu),
		  -GMM_EINVAL);
	gmm_equal(gmm_vcpu_create(model.guest, 2, NULL, NULL, &again.vcpu), -GMM_EINVAL);
	gmm_equal(gmm_vcpu_create(model.guest, 1, (gmm_vcpu_kick_fn)(uintptr_t)1, NULL,
				  &again.vcpu),
		  -GMM_EEXIST);
	gmm_equal(gmm_vcpu_request(user.vcpu, GMM_REQUEST_NONE + 1, 0), -GMM_EINVAL);
	gmm_equal(gmm_vcpu_request(user.vcpu, 0, 4), -GMM_EINVAL);
	gmm_equal(gmm_vcpu_take_requests(user.vcpu), 0);
	gmm_equal(gmm_vcpu_enter(user.vcpu), 0);
	gmm_equal(gmm_vcpu_sleep(user.vcpu), -GMM_EBUSY);
	gmm_equal(gmm_vcpu_destroy(user.vcpu), -GMM_EBUSY);
	gmm_vcpu_exit(user.vcpu);
	gmm_equal(gmm_guest_destroy(model.guest), -GMM_EBUSY);
	vcpu_user_destroy(&user);
	vcpu_user_create(&again, &model, 1);
	vcpu_user_destroy(&again);
	model_fini(&model);
}

static void nothing_that_waits_is_allowed_in_a_section(void)
{
	struct gmm_reader *reader;
	struct vcpu_user user;
	struct gmm_cache *cache;
	struct model model;
	uint64_t ids = 1;

	model_init(&model, 0);
	vcpu_user_create(&user, &model, 0);
	cache = vcpu_user_cache(&model, 2, 0, NULL, NULL);
	gmm_must(!gmm_reader_register(model.guest, &reader));
	gmm_section_enter(reader);
	gmm_equal(gmm_vcpu_enter(user.vcpu), -GMM_EDEADLK);
	gmm_equal(gmm_vcpu_sleep(user.vcpu), -GMM_EDEADLK);
	gmm_equal(gmm_vcpu_request(user.vcpu, 1, GMM_REQUEST_WAIT), -GMM_EDEADLK);
	gmm_equal(gmm_vcpus_request(model.guest, &ids, 1, 1, GMM_REQUEST_WAIT), -GMM_EDEADLK);
	gmm_equal(gmm_cache_vcpu_add(cache, user.vcpu), -GMM_EDEADLK);
	gmm_equal(gmm_vcpu_request(user.vcpu, GMM_REQUEST_NONE, 0), 0);
	gmm_section_exit(reader);
	gmm_equal(gmm_vcpu_take_requests(user.vcpu), 0);
	gmm_reader_unregister(reader);
	gmm_equal(gmm_cache_destroy(cache), 0);
	vcpu_user_destroy(&user);
	model_fini(&model);
}

static void a_mask_of_vcpus_is_obeyed(void)
{
	uint64_t ids[2] = { 1u << 0 | 1u << 2 | 1u << 3, ~(uint64_t)0 };
	struct vcpu_user users[3];
	struct model model;
	uint32_t i;

	model_init(&model, 0);
	for (i = 0; i < 3; i++)
		vcpu_user_create(&users[i], &model, i);
	gmm_equal(gmm_vcpu_enter(users[1].vcpu), 0);
	gmm_equal(gmm_vcpu_enter(users[2].vcpu), 0);
	gmm_equal(gmm_vcpus_request(model.guest, ids, 2, 7, 0), 1);
	for (i = 0; i < 3; i++) {
		gmm_equal(vcpu_user_kicks(&users[i]), i == 2);
		gmm_equal(gmm_vcpu_take_requests(users[i].vcpu), i == 1 ? 0 : 1u << 7);
	}
	gmm_equal(gmm_vcpus_request(model.guest, ids, 0, 7, 0), 0);
	gmm_ok(!gmm_vcpu_exit(users[1].vcpu));
	gmm_ok(gmm_vcpu_exit(users[2].vcpu));
	for (i = 0; i < 3; i++)
		vcpu_user_destroy(&users[i]);
	model_fini(&model);
}

static void a_set_changes_only_outside_guest_mode(void)
{
	struct vcpu_user user, other;
	struct gmm_cache *cache;
	struct model model;

	model_init(&model, 0);
	vcpu_user_create(&user, &model, 0);
	vcpu_user_create(&other, &model, 1);
	cache = vcpu_user_cache(&model, 2, 0, NULL, NULL);
	gmm_equal(gmm_cache_vcpu_remove(cache, user.vcpu), -GMM_ENOENT);
	gmm_equal(gmm_vcpu_enter(user.vcpu), 0);
	gmm_equal(gmm_cache_vcpu_add(cache, user.vcpu), -GMM_EBUSY);
	gmm_equal(gmm_vcpu_pfn(user.vcpu, cache, 0), GMM_PFN_NONE);
	gmm_vcpu_exit(user.vcpu);
	gmm_equal(gmm_cache_vcpu_add(cache, user.vcpu), 0);
	gmm_equal(gmm_cache_vcpu_add(cache, user.vcpu), -GMM_EEXIST);
	gmm_equal(gmm_vcpu_enter(user.vcpu), 0);
	gmm_equal(gmm_cache_vcpu_remove(cache, user.vcpu), -GMM_EBUSY);
	gmm_equal(gmm_cache_vcpu_add(cache, other.vcpu), 0);
	gmm_vcpu_exit(user.vcpu);
	gmm_equal(gmm_vcpu_destroy(user.vcpu), -GMM_EBUSY);
	gmm_equal(gmm_cache_vcpu_remove(cache, user.vcpu), 0);
	gmm_equal(gmm_cache_vcpu_remove(cache, user.vcpu), -GMM_ENOENT);
	vcpu_user_destroy(&user);
	gmm_equal(gmm_cache_destroy(cache), 0);
	gmm_equal(gmm_vcpu_enter(other.vcpu), 0);
	gmm_vcpu_exit(other.vcpu);
	vcpu_user_destroy(&other);
	model_fini(&model);
}

static void exactly_the_vcpus_of_a_set_are_kicked(void)
{
	struct gmm_range hit = model_frames(2, 1), beside = model_frames(3, 1);
	struct gmm_invalidate_result result;
	struct vcpu_user users[3];
	struct gmm_cache *cache;
	struct model model;
	uint32_t i;

	model_init(&model, 0);
	for (i = 0; i < 3; i++)
		vcpu_user_create(&users[i], &model, i);
	cache = vcpu_user_cache(&model, 2, 0, &users[0], &users[2]);
	for (i = 0; i < 3; i++)
		gmm_equal(gmm_vcpu_enter(users[i].vcpu), 0);
	gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &beside, 1, 0, &result), 0);
	gmm_equal(result.kicked, 0);
	gmm_invalidate_end(model.guest, GMM_RANGE_GFN, &beside, 1);
	gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &hit, 1,
				       GMM_INVALIDATE_NONBLOCKING, &result),
		  0);
	gmm_equal(result.kicked, 2);
	for (i = 0; i < 3; i++) {
		gmm_equal(vcpu_user_kicks(&users[i]), i != 1);
		gmm_equal(gmm_vcpu_exit(users[i].vcpu), i != 1);
	}
	gmm_invalidate_end(model.guest, GMM_RANGE_GFN, &hit, 1);
	gmm_equal(gmm_cache_destroy(cache), 0);
	for (i = 0; i < 3; i++)
		vcpu_user_destroy(&users[i]);
	model_fini(&model);
}

static void a_vcpu_refreshes_its_caches_before_it_enters(void)
{
	struct gmm_range range = model_frames(2, 2);
	struct gmm_cache *cache, *inactive;
	struct vcpu_user user;
	struct model model;

	model_init(&model, 0);
	vcpu_user_create(&user, &model, 0);
	cache = vcpu_user_cache(&model, 2, 0, &user, NULL);
	inactive = vcpu_user_cache(&model, 3, 0, &user, NULL);
	gmm_equal(gmm_cache_deactivate(inactive), 0);
	gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &range, 1, 0, NULL), 0);
	model_move_page(&model, 2);
	gmm_invalidate_end(model.guest, GMM_RANGE_GFN, &range, 1);
	gmm_equal(gmm_vcpu_enter(user.vcpu), 0);
	gmm_equal(vcpu_user_read(&user, &model, cache), model_word(2));
	gmm_equal(gmm_vcpu_pfn(user.vcpu, cache, 1), GMM_PFN_NONE);
	gmm_equal(gmm_vcpu_pfn(user.vcpu, inactive, 0), GMM_PFN_NONE);
	/* Its target comes too late for this stay. */
	gmm_equal(gmm_cache_activate(inactive, 3 * MODEL_PAGE_BYTES, 8, GMM_CACHE_GUEST), 0);
	gmm_equal(gmm_vcpu_pfn(user.vcpu, inactive, 0), GMM_PFN_NONE);
	gmm_vcpu_exit(user.vcpu);
	gmm_equal(gmm_vcpu_enter(user.vcpu), 0);
	gmm_equal(vcpu_user_read(&user, &model, inactive), model_word(3));
	gmm_vcpu_exit(user.vcpu);
	gmm_equal(gmm_cache_destroy(inactive), 0);
	gmm_equal(gmm_cache_destroy(cache), 0);
	vcpu_user_destroy(&user);
	model_fini(&model);
}

static void a_refresh_that_fails_keeps_the_vcpu_out(void)
{
	struct gmm_range range = model_frames(2, 1);
	struct gmm_cache *cache;
	struct vcpu_user user;
	struct model model;

	model_init(&model, 0);
	vcpu_user_create(&user, &model, 0);
	cache = vcpu_user_cache(&model, 2, 0, &user, NULL);
	gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &range, 1, 0, NULL), 0);
	gmm_equal(gmm_vcpu_enter(user.vcpu), -GMM_EDEADLK);
	gmm_invalidate_end(model.guest, GMM_RANGE_GFN, &range, 1);
	model.memory.fail_at[MODEL_RESOLVE] = model.memory.calls[MODEL_RESOLVE] + 1;
	gmm_equal(gmm_vcpu_enter(user.vcpu), -GMM_EIO);
	gmm_equal(gmm_vcpu_mode(user.vcpu), GMM_VCPU_OUTSIDE);
	gmm_equal(gmm_vcpu_enter(user.vcpu), 0);
	gmm_equal(vcpu_user_read(&user, &model, cache), model_word(2));
	gmm_vcpu_exit(user.vcpu);
	gmm_equal(gmm_cache_destroy(cache), 0);
	vcpu_user_destroy(&user);
	model_fini(&model);
}

/* A drop undoes the host's mapping only; whatever becomes of the next refresh, the guest's frame is good. */
static void a_frame_survives_a_drop_and_a_refresh_that_fails(void)
{
	struct gmm_cache *cache;
	struct vcpu_user user;
	struct model model;

	model_init(&model, 0);
	vcpu_user_create(&user, &model, 0);
	cache = vcpu_user_cache(&model, 2, GMM_CACHE_HOST, &user, NULL);
	gmm_equal(gmm_vcpu_enter(user.vcpu), 0);
	gmm_equal(gmm_cache_drop(cache), 0);
	gmm_equal(vcpu_user_read(&user, &model, cache), model_word(2));
	model.memory.fail_at[MODEL_MAP] = model.memory.calls[MODEL_MAP] + 1;
	gmm_equal(gmm_cache_refresh(cache), -GMM_EIO);
	gmm_equal(vcpu_user_read(&user, &model, cache), model_word(2));
	gmm_vcpu_exit(user.vcpu);
	gmm_equal(gmm_cache_destroy(cache), 0);
	vcpu_user_destroy(&user);
	model_fini(&model);
}

static void count_lines(void *opaque, enum gmm_log_level level, const char *text)
{
	gmm_equal(level, GMM_LOG_WARNING);
	gmm_fetch_add((uint32_t *)opaque, 1u);
}

/* P34: who may not wait does not, and says so once. */
static void a_nonblocking_begin_that_finds_a_vcpu_warns_once_and_counts(void)
{
	uint32_t lines = 0, i;
	struct gmm_guest_config config = { .log = count_lines, .log_opaque = &lines };
	struct gmm_range range = model_frames(2, 1);
	struct gmm_guest_counters counters;
	struct gmm_cache *cache;
	struct vcpu_user user;
	struct model model;

	model_init_config(&model, 0, config);
	vcpu_user_create(&user, &model, 0);
	cache = vcpu_user_cache(&model, 2, 0, &user, NULL);
	for (i = 0; i < 4; i++) {
		if (i)
			gmm_equal(gmm_vcpu_enter(user.vcpu), 0);
		gmm_equal(gmm_invalidate_begin(model.guest, GMM_RANGE_GFN, &range, 1,
					       GMM_INVALIDATE_NONBLOCKING, NULL),
			  0);
		if (i)
			gmm_ok(gmm_vcpu_exit(user.vcpu));
		gmm_invalidate_end(model.guest, GMM_RANGE_GFN, &range, 1);
		gmm_guest_read_counters(model.guest, &counters);
		gmm_equal(counters.nonblocking_in_guest, i);
		gmm_equal(lines, i > 0);
	}
	gmm_equal(gmm_cache_destroy(cache), 0);
	vcpu_user_destroy(&user);
	model_fini(&model);
}

static void a_wake_that_comes_before_the_sleep_ends_it(void)
{
	struct vcpu_user user;
	struct model model;

	model_init(&model, 0);
	vcpu_user_create(&user, &model, 0);
	gmm_vcpu_wake(user.vcpu);
	gmm_equal(gmm_vcpu_sleep(user.vcpu), 0);
	gmm_equal(gmm_vcpu_request(user.vcpu, 1, 0), 0);
	gmm_equal(gmm_vcpu_sleep(user.vcpu), 0);
	gmm_equal(gmm_vcpu_take_requests(user.vcpu), 2);
	vcpu_user_destroy(&user);
	model_fini(&model);
}

#define CASE(name)          \
	{                   \
#name, name \
	}

const struct gmm_test_case gmm_test_cases[] = {
	CASE(a_vcpu_goes_through_its_modes),
	CASE(a_pending_request_keeps_a_vcpu_out),
	CASE(a_request_without_a_number_leaves_no_bit),
	CASE(an_invalidation_leaves_no_bit),
	CASE(what_is_out_of_range_is_refused),
	CASE(nothing_that_waits_is_allowed_in_a_section),
	CASE(a_mask_of_vcpus_is_obeyed),
	CASE(a_set_changes_only_outside_guest_mode),
	CASE(exactly_the_vcpus_of_a_set_are_kicked),
	CASE(a_vcpu_refreshes_its_caches_before_it_enters),
	CASE(a_refresh_that_fails_keeps_the_vcpu_out),
	CASE(a_frame_survives_a_drop_and_a_refresh_that_fails),
	CASE(a_nonblocking_begin_that_finds_a_vcpu_warns_once_and_counts),
	CASE(a_wake_that_comes_before_the_sleep_ends_it),
	{ NULL, NULL },
};
