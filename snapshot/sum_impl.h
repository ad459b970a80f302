/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The checksum of files: XXH3 of 64 bits, seed 0. It finds damage, not forgery. The library is used
 * by its header alone, so programs are not linked with it.
 */
#ifndef GUESTMM_SNAPSHOT_SUM_IMPL_H
#define GUESTMM_SNAPSHOT_SUM_IMPL_H

#include <stddef.h>
#include <stdint.h>

struct snapshot_sum;

/* NULL: out of memory. */
struct snapshot_sum *gmm_snapshot_sum_create(void);
void gmm_snapshot_sum_reset(struct snapshot_sum *sum);
void gmm_snapshot_sum_add(struct snapshot_sum *sum, const void *bytes, size_t length);
uint64_t gmm_snapshot_sum_value(const struct snapshot_sum *sum);
void gmm_snapshot_sum_destroy(struct snapshot_sum *sum);

#endif
