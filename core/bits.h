/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_CORE_BITS_H
#define GMM_CORE_BITS_H

#include <guestmm/types.h>

/* How many bits of a word are set. The compiler's own becomes a call that not every world has. */
GMM_INLINE uint64_t gmm_bits_count(uint64_t word)
{
	word -= (word >> 1) & 0x5555555555555555ull;
	word = (word & 0x3333333333333333ull) + ((word >> 2) & 0x3333333333333333ull);
	word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0full;
	return (word * 0x0101010101010101ull) >> 56;
}

/* Number of the lowest set bit; the word is not 0. */
GMM_INLINE uint64_t gmm_bits_lowest(uint64_t word)
{
	return gmm_bits_count((word & -word) - 1);
}

#endif
