/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A vCPU of accel/kvm that runs a few instructions of the test's, at CPL 3 in long mode, with the
 * engine and its slots. Addresses below 2 GiB are what they are; the code finds CODE_ARGUMENTS words
 * at (%rdi), ends a round with CODE_END, and starts again when it is run again.
 */
#ifndef TESTS_ACCEL_CODE_GUEST_H
#define TESTS_ACCEL_CODE_GUEST_H

#include <guestmm/guest.h>
#include <guestmm/linux/memory.h>
#include <guestmm/linux/userfault.h>

#include "accel/accel.h"

#include "guest/abi.h"

#define CODE_PAGE 4096u
/* The slot with the code; what is below it is the test's. */
#define CODE_GPA (1ull << 30)
#define CODE_GPA_BYTES (2ull << 30)
#define CODE_SLOT 1u
#define CODE_ARGUMENTS 512u

/*
 * Instructions as NAME_code and NAME_code_end. %dx and %al are lost at the end; %rdi must be what it
 * was at the start.
 */
#define CODE(name, text)                                                                \
	extern const uint8_t name##_code[], name##_code_end[];                          \
	__asm__(".pushsection .rodata\n" #name "_code:\n1:\n" text "mov $0x5e0, %edx\n" \
		"mov $5, %al\n"                                                         \
		"out %al, %dx\n"                                                        \
		"jmp 1b\n" #name "_code_end:\n"                                         \
		".popsection\n")

struct code_guest {
	/* Given. */
	const uint8_t *code, *code_end;
	enum gmm_accel_dirty dirty;
	bool lazy;		  /* there is a userfaultfd */
	uint64_t restart, commit; /* offsets in the code, of the use of a frame */

	struct gmm_userfault *userfault;
	struct gmm_accel *accel;
	struct gmm_accel_stage2 stage2;
	struct gmm_guest *guest;
	struct gmm_memory *program;
	uint64_t *arguments;
	struct guest_mailbox mailbox;
	struct gmm_accel_vcpu *vcpu;
	struct gmm_accel_exit exit;
};

/* Skips the test where KVM is not usable. */
void code_guest_open(struct code_guest *guest);
/* The test's slots are gone. */
void code_guest_close(struct code_guest *guest);
/* Runs to the next exit. True: it was the end of a round. */
bool code_guest_run(struct code_guest *guest);

#endif
