/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Entering and leaving guest mode when nothing is pending. */
#include <guestmm/vcpu.h>

#include "harness.h"
#include "support/guest.h"

static void kick(void *opaque, uint32_t id)
{
}

static uint64_t enter_and_exit(void *context, uint64_t count)
{
	struct gmm_vcpu *vcpu = context;
	uint64_t done;

	for (done = 0; done < count; done++) {
		bench_must(gmm_vcpu_enter(vcpu), "entering a vCPU");
		gmm_vcpu_exit(vcpu);
	}
	return done;
}

void bench_vcpu(struct bench *bench)
{
	struct bench_memory memory;
	struct gmm_guest *guest;
	struct gmm_slot_config slot;
	struct gmm_cache *cache;
	struct gmm_vcpu *plain, *user;
	struct bench_pair pair = {
		.name = "vCPU enter and exit with the frame of a cache",
		.reference = { .name = "with none", .run = enter_and_exit },
	};

	bench_memory_make(&memory, 1);
	guest = bench_guest_make(NULL);
	slot = bench_slot(0, 0, 1, 0, &bench_resident_ops, &memory, 0);
	bench_slot_add(guest, &slot);
	cache = bench_cache_make(guest, 0, BENCH_PAGE_SIZE, GMM_CACHE_GUEST);
	bench_must(gmm_vcpu_create(guest, 0, kick, NULL, &plain), "making a vCPU");
	bench_must(gmm_vcpu_create(guest, 1, kick, NULL, &user), "making a vCPU");
	bench_must(gmm_cache_vcpu_add(cache, user), "adding a vCPU to a set");
	pair.ours = (struct bench_side){ .run = enter_and_exit, .context = user };
	pair.reference.context = plain;
	bench_measure(bench, &pair);
	bench_must(gmm_cache_destroy(cache), "destroying a cache");
	bench_must(gmm_vcpu_destroy(user), "destroying a vCPU");
	bench_must(gmm_vcpu_destroy(plain), "destroying a vCPU");
	bench_must(gmm_slot_remove(guest, 0), "removing a slot");
	bench_guest_end(guest);
	bench_memory_end(&memory);
}
