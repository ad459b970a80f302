/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * QEMU finds the 32-bit entry in a note (PVH). CPU 0 starts there, the others in a copy of
 * `trampoline` below 1 MiB; all go to long mode with the first 4 GiB mapped address for address.
 */
#define STACK_SHIFT 16
#define APIC_ID 0xfee00020
#define TRAMPOLINE 0x8000
#define CODE64 0x08
#define DATA 0x10
#define CODE32 0x18
#define EFER 0xc0000080
#define GS_BASE 0xc0000101

	.section .note.entry, "a", @note
	.long	4, 4, 18		/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz	"Xen"
	.long	_start

	.section .text.start, "ax"
	.code32
	.globl _start
_start:
	cli
	lgdt	gdt_pointer
	ljmp	$CODE32, $start32
start32:
	mov	$DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	%eax, %fs
	mov	%eax, %gs
	mov	%cr4, %eax
	or	$0x20, %eax		/* PAE */
	mov	%eax, %cr4
	mov	$page_map, %eax
	mov	%eax, %cr3
	mov	$EFER, %ecx
	rdmsr
	or	$0x900, %eax		/* LME, NXE */
	wrmsr
	mov	%cr0, %eax
	and	$0x9fffffff, %eax	/* caches on */
	or	$0x80010001, %eax	/* PG, WP, PE */
	mov	%eax, %cr0
	ljmp	$CODE64, $start64

	.code64
start64:
	mov	$APIC_ID, %eax
	mov	(%rax), %eax
	shr	$24, %eax
	mov	%eax, %ebx
	mov	%eax, %ecx
	inc	%ecx
	shl	$STACK_SHIFT, %ecx
	lea	stacks(%rcx), %rsp
	/* GS holds the number of the CPU; guests leave it alone. */
	lea	cpu_numbers(,%rbx,8), %rax
	mov	%rbx, (%rax)
	mov	$GS_BASE, %ecx
	xor	%edx, %edx
	wrmsr
	lidt	bare_x86_idt_pointer
	test	%ebx, %ebx
	jnz	1f
	call	bare_start
1:	call	bare_start_other

	.globl bare_x86_trampoline, bare_x86_trampoline_end
	.code16
bare_x86_trampoline:
	cli
	mov	%cs, %ax
	mov	%ax, %ds
	lgdtl	gdt_pointer16 - bare_x86_trampoline
	mov	%cr0, %eax
	or	$1, %eax
	mov	%eax, %cr0
	ljmpl	$CODE32, $start32
	.balign	4
gdt_pointer16:
	.word	31
	.long	gdt
bare_x86_trampoline_end:

	.code64
	.section .rodata.start, "a"
	.balign	8
gdt:
	.quad	0
	.quad	0x00af9b000000ffff	/* 64-bit code */
	.quad	0x00cf93000000ffff	/* data */
	.quad	0x00cf9b000000ffff	/* 32-bit code */
gdt_pointer:
	.word	31
	.long	gdt

	.section .data.start, "aw"
	.balign	4096
page_map:
	.quad	page_directories + 3
	.fill	511, 8, 0
page_directories:			/* 1 GiB each; the last one has the devices: uncached */
	.quad	0x00000083
	.quad	0x40000083
	.quad	0x80000083
	.quad	0xc000009b
	.fill	508, 8, 0

	.text
	.macro	stub number, has_code
	.balign	16
	.if	!\has_code
	push	$0
	.endif
	push	$\number
	jmp	common
	.endm

	.balign	16
	.globl bare_x86_vectors
bare_x86_vectors:			/* of 0 to 47, 16 bytes each */
	.altmacro
	.set	vector, 0
	.rept	48
	.if	vector == 8 || (vector >= 10 && vector <= 14) || vector == 17
	stub	%vector, 1
	.else
	stub	%vector, 0
	.endif
	.set	vector, vector + 1
	.endr
	.noaltmacro

common:
	push	%rax
	push	%rcx
	push	%rdx
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	mov	72(%rsp), %rdi		/* vector */
	mov	80(%rsp), %rsi		/* error code */
	mov	88(%rsp), %rdx		/* where */
	cld
	call	bare_x86_trap
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%rcx
	pop	%rax
	add	$16, %rsp
	iretq

	.bss
	.balign	16
stacks:	.space	BARE_CPUS << STACK_SHIFT
cpu_numbers:
	.space	BARE_CPUS * 8
