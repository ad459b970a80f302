/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Start of the flat binary under KVM: the image's head (struct guest_image), the loop around
 * guest_step, and the one access that must not be torn apart by a change of the frame number.
 */
#include "entry.h"

	.section .head, "ax"
image:
	.quad GUEST_IMAGE_MAGIC_VALUE
	.long entry - image
	.long frame_restart - image
	.long frame_commit - image
	.long guest_image_bytes

	.text
/* rdi: struct guest_cpu; rsp: a multiple of 16. */
	.type entry, @function
entry:
	mov	%rdi, %rbx
1:	mov	%rbx, %rdi
	call	guest_step
	test	%eax, %eax
	jz	1b
	mov	$GUEST_EXIT_PORT_VALUE, %edx
	out	%al, %dx
	jmp	1b
	.size entry, . - entry

/*
 * uint64_t guest_frame_increment(const uint64_t *frame_number, uint64_t counter_of_frame_0)
 * Adds one to the counter of the frame and returns what it was. The store is the commit: a vCPU
 * that is outside guest mode from frame_restart up to it starts again when the frame number
 * changes.
 */
	.globl	guest_frame_increment
	.type guest_frame_increment, @function
guest_frame_increment:
frame_restart:
	mov	(%rdi), %rcx
	shl	$GUEST_PAGE_SHIFT_VALUE, %rcx
	mov	(%rsi, %rcx), %rax
	lea	1(%rax), %rdx
	mov	%rdx, (%rsi, %rcx)
frame_commit:
	ret
	.size guest_frame_increment, . - guest_frame_increment

	.section .note.GNU-stack, "", @progbits
