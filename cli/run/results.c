/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "results.h"

#include "device.h"
#include "run.h"
#include "shadow.h"

void run_results_add(struct run_results *results, const char *group, const char *name,
		     const char *label, enum run_unit unit, uint64_t value)
{
	if (results->count < RUN_ROWS_MOST)
		results->rows[results->count++] =
			(struct run_row){ group, name, label, unit, value };
}

static void add_count(struct run_results *results, const char *group, const char *name,
		      const char *label, uint64_t value)
{
	run_results_add(results, group, name, label, RUN_UNIT_COUNT, value);
}

static void collect_fault_service(struct run *run, struct run_results *results)
{
	static const char *const names[GMM_FAULT_SERVICE_KINDS] = {
		[GMM_FAULT_SERVICE_MISSING] = "missing",
		[GMM_FAULT_SERVICE_MINOR] = "minor",
		[GMM_FAULT_SERVICE_WP] = "write_protect",
	};
	struct gmm_fault_service_statistics statistics;
	uint32_t i;

	gmm_fault_service_read_statistics(run->faults, &statistics);
	for (i = 0; i < GMM_FAULT_SERVICE_KINDS; i++)
		results->faults[i] = (struct run_fault_row){
			.name = names[i],
			.served = statistics.kind[i].served,
			.held = statistics.kind[i].held,
			.failed = statistics.kind[i].failed,
			.p50 = gmm_latency_percentile(&statistics.kind[i].latency, 500),
			.p99 = gmm_latency_percentile(&statistics.kind[i].latency, 990),
		};
}

static void collect_guest(struct run *run, struct run_results *results)
{
	struct guest_statistics total = { 0 };
	struct guest_statistics one;
	uint64_t kicked = 0, entries = 0;
	uint32_t i;

	for (i = 0; i < run->vcpu_count; i++) {
		gmm_program_statistics(&run->program, i, &one);
		total.steps += one.steps;
		total.takes += one.takes;
		total.reads += one.reads + one.kept_reads;
		total.writes += one.writes;
		total.frame_uses += one.frame_uses;
		entries += run_load(&run->vcpus[i].entries);
		kicked += run_load(&run->vcpus[i].exits_kicked);
	}
	run_results_add(results, "run", "elapsed_ns", "vCPUs ran", RUN_UNIT_NANOSECONDS,
			run->stopped_at - run->started_at);
	add_count(results, "run", "steps", "steps", total.steps);
	add_count(results, "run", "verified_pages", "first touches as in the snapshot",
		  run_load(&run->verifier.verified));
	add_count(results, "run", "taken_pages", "pages taken over", total.takes);
	add_count(results, "run", "reads", "reads verified", total.reads);
	add_count(results, "run", "writes", "writes", total.writes);
	add_count(results, "run", "compared_pages", "pages compared at the end", run->final_pages);
	add_count(results, "vcpus", "entries", "entries", entries);
	add_count(results, "vcpus", "exits_by_kick", "exits by kick", kicked);
	add_count(results, "vcpus", "frame_uses", "uses of a frame", total.frame_uses);
}

static void collect_frames(struct run *run, const struct gmm_guest_counters *counters,
			   struct run_results *results)
{
	struct run_frames_counters frames;

	run_frames_counters(run, &frames);
	add_count(results, "vcpus", "kicks", "kicks", counters->kicks);
	add_count(results, "vcpus", "moves", "frames moved", frames.moves);
	add_count(results, "vcpus", "move_kicks", "vCPUs kicked by moves", frames.kicked);
	add_count(results, "vcpus", "bystander_kicks", "of these not in the set",
		  frames.bystanders);
}

static void collect_device(struct run *run, const struct gmm_guest_counters *counters,
			   struct run_results *results)
{
	struct run_device_counters device;

	run_device_counters(run, &device);
	add_count(results, "device", "reads", "buffers stored", device.reads);
	add_count(results, "device", "writes", "buffers compared", device.writes);
	add_count(results, "device", "refused", "buffers refused", device.refused);
	add_count(results, "device", "own_pages", "writes of its own pages", device.own_pages);
	run_results_add(results, "device", "bytes", "bytes", RUN_UNIT_BYTES, device.bytes);
	add_count(results, "caches", "hits", "hits", device.cache_hits);
	add_count(results, "caches", "refreshes", "refreshes", counters->cache_refreshes);
	add_count(results, "caches", "kept", "of these with the mapping kept",
		  counters->cache_refresh_kept);
	add_count(results, "caches", "retries", "refreshes overtaken", counters->cache_retries);
	add_count(results, "caches", "invalidations", "invalidated", counters->cache_invalidations);
	add_count(results, "caches", "reader_waits", "waits for sections", counters->reader_waits);
}

