/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Locks, waitqueues, sections: who may wait for what. */
#include <gmm_port/wait.h>

#include "sim_impl.h"

#define LOCK_MAGIC 0x4c6f636bu
#define QUEUE_MAGIC 0x51756575u
#define SPURIOUS_WAKE_OF 16 /* one wait of so many returns by itself */

static struct gmm_sim_thread *self_of(const char *what)
{
	return sim_required(what)->current;
}

void sim_assert_no_spinlock(const struct gmm_sim_site *site)
{
	struct gmm_sim_thread *self = self_of("lock");
	uint32_t i;

	for (i = 0; i < self->held_count; i++)
		if (!self->held_sleeps[i])
			sim_fail_at(site, "may wait, but T%u holds the spinlock %s", self->id,
				    self->held[i]->taken_at->name);
}

void gmm_sim_assert_may_sleep(const struct gmm_sim_site *site)
{
	struct gmm_sim_thread *self = self_of("gmm_assert_may_sleep");

	if (self->section_depth)
		sim_fail_at(site, "may sleep, but T%u is in a section", self->id);
	sim_assert_no_spinlock(site);
}

void gmm_sim_section_enter(void)
{
	self_of("section")->section_depth++;
}

void gmm_sim_section_exit(const struct gmm_sim_site *site)
{
	struct gmm_sim_thread *self = self_of("section");

	if (!self->section_depth)
		sim_fail_at(site, "section left, but T%u is in none", self->id);
	self->section_depth--;
}

static bool holds(const struct gmm_sim_thread *thread, const struct gmm_sim_lock *lock)
{
	uint32_t i;

	for (i = 0; i < thread->held_count; i++)
		if (thread->held[i] == lock)
			return true;
	return false;
}

static void lock_check(const struct gmm_sim_lock *lock, const struct gmm_sim_site *site)
{
	if (lock->magic != LOCK_MAGIC)
		sim_fail_at(site, "is no lock: not set up, destroyed, freed or overwritten");
}

void gmm_sim_lock_init(struct gmm_sim_lock *lock, uint32_t rank, const struct gmm_sim_site *site)
{
	if (!rank)
		sim_fail_at(site, "lock without a rank");
	*lock = (struct gmm_sim_lock){ .magic = LOCK_MAGIC, .rank = rank };
}

void gmm_sim_lock_destroy(struct gmm_sim_lock *lock, const struct gmm_sim_site *site)
{
	lock_check(lock, site);
	/* The caller's unlocking may be a store that is still to become seen. */
	if (lock->owner && (lock->owner != self_of("lock") || holds(lock->owner, lock)))
		sim_fail_at(site, "destroyed while T%u holds it", lock->owner->id);
	lock->magic = 0;
}

static void lock_check_rank(const struct gmm_sim_lock *lock, const struct gmm_sim_thread *self,
			    const struct gmm_sim_site *site)
{
	uint32_t i;

	for (i = 0; i < self->held_count; i++)
		if (self->held[i]->rank >= lock->rank)
			sim_fail_at(site, "lock of rank %u taken while T%u holds %s of rank %u",
				    lock->rank, self->id, self->held[i]->taken_at->name,
				    self->held[i]->rank);
	if (self->held_count == SIM_LOCKS_HELD_MAX)
		sim_fail_at(site, "too many locks held");
}

static void lock_acquire(struct gmm_sim_lock *lock, bool sleeps, const struct gmm_sim_site *site)
{
	struct gmm_sim_thread *self = self_of("lock");

	struct gmm_sim_access take = {
		.op = GMM_SIM_LOCK, .writes = true, .size = 1, .object = lock, .site = site
	};

	while (lock->owner) {
		sim_block(&take, &take);
		lock_check(lock, site);
	}
	lock->owner = self;
	lock->taken_at = site;
	self->held[self->held_count] = lock;
	self->held_sleeps[self->held_count] = sleeps;
	self->held_count++;
}

void gmm_sim_lock_take(struct gmm_sim_lock *lock, bool sleeps, const struct gmm_sim_site *site)
{
	struct gmm_sim_thread *self = self_of("lock");

	sim_point(GMM_SIM_LOCK, lock, 1, true, site);
	lock_check(lock, site);
	if (sleeps)
		gmm_sim_assert_may_sleep(site);
	lock_check_rank(lock, self, site);
	sim_stores_finish(sim_now, self);
	lock_acquire(lock, sleeps, site);
}

void gmm_sim_lock_assert_held(const struct gmm_sim_lock *lock, const struct gmm_sim_site *site)
{
	struct gmm_sim_thread *self = self_of("lock");

	lock_check(lock, site);
	if (!holds(self, lock))
		sim_fail_at(site, "is not held by T%u", self->id);
}

