/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * When the caches of encrypted memory are written back (docs/RULES.md, SEV), on the model of them
 * (lines.h): a short reference, whose place core/confidential takes. Each step of it can be left out.
 */
#ifndef GMM_EXPLORE_SEV_REFERENCE_H
#define GMM_EXPLORE_SEV_REFERENCE_H

#include <gmm_port/lock.h>

#include "lines.h"
#include "machine.h"

#define SEV_GUESTS 2u
/* Guests run on the other CPUs; on this one the host takes memory and uses it. */
#define SEV_HOST_CPU 2u
#define SEV_HOST_WORD 99u
#define SEV_GUEST_WORD 11u
/* A bit for each line. */
#define SEV_LINE_0 1u
#define SEV_LINE_1 2u

enum sev_defect {
	SEV_NO_DEFECT,
	SEV_NO_WRITE_BACK,
	SEV_OWN_CPU_ONLY,      /* who reclaims writes its own CPU's cache back */
	SEV_CLFLUSH_INSTEAD,   /* of the write-back */
	SEV_EARLY,	       /* the write-back, while the guest can still store */
	SEV_MASK_AFTER_ENTRY,  /* in place of before */
	SEV_MASK_NOT_ATOMIC,   /* its bits are set by a load and a store */
	SEV_MASK_CLEARED,      /* by who writes back, while the guest runs */
	SEV_MASK_COPIED,       /* by a move, while the source enters, in place of a write-back */
	SEV_MASK_FRESH,	       /* after a move that has written nothing back */
	SEV_MIRROR_FORGOTTEN,  /* only the primary's CPUs write back */
	SEV_NO_FALLBACK,       /* where VM_PAGE_FLUSH faults */
	SEV_NOT_REGISTERED,    /* the host's lines are not flushed before */
	SEV_NO_RECYCLING,      /* an ASID is given again as it is */
	SEV_WBNOINVD_RECYCLES, /* in place of WBINVD */
	SEV_MASK_RECYCLES,     /* by WBINVD of CPUs that have run the guest only */
	SEV_DEACTIVATES_AT_ANY_TIME, /* also between WBINVD and DF_FLUSH */
};

struct sev_guest {
	uint32_t number; /* to lines.h */
	uint32_t asid;
	uint32_t ran;	 /* atomic: a bit for each CPU that may have lines of it */
	uint32_t inside; /* atomic: vCPUs that have entered */
	uint32_t ended;	 /* atomic: none enters any more */
};

struct sev_play {
	struct lines lines;
	struct sev_guest guests[SEV_GUESTS];
	uint32_t mapped[LINES_COUNT];  /* atomic: in the second stage, or by the host */
	struct gmm_mutex deactivation; /* excludes it from WBINVD to DF_FLUSH */
	bool stored;		       /* by a guest */
	const struct sev_plan *plan;
};

struct sev_plan {
	uint32_t traits; /* LINES_* */
	bool unwatched;	 /* a wrong mask shows by what it leads to only */
	enum sev_defect defect;
	void (*prepare)(struct sev_play *play); /* may be NULL */
	void (*threads[3])(void *play);
	void (*check)(struct sev_play *play); /* when all is written back; may be NULL */
};

bool sev_has(const struct sev_play *play, enum sev_defect defect);

/* Guest 0 is active with ASID 1, and has all lines. */
void sev_begin(struct sev_play *play, const struct sev_plan *plan);
void sev_end(struct sev_play *play);
/* The whole scenario. */
void sev_play(const struct sev_plan *plan);

void sev_activate(struct sev_play *play, struct sev_guest *guest, uint32_t asid);
/* The model holds the guest's mask against where its lines are. */
void sev_watch(struct sev_play *play, const struct sev_guest *guest, uint32_t which);

/* The CPU is in the mask before the guest can store there. */
void sev_mask_set(struct sev_play *play, struct sev_guest *guest, uint32_t cpu);
/* False: the guest has ended. */
bool sev_enter(struct sev_play *play, struct sev_guest *guest, uint32_t cpu);
void sev_leave(struct sev_play *play, struct sev_guest *guest, uint32_t cpu);
/* Enters, stores to lines that are mapped, leaves. */
void sev_run(struct sev_play *play, struct sev_guest *guest, uint32_t cpu, uint32_t lines);
/* Waits until no vCPU is inside; none comes any more. */
void sev_stop(struct sev_guest *guest);

/* Of a line that is out of the guest's reach: on the CPUs of the guest's mask. */
void sev_write_back(struct sev_play *play, struct sev_guest *guest, uint32_t line);
/* The host has the line, and uses it. */
void sev_host_gets(struct sev_play *play, uint32_t line);
/* Out of reach, written back, the host's. */
void sev_reclaim(struct sev_play *play, struct sev_guest *guest, uint32_t line);

void sev_deactivate(struct sev_play *play, struct sev_guest *guest);
/* ASIDs that were deactivated can be given again. `ran`: the mask of who had one. */
void sev_recycle(struct sev_play *play, uint32_t ran);

#endif
