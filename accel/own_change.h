/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Mappings that guestmm itself drops, while the userfaultfd tells of changes: the event of such a drop
 * is no news. It has no mark by which it could be known, but it is read while the drop lasts: the
 * kernel lets madvise() go on when its event has been read. So a reader looks, before it does
 * anything else, whether a drop of those addresses is under way, and a drop ends when all reads that
 * it has let into have looked. Nothing outlives it, so nothing can be taken for it later.
 */
#ifndef GMM_ACCEL_OWN_CHANGE_H
#define GMM_ACCEL_OWN_CHANGE_H

#include <pthread.h>

#include <guestmm/types.h>

/* On the stack of who drops. */
struct gmm_own_change {
	struct gmm_own_change *next;
	gmm_hva_t told; /* as far as events were seen; the kernel tells from low to high */
	gmm_hva_t end;
};

struct gmm_own_changes {
	pthread_mutex_t lock;
	struct gmm_own_change *first; /* under lock */
	pthread_mutex_t ending;	      /* one waits for readers at a time; before lock */
	/* Atomic: which of the counts a read takes that begins now, and reads under way. */
	uint32_t turn;
	uint32_t reading[2];
};

void gmm_own_changes_init(struct gmm_own_changes *changes);
void gmm_own_changes_fini(struct gmm_own_changes *changes);

/* Around a read of events and the looks at them. Wait for nobody. */
uint32_t gmm_own_changes_read_begin(struct gmm_own_changes *changes);
void gmm_own_changes_read_end(struct gmm_own_changes *changes, uint32_t turn);
/*
 * Whether an event of freed memory is that of a drop; once for each address. Of several threads that
 * read, one may look at a later event first: the earlier one is then somebody else's.
 */
bool gmm_own_changes_has(struct gmm_own_changes *changes, gmm_hva_t start, uint64_t bytes);

/* Around a drop. End waits until who is reading events has looked at them: for a moment. */
void gmm_own_change_begin(struct gmm_own_changes *changes, struct gmm_own_change *change,
			  gmm_hva_t start, uint64_t bytes);
void gmm_own_change_end(struct gmm_own_changes *changes, struct gmm_own_change *change);

#endif
