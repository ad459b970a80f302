/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* QEMU's PC: local APICs, HPET, a 16550, and a device that ends the machine. */
#include <gmm_port/alloc.h>
#include <gmm_port/atomic.h>

#include "cpu.h"
#include "cpus.h"
#include "print.h"

#define APIC 0xfee00000ul
#define APIC_EOI (0xb0 / 4)
#define APIC_SPURIOUS (0xf0 / 4)
#define APIC_COMMAND_LOW (0x300 / 4)
#define APIC_COMMAND_HIGH (0x310 / 4)
#define APIC_ENABLE 0x100u
#define APIC_PENDING 0x1000u
#define APIC_INIT 0x4500u
#define APIC_START 0x4600u
#define APIC_FIXED 0x4000u
#define HPET 0xfed00000ul
#define HPET_CONFIG (0x10 / 8)
#define HPET_COUNTER (0xf0 / 8)
#define FEMTOSECONDS_PER_NS 1000000u
#define SERIAL 0x3f8u
#define SERIAL_STATUS 5u
#define SERIAL_EMPTY 0x20u
#define PIC_MASK_1 0x21u
#define PIC_MASK_2 0xa1u
#define EXIT_PORT 0xf4u /* isa-debug-exit */
#define VECTORS 48u
#define VECTOR_BYTES 16u
#define VECTOR_INTERRUPT 32u
#define VECTOR_SPURIOUS 47u
#define CODE64 8u
#define TRAMPOLINE 0x8000ul

struct gate {
	uint16_t low;
	uint16_t selector;
	uint16_t flags;
	uint16_t middle;
	uint32_t high;
	uint32_t unused;
};

static struct gate idt[VECTORS];

extern const struct idt_pointer {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed)) bare_x86_idt_pointer;

const struct idt_pointer bare_x86_idt_pointer = { sizeof(idt) - 1, (uintptr_t)idt };
const uintptr_t bare_machine_memory_end = BARE_MEMORY_MB << 20;

extern const uint8_t bare_x86_vectors[], bare_x86_trampoline[], bare_x86_trampoline_end[];
void bare_x86_trap(uint64_t vector, uint64_t code, uint64_t pc);

static volatile uint32_t *apic(uint32_t which)
{
	return (volatile uint32_t *)APIC + which;
}

uint32_t bare_machine_cpu(void)
{
	uint32_t cpu;

	__asm__("movl %%gs:0, %0" : "=r"(cpu));
	return cpu;
}

uint64_t bare_machine_time_ns(void)
{
	volatile uint64_t *hpet = (volatile uint64_t *)HPET;

	return hpet[HPET_COUNTER] * ((hpet[0] >> 32) / FEMTOSECONDS_PER_NS);
}

void bare_machine_put(char letter)
{
	while (!(port_read(SERIAL + SERIAL_STATUS) & SERIAL_EMPTY))
		;
	port_write(SERIAL, (uint8_t)letter);
}

static void command(uint32_t cpu, uint32_t what)
{
	/* The two halves are one command: no handler may send another between them. */
	uint64_t flags;

	__asm__ __volatile__("pushf; pop %0; cli" : "=r"(flags)::"memory");
	while (*apic(APIC_COMMAND_LOW) & APIC_PENDING)
		;
	*apic(APIC_COMMAND_HIGH) = cpu << 24;
	*apic(APIC_COMMAND_LOW) = what;
	__asm__ __volatile__("push %0; popf" ::"r"(flags) : "memory", "cc");
}

void bare_machine_interrupt(uint32_t cpu)
{
	gmm_fence();
	command(cpu, APIC_FIXED | VECTOR_INTERRUPT);
}

void bare_machine_interrupts(bool on)
{
	if (on)
		__asm__ __volatile__("sti" ::: "memory");
	else
		__asm__ __volatile__("cli" ::: "memory");
}

void bare_machine_idle(void)
{
	/* Nothing can come between the two. */
	__asm__ __volatile__("sti; hlt; cli" ::: "memory");
}

void bare_machine_off(void)
{
	for (;;)
		port_write(EXIT_PORT, 0);
}

void bare_x86_trap(uint64_t vector, uint64_t code, uint64_t pc)
{
	uint64_t address;

	if (vector == VECTOR_INTERRUPT) {
		*apic(APIC_EOI) = 0;
		bare_interrupted();
		return;
	}
	if (vector == VECTOR_SPURIOUS)
		return;
	__asm__ __volatile__("mov %%cr2, %0" : "=r"(address));
	bare_print("\n# exception %llu, code 0x%llx, at 0x%llx, address 0x%llx\n",
		   (unsigned long long)vector, (unsigned long long)code, (unsigned long long)pc,
		   (unsigned long long)address);
	bare_stop("an exception of the hypervisor itself");
}

static void fill_idt(void)
{
	uint32_t i;

	for (i = 0; i < VECTORS; i++) {
		uintptr_t entry = (uintptr_t)bare_x86_vectors + i * VECTOR_BYTES;

		idt[i] = (struct gate){ (uint16_t)entry,	 CODE64, 0x8e00,
					(uint16_t)(entry >> 16), 0,	 0 };
	}
}

void bare_machine_init(void)
{
	if (!bare_machine_cpu()) {
		fill_idt();
		port_write(PIC_MASK_1, 0xff);
		port_write(PIC_MASK_2, 0xff);
		((volatile uint64_t *)HPET)[HPET_CONFIG] |= 1;
	}
	*apic(APIC_SPURIOUS) = APIC_ENABLE | VECTOR_SPURIOUS;
	bare_machine_interrupts(true);
}

void bare_machine_start_others(void)
{
	uint64_t until;
	uint32_t cpu;

	gmm_memcpy((void *)TRAMPOLINE, bare_x86_trampoline,
		   (size_t)(bare_x86_trampoline_end - bare_x86_trampoline));
	for (cpu = 1; cpu < BARE_CPUS; cpu++) {
		command(cpu, APIC_INIT);
		/* The manual's 10 ms matter to real processors only; this one takes some time, too. */
		until = bare_machine_time_ns() + 1000000;
		while (bare_machine_time_ns() < until)
			;
		command(cpu, APIC_START | TRAMPOLINE >> 12);
	}
}
