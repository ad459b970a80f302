/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "steps.h"

#include <execinfo.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_FIRST 1024u
#define PENDING 64u

struct collection {
	struct steps *steps;
	/* The step whose effect is seen when the next one comes; UINT32_MAX: none. */
	uint32_t open;
	/* Of each thread: its stores that are not seen yet, as numbers of steps. */
	uint32_t pending[GMM_SIM_EXPLORED_THREADS][PENDING];
	uint32_t pending_count[GMM_SIM_EXPLORED_THREADS];
};

#define NO_STEP UINT32_MAX

static struct step *step_push(struct steps *steps)
{
	if (steps->count == steps->capacity) {
		steps->capacity = steps->capacity ? 2 * steps->capacity : STEPS_FIRST;
		steps->steps = realloc(steps->steps, steps->capacity * sizeof(struct step));
		if (!steps->steps) {
			fprintf(stderr, "gmm-explore: out of memory\n");
			abort();
		}
	}
	return memset(&steps->steps[steps->count++], 0, sizeof(struct step));
}

static void learn_threads(struct steps *steps)
{
	struct gmm_sim_thread_info info;
	uint32_t i;

	for (i = 0; i < GMM_SIM_EXPLORED_THREADS && gmm_sim_thread_find(i, &info); i++) {
		snprintf(steps->threads[i].name, sizeof(steps->threads[i].name), "%s", info.name);
		steps->threads[i].fn = (uintptr_t)info.fn;
	}
	steps->thread_count = i;
}

static uint64_t read_word(const volatile void *from, uint32_t size)
{
	uint64_t word = 0;

	memcpy(&word, (const void *)(uintptr_t)from, size);
	return word;
}

static bool has_value(enum gmm_sim_op op, uint32_t size)
{
	switch (op) {
	case GMM_SIM_LOAD:
	case GMM_SIM_STORE:
	case GMM_SIM_UPDATE:
	case GMM_SIM_READ:
	case GMM_SIM_WRITE:
		return size && size <= STEP_VALUE_BYTES;
	default:
		return false;
	}
}

static void look_where(uint64_t word, uint32_t size, struct explore_object *points)
{
	*points = (struct explore_object){ .kind = OBJECT_UNKNOWN };
	if (size == sizeof(void *) && word)
		explore_object_find((const void *)(uintptr_t)word, points);
}

static void value_before(struct step_value *value, const volatile void *object, uint32_t size)
{
	value->known = true;
	value->size = size;
	value->before = read_word(object, size);
	value->after = value->before;
	look_where(value->before, size, &value->points_before);
	value->points_after = value->points_before;
}

static void value_set_after(struct step_value *value, uint64_t after)
{
	value->after = after;
	look_where(after, value->size, &value->points_after);
}

static void finish(struct collection *collection)
{
	struct step *step;

	if (collection->open == NO_STEP)
		return;
	step = &collection->steps->steps[collection->open];
	if (step->value.known && step->access.writes)
		value_set_after(&step->value, read_word(step->access.object, step->value.size));
	if (step->also_value.known && step->access.also_writes)
		value_set_after(&step->also_value,
				read_word(step->access.also, step->also_value.size));
	collection->open = NO_STEP;
}

static struct step *add(struct collection *collection, enum step_kind kind, uint32_t thread,
			const struct gmm_sim_access *access)
{
	struct step *step = step_push(collection->steps);

	if (!collection->steps->thread_count)
		learn_threads(collection->steps);
	step->kind = kind;
	step->thread = thread;
	step->access = *access;
	step->holder = GMM_SIM_NOBODY;
	if (!access->object)
		return step;
	explore_object_find(access->object, &step->object);
	if (access->op == GMM_SIM_LOCK && step->object.kind != OBJECT_UNKNOWN)
		step->holder = gmm_sim_lock_holder(access->object);
	/* What lies nowhere is not read: the thread is about to. */
	if (has_value(access->op, access->size) && step->object.kind != OBJECT_UNKNOWN)
		value_before(&step->value, access->object, access->size);
	if (access->also) {
		explore_object_find(access->also, &step->also);
		value_before(&step->also_value, access->also, STEP_VALUE_BYTES);
	}
	return step;
}

static void add_calls(struct step *step)
{
	void *calls[STEP_CALLS];
	int count = backtrace(calls, STEP_CALLS), i;

	for (i = 0; i < count; i++)
		step->calls[i] = (uintptr_t)calls[i];
	step->call_count = (uint32_t)count;
}

