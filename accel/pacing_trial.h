/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Which of two ways of waiting for events brings more of them: what is better is used, and the other
 * tried for a while now and then, the more seldom the longer it has been worse. Nothing else shows
 * that a processor which looks idle is wanted: the vCPUs that would use it sleep in their faults.
 */
#ifndef GMM_ACCEL_PACING_TRIAL_H
#define GMM_ACCEL_PACING_TRIAL_H

#include <stdbool.h>
#include <stdint.h>

struct gmm_pacing_trial {
	bool sleeps; /* the better way so far; at first spinning is */
	bool trying; /* the other one */
	/* The window under way. */
	uint64_t began, last; /* ns; 0: none is */
	uint32_t events;
	/* Of the better way: ns for each event, smoothed; 0: not known yet. */
	uint64_t pace;
	uint32_t windows;  /* since the last trial */
	uint32_t interval; /* of them between two trials */
	bool won;	   /* the last trial: one more decides */
};

void gmm_pacing_trial_init(struct gmm_pacing_trial *trial);
/* Whether to sleep now although a processor seems free. */
bool gmm_pacing_trial_sleeps(const struct gmm_pacing_trial *trial);
/* So many events came at `now` (ns). */
void gmm_pacing_trial_events(struct gmm_pacing_trial *trial, uint64_t now, uint32_t events);
/* What came shows nothing: the way was not free to be chosen. */
void gmm_pacing_trial_break(struct gmm_pacing_trial *trial);

#endif
