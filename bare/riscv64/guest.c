/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* A guest in VS mode; its own translation is off, so its addresses are guest physical ones. */
#include "guest.h"

#include "cpus.h"
#include "csr.h"
#include "machine.h"

#define REGISTER_STACK 2u
#define REGISTER_ARGUMENT 10u
#define STATUS_MPIE (1ull << 7)
#define STATUS_MPP (3ull << 11)
#define STATUS_MPP_S (1ull << 11)
#define STATUS_MPV (1ull << 39)
#define CAUSE_CALL 10u
#define CAUSE_FETCH 20u
#define CAUSE_LOAD 21u
#define CAUSE_STORE 23u
#define CAUSE_INTERRUPT (1ull << 63)
#define CALL_BYTES 4u

/* By number: hstatus, vsatp, hgatp, mtval2, menvcfg. */
#define HSTATUS 0x600
#define VSATP 0x280
#define HGATP 0x680
#define MTVAL2 0x34b
#define MENVCFG 0x30a
#define MENVCFG_PBMTE (1ull << 62)

#define TABLE_FLAGS (GMM_STAGE2_HARDWARE_DIRTY | GMM_STAGE2_SVPBMT)

const struct bare_guest_machine bare_guest_machine = {
	.name = "riscv64",
	/* QEMU 7.2 refuses an address whose top bit is set, as if it were sign-extended. */
	.formats = {
		{ "sv48x4", GMM_STAGE2_SV48X4, TABLE_FLAGS, 50, 49 },
		{ "sv39x4", GMM_STAGE2_SV39X4, TABLE_FLAGS, 41, 40 },
	},
	.skips = {
		{ "addresses_with_the_top_bit_are_like_any",
		  "QEMU 7.2 takes them for wrongly sign-extended ones" },
		{ "a_clean_leaf_faults_where_hardware_sets_no_bits",
		  "QEMU 7.2 always sets accessed and dirty" },
		{ "memory_types_have_an_effect", "QEMU has no caches" },
	},
};

void bare_riscv_trap(uint64_t cause, uint64_t pc, uint64_t value);
void bare_riscv_enter(struct bare_vcpu *vcpu);

void bare_guest_cpu_init(void)
{
	csr_write(VSATP, 0);
	csr_write(HSTATUS, 0);
	csr_set(MENVCFG, MENVCFG_PBMTE);
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

void bare_guest_fini(struct bare_vcpu *vcpu)
{
	(void)vcpu;
}

void bare_guest_run(struct bare_vcpu *vcpu, const struct gmm_stage2_root *root,
		    struct bare_exit *exit)
{
	uint64_t cause, value;

	bare_machine_interrupts(false);
	csr_write(HGATP, root->base);
	csr_clear(mstatus, STATUS_MPP);
	csr_set(mstatus, STATUS_MPV | STATUS_MPP_S | STATUS_MPIE);
	bare_riscv_enter(vcpu);
	cause = csr_read(mcause);
	value = csr_read(mtval);
	*exit = (struct bare_exit){ .kind = BARE_EXIT_OTHER, .cause = cause, .detail = value };
	if (cause & CAUSE_INTERRUPT) {
		exit->kind = BARE_EXIT_KICK;
		bare_riscv_trap(cause, vcpu->pc, value);
	} else if (cause == CAUSE_CALL) {
		exit->kind = BARE_EXIT_CALL;
		vcpu->pc += CALL_BYTES;
	} else if (cause == CAUSE_FETCH || cause == CAUSE_LOAD || cause == CAUSE_STORE) {
		exit->kind = BARE_EXIT_FAULT;
		exit->gpa = csr_read(MTVAL2) << 2 | (value & 3);
		exit->access = cause == CAUSE_FETCH ? GMM_LEAF_EXEC :
			       cause == CAUSE_STORE ? GMM_LEAF_WRITE :
						      GMM_LEAF_READ;
	}
	bare_machine_interrupts(true);
}

void bare_guest_flush(void)
{
	/* hfence.gvma zero, zero */
	__asm__ __volatile__(".insn r 0x73, 0, 0x31, x0, x0, x0" ::: "memory");
}

size_t bare_guest_function(void *code, uint32_t value)
{
	uint32_t *at = code;

	at[0] = value << 20 | 10 << 7 | 0x13; /* addi a0, zero, value */
	at[1] = 0x00008067;		      /* ret */
	__asm__ __volatile__("fence.i" ::: "memory");
	return 8;
}
