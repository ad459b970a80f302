/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_BARE_LOONGARCH64_CSR_H
#define GMM_BARE_LOONGARCH64_CSR_H

#include <gmm_port/types.h>

#include "csr_numbers.h"

#define csr_read(csr)                                                           \
	__extension__({                                                         \
		uint64_t value_;                                                \
		__asm__ __volatile__("csrrd %0, %1" : "=r"(value_) : "i"(csr)); \
		value_;                                                         \
	})
#define csr_write(csr, value)                                                              \
	do {                                                                               \
		uint64_t value_ = (value);                                                 \
		__asm__ __volatile__("csrwr %0, %1" : "+r"(value_) : "i"(csr) : "memory"); \
	} while (0)

#define WINDOW_CACHED 0x9000000000000000ul
#define WINDOW_UNCACHED 0x8000000000000000ul

#endif
