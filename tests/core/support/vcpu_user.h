/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A vCPU of a test: what it was told, and the shortest way into the set of a cache.
 */
#ifndef GMM_TEST_VCPU_USER_H
#define GMM_TEST_VCPU_USER_H

#include "race.h"

struct vcpu_user {
	struct gmm_vcpu *vcpu;
	uint32_t kicks; /* calls of its kick function; atomic */
};

/* A vCPU whose kick function counts. */
void vcpu_user_create(struct vcpu_user *user, struct model *model, uint32_t id);
void vcpu_user_destroy(struct vcpu_user *user);
uint32_t vcpu_user_kicks(struct vcpu_user *user);
/* Spins until it has been kicked `kicks` times. */
void vcpu_user_wait_kicked(struct vcpu_user *user, uint32_t kicks);

/* A cache of page `page` for vCPUs (and the host), and for those in `users` until NULL. */
struct gmm_cache *vcpu_user_cache(struct model *model, uint32_t page, uint32_t uses,
				  struct vcpu_user *first, struct vcpu_user *second);

/* What the vCPU, in guest mode, reads through the frame number that it was given; 0: it has none. */
uint64_t vcpu_user_read(struct vcpu_user *user, struct model *model, struct gmm_cache *cache);

#endif
