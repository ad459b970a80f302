/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Loads and stores without any check. */
#include "reference.h"

static volatile uint64_t *word_at(void *bytes, uint64_t index)
{
	return (volatile uint64_t *)((uint8_t *)bytes + index * BENCH_STRIDE);
}

uint64_t reference_load_burst(void *bytes, uint64_t count)
{
	uint64_t sum = 0, done, i;

	for (done = 0; done < count; done += BENCH_BURST) {
		BENCH_BARRIER();
		for (i = 0; i < BENCH_BURST; i++)
			sum += *word_at(bytes, i);
		BENCH_BARRIER();
	}
	return sum;
}

uint64_t reference_load_each(void *bytes, uint64_t count)
{
	uint64_t sum = 0, done;

	for (done = 0; done < count; done++) {
		BENCH_BARRIER();
		sum += *word_at(bytes, done % BENCH_BURST);
		BENCH_BARRIER();
	}
	return sum;
}

uint64_t reference_store_burst(void *bytes, uint64_t count)
{
	uint64_t done, i;

	for (done = 0; done < count; done += BENCH_BURST) {
		BENCH_BARRIER();
		for (i = 0; i < BENCH_BURST; i++)
			*word_at(bytes, i) = done;
		BENCH_BARRIER();
	}
	return done;
}

uint64_t reference_store_each(void *bytes, uint64_t count)
{
	uint64_t done;

	for (done = 0; done < count; done++) {
		BENCH_BARRIER();
		*word_at(bytes, done % BENCH_BURST) = done;
		BENCH_BARRIER();
	}
	return done;
}
