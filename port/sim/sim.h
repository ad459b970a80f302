/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A deterministic scheduler for code on the port: simulated threads run on one OS thread, each on
 * its own stack, and change places only at the port's operations. The seed decides everything: two
 * runs of one program with equal configurations are equal, step for step.
 *
 * A run fails when an assertion fails, when no thread can go on, when it takes too many steps, when
 * locks are taken out of rank, when a thread that may not sleep would, when memory is leaked, freed
 * twice or with another size, or written after it was freed.
 *
 * The code under test keeps nothing in static variables from one run to the next.
 */
#ifndef GMM_SIM_H
#define GMM_SIM_H

#include <stdio.h>

#include <gmm_port/site.h>
#include <gmm_port/types.h>
#include <gmm_port/compiler.h>

#define GMM_SIM_CALLS 2u /* kinds of gmm_sim_call_fails() */

/* Zero in any member but the seed chooses the default. */
struct gmm_sim_config {
	uint64_t seed;
	uint64_t max_steps;	   /* yield points until the run counts as a livelock; 200,000 */
	uint32_t switch_per_1024;  /* how often a yield point changes threads; 256 */
	uint32_t priority_changes; /* if not 0: strict random priorities, changed this often */
	uint32_t priority_steps;   /* in the first so many steps; 1,000 */
	bool store_buffers;	   /* delay stores as x86 does, see gmm_port/atomic.h */
	uint64_t fail_alloc_at;	   /* the nth allocation fails, once */
	uint64_t fail_call_at[GMM_SIM_CALLS]; /* exploring: the nth gmm_sim_call_fails() of a kind */
	bool races;			      /* exploring: look for data races */
	uint32_t early_wakes; /* exploring: so many waits may end though nobody wakes */
	FILE *trace;	      /* a line for each step */
};

#define GMM_SIM_TEXT_SIZE 4096

/* One of two accesses between which there is no order. */
struct gmm_sim_race_access {
	uint32_t thread;
	bool writes;
	bool plain;
	const struct gmm_sim_site *site;
};

struct gmm_sim_race {
	bool found;
	const volatile void *object; /* of the later access */
	uint32_t size;
	struct gmm_sim_race_access earlier, later;
	/* What the thread of the earlier access has released since, last; NULL: nothing. */
	const struct gmm_sim_site *released;
};

struct gmm_sim_result {
	bool failed;
	bool alloc_failed; /* fail_alloc_at or fail_call_at was reached */
	struct gmm_sim_race race;
	uintptr_t crashed_at; /* address of the code that gmm_sim_crashed() was told; else 0 */
	uint64_t seed;
	uint64_t steps;
	uint64_t switches;
	uint64_t trace_hash; /* of threads, operations and lines, in their order */
	uint64_t allocations;
	uint64_t bytes_live_max;
	char text[GMM_SIM_TEXT_SIZE]; /* why it failed, several lines, without the seed */
};

struct gmm_sim_thread;

/* What a thread is about to do, or does. */
struct gmm_sim_access {
	enum gmm_sim_op op;
	bool writes;		     /* changes the object */
	uint32_t size;		     /* bytes */
	const volatile void *object; /* NULL: nothing that others share */
	const volatile void *also;   /* another word, in the same step; NULL: none */
	bool also_writes;
	const void *expected; /* of a compare-exchange: it writes where it finds this; or NULL */
	const struct gmm_sim_site *site;
};

/*
 * Runs main_fn(arg) as the first thread until it returns or something fails. Every thread must have
 * been joined by then. Not reentrant, and for one OS thread of the process at a time.
 * Returns 0, or -1 with result->text.
 */
int gmm_sim_run(const struct gmm_sim_config *config, void (*main_fn)(void *arg), void *arg,
		struct gmm_sim_result *result);

/*
 * Exploring: somebody else decides who runs next, and every schedule begins at one point, at which
 * the first thread calls gmm_sim_checkpoint(): it has made what the others share and started them,
 * and none has run yet. Then it joins them, and goes on when all of them have ended. From there on the state is put back for each schedule. What the threads
 * change lies in memory of gmm_zalloc() or on their stacks.
 */
#define GMM_SIM_EXPLORED_THREADS 8u

struct gmm_sim_choice {
	/*
	 * A bit for each thread that can go on; for each whose oldest store can become seen; for
	 * each whose wait may end by itself.
	 */
	uint32_t runnable;
	uint32_t storing;
	uint32_t waiting;
	uint32_t events; /* and for each that can happen (sim_event.h) */
	/* The thread that came to this point, when it can go on; else GMM_SIM_NOBODY. */
	uint32_t current;
	const struct gmm_sim_access *next[GMM_SIM_EXPLORED_THREADS]; /* of runnable threads */
};
#define GMM_SIM_NOBODY 0xffu
/* Answers of choose() beside the number of a thread. */
#define GMM_SIM_CHOOSE_EVENT 0x10u /* with an event's number: it happens */
#define GMM_SIM_CHOOSE_WAKE 0x20u  /* with a thread's number: its wait ends */
#define GMM_SIM_CHOOSE_STORE 0x40u /* with a thread's number: its oldest store becomes seen */
#define GMM_SIM_CHOOSE_LEAVE 0x80u /* nothing more is to be learnt from this schedule */

