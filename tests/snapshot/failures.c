/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Every step on disk fails once, and every step is once the last that the process does. After that
 * the directory has the old snapshot or the new one, whole; and the next save works.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "snapshot_test.h"

/* Of the pages that the increment has. */
#define ONE_OF 20u
#define STEPS_MOST 512

struct trap {
	uint32_t at; /* the step with this number, from 1; 0: none */
	int error;   /* with which it fails; 0: the process is killed */
	uint32_t steps;
	struct {
		enum snapshot_step step;
		char name[64];
	} trace[STEPS_MOST];
};

static int before(void *opaque, enum snapshot_step step, const char *name)
{
	struct trap *trap = opaque;

	assert_true(trap->steps < STEPS_MOST);
	trap->trace[trap->steps].step = step;
	snprintf(trap->trace[trap->steps].name, sizeof(trap->trace[0].name), "%s", name);
	if (++trap->steps != trap->at)
		return 0;
	if (!trap->error)
		kill(getpid(), SIGKILL);
	return trap->error;
}

/* How the memory becomes what is saved. */
enum way {
	FIRST,	/* into no directory yet */
	ANEW,	/* a base in place of the old snapshot */
	APPEND, /* an increment to it */
	WAYS,
};

static int save(const struct scratch *scratch, enum way way, const struct model *model,
		struct trap *trap, char *text)
{
	struct gmm_source source = { 0 };
	struct gmm_snapshot_writer_config config = {
		.directory = scratch->path,
		.page_count = PAGES,
		.page_shift = PAGE_SHIFT,
		.parent = way == APPEND ? &source : NULL,
	};
	struct snapshot_io io = { .before = before, .opaque = trap };
	struct gmm_snapshot_writer *writer;
	int error;

	if (way == APPEND)
		source = reader_make(scratch);
	error = gmm_snapshot_writer_open_hooked(&config, trap ? &io : NULL, &writer, text,
						GMM_BACKING_TEXT_SIZE);
	if (!error) {
		if (way != APPEND)
			error = write_base(writer, model);
		if (!error)
			error = write_increment(writer, model, ONE_OF, 0);
		if (!error)
			error = gmm_snapshot_writer_commit(writer);
		if (error) {
			gmm_snapshot_writer_failure(writer, text, GMM_BACKING_TEXT_SIZE);
			/* Nothing can follow but to close it. */
			assert_int_equal(gmm_snapshot_writer_begin_base(writer), error);
			assert_int_equal(gmm_snapshot_writer_commit(writer), error);
		}
		gmm_snapshot_writer_close(writer);
	}
	gmm_source_close(&source);
	return error;
}

static bool snapshot_is(const struct scratch *scratch, const struct model *model)
{
	struct gmm_source source = reader_make(scratch);
	bool same = source_is(&source, model);

	gmm_source_close(&source);
	return same;
}

/* The directory anew, with an old snapshot in it but for FIRST; *new is what is saved next. */
static void start(const struct scratch *scratch, enum way way, struct model *old, struct model *new)
{
	if (!access(scratch->path, F_OK))
		tree_remove(scratch->path);
	memset(old, 0, sizeof(*old));
	if (way != FIRST)
		save_three(scratch, old);
	*new = *old;
	model_change(new, ONE_OF, 0);
}

static struct trap whole; /* a save in which every step is done */

static void trace_whole(const struct scratch *scratch, enum way way)
{
	char text[GMM_BACKING_TEXT_SIZE];
	struct model old, new;

	memset(&whole, 0, sizeof(whole));
	start(scratch, way, &old, &new);
	assert_int_equal(save(scratch, way, &new, &whole, text), 0);
}

static bool is_write(uint32_t number)
{
	return whole.trace[number - 1].step == SNAPSHOT_STEP_WRITE;
}

/* The number of the step after this one; of many writes in a row not those in the middle. */
static uint32_t next_step(uint32_t number)
{
	for (number++; number > 3 && number < whole.steps; number++)
		if (!is_write(number - 2) || !is_write(number - 1) || !is_write(number) ||
		    !is_write(number + 1))
			break;
	return number;
}

/* The old or the new one is there; 1: the new one. */
static bool check_one_of(const struct scratch *scratch, enum way way, const struct model *old,
			 const struct model *new)
{
	char *manifest = path_of(scratch, SNAPSHOT_MANIFEST);
	bool is_new;

	if (way == FIRST && access(manifest, F_OK)) {
		free(manifest);
		return false;
	}
	free(manifest);
	is_new = snapshot_is(scratch, new);
	if (!is_new)
		assert_true(way != FIRST && snapshot_is(scratch, old));
	return is_new;
}

static void saved_afterwards(const struct scratch *scratch, const struct model *new)
{
	char text[GMM_BACKING_TEXT_SIZE] = "", *names;

	if (save(scratch, ANEW, new, NULL, text))
		fail_msg("%s", text);
	assert_snapshot_is(scratch, new);
	names = names_in(scratch);
	assert_int_equal(strlen(names), strlen("base-0123456789abcdef.raw "
					       "increment-0123456789abcdef.pages manifest.json "));
	free(names);
}

static void every_step_fails_once(void **state)
{
	struct scratch *scratch = *state;
	uint32_t way, news = 0, failures = 0;

	for (way = 0; way < WAYS; way++) {
		struct trap trap = { 0 };
		int error;

		trace_whole(scratch, way);
		do {
			char text[GMM_BACKING_TEXT_SIZE] = "";
			struct model old, new;

			start(scratch, way, &old, &new);
			trap.at = next_step(trap.at);
			trap.error = trap.at % 2 ? ENOSPC : EIO;
			trap.steps = 0;
			error = save(scratch, way, &new, &trap, text);
			if (error) {
				failures++;
				assert_int_equal(error, -GMM_EIO);
				assert_helpful(text, scratch->path, strerror(trap.error));
				news += check_one_of(scratch, way, &old, &new);
			} else {
				/* It was none, or one that does not matter: a removal. */
				assert_snapshot_is(scratch, &new);
			}
			saved_afterwards(scratch, &new);
		} while (trap.steps >= trap.at);
		assert_int_equal(error, 0);
	}
	/* Only when the directory cannot be written for the last time, the new one is there. */
	assert_int_equal(news, WAYS);
	assert_true(failures > 40);
}

