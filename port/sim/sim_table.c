/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What a failed run tells: each thread, what it does, what it holds and whom it waits for. */
#include <stdarg.h>
#include <string.h>

#include "sim_impl.h"

const char *sim_op_name(enum gmm_sim_op op)
{
	static const char *const names[GMM_SIM_OP_COUNT] = {
		[GMM_SIM_START] = "start",
		[GMM_SIM_JOIN] = "join",
		[GMM_SIM_FINISH] = "finish",
		[GMM_SIM_LOAD] = "load",
		[GMM_SIM_STORE] = "store",
		[GMM_SIM_UPDATE] = "update",
		[GMM_SIM_FENCE] = "fence",
		[GMM_SIM_RELAX] = "relax",
		[GMM_SIM_LOCK] = "lock",
		[GMM_SIM_UNLOCK] = "unlock",
		[GMM_SIM_UNLOCKED] = "unlocked",
		[GMM_SIM_WAIT] = "wait",
		[GMM_SIM_WAKE] = "wake",
		[GMM_SIM_ALLOC] = "alloc",
		[GMM_SIM_FREE] = "free",
		[GMM_SIM_PIN] = "pin",
		[GMM_SIM_UNPIN] = "unpin",
		[GMM_SIM_LIGHT_BARRIER] = "light barrier",
		[GMM_SIM_HEAVY_BARRIER] = "heavy barrier",
		[GMM_SIM_STEP] = "step",
		[GMM_SIM_EVENT] = "event",
		[GMM_SIM_READ] = "read",
		[GMM_SIM_WRITE] = "write",
	};

	return names[op];
}

const char *gmm_sim_op_name(enum gmm_sim_op op)
{
	return sim_op_name(op);
}

const char *sim_file_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

struct text {
	char *to;
	size_t left;
};

static void GMM_PRINTF(2, 3) text_add(struct text *text, const char *format, ...)
{
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(text->to, text->left, format, arguments);
	va_end(arguments);
	if (length < 0)
		return;
	if ((size_t)length >= text->left)
		length = text->left ? (int)text->left - 1 : 0;
	text->to += length;
	text->left -= (size_t)length;
}

static const struct gmm_sim_thread *holder_of(const struct sim *sim, const volatile void *object)
{
	uint32_t i, j;

	for (i = 0; i < sim->thread_count; i++)
		for (j = 0; j < sim->threads[i]->held_count; j++)
			if (sim->threads[i]->held[j] == object)
				return sim->threads[i];
	return NULL;
}

static void describe_blocked(const struct sim *sim, const struct gmm_sim_thread *thread,
			     struct text *text)
{
	const struct gmm_sim_thread *holder;
	const struct gmm_sim_thread *joined;

	text_add(text, "blocked");
	if (thread->access.op == GMM_SIM_LOCK) {
		text_add(text, " at rank %u",
			 ((const volatile struct gmm_sim_lock *)thread->access.object)->rank);
		holder = holder_of(sim, thread->access.object);
		if (holder)
			text_add(text, ", T%u holds it", holder->id);
	} else if (thread->access.op == GMM_SIM_JOIN) {
		joined = (const struct gmm_sim_thread *)(uintptr_t)thread->access.object;
		text_add(text, ", waits for the end of T%u", joined->id);
	}
}

static void describe_thread(const struct sim *sim, const struct gmm_sim_thread *thread,
			    struct text *text)
{
	uint32_t i;

	text_add(text, "  T%u %s: %s %s (%s:%d), ", thread->id, thread->name,
		 sim_op_name(thread->access.op), thread->access.site->name,
		 sim_file_name(thread->access.site->file), thread->access.site->line);
	if (thread->state == SIM_BLOCKED)
		describe_blocked(sim, thread, text);
	else
		text_add(text, thread == sim->current ? "running" : "runnable");
	for (i = 0; i < thread->held_count; i++) {
		const struct gmm_sim_site *site = thread->held[i]->taken_at;

		text_add(text, "; holds %s rank %u (%s:%d)", site->name, thread->held[i]->rank,
			 sim_file_name(site->file), site->line);
	}
	if (thread->section_depth)
		text_add(text, "; in a section");
	text_add(text, "\n");
}

void sim_describe_threads(struct sim *sim, char *text, size_t size)
{
	size_t used = strlen(text);
	struct text rest = { text + used, size - used };
	uint32_t i;

	text_add(&rest, "\n");
	for (i = 0; i < sim->thread_count; i++)
		if (sim->threads[i]->state != SIM_FINISHED)
			describe_thread(sim, sim->threads[i], &rest);
}

bool gmm_sim_thread_find(uint32_t id, struct gmm_sim_thread_info *info)
{
	const struct sim *sim = sim_now;
	const struct gmm_sim_thread *thread;

	if (!sim || id >= sim->thread_count)
		return false;
	thread = sim->threads[id];
	*info = (struct gmm_sim_thread_info){ thread->name, thread->fn, thread };
	return true;
}

bool gmm_sim_stack_find(const volatile void *address, uint32_t *id)
{
	const struct sim *sim = sim_now;
	uint32_t i;

	for (i = 0; sim && i < sim->thread_count; i++) {
		const struct gmm_sim_thread *thread = sim->threads[i];

		*id = i;
		if ((uintptr_t)address - (uintptr_t)thread->stack < thread->stack_size)
			return true;
	}
	return false;
}

uint32_t gmm_sim_lock_holder(const volatile void *lock)
{
	const struct gmm_sim_thread *owner = ((const volatile struct gmm_sim_lock *)lock)->owner;

	return owner ? owner->id : GMM_SIM_NOBODY;
}