struct gmm_sim_explorer {
	/* Before each schedule: false ends the exploration. May change the configuration. */
	bool (*begin)(void *opaque, struct gmm_sim_config *config);
	/* At each point at which there is more than one answer. */
	uint32_t (*choose)(void *opaque, const struct gmm_sim_choice *choice);
	/*
	 * A thread does something; `stored`: a store that it has made becomes seen now. Thread
	 * GMM_SIM_NOBODY: an event happens.
	 */
	void (*performed)(void *opaque, uint32_t thread, bool stored,
			  const struct gmm_sim_access *access);
	/*
	 * For tables of steps; may be NULL. A thread does what no other can tell, so that no choice
	 * came before; or it makes a store that others see later.
	 */
	void (*passed)(void *opaque, uint32_t thread, const struct gmm_sim_access *access);
	void (*delayed)(void *opaque, uint32_t thread, const struct gmm_sim_access *access,
			const void *value);
	/* After each schedule; not when it was left. */
	void (*end)(void *opaque, const struct gmm_sim_result *result);
	void *opaque;
};

/* As gmm_sim_run(). The first failure of the part before the checkpoint ends it: -1. */
int gmm_sim_explore(const struct gmm_sim_config *config, const struct gmm_sim_explorer *explorer,
		    void (*main_fn)(void *arg), void *arg, struct gmm_sim_result *result);
/* Of the first thread; does nothing in gmm_sim_run(). */
void gmm_sim_checkpoint(void);
/* Whether this call of an operation of the caller's fails, as fail_call_at says: a yield point then. */
bool gmm_sim_call_fails(uint32_t kind, const struct gmm_sim_site *site);
const char *gmm_sim_op_name(enum gmm_sim_op op);

/* What there is in the run under way, for who describes it. */
struct gmm_sim_thread_info {
	const char *name;
	void (*fn)(void *arg);
	const void *object; /* of accesses that are about the thread as a whole */
};
/* False: there is no such thread, or nothing runs any more. So say those that follow, too. */
bool gmm_sim_thread_find(uint32_t thread, struct gmm_sim_thread_info *info);

struct gmm_sim_block_info {
	const void *at;
	size_t size;
	const struct gmm_sim_site *allocated_at;
	bool freed;
};
/* The allocation in which an address lies; false: in none. */
bool gmm_sim_block_find(const volatile void *address, struct gmm_sim_block_info *info);
/* The thread on whose stack an address lies; false: on none. */
bool gmm_sim_stack_find(const volatile void *address, uint32_t *thread);
/* Who holds a lock, or GMM_SIM_NOBODY. */
uint32_t gmm_sim_lock_holder(const volatile void *lock);

/*
 * What a plain access is called (sim_plain.c): `name` is called for each place in the code that made
 * one and was not given yet; it fills in file, line and name of the site.
 */
void gmm_sim_plain_sites(void (*name)(uintptr_t address, struct gmm_sim_site *site));

/*
 * From a handler of SIGSEGV or SIGBUS on a stack of its own: ends the schedule under way as a
 * failure, in which the thread under way touched something at a code address. Returns when there is
 * no schedule: the process is broken.
 */
void gmm_sim_crashed(const char *signal, const char *touched, uintptr_t code);

/* The following are for threads of a run. Names are kept by pointer. */
struct gmm_sim_thread *gmm_sim_thread_start(void (*fn)(void *arg), void *arg, const char *name);
void gmm_sim_thread_join(struct gmm_sim_thread *thread);

/* Ends the run as a failure. */
void gmm_sim_fail(const char *format, ...) GMM_PRINTF(1, 2) __attribute__((noreturn));

/*
 * Sleeps while *word is what the caller saw, until gmm_sim_word_wake(); for test tools that hold
 * a thread at any point, also where it must not sleep.
 */
void gmm_sim_word_wait(const uint32_t *word, uint32_t seen);
void gmm_sim_word_wake(const uint32_t *word);

/*
 * A step that touches an object of one or more words and one word elsewhere (NULL: none) at once, as
 * a processor does that translates an address and then accesses it. The caller does both right after
 * this, with plain accesses, which are not delayed.
 */
void gmm_sim_touch_two(const volatile void *object, size_t size, bool writes,
		       const volatile void *also, bool also_writes,
		       const struct gmm_sim_site *site);

/* The seed of the run under way, or of the last one; for reports of crashes. */
uint64_t gmm_sim_seed(void);

#endif
