/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Faults: core/fault.c takes them in and serves those of pages' states and of the soft second
 * stage; core/fault_table.c those of a guest with a table in a format of hardware.
 */
#ifndef GMM_CORE_FAULT_IMPL_H
#define GMM_CORE_FAULT_IMPL_H

#include <guestmm/fault.h>

#include "page_impl.h"

struct gmm_fault {
	struct gmm_guest *guest;
	struct gmm_vcpu *vcpu; /* whose fault it is, or NULL */
	struct gmm_operation operation;
	gmm_gfn_t gfn;
	uint32_t access;
	bool missing; /* the host found no page */
	uint64_t *entry;
	struct gmm_page_run run; /* the page, once it is owned */
};

/* The page is in the log of its slot, if there is one. Within the operation. */
void gmm_fault_mark_dirty(struct gmm_fault *fault);

/*
 * The fast path alone, for an access that is no write: it needs no operation. -GMM_ENOENT and
 * others: the fault is to be served.
 */
int gmm_fault_touch_table(struct gmm_guest *guest, struct gmm_vcpu *vcpu, gmm_gfn_t gfn,
			  uint32_t access);
/* Within the operation. */
int gmm_fault_serve_table(struct gmm_fault *fault);

/* gmm_fault_populate() with GMM_POPULATE_MAP. */
int gmm_fault_populate_table(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t count,
			     uint32_t access);

#endif
