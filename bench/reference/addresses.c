/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Loops that only make addresses. */
#include "reference.h"

uint64_t reference_addresses_only(void *context, uint64_t count)
{
	struct reference_addresses *addresses = context;
	uint64_t state = addresses->seed, sum = 0, done, i;

	for (done = 0; done < count; done += BENCH_BURST) {
		BENCH_BARRIER();
		for (i = 0; i < BENCH_BURST; i++)
			sum += bench_below(bench_random(&state), addresses->span) & ~7ull;
		BENCH_BARRIER();
	}
	addresses->seed = state;
	return sum;
}

/* Each address needs the one before. */
uint64_t reference_addresses_dependent(void *context, uint64_t count)
{
	struct reference_addresses *addresses = context;
	uint64_t state = addresses->seed, done, i;

	for (done = 0; done < count; done += BENCH_BURST) {
		BENCH_BARRIER();
		for (i = 0; i < BENCH_BURST; i++) {
			uint64_t address = bench_below(bench_random(&state), addresses->span) &
					   ~7ull;

			state ^= address << 24;
			state |= 1;
		}
		BENCH_BARRIER();
	}
	addresses->seed = state;
	return state;
}
