/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The guest program's slot as threads of the host see it while vCPUs run: through caches, in
 * sections. The caches are shared; each thread has its reader.
 */
#ifndef GMM_CLI_RUN_PROGRAM_H
#define GMM_CLI_RUN_PROGRAM_H

#include <stdint.h>

#include "guest/abi.h"

struct gmm_cache;
struct gmm_reader;
struct run;

struct run_program_view {
	struct gmm_cache **areas; /* struct guest_vcpu_area of each vCPU */
	uint32_t area_count;
	struct gmm_cache **pages; /* struct guest_page[], in pieces */
	uint32_t piece_count;
};

/* 0, or the exit status after a line was printed. */
int run_program_view_create(struct run *run);
void run_program_view_destroy(struct run *run);

/*
 * Enters a section with a pointer to a part of a cache, which is refreshed as often as it takes;
 * adds to *hits when it was valid at once. NULL, outside a section: the run is given up.
 */
void *run_section_enter(struct run *run, struct gmm_reader *reader, struct gmm_cache *cache,
			uint64_t offset, uint64_t length, uint64_t *hits);

struct guest_vcpu_area *run_area_enter(struct run *run, struct gmm_reader *reader, uint32_t vcpu,
				       uint64_t *hits);
struct guest_page *run_page_enter(struct run *run, struct gmm_reader *reader, uint64_t page);

/* Registers this thread; NULL when the run is given up. */
struct gmm_reader *run_reader_register(struct run *run);

#endif
