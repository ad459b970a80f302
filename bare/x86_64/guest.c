/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A guest in long mode under SVM with nested paging; its own tables map guest physical addresses to
 * themselves. VMRUN and #VMEXIT leave FS, GS and TR to the host, which are not the guest's business.
 */
#include "guest.h"

#include <gmm_port/alloc.h>

#include "cpu.h"
#include "cpus.h"
#include "machine.h"
#include "svm.h"

#define REGISTER_ARGUMENT 7u
#define GPA_BITS 40u	    /* of this processor */
#define GUEST_ENTRY 0x83ull /* present, writable, large: 1 GiB */
#define GUEST_LINK 0x3ull
#define PAGE_BYTES 4096u
#define ENTRIES 512u
#define IOPM_BYTES 12288u
#define MSRPM_BYTES 8192u
#define EFER_SVME (1ull << 12)
#define EFER_LONG 0xd00ull /* LME, LMA, NXE */
#define CR0_LONG 0x80010011ull
#define CR4_PAE 0x20ull
#define CODE_ATTRIBUTES 0xa9bu
#define DATA_ATTRIBUTES 0xc93u
#define CALL_BYTES 3u

void bare_x86_enter(struct bare_vcpu *vcpu, uint64_t vmcb);

const struct bare_guest_machine bare_guest_machine = {
	.name = "x86_64",
	.formats = { { "npt", GMM_STAGE2_NPT, 0, 48, GPA_BITS } },
	.skips = {
		{ "a_forgotten_flush_is_seen_after_the_next_entry",
		  "QEMU flushes at VMRUN and #VMEXIT, whatever TLB_CONTROL and ASID are" },
		{ "tables_of_ept", "QEMU without KVM has no VMX" },
		{ "memory_types_have_an_effect", "QEMU has no caches" },
	},
};

static uint8_t host_save[BARE_CPUS_MAX][PAGE_BYTES] __attribute__((aligned(4096)));
static uint8_t iopm[IOPM_BYTES] __attribute__((aligned(4096)));
static uint8_t msrpm[MSRPM_BYTES] __attribute__((aligned(4096)));
static uint32_t flush_next[BARE_CPUS_MAX]; /* a CPU's own */

void bare_guest_cpu_init(void)
{
	msr_write(MSR_EFER, msr_read(MSR_EFER) | EFER_SVME);
	msr_write(MSR_VM_HSAVE_PA, (uintptr_t)host_save[bare_machine_cpu()]);
}

/* A root, and a directory for each half of 2^40: 1 GiB pages, address for address. */
void bare_guest_memory(void *memory)
{
	uint64_t *root = memory, *directories = root + ENTRIES;
	uint64_t i;

	root[0] = (GUEST_MACHINE + PAGE_BYTES) | GUEST_LINK;
	root[1] = (GUEST_MACHINE + 2 * PAGE_BYTES) | GUEST_LINK;
	for (i = 0; i < 2 * ENTRIES; i++)
		directories[i] = i << 30 | GUEST_ENTRY;
}

static void set_intercept(struct vmcb *vmcb, uint32_t bit)
{
	vmcb->intercepts[bit / 32] |= 1u << (bit % 32);
}

