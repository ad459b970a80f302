/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * There are no guests on this machine: the guest's program runs at PLV0 with translated addresses,
 * its guest physical ones, and the processor's refill walks the table as that of KVM's host does.
 */
#include "guest.h"

#include "csr.h"
#include "machine.h"

#define REGISTER_STACK 3u
#define REGISTER_ARGUMENT 4u
#define PAGE_SHIFT 14u
#define CODE_SHIFT 16
#define CODE_MASK 0x3fu
#define CODE_INTERRUPT 0u
#define CODE_LOAD 1u
#define CODE_STORE 2u
#define CODE_FETCH 3u
#define CODE_CLEAN 4u /* a store to a page that may not be written */
#define CODE_NO_READ 5u
#define CODE_NO_EXEC 6u
#define CODE_CALL 11u
#define CALL_BYTES 4u
#define PHYSICAL_MASK 0x0000ffffffffffffull

void bare_loongarch_trap(uint64_t status, uint64_t pc, uint64_t address);
void bare_loongarch_enter(struct bare_vcpu *vcpu);
extern uint8_t bare_loongarch_refill[];

const struct bare_guest_machine bare_guest_machine = {
	.name = "loongarch64",
	/* The lower half of 48 bits, which is PGDL's. */
	.formats = { { "16k", GMM_STAGE2_LOONGARCH_16K, 0, 47, 47 } },
	.physical_offset = -WINDOW_CACHED,
	.skips = {
		{ "pages_of_4k", "QEMU 7.2 mistranslates them" },
		{ "dirty_bits_of_a_hardware_walker", "QEMU 7.2 has no such walker" },
		{ "memory_types_have_an_effect", "QEMU has no caches" },
	},
	.remembers_faults = true,
	.keeps_monitors = true,
	.walker_drops_no_exec = true,
};

void bare_guest_cpu_init(void)
{
	csr_write(CSR_STLBPS, PAGE_SHIFT);
	csr_write(CSR_ASID, 0);
	csr_write(CSR_TLBRENTRY, (uintptr_t)bare_loongarch_refill & PHYSICAL_MASK);
	bare_guest_flush();
}

void bare_guest_memory(void *memory)
{
	(void)memory;
}

bool bare_guest_init(struct bare_vcpu *vcpu, uint64_t entry, uint64_t stack, uint64_t argument)
{
	*vcpu = (struct bare_vcpu){ .pc = entry };
	vcpu->registers[REGISTER_STACK] = stack;
	vcpu->registers[REGISTER_ARGUMENT] = argument;
	return true;
}

static uint32_t access_of(uint64_t code)
{
	switch (code) {
	case CODE_LOAD:
	case CODE_NO_READ:
		return GMM_LEAF_READ;
	case CODE_STORE:
	case CODE_CLEAN:
		return GMM_LEAF_WRITE;
	case CODE_FETCH:
	case CODE_NO_EXEC:
		return GMM_LEAF_EXEC;
	default:
		return 0;
	}
}

void bare_guest_fini(struct bare_vcpu *vcpu)
{
	(void)vcpu;
}

void bare_guest_run(struct bare_vcpu *vcpu, const struct gmm_stage2_root *root,
		    struct bare_exit *exit)
{
	uint64_t status, code, address;

	bare_machine_interrupts(false);
	csr_write(CSR_PWCL, root->control & 0xffffffff);
	csr_write(CSR_PWCH, root->control >> 32);
	csr_write(CSR_PGDL, root->base);
	bare_loongarch_enter(vcpu);
	status = csr_read(CSR_ESTAT);
	address = csr_read(CSR_BADV);
	code = status >> CODE_SHIFT & CODE_MASK;
	*exit = (struct bare_exit){ .kind = BARE_EXIT_OTHER, .cause = status, .detail = address };
	if (code == CODE_INTERRUPT) {
		exit->kind = BARE_EXIT_KICK;
		bare_loongarch_trap(status, vcpu->pc, address);
	} else if (code == CODE_CALL) {
		exit->kind = BARE_EXIT_CALL;
		vcpu->pc += CALL_BYTES;
	} else if (access_of(code)) {
		exit->kind = BARE_EXIT_FAULT;
		exit->gpa = address;
		exit->access = access_of(code);
	}
	bare_machine_interrupts(true);
}

void bare_guest_flush(void)
{
	__asm__ __volatile__("dbar 0\n\tinvtlb 0, $zero, $zero" ::: "memory");
}

size_t bare_guest_function(void *code, uint32_t value)
{
	uint32_t *at = code;

	at[0] = 0x02c00004 | value << 10; /* addi.d $a0, $zero, value */
	at[1] = 0x4c000020;		  /* ret */
	__asm__ __volatile__("dbar 0\n\tibar 0" ::: "memory");
	return 8;
}
