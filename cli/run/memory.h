/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* One memory of backing/, placed where the accelerator wants it, as a slot of the guest. */
#ifndef GMM_CLI_RUN_MEMORY_H
#define GMM_CLI_RUN_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include <guestmm/linux/memory.h>

struct run;

struct run_memory {
	struct gmm_memory *memory; /* NULL: there is none */
	uint64_t gpa;
	uint64_t bytes;
	void *hva;	/* where vCPUs' accesses arrive */
	void *reserved; /* addresses for it, or NULL */
	bool has_slot;
	uint32_t slot;
};

/* Both return 0, or the exit status after a line was printed. */
int run_memory_create(struct run *run, struct run_memory *memory,
		      const struct gmm_memory_config *wanted, uint64_t gpa);
int run_memory_add_slot(struct run *run, struct run_memory *memory, uint32_t slot, uint32_t flags);
void run_memory_remove_slot(struct run *run, struct run_memory *memory);
void run_memory_destroy(struct run_memory *memory);

#endif
