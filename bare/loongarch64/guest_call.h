/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_BARE_LOONGARCH64_GUEST_CALL_H
#define GMM_BARE_LOONGARCH64_GUEST_CALL_H

#include <gmm_port/compiler.h>

GMM_INLINE void guest_call(void)
{
	__asm__ __volatile__("syscall 0" ::: "memory");
}

GMM_INLINE void guest_code_changed(void)
{
	__asm__ __volatile__("ibar 0" ::: "memory");
}

#define GUEST_LINKS 1

GMM_INLINE uint64_t guest_load_linked(uint64_t *word)
{
	uint64_t value;

	__asm__ __volatile__("ll.d %0, %1, 0" : "=r"(value) : "r"(word) : "memory");
	return value;
}

/* Whether it is stored. */
GMM_INLINE uint64_t guest_store_conditional(uint64_t *word, uint64_t value)
{
	__asm__ __volatile__("sc.d %0, %1, 0" : "+r"(value) : "r"(word) : "memory");
	return value;
}

#endif
