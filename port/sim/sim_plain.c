/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Plain accesses as yield points: what the compiler calls for each of them with -fsanitize=thread.
 * The functions have the names and the arguments that the compiler expects; the thread sanitizer's
 * own library is not linked. Atomic operations are the port's, announced by it already: here they
 * are only done.
 */
#include <stdlib.h>
#include <string.h>

#include "sim_impl.h"

/* A site for each place in the code: its address stands for file and line. */
#define SITES 4096u /* a power of two */

struct plain_site {
	struct gmm_sim_site site;
	char name[24];
	uintptr_t address;
	bool named; /* gmm_sim_plain_sites() has given it */
};

static struct plain_site sites[SITES];

static const struct gmm_sim_site *site_of(uintptr_t address, bool writes)
{
	uint32_t i = (uint32_t)((address * UINT64_C(0x9e3779b97f4a7c15)) >> 40) & (SITES - 1);

	while (sites[i].address && sites[i].address != address)
		i = (i + 1) & (SITES - 1);
	if (!sites[i].address) {
		sites[i].address = address;
		snprintf(sites[i].name, sizeof(sites[i].name), "%#llx",
			 (unsigned long long)address);
		sites[i].site =
			(struct gmm_sim_site){ .file = writes ? "plain store" : "plain load",
					       .name = sites[i].name,
					       .line = (int)(i + 1) };
	}
	return &sites[i].site;
}

void gmm_sim_plain_sites(void (*name)(uintptr_t address, struct gmm_sim_site *site))
{
	uint32_t i;

	for (i = 0; i < SITES; i++) {
		if (!sites[i].address || sites[i].named)
			continue;
		sites[i].named = true;
		name(sites[i].address, &sites[i].site);
	}
}

static bool on_own_stack(const struct gmm_sim_thread *thread, const volatile void *pointer)
{
	return (uintptr_t)pointer - (uintptr_t)thread->stack < thread->stack_size;
}

static void plain(const volatile void *pointer, size_t size, bool writes, void *from)
{
	struct sim *sim = sim_now;

	if (!sim || !sim->explored || !size)
		return;
	sim_plain_point(sim, pointer, size, writes, site_of((uintptr_t)from, writes),
			!on_own_stack(sim->current, pointer));
}

#define PLAIN(name, size, writes)                                          \
	void __tsan_##name(void *pointer);                                 \
	void __tsan_##name(void *pointer)                                  \
	{                                                                  \
		plain(pointer, size, writes, __builtin_return_address(0)); \
	}

PLAIN(read1, 1, false)
PLAIN(read2, 2, false)
PLAIN(read4, 4, false)
PLAIN(read8, 8, false)
PLAIN(read16, 16, false)
PLAIN(write1, 1, true)
PLAIN(write2, 2, true)
PLAIN(write4, 4, true)
PLAIN(write8, 8, true)
PLAIN(write16, 16, true)
PLAIN(unaligned_read2, 2, false)
PLAIN(unaligned_read4, 4, false)
PLAIN(unaligned_read8, 8, false)
PLAIN(unaligned_read16, 16, false)
PLAIN(unaligned_write2, 2, true)
PLAIN(unaligned_write4, 4, true)
PLAIN(unaligned_write8, 8, true)
PLAIN(unaligned_write16, 16, true)

/* The compiler's calls for volatile accesses, which the code under test does not use for itself. */
PLAIN(volatile_read1, 1, false)
PLAIN(volatile_read2, 2, false)
PLAIN(volatile_read4, 4, false)
PLAIN(volatile_read8, 8, false)
PLAIN(volatile_write1, 1, true)
PLAIN(volatile_write2, 2, true)
PLAIN(volatile_write4, 4, true)
PLAIN(volatile_write8, 8, true)

void __tsan_read_range(void *pointer, unsigned long size);
void __tsan_read_range(void *pointer, unsigned long size)
{
	plain(pointer, size, false, __builtin_return_address(0));
}

void __tsan_write_range(void *pointer, unsigned long size);
void __tsan_write_range(void *pointer, unsigned long size)
{
	plain(pointer, size, true, __builtin_return_address(0));
}

void __tsan_init(void);
void __tsan_init(void)
{
}

void __tsan_func_entry(void *from);
void __tsan_func_entry(void *from)
{
	(void)from;
}

void __tsan_func_exit(void);
void __tsan_func_exit(void)
{
}

#define ATOMIC(bits, type)                                                                  \
	type __tsan_atomic##bits##_load(const volatile type *p, int order);                 \
	type __tsan_atomic##bits##_load(const volatile type *p, int order)                  \
	{                                                                                   \
		(void)order;                                                                \
		return *p;                                                                  \
	}                                                                                   \
	void __tsan_atomic##bits##_store(volatile type *p, type v, int order);              \
	void __tsan_atomic##bits##_store(volatile type *p, type v, int order)               \
	{                                                                                   \
		(void)order;                                                                \
		*p = v;                                                                     \
	}                                                                                   \
	type __tsan_atomic##bits##_exchange(volatile type *p, type v, int order);           \
	type __tsan_atomic##bits##_exchange(volatile type *p, type v, int order)            \
	{                                                                                   \
		type old = *p;                                                              \
                                                                                            \
		(void)order;                                                                \
		*p = v;                                                                     \
		return old;                                                                 \
	}                                                                                   \
	type __tsan_atomic##bits##_fetch_add(volatile type *p, type v, int order);          \
	type __tsan_atomic##bits##_fetch_add(volatile type *p, type v, int order)           \
	{                                                                                   \
		type old = *p;                                                              \
                                                                                            \
		(void)order;                                                                \
		*p = (type)(old + v);                                                       \
		return old;                                                                 \
	}                                                                                   \
	type __tsan_atomic##bits##_fetch_or(volatile type *p, type v, int order);           \
	type __tsan_atomic##bits##_fetch_or(volatile type *p, type v, int order)            \
	{                                                                                   \
		type old = *p;                                                              \
                                                                                            \
		(void)order;                                                                \
		*p = (type)(old | v);                                                       \
		return old;                                                                 \
	}                                                                                   \
	type __tsan_atomic##bits##_fetch_and(volatile type *p, type v, int order);          \
	type __tsan_atomic##bits##_fetch_and(volatile type *p, type v, int order)           \
	{                                                                                   \
		type old = *p;                                                              \
                                                                                            \
		(void)order;                                                                \
		*p = (type)(old & v);                                                       \
		return old;                                                                 \
	}                                                                                   \
	int __tsan_atomic##bits##_compare_exchange_strong(volatile type *p, type *expected, \
							  type v, int order, int failed);   \
	int __tsan_atomic##bits##_compare_exchange_strong(volatile type *p, type *expected, \
							  type v, int order, int failed)    \
	{                                                                                   \
		type old = *p;                                                              \
                                                                                            \
		(void)order;                                                                \
		(void)failed;                                                               \
		if (old == *expected) {                                                     \
			*p = v;                                                             \
			return 1;                                                           \
		}                                                                           \
		*expected = old;                                                            \
		return 0;                                                                   \
	}

ATOMIC(8, uint8_t)
ATOMIC(16, uint16_t)
ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)
