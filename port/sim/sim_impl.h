/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_SIM_IMPL_H
#define GMM_SIM_IMPL_H

#include <gmm_port/debug.h>
#include <gmm_port/lock.h>
#include <gmm_port/step.h>

#include "sim.h"
#include "sim_event.h"

#define SIM_THREADS_MAX 256
#define SIM_LOCKS_HELD_MAX 16
#define SIM_PENDING_STORES 8

enum sim_state {
	SIM_RUNNABLE,
	SIM_BLOCKED,
	SIM_FINISHED,
};

struct sim_pending_store {
	volatile void *pointer;
	uint64_t value __attribute__((may_alias));
	size_t size;
	const struct gmm_sim_site *site;
	struct gmm_sim_lock *unlocked; /* it gives this lock back; else NULL */
};

struct sim_context {
	void *stack_pointer; /* everything else is on the stack */
};

struct gmm_sim_thread {
	uint32_t id;
	const char *name;
	void (*fn)(void *arg);
	void *arg;
	enum sim_state state;
	bool joined;
	uint32_t runnable_index; /* in sim.runnable, while SIM_RUNNABLE */
	uint32_t priority;
	struct gmm_sim_access access; /* what it does next, or is blocked in */
	struct gmm_sim_access after;  /* what it does next, when it is not blocked any more */
	bool relaxing;		      /* it spins, and stands in gmm_cpu_relax() */
	uint64_t writes;	      /* performed by it */
	uint64_t others_writes;	      /* performed by others until it went on from relaxing */
	struct gmm_sim_lock *held[SIM_LOCKS_HELD_MAX];
	bool held_sleeps[SIM_LOCKS_HELD_MAX];
	uint32_t held_count;
	uint32_t section_depth;
	struct sim_pending_store pending[SIM_PENDING_STORES];
	uint32_t pending_count;
	struct sim_context context;
	void *stack;
	const void *stack_bottom; /* as the address sanitizer sees it */
	size_t stack_size;
	void *fake_stack;
};

struct sim_block; /* an allocation, sim_memory.c */

struct sim {
	struct gmm_sim_config config;
	struct gmm_sim_result *result;
	uint64_t random;
	uint64_t step;
	uint64_t hash;
	uint32_t priority_lowest;
	uint64_t priority_change_at;
	struct gmm_sim_thread *current;
	struct gmm_sim_thread *runnable[SIM_THREADS_MAX];
	uint32_t runnable_count;
	struct gmm_sim_thread *threads[SIM_THREADS_MAX];
	uint32_t thread_count;
	uint32_t pending_stores;
	struct gmm_sim_thread driver; /* the OS thread's own stack */
	void (*step_hook)(enum gmm_step_point point);
	bool barrier_refused;
	struct sim_block *live;
	struct sim_block *quarantine;
	uint64_t bytes_live;
	uint64_t blocks_live;
	uint64_t alloc_countdown;
	uint64_t call_countdown[GMM_SIM_CALLS];
	bool alloc_failed;
	uint64_t writes;	      /* performed, of all threads */
	struct gmm_sim_events events; /* possible NULL: none */

	/* Exploring; explorer NULL: not. */
	const struct gmm_sim_explorer *explorer;
	struct sim_arena *arena;
	bool at_checkpoint;	 /* the first thread stands there, and is to be put back there */
	bool explored;		 /* it is behind the checkpoint */
	uint32_t early_wakes;	 /* that are left */
	bool left;		 /* the explorer ended the schedule */
	struct sim_races *races; /* NULL: not looked for */
};

/* The run under way, or NULL. */
extern struct sim *sim_now;

/* The run under way; ends the process when there is none. */
struct sim *sim_required(const char *what);

uint64_t sim_random(struct sim *sim);

/*
 * sim.c: a yield point: another thread may run before this returns. Then the thread performs what
 * was said: `writes` tells whether it changes the object.
 */
void sim_point(enum gmm_sim_op op, const volatile void *object, size_t size, bool writes,
	       const struct gmm_sim_site *site);
void sim_access_point(struct sim *sim, const struct gmm_sim_access *access);
/* A plain access; `yields`: other threads may run before. sim_plain.c calls it. */
void sim_plain_point(struct sim *sim, const volatile void *pointer, size_t size, bool writes,
		     const struct gmm_sim_site *site, bool yields);
/* Something was performed that no yield point announced. */
void sim_performed(struct sim *sim, struct gmm_sim_thread *thread,
		   const struct gmm_sim_access *access);

/* A run: made, run until its end or checkpoint, from whichever thread that came, and unmade. */
struct sim *sim_begin(const struct gmm_sim_config *config, const struct gmm_sim_explorer *explorer,
		      void (*main_fn)(void *arg), void *arg, struct gmm_sim_result *result);
void sim_run_until_end(struct sim *sim);
void sim_return_to_driver(struct sim *sim);
void sim_end(struct sim *sim);
void sim_config_complete(struct gmm_sim_config *config);

/* A thread that waits goes on, though nobody woke it. */
void sim_end_wait(struct sim *sim, struct gmm_sim_thread *thread);

/* Ends the schedule without a verdict. */
void sim_leave(struct sim *sim) __attribute__((noreturn));

/*
 * The calling thread stops until sim_unblock_all() of the object of `wait`, and another runs; then
 * it does `next`.
 */
void sim_block(const struct gmm_sim_access *wait, const struct gmm_sim_access *next);
void sim_unblock_all(const void *object);
void sim_fail_at(const struct gmm_sim_site *site, const char *format, ...) GMM_PRINTF(2, 3)
	__attribute__((noreturn));

/* sim_table.c: what every thread does, appended to the text of the failure. */
void sim_describe_threads(struct sim *sim, char *text, size_t size);
const char *sim_op_name(enum gmm_sim_op op);
const char *sim_file_name(const char *path);

/* sim_context.c */
void sim_context_init(struct sim_context *context, void *stack, size_t size, void (*entry)(void));
void sim_context_switch(struct sim_context *from, struct sim_context *to);

/* sim_explore.c: who runs next when an explorer decides; NULL: nobody can. */
struct gmm_sim_thread *sim_explored_next(struct sim *sim);
/* Whether what the thread is about to do has to wait for another thread. */
bool sim_is_held_up(const struct sim *sim, const struct gmm_sim_thread *thread);

/* sim_event.c; only where some are set. */
void sim_event_happens(struct sim *sim, uint32_t event);
void sim_events_progress(struct sim *sim);

/* sim_arena.c: memory that lies at the same place in each run, and can be put back. */
void *sim_arena_alloc(struct sim *sim, size_t size);

/* sim_stack.c */
void *sim_stack_take(size_t *size);
void sim_stack_give_back(void *stack);

/* sim_store.c */
void sim_stores_finish(struct sim *sim, struct gmm_sim_thread *thread);
void sim_stores_progress(struct sim *sim);
void sim_store_oldest(struct sim *sim, struct gmm_sim_thread *thread);
/* A store of the current thread that others see later. */
void sim_store_later(struct sim *sim, const struct sim_pending_store *store);

/* sim_lock.c */
void sim_assert_no_spinlock(const struct gmm_sim_site *site);

/* sim_memory.c */
bool sim_memory_check(struct sim *sim, char *text, size_t size);
void sim_memory_release(struct sim *sim);
/* Fails the run when the object lies in freed memory. */
void sim_memory_assert_live(struct sim *sim, const volatile void *pointer, size_t size,
			    const struct gmm_sim_site *site);

#endif
