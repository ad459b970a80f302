/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_BARE_ARM64_SYSREG_H
#define GMM_BARE_ARM64_SYSREG_H

#include <gmm_port/types.h>

#define sysreg_read(name)                                                \
	__extension__({                                                  \
		uint64_t value_;                                         \
		__asm__ __volatile__("mrs %0, " #name : "=r"(value_)::); \
		value_;                                                  \
	})
#define sysreg_write(name, value) \
	__asm__ __volatile__("msr " #name ", %0\n\tisb" ::"r"((uint64_t)(value)) : "memory")

#endif
