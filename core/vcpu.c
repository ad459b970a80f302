/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Modes, requests, kicks. Two sides, each of which stores and then looks at what the other stored,
 * with a full barrier between:
 *
 *	who makes something go away	the vCPU
 *	clears valid, sets a request	mode = ENTERING
 *	full barrier			full barrier
 *	reads the mode			reads requests and valid
 *
 * So either the vCPU sees what was cleared and does not enter, or it is seen in guest mode and
 * kicked. A destroyed vCPU stays allocated until the guest goes, so whoever found it in a set may
 * still look at it.
 */
#include <guestmm/cache.h>

#include <gmm_port/alloc.h>
#include <gmm_port/step.h>

#include "cache_impl.h"
#include "dirty_impl.h"
#include "guest_impl.h"
#include "lease_impl.h"
#include "vcpu_impl.h"

int gmm_vcpu_create(struct gmm_guest *guest, uint32_t id, gmm_vcpu_kick_fn kick, void *opaque,
		    struct gmm_vcpu **vcpu)
{
	struct gmm_vcpu *made;
	int error = 0;

	if (id >= guest->config.max_vcpus || !kick)
		return -GMM_EINVAL;
	made = gmm_zalloc(sizeof(*made));
	if (!made)
		return -GMM_ENOMEM;
	made->guest = guest;
	made->id = id;
	made->kick = kick;
	made->opaque = opaque;
	if (guest->table.table) {
		error = gmm_stage2_walker_create(guest->table.table, &made->walker);
		if (error) {
			gmm_free(made, sizeof(*made));
			return error;
		}
	}
	gmm_mutex_init(&made->uses_mutex, GMM_RANK_VCPU_USES);
	gmm_spin_init(&made->lock, GMM_RANK_VCPU);
	gmm_waitqueue_init(&made->left);
	gmm_waitqueue_init(&made->awake);
	gmm_lock_vcpus(&guest->vcpus_lock);
	if (gmm_load_relaxed(&guest->vcpus[id])) {
		error = -GMM_EEXIST;
	} else {
		gmm_store_release(&guest->vcpus[id], made);
		guest->vcpu_count++;
	}
	gmm_unlock_vcpus(&guest->vcpus_lock);
	if (error)
		gmm_vcpu_free(made);
	else
		*vcpu = made;
	return error;
}

int gmm_vcpu_destroy(struct gmm_vcpu *vcpu)
{
	struct gmm_guest *guest = vcpu->guest;
	bool busy;

	if (gmm_section_inside(&guest->sections))
		return -GMM_EDEADLK;
	gmm_lock_vcpu_uses(&vcpu->uses_mutex);
	busy = vcpu->use_count || gmm_load_acquire(&vcpu->mode) != GMM_VCPU_OUTSIDE;
	gmm_unlock_vcpu_uses(&vcpu->uses_mutex);
	if (busy)
		return -GMM_EBUSY;
	gmm_dirty_ring_empty(vcpu);
	if (vcpu->walker)
		gmm_stage2_walker_destroy(vcpu->walker);
	vcpu->walker = NULL;
	gmm_lock_vcpus(&guest->vcpus_lock);
	gmm_store_release(&guest->vcpus[vcpu->id], (struct gmm_vcpu *)NULL);
	vcpu->next_dead = guest->graveyard;
	guest->graveyard = vcpu;
	guest->vcpu_count--;
	gmm_unlock_vcpus(&guest->vcpus_lock);
	return 0;
}

void gmm_vcpu_free(struct gmm_vcpu *vcpu)
{
	if (vcpu->walker)
		gmm_stage2_walker_destroy(vcpu->walker);
	gmm_dirty_ring_free(vcpu->ring);
	gmm_free(vcpu->uses, vcpu->use_capacity * sizeof(*vcpu->uses));
	gmm_waitqueue_destroy(&vcpu->awake);
	gmm_waitqueue_destroy(&vcpu->left);
	gmm_spin_destroy(&vcpu->lock);
	gmm_mutex_destroy(&vcpu->uses_mutex);
	gmm_free(vcpu, sizeof(*vcpu));
}

/* Caches of its sets */

static uint32_t find_use(const struct gmm_vcpu *vcpu, const struct gmm_cache *cache)
{
	uint32_t i;

	for (i = 0; i < vcpu->use_count; i++)
		if (vcpu->uses[i].cache == cache)
			break;
	return i;
}

