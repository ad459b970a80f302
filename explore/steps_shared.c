/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "steps_shared.h"

#include <stdlib.h>
#include <string.h>

#define REPEATED_WITHIN 256u /* steps */

struct word {
	uintptr_t key; /* 0: free */
	uint32_t threads;
	bool written;
};

struct words {
	struct word *words;
	size_t mask;
};

static void *required(void *pointer)
{
	if (!pointer) {
		fprintf(stderr, "gmm-explore: out of memory\n");
		abort();
	}
	return pointer;
}

static struct word *word_of(const struct words *words, uintptr_t key)
{
	size_t i = (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 20) & words->mask;

	while (words->words[i].key && words->words[i].key != key)
		i = (i + 1) & words->mask;
	words->words[i].key = key;
	return &words->words[i];
}

/* GMM_SIM_NOBODY has one, too. */
static uint32_t bit_of(uint32_t thread)
{
	return 1u << (thread % 32);
}

static bool is_of_one_word(const struct gmm_sim_access *access)
{
	return access->object && access->op != GMM_SIM_FREE;
}

static void note(const struct words *words, const volatile void *object, uint32_t thread,
		 bool writes)
{
	struct word *word = word_of(words, (uintptr_t)object >> 3);

	word->threads |= thread ? bit_of(thread) : 0;
	word->written |= writes;
}

static bool is_alone(const struct words *words, const volatile void *object, uint32_t thread,
		     bool reads_plainly)
{
	const struct word *word = word_of(words, (uintptr_t)object >> 3);

	return !(word->threads & ~bit_of(thread)) || (reads_plainly && !word->written);
}

/* Nobody decides by them. */
static bool is_statistic(const struct step *step)
{
	char text[64];

	if (step->access.op != GMM_SIM_UPDATE)
		return false;
	explore_object_text(&step->object, step->access.size, text, sizeof(text));
	return !strncmp(text, "guest.counters.", strlen("guest.counters."));
}

/* Memory that goes, in which others were. */
static bool frees_own(const struct steps *steps, uint32_t number)
{
	const struct step *step = &steps->steps[number];
	uint32_t i;

	for (i = 0; i < steps->count; i++) {
		const struct step *other = &steps->steps[i];

		if (other->thread && other->thread != step->thread &&
		    (uintptr_t)other->access.object - (uintptr_t)step->access.object <
			    step->access.size)
			return false;
	}
	return true;
}

static bool is_own(const struct steps *steps, const struct words *words, uint32_t number)
{
	const struct step *step = &steps->steps[number];
	const struct gmm_sim_access *access = &step->access;

	if (step->kind == STEP_OWN || !step->thread || access->op == GMM_SIM_START)
		return true;
	if (access->op == GMM_SIM_FREE)
		return frees_own(steps, number);
	if (!access->object || access->op == GMM_SIM_HEAVY_BARRIER ||
	    access->op == GMM_SIM_FINISH || access->op == GMM_SIM_EVENT)
		return false;
	if (access->also && !is_alone(words, access->also, step->thread, false))
		return false;
	return is_alone(words, access->object, step->thread, access->op == GMM_SIM_READ) ||
	       is_statistic(step);
}

/* It reads again, in the same place of the code, what nobody writes: a loop over many words. */
static bool is_repeated(const struct steps *steps, const struct words *words, uint32_t number)
{
	const struct step *step = &steps->steps[number];
	uint32_t left = REPEATED_WITHIN;

	if ((step->access.op != GMM_SIM_LOAD && step->access.op != GMM_SIM_READ) ||
	    step->access.also || !is_alone(words, step->access.object, step->thread, true))
		return false;
	while (number-- && left--)
		if (steps->steps[number].thread == step->thread &&
		    steps->steps[number].access.site == step->access.site)
			return true;
	return false;
}

/* Where a lock that is taken at `lock` is given back, if nothing happens in between; else 0. */
static uint32_t end_of_empty_section(const struct steps *steps, const bool *own, uint32_t lock)
{
	const struct step *taken = &steps->steps[lock];
	bool late = false;
	uint32_t i;

	for (i = lock + 1; i + 1 < steps->count; i++) {
		const struct step *step = &steps->steps[i];

		if (step->thread != taken->thread)
			return 0;
		if (step->access.op == GMM_SIM_UNLOCK &&
		    step->access.object == taken->access.object) {
			if (step->kind != STEP_DELAYED)
				return i;
			late = true;
		} else if (!own[i] && !late) {
			return 0;
		}
	}
	return 0;
}

static void fold_empty_sections(const struct steps *steps, bool *own)
{
	uint32_t i, end;

	/* From the end on, so that inner ones are first. */
	for (i = steps->count; i--;) {
		if (steps->steps[i].access.op != GMM_SIM_LOCK || own[i])
			continue;
		end = end_of_empty_section(steps, own, i);
		if (!end)
			continue;
		own[i] = true;
		own[end] = true;
		while (end-- > i)
			if (steps->steps[end].access.op == GMM_SIM_UNLOCK &&
			    steps->steps[end].access.object == steps->steps[i].access.object)
				own[end] = true;
	}
}

bool *steps_own(const struct steps *steps)
{
	bool *own = required(calloc(steps->count + 1, sizeof(*own)));
	struct words words = { .mask = 1024 };
	uint32_t i;

	while (words.mask < 4 * (size_t)steps->count)
		words.mask *= 2;
	words.words = required(calloc(words.mask--, sizeof(struct word)));
	for (i = 0; i < steps->count; i++) {
		const struct step *step = &steps->steps[i];

		if (is_of_one_word(&step->access) && step->kind != STEP_OWN)
			note(&words, step->access.object, step->thread, step->access.writes);
		if (step->access.also)
			note(&words, step->access.also, step->thread, step->access.also_writes);
	}
	for (i = 0; i < steps->count; i++)
		own[i] = is_own(steps, &words, i) || is_repeated(steps, &words, i);
	free(words.words);
	fold_empty_sections(steps, own);
	return own;
}
