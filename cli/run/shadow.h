/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What memory should be by the harvests alone: the source, and over it the pages that were
 * harvested. Only those are stored, in a file without a name.
 */
#ifndef GMM_CLI_RUN_SHADOW_H
#define GMM_CLI_RUN_SHADOW_H

#include <stdbool.h>
#include <stdint.h>

#include <guestmm/linux/source.h>

struct run_shadow;

/* -GMM_ENOMEM, -GMM_EIO. `source` outlives it. */
int run_shadow_create(const struct gmm_source *source, uint64_t page_count,
		      struct run_shadow **shadow);
void run_shadow_destroy(struct run_shadow *shadow);
/* Of one thread at a time. -GMM_EIO. */
int run_shadow_write(struct run_shadow *shadow, uint64_t page, const void *contents);
int run_shadow_read(const struct run_shadow *shadow, uint64_t page, void *contents);
bool run_shadow_has(const struct run_shadow *shadow, uint64_t page);
/* Pages that are stored. */
uint64_t run_shadow_pages(const struct run_shadow *shadow);

#endif
