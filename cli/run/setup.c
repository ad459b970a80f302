/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What a run consists of, made in order and undone in the other. */
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <guestmm/linux/snapshot.h>

#include "../command.h"
#include "../size.h"
#include "../terminal.h"
#include "run.h"

/* Mailbox: of a thousand accesses so many post a buffer, at most so many at once. */
#define IO_PER_MILLE 100u
#define IO_DEPTH 8u
/* The hot set is a part of each vCPU's share. */
#define HOT_ONE_OF 16u
#define WRITE_PERCENT 50u

/* A directory of --save, or a raw file. */
static int open_snapshot(struct run *run, char *text, size_t text_size)
{
	const char *path = run->options.snapshot;
	struct stat info;
	int error;

	if (stat(path, &info) || !S_ISDIR(info.st_mode))
		return gmm_source_open_file(&run->source, path, RUN_PAGE_SHIFT, text, text_size);
	gmm_live_line("comparing %s with its checksums", path);
	error = gmm_source_open_snapshot(&run->source, path, RUN_PAGE_SHIFT, GMM_SNAPSHOT_VERIFY,
					 text, text_size);
	gmm_live_line_clear();
	return error;
}

static int open_source(struct run *run)
{
	struct run_options *options = &run->options;
	uint64_t memory = options->memory ? options->memory : RUN_MEMORY_DEFAULT;
	char text[GMM_BACKING_TEXT_SIZE] = "", have[GMM_SIZE_TEXT], want[GMM_SIZE_TEXT];
	int error;

	if (options->snapshot)
		error = open_snapshot(run, text, sizeof(text));
	else
		error = gmm_source_open_generated(&run->source, options->seed,
						  memory >> RUN_PAGE_SHIFT, RUN_PAGE_SHIFT, text,
						  sizeof(text));
	if (error) {
		run->source.ops = NULL;
		return run_refuse("%s%s", options->snapshot ? "--snapshot " : "", text);
	}
	run->memory_bytes = run->source.ops->size(run->source.source);
	run->page_count = run->memory_bytes >> RUN_PAGE_SHIFT;
	if (options->memory && options->memory != run->memory_bytes)
		return run_refuse(
			"--memory %s is not the size of %s, which is %s: leave --memory out",
			gmm_size_format(options->memory, want), options->snapshot,
			gmm_size_format(run->memory_bytes, have));
	return 0;
}

static int choose_resident(struct run *run)
{
	uint64_t least = RUN_RESIDENT_LEAST_PAGES;
	uint64_t pages = run->options.resident >> RUN_PAGE_SHIFT;
	char text[GMM_SIZE_TEXT], least_text[GMM_SIZE_TEXT];

	if (!run->options.resident) {
		pages = run_is_resident(run) ? run->page_count : run->page_count / 2;
		if (pages < least)
			pages = least;
	}
	if (pages < least)
		return run_refuse("--resident %s is too small: give at least %s",
				  gmm_size_format(run->options.resident, text),
				  gmm_size_format(least << RUN_PAGE_SHIFT, least_text));
	run->evictor.limit = pages;
	run->evictor.wakeup = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (run->evictor.wakeup < 0)
		return run_refuse("no eventfd: raise the limit of open files (ulimit -n)");
	return 0;
}

static int open_userfault(struct run *run, const struct gmm_accel_ops *ops,
			  char text[GMM_ACCEL_TEXT_BYTES])
{
	/* Of events, when the guest's memory is none that is paged. */
	uint32_t wanted = GMM_USERFAULT_SHARED | GMM_USERFAULT_SHARED_WP;
	uint32_t required = 0;

	if (run->options.memory_kind == GMM_MEMORY_KIND_MEMFD)
		required = GMM_USERFAULT_SHARED | GMM_USERFAULT_SHARED_WP;
	else if (run->options.memory_kind == GMM_MEMORY_KIND_ANONYMOUS)
		required = GMM_USERFAULT_PRIVATE_WP;
	if (ops == &gmm_accel_kvm)
		required |= GMM_USERFAULT_KERNEL;
	if (run->options.memory_kind == GMM_MEMORY_KIND_MEMFD &&
	    run_events_want(run, run_event_foreign.name))
		wanted |= GMM_USERFAULT_EVENTS;
	return gmm_userfault_open(required, wanted, &run->userfault, text);
}

