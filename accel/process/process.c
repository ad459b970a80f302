/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * accel/process: vCPUs are threads that run the guest program natively. The guest's physical
 * address space is a window of this process; a slot's memory is mapped in it at window + GPA, and
 * faults in lazy slots go through userfaultfd as under KVM. A vCPU leaves guest mode between two
 * steps of the program only, so a kick is a flag.
 *
 * An access of the program to a GPA in no slot is a SIGSEGV of the process.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <guestmm/memory.h>

#include "../accel.h"
#include "../live_stage2_impl.h"

#include "../../guest/abi.h"

#define PAGE_SHIFT 12
#define WINDOW_BYTES_MAX (512ull << 30)
/* So that huge pages can be mapped where the guest has them. */
#define WINDOW_UNIT (2ull << 20)

struct gmm_accel {
	/* Immutable after create. */
	struct gmm_accel_config config;
	char *window; /* at a multiple of WINDOW_UNIT */
	struct gmm_live_stage2 live;
};

struct gmm_accel_vcpu {
	struct gmm_accel_vcpu_start start;
	struct guest_cpu *cpu;
	uint32_t kicked; /* atomic */
};

static int process_probe(char reason[GMM_ACCEL_TEXT_BYTES])
{
	return 0;
}

static int process_slot_change(void *owner, const struct gmm_slot_info *old,
			       const struct gmm_slot_info *now)
{
	struct gmm_accel *accel =
		(struct gmm_accel *)((char *)owner - offsetof(struct gmm_accel, live));
	uint64_t pages = accel->config.gpa_bytes >> PAGE_SHIFT;
	uint32_t flags = now->memory_ops ? now->memory_ops->flags : 0;

	if (flags & GMM_MEMORY_HOST_ONLY)
		return 0;
	if (now->count) {
		/* Such memory belongs to a virtual machine. */
		if (flags & GMM_MEMORY_BY_FILE)
			return -GMM_EOPNOTSUPP;
		if (now->gfn > pages || now->count > pages - now->gfn)
			return -GMM_ERANGE;
		/* Memory is where its GPA is: it cannot be somewhere else, nor move. */
		if (now->hva != (uintptr_t)accel->window + (now->gfn << PAGE_SHIFT))
			return -GMM_EOPNOTSUPP;
	}
	return gmm_live_stage2_slot_change(&accel->live, old, now);
}

/* Far below where the kernel looks first: what somebody else unmaps of it stays free (W9). */
#define WINDOW_HINT ((void *)(uintptr_t)((uint64_t)48 << 40))

