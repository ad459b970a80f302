/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The ledger of locks and sections in debug builds. There is no room in a task for it, so it is a
 * small table searched by task, or by CPU in interrupts. A task without locks and sections has no
 * entry; when the table is full, a task goes unchecked.
 */
#include <linux/preempt.h>
#include <linux/sched.h>

#include <gmm_port/debug.h>
#include <gmm_port/thread.h>

#define ENTRIES 128
#define LOCKS_HELD_MAX 16

struct held_lock {
	const void *lock;
	uint32_t rank;
	bool sleeps;
};

struct entry {
	uintptr_t key; /* 0: free; changed by cmpxchg, by the one that has the key */
	uint32_t section_depth;
	uint32_t held_count;
	struct held_lock held[LOCKS_HELD_MAX];
};

static struct entry entries[ENTRIES];

/* Task pointers are even. */
static uintptr_t own_key(void)
{
	if (in_task())
		return gmm_thread_self();
	return (uintptr_t)raw_smp_processor_id() << 1 | 1;
}

static struct entry *entry_find(void)
{
	uintptr_t key = own_key();
	size_t i;

	for (i = 0; i < ENTRIES; i++)
		if (READ_ONCE(entries[i].key) == key)
			return &entries[i];
	return NULL;
}

static struct entry *entry_find_or_make(void)
{
	struct entry *entry = entry_find();
	size_t i;

	for (i = 0; !entry && i < ENTRIES; i++)
		if (!READ_ONCE(entries[i].key) && !cmpxchg(&entries[i].key, 0, own_key()))
			entry = &entries[i];
	return entry;
}

static void entry_drop_if_empty(struct entry *entry)
{
	if (!entry->section_depth && !entry->held_count)
		smp_store_release(&entry->key, 0);
}

void gmm_port_debug_no_spinlock(void)
{
	const struct entry *entry = entry_find();
	uint32_t i;

	for (i = 0; entry && i < entry->held_count; i++)
		BUG_ON(!entry->held[i].sleeps);
}

void gmm_port_assert_may_sleep(void)
{
	const struct entry *entry = entry_find();

	BUG_ON(entry && entry->section_depth);
	gmm_port_debug_no_spinlock();
}

void gmm_port_debug_section_enter(void)
{
	struct entry *entry = entry_find_or_make();

	if (entry)
		entry->section_depth++;
}

void gmm_port_debug_section_exit(void)
{
	struct entry *entry = entry_find();

	if (!entry || !entry->section_depth)
		return;
	entry->section_depth--;
	entry_drop_if_empty(entry);
}

void gmm_port_debug_lock_wanted(uint32_t rank, bool sleeps)
{
	const struct entry *entry = entry_find();
	uint32_t i;

	BUG_ON(!rank);
	if (sleeps)
		gmm_port_assert_may_sleep();
	for (i = 0; entry && i < entry->held_count; i++)
		BUG_ON(entry->held[i].rank >= rank);
}

void gmm_port_debug_lock_taken(const void *lock, uint32_t rank, bool sleeps)
{
	struct entry *entry = entry_find_or_make();

	if (!entry)
		return;
	BUG_ON(entry->held_count == LOCKS_HELD_MAX);
	entry->held[entry->held_count++] = (struct held_lock){ lock, rank, sleeps };
}

static uint32_t position_of(const struct entry *entry, const void *lock)
{
	uint32_t i = entry->held_count;

	while (i && entry->held[i - 1].lock != lock)
		i--;
	return i;
}

void gmm_port_debug_lock_dropped(const void *lock)
{
	struct entry *entry = entry_find();
	uint32_t i;

	if (!entry)
		return;
	i = position_of(entry, lock);
	if (!i)
		return;
	for (entry->held_count--; i <= entry->held_count; i++)
		entry->held[i - 1] = entry->held[i];
	entry_drop_if_empty(entry);
}

void gmm_port_debug_lock_held(const void *lock)
{
	const struct entry *entry = entry_find();

	BUG_ON(entry && !position_of(entry, lock));
}

void gmm_port_debug_only_spinlock(const void *lock)
{
	const struct entry *entry = entry_find();

	uint32_t i;

	if (!entry)
		return;
	BUG_ON(!entry->held_count || entry->held[entry->held_count - 1].lock != lock);
	for (i = 0; i + 1 < entry->held_count; i++)
		BUG_ON(!entry->held[i].sleeps);
	BUG_ON(entry->section_depth);
}
