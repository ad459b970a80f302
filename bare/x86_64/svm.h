/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* AMD64 Architecture Programmer's Manual, volume 2, appendix B: the fields that are used here. */
#ifndef GMM_BARE_X86_64_SVM_H
#define GMM_BARE_X86_64_SVM_H

#include <gmm_port/compiler.h>
#include <gmm_port/types.h>

struct vmcb_segment {
	uint16_t selector;
	uint16_t attributes;
	uint32_t limit;
	uint64_t base;
};

struct vmcb {
	uint32_t intercepts[6]; /* a bit each: see VMCB_INTERCEPT() */
	uint8_t unused_018[0x40 - 0x18];
	uint64_t iopm;
	uint64_t msrpm;
	uint64_t tsc_offset;
	uint32_t asid;
	uint8_t tlb_control;
	uint8_t unused_05d[3];
	uint64_t interrupt_control;
	uint64_t interrupt_shadow;
	uint64_t exit_code;
	uint64_t exit_info_1;
	uint64_t exit_info_2;
	uint64_t exit_interrupt_info;
	uint64_t nested_control;
	uint8_t unused_098[0xb0 - 0x98];
	uint64_t nested_cr3;
	uint8_t unused_0b8[0x400 - 0xb8];
	struct vmcb_segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
	uint8_t unused_4a0[0x4cb - 0x4a0];
	uint8_t cpl;
	uint32_t unused_4cc;
	uint64_t efer;
	uint8_t unused_4d8[0x548 - 0x4d8];
	uint64_t cr4;
	uint64_t cr3;
	uint64_t cr0;
	uint64_t dr7;
	uint64_t dr6;
	uint64_t rflags;
	uint64_t rip;
	uint8_t unused_580[0x5d8 - 0x580];
	uint64_t rsp;
	uint8_t unused_5e0[0x5f8 - 0x5e0];
	uint64_t rax;
	uint8_t unused_600[0x668 - 0x600];
	uint64_t g_pat;
	uint8_t unused_670[0x1000 - 0x670];
};

GMM_STATIC_ASSERT(offsetof(struct vmcb, nested_cr3) == 0xb0, "control area");
GMM_STATIC_ASSERT(offsetof(struct vmcb, idtr) == 0x480, "segments");
GMM_STATIC_ASSERT(offsetof(struct vmcb, cr4) == 0x548, "state");
GMM_STATIC_ASSERT(offsetof(struct vmcb, rax) == 0x5f8, "state");
GMM_STATIC_ASSERT(sizeof(struct vmcb) == 4096, "a page");

/* Intercepts by number of their bit from offset 0 on; an exit has code 0x60 for bit 96, and so on. */
#define VMCB_EXCEPTIONS 2u /* word */
#define VMCB_INTERCEPT_INTR 96u
#define VMCB_INTERCEPT_NMI 97u
#define VMCB_INTERCEPT_HLT 120u
#define VMCB_INTERCEPT_SHUTDOWN 127u
#define VMCB_INTERCEPT_VMRUN 128u
#define VMCB_INTERCEPT_VMMCALL 129u

#define VMEXIT_INTR 0x60u
#define VMEXIT_VMMCALL 0x81u
#define VMEXIT_NPF 0x400u

#define VMCB_V_INTR_MASKING (1u << 24)
#define VMCB_NESTED_PAGING 1u
#define VMCB_FLUSH_ALL 1u

/* In exit_info_1 of a nested page fault. */
#define NPF_PRESENT 1u
#define NPF_WRITE 2u
#define NPF_FETCH 16u

#endif
