/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "sum_impl.h"

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

struct snapshot_sum {
	XXH3_state_t state;
};

struct snapshot_sum *gmm_snapshot_sum_create(void)
{
	/* Its alignment is more than malloc's; its size is a multiple of it. */
	struct snapshot_sum *sum = aligned_alloc(_Alignof(struct snapshot_sum), sizeof(*sum));

	if (sum) {
		XXH3_INITSTATE(&sum->state);
		gmm_snapshot_sum_reset(sum);
	}
	return sum;
}

void gmm_snapshot_sum_reset(struct snapshot_sum *sum)
{
	XXH3_64bits_reset(&sum->state);
}

void gmm_snapshot_sum_add(struct snapshot_sum *sum, const void *bytes, size_t length)
{
	XXH3_64bits_update(&sum->state, bytes, length);
}

uint64_t gmm_snapshot_sum_value(const struct snapshot_sum *sum)
{
	return XXH3_64bits_digest(&sum->state);
}

void gmm_snapshot_sum_destroy(struct snapshot_sum *sum)
{
	free(sum);
}
