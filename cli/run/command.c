/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "command.h"

#include <stdio.h>
#include <stdlib.h>

#include "../command.h"
#include "hold.h"
#include "report.h"
#include "run.h"

static void start_workers(struct run *run)
{
	const struct {
		struct run_worker *worker;
		const char *name;
		void *(*function)(void *opaque);
	} workers[] = {
		{ &run->verifier_worker, "verifier", run_verifier_thread },
		{ &run->evictor_worker, "evictor", run_evictor_thread },
		{ &run->harvester_worker, "harvester", run_harvester_thread },
		{ &run->saver_worker, "saver", run_save_thread },
		{ &run->mover_worker, "mover", run_frames_mover_thread },
		{ &run->sampler_worker, "sampler", run_sampler_thread },
	};
	size_t i;

	for (i = 0; i < sizeof(workers) / sizeof(workers[0]); i++) {
		if (workers[i].worker == &run->mover_worker && run_hold_frames(run))
			continue;
		if (workers[i].worker == &run->saver_worker && !run->save)
			continue;
		if (workers[i].worker == &run->sampler_worker && !run->options.report)
			continue;
		if (run_worker_start(run, workers[i].worker, workers[i].name, workers[i].function,
				     run))
			return;
	}
	if (!run_devices_start(run))
		run_events_start(run);
}

/* All vCPUs are parked. */
static void finish(struct run *run)
{
	run_worker_join(run, &run->mover_worker);
	run_events_join(run);
	run_worker_join(run, &run->evictor_worker);
	run_devices_join(run);
	run_worker_join(run, &run->verifier_worker);
	run_worker_join(run, &run->harvester_worker);
	run_save_wait(run);
	run_worker_join(run, &run->saver_worker);
	run_worker_join(run, &run->sampler_worker);
	run_hold_stop(run);
	if (!run_abandoned(run) && !run_harvest(run, true)) {
		run_frames_verify(run);
		run_final_compare(run);
		run_events_verify(run);
		if (run->source.ops->check(run->source.source))
			run_source_failed(run);
		run_save_finish(run);
	}
	run_phase_set(run, RUN_OVER);
	run_vcpus_join(run);
}

static int run_and_report(struct run *run)
{
	run_take_signals();
	run_report_begin(run);
	run->began_at = run_now();
	run_hold_start(run);
	if (!run_vcpus_start(run))
		start_workers(run);
	run_watch(run);
	finish(run);
	return run_report_end(run);
}

int gmm_command_run(int argc, char **argv)
{
	struct run *run = calloc(1, sizeof(*run));
	int status;

	if (!run)
		return run_refuse("out of memory");
	status = run_options_parse(argc, argv, &run->options);
	if (status >= 0) {
		free(run);
		return status;
	}
	if (run_sync_init(&run->sync)) {
		free(run);
		return run_refuse("out of memory");
	}
	if (run_outcome_init(&run->outcome)) {
		run_sync_destroy(&run->sync);
		free(run);
		return run_refuse("out of memory");
	}
	status = run_setup(run);
	if (!status)
		status = run_and_report(run);
	run_teardown(run);
	run_outcome_destroy(&run->outcome);
	run_sync_destroy(&run->sync);
	free(run);
	return status;
}