/*
 * The accelerator that was asked for; or KVM, and if that cannot be used, the process. The
 * userfaultfd belongs to the choice: KVM needs one that gets the kernel's faults.
 */
static int choose_accel(struct run *run)
{
	char text[GMM_ACCEL_TEXT_BYTES] = "";
	const struct gmm_accel_ops *asked = run->options.accel;

	run->ops = asked ? asked : &gmm_accel_kvm;
	if (!run->ops->probe(text) && !open_userfault(run, run->ops, text))
		return 0;
	if (asked)
		return run_refuse("--accel %s: %s", asked->name, text);
	snprintf(run->accel_reason, sizeof(run->accel_reason), "%s", text);
	run->ops = &gmm_accel_process;
	if (open_userfault(run, run->ops, text))
		return run_refuse("%s", text);
	return 0;
}

static gmm_gpa_t above(gmm_gpa_t end)
{
	/* The guest's page tables have leaves of this size. */
	const uint64_t unit = 2u << 20;

	return (end + unit - 1) / unit * unit;
}

/* Pages that somebody takes away are named by run_event_foreign_lost(), where that is a loss. */
static void keep_line(void *opaque, enum gmm_log_level level, const char *text)
{
	struct run *run = opaque;

	if (!run->repair || strncmp(text, "lost: ", 6))
		run_log_keep(&run->log, level, text);
}

static void pages_lost(void *opaque, gmm_gfn_t gfn, uint64_t count)
{
	run_event_foreign_lost(opaque, gfn, count);
}

static int create_guest(struct run *run)
{
	struct gmm_guest_config config = {
		.page_shift = RUN_PAGE_SHIFT,
		.max_vcpus = run->options.vcpus,
		.leave_out = run->options.leave_out,
		.log = keep_line,
		.log_opaque = run,
		.lost = pages_lost,
		.lost_opaque = run,
	};
	int error;

	run->ops->stage2(run->accel, &run->stage2);
	config.stage2_ops = run->stage2.ops;
	config.stage2_owner = run->stage2.owner;
	error = gmm_guest_create(&config, &run->guest);
	if (error) {
		run->guest = NULL;
		return run_refuse("the guest cannot be made (%s)", run_error_text(error));
	}
	return 0;
}

static int create_accel(struct run *run, const struct gmm_program_config *program, uint64_t bytes)
{
	struct gmm_accel_config config = {
		.gpa_bytes = program->program_gpa + bytes,
		.vcpus = run->options.vcpus,
		.dirty = run->options.dirty,
		.userfault = run->userfault,
	};
	char text[GMM_ACCEL_TEXT_BYTES] = "";
	int error;

	/* The process has no log of its own: there the engine's rings are used. */
	if (run->ops == &gmm_accel_process && config.dirty == GMM_ACCEL_DIRTY_RING) {
		run->engine_rings = true;
		config.dirty = GMM_ACCEL_DIRTY_BITMAP;
	}
	error = run->ops->create(&config, &run->accel, text);
	if (error && config.dirty == GMM_ACCEL_DIRTY_RING && !run->options.dirty_given) {
		snprintf(run->ring_reason, sizeof(run->ring_reason), "%s", text);
		run->options.dirty = config.dirty = GMM_ACCEL_DIRTY_BITMAP;
		error = run->ops->create(&config, &run->accel, text);
	}
	if (error) {
		run->accel = NULL;
		return run_refuse("accel %s: %s", run->ops->name, text);
	}
	return 0;
}

static int create_snapshot_memory(struct run *run)
{
	struct gmm_memory_config config = {
		.kind = run->options.memory_kind,
		.page_count = run->page_count,
		.page_shift = RUN_PAGE_SHIFT,
		.source = run->source,
		.mapping = run->options.mapping,
	};
	int status = run_memory_kind_open(run, &config.fd);

	if (!status)
		status = run_memory_create(run, &run->snapshot, &config, 0);
	if (config.fd >= 0)
		close(config.fd);
	if (!status)
		status = run_memory_add_slot(run, &run->snapshot, RUN_SLOT_SNAPSHOT,
					     run_has_log(&run->options) ? GMM_SLOT_LOG_DIRTY : 0);
	if (!status)
		gmm_memory_attach_userfault(run->snapshot.memory,
					    gmm_userfault_descriptor(run->userfault));
	return status;
}