int gmm_vcpu_use_add(struct gmm_vcpu *vcpu, struct gmm_cache *cache)
{
	gmm_mutex_assert_held(&vcpu->uses_mutex);
	if (gmm_load_acquire(&vcpu->mode) != GMM_VCPU_OUTSIDE)
		return -GMM_EBUSY;
	if (find_use(vcpu, cache) < vcpu->use_count)
		return -GMM_EEXIST;
	if (vcpu->use_count == vcpu->use_capacity) {
		uint32_t capacity = vcpu->use_capacity ? 2 * vcpu->use_capacity : 4;
		struct gmm_vcpu_use *uses = gmm_zalloc(capacity * sizeof(*uses));

		if (!uses)
			return -GMM_ENOMEM;
		if (vcpu->use_count)
			gmm_memcpy(uses, vcpu->uses, vcpu->use_count * sizeof(*uses));
		gmm_free(vcpu->uses, vcpu->use_capacity * sizeof(*uses));
		vcpu->uses = uses;
		vcpu->use_capacity = capacity;
	}
	vcpu->uses[vcpu->use_count++] = (struct gmm_vcpu_use){ .cache = cache };
	return 0;
}

int gmm_vcpu_use_remove(struct gmm_vcpu *vcpu, struct gmm_cache *cache)
{
	uint32_t i = find_use(vcpu, cache);

	gmm_mutex_assert_held(&vcpu->uses_mutex);
	if (gmm_load_acquire(&vcpu->mode) != GMM_VCPU_OUTSIDE)
		return -GMM_EBUSY;
	if (i == vcpu->use_count)
		return -GMM_ENOENT;
	vcpu->uses[i] = vcpu->uses[--vcpu->use_count];
	return 0;
}

/* Entering and leaving */

static void end_stay(struct gmm_vcpu *vcpu)
{
	gmm_fetch_add(&vcpu->stays, (uint64_t)1);
	if (gmm_load_acquire(&vcpu->waiters)) {
		gmm_lock_vcpu(&vcpu->lock);
		gmm_waitqueue_wake_all(&vcpu->left);
		gmm_unlock_vcpu(&vcpu->lock);
	}
}

/* What a cache was over when it could not be refreshed, because somebody changes that. */
struct changed {
	enum gmm_range_kind kind;
	uint64_t start;
	uint64_t last;
};

static int refresh_uses(struct gmm_vcpu *vcpu, struct changed *changed)
{
	struct gmm_invalidation *invalidation = &vcpu->guest->invalidation;
	uint32_t i;

	for (i = 0; i < vcpu->use_count; i++) {
		struct gmm_cache *cache = vcpu->uses[i].cache;
		int error;

		if (gmm_cache_is_valid(cache))
			continue;
		error = gmm_cache_try_refresh(cache);
		if (error == -GMM_EBUSY) {
			gmm_lock_invalidate(&invalidation->lock);
			*changed = (struct changed){ cache->kind, cache->node.start,
						     cache->node.last };
			gmm_unlock_invalidate(&invalidation->lock);
		}
		/* A cache without a target gives no frame, so the guest uses none. */
		if (error && error != -GMM_EINVAL)
			return error;
	}
	return 0;
}

/*
 * Whether the vCPU may go on into the guest: it is visible as entering by now. A cache that became
 * inactive is no reason to stay out: who deactivates waits for the vCPU or gives no frame.
 */
static bool nothing_pending(struct gmm_vcpu *vcpu)
{
	uint32_t i;

	if (gmm_load_acquire(&vcpu->requests))
		return false;
	for (i = 0; i < vcpu->use_count; i++) {
		struct gmm_vcpu_use *use = &vcpu->uses[i];

		use->usable = gmm_cache_is_valid(use->cache);
		if (!use->usable && gmm_cache_is_active(use->cache))
			return false;
	}
	return true;
}

static bool try_enter(struct gmm_vcpu *vcpu)
{
	uint32_t entering = GMM_VCPU_ENTERING;

	gmm_store_relaxed(&vcpu->mode, (uint32_t)GMM_VCPU_ENTERING);
	gmm_fence();
	gmm_step(GMM_STEP_VCPU_ENTERING);
	if (nothing_pending(vcpu) &&
	    gmm_compare_exchange(&vcpu->mode, &entering, (uint32_t)GMM_VCPU_IN_GUEST))
		return true;
	gmm_exchange(&vcpu->mode, (uint32_t)GMM_VCPU_OUTSIDE);
	end_stay(vcpu);
	return false;
}

