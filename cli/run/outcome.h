/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What went wrong, in lines that name it. */
#ifndef GMM_CLI_RUN_OUTCOME_H
#define GMM_CLI_RUN_OUTCOME_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <guestmm/types.h>

#define RUN_LINES 24u
#define RUN_LINE_BYTES 512u

struct run;

struct run_outcome {
	pthread_mutex_t lock;
	/* Under lock. */
	int status; /* exit status so far */
	uint64_t losses;
	uint32_t lines;
	char line[RUN_LINES][RUN_LINE_BYTES];
	uint64_t line_at[RUN_LINES]; /* ns, as run_now() */
	/* Atomic: the run ends without its guest being brought to an end in order. */
	uint32_t abandoned;
};

int run_outcome_init(struct run_outcome *outcome);
void run_outcome_destroy(struct run_outcome *outcome);

/* Something was lost: the line is kept (the first RUN_LINES are), the run goes on. */
void run_lost(struct run *run, const char *format, ...) GMM_PRINTF(2, 3);
/* The run cannot go on. The first line counts, and decides the exit status. */
void run_abandon(struct run *run, int status, const char *format, ...) GMM_PRINTF(3, 4);
bool run_abandoned(const struct run *run);
/* The last resort, when a thread cannot be ended: prints the lines and ends the process. */
_Noreturn void run_die(struct run *run);

/* Setup: prints "gmm run: ..." and returns GMM_EXIT_REFUSED. */
int run_refuse(const char *format, ...) GMM_PRINTF(1, 2);

/* Text of an error of guestmm. */
const char *run_error_text(int error);

#endif
