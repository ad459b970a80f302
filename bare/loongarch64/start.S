/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* All CPUs start here with physical addresses; CPU 0 goes on, the others wait to be let go. */
#include "csr_numbers.h"

#define STACK_SHIFT 16

	.section .text.start, "ax"
	.globl _start
_start:
	li.d	$t0, 0x9000000000000011	/* cached window, for PLV0 */
	csrwr	$t0, CSR_DMW1
	li.d	$t0, 0x8000000000000001	/* uncached window */
	csrwr	$t0, CSR_DMW0
	la.pcrel $t0, 1f
	li.d	$t1, 0x9000000000000000
	or	$t0, $t0, $t1
	jirl	$zero, $t0, 0
1:	li.w	$t0, 0xb0		/* translated addresses, with windows; PLV0, no interrupts */
	csrwr	$t0, CSR_CRMD
	csrrd	$t0, CSR_CPUID
	andi	$t0, $t0, 0x1ff
	csrwr	$t0, CSR_SAVE_CPU
	csrrd	$t0, CSR_SAVE_CPU
	move	$t1, $zero
	csrwr	$t1, CSR_SAVE_VCPU
	la.pcrel $sp, stacks
	addi.d	$t1, $t0, 1
	slli.d	$t1, $t1, STACK_SHIFT
	add.d	$sp, $sp, $t1
	bnez	$t0, 2f
	bl	bare_start
2:	la.pcrel $t1, bare_loongarch_go
	ld.w	$t1, $t1, 0
	beqz	$t1, 2b
	dbar	0
	bl	bare_start_other

	.text
	.balign	4096
	.globl bare_loongarch_exception
	/* Of the hypervisor itself, and where exits out of a guest begin. */
bare_loongarch_exception:
	csrwr	$t0, CSR_SAVE_T0
	csrrd	$t0, CSR_SAVE_VCPU
	bnez	$t0, bare_loongarch_guest_exit
	csrrd	$t0, CSR_SAVE_T0
	addi.d	$sp, $sp, -160
	st.d	$ra, $sp, 0
	st.d	$a0, $sp, 8
	st.d	$a1, $sp, 16
	st.d	$a2, $sp, 24
	st.d	$a3, $sp, 32
	st.d	$a4, $sp, 40
	st.d	$a5, $sp, 48
	st.d	$a6, $sp, 56
	st.d	$a7, $sp, 64
	st.d	$t0, $sp, 72
	st.d	$t1, $sp, 80
	st.d	$t2, $sp, 88
	st.d	$t3, $sp, 96
	st.d	$t4, $sp, 104
	st.d	$t5, $sp, 112
	st.d	$t6, $sp, 120
	st.d	$t7, $sp, 128
	st.d	$t8, $sp, 136
	csrrd	$a0, CSR_ESTAT
	csrrd	$a1, CSR_ERA
	csrrd	$a2, CSR_BADV
	bl	bare_loongarch_trap
	ld.d	$ra, $sp, 0
	ld.d	$a0, $sp, 8
	ld.d	$a1, $sp, 16
	ld.d	$a2, $sp, 24
	ld.d	$a3, $sp, 32
	ld.d	$a4, $sp, 40
	ld.d	$a5, $sp, 48
	ld.d	$a6, $sp, 56
	ld.d	$a7, $sp, 64
	ld.d	$t0, $sp, 72
	ld.d	$t1, $sp, 80
	ld.d	$t2, $sp, 88
	ld.d	$t3, $sp, 96
	ld.d	$t4, $sp, 104
	ld.d	$t5, $sp, 112
	ld.d	$t6, $sp, 120
	ld.d	$t7, $sp, 128
	ld.d	$t8, $sp, 136
	addi.d	$sp, $sp, 160
	ertn

	.bss
	.balign	16
stacks:	.space	BARE_CPUS << STACK_SHIFT