/*
 * One try, with the mutex, which is nobody's between two: 1 when something came between, -GMM_EBUSY
 * when *changed is to be waited for.
 */
static int enter_once(struct gmm_vcpu *vcpu, struct changed *changed)
{
	int error;

	gmm_lock_vcpu_uses(&vcpu->uses_mutex);
	if (gmm_load_acquire(&vcpu->requests) || gmm_dirty_ring_full(vcpu))
		error = -GMM_EAGAIN;
	else
		error = refresh_uses(vcpu, changed);
	if (!error && !try_enter(vcpu))
		error = 1;
	gmm_unlock_vcpu_uses(&vcpu->uses_mutex);
	return error;
}

int gmm_vcpu_enter(struct gmm_vcpu *vcpu)
{
	struct changed changed = { 0 };
	int error;

	gmm_assert(gmm_load_relaxed(&vcpu->mode) == GMM_VCPU_OUTSIDE);
	if (gmm_section_inside(&vcpu->guest->sections))
		return -GMM_EDEADLK;
	do {
		error = enter_once(vcpu, &changed);
		if (error == -GMM_EBUSY) {
			error = gmm_lease_wait_change(vcpu->guest, changed.kind, changed.start,
						      changed.last);
			error = error ? error : 1;
		}
	} while (error > 0);
	return error;
}

bool gmm_vcpu_exit(struct gmm_vcpu *vcpu)
{
	uint32_t was = gmm_exchange(&vcpu->mode, (uint32_t)GMM_VCPU_OUTSIDE);

	gmm_assert(was == GMM_VCPU_IN_GUEST || was == GMM_VCPU_EXITING);
	end_stay(vcpu);
	return was == GMM_VCPU_EXITING;
}

/* Not `valid`: whoever has cleared it meanwhile waits for this vCPU, and the frame is still good. */
gmm_pfn_t gmm_vcpu_pfn(const struct gmm_vcpu *vcpu, const struct gmm_cache *cache, uint32_t page)
{
	uint32_t i = find_use(vcpu, cache);

	gmm_assert(gmm_load_relaxed(&vcpu->mode) != GMM_VCPU_OUTSIDE);
	if (i == vcpu->use_count || !vcpu->uses[i].usable || page >= cache->page_count)
		return GMM_PFN_NONE;
	return cache->pfns[page];
}

enum gmm_vcpu_mode gmm_vcpu_mode(const struct gmm_vcpu *vcpu)
{
	return (enum gmm_vcpu_mode)gmm_load_acquire(&vcpu->mode);
}

/* Requests */

/*
 * Makes the vCPU leave if it is in guest mode. An entry that is under way gives up by itself.
 * Returns whether it was in guest mode, or entering.
 */
static bool kick(struct gmm_vcpu *vcpu)
{
	uint32_t mode = gmm_load_acquire(&vcpu->mode);

	while (mode == GMM_VCPU_ENTERING || mode == GMM_VCPU_IN_GUEST) {
		if (!gmm_compare_exchange(&vcpu->mode, &mode, (uint32_t)GMM_VCPU_EXITING))
			continue;
		if (mode == GMM_VCPU_IN_GUEST) {
			gmm_count(vcpu->guest, kicks, 1);
			gmm_trace(vcpu_kick, vcpu->guest, vcpu->id);
			vcpu->kick(vcpu->opaque, vcpu->id);
		}
		break;
	}
	return mode != GMM_VCPU_OUTSIDE;
}

/* Waits until the stay that was going on when `stays` was read is over. */
static void wait_left(struct gmm_vcpu *vcpu, uint64_t stays)
{
	gmm_step(GMM_STEP_VCPU_KICKED);
	gmm_lock_vcpu(&vcpu->lock);
	gmm_fetch_add(&vcpu->waiters, 1u);
	while (gmm_load_acquire(&vcpu->stays) == stays &&
	       gmm_load_acquire(&vcpu->mode) != GMM_VCPU_OUTSIDE)
		gmm_waitqueue_wait(&vcpu->left, &vcpu->lock);
	gmm_fetch_add(&vcpu->waiters, (uint32_t)-1);
	gmm_unlock_vcpu(&vcpu->lock);
}

