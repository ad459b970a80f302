/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The smallest guest that touches memory, for both sides of a pair: page tables, parameters and
 * a few instructions at CPL 3 in the first 8 MiB. Each run goes through a list of GPAs, writes or
 * reads 8 bytes at each, and exits by a port.
 */
#ifndef GMM_BENCH_TINY_GUEST_H
#define GMM_BENCH_TINY_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#define TINY_LOW_BYTES (8ull << 20)
#define TINY_DATA_GPA (1ull << 30) /* where the memory begins that it touches; up to 2 GiB */
#define TINY_VCPUS 2u
#define TINY_LIST_MAX ((1ull << 30) >> 12)

#define TINY_PAGE_TABLES 0x1000ull
#define TINY_TSS 0x8000ull
#define TINY_CODE 0x10000ull
#define TINY_PARAMETERS(vcpu) (0x11000ull + (vcpu)*0x1000ull)
#define TINY_STACK(vcpu) (0x20000ull + (vcpu)*0x1000ull)
#define TINY_LIST(vcpu) ((2ull + 2 * (vcpu)) << 20)

/* Fills the zeroed first 8 MiB. `write`: it writes, else it reads. */
void tiny_guest_fill(uint8_t *low, bool write);
/* Pages of the data in the order in which a vCPU touches them: the set bits of a bitmap. */
uint64_t tiny_guest_touch_bitmap(uint8_t *low, uint32_t vcpu, const uint64_t *words,
				 uint64_t word_count);
/* The same for [first, first + count). */
void tiny_guest_touch_range(uint8_t *low, uint32_t vcpu, uint64_t first, uint64_t count);

#endif
