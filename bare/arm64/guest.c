/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* A guest at EL1 with its own translation off, so its addresses are guest physical ones. */
#include "guest.h"

#include "machine.h"
#include "sysreg.h"

#define REGISTER_STACK 31u
#define REGISTER_STATE 32u
#define STATE_EL1_MASKED 0x3c5u /* EL1 with its own stack; all of its interrupts masked */
#define SCTLR_EL1_OFF 0x30d00800u
#define HCR_VM (1ull << 0)
#define HCR_IMO (1ull << 4)
#define HCR_RW (1ull << 31)
/* RES1, 40-bit physical addresses, walks inner shareable and write-back. */
#define VTCR_MACHINE (1ull << 31 | 2ull << 16 | 3ull << 12 | 1ull << 10 | 1ull << 8)
#define SYNDROME_CLASS 26
#define CLASS_CALL 0x16u
#define CLASS_FETCH 0x20u
#define CLASS_DATA 0x24u
#define SYNDROME_WRITE (1u << 6)
#define SYNDROME_STAGE1_WALK (1u << 7)

void bare_arm64_interrupt(void);
uint64_t bare_arm64_enter(struct bare_vcpu *vcpu);

const struct bare_guest_machine bare_guest_machine = {
	.name = "arm64",
	.formats = {
		{ "4k", GMM_STAGE2_ARM64_4K, GMM_STAGE2_HARDWARE_DIRTY, 40, 40 },
		{ "4k, software dirty", GMM_STAGE2_ARM64_4K, 0, 40, 40 },
		{ "64k", GMM_STAGE2_ARM64_64K, GMM_STAGE2_HARDWARE_DIRTY, 40, 40 },
		{ "16k", GMM_STAGE2_ARM64_16K, GMM_STAGE2_HARDWARE_DIRTY, 40, 40 },
	},
	.skips = {
		{ "a_change_without_break_before_make_is_noticed", "QEMU does not notice" },
		{ "memory_types_have_an_effect", "QEMU has no caches" },
	},
	.flush_reaches_all = true,
};

void bare_guest_cpu_init(void)
{
	sysreg_write(hcr_el2, HCR_RW | HCR_IMO | HCR_VM);
	sysreg_write(sctlr_el1, SCTLR_EL1_OFF);
}

void bare_guest_memory(void *memory)
{
	(void)memory;
}

bool bare_guest_init(struct bare_vcpu *vcpu, uint64_t entry, uint64_t stack, uint64_t argument)
{
	*vcpu = (struct bare_vcpu){ .pc = entry };
	vcpu->registers[0] = argument;
	vcpu->registers[REGISTER_STACK] = stack;
	vcpu->registers[REGISTER_STATE] = STATE_EL1_MASKED;
	return true;
}

static void read_fault(uint64_t syndrome, bool fetch, struct bare_exit *exit)
{
	exit->kind = BARE_EXIT_FAULT;
	exit->gpa = sysreg_read(hpfar_el2) >> 4 << 12 | (sysreg_read(far_el2) & 0xfff);
	if (fetch)
		exit->access = GMM_LEAF_EXEC;
	else
		exit->access = syndrome & SYNDROME_WRITE ? GMM_LEAF_WRITE : GMM_LEAF_READ;
}

void bare_guest_fini(struct bare_vcpu *vcpu)
{
	(void)vcpu;
}

void bare_guest_run(struct bare_vcpu *vcpu, const struct gmm_stage2_root *root,
		    struct bare_exit *exit)
{
	uint64_t syndrome, interrupted;
	uint32_t class;

	bare_machine_interrupts(false);
	sysreg_write(vtcr_el2, VTCR_MACHINE | root->control);
	sysreg_write(vttbr_el2, root->base);
	interrupted = bare_arm64_enter(vcpu);
	syndrome = sysreg_read(esr_el2);
	class = (uint32_t)(syndrome >> SYNDROME_CLASS);
	*exit = (struct bare_exit){ .kind = BARE_EXIT_OTHER, .cause = syndrome };
	exit->detail = sysreg_read(far_el2);
	if (interrupted) {
		exit->kind = BARE_EXIT_KICK;
		bare_arm64_interrupt();
	} else if (class == CLASS_CALL) {
		exit->kind = BARE_EXIT_CALL;
	} else if ((class == CLASS_FETCH || class == CLASS_DATA) &&
		   !(syndrome & SYNDROME_STAGE1_WALK)) {
		read_fault(syndrome, class == CLASS_FETCH, exit);
	}
	bare_machine_interrupts(true);
}

void bare_guest_flush(void)
{
	__asm__ __volatile__("dsb ish\n\ttlbi vmalls12e1is\n\tdsb ish\n\tisb" ::: "memory");
}

size_t bare_guest_function(void *code, uint32_t value)
{
	uint32_t *at = code;

	at[0] = 0xd2800000 | value << 5; /* mov x0, #value */
	at[1] = 0xd65f03c0;		 /* ret */
	__asm__ __volatile__("dsb ish\n\tic ialluis\n\tdsb ish\n\tisb" ::: "memory");
	return 8;
}
