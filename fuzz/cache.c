/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Caches and leases over slots that change: a cache that says it is valid has the pointer, the
 * frames and the rights that there are now; what an operation does not touch stays valid; what
 * cannot be is refused for the right reason and changes nothing. This file has the operations, each
 * with its effect on the reference (cache_reference.h) and the errors that it may answer with.
 */
#include <string.h>

#include "cache_reference.h"

/* Whoever takes a cache away from vCPUs would wait for one that its own change holds. */
static void expect_deadlock(const struct run *run, const struct reference *cache,
			    struct fuzz_errors *expected)
{
	if (run->changing.end && reference_is_used(run, cache))
		fuzz_expect(expected, GMM_EDEADLK);
}

/* A cache that goes is in nobody's set any more, and nobody that used it is in guest mode. */
static void forget_users(struct run *run, const struct reference *cache)
{
	uint32_t i;

	for (i = 0; i < VCPUS; i++) {
		fuzz_check(!run->users[i].inside || !run->users[i].uses[cache - run->caches],
			   "a vCPU goes on with a cache that is gone");
		run->users[i].uses[cache - run->caches] = false;
	}
}

static void do_create(struct run *run)
{
	struct reference *cache = take_cache(run);
	struct fuzz_errors expected = { 0 };
	int answer;

	if (cache->cache) {
		expect_deadlock(run, cache, &expected);
		if (cache->leases)
			fuzz_expect(&expected, GMM_EBUSY);
		answer = gmm_cache_destroy(cache->cache);
		fuzz_check_answer(&expected, answer, false, "destroy");
		if (!answer) {
			*cache = (struct reference){ .run = run };
			forget_users(run, cache);
		}
		return;
	}
	answer = gmm_cache_create(run->model.guest, &cache->cache);
	fuzz_check_answer(&expected, answer, model_injected(&run->model), "create");
	if (!answer)
		fuzz_check(!gmm_lease_set_ask(cache->cache, lease_ask, cache),
			   "nobody can be asked");
	else
		cache->cache = NULL;
}

static void take_target(struct run *run, struct reference *target)
{
	uint32_t frame = program_take(run->program, SPACE);
	uint32_t how = program_byte(run->program);
	uint32_t within = how & 1 ? 0 : how & 2 ? 4095 : 8;
	static const uint64_t lengths[] = { 1, 4096, 4097, 8191, 40000, 0, 513ull << 12, 8 };

	target->length = lengths[(how >> 2) % 8];
	target->uses = (how >> 5) + 1 > 7 ? 0 : (how >> 5) + 1;
	if (target->kind == GMM_RANGE_GFN)
		target->target = ((FIRST_GFN - 2 + (uint64_t)frame) << 12) + within;
	else
		target->target = model_hva(&run->model.memories[frame & 1], frame / 2) + within;
	if (frame == SPACE - 1)
		target->target = (target->kind == GMM_RANGE_GFN ? 1ull << 23 : 0) - 8;
}

static bool expect_target(const struct run *run, const struct reference *cache,
			  const struct reference *target, struct fuzz_errors *expected)
{
	uint64_t last = target->target + target->length - 1;

	if (!target->length || !(target->uses & (GMM_CACHE_HOST | GMM_CACHE_GUEST)))
		fuzz_expect(expected, GMM_EINVAL);
	else if (last < target->target ||
		 (target->kind == GMM_RANGE_GFN && last >= (uint64_t)1 << 23))
		fuzz_expect(expected, GMM_ERANGE);
	else if (reference_pages(target) > GMM_CACHE_PAGES_MAX)
		fuzz_expect(expected, GMM_EINVAL);
	expect_deadlock(run, cache, expected);
	if (cache->leases)
		fuzz_expect(expected, GMM_EBUSY);
	return !expected->count;
}

