/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "vcpu_user.h"

static void count_kick(void *opaque, uint32_t id)
{
	gmm_fetch_add((uint32_t *)opaque, 1u);
}

void vcpu_user_create(struct vcpu_user *user, struct model *model, uint32_t id)
{
	user->kicks = 0;
	if (gmm_vcpu_create(model->guest, id, count_kick, &user->kicks, &user->vcpu))
		gmm_bail("no vCPU %u", id);
}

void vcpu_user_destroy(struct vcpu_user *user)
{
	gmm_equal(gmm_vcpu_destroy(user->vcpu), 0);
}

uint32_t vcpu_user_kicks(struct vcpu_user *user)
{
	return gmm_load_acquire(&user->kicks);
}

void vcpu_user_wait_kicked(struct vcpu_user *user, uint32_t kicks)
{
	uint32_t turn = 0;

	while (vcpu_user_kicks(user) < kicks)
		gmm_cpu_relax(turn++);
}

struct gmm_cache *vcpu_user_cache(struct model *model, uint32_t page, uint32_t uses,
				  struct vcpu_user *first, struct vcpu_user *second)
{
	struct gmm_cache *cache;

	if (gmm_cache_create(model->guest, &cache))
		gmm_bail("no cache");
	gmm_equal(gmm_cache_activate(cache, (gmm_gpa_t)page * MODEL_PAGE_BYTES, MODEL_PAGE_BYTES,
				     GMM_CACHE_GUEST | uses),
		  0);
	if (first)
		gmm_equal(gmm_cache_vcpu_add(cache, first->vcpu), 0);
	if (second)
		gmm_equal(gmm_cache_vcpu_add(cache, second->vcpu), 0);
	return cache;
}

uint64_t vcpu_user_read(struct vcpu_user *user, struct model *model, struct gmm_cache *cache)
{
	gmm_pfn_t pfn = gmm_vcpu_pfn(user->vcpu, cache, 0);

	if (pfn >= MODEL_FRAMES)
		return 0;
	return gmm_load_relaxed((uint64_t *)(model->memory.frames + pfn * MODEL_PAGE_BYTES));
}