bool bare_guest_init(struct bare_vcpu *vcpu, uint64_t entry, uint64_t stack, uint64_t argument)
{
	struct vmcb_segment data = { 0x10, DATA_ATTRIBUTES, ~0u, 0 };
	struct vmcb *vmcb = bare_pages_alloc(sizeof(*vmcb), sizeof(*vmcb));

	if (!vmcb)
		return false;
	*vcpu = (struct bare_vcpu){ .pc = entry, .machine = vmcb };
	vcpu->registers[REGISTER_ARGUMENT] = argument;
	vmcb->intercepts[VMCB_EXCEPTIONS] = ~0u;
	set_intercept(vmcb, VMCB_INTERCEPT_INTR);
	set_intercept(vmcb, VMCB_INTERCEPT_NMI);
	set_intercept(vmcb, VMCB_INTERCEPT_HLT);
	set_intercept(vmcb, VMCB_INTERCEPT_SHUTDOWN);
	set_intercept(vmcb, VMCB_INTERCEPT_VMRUN);
	set_intercept(vmcb, VMCB_INTERCEPT_VMMCALL);
	vmcb->iopm = (uintptr_t)iopm;
	vmcb->msrpm = (uintptr_t)msrpm;
	vmcb->asid = 1;
	vmcb->interrupt_control = VMCB_V_INTR_MASKING;
	vmcb->nested_control = VMCB_NESTED_PAGING;
	vmcb->cs = (struct vmcb_segment){ 0x08, CODE_ATTRIBUTES, ~0u, 0 };
	vmcb->ds = vmcb->es = vmcb->ss = vmcb->fs = vmcb->gs = data;
	vmcb->efer = EFER_SVME | EFER_LONG;
	vmcb->cr0 = CR0_LONG;
	vmcb->cr3 = GUEST_MACHINE;
	vmcb->cr4 = CR4_PAE;
	vmcb->dr6 = 0xffff0ff0;
	vmcb->dr7 = 0x400;
	vmcb->rflags = 2;
	vmcb->rsp = stack - sizeof(uint64_t); /* as after a call */
	vmcb->g_pat = 0x0007040600070406;
	return true;
}

void bare_guest_fini(struct bare_vcpu *vcpu)
{
	bare_pages_free(vcpu->machine, sizeof(struct vmcb));
}

static void read_fault(const struct vmcb *vmcb, struct bare_exit *exit)
{
	exit->kind = BARE_EXIT_FAULT;
	exit->gpa = vmcb->exit_info_2;
	if (vmcb->exit_info_1 & NPF_FETCH)
		exit->access = GMM_LEAF_EXEC;
	else
		exit->access = vmcb->exit_info_1 & NPF_WRITE ? GMM_LEAF_WRITE : GMM_LEAF_READ;
}

void bare_guest_run(struct bare_vcpu *vcpu, const struct gmm_stage2_root *root,
		    struct bare_exit *exit)
{
	struct vmcb *vmcb = vcpu->machine;
	uint32_t *flush = &flush_next[bare_machine_cpu()];

	bare_machine_interrupts(false);
	vmcb->nested_cr3 = root->base;
	vmcb->tlb_control = *flush ? VMCB_FLUSH_ALL : 0;
	*flush = 0;
	vmcb->rip = vcpu->pc;
	bare_x86_enter(vcpu, (uintptr_t)vmcb);
	vcpu->pc = vmcb->rip;
	*exit = (struct bare_exit){
		.kind = BARE_EXIT_OTHER,
		.cause = vmcb->exit_code,
		.detail = vmcb->exit_info_1,
	};
	switch ((uint32_t)vmcb->exit_code) {
	case VMEXIT_INTR:
		exit->kind = BARE_EXIT_KICK;
		break;
	case VMEXIT_VMMCALL:
		exit->kind = BARE_EXIT_CALL;
		vcpu->pc += CALL_BYTES;
		break;
	case VMEXIT_NPF:
		read_fault(vmcb, exit);
	}
	/* What took the guest out is seen to here. */
	bare_machine_interrupts(true);
}

/* The next entry flushes. QEMU flushes at each: a flush that is forgotten shows while it runs only. */
void bare_guest_flush(void)
{
	flush_next[bare_machine_cpu()] = 1;
}

size_t bare_guest_function(void *code, uint32_t value)
{
	static const uint8_t instructions[] = { 0xb8, 0, 0, 0, 0, 0xc3 }; /* mov eax, value; ret */

	gmm_memcpy(code, instructions, sizeof(instructions));
	gmm_memcpy((uint8_t *)code + 1, &value, sizeof(value));
	return sizeof(instructions);
}
