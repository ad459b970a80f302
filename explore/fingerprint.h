/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What has happened so far, as one number: equal for two orders of the same accesses in which every
 * two accesses that conflict (one object, at least one of them writes) stand in the same order. Such
 * orders lead to the same state: threads are deterministic, and each has read the same values. What
 * was reached before with at least as much left to spend need not be looked at again.
 */
#ifndef GMM_EXPLORE_FINGERPRINT_H
#define GMM_EXPLORE_FINGERPRINT_H

#include "sim.h"

struct explore_fingerprint;
struct explore_seen;

/* Both end the process when there is no memory. */
struct explore_fingerprint *explore_fingerprint_create(void);
void explore_fingerprint_destroy(struct explore_fingerprint *fingerprint);
/* Nothing has happened. */
void explore_fingerprint_reset(struct explore_fingerprint *fingerprint);
void explore_fingerprint_add(struct explore_fingerprint *fingerprint, uint32_t thread, bool stored,
			     const struct gmm_sim_access *access);
uint64_t explore_fingerprint_value(const struct explore_fingerprint *fingerprint);

/* Set of states, each with what was left to spend when it was reached. */
struct explore_seen *explore_seen_create(void);
void explore_seen_destroy(struct explore_seen *seen);
/* Whether the state was seen with at least so much left; if not, it is now. */
bool explore_seen_before(struct explore_seen *seen, uint64_t state, uint32_t left);
uint64_t explore_seen_count(const struct explore_seen *seen);

#endif
