/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Who uses caches beside sections: leases, and vCPUs in guest mode. */
#include "cache_reference.h"

void lease_ask(void *opaque, struct gmm_cache *it)
{
	struct reference *cache = opaque;

	fuzz_say("  asked for %u leases", cache->leases);
	for (; cache->leases; cache->leases--)
		gmm_lease_drop(it, 0, 0);
}

void do_lease(struct run *run)
{
	struct reference *cache = take_cache(run);
	uint32_t how = program_byte(run->program);
	uint64_t offset = (how >> 4) * 1024, length = how & 4 ? 1 : 4096;
	struct fuzz_errors expected = { 0 };
	struct truth truth;
	uint8_t *pointer = NULL;
	void *found = NULL;
	int answer;

	if (!cache->cache || cache->leases == 3)
		return;
	if (!cache->active || (how & 8) || !(cache->uses & GMM_CACHE_HOST))
		fuzz_expect(&expected, GMM_EINVAL);
	if (cache->active && (offset > cache->length || length > cache->length - offset))
		fuzz_expect(&expected, GMM_ERANGE);
	if (cache->active) {
		reference_truth(run, cache, &truth);
		if ((how & 1) && !truth.writable)
			fuzz_expect(&expected, GMM_EROFS);
		if ((how & 2) && reference_is_changing(run, cache))
			fuzz_expect(&expected, GMM_EAGAIN);
		reference_expect_refresh(run, cache, &expected);
	}
	answer = gmm_lease_take(cache->cache, offset, length, how & 11, &found);
	fuzz_say("lease %llu + %llu: %d", (unsigned long long)offset, (unsigned long long)length,
		 answer);
	/* As for refresh: a lease that has to go is waited for, or not. */
	if ((answer == -GMM_EDEADLK || answer == -GMM_EAGAIN) && cache->leases)
		return;
	fuzz_check_answer(&expected, answer, model_injected(&run->model), "lease");
	if (answer)
		return;
	cache->leases++;
	reference_truth(run, cache, &truth);
	pointer = (uint8_t *)model_frame(truth.memory, truth.memory->pages[truth.page].frame);
	fuzz_check(found == pointer + cache->target % 4096 + offset, "a lease is elsewhere");
}

void do_lease_drop(struct run *run)
{
	struct reference *cache = take_cache(run);

	if (!cache->cache || !cache->leases)
		return;
	gmm_lease_drop(cache->cache, 0, 0);
	cache->leases--;
}

/* It leaves at once: to be kicked is to be out of guest mode. */
static void kick(void *opaque, uint32_t id)
{
	struct user *user = &((struct run *)opaque)->users[id];

	fuzz_check(user->inside, "a vCPU outside is kicked");
	fuzz_check(gmm_vcpu_exit(user->vcpu), "a kick is not told");
	user->inside = false;
}

void vcpu_create(struct run *run, uint32_t id)
{
	fuzz_check(!gmm_vcpu_create(run->model.guest, id, kick, run, &run->users[id].vcpu),
		   "no memory for a vCPU");
}

/* Another one in its place. */
void do_vcpu(struct run *run)
{
	uint32_t id = program_take(run->program, VCPUS), i;
	struct user *user = &run->users[id];
	struct fuzz_errors expected = { 0 };
	struct gmm_vcpu *none;
	int answer;

	for (i = 0; i < CACHES && !expected.count; i++)
		if (user->inside || user->uses[i])
			fuzz_expect(&expected, GMM_EBUSY);
	fuzz_check(gmm_vcpu_create(run->model.guest, VCPUS, kick, run, &none) == -GMM_EINVAL,
		   "a vCPU beyond the last");
	answer = gmm_vcpu_destroy(user->vcpu);
	fuzz_check_answer(&expected, answer, model_injected(&run->model), "destroy");
	if (answer)
		return;
	*user = (struct user){ 0 };
	vcpu_create(run, id);
}

/* Into the set of a cache, or out of it. */
void do_vcpu_set(struct run *run)
{
	struct reference *cache = take_cache(run);
	uint32_t how = program_byte(run->program);
	struct user *user = &run->users[how % VCPUS];
	bool *uses = &user->uses[cache - run->caches], add = how & 2;
	struct fuzz_errors expected = { 0 };
	int answer;

	if (!cache->cache)
		return;
	if (user->inside)
		fuzz_expect(&expected, GMM_EBUSY);
	if (add == *uses)
		fuzz_expect(&expected, add ? GMM_EEXIST : GMM_ENOENT);
	answer = (add ? gmm_cache_vcpu_add : gmm_cache_vcpu_remove)(cache->cache, user->vcpu);
	fuzz_check_answer(&expected, answer, model_injected(&run->model), add ? "use" : "unuse");
	if (!answer)
		*uses = add;
}

/* Into guest mode, which makes all caches of its sets valid, or out of it. */
void do_vcpu_enter(struct run *run)
{
	struct user *user = &run->users[program_take(run->program, VCPUS)];
	struct fuzz_errors expected = { 0 };
	bool leased = false;
	uint32_t i;
	int answer;

	if (user->inside) {
		fuzz_check(!gmm_vcpu_exit(user->vcpu), "a vCPU was kicked and went on");
		user->inside = false;
		return;
	}
	if (user->requests)
		fuzz_expect(&expected, GMM_EAGAIN);
	for (i = 0; i < CACHES && expected.count < 4; i++) {
		const struct reference *cache = &run->caches[i];

		user->usable[i] = user->uses[i] && cache->active;
		leased |= user->usable[i] && cache->leases;
		if (user->usable[i] && !cache->valid)
			reference_expect_refresh(run, cache, &expected);
	}
	answer = gmm_vcpu_enter(user->vcpu);
	fuzz_say("enter: %d", answer);
	/* It would wait for a lease on frames that went. */
	if (answer == -GMM_EDEADLK && leased && run->changing.end)
		return;
	fuzz_check_answer(&expected, answer, model_injected(&run->model), "enter");
	user->inside = !answer;
}

/* For one vCPU or for both; what is requested is taken by and by. */
void do_vcpu_request(struct run *run)
{
	uint32_t how = program_byte(run->program);
	struct user *user = &run->users[how % VCPUS];
	uint32_t request = how & 2 ? (how >> 5) * 5 : GMM_REQUEST_NONE;
	uint32_t flags = (how >> 3) % 4;
	uint64_t ids = how & 4 ? 3 : 1u << how % VCPUS;
	int inside = 0, answer;
	uint32_t i;

	if (!(how & 0x78) && user->requests) {
		fuzz_check(gmm_vcpu_take_requests(user->vcpu) == user->requests,
			   "other requests are pending");
		user->requests = 0;
		return;
	}
	for (i = 0; i < VCPUS; i++)
		inside += (ids >> i & 1) && run->users[i].inside;
	answer = how & 4 ? gmm_vcpus_request(run->model.guest, &ids, 1, request, flags) :
			   gmm_vcpu_request(user->vcpu, request, flags);
	fuzz_say("request %u of %llx: %d", request, (unsigned long long)ids, answer);
	fuzz_check(answer == (request > GMM_REQUEST_NONE ? -GMM_EINVAL : inside),
		   "%d vCPUs are kicked, not %d", answer, inside);
	for (i = 0; i < VCPUS; i++)
		if ((ids >> i & 1) && request < GMM_REQUEST_NONE)
			run->users[i].requests |= 1u << request;
}
