/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_CORE_SECTION_IMPL_H
#define GMM_CORE_SECTION_IMPL_H

#include <guestmm/static/section.h>

#include "lock_rank.h"

/* Readers are never freed before the guest, so writers scan the list without a lock. */
struct gmm_reader {
	struct gmm_reader_hot hot;
};

struct gmm_reader_block {
	struct gmm_reader_block *next; /* immutable once published */
	uint32_t count;
	struct gmm_reader readers[];
};

struct gmm_section_domain {
	uint64_t epoch; /* atomic; read by every reader on entry */
	/* immutable after init */
	bool full_barrier;
	/* atomic */
	struct gmm_reader_block *blocks;
	uint32_t registered;
	/* under lock: which readers are registered */
	struct gmm_spinlock lock;
};

int gmm_section_domain_init(struct gmm_section_domain *domain);
void gmm_section_domain_destroy(struct gmm_section_domain *domain);

/* As gmm_reader_register(); given back by gmm_reader_unregister(). */
int gmm_section_domain_register(struct gmm_section_domain *domain, struct gmm_reader **reader);

/* Whether the calling thread is in a section of this domain. */
bool gmm_section_inside(const struct gmm_section_domain *domain);

/*
 * Waits for the sections entered before the call; the caller is in none. Returns whether there
 * could have been any.
 */
bool gmm_section_domain_wait(struct gmm_section_domain *domain);

#endif
