/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_SIM_IMPL_H
#define GMM_SIM_IMPL_H

#include <ucontext.h>

#include <gmm_port/debug.h>
#include <gmm_port/lock.h>
#include <gmm_port/step.h>

#include "sim.h"

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
	enum gmm_sim_op op; /* what it does or is blocked in */
	const struct gmm_sim_site *site;
	const void *blocked_on;
	struct gmm_sim_lock *held[SIM_LOCKS_HELD_MAX];
	bool held_sleeps[SIM_LOCKS_HELD_MAX];
	uint32_t held_count;
	uint32_t section_depth;
	struct sim_pending_store pending[SIM_PENDING_STORES];
	uint32_t pending_count;
	ucontext_t context;
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
	bool alloc_failed;
};

/* The run under way, or NULL. */
extern struct sim *sim_now;

/* The run under way; ends the process when there is none. */
struct sim *sim_required(const char *what);

uint64_t sim_random(struct sim *sim);

/* sim.c: the calling thread stops until sim_unblock(), and another runs. */
void sim_block(enum gmm_sim_op op, const void *object, const struct gmm_sim_site *site);
void sim_unblock_all(const void *object);
void sim_fail_at(const struct gmm_sim_site *site, const char *format, ...) GMM_PRINTF(2, 3)
	__attribute__((noreturn));

/* sim_table.c: what every thread does, appended to the text of the failure. */
void sim_describe_threads(struct sim *sim, char *text, size_t size);
const char *sim_op_name(enum gmm_sim_op op);
const char *sim_file_name(const char *path);

/* sim_stack.c */
void *sim_stack_take(size_t *size);
void sim_stack_give_back(void *stack);

/* sim_store.c */
void sim_stores_finish(struct sim *sim, struct gmm_sim_thread *thread);
void sim_stores_progress(struct sim *sim);

/* sim_lock.c */
void sim_assert_no_spinlock(const struct gmm_sim_site *site);

/* sim_memory.c */
bool sim_memory_check(struct sim *sim, char *text, size_t size);
void sim_memory_release(struct sim *sim);
/* Fails the run when the object lies in freed memory. */
void sim_memory_assert_live(struct sim *sim, const volatile void *pointer, size_t size,
			    const struct gmm_sim_site *site);

#endif
