/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "fingerprint.h"

#include <stdlib.h>
#include <string.h>

#define OBJECTS_FIRST 4096u /* a power of two */
#define SEEN_FIRST (1u << 16)
#define OBJECT_SHIFT 3 /* words of 8 bytes: what overlaps shares one */

/* What happened to a word last. */
struct object {
	uintptr_t key;
	uint64_t round; /* in which it was used; another: it is free */
	uint64_t written;
	uint64_t read; /* since then: a sum, for reads are in no order */
};

struct explore_fingerprint {
	struct object *objects;
	uint32_t capacity, used;
	uint64_t round;
	uint64_t threads[GMM_SIM_EXPLORED_THREADS];
	uint64_t stores[GMM_SIM_EXPLORED_THREADS];
	uint64_t events; /* a sum: those that conflict differ by what was before them */
};

static void *required(void *pointer)
{
	if (!pointer) {
		fprintf(stderr, "gmm-explore: out of memory\n");
		abort();
	}
	return pointer;
}

static uint64_t mix(uint64_t value)
{
	value ^= value >> 32;
	value *= UINT64_C(0xd6e8feb86659fd93);
	value ^= value >> 29;
	value *= UINT64_C(0x9e3779b97f4a7c15);
	return value ^ value >> 32;
}

struct explore_fingerprint *explore_fingerprint_create(void)
{
	struct explore_fingerprint *fingerprint = required(calloc(1, sizeof(*fingerprint)));

	fingerprint->capacity = OBJECTS_FIRST;
	fingerprint->objects = required(calloc(OBJECTS_FIRST, sizeof(struct object)));
	explore_fingerprint_reset(fingerprint);
	return fingerprint;
}

void explore_fingerprint_destroy(struct explore_fingerprint *fingerprint)
{
	free(fingerprint->objects);
	free(fingerprint);
}

void explore_fingerprint_reset(struct explore_fingerprint *fingerprint)
{
	uint32_t i;

	fingerprint->round++;
	fingerprint->used = 0;
	fingerprint->events = 0;
	for (i = 0; i < GMM_SIM_EXPLORED_THREADS; i++) {
		fingerprint->threads[i] = mix(i + 1);
		fingerprint->stores[i] = mix(i + 1 + GMM_SIM_EXPLORED_THREADS);
	}
}

static struct object *find(struct explore_fingerprint *fingerprint, uintptr_t key)
{
	uint32_t mask = fingerprint->capacity - 1;
	uint32_t i = (uint32_t)mix(key) & mask;
	struct object *object;

	while (fingerprint->objects[i].round == fingerprint->round &&
	       fingerprint->objects[i].key != key)
		i = (i + 1) & mask;
	object = &fingerprint->objects[i];
	if (object->round != fingerprint->round) {
		*object = (struct object){ .key = key, .round = fingerprint->round };
		fingerprint->used++;
	}
	return object;
}

static void grow(struct explore_fingerprint *fingerprint)
{
	struct object *old = fingerprint->objects;
	uint32_t capacity = fingerprint->capacity, i;

	fingerprint->capacity = 2 * capacity;
	fingerprint->objects = required(calloc(fingerprint->capacity, sizeof(struct object)));
	fingerprint->used = 0;
	for (i = 0; i < capacity; i++)
		if (old[i].round == fingerprint->round)
			*find(fingerprint, old[i].key) = old[i];
	free(old);
}

static uint64_t happened(struct object *object, uint64_t chain, bool writes)
{
	chain = mix(chain ^ mix(object->key)) + object->written * 3;
	if (writes)
		chain += object->read * 5 + 1;
	chain = mix(chain);
	if (writes) {
		object->written = chain;
		object->read = 0;
	} else {
		object->read += chain;
	}
	return chain;
}

/* Freed memory conflicts with everything that was in it. */
static uint64_t freed(struct explore_fingerprint *fingerprint, uint64_t chain,
		      const struct gmm_sim_access *access)
{
	uintptr_t first = (uintptr_t)access->object >> OBJECT_SHIFT;
	uintptr_t end = ((uintptr_t)access->object + access->size + 7) >> OBJECT_SHIFT;
	uint64_t sum = 0;
	uint32_t i;

	for (i = 0; i < fingerprint->capacity; i++) {
		struct object *object = &fingerprint->objects[i];

		if (object->round == fingerprint->round && object->key >= first &&
		    object->key < end)
			sum += happened(object, chain, true);
	}
	return mix(chain + sum);
}

