/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Between the fault service and the engine. */
#include <stdio.h>

#include "../command.h"
#include "run.h"

/* The engine's rings have one producer. */
#define MANY_VCPUS 4u

/*
 * The run is given up, and its guest may see anything: no vCPU is left in a fault that nobody can
 * serve.
 */
static int let_go(struct run *run, gmm_hva_t hva)
{
	if (gmm_userfault_continue(run->userfault, hva, RUN_PAGE_BYTES, 0, NULL))
		gmm_userfault_zero(run->userfault, hva, RUN_PAGE_BYTES, 0, NULL);
	gmm_userfault_unprotect(run->userfault, hva, RUN_PAGE_BYTES, 0);
	gmm_userfault_wake(run->userfault, hva, RUN_PAGE_BYTES);
	return 0;
}

/* Whose fault it is, as far as the page's owner tells; NULL for memory of events. */
static struct run_vcpu *vcpu_of(struct run *run, gmm_hva_t hva)
{
	uint64_t offset = hva - (uintptr_t)run->snapshot.hva;
	struct run_vcpu *vcpu;

	if (offset >= run->snapshot.bytes)
		return NULL;
	vcpu = &run->vcpus[run_page_owner(run, offset >> RUN_PAGE_SHIFT)];
	__atomic_store_n(&vcpu->last_fault, ((run->snapshot.gpa + offset) >> RUN_PAGE_SHIFT) + 1,
			 __ATOMIC_RELAXED);
	return vcpu;
}

static int serve(void *opaque, gmm_hva_t hva, uint32_t access)
{
	struct run *run = opaque;
	struct run_vcpu *vcpu = vcpu_of(run, hva);
	uint64_t resident;
	int result;

	if (run_abandoned(run))
		return let_go(run, hva);
	result = gmm_fault_serve_at(run->guest, run->engine_rings && vcpu ? vcpu->vcpu : NULL, hva,
				    access);
	/* Out of the guest, where it stays until the ring has been emptied. */
	if (run->engine_rings && vcpu && gmm_dirty_ring_full(vcpu->vcpu) &&
	    gmm_vcpu_request(vcpu->vcpu, GMM_REQUEST_NONE, 0) > 0)
		run_count(&run->ring_kicks, 1);
	resident = gmm_resident_pages(run->guest);
	if (resident > run->evictor.limit)
		run_evictor_want(run);
	if (vcpu && resident > run_evictor_most(run) &&
	    gmm_vcpu_request(vcpu->vcpu, RUN_REQUEST_WAIT_FOR_ROOM, 0) > 0)
		run_count(&run->room_kicks, 1);
	return result;
}

void run_source_failed(struct run *run)
{
	char text[GMM_BACKING_TEXT_SIZE] = "";

	run->source.ops->failure(run->source.source, text, sizeof(text));
	run_abandon(run, GMM_EXIT_REFUSED, "%s", *text ? text : "the snapshot cannot be read");
}

void run_memory_failed(struct run *run, const char *what, int error)
{
	char text[GMM_BACKING_TEXT_SIZE] = "";

	if (run->source.ops->check(run->source.source)) {
		run_source_failed(run);
		return;
	}
	gmm_memory_failure(run->snapshot.memory, text, sizeof(text));
	if (!*text)
		run_events_failure(run, text, sizeof(text));
	if (*text)
		run_abandon(run, GMM_EXIT_LOST, "%s", text);
	else
		run_abandon(run, GMM_EXIT_LOST, "%s (%s)", what, run_error_text(error));
}

static void failed(void *opaque, gmm_hva_t hva, uint32_t access, int error)
{
	struct run *run = opaque;
	uint64_t offset = hva - (uintptr_t)run->snapshot.hva;
	char what[96], page[32] = "a page of an event";

	if (run_failing_try_again(run, error)) {
		gmm_userfault_wake(run->userfault, hva, RUN_PAGE_BYTES);
		return;
	}
	if (offset < run->snapshot.bytes)
		snprintf(page, sizeof(page), "page %llu",
			 (unsigned long long)(offset >> RUN_PAGE_SHIFT));
	snprintf(what, sizeof(what), "%s cannot be served for %s", page,
		 access & GMM_ACCESS_WRITE ? "writing" : "reading");
	run_memory_failed(run, what, error);
	let_go(run, hva);
}

void run_faults_wake(struct run *run)
{
	gmm_userfault_wake(run->userfault, (uintptr_t)run->snapshot.hva, run->snapshot.bytes);
}

int run_faults_start(struct run *run)
{
	struct gmm_fault_service_config config = {
		.guest = run->guest,
		.userfault = run->userfault,
		.threads = run->options.vcpus > MANY_VCPUS && !run->engine_rings ? 2 : 1,
		.busy_threads = run->options.vcpus + 1,
		.repair = run->repair,
		.serve = serve,
		.failed = failed,
		.opaque = run,
	};
	int error = gmm_fault_service_start(&config, &run->faults);

	if (error)
		return run_refuse("the fault service cannot be started (%s): raise the limit "
				  "(ulimit -n, ulimit -u, ulimit -v)",
				  run_error_text(error));
	return 0;
}

void run_faults_stop(struct run *run)
{
	gmm_fault_service_stop(run->faults);
	run->faults = NULL;
}
