/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Words that every header uses. Addresses and lengths are in bytes, frame numbers in pages of the
 * guest's page size (gmm_guest_config.page_shift).
 */
#ifndef GUESTMM_TYPES_H
#define GUESTMM_TYPES_H

#include <gmm_port/compiler.h>
#include <gmm_port/types.h>

#include <guestmm/error.h>

typedef uint64_t gmm_gpa_t; /* guest physical address */
typedef uint64_t gmm_gfn_t; /* guest frame number: GPA >> page_shift */
typedef uint64_t gmm_hva_t; /* host virtual address at which a vCPU's accesses arrive */
typedef uint64_t gmm_pfn_t; /* page frame number; in userspace (memory object, page offset) */

#define GMM_PFN_NONE (~(gmm_pfn_t)0)
#define GMM_GPA_NONE (~(gmm_gpa_t)0)

/* How memory is, or is to be, accessed. A set of bits. */
#define GMM_ACCESS_READ 1u
#define GMM_ACCESS_WRITE 2u
#define GMM_ACCESS_EXEC 4u /* only in faults of a guest with a table (guest.h) */

struct gmm_guest;
struct gmm_reader;
struct gmm_cache;
struct gmm_vcpu;

#endif
