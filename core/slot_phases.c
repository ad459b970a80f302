/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What all changes of slots have in common: two phases. In the first the range is unreachable for
 * caches and operations, and no vCPU uses a frame of it, but faults are still served: the owner's
 * change may have to wait for a vCPU that stands in one. In the second nothing is under way, and the
 * result is published.
 */
#include "slot_change.h"

static struct gmm_slot_info info_of(const struct gmm_slot_config *config)
{
	return (struct gmm_slot_info){
		.id = config->id,
		.flags = config->flags,
		.gfn = config->gfn,
		.count = config->count,
		.hva = config->hva,
		.memory_page = config->memory_page,
		.memory = config->memory,
		.memory_ops = config->memory_ops,
	};
}

static struct gmm_range frames_of(gmm_gfn_t gfn, uint64_t count)
{
	return (struct gmm_range){ .start = gfn, .end = gfn + count };
}

void gmm_slot_change_plan(struct gmm_guest *guest, struct gmm_slot_change *change,
			  const struct gmm_slot_config *old, const struct gmm_slot_config *now)
{
	*change = (struct gmm_slot_change){ .old = old, .now = now };
	if (old && now && old->gfn == now->gfn) {
		change->frames[change->count++] =
			frames_of(now->gfn, now->count > old->count ? now->count : old->count);
	} else {
		if (old)
			change->frames[change->count++] = frames_of(old->gfn, old->count);
		if (now)
			change->frames[change->count++] = frames_of(now->gfn, now->count);
	}
	if (now && guest->config.hva_ops) {
		change->addresses.start = now->hva;
		change->addresses.end = now->hva + (now->count << guest->hot.page_shift);
		/* At the very end of the addresses: ranges are widened to whole pages. */
		if (!change->addresses.end)
			change->addresses.end = ~(uint64_t)0;
	}
}

void gmm_slot_wake_vcpus(struct gmm_guest *guest, const struct gmm_slot_config *config)
{
	const struct gmm_stage2_ops *ops = guest->config.stage2_ops;
	struct gmm_span span;

	if (!ops || !config || gmm_leaves_out(guest, GMM_LEAVE_OUT_WAKE))
		return;
	span = (struct gmm_span){
		.slot = config->id,
		.page = config->memory_page,
		.gfn = config->gfn,
		.hva = config->hva,
		.count = config->count,
		.memory = config->memory,
		.memory_ops = config->memory_ops,
	};
	ops->wake(guest->config.stage2_owner, &span);
}

/* A fault may be held for frames that are no slot's any more: the addresses still are the vCPUs'. */
static void end_change(struct gmm_guest *guest, const struct gmm_slot_change *change,
		       uint32_t flags)
{
	if (change->addresses.end)
		gmm_invalidate_end_flags(guest, GMM_RANGE_HVA, &change->addresses, 1,
					 GMM_INVALIDATE_FAULTS_GO_ON);
	gmm_invalidate_end_flags(guest, GMM_RANGE_GFN, change->frames, change->count,
				 GMM_INVALIDATE_SLOT | flags);
	gmm_slot_wake_vcpus(guest, change->old);
}

int gmm_slot_change_open(struct gmm_guest *guest, const struct gmm_slot_change *change)
{
	int error = gmm_invalidate_begin_flags(guest, GMM_RANGE_GFN, change->frames, change->count,
					       GMM_INVALIDATE_SLOT | GMM_INVALIDATE_FAULTS_GO_ON,
					       NULL);

	if (error)
		return error;
	gmm_trace(slot_change, guest, (change->now ? change->now : change->old)->id,
		  change->old ? change->old->gfn : 0, change->old ? change->old->count : 0,
		  change->now ? change->now->gfn : 0, change->now ? change->now->count : 0);
	if (change->addresses.end)
		gmm_invalidate_begin_flags(guest, GMM_RANGE_HVA, &change->addresses, 1,
					   GMM_INVALIDATE_FAULTS_GO_ON | GMM_INVALIDATE_NESTED,
					   NULL);
	gmm_step(GMM_STEP_SLOT_INVALID);
	return 0;
}

int gmm_slot_change_tell_owner(struct gmm_guest *guest, const struct gmm_slot_change *change)
{
	const struct gmm_stage2_ops *ops = guest->config.stage2_ops;
	const struct gmm_slot_config *old = change->old, *now = change->now;
	struct gmm_slot_info from = { .id = now ? now->id : 0 }, to = { .id = old ? old->id : 0 };

	if (old)
		from = info_of(old);
	if (now)
		to = info_of(now);
	return ops ? ops->slot_change(guest->config.stage2_owner, &from, &to) : 0;
}

void gmm_slot_change_hold(struct gmm_guest *guest, const struct gmm_slot_change *change)
{
	gmm_invalidate_hold(guest, change->frames, change->count);
	gmm_step(GMM_STEP_SLOT_PUBLISH);
}

int gmm_slot_change_begin(struct gmm_guest *guest, const struct gmm_slot_change *change)
{
	int error = gmm_slot_change_open(guest, change);

	if (error)
		return error;
	error = gmm_slot_change_tell_owner(guest, change);
	if (error) {
		end_change(guest, change, GMM_INVALIDATE_FAULTS_GO_ON);
		return error;
	}
	gmm_slot_change_hold(guest, change);
	return 0;
}

void gmm_slot_change_end(struct gmm_guest *guest, const struct gmm_slot_change *change)
{
	end_change(guest, change, 0);
}
