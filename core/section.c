/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "section_impl.h"

#include <gmm_port/alloc.h>
#include <gmm_port/thread.h>

#include "guest_impl.h"

/* Slots of gmm_reader_hot.engine. */
enum {
	ENGINE_DOMAIN,
	ENGINE_OWNER, /* gmm_thread_self() while registered, else 0; atomic */
};

#define READERS_PER_BLOCK 16u

GMM_STATIC_ASSERT(sizeof(struct gmm_reader) == sizeof(struct gmm_reader_hot),
		  "a reader a CPU is found by its index");

static int add_block(struct gmm_section_domain *domain, uint32_t count)
{
	size_t size = sizeof(struct gmm_reader_block) + count * sizeof(struct gmm_reader);
	struct gmm_reader_block *block = gmm_zalloc(size);
	uint32_t i;

	if (!block)
		return -GMM_ENOMEM;
	block->count = count;
	for (i = 0; i < count; i++) {
		block->readers[i].hot.epoch = &domain->epoch;
		block->readers[i].hot.full_barrier = domain->full_barrier;
		block->readers[i].hot.engine[ENGINE_DOMAIN] = (uintptr_t)domain;
	}
	gmm_lock_readers(&domain->lock);
	block->next = gmm_load_relaxed(&domain->blocks);
	gmm_store_release(&domain->blocks, block);
	gmm_unlock_readers(&domain->lock);
	return 0;
}

int gmm_section_domain_init(struct gmm_section_domain *domain)
{
	int error = gmm_section_barrier_init();

	if (error && error != -GMM_ENOSYS)
		return error;
	domain->full_barrier = error == -GMM_ENOSYS;
	domain->epoch = 1;
	domain->blocks = NULL;
	domain->registered = 0;
	gmm_spin_init(&domain->lock, GMM_RANK_READERS);
	return 0;
}

void gmm_section_domain_destroy(struct gmm_section_domain *domain)
{
	struct gmm_reader_block *block = domain->blocks;

	while (block) {
		struct gmm_reader_block *next = block->next;

		gmm_free(block, sizeof(*block) + block->count * sizeof(struct gmm_reader));
		block = next;
	}
	gmm_spin_destroy(&domain->lock);
}

/* An unregistered reader of the domain, registered for `owner`; NULL when all are taken. */
static struct gmm_reader *take_reader(struct gmm_section_domain *domain, uintptr_t owner)
{
	struct gmm_reader_block *block;
	struct gmm_reader *found = NULL;
	uint32_t i;

	gmm_lock_readers(&domain->lock);
	for (block = domain->blocks; block && !found; block = block->next)
		for (i = 0; i < block->count && !found; i++)
			if (!gmm_load_relaxed(&block->readers[i].hot.engine[ENGINE_OWNER]))
				found = &block->readers[i];
	if (found) {
		gmm_store_relaxed(&found->hot.engine[ENGINE_OWNER], owner);
		/* Orders the count before the reader's first mark: see gmm_section_domain_wait(). */
		gmm_fetch_add(&domain->registered, 1u);
	}
	gmm_unlock_readers(&domain->lock);
	return found;
}

int gmm_section_domain_register(struct gmm_section_domain *domain, struct gmm_reader **reader)
{
	uintptr_t owner = gmm_thread_self();

	if (GMM_SECTION_PER_CPU) {
		if (!gmm_load_acquire(&domain->blocks)) {
			int error = add_block(domain, gmm_cpu_count());

			if (error)
				return error;
		}
		gmm_fetch_add(&domain->registered, 1u);
		*reader = gmm_load_acquire(&domain->blocks)->readers;
		return 0;
	}
	while (!(*reader = take_reader(domain, owner))) {
		int error = add_block(domain, READERS_PER_BLOCK);

		if (error)
			return error;
	}
	return 0;
}

int gmm_reader_register(struct gmm_guest *guest, struct gmm_reader **reader)
{
	return gmm_section_domain_register(&guest->sections, reader);
}

void gmm_reader_unregister(struct gmm_reader *reader)
{
	struct gmm_section_domain *domain =
		(struct gmm_section_domain *)reader->hot.engine[ENGINE_DOMAIN];

	gmm_lock_readers(&domain->lock);
	if (!GMM_SECTION_PER_CPU) {
		gmm_assert(!gmm_load_relaxed(&reader->hot.mark));
		gmm_store_relaxed(&reader->hot.engine[ENGINE_OWNER], (uintptr_t)0);
	}
	gmm_fetch_add(&domain->registered, (uint32_t)-1);
	gmm_unlock_readers(&domain->lock);
}

void gmm_section_enter(struct gmm_reader *reader)
{
	gmm_section_enter_inline(reader);
}

void gmm_section_exit(struct gmm_reader *reader)
{
	gmm_section_exit_inline(reader);
}

static bool is_mine(const struct gmm_reader *reader)
{
	if (GMM_SECTION_PER_CPU)
		return true;
	return gmm_load_relaxed(&reader->hot.engine[ENGINE_OWNER]) == gmm_thread_self();
}

bool gmm_section_inside(const struct gmm_section_domain *domain)
{
	const struct gmm_reader_block *block = gmm_load_acquire(&domain->blocks);
	bool inside = false;
	uint32_t i;

	if (GMM_SECTION_PER_CPU) {
		gmm_section_pin();
		inside = block && gmm_load_relaxed(&block->readers[gmm_cpu_index()].hot.mark);
		gmm_section_unpin();
		return inside;
	}
	for (; block && !inside; block = block->next)
		for (i = 0; i < block->count && !inside; i++)
			inside = gmm_load_relaxed(&block->readers[i].hot.mark) &&
				 is_mine(&block->readers[i]);
	return inside;
}

/*
 * The epoch moves on first, so a section entered after the heavy barrier has a later mark and is
 * not waited for: the wait is bounded by the sections there are now. A reader that registers after
 * `registered` was read as 0 finds everything that was made unreachable before, since both sides
 * pass a full barrier.
 */
bool gmm_section_domain_wait(struct gmm_section_domain *domain)
{
	uint64_t old = gmm_fetch_add(&domain->epoch, (uint64_t)1);
	const struct gmm_reader_block *block;
	uint32_t i;

	if (!gmm_load_acquire(&domain->registered))
		return false;
	if (!domain->full_barrier)
		gmm_section_heavy_barrier();
	for (block = gmm_load_acquire(&domain->blocks); block; block = block->next) {
		for (i = 0; i < block->count; i++) {
			const uint64_t *mark = &block->readers[i].hot.mark;
			uint64_t seen;
			uint32_t turn = 0;

			while ((seen = gmm_load_acquire(mark)) && seen <= old)
				gmm_cpu_relax(turn++);
		}
	}
	return true;
}

int gmm_section_wait(struct gmm_guest *guest)
{
	if (gmm_section_inside(&guest->sections))
		return -GMM_EDEADLK;
	gmm_section_domain_wait(&guest->sections);
	return 0;
}
