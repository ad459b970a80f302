/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* gmm_port/scan.h in plain C: what a port without vector instructions uses, and what tests compare with. */
#ifndef GMM_PORT_SCAN_PLAIN_H
#define GMM_PORT_SCAN_PLAIN_H

#include <gmm_port/compiler.h>
#include <gmm_port/types.h>

GMM_INLINE uint64_t gmm_scan_mask_plain(const uint64_t *words, uint32_t count)
{
	uint64_t mask = 0;
	uint32_t i;

	for (i = 0; i < count; i++)
		mask |= (uint64_t)(words[i] != 0) << i;
	return mask;
}

GMM_INLINE uint64_t gmm_scan_next_plain(const uint64_t *words, uint64_t from, uint64_t end)
{
	while (from < end && !words[from])
		from++;
	return from;
}

GMM_INLINE uint64_t gmm_scan_count_plain(const uint64_t *words, uint64_t count)
{
	uint64_t bits = 0, i;

	/* No call of a helper function, which a kernel does not have. */
	for (i = 0; i < count; i++) {
		uint64_t word = words[i];

		if (!word)
			continue;
		word -= (word >> 1) & 0x5555555555555555u;
		word = (word & 0x3333333333333333u) + ((word >> 2) & 0x3333333333333333u);
		word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fu;
		bits += (word * 0x0101010101010101u) >> 56;
	}
	return bits;
}

#endif
