/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* void bare_x86_enter(struct bare_vcpu *vcpu, uint64_t vmcb): interrupts off before and after. */
#define REGISTER(n) ((n) * 8)

	.text
	.globl	bare_x86_enter
bare_x86_enter:
	push	%rbp
	push	%rbx
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	push	%rdi
	mov	%rsi, %rax
	mov	REGISTER(1)(%rdi), %rcx
	mov	REGISTER(2)(%rdi), %rdx
	mov	REGISTER(3)(%rdi), %rbx
	mov	REGISTER(5)(%rdi), %rbp
	mov	REGISTER(6)(%rdi), %rsi
	mov	REGISTER(8)(%rdi), %r8
	mov	REGISTER(9)(%rdi), %r9
	mov	REGISTER(10)(%rdi), %r10
	mov	REGISTER(11)(%rdi), %r11
	mov	REGISTER(12)(%rdi), %r12
	mov	REGISTER(13)(%rdi), %r13
	mov	REGISTER(14)(%rdi), %r14
	mov	REGISTER(15)(%rdi), %r15
	mov	REGISTER(7)(%rdi), %rdi
	clgi				/* an interrupt now waits for the guest and takes it out */
	sti
	vmrun	%rax
	cli
	xchg	%rdi, (%rsp)
	mov	%rcx, REGISTER(1)(%rdi)
	mov	%rdx, REGISTER(2)(%rdi)
	mov	%rbx, REGISTER(3)(%rdi)
	mov	%rbp, REGISTER(5)(%rdi)
	mov	%rsi, REGISTER(6)(%rdi)
	mov	%r8, REGISTER(8)(%rdi)
	mov	%r9, REGISTER(9)(%rdi)
	mov	%r10, REGISTER(10)(%rdi)
	mov	%r11, REGISTER(11)(%rdi)
	mov	%r12, REGISTER(12)(%rdi)
	mov	%r13, REGISTER(13)(%rdi)
	mov	%r14, REGISTER(14)(%rdi)
	mov	%r15, REGISTER(15)(%rdi)
	pop	%rax
	mov	%rax, REGISTER(7)(%rdi)
	stgi
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbx
	pop	%rbp
	ret
