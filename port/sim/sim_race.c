/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "sim_race.h"

#include <stdlib.h>
#include <string.h>

#define THREADS GMM_SIM_EXPLORED_THREADS
#define WORDS 8192u /* a power of two */
#define WORD_BYTES 8u

struct clocks {
	uint32_t of[THREADS];
};

enum kind {
	PLAIN_READ,
	PLAIN_WRITE,
	ATOMIC_READ,
	ATOMIC_WRITE,
	KINDS
};

struct record {
	uint32_t clock; /* 0: none */
	uint8_t bytes;	/* of the word, a bit each */
	const struct gmm_sim_site *site;
};

struct word {
	uintptr_t key;
	uint64_t round;
	struct clocks released; /* what an acquire of it orders */
	struct record records[THREADS][KINDS];
};

struct sim_races {
	uint64_t round;
	uint32_t used;
	struct clocks clocks[THREADS];
	struct clocks fenced[THREADS];	/* at the last fence: what a relaxed store releases */
	struct clocks pending[THREADS]; /* what relaxed loads saw: a fence acquires it */
	/* By which each thread released last, and its clock then. */
	const struct gmm_sim_site *released[THREADS];
	uint32_t released_at[THREADS];
	struct word words[WORDS];
};

static void join(struct clocks *to, const struct clocks *from)
{
	uint32_t i;

	for (i = 0; i < THREADS; i++)
		if (to->of[i] < from->of[i])
			to->of[i] = from->of[i];
}

struct sim_races *sim_races_reset(void)
{
	static struct sim_races *races;
	uint32_t i;

	if (!races)
		races = calloc(1, sizeof(*races));
	if (!races) {
		fprintf(stderr, "sim: out of memory\n");
		abort();
	}
	races->round++;
	races->used = 0;
	memset(races->clocks, 0, sizeof(races->clocks));
	memset(races->fenced, 0, sizeof(races->fenced));
	memset(races->pending, 0, sizeof(races->pending));
	memset(races->released_at, 0, sizeof(races->released_at));
	for (i = 0; i < THREADS; i++)
		races->clocks[i].of[i] = 1;
	return races;
}

static struct word *word_of(struct sim_races *races, uintptr_t key)
{
	uint32_t i = (uint32_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 40) & (WORDS - 1);
	struct word *word;

	while (races->words[i].round == races->round && races->words[i].key != key)
		i = (i + 1) & (WORDS - 1);
	word = &races->words[i];
	if (word->round != races->round) {
		if (++races->used > WORDS / 2) {
			fprintf(stderr, "sim: a scenario touches too many words\n");
			abort();
		}
		memset(word, 0, sizeof(*word));
		word->key = key;
		word->round = races->round;
	}
	return word;
}

static bool is_write(enum kind kind)
{
	return kind == PLAIN_WRITE || kind == ATOMIC_WRITE;
}

static bool is_plain(enum kind kind)
{
	return kind == PLAIN_READ || kind == PLAIN_WRITE;
}

/* For a report: which two accesses, and what the earlier thread has released since. */
static void tell(struct sim_races *races, const struct gmm_sim_race_access *later, uint32_t other,
		 enum kind old, const struct record *record, const struct gmm_sim_access *access)
{
	sim_now->result->race = (struct gmm_sim_race){
		.found = true,
		.object = access->object,
		.size = access->size,
		.earlier = { other, is_write(old), is_plain(old), record->site },
		.later = *later,
		.released = races->released_at[other] >= record->clock ? races->released[other] :
									 NULL,
	};
}

static void compare(struct sim_races *races, struct gmm_sim_thread *thread, const struct word *word,
		    enum kind kind, uint8_t bytes, const struct gmm_sim_access *access)
{
	const struct clocks *clocks = &races->clocks[thread->id];
	uint32_t other, old;

	for (other = 0; other < THREADS; other++) {
		for (old = 0; old < KINDS && other != thread->id; old++) {
			const struct record *record = &word->records[other][old];

			if (!(record->bytes & bytes) || record->clock <= clocks->of[other] ||
			    !(is_write(kind) || is_write(old)) ||
			    !(is_plain(kind) || is_plain(old)))
				continue;
			tell(races,
			     &(struct gmm_sim_race_access){ thread->id, is_write(kind),
							    is_plain(kind), access->site },
			     other, old, record, access);
			sim_fail_at(access->site,
				    "data race: %s here and %s by T%u (%s, %s:%d), and neither "
				    "happens before the other",
				    is_write(kind) ? "written" : "read",
				    is_write(old) ? "written" : "read", other, record->site->name,
				    sim_file_name(record->site->file), record->site->line);
		}
	}
}

