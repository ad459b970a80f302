/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* All harts start here in M mode; hart 0 goes on, the others wait for an interrupt. */
#define STACK_SHIFT 16

	.section .text.start, "ax"
	.globl _start
_start:
	csrr	tp, mhartid
	li	t0, BARE_CPUS
	bgeu	tp, t0, park
	la	sp, stacks
	addi	t0, tp, 1
	slli	t0, t0, STACK_SHIFT
	add	sp, sp, t0
	la	t0, bare_riscv_host_trap
	csrw	mtvec, t0
	li	t0, 1 << 3		/* MIE.MSIE */
	csrw	mie, t0
	bnez	tp, 1f
	call	bare_start
1:	wfi
	csrr	t0, mip
	andi	t0, t0, 1 << 3
	beqz	t0, 1b
	call	bare_start_other
park:	wfi
	j	park

	.text
	.balign	4
	.globl	bare_riscv_host_trap
	/* A trap of the hypervisor itself. */
bare_riscv_host_trap:
	addi	sp, sp, -144
	sd	ra, 0(sp)
	sd	t0, 8(sp)
	sd	t1, 16(sp)
	sd	t2, 24(sp)
	sd	t3, 32(sp)
	sd	t4, 40(sp)
	sd	t5, 48(sp)
	sd	t6, 56(sp)
	sd	a0, 64(sp)
	sd	a1, 72(sp)
	sd	a2, 80(sp)
	sd	a3, 88(sp)
	sd	a4, 96(sp)
	sd	a5, 104(sp)
	sd	a6, 112(sp)
	sd	a7, 120(sp)
	csrr	a0, mcause
	csrr	a1, mepc
	csrr	a2, mtval
	call	bare_riscv_trap
	ld	ra, 0(sp)
	ld	t0, 8(sp)
	ld	t1, 16(sp)
	ld	t2, 24(sp)
	ld	t3, 32(sp)
	ld	t4, 40(sp)
	ld	t5, 48(sp)
	ld	t6, 56(sp)
	ld	a0, 64(sp)
	ld	a1, 72(sp)
	ld	a2, 80(sp)
	ld	a3, 88(sp)
	ld	a4, 96(sp)
	ld	a5, 104(sp)
	ld	a6, 112(sp)
	ld	a7, 120(sp)
	addi	sp, sp, 144
	mret

	.bss
	.balign	16
stacks:	.space	BARE_CPUS << STACK_SHIFT
