/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Test builds: holds threads at the one place where a protection matters, so that a run in which it
 * is left out loses something for certain, and a run with it does not. In other builds there is
 * nothing.
 */
#ifndef GMM_CLI_RUN_HOLD_H
#define GMM_CLI_RUN_HOLD_H

#include <stdbool.h>
#include <stdint.h>

struct run;

#if GMM_STEPS
void run_hold_start(struct run *run);
void run_hold_stop(struct run *run);
/* The evictor's turn: true when it did what a hold asks for. */
bool run_hold_evict(struct run *run);
/* The device is about to refresh a cache of these snapshot pages. */
void run_hold_refresh(struct run *run, uint64_t page, uint64_t count);
/* The device is in a section and is about to use a pointer to these pages. */
void run_hold_section(struct run *run, uint64_t page, uint64_t count);
/* Whether frames are left where they are. */
bool run_hold_frames(const struct run *run);
#else
static inline void run_hold_start(struct run *run)
{
}
static inline void run_hold_stop(struct run *run)
{
}
static inline bool run_hold_evict(struct run *run)
{
	return false;
}
static inline void run_hold_refresh(struct run *run, uint64_t page, uint64_t count)
{
}
static inline void run_hold_section(struct run *run, uint64_t page, uint64_t count)
{
}
static inline bool run_hold_frames(const struct run *run)
{
	return false;
}
#endif

#endif
