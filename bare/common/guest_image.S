/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
	.section .rodata.guest, "a"
	.globl	bare_guest_image, bare_guest_image_end
	.balign	16
bare_guest_image:
	.incbin	"guest.bin"
bare_guest_image_end:
