/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <stdio.h>
#include <stdlib.h>

#include <gmm_port/debug.h>
#include <gmm_port/lock.h>
#include <gmm_port/step.h>

#define LOCKS_HELD_MAX 16

struct held_lock {
	const void *lock;
	uint32_t rank;
	bool sleeps;
};

static _Thread_local struct held_lock held[LOCKS_HELD_MAX];
static _Thread_local uint32_t held_count;
static _Thread_local uint32_t section_depth;

#if GMM_STEPS
gmm_step_hook_t gmm_port_step_hook;

void gmm_step_hook_set(void (*hook)(enum gmm_step_point point))
{
	gmm_store_release(&gmm_port_step_hook, hook);
}
#endif

void gmm_port_assert_failed(const char *text, const char *file, int line)
{
	fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, text);
	abort();
}

static bool holds_spinlock(void)
{
	uint32_t i;

	for (i = 0; i < held_count; i++)
		if (!held[i].sleeps)
			return true;
	return false;
}

void gmm_port_assert_may_sleep(const char *file, int line)
{
	if (section_depth)
		gmm_port_assert_failed("may sleep: not in a section", file, line);
	if (holds_spinlock())
		gmm_port_assert_failed("may sleep: holds no spinlock", file, line);
}

void gmm_port_debug_section_enter(void)
{
	section_depth++;
}

void gmm_port_debug_section_exit(void)
{
	gmm_assert(section_depth > 0);
	section_depth--;
}

void gmm_port_debug_lock_wanted(const void *lock, uint32_t rank, bool sleeps)
{
	uint32_t i;

	(void)lock;
	if (sleeps)
		gmm_port_assert_may_sleep(__FILE__, __LINE__);
	for (i = 0; i < held_count; i++)
		if (held[i].rank >= rank) {
			fprintf(stderr, "a lock of rank %u is wanted under one of rank %u\n", rank,
				held[i].rank);
			gmm_port_assert_failed("lock ranks rise", __FILE__, __LINE__);
		}
}

void gmm_port_debug_lock_taken(const void *lock, uint32_t rank, bool sleeps)
{
	gmm_assert(held_count < LOCKS_HELD_MAX);
	held[held_count++] = (struct held_lock){ .lock = lock, .rank = rank, .sleeps = sleeps };
}

void gmm_port_debug_lock_dropped(const void *lock)
{
	uint32_t i;

	for (i = held_count; i > 0; i--)
		if (held[i - 1].lock == lock)
			break;
	gmm_assert(i > 0);
	for (held_count--; i <= held_count; i++)
		held[i - 1] = held[i];
}

void gmm_port_debug_only_spinlock(const void *lock)
{
	uint32_t i;

	gmm_assert(held_count > 0 && held[held_count - 1].lock == lock);
	for (i = 0; i + 1 < held_count; i++)
		gmm_assert(held[i].sleeps);
	gmm_assert(section_depth == 0);
}

void gmm_port_debug_no_spinlock(void)
{
	gmm_assert(!holds_spinlock());
}
