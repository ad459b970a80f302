/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Threads, gates and injected failures for tests in every world.
 */
#ifndef GMM_TEST_H
#define GMM_TEST_H

#include <gmm_port/alloc.h>
#include <gmm_port/atomic.h>
#include <gmm_port/debug.h>
#include <gmm_port/step.h>
#include <gmm_port/thread.h>

#include "tap.h"

struct gmm_test_thread {
	void (*fn)(void *arg);
	void *arg;
	uintptr_t world; /* the world's own name of the thread */
};

/* Start ends the program when there is no thread to be had. Each is joined once. */
#define gmm_test_thread_start(thread, fn, arg) gmm_test_thread_start_named(thread, fn, arg, #fn)
void gmm_test_thread_start_named(struct gmm_test_thread *thread, void (*fn)(void *arg), void *arg,
				 const char *name);
void gmm_test_thread_join(struct gmm_test_thread *thread);

/*
 * A place at which a thread can be held. It holds one caller of gmm_gate_pass(), the hold_nth
 * (from 1), or each caller if hold_nth is 0, until gmm_gate_open(); all others pass. Callers may
 * hold locks and be inside sections: a gate is outside of what the port checks.
 */
struct gmm_gate {
	uint32_t hold_nth;
	uint32_t callers; /* atomic */
	uint32_t held;	  /* how many have been held; atomic */
	uint32_t open;	  /* atomic */
	uintptr_t only;	  /* if not 0: the gmm_thread_self() of the one thread that counts */
};

#define GMM_GATE_ALL 0u
#define GMM_GATE_NEVER (~0u) /* holds nobody, counts callers */

void gmm_gate_init(struct gmm_gate *gate, uint32_t hold_nth);
void gmm_gate_pass(struct gmm_gate *gate);
/* Returns when a caller is, or has been, held. */
void gmm_gate_wait_held(struct gmm_gate *gate);
void gmm_gate_open(struct gmm_gate *gate);
uint32_t gmm_gate_callers(struct gmm_gate *gate);

/*
 * Every thread that comes to gmm_step(point) calls gmm_gate_pass(gate). Up to 8 at a time, gone at
 * the end of the case, or with gmm_test_unhold_steps(); the gate outlives the threads that may
 * come by. Only where GMM_STEPS is 1.
 */
void gmm_test_hold_step(enum gmm_step_point point, struct gmm_gate *gate);
void gmm_test_unhold_steps(void);

/*
 * Numbers for random tests: the seed of the simulated run; in posix of the repetition, from 1.
 */
uint64_t gmm_test_seed(void);
uint64_t gmm_test_random(uint64_t *state);

/*
 * How often to repeat what takes `turns` in a simulated schedule: there so often, with real threads,
 * which seldom meet, a thousand times as often.
 */
uint32_t gmm_test_turns(uint32_t turns);

/* What the world supplies: sleeps while *word is seen; may return early; outside of all checks. */
void gmm_test_word_wait(uint32_t *word, uint32_t seen);
void gmm_test_word_wake(uint32_t *word);

/* The world calls it before and after each run of a case. */
void gmm_test_reset(void);

#endif