static void do_activate(struct run *run, enum gmm_range_kind kind)
{
	struct reference *cache = take_cache(run), target = { .kind = kind };
	struct fuzz_errors expected = { 0 };
	bool good;
	int answer;

	take_target(run, &target);
	if (!cache->cache)
		return;
	good = expect_target(run, cache, &target, &expected);
	if (good || (expected.errors[0] == GMM_EBUSY))
		reference_expect_refresh(run, &target, &expected);
	answer = (kind == GMM_RANGE_GFN ? gmm_cache_activate : gmm_cache_activate_hva)(
		cache->cache, target.target, target.length, target.uses);
	fuzz_say("activate %llx + %llu, uses %u", (unsigned long long)target.target,
		 (unsigned long long)target.length, target.uses);
	fuzz_check_answer(&expected, answer, model_injected(&run->model), "activate");
	if (!good || answer == -GMM_EDEADLK)
		return;
	cache->active = true;
	cache->kind = kind;
	cache->target = target.target;
	cache->length = target.length;
	cache->uses = target.uses;
	/* From a success on it is valid until somebody touches it. */
	cache->valid = !answer;
	cache->touched = answer;
}

static void do_refresh(struct run *run)
{
	struct reference *cache = take_cache(run);
	struct fuzz_errors expected = { 0 };
	int answer;

	if (!cache->cache)
		return;
	if (!cache->active)
		fuzz_expect(&expected, GMM_EINVAL);
	else
		reference_expect_refresh(run, cache, &expected);
	answer = gmm_cache_refresh(cache->cache);
	/* It would wait for a lease on frames that went. */
	if (answer == -GMM_EDEADLK && cache->leases && run->changing.end)
		return;
	fuzz_check_answer(&expected, answer, model_injected(&run->model), "refresh");
	fuzz_check(!answer || !cache->valid, "the refresh of a valid cache fails");
	if (!answer)
		cache->valid = true;
}

static void do_drop(struct run *run, bool all)
{
	struct reference *cache = take_cache(run);
	struct fuzz_errors expected = { 0 };
	int answer;

	if (!cache->cache)
		return;
	expect_deadlock(run, cache, &expected);
	if (cache->leases)
		fuzz_expect(&expected, GMM_EBUSY);
	if (!all && !cache->active)
		fuzz_expect(&expected, GMM_EINVAL);
	answer = (all ? gmm_cache_deactivate : gmm_cache_drop)(cache->cache);
	fuzz_check_answer(&expected, answer, false, all ? "deactivate" : "drop");
	if (answer)
		return;
	cache->valid = false;
	cache->active &= !all;
	gmm_section_enter(run->model.reader);
	fuzz_check(!gmm_cache_pointer(cache->cache, 0, 0), "a pointer stays");
	gmm_section_exit(run->model.reader);
}

static void do_write(struct run *run)
{
	struct reference *cache = take_cache(run);
	uint64_t offset = program_byte(run->program) * 2048;
	struct truth truth;
	struct model_page *page;

	if (!cache->cache || !cache->active)
		return;
	gmm_section_enter(run->model.reader);
	if (gmm_cache_pointer(cache->cache, offset, 1) && gmm_cache_writable(cache->cache)) {
		const struct gmm_slot_config *slot;
		uint32_t number = (uint32_t)((cache->target % 4096 + offset) >> 12);
		gmm_gfn_t gfn;

		reference_truth(run, cache, &truth);
		slot = reference_slot_of(run, cache, number, &gfn);
		page = &truth.memory->pages[truth.page + number];
		*model_frame(truth.memory, page->frame) = model_new_word(&run->model);
		gmm_cache_mark_dirty(cache->cache, offset, 1);
		if (slot)
			model_note_write(slot, page, *model_frame(truth.memory, page->frame));
		else
			page->word = *model_frame(truth.memory, page->frame);
	}
	gmm_section_exit(run->model.reader);
}

