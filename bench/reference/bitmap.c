/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "reference.h"

uint64_t reference_bitmap_harvest(void *context, uint64_t count)
{
	struct reference_bitmap *bitmap = context;
	uint64_t taken = 0, i;

	while (count--) {
		for (i = 0; i < bitmap->word_count; i++) {
			uint64_t word = __atomic_load_n(&bitmap->words[i], __ATOMIC_RELAXED);

			if (word)
				word = __atomic_exchange_n(&bitmap->words[i], 0, __ATOMIC_SEQ_CST);
			bitmap->harvest[i] = word;
			taken += (uint64_t)__builtin_popcountll(word);
		}
	}
	return taken;
}
