/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Several devices at once (device.c): each has a thread, a reader, caches, and a share of the vCPUs. */
#include "device.h"
#include "results.h"
#include "run.h"

static const char *unavailable(const struct run *run)
{
	if (run->options.vcpus == 1)
		return "one vCPU has one device: give --vcpus 2 or more";
	if (run->options.devices == 1)
		return "--devices 1 is one device: give 2 or more";
	return run->options.hold ? "--hold and --leave-out hold one device" : NULL;
}

static void collect(struct run_event *event, struct run_results *results)
{
	struct run *run = event->run;
	uint64_t least = ~(uint64_t)0, least_own = ~(uint64_t)0;
	uint32_t i;

	for (i = 0; i < run->device_count; i++) {
		const struct run_device_counters *counters = &run->devices[i].counters;
		uint64_t buffers = run_load(&counters->reads) + run_load(&counters->writes);
		uint64_t own = run_load(&counters->own_pages);

		least = buffers < least ? buffers : least;
		least_own = own < least_own ? own : least_own;
	}
	run_results_add(results, "devices", "count", "devices at once", RUN_UNIT_COUNT,
			run->device_count);
	run_results_add(results, "devices", "least_buffers", "fewest buffers of one",
			RUN_UNIT_COUNT, least);
	run_results_add(results, "devices", "least_own_pages", "fewest writes of its own pages",
			RUN_UNIT_COUNT, least_own);
}

const struct run_event_ops run_event_devices = {
	.name = "devices",
	.what = "several devices at once, see --devices",
	.unavailable = unavailable,
	.collect = collect,
};
