/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "search.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fingerprint.h"

#define DEPTH_FIRST 1024u
#define CLOCK_EVERY 1024u /* schedules between two looks at the clock */
#define SWITCH_OF 8u	  /* random: one choice of so many is another thread */
#define PRIORITY_CHANGES 3u
#define PRIORITY_CHOICES 200u /* in which they lie */

/*
 * Options of a choice as a set: threads from bit 0 on, their stores from 8, ends of waits from 16,
 * events from 24.
 */
#define STORE_BIT 8u
#define WAKE_BIT 16u
#define EVENT_BIT 24u
#define OPTIONS 32u
#define THREAD_BITS ((1u << STORE_BIT) - 1)

struct operation {
	uintptr_t word, last; /* the words it touches; 0: conflicts with nothing */
	uintptr_t also;	      /* one more; likewise */
	bool writes, also_writes;
};

/* One choice of the schedule under way. */
struct node {
	uint32_t options;
	uint32_t tried;	      /* the chosen one included */
	uint32_t sleep;	      /* threads whose turn here was looked at in another order */
	uint32_t preemptions; /* before it */
	uint8_t current;
	uint8_t chosen; /* bit number of options */
	struct operation next[GMM_SIM_EXPLORED_THREADS];
};

struct search {
	const struct explore_request *request;
	struct explore_findings *findings;
	struct explore_fingerprint *fingerprint; /* NULL: not used */
	struct explore_seen *seen;
	bool sleeping; /* sleep sets are used */
	struct node *nodes;
	uint32_t capacity;
	uint32_t depth;	 /* choices of the schedule under way */
	uint32_t prefix; /* of these, decided before */
	uint32_t sleep;
	struct operation asleep[GMM_SIM_EXPLORED_THREADS];
	bool began;
	uint64_t random;
	uint32_t priorities[GMM_SIM_EXPLORED_THREADS];
	uint32_t lowest;
	uint32_t change_at[PRIORITY_CHANGES];
	uint32_t position; /* replay: next of request->choices */
	double until;	   /* 0: no limit */
	double started;
};

