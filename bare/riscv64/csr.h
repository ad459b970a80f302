/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Control registers by name or number: assemblers of Debian 12 do not know those of hypervisors. */
#ifndef GMM_BARE_RISCV64_CSR_H
#define GMM_BARE_RISCV64_CSR_H

#include <gmm_port/types.h>

#define CSR_TEXT_(csr) #csr
#define CSR_TEXT(csr) CSR_TEXT_(csr)

#define csr_read(csr)                                                             \
	__extension__({                                                           \
		uint64_t value_;                                                  \
		__asm__ __volatile__("csrr %0, " CSR_TEXT(csr) : "=r"(value_)::); \
		value_;                                                           \
	})
#define csr_write(csr, value) \
	__asm__ __volatile__("csrw " CSR_TEXT(csr) ", %0" ::"r"((uint64_t)(value)) : "memory")
#define csr_set(csr, value) \
	__asm__ __volatile__("csrs " CSR_TEXT(csr) ", %0" ::"r"((uint64_t)(value)) : "memory")
#define csr_clear(csr, value) \
	__asm__ __volatile__("csrc " CSR_TEXT(csr) ", %0" ::"r"((uint64_t)(value)) : "memory")

#endif
