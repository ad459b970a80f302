/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What the engine manages in a scenario: a guest of a few pages, each in one of two frames, whose
 * operations are single steps. Ledgers of references and mappings; frames that are not in use hold
 * poison. Checks end the schedule as a failure (gmm_sim_fail).
 */
#ifndef GMM_EXPLORE_MACHINE_H
#define GMM_EXPLORE_MACHINE_H

#include <guestmm/cache.h>
#include <guestmm/dirty.h>
#include <guestmm/evict.h>
#include <guestmm/fault.h>
#include <guestmm/guest.h>
#include <guestmm/invalidate.h>
#include <guestmm/repair.h>
#include <guestmm/section.h>
#include <guestmm/slot.h>
#include <guestmm/vcpu.h>

#include <gmm_port/alloc.h>
#include <gmm_port/wait.h>

#include "sim.h"

#define MACHINE_PAGES 4u
#define MACHINE_FRAMES (2 * MACHINE_PAGES)
#define MACHINE_PAGE_BYTES 4096u
#define MACHINE_HVA 0x7f0000000000ull
#define MACHINE_TLBS 4u	       /* threads of a scenario, the first included */
#define MACHINE_REACH_FRAME 8u /* shift */
#define MACHINE_REACH_ACCESS 0xffu
#define MACHINE_POISON 0xdeaddeaddeaddeadull

#define MACHINE_LAZY 1u	   /* pages are absent at first */
#define MACHINE_OWNER 2u   /* there is a live second stage, which maps protected */
#define MACHINE_LOG 4u	   /* slot 0 logs */
#define MACHINE_NO_SLOT 8u /* the slot is the scenario's business */
#define MACHINE_VCPUS 16u  /* two vCPU ids */
#define MACHINE_LOSES 32u  /* somebody else takes pages away: machine_lose() */
#define MACHINE_FENCES 64u /* readers' barriers are fences: the host has no membarrier */
/*
 * vCPUs keep translations, each thread its own, until the owner of the second stage flushes them.
 * Without it a translation is looked up at each access.
 */
#define MACHINE_TLB 128u
#define MACHINE_TLB_UNFLUSHED 256u /* a defect, for tests: nobody flushes */
#define MACHINE_TABLES 512u	   /* tables of two levels: the first fault links one */
#define MACHINE_HVA_MEMORY 1024u   /* there is memory at addresses that are in no slot */
/* A defect, for tests: who protects does not wait for machine_unmap(). */
#define MACHINE_UNMAP_UNWAITED 2048u

/* A page. What one step touches together lies side by side. */
struct machine_page {
	uint64_t store;	   /* what was written out */
	uint64_t resident; /* the memory has it */
	uint64_t frame;	   /* in which it is; atomic */
	uint64_t reach; /* of vCPUs: GMM_ACCESS_*, and the frame above MACHINE_REACH_FRAME; atomic */
};

struct machine {
	struct gmm_guest *guest;
	void *allocated;
	uint8_t *frames; /* in it, aligned to pages */
	uint32_t traits;
	/* The nth call from now on fails, with -GMM_ENOMEM; 0: none. Of one thread. */
	uint32_t fail_resolve, fail_map;
	int slot_change_fails; /* what the owner of the second stage answers to changes of slots */
	/* The search is told of every access to these, and to the frames. */
	struct machine_page pages[MACHINE_PAGES];
	/* By thread: what it may use without asking: GMM_ACCESS_* and the frame; 0: nothing. */
	uint64_t tlb[MACHINE_TLBS][MACHINE_PAGES]; /* atomic */
	/*
	 * Nor is it of these: what a thread has added to them follows from the accesses that it has
	 * made, so states that are equal by their accesses have equal sums, and what is looked at in
	 * a step is looked at in every order of the steps before it. (Sleep sets leave out such
	 * orders: so mapping and unmapping are accesses to the frame.)
	 */
	int32_t references[MACHINE_FRAMES];
	int32_t mappings[MACHINE_FRAMES];
	uint64_t resolves;		/* calls */
	uint64_t source[MACHINE_PAGES]; /* never changes */
	/* Somebody unmaps it: no mapping is found, and vCPUs still reach it. */
	uint64_t leaving[MACHINE_PAGES]; /* atomic */
	struct gmm_spinlock lock;
	struct gmm_waitqueue woken;
	uint64_t wakes; /* under lock */
};

