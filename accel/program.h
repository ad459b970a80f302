/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The host's side of the guest program: sizes and fills the program slot (guest/abi.h), and finds
 * things in it.
 */
#ifndef GMM_ACCEL_PROGRAM_H
#define GMM_ACCEL_PROGRAM_H

#include "accel.h"

#include "../guest/abi.h"

struct gmm_program_config {
	uint32_t vcpus;
	uint64_t seed;
	gmm_gpa_t program_gpa; /* a multiple of 2 MiB; gmm_program_gpa() proposes one */
	gmm_gpa_t snapshot_gpa;
	uint64_t snapshot_pages;
	gmm_gpa_t frame_window_gpa;
	uint64_t frame_window_pages;
};

struct gmm_program {
	struct gmm_program_config config;
	uint64_t bytes;		 /* of the slot, a multiple of the page size */
	void *memory;		 /* the slot for the host: `bytes` bytes, always mapped */
	struct guest_boot *boot; /* in memory, as all below */
	struct guest_page *pages;
	struct guest_regions *regions;
	struct guest_vcpu_area *vcpus;
};

/* The lowest GPA for the program slot above `end` bytes of other memory. */
gmm_gpa_t gmm_program_gpa(uint64_t end);

/*
 * Checks the configuration and returns the size of the slot, or 0 when it is out of range:
 * everything lies below 512 GiB, and the program's page tables map it.
 */
uint64_t gmm_program_bytes(const struct gmm_program_config *config);

/*
 * Fills the slot: `memory` is where the host has it mapped, zeroed and of gmm_program_bytes().
 * `base` is added by the program to every GPA: 0 for accel/kvm, the window for accel/process, that
 * is ops->vcpu_address(accel, 0, 0). Mailboxes get defaults that do some of everything except I/O.
 * -GMM_EINVAL; -GMM_EIO when the program that is linked in is damaged.
 */
int gmm_program_init(struct gmm_program *program, const struct gmm_program_config *config,
		     void *memory, const void *base);

/* Where vCPU `index` starts. */
void gmm_program_vcpu_start(const struct gmm_program *program, uint32_t index,
			    struct gmm_accel_vcpu_start *start);

/*
 * The host's ends of the rings. One consumer for each vCPU's ring at a time; the vCPU may be
 * running. Return false when the ring is empty.
 */
bool gmm_program_report_pop(struct gmm_program *program, uint32_t vcpu,
			    struct guest_report *report);
bool gmm_program_loss_pop(struct gmm_program *program, uint32_t vcpu, struct guest_loss *loss);
/* The oldest descriptor that the device has not completed yet; it stays there until completed. */
bool gmm_program_io_peek(struct gmm_program *program, uint32_t vcpu, struct guest_io *io);
void gmm_program_io_complete(struct gmm_program *program, uint32_t vcpu,
			     enum guest_io_status status);

/*
 * Answers a report: the page is as it should be, and the guest may take it over, or only keep
 * reading it, or (REFUSED) must leave it alone.
 */
void gmm_program_page_answer(struct gmm_program *program, uint64_t page,
			     enum guest_page_state state);

/* Asks vCPU `index` to stop (or to go on); it then exits with GUEST_EXIT_STOPPED. */
void gmm_program_stop(struct gmm_program *program, uint32_t vcpu, bool stop);

/* A copy of a vCPU's statistics, each number read once. */
void gmm_program_statistics(const struct gmm_program *program, uint32_t vcpu,
			    struct guest_statistics *statistics);

#endif