/* In a section nothing that may wait is done. */
static void do_in_section(struct run *run)
{
	struct reference *cache = take_cache(run);
	const struct user *user = &run->users[0];
	void *pointer;

	if (!cache->cache)
		return;
	gmm_section_enter(run->model.reader);
	fuzz_check(gmm_cache_refresh(cache->cache) == -GMM_EDEADLK &&
			   gmm_cache_activate(cache->cache, 0, 1, GMM_CACHE_HOST) == -GMM_EDEADLK &&
			   gmm_cache_drop(cache->cache) == -GMM_EDEADLK &&
			   gmm_cache_deactivate(cache->cache) == -GMM_EDEADLK &&
			   gmm_cache_destroy(cache->cache) == -GMM_EDEADLK &&
			   gmm_lease_take(cache->cache, 0, 1, 0, &pointer) == -GMM_EDEADLK &&
			   gmm_lease_set_ask(cache->cache, NULL, NULL) == -GMM_EDEADLK,
		   "a cache is changed in a section");
	fuzz_check(gmm_cache_vcpu_add(cache->cache, user->vcpu) == -GMM_EDEADLK &&
			   gmm_cache_vcpu_remove(cache->cache, user->vcpu) == -GMM_EDEADLK &&
			   gmm_vcpu_destroy(user->vcpu) == -GMM_EDEADLK &&
			   (user->inside || gmm_vcpu_enter(user->vcpu) == -GMM_EDEADLK),
		   "a vCPU is changed in a section");
	gmm_section_exit(run->model.reader);
}

static void do_activate_gpa(struct run *run)
{
	do_activate(run, GMM_RANGE_GFN);
}

static void do_activate_hva(struct run *run)
{
	do_activate(run, GMM_RANGE_HVA);
}

static void do_unmap(struct run *run)
{
	do_drop(run, false);
}

static void do_deactivate(struct run *run)
{
	do_drop(run, true);
}

static void step(struct run *run)
{
	static void (*const operations[])(struct run * run) = {
		do_create,	 do_activate_gpa, do_activate_gpa, do_activate_hva, do_refresh,
		do_refresh,	 do_unmap,	  do_deactivate,   do_write,	    do_lease,
		do_lease_drop,	 do_change,	  do_pages,	   do_slot,	    do_in_section,
		do_vcpu,	 do_vcpu_set,	  do_vcpu_set,	   do_vcpu_enter,   do_vcpu_enter,
		do_vcpu_request,
	};
	uint32_t operation = program_byte(run->program);
	uint32_t number = (operation & 0x7f) % (sizeof(operations) / sizeof(*operations));

	fuzz_say("operation %u", number);
	if (operation & 0x80)
		model_inject(&run->model, run->program);
	operations[number](run);
	model_injected(&run->model);
	cache_check_all(run);
}

static void finish(struct run *run)
{
	uint32_t i;

	if (run->changing.end)
		end_change(run);
	for (i = 0; i < CACHES; i++) {
		struct reference *cache = &run->caches[i];

		if (!cache->cache)
			continue;
		for (; cache->leases; cache->leases--)
			gmm_lease_drop(cache->cache, 0, 0);
		fuzz_check(!gmm_cache_destroy(cache->cache), "a cache stays");
	}
	for (i = 0; i < VCPUS; i++) {
		if (run->users[i].inside)
			gmm_vcpu_exit(run->users[i].vcpu);
		fuzz_check(!gmm_vcpu_destroy(run->users[i].vcpu), "a vCPU stays");
	}
	model_fini(&run->model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct program program = { data, data + size };
	static struct run run;
	uint32_t how = program_byte(&program), i;

	run = (struct run){ .program = &program };
	model_init(&run.model, how % MODEL_OWNERS, how & 4 ? MODEL_ADOPTS : 0);
	for (i = 0; i < MODEL_SLOTS; i++) {
		run.model.slots[i] = reference_first_slot(&run, i);
		fuzz_check(!gmm_slot_add(run.model.guest, &run.model.slots[i]),
			   "a slot is refused");
	}
	for (i = 0; i < VCPUS; i++)
		vcpu_create(&run, i);
	for (i = 0; i < CACHES; i++)
		run.caches[i].run = &run;
	for (i = 0; i < CACHES / 2; i++) {
		struct reference *cache = &run.caches[i];

		fuzz_check(!gmm_cache_create(run.model.guest, &cache->cache), "no memory");
		fuzz_check(!gmm_lease_set_ask(cache->cache, lease_ask, cache),
			   "nobody can be asked");
	}
	while (program_more(&program))
		step(&run);
	finish(&run);
	return 0;
}