/* Records the access to each word that it touches. */
static void touch(struct sim_races *races, struct gmm_sim_thread *thread, enum kind kind,
		  const struct gmm_sim_access *access)
{
	uintptr_t first = (uintptr_t)access->object;
	uintptr_t end = first + access->size;

	while (first < end) {
		uintptr_t key = first / WORD_BYTES, next = (key + 1) * WORD_BYTES;
		uint32_t low = first % WORD_BYTES;
		uint32_t high = next < end ? WORD_BYTES : (uint32_t)(end - key * WORD_BYTES);
		uint8_t bytes = (uint8_t)(((1u << high) - 1) & ~((1u << low) - 1));
		struct word *word = word_of(races, key);
		struct record *record = &word->records[thread->id][kind];
		uint32_t now = races->clocks[thread->id].of[thread->id];

		compare(races, thread, word, kind, bytes, access);
		if (record->clock == now)
			bytes |= record->bytes;
		*record = (struct record){ now, bytes, access->site };
		first = next;
	}
}

static void acquire(struct sim_races *races, uint32_t thread, const struct word *word, bool ordered)
{
	join(ordered ? &races->clocks[thread] : &races->pending[thread], &word->released);
}

static void tick(struct sim_races *races, uint32_t thread)
{
	races->clocks[thread].of[thread]++;
}

/* What the thread has done happens before what is done by who acquires this. */
static void note_release(struct sim_races *races, uint32_t thread, const struct gmm_sim_site *site)
{
	races->released[thread] = site;
	races->released_at[thread] = races->clocks[thread].of[thread];
}

static void fence(struct sim_races *races, uint32_t thread, const struct gmm_sim_site *site)
{
	join(&races->clocks[thread], &races->pending[thread]);
	races->fenced[thread] = races->clocks[thread];
	note_release(races, thread, site);
	tick(races, thread);
}

static void atomic_access(struct sim_races *races, struct gmm_sim_thread *thread,
			  const struct gmm_sim_access *access)
{
	struct word *word = word_of(races, (uintptr_t)access->object / WORD_BYTES);
	bool acquires = access->site->order & GMM_SIM_ACQUIRE;
	bool releases = access->site->order & GMM_SIM_RELEASE;
	uint32_t id = thread->id;

	touch(races, thread, access->writes ? ATOMIC_WRITE : ATOMIC_READ, access);
	if (access->op != GMM_SIM_STORE)
		acquire(races, id, word, acquires);
	if (!access->writes)
		return;
	/* A store that releases nothing ends what was released before; an update goes on with it. */
	if (access->op == GMM_SIM_STORE)
		memset(&word->released, 0, sizeof(word->released));
	join(&word->released, releases ? &races->clocks[id] : &races->fenced[id]);
	if (releases)
		note_release(races, id, access->site);
	tick(races, id);
}

void sim_races_access(struct sim *sim, struct gmm_sim_thread *thread,
		      const struct gmm_sim_access *access)
{
	struct sim_races *races = sim->races;
	uint32_t id = thread->id;
	struct word *word;

	switch (access->op) {
	case GMM_SIM_LOAD:
	case GMM_SIM_STORE:
	case GMM_SIM_UPDATE:
		atomic_access(races, thread, access);
		return;
	case GMM_SIM_READ:
	case GMM_SIM_WRITE:
		touch(races, thread, access->writes ? PLAIN_WRITE : PLAIN_READ, access);
		return;
	case GMM_SIM_LOCK:
	case GMM_SIM_JOIN:
		word = word_of(races, (uintptr_t)access->object / WORD_BYTES);
		acquire(races, id, word, true);
		return;
	case GMM_SIM_UNLOCK:
	case GMM_SIM_FINISH:
		word = word_of(races, (uintptr_t)access->object / WORD_BYTES);
		join(&word->released, &races->clocks[id]);
		/* Only who joins it acquires an end. */
		if (access->op == GMM_SIM_UNLOCK)
			note_release(races, id, access->site);
		tick(races, id);
		return;
	case GMM_SIM_FENCE:
	case GMM_SIM_HEAVY_BARRIER:
		fence(races, id, access->site);
		return;
	default:
		return;
	}
}
