/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What the engine is compared with. Loops have the shape of the engine's: bursts of BENCH_BURST,
 * with a compiler barrier wherever the engine's loop enters or leaves a section.
 */
#ifndef GMM_BENCH_REFERENCE_H
#define GMM_BENCH_REFERENCE_H

#include <pthread.h>

#include "../harness.h"

#define BENCH_BARRIER() __asm__ __volatile__("" ::: "memory")

/* Distance of accesses: each to its own cache line of the page. */
#define BENCH_STRIDE 64u

/* Context: the first byte of a page. */
uint64_t reference_load_burst(void *bytes, uint64_t count);
uint64_t reference_load_each(void *bytes, uint64_t count);
uint64_t reference_store_burst(void *bytes, uint64_t count);
uint64_t reference_store_each(void *bytes, uint64_t count);

/* Makes addresses and does nothing with them. */
struct reference_addresses {
	uint64_t span; /* addresses are below it */
	uint64_t seed;
};
uint64_t reference_addresses_only(void *addresses, uint64_t count);
uint64_t reference_addresses_dependent(void *addresses, uint64_t count);

/*
 * KVM's cache of 2021 as it would be in userspace: a reader-writer lock in each cache, and
 * a generation of the slots. An access takes the lock for reading, checks, accesses and drops it.
 */
struct reference_rwlock_cache {
	pthread_rwlock_t lock;
	uint64_t generation;
	uint64_t length;
	uint8_t *pointer;
	bool valid;
} __attribute__((aligned(128)));

void reference_rwlock_make(struct reference_rwlock_cache *cache, uint8_t *bytes, uint64_t length);
void reference_rwlock_end(struct reference_rwlock_cache *cache);
uint64_t reference_rwlock_access(void *cache, uint64_t count);

/* A bitmap without a summary, harvested by loading each word and exchanging those that are not 0. */
struct reference_bitmap {
	uint64_t *words;
	uint64_t *harvest;
	uint64_t word_count;
};
uint64_t reference_bitmap_harvest(void *bitmap, uint64_t count);

/* Reads words of a multiple of 16. */
uint64_t reference_read(const uint64_t *words, uint64_t count);

/* The system call that makes other threads' stores visible, alone. */
uint64_t reference_membarrier(void *unused, uint64_t count);
/* Whether this process may use it. */
bool reference_membarrier_works(void);

#endif
