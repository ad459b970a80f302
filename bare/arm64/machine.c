/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* QEMU's virt machine at EL2: a GICv2's software interrupts, a PL011, PSCI by smc. */
#include "cpus.h"
#include "print.h"
#include "sysreg.h"

#include <gmm_port/atomic.h>

#define DISTRIBUTOR 0x08000000ul
#define CPU_INTERFACE 0x08010000ul
#define UART 0x09000000ul
#define RAM 0x40000000ul
#define UART_FLAGS (0x18 / 4)
#define UART_FULL 0x20u
#define GICD_CTLR 0u
#define GICD_SGIR (0xf00 / 4)
#define GICC_CTLR 0u
#define GICC_PMR (0x4 / 4)
#define GICC_IAR (0xc / 4)
#define GICC_EOIR (0x10 / 4)
#define PSCI_OFF 0x84000008ull
#define PSCI_CPU_ON 0xc4000003ull
#define HCR_IMO (1ull << 4) /* interrupts come to EL2 */

/* A map of the first 4 GiB, address for address: devices, then memory. */
#define BLOCK_DEVICE 0x401ull /* attribute 0, accessed */
#define BLOCK_NORMAL 0x705ull /* attribute 1, inner shareable, accessed */
#define MAIR 0xff00ull	      /* 0: device, 1: normal, write-back */
#define TCR_EL2 0x80823519ull /* 39 bits, 4K, write-back walks, 40 bits out */
#define SCTLR_M_C_I 0x1005ull

static uint64_t host_table[512] __attribute__((aligned(4096)));

const uintptr_t bare_machine_memory_end = RAM + (BARE_MEMORY_MB << 20);

void bare_arm64_interrupt(void);
void bare_arm64_odd(uint64_t syndrome, uint64_t pc, uint64_t address) __attribute__((noreturn));
extern uint8_t bare_arm64_other[];

static uint64_t firmware(uint64_t function, uint64_t first, uint64_t second, uint64_t third)
{
	register uint64_t x0 __asm__("x0") = function;
	register uint64_t x1 __asm__("x1") = first;
	register uint64_t x2 __asm__("x2") = second;
	register uint64_t x3 __asm__("x3") = third;

	__asm__ __volatile__("smc #0" : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)::"memory");
	return x0;
}

uint32_t bare_machine_cpu(void)
{
	return (uint32_t)sysreg_read(tpidr_el2);
}

uint64_t bare_machine_time_ns(void)
{
	return sysreg_read(cntpct_el0) * (1000000000ull / sysreg_read(cntfrq_el0));
}

void bare_machine_put(char letter)
{
	volatile uint32_t *uart = (volatile uint32_t *)UART;

	while (uart[UART_FLAGS] & UART_FULL)
		;
	*uart = (uint8_t)letter;
}

void bare_machine_interrupt(uint32_t cpu)
{
	gmm_fence();
	__asm__ __volatile__("dsb ish" ::: "memory");
	((volatile uint32_t *)DISTRIBUTOR)[GICD_SGIR] = 1u << (16 + cpu);
}

void bare_machine_interrupts(bool on)
{
	if (on)
		__asm__ __volatile__("msr daifclr, #2" ::: "memory");
	else
		__asm__ __volatile__("msr daifset, #2" ::: "memory");
}

void bare_machine_idle(void)
{
	__asm__ __volatile__("wfi" ::: "memory");
}

void bare_machine_off(void)
{
	firmware(PSCI_OFF, 0, 0, 0);
	for (;;)
		;
}

/* The handler's half that an exit out of a guest shares. */
void bare_arm64_interrupt(void)
{
	volatile uint32_t *interface = (volatile uint32_t *)CPU_INTERFACE;
	uint32_t which = interface[GICC_IAR];

	if ((which & 0x3ff) >= 16)
		return;
	interface[GICC_EOIR] = which;
	bare_interrupted();
}

void bare_arm64_odd(uint64_t syndrome, uint64_t pc, uint64_t address)
{
	bare_print("\n# syndrome 0x%llx at 0x%llx, address 0x%llx\n", (unsigned long long)syndrome,
		   (unsigned long long)pc, (unsigned long long)address);
	bare_stop("an exception of the hypervisor itself");
}

static void map_memory(void)
{
	uint64_t i;

	if (!host_table[0])
		for (i = 0; i < 4; i++)
			host_table[i] = i << 30 | (i ? BLOCK_NORMAL : BLOCK_DEVICE);
	sysreg_write(mair_el2, MAIR);
	sysreg_write(tcr_el2, TCR_EL2);
	sysreg_write(ttbr0_el2, (uintptr_t)host_table);
	__asm__ __volatile__("dsb ish\n\ttlbi alle2\n\tdsb ish\n\tisb" ::: "memory");
	sysreg_write(sctlr_el2, sysreg_read(sctlr_el2) | SCTLR_M_C_I);
}

void bare_machine_init(void)
{
	map_memory();
	((volatile uint32_t *)DISTRIBUTOR)[GICD_CTLR] = 1;
	((volatile uint32_t *)CPU_INTERFACE)[GICC_PMR] = 0xff;
	((volatile uint32_t *)CPU_INTERFACE)[GICC_CTLR] = 1;
	sysreg_write(hcr_el2, HCR_IMO);
	bare_machine_interrupts(true);
}

void bare_machine_start_others(void)
{
	uint64_t cpu;

	for (cpu = 1; cpu < BARE_CPUS; cpu++)
		firmware(PSCI_CPU_ON, cpu, (uintptr_t)bare_arm64_other, cpu);
}