static void fill_mailboxes(struct run *run)
{
	uint64_t share = run->page_count / run->options.vcpus;
	uint32_t i;

	for (i = 0; i < run->options.vcpus; i++) {
		struct guest_mailbox *mailbox = &run->program.vcpus[i].mailbox;

		mailbox->io_per_mille = IO_PER_MILLE;
		mailbox->io_depth = IO_DEPTH;
		mailbox->hot_pages = (uint32_t)(share / HOT_ONE_OF + 1);
		mailbox->write_percent = WRITE_PERCENT;
	}
}

static int create_program(struct run *run, const struct gmm_program_config *program, uint64_t bytes)
{
	struct gmm_memory_config config = {
		.kind = GMM_MEMORY_KIND_PLAIN,
		.page_count = bytes >> RUN_PAGE_SHIFT,
		.page_shift = RUN_PAGE_SHIFT,
	};
	int status = run_memory_create(run, &run->program_memory, &config, program->program_gpa);
	int error;

	if (!status)
		status = run_memory_add_slot(run, &run->program_memory, RUN_SLOT_PROGRAM, 0);
	if (status)
		return status;
	error = gmm_program_init(&run->program, program,
				 gmm_memory_engine_address(run->program_memory.memory),
				 run->ops->vcpu_address(run->accel, 0, 0));
	if (error)
		return run_refuse("the guest program cannot be placed (%s)", run_error_text(error));
	fill_mailboxes(run);
	return 0;
}

static int create_memory(struct run *run)
{
	gmm_gpa_t pages_gpa = above(run->memory_bytes);
	gmm_gpa_t window_gpa = above(pages_gpa + GUEST_VCPUS_MAX * RUN_PAGE_BYTES);
	struct gmm_program_config program = {
		.vcpus = run->options.vcpus,
		.seed = run->options.seed,
		.snapshot_gpa = 0,
		.snapshot_pages = run->page_count,
		.frame_window_gpa = window_gpa,
		.frame_window_pages = run_frames_of_guest(run),
	};
	char text[GMM_SIZE_TEXT];
	uint64_t bytes;
	int status;

	program.program_gpa = gmm_program_gpa(
		run_events_place(run, window_gpa + program.frame_window_pages * RUN_PAGE_BYTES));
	bytes = gmm_program_bytes(&program);
	if (!bytes)
		return run_refuse("guest memory of %s is too much: give less than 500G",
				  gmm_size_format(run->memory_bytes, text));
	status = create_accel(run, &program, bytes);
	if (!status)
		status = create_guest(run);
	if (!status)
		status = create_snapshot_memory(run);
	if (!status)
		status = run_frames_place(run, pages_gpa, window_gpa);
	if (!status)
		status = create_program(run, &program, bytes);
	return status;
}

int run_setup(struct run *run)
{
	static int (*const steps[])(struct run * run) = {
		run_memory_kind_check, open_source,	     run_save_create,
		choose_resident,       choose_accel,	     run_memory_kind_check_accel,
		run_events_choose,     run_frames_create,    create_memory,
		run_vcpus_create,      run_frames_use,	     run_program_view_create,
		run_devices_create,    run_harvester_create, run_events_create,
		run_faults_start,      run_sampler_create,
	};
	size_t i;
	int status = 0;

	run->evictor.wakeup = -1;
	for (i = 0; i < sizeof(steps) / sizeof(steps[0]) && !status; i++)
		status = steps[i](run);
	return status;
}

void run_teardown(struct run *run)
{
	if (run->faults)
		run_faults_stop(run);
	run_sampler_destroy(run);
	run_events_destroy(run);
	run_save_destroy(run);
	run_harvester_destroy(run);
	run_devices_destroy(run);
	run_program_view_destroy(run);
	run_frames_unuse(run);
	run_vcpus_destroy(run);
	run_memory_remove_slot(run, &run->program_memory);
	if (run->snapshot.memory)
		gmm_memory_attach_userfault(run->snapshot.memory, -1);
	run_memory_remove_slot(run, &run->snapshot);
	if (run->guest)
		gmm_guest_destroy(run->guest);
	run_memory_destroy(&run->program_memory);
	run_frames_destroy(run);
	run_memory_destroy(&run->snapshot);
	if (run->accel)
		run->ops->destroy(run->accel);
	if (run->userfault)
		gmm_userfault_close(run->userfault);
	if (run->evictor.wakeup >= 0)
		close(run->evictor.wakeup);
	if (run->source.ops)
		gmm_source_close(&run->source);
}
