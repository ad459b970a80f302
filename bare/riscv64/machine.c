/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* QEMU's virt machine in M mode: software interrupts of the CLINT, a 16550, the test finisher. */
#include "cpus.h"
#include "csr.h"
#include "print.h"

#include <gmm_port/atomic.h>

#define CLINT 0x2000000ul
#define UART 0x10000000ul
#define FINISHER 0x100000ul
#define FINISHER_PASS 0x5555u
#define TICK_NS 100u /* of the time register, 10 MHz */
#define UART_STATUS 5u
#define UART_EMPTY 0x20u
#define CAUSE_SOFTWARE_INTERRUPT (1ull << 63 | 3)
#define STATUS_MIE (1u << 3)

const uintptr_t bare_machine_memory_end = 0x80000000ul + (BARE_MEMORY_MB << 20);

void bare_riscv_trap(uint64_t cause, uint64_t pc, uint64_t value);

uint32_t bare_machine_cpu(void)
{
	uint32_t hart;

	__asm__("mv %0, tp" : "=r"(hart));
	return hart;
}

uint64_t bare_machine_time_ns(void)
{
	return csr_read(time) * TICK_NS;
}

void bare_machine_put(char letter)
{
	volatile uint8_t *uart = (volatile uint8_t *)UART;

	while (!(uart[UART_STATUS] & UART_EMPTY))
		;
	*uart = (uint8_t)letter;
}

void bare_machine_interrupt(uint32_t cpu)
{
	gmm_fence();
	((volatile uint32_t *)CLINT)[cpu] = 1;
}

void bare_machine_interrupts(bool on)
{
	if (on)
		csr_set(mstatus, STATUS_MIE);
	else
		csr_clear(mstatus, STATUS_MIE);
}

void bare_machine_idle(void)
{
	__asm__ __volatile__("wfi" ::: "memory");
}

void bare_machine_off(void)
{
	*(volatile uint32_t *)FINISHER = FINISHER_PASS;
	for (;;)
		;
}

/* The handler's half that a trap out of a guest shares. */
void bare_riscv_trap(uint64_t cause, uint64_t pc, uint64_t value)
{
	if (cause != CAUSE_SOFTWARE_INTERRUPT) {
		bare_print("\n# cause 0x%llx at 0x%llx, value 0x%llx\n", (unsigned long long)cause,
			   (unsigned long long)pc, (unsigned long long)value);
		bare_stop("a trap of the hypervisor itself");
	}
	((volatile uint32_t *)CLINT)[bare_machine_cpu()] = 0;
	gmm_fence();
	bare_interrupted();
}

void bare_machine_init(void)
{
	/* All of memory for the modes below. */
	csr_write(pmpaddr0, ~0ull >> 10);
	csr_write(pmpcfg0, 0x1f);
	csr_set(mstatus, STATUS_MIE);
}

void bare_machine_start_others(void)
{
	uint32_t cpu;

	for (cpu = 1; cpu < BARE_CPUS; cpu++)
		bare_machine_interrupt(cpu);
}
