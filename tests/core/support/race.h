/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Calls of the engine on threads of their own, so that a test can hold one at a gate, make another,
 * and look at what both did.
 */
#ifndef GMM_TEST_RACE_H
#define GMM_TEST_RACE_H

#include "model.h"

struct race {
	struct gmm_test_thread thread;
	int (*call)(struct race *race);
	struct model *model;
	struct gmm_cache *cache;
	uint64_t first; /* what they are depends on the call */
	uint64_t second;
	int answer;
	uint32_t done; /* atomic */
};

/* Starts call(race) with the other members as they are. Joining returns its answer. */
void race_start(struct race *race, int (*call)(struct race *race));
int race_join(struct race *race);
bool race_is_done(struct race *race);

/*
 * Lets others run for a while, or until the call is done. Whoever is blocked as it should be stays
 * blocked: so this only ever helps a test to fail.
 */
void race_give_way(struct race *race);

/* Spins until the call is done or somebody has come to the gate. Returns whether it is done. */
bool race_done_or_at(struct race *race, struct gmm_gate *gate);

/* Calls. Of `cache`: */
int race_refresh(struct race *race);
int race_activate(struct race *race); /* GPA `first`, length `second`, HOST | WRITE */
int race_drop(struct race *race);
int race_deactivate(struct race *race);
/* Of page `first`, which lies at frame `first` of slot 0: begin, move to the other frame, end. */
int race_move_page(struct race *race);
/* The same by HVA. */
int race_move_page_by_hva(struct race *race);
/* Of slot `first`: */
int race_slot_remove(struct race *race);
int race_slot_move(struct race *race); /* to frame `second` */
int race_populate(struct race *race);  /* `second` frames from frame `first` on, for writing */

/*
 * A thread that registers a reader, enters a section, looks a word up through `cache` (or nothing,
 * when that is NULL), stays in the section until the gate opens, looks again, and leaves.
 */
struct race_reader {
	struct race race;
	struct gmm_gate gate;
	uint64_t offset;  /* of the word in the cache's area */
	uint64_t before;  /* what it read, through the pointer it got; 0: there was no pointer */
	uint64_t after;	  /* what it read through the same pointer before it left */
	bool still_valid; /* the cache was, then */
};
/* Returns when the reader is in its section. */
void race_reader_start(struct race_reader *reader, struct model *model, struct gmm_cache *cache);
/* Lets it out and joins. */
void race_reader_end(struct race_reader *reader);

#endif
