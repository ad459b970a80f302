/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Atomic accesses, fences and store buffers. */
#include <string.h>

#include <gmm_port/section.h>

#include <guestmm/error.h>

#include "sim_impl.h"

static struct gmm_sim_access access_of(const struct sim_pending_store *store)
{
	struct gmm_sim_access access = { .op = GMM_SIM_STORE,
					 .writes = true,
					 .size = (uint32_t)store->size,
					 .object = store->pointer,
					 .site = store->site };

	if (store->unlocked) {
		access.op = GMM_SIM_UNLOCK;
		access.size = 1;
		access.object = store->unlocked;
	}
	return access;
}

void sim_store_oldest(struct sim *sim, struct gmm_sim_thread *thread)
{
	struct sim_pending_store oldest = thread->pending[0];
	struct gmm_sim_access access = access_of(&oldest);

	sim_memory_assert_live(sim, oldest.pointer, oldest.size, oldest.site);
	sim->writes++;
	thread->writes++;
	if (sim->explored)
		sim->explorer->performed(sim->explorer->opaque, thread->id, true, &access);
	memcpy((void *)(uintptr_t)oldest.pointer, &oldest.value, oldest.size);
	thread->pending_count--;
	sim->pending_stores--;
	memmove(thread->pending, thread->pending + 1,
		thread->pending_count * sizeof(thread->pending[0]));
	if (oldest.unlocked)
		sim_unblock_all(oldest.unlocked);
}

void sim_store_later(struct sim *sim, const struct sim_pending_store *store)
{
	struct gmm_sim_thread *self = sim->current;

	if (self->pending_count == SIM_PENDING_STORES)
		sim_store_oldest(sim, self);
	if (sim->explored && sim->explorer->delayed) {
		struct gmm_sim_access access = access_of(store);

		sim->explorer->delayed(sim->explorer->opaque, self->id, &access, &store->value);
	}
	self->pending[self->pending_count++] = *store;
	sim->pending_stores++;
}

void sim_stores_finish(struct sim *sim, struct gmm_sim_thread *thread)
{
	while (thread->pending_count)
		sim_store_oldest(sim, thread);
}

void sim_stores_progress(struct sim *sim)
{
	uint64_t random;
	uint32_t i;

	if (!sim->pending_stores)
		return;
	random = sim_random(sim);
	if (random & 3)
		return;
	i = (uint32_t)((random >> 8) % sim->thread_count);
	while (!sim->threads[i]->pending_count)
		i = (i + 1) % sim->thread_count;
	sim_store_oldest(sim, sim->threads[i]);
}

static bool overlaps(const struct sim_pending_store *store, const volatile void *pointer,
		     size_t size)
{
	uintptr_t a = (uintptr_t)store->pointer;
	uintptr_t b = (uintptr_t)pointer;

	return a < b + size && b < a + store->size;
}

const volatile void *gmm_sim_load(const volatile void *pointer, size_t size,
				  const struct gmm_sim_site *site)
{
	struct sim *sim = sim_now;
	struct gmm_sim_thread *self;
	uint32_t i;

	if (!sim)
		return pointer;
	sim_point(GMM_SIM_LOAD, pointer, size, false, site);
	sim_memory_assert_live(sim, pointer, size, site);
	self = sim->current;
	for (i = self->pending_count; i > 0; i--) {
		struct sim_pending_store *store = &self->pending[i - 1];

		if (store->pointer == pointer && store->size == size)
			return &store->value;
		if (overlaps(store, pointer, size)) {
			sim_stores_finish(sim, self);
			break;
		}
	}
	return pointer;
}

void gmm_sim_store(volatile void *pointer, const volatile void *value, size_t size,
		   const struct gmm_sim_site *site)
{
	struct sim *sim = sim_now;
	struct sim_pending_store store = { .pointer = pointer, .size = size, .site = site };

	if (!sim || !sim->config.store_buffers) {
		if (sim) {
			sim_point(GMM_SIM_STORE, pointer, size, true, site);
			sim_memory_assert_live(sim, pointer, size, site);
		}
		memcpy((void *)(uintptr_t)pointer, (const void *)(uintptr_t)value, size);
		return;
	}
	gmm_sim_point(GMM_SIM_STORE, site);
	sim_memory_assert_live(sim, pointer, size, site);
	memcpy(&store.value, (const void *)(uintptr_t)value, size);
	sim_store_later(sim, &store);
}

volatile void *gmm_sim_update(volatile void *pointer, size_t size, const struct gmm_sim_site *site)
{
	struct sim *sim = sim_now;

	if (!sim)
		return pointer;
	sim_point(GMM_SIM_UPDATE, pointer, size, true, site);
	sim_stores_finish(sim, sim->current);
	sim_memory_assert_live(sim, pointer, size, site);
	return pointer;
}

volatile void *gmm_sim_compare(volatile void *pointer, const void *expected, size_t size,
			       const struct gmm_sim_site *site)
{
	struct gmm_sim_access access = { .op = GMM_SIM_UPDATE,
					 .writes = true,
					 .size = (uint32_t)size,
					 .object = pointer,
					 .expected = expected,
					 .site = site };
	struct sim *sim = sim_now;

	if (!sim)
		return pointer;
	sim_access_point(sim, &access);
	sim_stores_finish(sim, sim->current);
	sim_memory_assert_live(sim, pointer, size, site);
	return pointer;
}

void gmm_sim_fence(const struct gmm_sim_site *site)
{
	if (!sim_now)
		return;
	sim_point(GMM_SIM_FENCE, sim_now->current->pending_count ? sim_now->current : NULL, 1, true,
		  site);
	sim_stores_finish(sim_now, sim_now->current);
}

int gmm_section_barrier_init(void)
{
	return sim_required("gmm_section_barrier_init")->barrier_refused ? -GMM_ENOSYS : 0;
}

void gmm_port_section_barrier_refuse(bool refuse)
{
	sim_required("gmm_port_section_barrier_refuse")->barrier_refused = refuse;
}

void gmm_sim_light_barrier(bool full, const struct gmm_sim_site *site)
{
	struct sim *sim = sim_required("light barrier");

	sim_point(GMM_SIM_LIGHT_BARRIER, full && sim->current->pending_count ? sim->current : NULL,
		  1, true, site);
	if (full)
		sim_stores_finish(sim, sim->current);
}

/* Where the barrier was refused it is a fence of the caller, which pairs with readers' fences. */
void gmm_sim_heavy_barrier(const struct gmm_sim_site *site)
{
	struct sim *sim = sim_required("heavy barrier");
	uint32_t i;

	sim_point(GMM_SIM_HEAVY_BARRIER, sim->config.store_buffers ? &sim->pending_stores : NULL, 1,
		  true, site);
	sim_assert_no_spinlock(site);
	sim_stores_finish(sim, sim->current);
	if (sim->barrier_refused)
		return;
	for (i = 0; i < sim->thread_count; i++)
		sim_stores_finish(sim, sim->threads[i]);
}