static void killed_at_every_step(void **state)
{
	struct scratch *scratch = *state;
	uint32_t way, at, olds = 0, news = 0;

	for (way = 0; way < WAYS; way++) {
		int status = 0;

		trace_whole(scratch, way);
		for (at = 1; !WIFEXITED(status) || at == 1; at = next_step(at)) {
			struct model old, new;
			pid_t child;

			start(scratch, way, &old, &new);
			child = fork();
			if (!child) {
				struct trap trap = { .at = at };
				char text[GMM_BACKING_TEXT_SIZE];

				_exit(save(scratch, way, &new, &trap, text) ? 1 : 0);
			}
			assert_int_equal(waitpid(child, &status, 0), child);
			if (WIFEXITED(status))
				assert_int_equal(WEXITSTATUS(status), 0);
			else
				assert_int_equal(WTERMSIG(status), SIGKILL);
			if (at == 1 && way == FIRST) {
				assert_int_equal(access(scratch->path, F_OK), -1);
				continue;
			}
			if (check_one_of(scratch, way, &old, &new))
				news++;
			else
				olds++;
			saved_afterwards(scratch, &new);
		}
	}
	assert_true(olds > 30);
	assert_true(news > WAYS);
}

static uint32_t find(const struct trap *trap, enum snapshot_step step, const char *name,
		     uint32_t from)
{
	for (; from < trap->steps; from++)
		if (trap->trace[from].step == step && !strcmp(trap->trace[from].name, name))
			return from;
	return UINT32_MAX;
}

/* What a loss of power can take back is on disk before something refers to it. */
static void steps_are_in_order(void **state)
{
	struct scratch *scratch = *state;
	uint32_t way, i;

	for (way = 0; way < WAYS; way++) {
		uint32_t commit, synced, after;

		trace_whole(scratch, way);
		commit = find(&whole, SNAPSHOT_STEP_RENAME, SNAPSHOT_MANIFEST_NEW, 0);
		assert_true(commit < whole.steps);
		synced = find(&whole, SNAPSHOT_STEP_SYNC_DIRECTORY, ".", 0);
		assert_true(synced < commit);
		if (way == FIRST)
			assert_true(find(&whole, SNAPSHOT_STEP_SYNC_DIRECTORY, "..", 0) < commit);
		after = find(&whole, SNAPSHOT_STEP_SYNC_DIRECTORY, ".", commit);
		assert_true(after < whole.steps);
		for (i = 0; i < whole.steps; i++) {
			if (whole.trace[i].step == SNAPSHOT_STEP_WRITE ||
			    whole.trace[i].step == SNAPSHOT_STEP_TRUNCATE)
				assert_true(find(&whole, SNAPSHOT_STEP_SYNC, whole.trace[i].name,
						 i) < synced);
			/* Files of the old snapshot go when the new one is certain. */
			if (whole.trace[i].step == SNAPSHOT_STEP_REMOVE &&
			    strcmp(whole.trace[i].name, SNAPSHOT_MANIFEST_NEW) != 0)
				assert_true(i > after);
		}
	}
}

static void a_limit_of_file_sizes(void **state)
{
	struct scratch *scratch = *state;
	struct rlimit was, small = { .rlim_cur = 8 * PAGE_BYTES };
	char text[GMM_BACKING_TEXT_SIZE] = "";
	struct model old, new;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	small.rlim_max = was.rlim_max;
	start(scratch, APPEND, &old, &new);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(save(scratch, APPEND, &new, NULL, text), -GMM_EIO);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	signal(SIGXFSZ, SIG_DFL);
	assert_helpful(text, scratch->path, "File too large");
	assert_snapshot_is(scratch, &old);
}

/* A small file system: the old snapshot has room, not with the new one beside it. */
static void a_full_disk(void **state)
{
	struct scratch *scratch = *state;
	char text[GMM_BACKING_TEXT_SIZE] = "", *place = scratch->path;
	struct scratch inside = *scratch;
	struct model old, new;
	char *names, *again;

	assert_int_equal(mkdir(place, 0700), 0);
	/* In a place of its own, so that it goes with the process. */
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("gmm", place, "tmpfs", 0, "size=1400k")) {
		print_message("no file system can be mounted here (%s)\n", strerror(errno));
		skip();
	}
	assert_true(asprintf(&inside.path, "%s/saved", place) > 0);
	start(&inside, APPEND, &old, &new);
	names = names_in(&inside);
	assert_int_equal(save(&inside, ANEW, &new, NULL, text), -GMM_EIO);
	assert_helpful(text, inside.path, "No space left on device");
	assert_snapshot_is(&inside, &old);
	again = names_in(&inside);
	assert_string_equal(names, again);
	/* There is room for an increment. */
	assert_int_equal(save(&inside, APPEND, &new, NULL, text), 0);
	assert_snapshot_is(&inside, &new);
	free(names);
	free(again);
	free(inside.path);
	assert_int_equal(umount2(place, MNT_DETACH), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(every_step_fails_once), CASE(killed_at_every_step), CASE(steps_are_in_order),
		CASE(a_limit_of_file_sizes), CASE(a_full_disk),
	};

	return cmocka_run_group_tests_name("failures", tests, NULL, NULL);
}
