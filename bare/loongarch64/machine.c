/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* QEMU's virt machine: interrupts between CPUs by IOCSR, a 16550, the power register. */
#include "cpus.h"
#include "csr.h"
#include "print.h"

#include <gmm_port/atomic.h>

#define UART (WINDOW_UNCACHED | 0x1fe001e0ul)
#define POWER (WINDOW_UNCACHED | 0x100e001cul)
#define POWER_OFF 0x34u
#define UART_STATUS 5u
#define UART_EMPTY 0x20u
#define TICK_NS 10u /* of the stable counter, 100 MHz */
#define IPI_ENABLE 0x1004u
#define IPI_CLEAR 0x100cu
#define IPI_SEND 0x1040u
#define IPI_NUMBER 1u
#define ESTAT_IPI (1u << 12)
#define CRMD_IE (1u << 2)

/* Memory below the devices; the rest is not needed. */
const uintptr_t bare_machine_memory_end = WINDOW_CACHED + (BARE_MEMORY_MB << 20);

uint32_t bare_loongarch_go; /* read by start.S */

void bare_loongarch_trap(uint64_t status, uint64_t pc, uint64_t address);
extern uint8_t bare_loongarch_exception[];

static void iocsr_write(uint32_t address, uint32_t value)
{
	__asm__ __volatile__("iocsrwr.w %0, %1" ::"r"(value), "r"(address) : "memory");
}

uint32_t bare_machine_cpu(void)
{
	return (uint32_t)csr_read(CSR_SAVE_CPU);
}

uint64_t bare_machine_time_ns(void)
{
	uint64_t ticks;

	__asm__ __volatile__("rdtime.d %0, $zero" : "=r"(ticks));
	return ticks * TICK_NS;
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
	iocsr_write(IPI_SEND, cpu << 16 | IPI_NUMBER);
}

void bare_machine_interrupts(bool on)
{
	uint64_t mode = csr_read(CSR_CRMD);

	csr_write(CSR_CRMD, on ? mode | CRMD_IE : mode & ~(uint64_t)CRMD_IE);
}

void bare_machine_idle(void)
{
	__asm__ __volatile__("idle 0" ::: "memory");
}

void bare_machine_off(void)
{
	*(volatile uint8_t *)POWER = POWER_OFF;
	for (;;)
		;
}

/* The handler's half that an exit out of a guest shares. */
void bare_loongarch_trap(uint64_t status, uint64_t pc, uint64_t address)
{
	if (status >> 16 || !(status & ESTAT_IPI)) {
		bare_print("\n# status 0x%llx at 0x%llx, address 0x%llx\n",
			   (unsigned long long)status, (unsigned long long)pc,
			   (unsigned long long)address);
		bare_stop("an exception of the hypervisor itself");
	}
	iocsr_write(IPI_CLEAR, 1u << IPI_NUMBER);
	gmm_fence();
	bare_interrupted();
}

void bare_machine_init(void)
{
	csr_write(CSR_EENTRY, (uintptr_t)bare_loongarch_exception);
	iocsr_write(IPI_ENABLE, 1u << IPI_NUMBER);
	csr_write(CSR_ECFG, ESTAT_IPI);
	bare_machine_interrupts(true);
}

void bare_machine_start_others(void)
{
	gmm_store_release(&bare_loongarch_go, 1u);
}
