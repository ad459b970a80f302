/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_BARE_X86_64_CPU_H
#define GMM_BARE_X86_64_CPU_H

#include <gmm_port/compiler.h>
#include <gmm_port/types.h>

#define MSR_EFER 0xc0000080u
#define MSR_VM_HSAVE_PA 0xc0010117u

GMM_INLINE void port_write(uint16_t port, uint8_t value)
{
	__asm__ __volatile__("outb %0, %1" ::"a"(value), "Nd"(port));
}

GMM_INLINE uint8_t port_read(uint16_t port)
{
	uint8_t value;

	__asm__ __volatile__("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

GMM_INLINE uint64_t msr_read(uint32_t msr)
{
	uint32_t low, high;

	__asm__ __volatile__("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (uint64_t)high << 32 | low;
}

GMM_INLINE void msr_write(uint32_t msr, uint64_t value)
{
	__asm__ __volatile__("wrmsr" ::"c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
			     : "memory");
}

#endif
