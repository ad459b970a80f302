/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* A guest for measuring, and the simplest memory there can be: one anonymous mapping. */
#ifndef GMM_BENCH_GUEST_H
#define GMM_BENCH_GUEST_H

#include <guestmm/cache.h>
#include <guestmm/guest.h>
#include <guestmm/slot.h>

#define BENCH_PAGE_SHIFT 12u
#define BENCH_PAGE_SIZE (1ull << BENCH_PAGE_SHIFT)

struct bench_memory {
	uint8_t *bytes;
	uint64_t pages;
};

/* Pages are there, frames are page numbers, and a run of them is already mapped. */
extern const struct gmm_memory_ops bench_resident_ops;
/* The same, but the engine fills pages and keeps their states; filling does nothing. */
extern const struct gmm_memory_ops bench_lazy_ops;
/* An owner whose every operation succeeds and does nothing. */
extern const struct gmm_stage2_ops bench_stage2_ops;

/* The mapping is reserved, and backed by the host as it is touched. */
void bench_memory_make(struct bench_memory *memory, uint64_t pages);
void bench_memory_end(struct bench_memory *memory);

struct gmm_guest *bench_guest_make(const struct gmm_stage2_ops *stage2_ops);
void bench_guest_end(struct gmm_guest *guest);

/* A slot over [page, page + count) of a memory. Resident memory is reached directly too. */
struct gmm_slot_config bench_slot(uint32_t id, gmm_gfn_t gfn, uint64_t count, uint32_t flags,
				  const struct gmm_memory_ops *ops, struct bench_memory *memory,
				  uint64_t page);
void bench_slot_add(struct gmm_guest *guest, const struct gmm_slot_config *config);

/* A cache of the first `length` bytes from a page on. */
struct gmm_cache *bench_cache_make(struct gmm_guest *guest, gmm_gfn_t gfn, uint64_t length,
				   uint32_t uses);

#endif