static void lock_release(struct gmm_sim_lock *lock, const struct gmm_sim_site *site)
{
	struct gmm_sim_thread *self = self_of("lock");
	struct sim_pending_store store = {
		.pointer = &lock->owner, .size = sizeof(lock->owner), .site = site, .unlocked = lock
	};
	uint32_t i = self->held_count;

	gmm_sim_lock_assert_held(lock, site);
	while (self->held[i - 1] != lock)
		i--;
	for (self->held_count--; i <= self->held_count; i++) {
		self->held[i - 1] = self->held[i];
		self->held_sleeps[i - 1] = self->held_sleeps[i];
	}
	/* Unlocking releases, it is no barrier: a store in its thread's order. */
	if (sim_now->config.store_buffers) {
		sim_store_later(sim_now, &store);
		return;
	}
	lock->owner = NULL;
	sim_unblock_all(lock);
}

void gmm_sim_lock_drop(struct gmm_sim_lock *lock, const struct gmm_sim_site *site)
{
	self_of("lock");
	sim_point(GMM_SIM_UNLOCK, sim_now->config.store_buffers ? NULL : lock, 1, true, site);
	lock_release(lock, site);
	gmm_sim_point(GMM_SIM_UNLOCKED, site);
}

void gmm_sim_queue_init(struct gmm_waitqueue *queue)
{
	*queue = (struct gmm_waitqueue){ .magic = QUEUE_MAGIC };
}

static void queue_check(const struct gmm_waitqueue *queue, const struct gmm_sim_site *site)
{
	if (queue->magic != QUEUE_MAGIC)
		sim_fail_at(site, "is no waitqueue: not set up, destroyed, freed or overwritten");
}

void gmm_sim_queue_destroy(struct gmm_waitqueue *queue, const struct gmm_sim_site *site)
{
	queue_check(queue, site);
	if (queue->waiters)
		sim_fail_at(site, "destroyed while %u threads wait", queue->waiters);
	queue->magic = 0;
}

void gmm_sim_queue_wait(struct gmm_waitqueue *queue, struct gmm_sim_lock *lock,
			const struct gmm_sim_site *site)
{
	struct gmm_sim_thread *self = self_of("wait");
	struct gmm_sim_access unlock = {
		.op = GMM_SIM_UNLOCK, .writes = true, .size = 1, .object = lock, .site = site
	};
	struct gmm_sim_access lock_again = unlock;
	struct gmm_sim_access wait = { .op = GMM_SIM_WAIT, .object = queue, .site = site };
	uint32_t i;

	lock_again.op = GMM_SIM_LOCK;
	sim_point(GMM_SIM_WAIT, queue, 1, true, site);
	queue_check(queue, site);
	gmm_sim_lock_assert_held(lock, site);
	for (i = 0; i < self->held_count; i++)
		if (!self->held_sleeps[i] && self->held[i] != lock)
			sim_fail_at(site, "waits, but T%u holds spinlock %s too", self->id,
				    self->held[i]->taken_at->name);
	if (self->section_depth)
		sim_fail_at(site, "waits, but T%u is in a section", self->id);
	queue->waiters++;
	lock_release(lock, site);
	sim_stores_finish(sim_now, self);
	sim_performed(sim_now, self, &unlock);
	if (sim_now->explorer || sim_random(sim_now) % SPURIOUS_WAKE_OF)
		sim_block(&wait, &lock_again);
	else
		gmm_sim_point(GMM_SIM_UNLOCKED, site);
	queue_check(queue, site);
	queue->waiters--;
	lock_check(lock, site);
	lock_acquire(lock, false, site);
}

void gmm_sim_queue_wake(struct gmm_waitqueue *queue, const struct gmm_sim_site *site)
{
	struct gmm_sim_thread *self = self_of("wake");

	sim_point(GMM_SIM_WAKE, queue, 1, true, site);
	queue_check(queue, site);
	sim_stores_finish(sim_now, self);
	sim_unblock_all(queue);
}

void gmm_sim_word_wait(const uint32_t *word, uint32_t seen)
{
	struct gmm_sim_access wait = { .op = GMM_SIM_WAIT,
				       .size = sizeof(*word),
				       .object = word,
				       .site = GMM_SIM_SITE("gate") };

	sim_required("gmm_sim_word_wait");
	sim_stores_finish(sim_now, sim_now->current);
	if (*(const volatile uint32_t *)word == seen)
		sim_block(&wait, &wait);
}

void gmm_sim_word_wake(const uint32_t *word)
{
	sim_required("gmm_sim_word_wake");
	sim_stores_finish(sim_now, sim_now->current);
	sim_unblock_all(word);
}
