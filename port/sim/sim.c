/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The scheduler: threads, the choice of the next one, the beginning and the end of a run. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <gmm_port/thread.h>
#include <gmm_port/time.h>

#include "sim_arena_impl.h"
#include "sim_impl.h"
#include "sim_race.h"

#if defined(__SANITIZE_ADDRESS__)
#define SIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIM_ASAN 1
#endif
#endif
#ifdef SIM_ASAN
#include <sanitizer/common_interface_defs.h>
#define fiber_leave(save, thread) \
	__sanitizer_start_switch_fiber(save, (thread)->stack_bottom, (thread)->stack_size)
#define fiber_arrive(saved, bottom, size) __sanitizer_finish_switch_fiber(saved, bottom, size)
#else
#define fiber_leave(save, thread) ((void)(save), (void)(thread))
#define fiber_arrive(saved, bottom, size) ((void)(saved), (void)(bottom), (void)(size))
#endif

#define MAX_STEPS_DEFAULT 200000
#define SWITCH_PER_1024_DEFAULT 256
#define PRIORITY_STEPS_DEFAULT 1000
#define PRIORITY_FIRST 0x80000000u /* new threads are above every thread whose priority changed */
#define NS_PER_STEP 1000u
#define HASH_START UINT64_C(0xcbf29ce484222325)
#define HASH_PRIME UINT64_C(0x100000001b3)

struct sim *sim_now;
static uint64_t last_seed;

struct sim *sim_required(const char *what)
{
	if (!sim_now) {
		fprintf(stderr, "sim: %s outside gmm_sim_run()\n", what);
		abort();
	}
	return sim_now;
}

uint64_t gmm_sim_seed(void)
{
	return last_seed;
}

