/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "own_change.h"

#include <sched.h>
#include <string.h>
#include <time.h>

/* A reader is past its look in a moment, unless it waits for a processor. */
#define YIELDS 16u
#define PAUSE_NS 50000

void gmm_own_changes_init(struct gmm_own_changes *changes)
{
	memset(changes, 0, sizeof(*changes));
	pthread_mutex_init(&changes->lock, NULL);
	pthread_mutex_init(&changes->ending, NULL);
}

void gmm_own_changes_fini(struct gmm_own_changes *changes)
{
	pthread_mutex_destroy(&changes->ending);
	pthread_mutex_destroy(&changes->lock);
}

uint32_t gmm_own_changes_read_begin(struct gmm_own_changes *changes)
{
	uint32_t turn = __atomic_load_n(&changes->turn, __ATOMIC_RELAXED) % 2;

	__atomic_fetch_add(&changes->reading[turn], 1, __ATOMIC_SEQ_CST);
	return turn;
}

void gmm_own_changes_read_end(struct gmm_own_changes *changes, uint32_t turn)
{
	__atomic_fetch_sub(&changes->reading[turn], 1, __ATOMIC_RELEASE);
}

bool gmm_own_changes_has(struct gmm_own_changes *changes, gmm_hva_t start, uint64_t bytes)
{
	struct gmm_own_change *change;

	pthread_mutex_lock(&changes->lock);
	for (change = changes->first; change; change = change->next) {
		if (start < change->told || start >= change->end || bytes > change->end - start)
			continue;
		change->told = start + bytes;
		break;
	}
	pthread_mutex_unlock(&changes->lock);
	return change;
}

void gmm_own_change_begin(struct gmm_own_changes *changes, struct gmm_own_change *change,
			  gmm_hva_t start, uint64_t bytes)
{
	change->told = start;
	change->end = start + bytes;
	pthread_mutex_lock(&changes->lock);
	change->next = changes->first;
	changes->first = change;
	pthread_mutex_unlock(&changes->lock);
}

/*
 * Every read that is counted now, in whichever count, is waited for: each count is seen to be zero
 * once, while reads that begin take the other. A read that is not counted yet finds no event of what
 * is over.
 */
static void wait_for_readers(struct gmm_own_changes *changes)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };
	uint32_t i, turn, yields = 0;

	pthread_mutex_lock(&changes->ending);
	for (i = 0; i < 2; i++) {
		turn = __atomic_fetch_add(&changes->turn, 1, __ATOMIC_SEQ_CST) % 2;
		while (__atomic_load_n(&changes->reading[turn], __ATOMIC_SEQ_CST))
			if (yields++ < YIELDS)
				sched_yield();
			else
				nanosleep(&pause, NULL);
	}
	pthread_mutex_unlock(&changes->ending);
}

void gmm_own_change_end(struct gmm_own_changes *changes, struct gmm_own_change *change)
{
	struct gmm_own_change **place = &changes->first;

	wait_for_readers(changes);
	pthread_mutex_lock(&changes->lock);
	while (*place != change)
		place = &(*place)->next;
	*place = change->next;
	pthread_mutex_unlock(&changes->lock);
}
