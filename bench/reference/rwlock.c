/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "reference.h"

static uint64_t slots_generation = 7;

void reference_rwlock_make(struct reference_rwlock_cache *cache, uint8_t *bytes, uint64_t length)
{
	bench_must(pthread_rwlock_init(&cache->lock, NULL), "a reader-writer lock");
	cache->generation = slots_generation;
	cache->length = length;
	cache->pointer = bytes;
	cache->valid = true;
}

void reference_rwlock_end(struct reference_rwlock_cache *cache)
{
	pthread_rwlock_destroy(&cache->lock);
}

static bool check(const struct reference_rwlock_cache *cache, uint64_t offset, uint64_t length)
{
	return cache->valid &&
	       cache->generation == __atomic_load_n(&slots_generation, __ATOMIC_RELAXED) &&
	       offset <= cache->length && length <= cache->length - offset;
}

uint64_t reference_rwlock_access(void *context, uint64_t count)
{
	struct reference_rwlock_cache *cache = context;
	uint64_t sum = 0, done;

	for (done = 0; done < count; done++) {
		uint64_t offset = done % BENCH_BURST * BENCH_STRIDE;

		pthread_rwlock_rdlock(&cache->lock);
		if (__builtin_expect(!check(cache, offset, 8), 0))
			bench_broken("the reference's check");
		sum += *(volatile uint64_t *)(cache->pointer + offset);
		pthread_rwlock_unlock(&cache->lock);
	}
	return sum;
}
