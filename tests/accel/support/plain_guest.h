/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A small guest without the engine: the snapshot, a frame window and the program slot in plain
 * memory, slots given to the accelerator directly, and a host that answers reports.
 */
#ifndef TESTS_ACCEL_PLAIN_GUEST_H
#define TESTS_ACCEL_PLAIN_GUEST_H

#include <stdint.h>

#include "accel/accel.h"
#include "accel/program.h"

#include "guest/page.h"

#define PLAIN_SNAPSHOT_SLOT 1u
#define PLAIN_FRAME_SLOT 2u
#define PLAIN_PROGRAM_SLOT 3u
#define PLAIN_FRAMES 4u

struct plain_guest {
	const struct gmm_accel_ops *ops;
	struct gmm_accel *accel;
	struct gmm_accel_stage2 stage2;
	struct gmm_program program;
	struct gmm_slot_info snapshot_slot, frame_slot, program_slot;
	uint64_t gpa_bytes;
	uint64_t pages;
	uint8_t *snapshot; /* where vCPUs access it */
	uint8_t *original; /* as it was before the guest ran */
	uint64_t *frames;
	uint64_t answered;
};

struct plain_config {
	const struct gmm_accel_ops *ops;
	uint32_t vcpus;
	uint64_t pages;
	enum gmm_accel_dirty dirty;
	uint32_t snapshot_flags; /* GMM_SLOT_* */
	uint32_t ring_entries;
	uint64_t snapshot_gpa;
};

/* Skips the test with the reason when the accelerator is not usable here. */
void plain_skip_unless_usable(const struct gmm_accel_ops *ops);
void plain_setup(struct plain_guest *guest, const struct plain_config *config);
void plain_teardown(struct plain_guest *guest);

/* Tells the accelerator about a slot; count 0 in `now` removes it. */
int plain_slot(struct plain_guest *guest, const struct gmm_slot_info *old,
	       const struct gmm_slot_info *now);

/* Answers all reports of a vCPU; a wrong hash fails the test. Returns how many. */
uint64_t plain_answer_reports(struct plain_guest *guest, uint32_t vcpu,
			      enum guest_page_state state);
/* The device: completes all descriptors of a vCPU. Returns how many. */
uint64_t plain_serve_io(struct plain_guest *guest, uint32_t vcpu);
/* Every page carries what its metadata says, or is as it was. */
void plain_verify_all(const struct plain_guest *guest);
/* Fails the test, naming the loss, if there is one. */
void plain_assert_no_loss(struct plain_guest *guest);

#endif
