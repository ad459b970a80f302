/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Runs whose choices somebody else makes, each from the same checkpoint. */
#include <stdlib.h>
#include <string.h>

#include "sim_arena_impl.h"
#include "sim_impl.h"
#include "sim_race.h"

/* What is put back before each schedule: one copy of each range. */
#define RANGES_MAX (GMM_SIM_EXPLORED_THREADS + 3)

struct range {
	void *at;
	void *copy;
	size_t size;
};

struct checkpoint {
	struct range ranges[RANGES_MAX];
	uint32_t count;
};

static bool others_finished(const struct sim *sim, const struct gmm_sim_thread *thread)
{
	uint32_t i;

	for (i = 0; i < sim->thread_count; i++)
		if (sim->threads[i] != thread && sim->threads[i]->state != SIM_FINISHED)
			return false;
	return true;
}

bool sim_is_held_up(const struct sim *sim, const struct gmm_sim_thread *thread)
{
	const struct gmm_sim_access *access = &thread->access;

	/*
	 * What it has read in this turn may have changed since the last one, also before it came
	 * here: only when nobody has written since then another turn would be the same.
	 */
	if (thread->relaxing)
		return sim->writes - thread->writes == thread->others_writes;
	if (access->op == GMM_SIM_LOCK)
		return ((const volatile struct gmm_sim_lock *)access->object)->owner != NULL;
	if (access->op == GMM_SIM_JOIN)
		return !others_finished(sim, thread);
	return false;
}

static void look(const struct sim *sim, struct gmm_sim_choice *choice)
{
	uint32_t i;

	choice->runnable = 0;
	choice->storing = 0;
	choice->waiting = 0;
	for (i = 0; i < sim->thread_count; i++) {
		const struct gmm_sim_thread *thread = sim->threads[i];

		if (thread->pending_count)
			choice->storing |= 1u << i;
		if (sim->early_wakes && thread->state == SIM_BLOCKED &&
		    thread->access.op == GMM_SIM_WAIT && thread->after.op == GMM_SIM_LOCK)
			choice->waiting |= 1u << i;
		if (thread->state != SIM_RUNNABLE || sim_is_held_up(sim, thread))
			continue;
		choice->runnable |= 1u << i;
		choice->next[i] = &thread->access;
	}
	choice->events = sim->events.possible ? sim->events.possible(sim->events.opaque) : 0;
	choice->current = sim->current->id;
	if (!(choice->runnable >> choice->current & 1))
		choice->current = GMM_SIM_NOBODY;
}

struct gmm_sim_thread *sim_explored_next(struct sim *sim)
{
	struct gmm_sim_choice choice;
	uint32_t answer;

	if (!sim->explored)
		return sim->current->state == SIM_RUNNABLE ? sim->current : NULL;
	while (true) {
		look(sim, &choice);
		if (!choice.runnable && !choice.storing)
			return NULL;
		if (!choice.storing && !choice.waiting && !choice.events &&
		    !(choice.runnable & (choice.runnable - 1)))
			return sim->threads[__builtin_ctz(choice.runnable)];
		answer = sim->explorer->choose(sim->explorer->opaque, &choice);
		if (answer == GMM_SIM_CHOOSE_LEAVE)
			sim_leave(sim);
		if (answer & GMM_SIM_CHOOSE_STORE) {
			sim_store_oldest(sim, sim->threads[answer & ~GMM_SIM_CHOOSE_STORE]);
		} else if (answer & GMM_SIM_CHOOSE_WAKE) {
			sim->early_wakes--;
			sim_end_wait(sim, sim->threads[answer & ~GMM_SIM_CHOOSE_WAKE]);
		} else if (answer & GMM_SIM_CHOOSE_EVENT) {
			sim_event_happens(sim, answer & ~GMM_SIM_CHOOSE_EVENT);
		} else {
			return sim->threads[answer];
		}
	}
}

void gmm_sim_checkpoint(void)
{
	struct sim *sim = sim_required("gmm_sim_checkpoint");

	if (!sim->explorer)
		return;
	if (sim->current->id || sim->explored)
		gmm_sim_fail("a checkpoint is made once, by the first thread");
	if (sim->thread_count > GMM_SIM_EXPLORED_THREADS)
		gmm_sim_fail("%u threads are too many to explore", sim->thread_count);
	sim->at_checkpoint = true;
	sim_return_to_driver(sim);
	sim->explored = true;
}

static void keep(struct checkpoint *checkpoint, void *at, size_t size)
{
	struct range *range = &checkpoint->ranges[checkpoint->count++];

	*range = (struct range){ .at = at, .copy = malloc(size), .size = size };
	if (!range->copy) {
		fprintf(stderr, "sim: out of memory\n");
		abort();
	}
	memcpy(range->copy, at, size);
}

static void checkpoint_take(struct sim *sim, struct checkpoint *checkpoint)
{
	uint32_t i;

	checkpoint->count = 0;
	keep(checkpoint, sim, sizeof(*sim));
	keep(checkpoint, sim->arena->used, sizeof(sim->arena->used));
	keep(checkpoint, sim->arena->base, sim->arena->used[0]);
	for (i = 0; i < sim->thread_count; i++) {
		char *from = sim->threads[i]->context.stack_pointer;
		char *end = (char *)sim->threads[i]->stack + sim->threads[i]->stack_size;

		keep(checkpoint, from, (size_t)(end - from));
	}
}

static void checkpoint_put_back(const struct checkpoint *checkpoint)
{
	uint32_t i;

	for (i = 0; i < checkpoint->count; i++)
		memcpy(checkpoint->ranges[i].at, checkpoint->ranges[i].copy,
		       checkpoint->ranges[i].size);
}

static void checkpoint_drop(struct checkpoint *checkpoint)
{
	while (checkpoint->count)
		free(checkpoint->ranges[--checkpoint->count].copy);
}

static void one_schedule(struct sim *sim, const struct gmm_sim_config *config)
{
	struct gmm_sim_result *result = sim->result;

	memset(result, 0, offsetof(struct gmm_sim_result, text) + 1);
	sim->config = *config;
	sim_config_complete(&sim->config);
	sim->alloc_countdown = config->fail_alloc_at;
	memcpy(sim->call_countdown, config->fail_call_at, sizeof(sim->call_countdown));
	sim->early_wakes = config->early_wakes;
	sim->races = config->races ? sim_races_reset() : NULL;
	sim_run_until_end(sim);
	if (sim->left)
		return;
	result->steps = sim->step;
	result->alloc_failed = sim->alloc_failed;
	if (!result->failed)
		result->failed = !sim_memory_check(sim, result->text, sizeof(result->text));
	sim->explorer->end(sim->explorer->opaque, result);
}

int gmm_sim_explore(const struct gmm_sim_config *config, const struct gmm_sim_explorer *explorer,
		    void (*main_fn)(void *arg), void *arg, struct gmm_sim_result *result)
{
	struct gmm_sim_config each = *config;
	struct checkpoint checkpoint;
	struct sim *sim = sim_begin(config, explorer, main_fn, arg, result);

	sim_run_until_end(sim);
	if (!sim->at_checkpoint) {
		if (!result->failed)
			snprintf(result->text, sizeof(result->text),
				 "it ended without gmm_sim_checkpoint()");
		result->failed = true;
		sim_end(sim);
		return -1;
	}
	checkpoint_take(sim, &checkpoint);
	while (explorer->begin(explorer->opaque, &each)) {
		one_schedule(sim, &each);
		checkpoint_put_back(&checkpoint);
	}
	checkpoint_drop(&checkpoint);
	result->failed = false;
	sim_end(sim);
	return 0;
}
