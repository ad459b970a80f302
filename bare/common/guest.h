/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A vCPU as a machine runs it: what the hypervisor in common/ needs from bare/<machine>/. A guest
 * is the program of guest_program.c, linked at GUEST_PROGRAM, at guest physical addresses.
 */
#ifndef GMM_BARE_GUEST_H
#define GMM_BARE_GUEST_H

#include <guestmm/stage2_table.h>

#define GUEST_PROGRAM 0x100000ull
#define GUEST_PROGRAM_BYTES 0x10000ull
#define GUEST_MACHINE 0x200000ull /* what bare_guest_memory() fills */
#define GUEST_MACHINE_BYTES 0x10000ull
#define GUEST_BOX 0x300000ull /* of vCPU 0; each has a struct guest_box, with a stack above it */
#define GUEST_BOX_BYTES 0x20000ull

#define GUEST_REGISTERS 33u

struct bare_vcpu {
	uint64_t registers[GUEST_REGISTERS]; /* as the machine numbers them */
	uint64_t pc;
	uint64_t host_stack; /* while it runs */
	void *machine;
};

enum bare_exit_kind {
	BARE_EXIT_CALL,	 /* the guest has called */
	BARE_EXIT_FAULT, /* its second stage did not let it */
	BARE_EXIT_KICK,	 /* somebody has interrupted this CPU */
	BARE_EXIT_OTHER, /* what the guest must not do */
};

struct bare_exit {
	enum bare_exit_kind kind;
	uint64_t gpa;	 /* FAULT: the address */
	uint32_t access; /* FAULT: GMM_LEAF_READ, _WRITE or _EXEC */
	uint64_t cause;	 /* in the machine's words, for messages */
	uint64_t detail;
};

/* Once, on each CPU that will run guests. */
void bare_guest_cpu_init(void);
/* Fills what the guest's machine needs in guest memory, GUEST_MACHINE_BYTES from GUEST_MACHINE on. */
void bare_guest_memory(void *memory);
/* It starts at `entry` with its stack and its first argument set. False: no memory. */
bool bare_guest_init(struct bare_vcpu *vcpu, uint64_t entry, uint64_t stack, uint64_t argument);
/* Gives back what init took. It does not run any more. */
void bare_guest_fini(struct bare_vcpu *vcpu);
/*
 * Runs the vCPU on this CPU until it exits, with this second stage. After a FAULT it is where it
 * was, and tries again.
 */
void bare_guest_run(struct bare_vcpu *vcpu, const struct gmm_stage2_root *root,
		    struct bare_exit *exit);
/* This CPU forgets every translation of second stages; all CPUs do where the machine says so. */
void bare_guest_flush(void);

/* A second stage that the machine can walk. */
struct bare_guest_format {
	const char *name;
	uint32_t format; /* enum gmm_stage2_format */
	uint32_t flags;	 /* of the table's configuration */
	uint32_t gpa_bits;
	uint32_t reach_bits; /* of addresses that a guest can form; no more than gpa_bits */
};

/* What cannot be tried on the machine as QEMU has it: printed as skipped. */
struct bare_guest_skip {
	const char *what;
	const char *why;
};

#define BARE_GUEST_FORMATS 4u
#define BARE_GUEST_SKIPS 3u

/* The machine. */
struct bare_guest_machine {
	const char *name;
	struct bare_guest_format formats[BARE_GUEST_FORMATS]; /* those with a name */
	struct bare_guest_skip skips[BARE_GUEST_SKIPS];	      /* those with a text */
	uint64_t physical_offset;  /* physical addresses minus pointers */
	bool flush_reaches_all;	   /* bare_guest_flush() is for all CPUs, and complete on return */
	bool remembers_faults;	   /* a walk that found no way is remembered until a flush */
	bool keeps_monitors;	   /* a load-linked is not tied to a physical address (L21) */
	bool walker_drops_no_exec; /* leaves that are not to be executed cannot be tried */
};
extern const struct bare_guest_machine bare_guest_machine;
/* Puts a function that returns `value`, below 2048, to `code`; its length in bytes. */
size_t bare_guest_function(void *code, uint32_t value);

#endif