uint64_t sim_random(struct sim *sim)
{
	uint64_t z = (sim->random += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static void switch_to(struct sim *sim, struct gmm_sim_thread *next)
{
	struct gmm_sim_thread *self = sim->current;

	sim->result->switches++;
	sim->current = next;
	fiber_leave(self->state == SIM_FINISHED ? NULL : &self->fake_stack, next);
	sim_context_switch(&self->context, &next->context);
	fiber_arrive(self->fake_stack, NULL, NULL);
}

static void leave_run(struct sim *sim) __attribute__((noreturn));

static void leave_run(struct sim *sim)
{
	fiber_leave(NULL, &sim->driver);
	/* Nothing of this stack's frame is used any more: the sanitizer has taken it away. */
	sim_context_switch(&sim->current->context, &sim->driver.context);
	abort();
}

static void fail_and_leave(struct sim *sim, bool with_threads) __attribute__((noreturn));

static void fail_and_leave(struct sim *sim, bool with_threads)
{
	sim->result->failed = true;
	if (with_threads)
		sim_describe_threads(sim, sim->result->text, sizeof(sim->result->text));
	leave_run(sim);
}

void sim_leave(struct sim *sim)
{
	sim->left = true;
	leave_run(sim);
}

void gmm_sim_fail(const char *format, ...)
{
	struct sim *sim = sim_required("gmm_sim_fail");
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(sim->result->text, sizeof(sim->result->text), format, arguments);
	va_end(arguments);
	fail_and_leave(sim, true);
}

void sim_fail_at(const struct gmm_sim_site *site, const char *format, ...)
{
	struct sim *sim = sim_required(site->name);
	char *text = sim->result->text;
	size_t size = sizeof(sim->result->text);
	va_list arguments;
	int length;

	length = snprintf(text, size, "%s:%d: %s: ", sim_file_name(site->file), site->line,
			  site->name);
	va_start(arguments, format);
	vsnprintf(text + length, size - (size_t)length, format, arguments);
	va_end(arguments);
	fail_and_leave(sim, true);
}

void gmm_sim_crashed(const char *signal, const char *touched, uintptr_t code)
{
	struct sim *sim = sim_now;

	if (!sim || !sim->explored)
		return;
	sim->result->crashed_at = code;
	gmm_sim_fail("%s: T%u touches %s", signal, sim->current->id, touched);
}

void gmm_sim_assert_failed(const char *text, const struct gmm_sim_site *site)
{
	sim_fail_at(site, "%s", text);
}

static void runnable_add(struct sim *sim, struct gmm_sim_thread *thread)
{
	thread->state = SIM_RUNNABLE;
	thread->runnable_index = sim->runnable_count;
	sim->runnable[sim->runnable_count++] = thread;
}

static void runnable_remove(struct sim *sim, struct gmm_sim_thread *thread, enum sim_state state)
{
	struct gmm_sim_thread *last = sim->runnable[--sim->runnable_count];

	sim->runnable[thread->runnable_index] = last;
	last->runnable_index = thread->runnable_index;
	thread->state = state;
}

static struct gmm_sim_thread *highest_priority(struct sim *sim)
{
	struct gmm_sim_thread *highest = sim->runnable[0];
	uint32_t i;

	for (i = 1; i < sim->runnable_count; i++)
		if (sim->runnable[i]->priority > highest->priority)
			highest = sim->runnable[i];
	return highest;
}

static struct gmm_sim_thread *any_runnable(struct sim *sim)
{
	if (sim->config.priority_changes)
		return highest_priority(sim);
	return sim->runnable[(sim_random(sim) >> 16) % sim->runnable_count];
}

static struct gmm_sim_thread *any_other(struct sim *sim)
{
	uint32_t own = sim->current->runnable_index;
	uint32_t index = (uint32_t)((sim_random(sim) >> 16) % (sim->runnable_count - 1));

	return sim->runnable[index < own ? index : index + 1];
}

static void plan_priority_change(struct sim *sim)
{
	uint64_t apart = sim->config.priority_steps / sim->config.priority_changes + 1;

	sim->priority_change_at = sim->step + 1 + sim_random(sim) % (2 * apart);
}

static struct gmm_sim_thread *next_by_priority(struct sim *sim, enum gmm_sim_op op)
{
	bool change = sim->step == sim->priority_change_at;

	if (change && sim->step < sim->config.priority_steps)
		plan_priority_change(sim);
	if (change || op == GMM_SIM_RELAX)
		sim->current->priority = --sim->priority_lowest;
	return highest_priority(sim);
}

static struct gmm_sim_thread *next_thread(struct sim *sim, enum gmm_sim_op op)
{
	if (sim->config.priority_changes)
		return next_by_priority(sim, op);
	if (sim->runnable_count == 1)
		return sim->current;
	if (op == GMM_SIM_RELAX || (sim_random(sim) & 1023) < sim->config.switch_per_1024)
		return any_other(sim);
	return sim->current;
}

static void trace(struct sim *sim)
{
	const struct gmm_sim_thread *self = sim->current;

	fprintf(sim->config.trace, "%7llu T%u %-12s %-13s %s (%s:%d)\n",
		(unsigned long long)sim->step, self->id, self->name, sim_op_name(self->access.op),
		self->access.site->name, sim_file_name(self->access.site->file),
		self->access.site->line);
}

void sim_performed(struct sim *sim, struct gmm_sim_thread *thread,
		   const struct gmm_sim_access *access)
{
	if (access->writes || access->also_writes) {
		sim->writes++;
		thread->writes++;
	}
	if (sim->explored)
		sim->explorer->performed(sim->explorer->opaque, thread->id, false, access);
	if (sim->races)
		sim_races_access(sim, thread, access);
}

/* A compare-exchange that finds something else is a load. */
static void compare_decides(struct gmm_sim_thread *self)
{
	struct gmm_sim_access *access = &self->access;

	if (access->expected && !self->pending_count)
		access->writes = !memcmp((const void *)(uintptr_t)access->object, access->expected,
					 access->size);
}

/* What touches nothing that others share needs no choice: it could as well have been done before. */
static void explored_point(struct sim *sim, struct gmm_sim_thread *self)
{
	struct gmm_sim_thread *next;

	if (!sim->explored)
		return;
	if (!self->access.object && self->access.op != GMM_SIM_RELAX) {
		if (sim->explorer->passed)
			sim->explorer->passed(sim->explorer->opaque, self->id, &self->access);
		if (sim->races)
			sim_races_access(sim, self, &self->access);
		return;
	}
	self->relaxing = self->access.op == GMM_SIM_RELAX;
	next = sim_explored_next(sim);
	if (!next) {
		snprintf(sim->result->text, sizeof(sim->result->text),
			 "no thread can go on: each is blocked or waits for a change");
		fail_and_leave(sim, true);
	}
	if (next != self)
		switch_to(sim, next);
	if (self->relaxing)
		self->others_writes = sim->writes - self->writes;
	self->relaxing = false;
	compare_decides(self);
	sim_performed(sim, self, &self->access);
}

void sim_point(enum gmm_sim_op op, const volatile void *object, size_t size, bool writes,
	       const struct gmm_sim_site *site)
{
	struct gmm_sim_access access = {
		.op = op, .writes = writes, .size = (uint32_t)size, .object = object, .site = site
	};

	if (sim_now)
		sim_access_point(sim_now, &access);
}

void gmm_sim_touch_two(const volatile void *object, size_t size, bool writes,
		       const volatile void *also, bool also_writes, const struct gmm_sim_site *site)
{
	struct gmm_sim_access access = { .op = GMM_SIM_LOAD,
					 .writes = writes,
					 .size = (uint32_t)size,
					 .object = object,
					 .also = also,
					 .also_writes = also_writes,
					 .site = site };

	sim_access_point(sim_required("gmm_sim_touch_two"), &access);
}

void sim_access_point(struct sim *sim, const struct gmm_sim_access *access)
{
	enum gmm_sim_op op = access->op;
	struct gmm_sim_thread *self = sim->current;
	struct gmm_sim_thread *next;

	self->access = *access;
	if (++sim->step > sim->config.max_steps)
		gmm_sim_fail("no end after %llu steps", (unsigned long long)sim->config.max_steps);
	if (sim->explorer) {
		explored_point(sim, self);
		return;
	}
	sim_stores_progress(sim);
	if (sim->events.possible)
		sim_events_progress(sim);
	next = next_thread(sim, op);
	if (next != self)
		switch_to(sim, next);
	sim->hash = (sim->hash ^ ((uint64_t)self->id << 40 | (uint64_t)op << 32 |
				  (uint32_t)self->access.site->line)) *
		    HASH_PRIME;
	if (sim->config.trace)
		trace(sim);
}

void sim_plain_point(struct sim *sim, const volatile void *pointer, size_t size, bool writes,
		     const struct gmm_sim_site *site, bool yields)
{
	struct gmm_sim_thread *self = sim->current;

	sim_memory_assert_live(sim, pointer, size < 8 ? size : 8, site);
	if (yields) {
		sim_point(writes ? GMM_SIM_WRITE : GMM_SIM_READ, pointer, size, writes, site);
	} else if (sim->races) {
		struct gmm_sim_access access = { .op = writes ? GMM_SIM_WRITE : GMM_SIM_READ,
						 .writes = writes,
						 .size = (uint32_t)size,
						 .object = pointer,
						 .site = site };

		sim_races_access(sim, self, &access);
	}
}

void gmm_sim_point(enum gmm_sim_op op, const struct gmm_sim_site *site)
{
	sim_point(op, NULL, 0, false, site);
}

void gmm_sim_relax(const struct gmm_sim_site *site)
{
	gmm_sim_point(GMM_SIM_RELAX, site);
}

static void run_another(struct sim *sim)
{
	struct gmm_sim_thread *next = NULL;

	if (sim->explorer)
		next = sim_explored_next(sim);
	else if (sim->runnable_count)
		next = any_runnable(sim);
	if (!next) {
		snprintf(sim->result->text, sizeof(sim->result->text),
			 "deadlock: every thread is blocked");
		fail_and_leave(sim, true);
	}
	if (next != sim->current)
		switch_to(sim, next);
}

void sim_block(const struct gmm_sim_access *wait, const struct gmm_sim_access *next)
{
	struct sim *sim = sim_now;
	struct gmm_sim_thread *self = sim->current;

	self->access = *wait;
	self->after = *next;
	sim_stores_finish(sim, self);
	runnable_remove(sim, self, SIM_BLOCKED);
	run_another(sim);
	if (sim->explorer)
		sim_performed(sim, self, &self->access);
}

void sim_unblock_all(const void *object)
{
	struct sim *sim = sim_now;
	uint32_t i;

	for (i = 0; i < sim->thread_count; i++) {
		struct gmm_sim_thread *thread = sim->threads[i];

		if (thread->state == SIM_BLOCKED && thread->access.object == object) {
			thread->access = thread->after;
			runnable_add(sim, thread);
		}
	}
}

void sim_end_wait(struct sim *sim, struct gmm_sim_thread *thread)
{
	struct gmm_sim_access wake = { .op = GMM_SIM_WAKE,
				       .writes = true,
				       .size = 1,
				       .object = thread->access.object,
				       .site = GMM_SIM_SITE("nobody: the wait ends by itself") };

	sim_performed(sim, thread, &wake);
	thread->access = thread->after;
	runnable_add(sim, thread);
}

static void finish_main(struct sim *sim)
{
	uint32_t i;

	for (i = 1; i < sim->thread_count; i++)
		if (!sim->threads[i]->joined)
			gmm_sim_fail("T%u %s was not joined", i, sim->threads[i]->name);
	leave_run(sim);
}

static void thread_main(void)
{
	struct sim *sim = sim_now;
	struct gmm_sim_thread *self = sim->current;

	fiber_arrive(NULL, self->id ? NULL : &sim->driver.stack_bottom,
		     self->id ? NULL : &sim->driver.stack_size);
	if (sim->explorer)
		sim_performed(sim, self, &self->access);
	self->fn(self->arg);
	sim_point(GMM_SIM_FINISH, self, 1, true, GMM_SIM_SITE("thread"));
	if (self->held_count || self->section_depth)
		gmm_sim_fail("T%u %s ended holding a lock or in a section", self->id, self->name);
	sim_stores_finish(sim, self);
	if (!self->id)
		finish_main(sim);
	runnable_remove(sim, self, SIM_FINISHED);
	sim_unblock_all(self);
	run_another(sim);
}

static struct gmm_sim_thread *thread_new(struct sim *sim, void (*fn)(void *arg), void *arg,
					 const char *name)
{
	struct gmm_sim_thread *thread = sim->arena ? sim_arena_alloc(sim, sizeof(*thread)) :
						     calloc(1, sizeof(*thread));

	if (!thread || sim->thread_count == SIM_THREADS_MAX) {
		fprintf(stderr, "sim: more than %u threads in a run, or no memory\n",
			SIM_THREADS_MAX);
		abort();
	}
	thread->id = sim->thread_count;
	thread->name = name;
	thread->fn = fn;
	thread->arg = arg;
	thread->access = (struct gmm_sim_access){ .op = GMM_SIM_START,
						  .writes = true,
						  .object = thread,
						  .site = GMM_SIM_SITE("thread") };
	thread->priority = PRIORITY_FIRST | (uint32_t)sim_random(sim);
	thread->stack = sim_stack_take(&thread->stack_size);
	thread->stack_bottom = thread->stack;
	sim_context_init(&thread->context, thread->stack, thread->stack_size, thread_main);
	sim->threads[sim->thread_count++] = thread;
	runnable_add(sim, thread);
	return thread;
}

struct gmm_sim_thread *gmm_sim_thread_start(void (*fn)(void *arg), void *arg, const char *name)
{
	struct sim *sim = sim_required("gmm_sim_thread_start");
	struct gmm_sim_thread *thread;

	sim_stores_finish(sim, sim->current);
	thread = thread_new(sim, fn, arg, name);
	gmm_sim_point(GMM_SIM_START, GMM_SIM_SITE("thread"));
	return thread;
}

void gmm_sim_thread_join(struct gmm_sim_thread *thread)
{
	struct sim *sim = sim_required("gmm_sim_thread_join");
	struct gmm_sim_access join = {
		.op = GMM_SIM_JOIN, .size = 1, .object = thread, .site = GMM_SIM_SITE("")
	};

	sim_point(GMM_SIM_JOIN, sim->explored ? thread : NULL, 1, false, GMM_SIM_SITE(""));
	if (thread->joined || thread == sim->current)
		gmm_sim_fail("T%u %s cannot be joined twice or by itself", thread->id,
			     thread->name);
	if (thread->state != SIM_FINISHED)
		sim_block(&join, &join);
	thread->joined = true;
}

uintptr_t gmm_thread_self(void)
{
	return sim_required("gmm_thread_self")->current->id + 1;
}

uint64_t gmm_time_ns(void)
{
	return sim_required("gmm_time_ns")->step * NS_PER_STEP;
}

void gmm_step_hook_set(void (*hook)(enum gmm_step_point point))
{
	sim_required("gmm_step_hook_set")->step_hook = hook;
}

void gmm_sim_step(enum gmm_step_point point, const struct gmm_sim_site *site)
{
	struct sim *sim = sim_required("gmm_step");

	gmm_sim_point(GMM_SIM_STEP, site);
	if (sim->step_hook)
		sim->step_hook(point);
}

void sim_config_complete(struct gmm_sim_config *config)
{
	if (!config->max_steps)
		config->max_steps = MAX_STEPS_DEFAULT;
	if (!config->switch_per_1024)
		config->switch_per_1024 = SWITCH_PER_1024_DEFAULT;
	if (!config->priority_steps)
		config->priority_steps = PRIORITY_STEPS_DEFAULT;
}

void sim_run_until_end(struct sim *sim)
{
	sim_now = sim;
	fiber_leave(&sim->driver.fake_stack, sim->current);
	sim_context_switch(&sim->driver.context, &sim->current->context);
	fiber_arrive(sim->driver.fake_stack, NULL, NULL);
	sim_now = NULL;
}

void sim_return_to_driver(struct sim *sim)
{
	struct gmm_sim_thread *self = sim->current;

	fiber_leave(&self->fake_stack, &sim->driver);
	sim_context_switch(&self->context, &sim->driver.context);
	fiber_arrive(self->fake_stack, NULL, NULL);
}

struct sim *sim_begin(const struct gmm_sim_config *config, const struct gmm_sim_explorer *explorer,
		      void (*main_fn)(void *arg), void *arg, struct gmm_sim_result *result)
{
	static struct sim run; /* large; a run is never inside another */
	struct sim *sim = &run;

	if (sim_now) {
		fprintf(stderr, "sim: a run inside a run\n");
		abort();
	}
	memset(sim, 0, sizeof(*sim));
	memset(result, 0, offsetof(struct gmm_sim_result, text) + 1);
	sim->config = *config;
	sim_config_complete(&sim->config);
	sim->result = result;
	sim->random = config->seed;
	sim->hash = HASH_START;
	sim->alloc_countdown = config->fail_alloc_at;
	sim->priority_lowest = PRIORITY_FIRST;
	sim->explorer = explorer;
	sim->arena = explorer ? sim_arena_get() : NULL;
	last_seed = config->seed;
	sim->current = thread_new(sim, main_fn, arg, "main");
	if (sim->config.priority_changes)
		plan_priority_change(sim);
	return sim;
}

void sim_end(struct sim *sim)
{
	uint32_t i;

	sim_memory_release(sim);
	for (i = 0; i < sim->thread_count; i++) {
		sim_stack_give_back(sim->threads[i]->stack);
		if (!sim->arena)
			free(sim->threads[i]);
	}
}

int gmm_sim_run(const struct gmm_sim_config *config, void (*main_fn)(void *arg), void *arg,
		struct gmm_sim_result *result)
{
	struct sim *sim = sim_begin(config, NULL, main_fn, arg, result);

	sim_run_until_end(sim);
	result->seed = config->seed;
	result->steps = sim->step;
	result->trace_hash = sim->hash;
	result->alloc_failed = sim->alloc_failed;
	if (!result->failed)
		result->failed = !sim_memory_check(sim, result->text, sizeof(result->text));
	sim_end(sim);
	return result->failed ? -1 : 0;
}
