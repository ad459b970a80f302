/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What happens without any thread's doing, at any moment: a cache that writes a line back, a device.
 * Who explores is offered what is possible at each point, beside threads, delayed stores and early
 * ends of waits; it interrupts nobody. In gmm_sim_run() it happens now and then.
 */
#ifndef GMM_SIM_EVENT_H
#define GMM_SIM_EVENT_H

#include "sim.h"

#define GMM_SIM_EVENTS 8u /* most that are possible at one time */

struct gmm_sim_events {
	/*
	 * A bit for each that could happen now. No schedule may have them without end. What must
	 * hold at each step can be checked here: it is asked between any two of them.
	 */
	uint32_t (*possible)(void *opaque);
	/*
	 * The words that one of them touches, and its site. They tell it from every other that could
	 * happen to the same words: `also` is a word of its own.
	 */
	void (*describe)(void *opaque, uint32_t event, struct gmm_sim_access *access);
	/* Right after that. What it does depends on these words only, and changes no others. */
	void (*happen)(void *opaque, uint32_t event);
	void *opaque; /* lies where what threads change may lie */
};

/* Of the first thread before the checkpoint, which copies it; NULL: nothing more happens. */
void gmm_sim_events_set(const struct gmm_sim_events *events);

/*
 * A step of the caller that touches what the access says, after its own stores; the caller does it
 * right after this, with plain accesses. As gmm_sim_touch_two(), but ordered as an atomic update is.
 */
void gmm_sim_touch(const struct gmm_sim_access *access);

#endif