/* A thread sees its own stores before others do. */
static void see_own_store(struct collection *collection, struct step *step)
{
	uint32_t i;

	if (step->access.op != GMM_SIM_LOAD)
		return;
	for (i = 0; i < collection->pending_count[step->thread]; i++) {
		const struct step *store =
			&collection->steps->steps[collection->pending[step->thread][i]];

		if (store->access.object == step->access.object && store->value.known) {
			step->value.before = store->value.after;
			step->value.points_before = store->value.points_after;
		}
	}
}

/* The thread's oldest store becomes seen: it was called where it was made. */
static void take_from_store(struct collection *collection, struct step *step)
{
	uint32_t thread = step->thread, *count = &collection->pending_count[thread];
	uint32_t *pending = collection->pending[thread];
	const struct step *store;

	if (!*count)
		return;
	store = &collection->steps->steps[pending[0]];
	memcpy(step->calls, store->calls, sizeof(step->calls));
	step->call_count = store->call_count;
	step->value.after = store->value.after;
	step->value.points_after = store->value.points_after;
	memmove(pending, pending + 1, --*count * sizeof(*pending));
}

/* An update or a lock makes the stores of its thread seen, and then does what it does. */
static void put_before_open(struct collection *collection)
{
	struct steps *steps = collection->steps;
	struct step *open = &steps->steps[collection->open];
	struct step seen = steps->steps[steps->count - 1];

	if (open->access.object == seen.access.object && open->value.known) {
		open->value.before = seen.value.after;
		open->value.points_before = seen.value.points_after;
	}
	memmove(open + 1, open, (steps->count - 1 - collection->open) * sizeof(*open));
	*open = seen;
	collection->open++;
}

static void becomes_seen(struct collection *collection, uint32_t thread,
			 const struct gmm_sim_access *access)
{
	const struct steps *steps = collection->steps;
	bool own = collection->open != NO_STEP && steps->steps[collection->open].thread == thread;

	if (!own)
		finish(collection);
	take_from_store(collection, add(collection, STEP_SEEN, thread, access));
	if (own)
		put_before_open(collection);
}

static void performed(void *opaque, uint32_t thread, bool stored,
		      const struct gmm_sim_access *access)
{
	struct collection *collection = opaque;
	struct step *step;

	if (stored) {
		becomes_seen(collection, thread, access);
		return;
	}
	finish(collection);
	step = add(collection, STEP_DONE, thread, access);
	/* What happens by itself stands on the stack of whoever is there. */
	if (thread == GMM_SIM_NOBODY)
		return;
	add_calls(step);
	see_own_store(collection, step);
	collection->open = collection->steps->count - 1;
}

static void passed(void *opaque, uint32_t thread, const struct gmm_sim_access *access)
{
	struct collection *collection = opaque;

	finish(collection);
	/* The store itself is told by delayed(). */
	if (access->op == GMM_SIM_STORE || access->op == GMM_SIM_UNLOCK)
		return;
	add_calls(add(collection, STEP_OWN, thread, access));
}

static void delayed(void *opaque, uint32_t thread, const struct gmm_sim_access *access,
		    const void *value)
{
	struct collection *collection = opaque;
	struct step *step;

	finish(collection);
	step = add(collection, STEP_DELAYED, thread, access);
	add_calls(step);
	if (step->value.known)
		value_set_after(&step->value, read_word(value, step->value.size));
	if (collection->pending_count[thread] < PENDING)
		collection->pending[thread][collection->pending_count[thread]++] =
			collection->steps->count - 1;
}

/* Before the memory is put back. */
static void ended(void *opaque)
{
	struct collection *collection = opaque;

	finish(collection);
}

void steps_collect(const struct explore_request *request, const uint8_t *choices, uint32_t count,
		   struct steps *steps)
{
	struct collection collection = { .steps = steps, .open = NO_STEP };
	struct explore_request replay = *request;
	void *first;

	/* Its first call loads a library: not on a simulated thread's stack. */
	(void)backtrace(&first, 1);
	memset(steps, 0, sizeof(*steps));
	replay.mode = EXPLORE_REPLAY;
	replay.choices = choices;
	replay.choice_count = count;
	replay.performed = performed;
	replay.passed = passed;
	replay.delayed = delayed;
	replay.ended = ended;
	replay.opaque = &collection;
	explore_search(&replay, &steps->findings);
}

void steps_free(struct steps *steps)
{
	explore_findings_free(&steps->findings);
	free(steps->steps);
	memset(steps, 0, sizeof(*steps));
}