static void collect_engine(struct run *run, const struct gmm_guest_counters *counters,
			   struct run_results *results)
{
	add_count(results, "engine", "filled", "pages filled", counters->faults_filled);
	add_count(results, "engine", "refaults", "of these evicted before", counters->refaulted);
	add_count(results, "engine", "mapped", "pages mapped", counters->faults_mapped);
	add_count(results, "engine", "protect_faults", "writes to protected pages",
		  counters->faults_protect);
	add_count(results, "engine", "fast", "faults answered by the table", counters->faults_fast);
	add_count(results, "engine", "held", "faults held", counters->faults_held);
	add_count(results, "engine", "retried", "faults overtaken", counters->faults_retried);
	add_count(results, "engine", "invalidations", "ranges changed", counters->invalidations);
}

static void collect_memory(struct run *run, const struct gmm_guest_counters *counters,
			   struct run_results *results)
{
	struct gmm_memory_counters memory;

	gmm_memory_read_counters(run->snapshot.memory, &memory);
	add_count(results, "memory", "evictions", "pages evicted", counters->evicted);
	add_count(results, "memory", "evicted_clean", "of these unchanged",
		  counters->evicted_clean);
	add_count(results, "memory", "trims", "trims", run_load(&run->evictor.trims));
	run_results_add(results, "memory", "resident_bytes", "resident now", RUN_UNIT_BYTES,
			run_resident_pages(run) << RUN_PAGE_SHIFT);
	run_results_add(results, "memory", "most_resident_bytes", "resident at most",
			RUN_UNIT_BYTES, run_load(&run->evictor.most_resident) << RUN_PAGE_SHIFT);
	run_results_add(results, "memory", "filled_bytes", "paged in", RUN_UNIT_BYTES,
			memory.filled_bytes);
	run_results_add(results, "memory", "written_out_bytes", "paged out", RUN_UNIT_BYTES,
			memory.written_out_bytes);
	run_results_add(results, "memory", "mapped_bytes", "mapped for the engine now",
			RUN_UNIT_BYTES, memory.mapped_bytes);
	run_results_add(results, "memory", "most_mapped_bytes", "mapped at most", RUN_UNIT_BYTES,
			memory.most_mapped_bytes);
	add_count(results, "memory", "map_calls", "system calls for that", memory.map_calls);
}

static void collect_dirty(struct run *run, const struct gmm_guest_counters *counters,
			  struct run_results *results)
{
	const struct run_harvester *harvester = &run->harvester;
	uint64_t pages = run_load(&harvester->pages);

	add_count(results, "dirty", "harvests", "harvests", run_load(&harvester->harvests));
	add_count(results, "dirty", "pages", "pages harvested", pages);
	add_count(results, "dirty", "ring_pages", "entries of the vCPUs' rings",
		  run_load(&harvester->ring_pages) +
			  (run->ops->ring_entries ? run->ops->ring_entries(run->accel) : 0));
	add_count(results, "dirty", "distinct_pages", "different pages",
		  run_shadow_pages(run->shadow));
	add_count(results, "dirty", "marked", "marks by faults and caches", counters->dirty_marked);
	run_results_add(results, "dirty", "bytes", "bytes", RUN_UNIT_BYTES,
			pages << RUN_PAGE_SHIFT);
	run_results_add(results, "dirty", "time_ns", "time", RUN_UNIT_NANOSECONDS,
			run_load(&harvester->nanoseconds));
}

static void collect_saving(struct run *run, struct run_results *results)
{
	struct run_save_counters saving;

	if (!run_save_counters(run, &saving))
		return;
	add_count(results, "saving", "snapshots", "snapshots", saving.committed);
	add_count(results, "saving", "chain", "files it consists of", saving.chain);
	add_count(results, "saving", "bases", "bases written", saving.bases);
	add_count(results, "saving", "increments", "increments written", saving.increments);
	add_count(results, "saving", "pages", "pages", saving.pages);
	run_results_add(results, "saving", "bytes", "bytes", RUN_UNIT_BYTES, saving.bytes);
	add_count(results, "saving", "compared_pages", "pages read back and compared",
		  saving.compared);
	run_results_add(results, "saving", "time_ns", "time", RUN_UNIT_NANOSECONDS,
			saving.nanoseconds);
	run_results_add(results, "saving", "pause_ns", "of this with the guest stopped",
			RUN_UNIT_NANOSECONDS, saving.pause_ns);
}

void run_results_collect(struct run *run, struct run_results *results)
{
	struct gmm_guest_counters counters;

	results->count = 0;
	gmm_guest_read_counters(run->guest, &counters);
	collect_fault_service(run, results);
	collect_guest(run, results);
	collect_frames(run, &counters, results);
	collect_engine(run, &counters, results);
	collect_memory(run, &counters, results);
	collect_device(run, &counters, results);
	collect_dirty(run, &counters, results);
	collect_saving(run, results);
	run_events_collect(run, results);
	if (run->options.fail_one_in) {
		add_count(results, "failing", "operations", "operations failed on purpose",
			  run_load(&run->failing.operations));
		add_count(results, "failing", "allocations", "allocations failed on purpose",
			  run_load(&run->failing.allocations));
	}
}