static void set_request(struct gmm_vcpu *vcpu, uint32_t request, uint32_t flags)
{
	if (request != GMM_REQUEST_NONE)
		gmm_fetch_or(&vcpu->requests, (uint32_t)1 << request);
	if (!(flags & GMM_REQUEST_NO_WAKEUP) && request != GMM_REQUEST_NONE)
		gmm_vcpu_wake(vcpu);
}

static int check_request(struct gmm_guest *guest, uint32_t request, uint32_t flags)
{
	if (request > GMM_REQUEST_NONE || (flags & ~(GMM_REQUEST_WAIT | GMM_REQUEST_NO_WAKEUP)))
		return -GMM_EINVAL;
	if ((flags & GMM_REQUEST_WAIT) && gmm_section_inside(&guest->sections))
		return -GMM_EDEADLK;
	return 0;
}

int gmm_vcpus_request(struct gmm_guest *guest, const uint64_t *ids, uint32_t words,
		      uint32_t request, uint32_t flags)
{
	uint64_t kicked[GMM_VCPUS_MAX / 64] = { 0 };
	int error = check_request(guest, request, flags);
	int count = 0;
	uint32_t id;

	if (error)
		return error;
	for (id = 0; id < guest->config.max_vcpus && id / 64 < words; id++) {
		struct gmm_vcpu *vcpu = gmm_load_acquire(&guest->vcpus[id]);

		if (!vcpu || !((ids[id / 64] >> (id % 64)) & 1))
			continue;
		set_request(vcpu, request, flags);
		gmm_fence();
		if (kick(vcpu)) {
			kicked[id / 64] |= (uint64_t)1 << (id % 64);
			count++;
		}
	}
	for (id = 0; (flags & GMM_REQUEST_WAIT) && count && id < guest->config.max_vcpus; id++) {
		struct gmm_vcpu *vcpu = gmm_load_acquire(&guest->vcpus[id]);

		if (vcpu && ((kicked[id / 64] >> (id % 64)) & 1))
			gmm_vcpu_wait_outside(vcpu);
	}
	return count;
}

/*
 * Reads the number of stays before the mode: if the vCPU left and entered again meanwhile, it did
 * so after whatever it was kicked for was visible to it.
 */
void gmm_vcpu_wait_outside(struct gmm_vcpu *vcpu)
{
	uint64_t stays = gmm_load_acquire(&vcpu->stays);

	if (gmm_load_acquire(&vcpu->mode) == GMM_VCPU_EXITING)
		wait_left(vcpu, stays);
}

int gmm_vcpu_request(struct gmm_vcpu *vcpu, uint32_t request, uint32_t flags)
{
	int error = check_request(vcpu->guest, request, flags);
	bool was_inside;

	if (error)
		return error;
	set_request(vcpu, request, flags);
	gmm_fence();
	was_inside = kick(vcpu);
	if (was_inside && (flags & GMM_REQUEST_WAIT))
		gmm_vcpu_wait_outside(vcpu);
	return was_inside;
}

uint32_t gmm_vcpu_take_requests(struct gmm_vcpu *vcpu)
{
	return gmm_exchange(&vcpu->requests, 0u);
}

int gmm_vcpu_sleep(struct gmm_vcpu *vcpu)
{
	if (gmm_load_acquire(&vcpu->mode) != GMM_VCPU_OUTSIDE)
		return -GMM_EBUSY;
	if (gmm_section_inside(&vcpu->guest->sections))
		return -GMM_EDEADLK;
	gmm_lock_vcpu(&vcpu->lock);
	while (!vcpu->woken)
		gmm_waitqueue_wait(&vcpu->awake, &vcpu->lock);
	vcpu->woken = false;
	gmm_unlock_vcpu(&vcpu->lock);
	return 0;
}

void gmm_vcpu_wake(struct gmm_vcpu *vcpu)
{
	gmm_lock_vcpu(&vcpu->lock);
	vcpu->woken = true;
	gmm_waitqueue_wake_all(&vcpu->awake);
	gmm_unlock_vcpu(&vcpu->lock);
}
