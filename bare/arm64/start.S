/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* CPU 0 starts here at EL2 with its MMU off; the others come by way of bare_arm64_other. */
#define STACK_SHIFT 16

	.section .text.start, "ax"
	.globl _start
_start:
	mov	x19, #0
	bl	set_up
	bl	bare_start
	.globl bare_arm64_other
bare_arm64_other:			/* x0: number of the CPU */
	mov	x19, x0
	bl	set_up
	bl	bare_start_other

set_up:
	msr	tpidr_el2, x19
	adrp	x1, stacks
	add	x1, x1, :lo12:stacks
	add	x2, x19, #1
	add	x1, x1, x2, lsl #STACK_SHIFT
	mov	sp, x1
	adrp	x1, vectors
	add	x1, x1, :lo12:vectors
	msr	vbar_el2, x1
	isb
	ret

	.text
	.macro	entry target
	.balign	128
	b	\target
	.endm

	.balign	2048
vectors:
	.rept	4			/* on the stack of EL0: never used */
	entry	odd
	.endr
	entry	odd			/* at EL2: synchronous, IRQ, FIQ, error */
	entry	host_interrupt
	entry	odd
	entry	odd
	entry	bare_arm64_guest_exit
	entry	bare_arm64_guest_interrupted
	entry	odd
	entry	odd
	.rept	4			/* guests are never in AArch32 */
	entry	odd
	.endr

odd:
	mrs	x0, esr_el2
	mrs	x1, elr_el2
	mrs	x2, far_el2
	bl	bare_arm64_odd

host_interrupt:
	sub	sp, sp, #192
	stp	x0, x1, [sp]
	stp	x2, x3, [sp, #16]
	stp	x4, x5, [sp, #32]
	stp	x6, x7, [sp, #48]
	stp	x8, x9, [sp, #64]
	stp	x10, x11, [sp, #80]
	stp	x12, x13, [sp, #96]
	stp	x14, x15, [sp, #112]
	stp	x16, x17, [sp, #128]
	stp	x18, x29, [sp, #144]
	mrs	x1, elr_el2
	mrs	x2, spsr_el2
	stp	x30, x1, [sp, #160]
	str	x2, [sp, #176]
	bl	bare_arm64_interrupt
	ldp	x30, x1, [sp, #160]
	ldr	x2, [sp, #176]
	msr	elr_el2, x1
	msr	spsr_el2, x2
	ldp	x18, x29, [sp, #144]
	ldp	x16, x17, [sp, #128]
	ldp	x14, x15, [sp, #112]
	ldp	x12, x13, [sp, #96]
	ldp	x10, x11, [sp, #80]
	ldp	x8, x9, [sp, #64]
	ldp	x6, x7, [sp, #48]
	ldp	x4, x5, [sp, #32]
	ldp	x2, x3, [sp, #16]
	ldp	x0, x1, [sp]
	add	sp, sp, #192
	eret

	.bss
	.balign	16
stacks:	.space	BARE_CPUS << STACK_SHIFT