static double clock_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static uint64_t next_random(struct search *search)
{
	uint64_t z = (search->random += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static uint32_t options_of(const struct gmm_sim_choice *choice)
{
	return choice->runnable | choice->storing << STORE_BIT | choice->waiting << WAKE_BIT |
	       choice->events << EVENT_BIT;
}

static uint32_t answer_of(uint32_t bit)
{
	if (bit >= EVENT_BIT)
		return (bit - EVENT_BIT) | GMM_SIM_CHOOSE_EVENT;
	if (bit >= WAKE_BIT)
		return (bit - WAKE_BIT) | GMM_SIM_CHOOSE_WAKE;
	return bit < STORE_BIT ? bit : (bit - STORE_BIT) | GMM_SIM_CHOOSE_STORE;
}

static uint32_t bit_of_answer(uint32_t answer)
{
	if (answer & GMM_SIM_CHOOSE_EVENT)
		return (answer & ~GMM_SIM_CHOOSE_EVENT) + EVENT_BIT;
	if (answer & GMM_SIM_CHOOSE_WAKE)
		return (answer & ~GMM_SIM_CHOOSE_WAKE) + WAKE_BIT;
	return answer & GMM_SIM_CHOOSE_STORE ? (answer & ~GMM_SIM_CHOOSE_STORE) + STORE_BIT :
					       answer;
}

/* Another thread's turn while the current one could go on. */
static bool preempts(const struct node *node, uint32_t bit)
{
	return bit < STORE_BIT && node->current != GMM_SIM_NOBODY && bit != node->current;
}

static uint32_t preemptions_behind(const struct node *node)
{
	return node->preemptions + preempts(node, node->chosen);
}

static struct operation operation_of(const struct gmm_sim_access *access)
{
	uintptr_t first = (uintptr_t)access->object;
	uintptr_t size = access->size ? access->size : 1;

	return (struct operation){ .word = first >> 3,
				   .last = (first + size - 1) >> 3,
				   .also = (uintptr_t)access->also >> 3,
				   .writes = access->writes,
				   .also_writes = access->also_writes };
}

static bool touches(struct operation a, uintptr_t word)
{
	return a.word && a.word <= word && word <= a.last;
}

static bool conflict(struct operation a, struct operation b)
{
	if (a.word && b.word && a.word <= b.last && b.word <= a.last && (a.writes || b.writes))
		return true;
	return (b.also && touches(a, b.also) && (a.writes || b.also_writes)) ||
	       (a.also && touches(b, a.also) && (b.writes || a.also_writes)) ||
	       (a.also && a.also == b.also && (a.also_writes || b.also_writes));
}

static struct node *node_push(struct search *search, const struct gmm_sim_choice *choice)
{
	struct node *node;
	uint32_t i;

	if (search->depth == search->capacity) {
		search->capacity *= 2;
		search->nodes = realloc(search->nodes, search->capacity * sizeof(struct node));
		if (!search->nodes) {
			fprintf(stderr, "gmm-explore: out of memory\n");
			abort();
		}
	}
	node = &search->nodes[search->depth];
	*node = (struct node){ .options = options_of(choice),
			       .current = (uint8_t)choice->current,
			       .sleep = search->sleep };
	if (search->depth)
		node->preemptions = preemptions_behind(node - 1);
	for (i = 0; search->sleeping && i < GMM_SIM_EXPLORED_THREADS; i++)
		if (choice->runnable >> i & 1)
			node->next[i] = operation_of(choice->next[i]);
	search->depth++;
	if (search->depth > search->findings->depth)
		search->findings->depth = search->depth;
	return node;
}

static void node_choose(struct node *node, uint32_t bit)
{
	node->chosen = (uint8_t)bit;
	node->tried |= 1u << bit;
}

/* The option that interrupts nobody, of a set. */
static uint32_t usual(const struct node *node, uint32_t options)
{
	if (node->current != GMM_SIM_NOBODY && (options >> node->current & 1))
		return node->current;
	return (uint32_t)__builtin_ctz(options);
}

/* Who was looked at here before, or sleeps, sleeps in what follows, until a conflict. */
static void fall_asleep(struct search *search, const struct node *node)
{
	uint32_t set = (node->sleep | node->tried) & ~(1u << node->chosen);
	uint32_t i;

	for (i = 0; i < GMM_SIM_EXPLORED_THREADS; i++)
		if ((set & ~node->sleep) >> i & 1)
			search->asleep[i] = node->next[i];
	search->sleep = set & THREAD_BITS;
}

static uint32_t choose_exhaustive(struct search *search, const struct gmm_sim_choice *choice)
{
	uint32_t allowed = options_of(choice) & ~search->sleep;
	struct node *node;

	if (!allowed)
		return GMM_SIM_CHOOSE_LEAVE;
	node = node_push(search, choice);
	if (search->fingerprint) {
		uint64_t state = explore_fingerprint_value(search->fingerprint);
		uint32_t left = 0;

		/* Where preemptions cost nothing it is of no matter whose turn it was. */
		if (search->request->preemptions != EXPLORE_UNBOUNDED) {
			state += (uint64_t)choice->current * UINT64_C(0x9e3779b97f4a7c15);
			left = search->request->preemptions - node->preemptions;
		}
		if (explore_seen_before(search->seen, state, left)) {
			search->depth--;
			return GMM_SIM_CHOOSE_LEAVE;
		}
	}
	node_choose(node, usual(node, allowed));
	if (search->sleeping)
		fall_asleep(search, node);
	return answer_of(node->chosen);
}

static uint32_t choose_random(struct search *search, const struct gmm_sim_choice *choice)
{
	struct node *node = node_push(search, choice);
	uint32_t options = node->options, skip;

	if (next_random(search) % SWITCH_OF == 0)
		for (skip = (uint32_t)(next_random(search) >> 32) %
			    (uint32_t)__builtin_popcount(options);
		     skip; skip--)
			options &= options - 1;
	else
		options = 1u << usual(node, options);
	node_choose(node, (uint32_t)__builtin_ctz(options));
	return answer_of(node->chosen);
}

static uint32_t choose_by_priority(struct search *search, const struct gmm_sim_choice *choice)
{
	struct node *node = node_push(search, choice);
	uint32_t best = UINT32_MAX, i;

	for (i = 0; i < PRIORITY_CHANGES; i++)
		if (search->change_at[i] == search->depth && choice->current != GMM_SIM_NOBODY)
			search->priorities[choice->current] = --search->lowest;
	/* Stores become seen when nobody can go on, or now and then. */
	if (choice->storing && (!choice->runnable || next_random(search) % 4 == 0)) {
		best = (uint32_t)__builtin_ctz(choice->storing) + STORE_BIT;
	} else if (choice->events && next_random(search) % SWITCH_OF == 0) {
		best = (uint32_t)__builtin_ctz(choice->events) + EVENT_BIT;
	} else {
		for (i = 0; i < GMM_SIM_EXPLORED_THREADS; i++)
			if ((choice->runnable >> i & 1) &&
			    (best == UINT32_MAX ||
			     search->priorities[i] > search->priorities[best]))
				best = i;
	}
	node_choose(node, best);
	return answer_of(best);
}

static uint32_t choose_as_told(struct search *search, const struct gmm_sim_choice *choice)
{
	const struct explore_request *request = search->request;
	struct node *node = node_push(search, choice);
	uint32_t threads = node->options & THREAD_BITS;
	uint32_t bit = usual(node, threads ? threads : node->options);

	while (search->position < request->choice_count) {
		uint32_t told = bit_of_answer(request->choices[search->position++]);

		if (node->options >> told & 1) {
			search->findings->made++;
			bit = told;
			break;
		}
		if (!request->lenient) {
			search->findings->impossible = search->position;
			return GMM_SIM_CHOOSE_LEAVE;
		}
	}
	node_choose(node, bit);
	return answer_of(bit);
}

static uint32_t choose(void *opaque, const struct gmm_sim_choice *choice)
{
	struct search *search = opaque;
	struct node *node;

	if (search->depth < search->prefix) {
		node = &search->nodes[search->depth++];
		if (node->options != options_of(choice)) {
			fprintf(stderr, "gmm-explore: scenario %s is not deterministic\n",
				search->request->scenario->name);
			abort();
		}
		if (search->sleeping) {
			search->sleep = node->sleep;
			fall_asleep(search, node);
		}
		return answer_of(node->chosen);
	}
	switch (search->request->mode) {
	case EXPLORE_RANDOM:
		return choose_random(search, choice);
	case EXPLORE_PRIORITIES:
		return choose_by_priority(search, choice);
	case EXPLORE_REPLAY:
		return choose_as_told(search, choice);
	default:
		return choose_exhaustive(search, choice);
	}
}

static void performed(void *opaque, uint32_t thread, bool stored,
		      const struct gmm_sim_access *access)
{
	struct search *search = opaque;
	uint32_t i;

	search->findings->steps++;
	if (search->fingerprint)
		explore_fingerprint_add(search->fingerprint, thread, stored, access);
	for (i = 0; search->sleep >> i; i++)
		if ((search->sleep >> i & 1) && conflict(search->asleep[i], operation_of(access)))
			search->sleep &= ~(1u << i);
	if (search->request->performed)
		search->request->performed(search->request->opaque, thread, stored, access);
}

static void passed(void *opaque, uint32_t thread, const struct gmm_sim_access *access)
{
	const struct explore_request *request = ((struct search *)opaque)->request;

	request->passed(request->opaque, thread, access);
}

static void delayed(void *opaque, uint32_t thread, const struct gmm_sim_access *access,
		    const void *value)
{
	const struct explore_request *request = ((struct search *)opaque)->request;

	request->delayed(request->opaque, thread, access, value);
}

/* Options of a choice that are still to be looked at. */
static uint32_t untried(const struct search *search, const struct node *node)
{
	uint32_t options = node->options & ~node->tried & ~node->sleep, affordable = 0;
	uint32_t bit;

	if (search->request->preemptions == EXPLORE_UNBOUNDED ||
	    node->preemptions < search->request->preemptions)
		return options;
	for (bit = 0; bit < OPTIONS && options >> bit; bit++)
		if ((options >> bit & 1) && !preempts(node, bit))
			affordable |= 1u << bit;
	return affordable;
}

/* Goes back to the last choice that has something left, and takes that. */
static bool step_back(struct search *search)
{
	while (search->depth) {
		struct node *node = &search->nodes[search->depth - 1];
		uint32_t left = untried(search, node);

		if (left) {
			node_choose(node, (uint32_t)__builtin_ctz(left));
			search->prefix = search->depth;
			return true;
		}
		search->depth--;
	}
	return false;
}

static bool limit_reached(struct search *search)
{
	const struct explore_request *request = search->request;
	const struct explore_findings *findings = search->findings;
	uint64_t done = findings->schedules + findings->left;

	if (findings->failed || (request->schedules && findings->schedules >= request->schedules))
		return true;
	return search->until > 0 && done % CLOCK_EVERY == 0 && clock_now() > search->until;
}

static void draw_priorities(struct search *search)
{
	uint32_t i;

	search->lowest = 0x40000000u;
	for (i = 0; i < GMM_SIM_EXPLORED_THREADS; i++)
		search->priorities[i] = 0x80000000u | (uint32_t)(next_random(search) >> 33);
	for (i = 0; i < PRIORITY_CHANGES; i++)
		search->change_at[i] = 1 + (uint32_t)(next_random(search) % PRIORITY_CHOICES);
}

/* Whether there is another schedule. The first one comes without looking back. */
static bool next_schedule(struct search *search)
{
	if (!search->began) {
		search->began = true;
		return true;
	}
	if (limit_reached(search))
		return false;
	switch (search->request->mode) {
	case EXPLORE_REPLAY:
		return false;
	case EXPLORE_EXHAUSTIVE:
		if (step_back(search))
			return true;
		search->findings->complete = true;
		return false;
	default:
		return true;
	}
}

static bool begin(void *opaque, struct gmm_sim_config *config)
{
	struct search *search = opaque;

	search->findings->left += search->began;
	if (!next_schedule(search))
		return false;
	config->store_buffers = search->request->store_buffers;
	config->early_wakes = search->request->early_wakes;
	config->fail_alloc_at = search->request->fail_at[EXPLORE_FAIL_ALLOCATION];
	config->fail_call_at[0] = search->request->fail_at[EXPLORE_FAIL_RESOLVE];
	config->fail_call_at[1] = search->request->fail_at[EXPLORE_FAIL_MAP];
	config->races = search->request->races && !search->request->store_buffers;
	search->depth = 0;
	search->sleep = 0;
	search->position = 0;
	if (search->fingerprint)
		explore_fingerprint_reset(search->fingerprint);
	if (search->request->mode == EXPLORE_PRIORITIES)
		draw_priorities(search);
	return true;
}

static void keep_failure(struct search *search, const struct gmm_sim_result *result)
{
	struct explore_findings *findings = search->findings;
	uint32_t i;

	findings->failed = true;
	findings->result = *result;
	findings->choices = malloc(search->depth + 1);
	if (!findings->choices) {
		fprintf(stderr, "gmm-explore: out of memory\n");
		abort();
	}
	findings->choice_count = search->depth;
	for (i = 0; i < search->depth; i++)
		findings->choices[i] = (uint8_t)answer_of(search->nodes[i].chosen);
	findings->preemptions = search->depth ? preemptions_behind(&search->nodes[i - 1]) : 0;
}

static void end(void *opaque, const struct gmm_sim_result *result)
{
	struct search *search = opaque;

	search->findings->schedules++;
	/* begin() counts every schedule as left. */
	search->findings->left--;
	search->findings->fail_reached |= result->alloc_failed;
	if (search->request->ended)
		search->request->ended(search->request->opaque);
	if (result->failed)
		keep_failure(search, result);
}

void explore_search(const struct explore_request *request, struct explore_findings *findings)
{
	struct search search = { .request = request,
				 .findings = findings,
				 .capacity = DEPTH_FIRST,
				 .random = request->seed };
	struct gmm_sim_explorer explorer = { .begin = begin,
					     .choose = choose,
					     .performed = performed,
					     .passed = request->passed ? passed : NULL,
					     .delayed = request->delayed ? delayed : NULL,
					     .end = end,
					     .opaque = &search };
	struct gmm_sim_config config = { .seed = 1 };
	bool exhaustive = request->mode == EXPLORE_EXHAUSTIVE;

	memset(findings, 0, sizeof(*findings));
	search.nodes = malloc(DEPTH_FIRST * sizeof(struct node));
	search.sleeping = exhaustive && request->preemptions == EXPLORE_UNBOUNDED &&
			  request->sleep_sets && !request->store_buffers && !request->no_seen;
	if (exhaustive && !search.sleeping && !request->no_seen) {
		search.fingerprint = explore_fingerprint_create();
		search.seen = explore_seen_create();
	}
	search.started = clock_now();
	search.until = request->seconds ? search.started + (double)request->seconds : 0;
	if (!search.nodes ||
	    gmm_sim_explore(&config, &explorer, request->scenario->run, NULL, &findings->result)) {
		fprintf(stderr, "gmm-explore: %s fails before its threads run: %s\n",
			request->scenario->name, findings->result.text);
		exit(1);
	}
	findings->seconds = clock_now() - search.started;
	if (search.fingerprint) {
		findings->states = explore_seen_count(search.seen);
		explore_fingerprint_destroy(search.fingerprint);
		explore_seen_destroy(search.seen);
	}
	free(search.nodes);
}

void explore_findings_free(struct explore_findings *findings)
{
	free(findings->choices);
	findings->choices = NULL;
}

/* Without choice number `without`: what follows is done in the same order, as far as it can be. */
static bool fails_without(const struct explore_request *wanted, struct explore_findings *findings,
			  uint32_t without)
{
	struct explore_request request = *wanted;
	struct explore_findings shorter;
	uint8_t *choices = malloc(findings->choice_count);
	bool better;

	if (!choices)
		return false;
	memcpy(choices, findings->choices, without);
	memcpy(choices + without, findings->choices + without + 1,
	       findings->choice_count - without - 1);
	request.mode = EXPLORE_REPLAY;
	request.choices = choices;
	request.choice_count = findings->choice_count - 1;
	request.lenient = true;
	request.performed = NULL;
	request.passed = NULL;
	request.delayed = NULL;
	request.ended = NULL;
	explore_search(&request, &shorter);
	free(choices);
	better = shorter.failed && (shorter.preemptions < findings->preemptions ||
				    (shorter.preemptions == findings->preemptions &&
				     shorter.choice_count < findings->choice_count));
	if (!better) {
		explore_findings_free(&shorter);
		return false;
	}
	free(findings->choices);
	findings->choices = shorter.choices;
	findings->choice_count = shorter.choice_count;
	findings->preemptions = shorter.preemptions;
	findings->result = shorter.result;
	return true;
}

void explore_shrink(const struct explore_request *request, struct explore_findings *findings)
{
	bool shorter = true;
	uint32_t i;

	while (shorter) {
		shorter = false;
		for (i = 0; i < findings->choice_count; i++)
			while (i < findings->choice_count && fails_without(request, findings, i))
				shorter = true;
	}
}
