/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* void bare_riscv_enter(struct bare_vcpu *vcpu): to VS mode, and back at the next trap. */
#define REGISTER(n) ((n) * 8)
#define PC (33 * 8)
#define HOST_STACK (34 * 8)

	.text
	.balign	4
	.globl	bare_riscv_enter
bare_riscv_enter:
	addi	sp, sp, -112
	sd	ra, 0(sp)
	sd	s0, 8(sp)
	sd	s1, 16(sp)
	sd	s2, 24(sp)
	sd	s3, 32(sp)
	sd	s4, 40(sp)
	sd	s5, 48(sp)
	sd	s6, 56(sp)
	sd	s7, 64(sp)
	sd	s8, 72(sp)
	sd	s9, 80(sp)
	sd	s10, 88(sp)
	sd	s11, 96(sp)
	sd	tp, 104(sp)
	sd	sp, HOST_STACK(a0)
	csrw	mscratch, a0
	la	t0, guest_trap
	csrw	mtvec, t0
	ld	t0, PC(a0)
	csrw	mepc, t0
	.irp	n, 1,2,3,4,5,6,7,8,9,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	ld	x\n, REGISTER(\n)(a0)
	.endr
	ld	a0, REGISTER(10)(a0)
	mret

	.balign	4
guest_trap:
	csrrw	a0, mscratch, a0
	.irp	n, 1,2,3,4,5,6,7,8,9,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	sd	x\n, REGISTER(\n)(a0)
	.endr
	csrr	t0, mscratch
	sd	t0, REGISTER(10)(a0)
	csrr	t0, mepc
	sd	t0, PC(a0)
	la	t0, bare_riscv_host_trap
	csrw	mtvec, t0
	ld	sp, HOST_STACK(a0)
	ld	ra, 0(sp)
	ld	s0, 8(sp)
	ld	s1, 16(sp)
	ld	s2, 24(sp)
	ld	s3, 32(sp)
	ld	s4, 40(sp)
	ld	s5, 48(sp)
	ld	s6, 56(sp)
	ld	s7, 64(sp)
	ld	s8, 72(sp)
	ld	s9, 80(sp)
	ld	s10, 88(sp)
	ld	s11, 96(sp)
	ld	tp, 104(sp)
	addi	sp, sp, 112
	ret
