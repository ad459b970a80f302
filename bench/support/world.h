/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Our side where an accelerator takes part: engine, accelerator, memory, and a fault service when
 * the memory is lazily filled. Under KVM the tiny guest runs; process threads touch memory
 * themselves.
 */
#ifndef GMM_BENCH_WORLD_H
#define GMM_BENCH_WORLD_H

#include <guestmm/guest.h>
#include <guestmm/linux/fault_service.h>
#include <guestmm/linux/memory.h>

#include "accel/accel.h"

#include "tiny_guest.h"

#define WORLD_DATA_SLOT 1u

struct world_config {
	bool kvm;
	bool lazy;	/* a memfd filled on demand, with zeros first; else all is there */
	bool write;	/* what the tiny guest does */
	uint64_t pages; /* of the data slot */
	uint32_t slot_flags;
	const char *store_directory; /* for evicted pages; NULL: the memory's choice */
};

struct world {
	struct world_config config;
	const struct gmm_accel_ops *ops;
	struct gmm_accel *accel;
	struct gmm_accel_stage2 stage2;
	struct gmm_userfault *userfault; /* or NULL */
	struct gmm_guest *guest;
	struct gmm_memory *low_memory; /* KVM only */
	struct gmm_memory *memory;
	uint8_t *low;
	uint8_t *data; /* where vCPUs access it */
	uint64_t gfn;  /* of the data slot */
	struct gmm_accel_vcpu *vcpu[TINY_VCPUS];
	struct gmm_fault_service *service; /* or NULL */
};

/* Why this machine cannot have such a world; false: it can. */
bool world_lacks(const struct world_config *config, char text[GMM_ACCEL_TEXT_BYTES]);
void world_make(struct world *world, const struct world_config *config);
/* Its threads inherit the CPUs of the caller. */
void world_serve(struct world *world, enum gmm_fault_service_wait wait);
void world_end(struct world *world);

/* Of the thread that runs the vCPU; KVM only. */
void world_add_vcpu(struct world *world, uint32_t vcpu);
void world_drop_vcpu(struct world *world, uint32_t vcpu);
/* One run through the list. */
void world_run(struct world *world, uint32_t vcpu);

#endif
