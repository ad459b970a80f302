/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * void bare_loongarch_enter(struct bare_vcpu *vcpu, uint64_t *status): to the guest, which runs at
 * PLV0 with translated addresses, and back at the next exception; and the TLB refill.
 */
#include "csr_numbers.h"

#define REGISTER(n) ((n) * 8)
#define PC (33 * 8)
#define HOST_STACK (34 * 8)

	.text
	.globl	bare_loongarch_enter, bare_loongarch_guest_exit
bare_loongarch_enter:
	addi.d	$sp, $sp, -112
	st.d	$ra, $sp, 0
	st.d	$fp, $sp, 8
	st.d	$s0, $sp, 16
	st.d	$s1, $sp, 24
	st.d	$s2, $sp, 32
	st.d	$s3, $sp, 40
	st.d	$s4, $sp, 48
	st.d	$s5, $sp, 56
	st.d	$s6, $sp, 64
	st.d	$s7, $sp, 72
	st.d	$s8, $sp, 80
	st.d	$r21, $sp, 88
	st.d	$tp, $sp, 96
	st.d	$sp, $a0, HOST_STACK
	move	$t0, $a0
	csrwr	$t0, CSR_SAVE_VCPU
	ld.d	$t0, $a0, PC
	csrwr	$t0, CSR_ERA
	li.w	$t0, 4			/* PLV0, interrupts on */
	csrwr	$t0, CSR_PRMD
	.irp	n, 1,2,3,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	ld.d	$r\n, $a0, REGISTER(\n)
	.endr
	ld.d	$a0, $a0, REGISTER(4)
	ertn

	/* $t0 (r12) is the vCPU, and the guest's is in CSR_SAVE_T0. */
bare_loongarch_guest_exit:
	.irp	n, 1,2,3,4,5,6,7,8,9,10,11,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	st.d	$r\n, $t0, REGISTER(\n)
	.endr
	csrrd	$t1, CSR_SAVE_T0
	st.d	$t1, $t0, REGISTER(12)
	csrrd	$t1, CSR_ERA
	st.d	$t1, $t0, PC
	move	$t1, $zero
	csrwr	$t1, CSR_SAVE_VCPU
	ld.d	$sp, $t0, HOST_STACK
	ld.d	$ra, $sp, 0
	ld.d	$fp, $sp, 8
	ld.d	$s0, $sp, 16
	ld.d	$s1, $sp, 24
	ld.d	$s2, $sp, 32
	ld.d	$s3, $sp, 40
	ld.d	$s4, $sp, 48
	ld.d	$s5, $sp, 56
	ld.d	$s6, $sp, 64
	ld.d	$s7, $sp, 72
	ld.d	$s8, $sp, 80
	ld.d	$r21, $sp, 88
	ld.d	$tp, $sp, 96
	addi.d	$sp, $sp, 112
	ret

	/* Three levels, as Linux numbers them. Runs with physical addresses. */
	.balign	4096
	.globl	bare_loongarch_refill
bare_loongarch_refill:
	csrwr	$t0, CSR_TLBRSAVE
	csrrd	$t0, CSR_PGD
	lddir	$t0, $t0, 3
	lddir	$t0, $t0, 1
	ldpte	$t0, 0
	ldpte	$t0, 1
	tlbfill
	csrrd	$t0, CSR_TLBRSAVE
	ertn