static char *reserve_window(uint64_t bytes)
{
	char *start = mmap(WINDOW_HINT, bytes + WINDOW_UNIT, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t before;

	if (start == MAP_FAILED)
		return NULL;
	before = -(uintptr_t)start % WINDOW_UNIT;
	if (before)
		munmap(start, before);
	munmap(start + before + bytes, WINDOW_UNIT - before);
	return start + before;
}

static int process_create(const struct gmm_accel_config *config, struct gmm_accel **accel,
			  char text[GMM_ACCEL_TEXT_BYTES])
{
	struct gmm_accel *made;
	char *window;

	if (config->vcpus < 1 || config->vcpus > GUEST_VCPUS_MAX || config->gpa_bytes == 0 ||
	    config->gpa_bytes > WINDOW_BYTES_MAX || config->gpa_bytes % (1 << PAGE_SHIFT) != 0) {
		snprintf(
			text, GMM_ACCEL_TEXT_BYTES,
			"%u vCPUs and %llu bytes are refused: give 1 to %u vCPUs and up to 512 GiB",
			config->vcpus, (unsigned long long)config->gpa_bytes, GUEST_VCPUS_MAX);
		return -GMM_EINVAL;
	}
	if (config->dirty == GMM_ACCEL_DIRTY_RING) {
		snprintf(text, GMM_ACCEL_TEXT_BYTES,
			 "accel process has no dirty ring of its own: use --dirty bitmap");
		return -GMM_EOPNOTSUPP;
	}
	window = reserve_window(config->gpa_bytes);
	made = calloc(1, sizeof(*made));
	if (!window || !made ||
	    gmm_live_stage2_init(&made->live, config->userfault, "process", false)) {
		snprintf(text, GMM_ACCEL_TEXT_BYTES,
			 "no %llu bytes of address space: use less memory, or raise the limit "
			 "(ulimit -v)",
			 (unsigned long long)config->gpa_bytes);
		if (window)
			munmap(window, config->gpa_bytes);
		free(made);
		return -GMM_ENOMEM;
	}
	made->config = *config;
	made->window = window;
	made->live.ops.slot_change = process_slot_change;
	*accel = made;
	return 0;
}

static void process_destroy(struct gmm_accel *accel)
{
	munmap(accel->window, accel->config.gpa_bytes);
	gmm_live_stage2_fini(&accel->live);
	free(accel);
}

static void process_stage2(struct gmm_accel *accel, struct gmm_accel_stage2 *stage2)
{
	stage2->ops = gmm_live_stage2_ops(&accel->live);
	stage2->owner = &accel->live;
	stage2->live = &accel->live;
}

static int process_guest_memfd(struct gmm_accel *accel, uint64_t bytes, int *descriptor,
			       char text[GMM_ACCEL_TEXT_BYTES])
{
	snprintf(text, GMM_ACCEL_TEXT_BYTES,
		 "guest_memfd belongs to a KVM virtual machine: use --accel kvm");
	return -GMM_EOPNOTSUPP;
}

static void *process_vcpu_address(struct gmm_accel *accel, gmm_gpa_t gpa, uint64_t bytes)
{
	if (gpa > accel->config.gpa_bytes || bytes > accel->config.gpa_bytes - gpa)
		return NULL;
	return accel->window + gpa;
}

static void process_vcpu_address_release(struct gmm_accel *accel, void *address, uint64_t bytes)
{
	/* Reserved again, so that nothing else is mapped there meanwhile. */
	mmap(address, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
	     0);
}

static int process_vcpu_create(struct gmm_accel *accel, const struct gmm_accel_vcpu_start *start,
			       struct gmm_accel_vcpu **vcpu, char text[GMM_ACCEL_TEXT_BYTES])
{
	struct gmm_accel_vcpu *made;

	if (start->index >= accel->config.vcpus) {
		snprintf(text, GMM_ACCEL_TEXT_BYTES, "vCPU %u is not one of %u", start->index,
			 accel->config.vcpus);
		return -GMM_EINVAL;
	}
	made = calloc(1, sizeof(*made));
	if (!made) {
		snprintf(text, GMM_ACCEL_TEXT_BYTES, "out of memory");
		return -GMM_ENOMEM;
	}
	made->start = *start;
	made->cpu = (struct guest_cpu *)(accel->window + start->cpu_gpa);
	*vcpu = made;
	return 0;
}

static void process_vcpu_destroy(struct gmm_accel_vcpu *vcpu)
{
	free(vcpu);
}

static int process_vcpu_set_frame(struct gmm_accel_vcpu *vcpu, uint64_t frame_number)
{
	__atomic_store_n(&vcpu->start.mailbox->frame_number, frame_number, __ATOMIC_RELAXED);
	return 0;
}

static void process_vcpu_run(struct gmm_accel_vcpu *vcpu, struct gmm_accel_exit *exit)
{
	memset(exit, 0, sizeof(*exit));
	do {
		if (__atomic_load_n(&vcpu->kicked, __ATOMIC_RELAXED) &&
		    __atomic_exchange_n(&vcpu->kicked, 0, __ATOMIC_SEQ_CST)) {
			exit->kind = GMM_ACCEL_EXIT_KICKED;
			return;
		}
		exit->code = guest_step(vcpu->cpu);
	} while (exit->code == GUEST_EXIT_NONE);
	exit->kind = GMM_ACCEL_EXIT_GUEST;
}

static void process_vcpu_kick(struct gmm_accel_vcpu *vcpu)
{
	__atomic_exchange_n(&vcpu->kicked, 1, __ATOMIC_SEQ_CST);
}

const struct gmm_accel_ops gmm_accel_process = {
	.name = "process",
	.caveat = "not verified on KVM",
	.probe = process_probe,
	.create = process_create,
	.destroy = process_destroy,
	.stage2 = process_stage2,
	.guest_memfd = process_guest_memfd,
	.vcpu_address = process_vcpu_address,
	.vcpu_address_release = process_vcpu_address_release,
	.vcpu_create = process_vcpu_create,
	.vcpu_destroy = process_vcpu_destroy,
	.vcpu_set_frame = process_vcpu_set_frame,
	.vcpu_run = process_vcpu_run,
	.vcpu_kick = process_vcpu_kick,
};
