/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Write-back caches of a machine that encrypts memory with a key for each guest, which the guest's
 * ASID selects (AMD SEV). A CPU keeps a line of memory in views: a plain one and one for each ASID.
 * Caches are coherent within a view. Between views they are not, unless the machine is
 * (LINES_COHERENT): a dirty line of one view is written back whenever the hardware likes, over what
 * was written in another.
 *
 * Each operation is one or more steps; a store leaves its thread's store buffer at once. Lines that
 * are written back by themselves are events of the simulator (sim_event.h): they stay cached. What
 * must always hold, and ends the schedule as a failure (gmm_sim_fail) where it does not:
 *
 * - nothing that one owner has left in a cache is written back over memory of another: write_back();
 * - the CPUs that have dirty lines of a guest are among those of which its masks say that they have
 *   run it (lines_watch()): check_masks();
 * - an ASID is given to a guest when no CPU has lines of another under it: lines_asid_activate();
 * - who stores to a line owns it: the second stage of others has lost it before.
 *
 * Guests are numbers from 1 on, which are their keys, too.
 */
#ifndef GMM_EXPLORE_LINES_H
#define GMM_EXPLORE_LINES_H

#include "sim_event.h"

#define LINES_COUNT 2u
#define LINES_CPUS 3u
#define LINES_ALL_CPUS ((1u << LINES_CPUS) - 1)
#define LINES_VIEWS 3u /* number 0 is plain, others are ASIDs */
#define LINES_PLAIN 0u
#define LINES_MASKS 2u /* of an ASID: guests that share it */

/* Owners of memory beside guests; the host's lines are plain. */
#define LINES_HOST 0u
#define LINES_NOBODY UINT32_MAX

#define LINES_COHERENT 1u	   /* an access takes other views out of all caches before */
#define LINES_PAGE_FLUSH_FAULTS 2u /* lines_vm_page_flush() cannot be used */
#define LINES_FIRMWARE_TRUSTS 4u   /* it gives any ASID to any guest, and asks for no WBINVD */
#define LINES_NO_WBNOINVD 8u	   /* CPUs take it for WBINVD */

/* What a CPU keeps of a line in one view, decrypted. */
struct lines_copy {
	uint64_t word;
	uint32_t owner; /* who has made it dirty */
	bool cached;
	bool dirty;
};

struct lines_line {
	uint64_t touched; /* stands for all of the line in what steps say that they touch */
	uint64_t memory;  /* decrypted with the key of: */
	uint32_t key;
	uint32_t owner;
	bool stored; /* the owner has, since it owns it */
	struct lines_copy copies[LINES_CPUS][LINES_VIEWS];
};

struct lines_asid {
	uint32_t guest;			  /* whose key it selects, or LINES_NOBODY */
	bool used;			  /* since the last DF_FLUSH */
	const uint32_t *ran[LINES_MASKS]; /* a bit for each CPU; NULL: none */
};

struct lines {
	uint32_t traits;
	uint32_t write_backs; /* events that are left */
	struct lines_line lines[LINES_COUNT];
	struct lines_asid asids[LINES_VIEWS];
	uint64_t firmware; /* stands for its state, likewise */
	uint32_t wbinvd;   /* CPUs that have executed it since the last deactivation */
	uint32_t interrupts[LINES_CPUS];
};

/*
 * All memory is the host's, and nothing is cached. At most so many lines are written back by
 * themselves in a schedule. Of the first thread, before the checkpoint; lines_fini() at its end
 * writes back what is dirty, as the hardware will at some time.
 */
void lines_init(struct lines *lines, uint32_t traits, uint32_t write_backs);
void lines_fini(struct lines *lines);

/* From now on the memory is another's. */
void lines_give(struct lines *lines, uint32_t line, uint32_t owner);
/* What memory holds, read with a key, by a device that sees no cache. */
uint64_t lines_memory(struct lines *lines, uint32_t line, uint32_t key);

/*
 * A mask of CPUs that run guests of an ASID, in memory that threads change by atomic operations; one
 * of its LINES_MASKS. NULL: not any more. No step.
 */
void lines_watch(struct lines *lines, uint32_t asid, uint32_t which, const uint32_t *ran);

/*
 * An access of a CPU in a view. `mapped`: a word of the page table through which it goes; where that
 * is 0 nothing is accessed, and they return false. Who makes it 0 waits until no CPU uses what was
 * there, so that looking and accessing are one step. NULL: always.
 */
bool lines_store(struct lines *lines, uint32_t cpu, uint32_t view, uint32_t line,
		 const uint32_t *mapped, uint64_t word);
bool lines_load(struct lines *lines, uint32_t cpu, uint32_t view, uint32_t line,
		const uint32_t *mapped, uint64_t *word);

/* The whole cache of this CPU, all views: written back; by WBINVD also emptied. */
void lines_wbinvd(struct lines *lines, uint32_t cpu);
void lines_wbnoinvd(struct lines *lines, uint32_t cpu);
/* Of each CPU of a mask, by IPIs that are waited for. Not under a spinlock. */
void lines_wbinvd_on(struct lines *lines, uint32_t cpus);
void lines_wbnoinvd_on(struct lines *lines, uint32_t cpus);
/* A line of the plain view in all caches; of every view on a coherent machine. */
void lines_clflush(struct lines *lines, uint32_t line);
/* A line of an ASID in all caches, or -GMM_EFAULT. */
GMM_MUST_CHECK int lines_vm_page_flush(struct lines *lines, uint32_t line, uint32_t asid);

/*
 * The firmware. An ASID that was used and deactivated is given again after DF_FLUSH only: -GMM_EBUSY
 * before; and DF_FLUSH wants a WBINVD of every CPU since the last deactivation of any: -GMM_EAGAIN.
 */
GMM_MUST_CHECK int lines_asid_activate(struct lines *lines, uint32_t asid, uint32_t guest);
void lines_asid_deactivate(struct lines *lines, uint32_t asid);
GMM_MUST_CHECK int lines_df_flush(struct lines *lines);

#endif
