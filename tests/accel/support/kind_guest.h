/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A guest of one vCPU whose memory is of a given kind: engine, accelerator, program and, for kinds
 * that need it, the fault service.
 */
#ifndef TESTS_ACCEL_KIND_GUEST_H
#define TESTS_ACCEL_KIND_GUEST_H

#include <guestmm/linux/fault_service.h>
#include <guestmm/linux/memory.h>
#include <guestmm/linux/userfault.h>

#include "accel/accel.h"
#include "accel/program.h"

/* One huge page. */
#define KIND_PAGES 512u
#define KIND_PAGE 4096u
#define KIND_SLOT 3u

struct kind_guest {
	/* Given. */
	enum gmm_memory_kind kind;
	const struct gmm_accel_ops *ops;
	enum gmm_memory_mapping mapping;
	uint32_t slot_flags;

	char text[GMM_BACKING_TEXT_SIZE]; /* why it could not be opened */
	struct gmm_userfault *userfault;
	struct gmm_accel *accel;
	struct gmm_accel_stage2 stage2;
	struct gmm_guest *guest;
	struct gmm_reader *reader;
	struct gmm_fault_service *service;
	struct gmm_source source;
	int file; /* of kinds that adopt one, or -1 */
	struct gmm_memory *memory, *program_memory;
	bool has_slot, has_program;
	struct gmm_program program;
	struct gmm_accel_vcpu *vcpu;
	struct gmm_accel_exit exit;
};

/*
 * Makes it all; the kind's memory is at GPA 0. Returns 0, or the error of what the kind or its slot
 * was refused with: then only kind_guest_close() is to be called. Anything else that fails, fails
 * the test; what this machine lacks, skips it.
 */
int kind_guest_open(struct kind_guest *guest);
void kind_guest_close(struct kind_guest *guest);

/* What a page held when the guest was made. */
void kind_guest_original(const struct kind_guest *guest, uint64_t page, void *contents);

/*
 * Runs the vCPU for so many steps and answers its reports; a page that it saw and that was not as
 * it had been fails the test. False: it left otherwise, see `exit`.
 */
bool kind_guest_run(struct kind_guest *guest, uint64_t steps);
/* What a page holds now, by the engine; through a cache where the memory has no other way. */
void kind_guest_read(struct kind_guest *guest, uint64_t page, void *contents);
/* Every page of the memory is what the program says that it wrote, or as it was. */
void kind_guest_verify(struct kind_guest *guest);

/* Stores `value` all over a page through a cache, and logs it. */
void kind_guest_store(struct kind_guest *guest, uint64_t page, int value);
/* Copies a page out through a cache. */
void kind_guest_load(struct kind_guest *guest, uint64_t page, void *contents);

#endif
