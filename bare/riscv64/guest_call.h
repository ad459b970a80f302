/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_BARE_RISCV64_GUEST_CALL_H
#define GMM_BARE_RISCV64_GUEST_CALL_H

#include <gmm_port/compiler.h>

GMM_INLINE void guest_call(void)
{
	__asm__ __volatile__("ecall" ::: "memory");
}

GMM_INLINE void guest_code_changed(void)
{
	__asm__ __volatile__("fence.i" ::: "memory");
}

#endif
