/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * An accelerator runs the vCPUs of one guest and owns its live second stage. There are two:
 * accel/kvm (/dev/kvm) and accel/process (threads that run the guest program natively in a window
 * of the process's address space). Both run the program of guest/.
 *
 * Use, in this order:
 *
 *	ops->probe(reason)                     is it usable on this machine?
 *	gmm_userfault_open(...)                only when memory is lazily filled
 *	ops->create(&config, &accel)
 *	ops->stage2(accel, &stage2)            given to the engine with the guest's configuration
 *	ops->vcpu_address(accel, gpa, bytes)   where memory has to be mapped, then slots are added
 *	                                       through the engine, which calls slot_change
 *	gmm_program_init(...)                  fills the program slot (accel/program.h)
 *	in a thread for each vCPU: vcpu_create, vcpu_set_frame, vcpu_run ..., vcpu_destroy
 *	slots are removed through the engine
 *	ops->destroy(accel)
 *
 * Functions return 0 or a negative error of guestmm/error.h; where `text` or `reason` is given, it
 * then says what is missing and the way out, in one line without a newline.
 */
#ifndef GMM_ACCEL_H
#define GMM_ACCEL_H

#include <guestmm/stage2.h>

struct gmm_accel;
struct gmm_accel_vcpu;
struct gmm_live_stage2;
struct gmm_userfault;
struct guest_cpu;
struct guest_mailbox;

#define GMM_ACCEL_TEXT_BYTES 256

enum gmm_accel_dirty {
	GMM_ACCEL_DIRTY_BITMAP,
	GMM_ACCEL_DIRTY_RING,
};

struct gmm_accel_config {
	/* End of the guest's physical address space: no slot reaches beyond it. Up to 512 GiB. */
	uint64_t gpa_bytes;
	uint32_t vcpus; /* 1 to GUEST_VCPUS_MAX */
	enum gmm_accel_dirty dirty;
	/*
	 * Entries of each vCPU's dirty ring, a power of two; 0 chooses 65536 or what the host
	 * offers.
	 */
	uint32_t dirty_ring_entries;
	/*
	 * Serves the lazily filled slots; outlives the accelerator. NULL: all memory is there from
	 * the start, and slots with lazy memory are refused (-GMM_EOPNOTSUPP).
	 */
	struct gmm_userfault *userfault;
};

/* What the engine needs: gmm_guest_config takes both. Valid until destroy. */
struct gmm_accel_stage2 {
	const struct gmm_stage2_ops *ops;
	void *owner;
	/* For the fault service: which slot an HVA belongs to. */
	struct gmm_live_stage2 *live;
};

/* Where a vCPU of the guest program starts; gmm_program_vcpu_start() fills it. */
struct gmm_accel_vcpu_start {
	uint32_t index;
	uint64_t cpu_gpa;	       /* struct guest_cpu */
	struct guest_cpu *cpu;	       /* the same for the host */
	struct guest_mailbox *mailbox; /* for the host */
	uint64_t entry_gpa;	       /* first instruction */
	uint64_t stack_gpa;	       /* end of the stack */
	uint64_t page_table_gpa;       /* root of the page tables */
	uint64_t tss_gpa;	       /* task state segment, one page */
	uint64_t frame_restart_gpa;
	uint64_t frame_commit_gpa;
};

enum gmm_accel_exit_kind {
	GMM_ACCEL_EXIT_KICKED, /* vcpu_kick was called since the last KICKED */
	GMM_ACCEL_EXIT_GUEST,  /* the program exited: `code` */
	GMM_ACCEL_EXIT_MMIO,   /* an access to a GPA in no slot, or a write to a read-only one */
	/*
	 * Memory of a slot is not mapped in this process: somebody else unmapped it (W9). When it
	 * has been restored the vCPU can run on; it has done nothing yet. `text`
	 */
	GMM_ACCEL_EXIT_MEMORY,
	GMM_ACCEL_EXIT_SHUTDOWN, /* the program crashed: `text` */
	GMM_ACCEL_EXIT_ERROR,	 /* the host failed: `text` */
};

struct gmm_accel_exit {
	enum gmm_accel_exit_kind kind;
	uint32_t code; /* GUEST: enum guest_exit_code */
	/*
	 * MMIO. A read is completed by the next vcpu_run, or vcpu_set_frame, with what the caller
	 * put into data. An instruction that makes several accesses exits for each in turn.
	 */
	struct {
		gmm_gpa_t gpa;
		uint32_t length;
		bool is_write;
		uint8_t *data;
	} mmio;
	char text[GMM_ACCEL_TEXT_BYTES];
};

struct gmm_accel_ops {
	const char *name; /* "kvm", "process" */
	/* Printed with the result: what a run on this accelerator does not show. NULL: nothing. */
	const char *caveat;

	/* Whether this machine can run it: 0 or -GMM_ENOSYS with the reason. */
	int (*probe)(char reason[GMM_ACCEL_TEXT_BYTES]);
	int (*create)(const struct gmm_accel_config *config, struct gmm_accel **accel,
		      char text[GMM_ACCEL_TEXT_BYTES]);
	/* All vCPUs are destroyed before. */
	void (*destroy)(struct gmm_accel *accel);

	void (*stage2)(struct gmm_accel *accel, struct gmm_accel_stage2 *stage2);
	/* Entries taken so far from the vCPUs' dirty rings; NULL: it has none of its own. */
	uint64_t (*ring_entries)(const struct gmm_accel *accel);
	/*
	 * Makes a guest_memfd of the virtual machine, which can be mapped and is shared from the
	 * start, for a memory of the kind guest-memfd; the caller closes it. -GMM_EINVAL: no
	 * multiple of the page size; -GMM_EOPNOTSUPP: the accelerator has none; -GMM_ENOSYS: this
	 * kernel's KVM has none; -GMM_EIO.
	 */
	int (*guest_memfd)(struct gmm_accel *accel, uint64_t bytes, int *descriptor,
			   char text[GMM_ACCEL_TEXT_BYTES]);
	/*
	 * The host address at which memory for [gpa, gpa + bytes) has to be mapped (MAP_FIXED), or
	 * NULL when any address will do. The range is reserved address space of the accelerator;
	 * who mapped memory there gives it back with vcpu_address_release, not with munmap. The
	 * memories of backing/ map themselves there and give it back (gmm_memory_config).
	 */
	void *(*vcpu_address)(struct gmm_accel *accel, gmm_gpa_t gpa, uint64_t bytes);
	void (*vcpu_address_release)(struct gmm_accel *accel, void *address, uint64_t bytes);

	/*
	 * Creates a vCPU and binds it to the calling thread: only this thread runs it, sets its
	 * frame and destroys it. In accel/kvm the kick signal (GMM_ACCEL_KICK_SIGNAL) stays blocked
	 * in this thread from here on. The program slot is in place.
	 */
	int (*vcpu_create)(struct gmm_accel *accel, const struct gmm_accel_vcpu_start *start,
			   struct gmm_accel_vcpu **vcpu, char text[GMM_ACCEL_TEXT_BYTES]);
	/* No kick is under way or comes later. */
	void (*vcpu_destroy)(struct gmm_accel_vcpu *vcpu);
	/*
	 * Tells the program the frame number to use from the next entry on. A program that was
	 * interrupted while it used the old one starts that use again; where it stands in the
	 * middle of an instruction that makes another access to MMIO, after that. -GMM_EIO.
	 */
	int (*vcpu_set_frame)(struct gmm_accel_vcpu *vcpu, uint64_t frame_number);
	/*
	 * Runs until the next exit. Always returns after a kick, also one that came before the
	 * call; several kicks may give one KICKED. Sleeps; call it outside sections and without
	 * locks.
	 */
	void (*vcpu_run)(struct gmm_accel_vcpu *vcpu, struct gmm_accel_exit *exit);
	/*
	 * Makes vcpu_run return soon. Any thread; does not sleep; does not wait. A store made
	 * before it is seen by the vCPU's thread after that return.
	 */
	void (*vcpu_kick)(struct gmm_accel_vcpu *vcpu);
};

extern const struct gmm_accel_ops gmm_accel_kvm;
extern const struct gmm_accel_ops gmm_accel_process;

/*
 * accel/kvm kicks with SIGURG: its default action is to do nothing, so that one which arrives after
 * a vCPU's thread has unblocked it again harms nobody. No handler is installed.
 */
#define GMM_ACCEL_KICK_SIGNAL SIGURG

#endif
