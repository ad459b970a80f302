/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The vCPUs' threads: enter, run, leave, until the guest has come to an end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../command.h"
#include "run.h"

#define RING_ENTRIES 4096u
#define REPORTS_PAUSE_NS 200000u
#define MEMORY_PAUSE_NS 50000u

static _Thread_local uint64_t kicked_here;

uint64_t run_vcpus_kicked_here(void)
{
	uint64_t kicked = kicked_here;

	kicked_here = 0;
	return kicked;
}

static void kick(void *opaque, uint32_t id)
{
	struct run_vcpu *vcpu = opaque;

	kicked_here |= (uint64_t)1 << id;
	vcpu->run->ops->vcpu_kick(vcpu->accel_vcpu);
}

int run_vcpus_create(struct run *run)
{
	uint32_t i;
	int error = 0;

	run->vcpus = calloc(run->options.vcpus, sizeof(*run->vcpus));
	if (!run->vcpus)
		return run_refuse("out of memory for %u vCPUs", run->options.vcpus);
	for (i = 0; i < run->options.vcpus && !error; i++) {
		struct run_vcpu *vcpu = &run->vcpus[i];

		vcpu->run = run;
		vcpu->index = i;
		error = gmm_vcpu_create(run->guest, i, kick, vcpu, &vcpu->vcpu);
		if (error)
			break;
		run->vcpu_count++;
		if (run->engine_rings)
			error = gmm_dirty_ring_create(vcpu->vcpu, RING_ENTRIES);
	}
	if (error)
		return run_refuse("vCPU %u cannot be made (%s): use fewer --vcpus", i,
				  run_error_text(error));
	return 0;
}

void run_vcpus_destroy(struct run *run)
{
	uint32_t i;

	for (i = 0; i < run->vcpu_count; i++)
		gmm_vcpu_destroy(run->vcpus[i].vcpu);
	run->vcpu_count = 0;
	free(run->vcpus);
	run->vcpus = NULL;
}

/* Takes what others asked for. Waking up is no request. */
static void take_requests(struct run_vcpu *vcpu)
{
	uint32_t requests = gmm_vcpu_take_requests(vcpu->vcpu);

	if (requests & (1u << RUN_REQUEST_STOP))
		gmm_program_stop(&vcpu->run->program, vcpu->index, true);
	else if (requests & (1u << RUN_REQUEST_WAIT_FOR_ROOM))
		run_evictor_wait_for_room(vcpu->run);
	else if (!requests)
		/* Its dirty ring is full: whoever empties it wakes us. */
		gmm_vcpu_sleep(vcpu->vcpu);
}

static void unexpected(struct run_vcpu *vcpu, const struct gmm_accel_exit *exit)
{
	struct run *run = vcpu->run;

	switch (exit->kind) {
	case GMM_ACCEL_EXIT_MMIO:
		run_abandon(run, GMM_EXIT_LOST,
			    "vCPU %u: %s of %u bytes at GPA 0x%llx, which is in no slot",
			    vcpu->index, exit->mmio.is_write ? "write" : "read", exit->mmio.length,
			    (unsigned long long)exit->mmio.gpa);
		return;
	case GMM_ACCEL_EXIT_GUEST:
		run_abandon(run, GMM_EXIT_LOST,
			    "vCPU %u: the guest program ended with code %u (%s)", vcpu->index,
			    exit->code,
			    exit->code == GUEST_EXIT_BROKEN ? "its slot is damaged" : "unexpected");
		return;
	default:
		run_abandon(run, GMM_EXIT_LOST, "vCPU %u: %s", vcpu->index, exit->text);
	}
}

