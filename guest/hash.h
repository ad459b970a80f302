/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A 64-bit hash of one page, the same in the guest program and on the host. Four lanes keep the
 * multiplier busy; integer registers only. Not for hostile input.
 */
#ifndef GUEST_HASH_H
#define GUEST_HASH_H

#include "abi.h"

#define GUEST_HASH_ODD 0x9e3779b97f4a7c15ull
#define GUEST_HASH_ODD2 0xd6e8feb86659fd93ull

static inline uint64_t guest_rotate(uint64_t value, unsigned int bits)
{
	return value << bits | value >> (64 - bits);
}

/* Spreads every bit of `value` over all bits of the result; a bijection. */
static inline uint64_t guest_mix(uint64_t value)
{
	value ^= value >> 32;
	value *= GUEST_HASH_ODD2;
	value ^= value >> 29;
	value *= GUEST_HASH_ODD;
	value ^= value >> 32;
	return value;
}

/* Hash of GUEST_PAGE_BYTES at `page`, aligned to 8 bytes. */
static inline uint64_t guest_hash(const void *page)
{
	const uint64_t *word = (const uint64_t *)page;
	const uint64_t *end = word + GUEST_PAGE_BYTES / sizeof(*word);
	uint64_t a = 1, b = 2, c = 3, d = 4;

	for (; word < end; word += 4) {
		a = guest_rotate((a ^ word[0]) * GUEST_HASH_ODD, 31);
		b = guest_rotate((b ^ word[1]) * GUEST_HASH_ODD, 31);
		c = guest_rotate((c ^ word[2]) * GUEST_HASH_ODD, 31);
		d = guest_rotate((d ^ word[3]) * GUEST_HASH_ODD, 31);
	}
	return guest_mix(guest_mix(a) + guest_rotate(guest_mix(b), 17) +
			 guest_rotate(guest_mix(c), 31) + guest_rotate(guest_mix(d), 47));
}

#endif