/* Every word that it touches. */
static uint64_t touched(struct explore_fingerprint *fingerprint, uint64_t chain,
			const volatile void *object, uint32_t size, bool writes)
{
	uintptr_t word = (uintptr_t)object >> OBJECT_SHIFT;
	uintptr_t last = ((uintptr_t)object + (size ? size - 1 : 0)) >> OBJECT_SHIFT;

	for (; word <= last; word++) {
		if (fingerprint->used > fingerprint->capacity / 2)
			grow(fingerprint);
		chain = happened(find(fingerprint, word), chain, writes);
	}
	return chain;
}

void explore_fingerprint_add(struct explore_fingerprint *fingerprint, uint32_t thread, bool stored,
			     const struct gmm_sim_access *access)
{
	bool event = access->op == GMM_SIM_EVENT;
	uint64_t nobody = 0, now;
	uint64_t *chain = event	 ? &nobody :
			  stored ? &fingerprint->stores[thread] :
				   &fingerprint->threads[thread];

	if (!access->object) {
		/* Another turn: what follows is not the state before it, to which it is equal else. */
		if (access->op == GMM_SIM_RELAX)
			*chain = mix(*chain + 1);
		return;
	}
	now = mix(*chain ^ ((uint64_t)access->op << 32 | (uint32_t)access->site->line));
	if (access->op == GMM_SIM_FREE)
		now = freed(fingerprint, now, access);
	else
		now = touched(fingerprint, now, access->object, access->size, access->writes);
	if (access->also)
		now = touched(fingerprint, now, access->also, 1, access->also_writes);
	*chain = now;
	if (event)
		fingerprint->events += now;
}

uint64_t explore_fingerprint_value(const struct explore_fingerprint *fingerprint)
{
	uint64_t value = fingerprint->events;
	uint32_t i;

	for (i = 0; i < GMM_SIM_EXPLORED_THREADS; i++)
		value += fingerprint->threads[i] ^ mix(fingerprint->stores[i]);
	return value;
}

struct explore_seen {
	struct {
		uint64_t state; /* 0: free */
		uint32_t left;
	} * entries;
	uint64_t capacity, used;
};

struct explore_seen *explore_seen_create(void)
{
	struct explore_seen *seen = required(calloc(1, sizeof(*seen)));

	seen->capacity = SEEN_FIRST;
	seen->entries = required(calloc(SEEN_FIRST, sizeof(*seen->entries)));
	return seen;
}

void explore_seen_destroy(struct explore_seen *seen)
{
	free(seen->entries);
	free(seen);
}

static uint64_t seen_place(const struct explore_seen *seen, uint64_t state)
{
	uint64_t i = state & (seen->capacity - 1);

	while (seen->entries[i].state && seen->entries[i].state != state)
		i = (i + 1) & (seen->capacity - 1);
	return i;
}

static void seen_grow(struct explore_seen *seen)
{
	struct explore_seen old = *seen;
	uint64_t i;

	seen->capacity *= 2;
	seen->entries = required(calloc(seen->capacity, sizeof(*seen->entries)));
	for (i = 0; i < old.capacity; i++)
		if (old.entries[i].state)
			seen->entries[seen_place(seen, old.entries[i].state)] = old.entries[i];
	free(old.entries);
}

bool explore_seen_before(struct explore_seen *seen, uint64_t state, uint32_t left)
{
	uint64_t i;

	state += !state;
	i = seen_place(seen, state);
	if (seen->entries[i].state) {
		if (seen->entries[i].left >= left)
			return true;
		seen->entries[i].left = left;
		return false;
	}
	seen->entries[i].state = state;
	seen->entries[i].left = left;
	if (++seen->used > seen->capacity / 2)
		seen_grow(seen);
	return false;
}

uint64_t explore_seen_count(const struct explore_seen *seen)
{
	return seen->used;
}
