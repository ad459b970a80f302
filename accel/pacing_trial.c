/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "pacing_trial.h"

#define WINDOW_EVENTS 64u
/* A longer silence is the guest's, and says nothing of how it is served. */
#define SILENCE_NS 1000000u
#define INTERVAL_MIN 8u
#define INTERVAL_MAX 256u
/* One part of so many is not worth a change. */
#define BETTER_BY 20u

void gmm_pacing_trial_init(struct gmm_pacing_trial *trial)
{
	*trial = (struct gmm_pacing_trial){ .interval = INTERVAL_MIN };
}

bool gmm_pacing_trial_sleeps(const struct gmm_pacing_trial *trial)
{
	return trial->sleeps != trial->trying;
}

void gmm_pacing_trial_break(struct gmm_pacing_trial *trial)
{
	trial->began = 0;
}

/* The other way was tried. What is better twice, with the old one in between, is the better one. */
static void tried(struct gmm_pacing_trial *trial, uint64_t pace)
{
	bool better = pace < trial->pace - trial->pace / BETTER_BY;

	trial->trying = false;
	trial->windows = 0;
	if (better && trial->won) {
		trial->sleeps = !trial->sleeps;
		trial->pace = pace;
		trial->interval = INTERVAL_MIN;
	} else if (better) {
		trial->windows = trial->interval - 1;
	} else if (!trial->won && trial->interval < INTERVAL_MAX) {
		trial->interval *= 2;
	}
	trial->won = better && !trial->won;
}

static void window_ended(struct gmm_pacing_trial *trial, uint64_t pace)
{
	if (trial->trying) {
		tried(trial, pace);
		return;
	}
	trial->pace = trial->pace ? trial->pace - trial->pace / 4 + pace / 4 : pace;
	if (++trial->windows >= trial->interval)
		trial->trying = true;
}

void gmm_pacing_trial_events(struct gmm_pacing_trial *trial, uint64_t now, uint32_t events)
{
	if (!trial->began || now - trial->last > SILENCE_NS) {
		trial->began = now;
		trial->last = now;
		trial->events = 0;
		return;
	}
	trial->last = now;
	trial->events += events;
	if (trial->events < WINDOW_EVENTS)
		return;
	window_ended(trial, (now - trial->began) / trial->events);
	trial->began = now;
	trial->events = 0;
}
