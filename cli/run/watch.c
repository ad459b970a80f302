/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Time, progress, and the end of a run. */
#include <signal.h>
#include <stdio.h>

#include "../command.h"
#include "../size.h"
#include "../terminal.h"
#include "run.h"

#define TICK_NS 100000000u
#define SOURCE_CHECK_TICKS 10u
/* Two signals of which the second comes sooner are one. */
#define INSIST_NS 1000000000u
/* How long vCPUs have to park after they were let go. */
#define LET_GO_NS 5000000000u

struct watch {
	struct run *run;
	uint64_t ticks;
	uint64_t last_verified;
};

static uint64_t steps_of(const struct run *run, uint32_t vcpu)
{
	return run_load(&run->program.vcpus[vcpu].mailbox.statistics.steps);
}

/* What is known of the page on which a vCPU may hang. */
static void describe_page(struct run *run, const struct run_vcpu *vcpu, char *text, size_t size)
{
	static const char *const states[] = {
		[GMM_PAGE_ABSENT] = "absent",
		[GMM_PAGE_ZERO] = "zero",
		[GMM_PAGE_PRESENT] = "present",
		[GMM_PAGE_EVICTED] = "evicted",
	};
	uint64_t gfn = run_load(&vcpu->last_fault);
	struct gmm_page_info info;

	if (!gfn || gmm_page_query(run->guest, gfn - 1, &info)) {
		snprintf(text, size, "it never faulted");
		return;
	}
	snprintf(text, size, "its last fault was on page %llu (GPA 0x%llx; %s, %s%s)",
		 (unsigned long long)(gfn - 1 - (run->snapshot.gpa >> RUN_PAGE_SHIFT)),
		 (unsigned long long)((gfn - 1) << RUN_PAGE_SHIFT), states[info.state],
		 info.mapped ? "mapped" : "not mapped", info.busy ? ", being changed" : "");
}

static void report_hang(struct run *run, const struct run_vcpu *vcpu)
{
	char page[160], time[GMM_SIZE_TEXT];

	describe_page(run, vcpu, page, sizeof(page));
	run_abandon(run, GMM_EXIT_LOST, "vCPU %u hangs: no step for %s; %s", vcpu->index,
		    gmm_time_format(run->options.hang_ms * 1000000u, time), page);
}

/* Every vCPU makes steps, or has parked. */
static void check_progress(struct run *run)
{
	uint64_t now = run_now();
	uint32_t i;

	for (i = 0; i < run->vcpu_count; i++) {
		struct run_vcpu *vcpu = &run->vcpus[i];
		uint64_t steps = steps_of(run, i);

		if (steps != vcpu->steps_seen || !vcpu->steps_seen_at ||
		    __atomic_load_n(&vcpu->parked, __ATOMIC_ACQUIRE)) {
			vcpu->steps_seen = steps;
			vcpu->steps_seen_at = now;
		} else if (now - vcpu->steps_seen_at > run->options.hang_ms * 1000000u) {
			report_hang(run, vcpu);
			return;
		}
	}
}

/* A vCPU that was asked to stop does so, however busy it is. */
static void check_stopping(struct run *run)
{
	char time[GMM_SIZE_TEXT];
	uint32_t i;

	if (run_now() - run->stopped_at < run->options.hang_ms * 1000000u)
		return;
	for (i = 0; i < run->vcpu_count; i++)
		if (!__atomic_load_n(&run->vcpus[i].parked, __ATOMIC_ACQUIRE))
			run_abandon(run, GMM_EXIT_LOST,
				    "vCPU %u does not stop: it was asked to %s ago", i,
				    gmm_time_format(run->options.hang_ms * 1000000u, time));
}

static void show(struct watch *watch)
{
	struct run *run = watch->run;
	uint64_t elapsed = run_now() - run->started_at;
	uint64_t verified = run_load(&run->verifier.verified);
	char resident[GMM_SIZE_TEXT], steps_text[GMM_SIZE_TEXT], saving[64];
	struct gmm_guest_counters counters;
	uint64_t steps = 0;
	uint32_t i;

	for (i = 0; i < run->vcpu_count; i++)
		steps += steps_of(run, i);
	gmm_guest_read_counters(run->guest, &counters);
	snprintf(steps_text, sizeof(steps_text), "%.1fk", (double)steps / 1000);
	gmm_live_line(
		"%s  %3llu s  verified %llu/%llu pages  resident %s  faults %llu  evicted %llu  "
		"dirty %llu  steps %s  losses %llu%s",
		run->ops->name, (unsigned long long)(elapsed / 1000000000u),
		(unsigned long long)verified, (unsigned long long)run->page_count,
		gmm_size_format(run_resident_pages(run) << RUN_PAGE_SHIFT, resident),
		(unsigned long long)(counters.faults_filled + counters.faults_mapped),
		(unsigned long long)counters.evicted, (unsigned long long)counters.dirty_harvested,
		steps_text,
		(unsigned long long)__atomic_load_n(&run->outcome.losses, __ATOMIC_RELAXED),
		run_save_progress(run, saving, sizeof(saving)));
}

static void tick(struct watch *watch, enum run_phase phase)
{
	struct run *run = watch->run;

	run_pause(run, phase, TICK_NS);
	check_progress(run);
	run_failing_tick(run);
	run_log_print(&run->log);
	if (watch->ticks++ % SOURCE_CHECK_TICKS == 0 && run->source.ops->check(run->source.source))
		run_source_failed(run);
	if (watch->ticks % 2 == 0)
		show(watch);
}

/* The guest cannot be brought to an end in order: its faults are let go, its vCPUs kicked out. */
static void give_up(struct run *run)
{
	uint64_t until = run_now() + LET_GO_NS;

	while (!run_vcpus_parked(run) && run_now() < until) {
		run_faults_wake(run);
		run_vcpus_stop(run);
		run_pause(run, run_phase(run), TICK_NS / 10);
	}
	if (!run_vcpus_parked(run))
		run_die(run);
}

/*
 * SIGINT and SIGTERM end the run early and in order; one more, later, ends the process. timeout(1)
 * sends its signal twice, to the process and to its group.
 */
static uint64_t interrupted_at; /* ns; atomic; 0: it was not */

static void interrupt(int number)
{
	uint64_t now = run_now(), first = 0;

	if (__atomic_compare_exchange_n(&interrupted_at, &first, now, false, __ATOMIC_RELAXED,
					__ATOMIC_RELAXED) ||
	    now < first + INSIST_NS)
		return;
	signal(number, SIG_DFL);
	raise(number);
}

void run_take_signals(void)
{
	struct sigaction action = { .sa_handler = interrupt };

	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

void run_watch(struct run *run)
{
	struct watch watch = { .run = run };
	uint64_t until;

	run->started_at = run_now();
	until = run->started_at + run->options.duration_ms * 1000000u;
	while (!run_abandoned(run) && !run_load(&interrupted_at) && run_now() < until)
		tick(&watch, RUN_GOING);
	run->stopped_at = run_now();
	run_phase_set(run, RUN_STOPPING);
	run_vcpus_stop(run);
	while (!run_abandoned(run) && !run_vcpus_parked(run)) {
		tick(&watch, RUN_STOPPING);
		check_stopping(run);
	}
	if (run_abandoned(run))
		give_up(run);
	run_failing_stop(run);
	run_phase_set(run, RUN_QUIET);
	gmm_live_line_clear();
}
