/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Failures on purpose (--fail-one-in, in builds with GMM_STEPS): allocations of the engine and
 * operations of the guest's memory fail now and then. Whoever meets one tries again, so such a run
 * must lose nothing either.
 */
#ifndef GMM_CLI_RUN_FAILING_H
#define GMM_CLI_RUN_FAILING_H

#include <stdbool.h>
#include <stdint.h>

#include <guestmm/memory.h>

struct run;

struct run_failing {
	const struct gmm_memory_ops *ops;
	void *memory;
	struct gmm_memory_ops failing_ops;
	/* Atomic. */
	uint64_t one_in; /* 0: nothing fails now */
	uint64_t calls;
	uint64_t operations;  /* that failed */
	uint64_t allocations; /* likewise */
};

/*
 * Puts itself in front of a memory's operations: *ops and *memory become what the engine gets. When
 * nothing is to fail they stay.
 */
void run_failing_wrap(struct run *run, const struct gmm_memory_ops **ops, void **memory);

/* From now on; and from time to time while the run goes on. */
void run_failing_tick(struct run *run);
void run_failing_stop(struct run *run);

/* Whether this error may have been made on purpose: try again. */
bool run_failing_try_again(const struct run *run, int64_t error);

#endif
