/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* uint64_t bare_arm64_enter(struct bare_vcpu *vcpu): to EL1; answers 1 after an interrupt. */
#define REGISTER(n) ((n) * 8)
#define PC (33 * 8)

	.text
	.globl	bare_arm64_enter, bare_arm64_guest_exit, bare_arm64_guest_interrupted
bare_arm64_enter:
	sub	sp, sp, #112
	str	x0, [sp]
	stp	x19, x20, [sp, #16]
	stp	x21, x22, [sp, #32]
	stp	x23, x24, [sp, #48]
	stp	x25, x26, [sp, #64]
	stp	x27, x28, [sp, #80]
	stp	x29, x30, [sp, #96]
	ldr	x1, [x0, #PC]
	msr	elr_el2, x1
	ldr	x1, [x0, #REGISTER(31)]
	msr	sp_el1, x1
	ldp	x2, x3, [x0, #REGISTER(2)]
	ldp	x4, x5, [x0, #REGISTER(4)]
	ldp	x6, x7, [x0, #REGISTER(6)]
	ldp	x8, x9, [x0, #REGISTER(8)]
	ldp	x10, x11, [x0, #REGISTER(10)]
	ldp	x12, x13, [x0, #REGISTER(12)]
	ldp	x14, x15, [x0, #REGISTER(14)]
	ldp	x16, x17, [x0, #REGISTER(16)]
	ldp	x18, x19, [x0, #REGISTER(18)]
	ldp	x20, x21, [x0, #REGISTER(20)]
	ldp	x22, x23, [x0, #REGISTER(22)]
	ldp	x24, x25, [x0, #REGISTER(24)]
	ldp	x26, x27, [x0, #REGISTER(26)]
	ldp	x28, x29, [x0, #REGISTER(28)]
	ldr	x30, [x0, #REGISTER(30)]
	ldr	x1, [x0, #REGISTER(32)]
	msr	spsr_el2, x1
	ldp	x0, x1, [x0, #REGISTER(0)]
	eret

	/* The stack is where enter left it. */
	.macro	leave interrupted
	stp	x0, x1, [sp, #-16]!
	ldr	x0, [sp, #16]
	stp	x2, x3, [x0, #REGISTER(2)]
	stp	x4, x5, [x0, #REGISTER(4)]
	mov	x4, #\interrupted
	b	save
	.endm

bare_arm64_guest_exit:
	leave	0
bare_arm64_guest_interrupted:
	leave	1
save:
	ldp	x2, x3, [sp], #16
	stp	x2, x3, [x0, #REGISTER(0)]
	stp	x6, x7, [x0, #REGISTER(6)]
	stp	x8, x9, [x0, #REGISTER(8)]
	stp	x10, x11, [x0, #REGISTER(10)]
	stp	x12, x13, [x0, #REGISTER(12)]
	stp	x14, x15, [x0, #REGISTER(14)]
	stp	x16, x17, [x0, #REGISTER(16)]
	stp	x18, x19, [x0, #REGISTER(18)]
	stp	x20, x21, [x0, #REGISTER(20)]
	stp	x22, x23, [x0, #REGISTER(22)]
	stp	x24, x25, [x0, #REGISTER(24)]
	stp	x26, x27, [x0, #REGISTER(26)]
	stp	x28, x29, [x0, #REGISTER(28)]
	mrs	x1, sp_el1
	stp	x30, x1, [x0, #REGISTER(30)]
	mrs	x1, spsr_el2
	mrs	x2, elr_el2
	stp	x1, x2, [x0, #REGISTER(32)]
	ldp	x19, x20, [sp, #16]
	ldp	x21, x22, [sp, #32]
	ldp	x23, x24, [sp, #48]
	ldp	x25, x26, [sp, #64]
	ldp	x27, x28, [sp, #80]
	ldp	x29, x30, [sp, #96]
	add	sp, sp, #112
	mov	x0, x4
	ret
