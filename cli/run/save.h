/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * --save DIR: memory saved while the guest runs. A base is read while vCPUs and devices go on; what
 * they write meanwhile is harvested and follows in increments. Those files are no state that
 * memory ever had, until the last increment, written when nobody writes any more, makes them
 * one: so only then they become the directory's snapshot, after they were read back and compared.
 */
#ifndef GMM_CLI_RUN_SAVE_H
#define GMM_CLI_RUN_SAVE_H

#include <stdint.h>

struct run;
struct run_save;

/* Both do nothing without --save; create returns 0, or the exit status after a line was printed. */
int run_save_create(struct run *run);
void run_save_destroy(struct run *run);

void *run_save_thread(void *opaque);

/* The page was taken from the dirty log: it will be read after this call. Any thread. */
void run_save_note(struct run *run, uint64_t page);

/* The vCPUs are parked: waits for the thread, which may have much to write yet. */
void run_save_wait(struct run *run);
/* Nobody writes any more, and the log is empty: the rest, the proof, the commit. */
void run_save_finish(struct run *run);

/* "" or "  saving ... 12 %", for the live line. */
const char *run_save_progress(const struct run *run, char *text, uint32_t text_size);

struct run_save_counters {
	uint64_t bases, increments, pages, bytes;
	uint64_t chain;	      /* files of the snapshot */
	uint64_t compared;    /* pages, read back from the files */
	uint64_t nanoseconds; /* all of it */
	uint64_t pause_ns;    /* of this, while nobody ran */
	uint64_t digest;      /* of the memory that was saved: digest() of save.c */
	uint64_t committed;   /* 0 or 1 */
};
/* False without --save. When all threads have ended. */
int run_save_counters(const struct run *run, struct run_save_counters *counters);

#endif
