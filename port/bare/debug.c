/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <gmm_port/debug.h>
#include <gmm_port/section.h>
#include <gmm_port/step.h>

#include "machine.h"

#define LOCKS_HELD_MAX 16u

struct held_lock {
	const void *lock;
	uint32_t rank;
	bool sleeps;
};

/* A CPU writes its own only. */
static struct ledger {
	struct held_lock held[LOCKS_HELD_MAX];
	uint32_t held_count;
	uint32_t section_depth;
} ledgers[BARE_CPUS_MAX];

static struct ledger *own_ledger(void)
{
	return &ledgers[gmm_cpu_index()];
}

#if GMM_STEPS
gmm_step_hook_t gmm_port_step_hook;

void gmm_step_hook_set(void (*hook)(enum gmm_step_point point))
{
	gmm_store_release(&gmm_port_step_hook, hook);
}
#endif

void bare_put(const char *text)
{
	while (*text)
		bare_machine_put(*text++);
}

void bare_stop(const char *why)
{
	bare_put("\nBail out! ");
	bare_put(why);
	bare_put("\n");
	bare_machine_off();
}

void gmm_port_assert_failed(const char *text, const char *file, int line)
{
	char digits[12];
	uint32_t at = sizeof(digits) - 1;

	digits[at] = 0;
	do {
		digits[--at] = (char)('0' + line % 10);
		line /= 10;
	} while (line && at);
	bare_put("\nBail out! assertion failed: ");
	bare_put(file);
	bare_put(":");
	bare_put(digits + at);
	bare_put(": ");
	bare_put(text);
	bare_put("\n");
	bare_machine_off();
}

void gmm_port_debug_no_spinlock(void)
{
	const struct ledger *ledger = own_ledger();
	uint32_t i;

	for (i = 0; i < ledger->held_count; i++)
		gmm_assert(ledger->held[i].sleeps);
}

void gmm_port_assert_may_sleep(const char *file, int line)
{
	if (own_ledger()->section_depth)
		gmm_port_assert_failed("may sleep: not in a section", file, line);
	gmm_port_debug_no_spinlock();
}

void gmm_port_debug_section_enter(void)
{
	own_ledger()->section_depth++;
}

void gmm_port_debug_section_exit(void)
{
	gmm_assert(own_ledger()->section_depth > 0);
	own_ledger()->section_depth--;
}

void gmm_port_debug_lock_wanted(uint32_t rank, bool sleeps)
{
	const struct ledger *ledger = own_ledger();
	uint32_t i;

	if (sleeps)
		gmm_port_assert_may_sleep(__FILE__, __LINE__);
	for (i = 0; i < ledger->held_count; i++)
		gmm_assert(ledger->held[i].rank < rank);
}

void gmm_port_debug_lock_taken(const void *lock, uint32_t rank, bool sleeps)
{
	struct ledger *ledger = own_ledger();

	gmm_assert(ledger->held_count < LOCKS_HELD_MAX);
	ledger->held[ledger->held_count++] = (struct held_lock){ lock, rank, sleeps };
}

void gmm_port_debug_lock_dropped(const void *lock)
{
	struct ledger *ledger = own_ledger();
	uint32_t i = ledger->held_count;

	while (i && ledger->held[i - 1].lock != lock)
		i--;
	gmm_assert(i > 0);
	for (ledger->held_count--; i <= ledger->held_count; i++)
		ledger->held[i - 1] = ledger->held[i];
}

void gmm_port_debug_only_spinlock(const void *lock)
{
	const struct ledger *ledger = own_ledger();
	uint32_t i;

	gmm_assert(ledger->held_count && ledger->held[ledger->held_count - 1].lock == lock);
	for (i = 0; i + 1 < ledger->held_count; i++)
		gmm_assert(ledger->held[i].sleeps);
	gmm_assert(!ledger->section_depth);
}