/* Whether the vCPU goes on. Outside guest mode. */
static bool handle_exit(struct run_vcpu *vcpu, const struct gmm_accel_exit *exit)
{
	if (exit->kind == GMM_ACCEL_EXIT_KICKED) {
		run_count(&vcpu->exits_kicked, 1);
		return true;
	}
	if (exit->kind == GMM_ACCEL_EXIT_MEMORY && vcpu->run->repair) {
		/* Without an end it is a vCPU that makes no step. */
		run_count(&vcpu->exits_memory, 1);
		run_pause(vcpu->run, run_phase(vcpu->run), MEMORY_PAUSE_NS);
		return true;
	}
	run_count(&vcpu->exits_other, 1);
	if (exit->kind == GMM_ACCEL_EXIT_MMIO && run_events_mmio(vcpu->run, vcpu->index, exit))
		return true;
	if (exit->kind == GMM_ACCEL_EXIT_GUEST && exit->code == GUEST_EXIT_STOPPED)
		return false;
	if (exit->kind == GMM_ACCEL_EXIT_GUEST && exit->code == GUEST_EXIT_RING_FULL) {
		run_pause(vcpu->run, RUN_GOING, REPORTS_PAUSE_NS);
		return true;
	}
	unexpected(vcpu, exit);
	return false;
}

static void run_guest(struct run_vcpu *vcpu)
{
	struct run *run = vcpu->run;
	uint64_t frame = GUEST_FRAME_NONE, now;
	struct gmm_accel_exit exit;
	bool go_on = true;
	int error;

	while (go_on && !run_abandoned(run)) {
		error = gmm_vcpu_enter(vcpu->vcpu);
		if (error == -GMM_EAGAIN) {
			take_requests(vcpu);
			continue;
		}
		if (error && run_failing_try_again(run, error))
			continue;
		if (error) {
			run_abandon(run, GMM_EXIT_LOST, "vCPU %u cannot enter: %s", vcpu->index,
				    run_error_text(error));
			return;
		}
		run_count(&vcpu->entries, 1);
		now = run_frames_current(run, vcpu->index);
		if (now != frame && run->ops->vcpu_set_frame(vcpu->accel_vcpu, now))
			run_abandon(run, GMM_EXIT_LOST, "vCPU %u cannot be given a frame",
				    vcpu->index);
		frame = now;
		run->ops->vcpu_run(vcpu->accel_vcpu, &exit);
		gmm_vcpu_exit(vcpu->vcpu);
		go_on = handle_exit(vcpu, &exit);
	}
}

static void *vcpu_thread(void *opaque)
{
	struct run_vcpu *vcpu = opaque;
	struct run *run = vcpu->run;
	char text[GMM_ACCEL_TEXT_BYTES] = "";
	struct gmm_accel_vcpu_start start;

	gmm_program_vcpu_start(&run->program, vcpu->index, &start);
	if (run->ops->vcpu_create(run->accel, &start, &vcpu->accel_vcpu, text)) {
		vcpu->accel_vcpu = NULL;
		run_abandon(run, GMM_EXIT_REFUSED, "vCPU %u cannot be made: %s", vcpu->index, text);
	} else {
		run_guest(vcpu);
	}
	__atomic_store_n(&vcpu->parked, 1, __ATOMIC_RELEASE);
	run_changed(run);
	/* A kick may be under way until everybody who kicks has ended. */
	run_phase_wait(run, RUN_OVER);
	if (vcpu->accel_vcpu)
		run->ops->vcpu_destroy(vcpu->accel_vcpu);
	return NULL;
}

int run_vcpus_start(struct run *run)
{
	uint32_t i;

	for (i = 0; i < run->vcpu_count; i++) {
		struct run_vcpu *vcpu = &run->vcpus[i];

		snprintf(vcpu->name, sizeof(vcpu->name), "vcpu %u", i);
		if (run_worker_start(run, &vcpu->worker, vcpu->name, vcpu_thread, vcpu))
			return -1;
	}
	return 0;
}

void run_vcpus_stop(struct run *run)
{
	uint32_t i;

	for (i = 0; i < run->vcpu_count; i++)
		if (gmm_vcpu_request(run->vcpus[i].vcpu, RUN_REQUEST_STOP, 0) > 0)
			run->stop_kicks++;
}

bool run_vcpus_parked(const struct run *run)
{
	uint32_t i;

	for (i = 0; i < run->vcpu_count; i++)
		if (run->vcpus[i].worker.started &&
		    !__atomic_load_n(&run->vcpus[i].parked, __ATOMIC_ACQUIRE))
			return false;
	return true;
}

void run_vcpus_join(struct run *run)
{
	uint32_t i;

	for (i = 0; i < run->vcpu_count; i++)
		run_worker_join(run, &run->vcpus[i].worker);
}
