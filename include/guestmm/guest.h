/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A guest: the object that everything else belongs to. Many guests may live in one process; nothing
 * is shared between them.
 */
#ifndef GUESTMM_GUEST_H
#define GUESTMM_GUEST_H

#include <guestmm/memory.h>
#include <guestmm/stage2.h>
#include <guestmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gmm_stage2_table;

#define GMM_SLOTS_MAX 32764u
#define GMM_VCPUS_MAX 1024u
#define GMM_GPA_BITS_DEFAULT 40u
#define GMM_GPA_BITS_MAX 52u

enum gmm_log_level {
	GMM_LOG_ERROR,	 /* something was lost or failed */
	GMM_LOG_WARNING, /* something that should not happen, with a safe outcome */
	GMM_LOG_INFO,
};

struct gmm_guest_config {
	uint32_t page_shift; /* 12, 14 or 16; 0 means 12, or as `table` */
	/* page_shift + 9 … GMM_GPA_BITS_MAX; 0 means GMM_GPA_BITS_DEFAULT, or as `table` */
	uint32_t gpa_bits;
	uint32_t max_vcpus; /* 0 … GMM_VCPUS_MAX; ids are below it */
	uint32_t leave_out; /* tests only: GMM_LEAVE_OUT_*; refused in other builds */

	/* The owner of the live second stage; NULL when no vCPU runs on this guest's memory here. */
	const struct gmm_stage2_ops *stage2_ops;
	void *stage2_owner;

	/*
	 * The table that vCPUs of this guest walk (stage2_table.h); it outlives the guest. The engine
	 * makes, ages, write-protects and takes away the translations of all slots in it, and nobody
	 * else does. Its pages are the guest's (page_shift and gpa_bits that are 0 are the table's),
	 * and it reaches as far. Not with stage2_ops; slots are not GMM_MEMORY_LAZY. NULL: none.
	 */
	struct gmm_stage2_table *table;

	/*
	 * Memory behind host virtual addresses that are in no slot, for caches activated by HVA;
	 * its page number is HVA >> page_shift. NULL: such caches must lie in a slot's HVA range.
	 */
	const struct gmm_memory_ops *hva_ops;
	void *hva_memory;

	/*
	 * Gets one line without a newline. Called in any context of the engine: it must not sleep
	 * and not call guestmm. NULL: nothing is reported.
	 */
	void (*log)(void *opaque, enum gmm_log_level level, const char *text);
	void *log_opaque;

	/*
	 * Somebody else took these pages away after they had changed: their contents are gone, they
	 * read as zero now (repair.h). Called as `log` is, beside its line. NULL: counted only.
	 */
	void (*lost)(void *opaque, gmm_gfn_t gfn, uint64_t count);
	void *lost_opaque;
};

/* Events since the guest was made. Read without locks: each number is right, their sum may lag. */
struct gmm_guest_counters {
	uint64_t cache_refreshes;     /* refreshes that resolved a page and succeeded */
	uint64_t cache_refresh_kept;  /* of these: same frames, mapping kept */
	uint64_t cache_retries;	      /* refreshes overtaken by an invalidation */
	uint64_t cache_invalidations; /* valid caches that an invalidation cleared */
	uint64_t cache_nodes;	      /* index nodes that invalidations looked at */
	uint64_t invalidations;	      /* ranges begun */
	uint64_t reader_waits;	      /* times a writer made readers' marks visible and waited */
	uint64_t range_merges;	      /* active ranges merged because the table was full */
	uint64_t range_waits;	      /* times somebody slept until a range ended */
	uint64_t kicks;		      /* vCPUs told to leave guest mode */
	uint64_t nonblocking_in_guest; /* non-blocking begins that found a vCPU in guest mode (P34) */
	uint64_t faults_fast;	       /* faults on pages that were accessible by then */
	uint64_t faults_filled;	       /* pages filled from source, zero or store */
	uint64_t faults_mapped;	       /* resident pages mapped again (minor) */
	uint64_t faults_protect;       /* write faults on protected pages */
	uint64_t faults_held;	       /* faults on pages that somebody was changing */
	uint64_t faults_retried;       /* faults overtaken by an invalidation */
	uint64_t evicted;	       /* pages evicted */
	uint64_t evicted_clean;	       /* of these: not written out, nothing had changed */
	uint64_t refaulted;	       /* pages filled from the store again */
	uint64_t discarded;	       /* pages discarded */
	uint64_t dirty_marked;	       /* bits newly set by faults, caches and ranges */
	uint64_t dirty_harvested;      /* bits handed out */
	uint64_t leases;	       /* leases taken (lease.h) */
	uint64_t lease_asks;	       /* holders asked to drop them */
	uint64_t lease_waits;	       /* times a change slept until leases were dropped */
	uint64_t lease_passed;	       /* pages that eviction passed over because of a lease */
	uint64_t nonblocking_leased;   /* leased caches that non-blocking begins found */
	uint64_t pages_repaired;       /* taken away by somebody else, had again (repair.h) */
	uint64_t pages_lost;	       /* … whose contents are gone */
};

/*
 * Makes a guest. -GMM_EINVAL: a field out of range, an ops table of another version or lacking an
 * operation; -GMM_ENOMEM. May sleep.
 */
GMM_API int gmm_guest_create(const struct gmm_guest_config *config, struct gmm_guest **guest);

/*
 * Ends a guest. -GMM_EBUSY: a slot, a cache, a reader or a vCPU still exists; nothing was freed.
 * The caller makes sure that nobody uses the guest any more. May sleep.
 */
GMM_API int gmm_guest_destroy(struct gmm_guest *guest);

/* Copies the counters. Any context. */
GMM_API void gmm_guest_read_counters(const struct gmm_guest *guest,
				     struct gmm_guest_counters *counters);

/* The page size in bits. Any context. */
GMM_API uint32_t gmm_guest_page_shift(const struct gmm_guest *guest);

#ifdef __cplusplus
}
#endif

#endif