/* Ends the schedule with a line unless it holds. */
#define machine_check(condition)                                                   \
	do {                                                                       \
		if (!(condition))                                                  \
			gmm_sim_fail("%s:%d: %s", __func__, __LINE__, #condition); \
	} while (0)
/* The call's answer; it is made again where it failed on purpose: that has changed nothing. */
#define machine_again(call)                                                        \
	__extension__({                                                            \
		int again_ = (call);                                               \
                                                                                   \
		again_ == -GMM_ENOMEM &&gmm_port_alloc_failed() ? (call) : again_; \
	})
/* What a scenario needs and what cannot fail there. */
#define machine_must(call)                                                               \
	do {                                                                             \
		int must_ = machine_again(call);                                         \
                                                                                         \
		if (must_)                                                               \
			gmm_sim_fail("%s:%d: %s: %d", __func__, __LINE__, #call, must_); \
	} while (0)

/* Page n holds machine_word(n), and machine_word(n) + 0x100 behind it; its frame is n until it is moved. */
void machine_init(struct machine *machine, uint32_t traits);
/* Caches, readers and vCPUs are gone. Checks the ledgers. */
void machine_fini(struct machine *machine);

uint64_t machine_word(uint32_t page);
struct gmm_slot_config machine_slot(struct machine *machine, uint32_t id, gmm_gfn_t gfn,
				    uint64_t page, uint64_t count);
/* Where the page's contents are now. */
uint64_t *machine_contents(struct machine *machine, uint32_t page);
/* The first word of a frame. */
uint64_t *machine_frame(struct machine *machine, gmm_pfn_t pfn);

/* Begin, move a page to its other frame, end. */
void machine_move(struct machine *machine, uint32_t page);
void machine_move_by_hva(struct machine *machine, uint32_t page);
void machine_move_pages(struct machine *machine, uint32_t page, uint32_t count);
/* Its middle: behind the back of the engine, within a change. */
void machine_move_frame(struct machine *machine, uint32_t page);

/* Somebody else frees the page: neither the engine nor the owner is told. */
void machine_lose(struct machine *machine, uint32_t page);

/*
 * Somebody else unmaps the page, and it is mapped again: what it holds stays. As in the host's
 * munmap() the mapping is out of the table before it is out of the vCPUs' reach.
 */
void machine_unmap(struct machine *machine, uint32_t page);

/*
 * What must hold whenever nothing is under way, of slot 0 at frame 0: no page is busy; what the
 * table says is mapped is in the frame in which the page is; vCPUs reach nothing that the table does
 * not say is mapped, and write nothing that it does not say is writable; pages are as resident as
 * the table says, and so many in all.
 */
void machine_check_quiet(struct machine *machine);

/* Reads or writes a word through a pointer that a cache or a lease gave: it must be mapped. */
uint64_t machine_load(struct machine *machine, const uint64_t *pointer);
void machine_store(struct machine *machine, uint64_t *pointer, uint64_t word);

/* A vCPU's access through the second stage; it faults and waits as often as needed. */
uint64_t machine_guest_read(struct machine *machine, uint32_t page);
void machine_guest_write(struct machine *machine, uint32_t page, uint64_t word);

/* Through a cache, refreshing as often as needed. */
uint64_t machine_read(struct machine *machine, struct gmm_cache *cache, struct gmm_reader *reader,
		      uint64_t offset);
void machine_write(struct machine *machine, struct gmm_cache *cache, struct gmm_reader *reader,
		   uint64_t offset, uint64_t word);

/* Threads of a scenario: started before the checkpoint, which explore_go() is. */
void machine_go(struct gmm_sim_thread **threads, uint32_t count);

#endif
