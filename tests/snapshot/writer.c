/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Saving again and again into one directory, and who may do it. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot_test.h"

static int open_writer(const struct scratch *scratch, const struct gmm_source *parent,
		       uint64_t pages, struct gmm_snapshot_writer **writer, char *text)
{
	const struct gmm_snapshot_writer_config config = {
		.directory = scratch->path,
		.page_count = pages,
		.page_shift = PAGE_SHIFT,
		.parent = parent,
	};

	return gmm_snapshot_writer_open(&config, writer, text, GMM_BACKING_TEXT_SIZE);
}

static void assert_writer_refused(const struct scratch *scratch, const struct gmm_source *parent,
				  uint64_t pages, int error, const char *what)
{
	char text[GMM_BACKING_TEXT_SIZE] = "";
	struct gmm_snapshot_writer *writer;

	assert_int_equal(open_writer(scratch, parent, pages, &writer, text), error);
	assert_helpful(text, scratch->path, what);
}

/* Started from it, saved into it: the base stays, an increment is added. */
static void increments_are_added_to_the_parent(void **state)
{
	struct scratch *scratch = *state;
	struct snapshot_manifest before, after;
	struct gmm_snapshot_writer *writer;
	struct model model = { 0 }, old;
	struct gmm_source source;
	uint32_t i;

	save_three(scratch, &model);
	for (i = 0; i < 3; i++) {
		old = model;
		before = manifest_of(scratch);
		source = reader_make(scratch);
		writer = writer_make(scratch, &source);
		assert_int_equal(gmm_snapshot_writer_chain(writer), 3 + i);
		model_change(&model, 4, i);
		assert_int_equal(write_increment(writer, &model, 4, i), 0);
		assert_snapshot_is(scratch, &old);
		assert_int_equal(gmm_snapshot_writer_commit(writer), 0);
		gmm_snapshot_writer_close(writer);
		/* Who started from it still has what it started from. */
		assert_true(source_is(&source, &old));
		assert_int_equal(source.ops->check(source.source), 0);
		gmm_source_close(&source);
		after = manifest_of(scratch);
		assert_int_equal(after.count, before.count + 1);
		assert_memory_equal(before.files, after.files,
				    before.count * sizeof(before.files[0]));
		assert_true(before.id != after.id);
		assert_snapshot_is(scratch, &model);
	}
}

/* Not started from it: a new base, and the old files go; their reader does not mind. */
static void a_new_base_replaces_everything(void **state)
{
	struct scratch *scratch = *state;
	struct gmm_snapshot_writer_counters counters;
	struct model model = { 0 }, old;
	struct gmm_snapshot_writer *writer;
	struct gmm_source source;
	char *names;

	save_three(scratch, &model);
	old = model;
	source = reader_make(scratch);
	writer = writer_make(scratch, NULL);
	assert_int_equal(gmm_snapshot_writer_chain(writer), 0);
	assert_int_equal(gmm_snapshot_writer_begin_increment(writer), -GMM_EINVAL);
	model_change(&model, 1, 0);
	assert_int_equal(write_base(writer, &model), 0);
	assert_int_equal(gmm_snapshot_writer_commit(writer), 0);
	names = names_in(scratch);
	assert_int_equal(strlen(names), strlen("base-0123456789abcdef.raw manifest.json "));
	free(names);
	/* The writer goes on: first with an increment, then with a base again. */
	model_change(&model, 2, 0);
	assert_int_equal(write_increment(writer, &model, 2, 0), 0);
	assert_int_equal(gmm_snapshot_writer_commit(writer), 0);
	assert_snapshot_is(scratch, &model);
	model_change(&model, 5, 0);
	assert_int_equal(write_base(writer, &model), 0);
	model_change(&model, 5, 1);
	assert_int_equal(write_base(writer, &model), 0);
	assert_int_equal(gmm_snapshot_writer_commit(writer), 0);
	gmm_snapshot_writer_read_counters(writer, &counters);
	assert_int_equal(counters.bases, 3);
	assert_int_equal(counters.increments, 1);
	assert_int_equal(counters.pages, 3 * PAGES + PAGES / 2);
	gmm_snapshot_writer_close(writer);
	assert_snapshot_is(scratch, &model);
	names = names_in(scratch);
	assert_int_equal(strlen(names), strlen("base-0123456789abcdef.raw manifest.json "));
	free(names);
	assert_true(source_is(&source, &old));
	assert_int_equal(source.ops->check(source.source), 0);
	gmm_source_close(&source);
}

static void what_was_not_committed_is_removed(void **state)
{
	struct scratch *scratch = *state;
	struct gmm_snapshot_writer *writer = writer_make(scratch, NULL);
	struct model model = { 0 }, other = { 0 };
	struct gmm_source source;
	char *before, *after;

	/* The directory, too, when it is ours and empty. */
	assert_int_equal(write_base(writer, &model), 0);
	gmm_snapshot_writer_close(writer);
	assert_int_equal(access(scratch->path, F_OK), -1);
	save_three(scratch, &model);
	before = names_in(scratch);
	source = reader_make(scratch);
	writer = writer_make(scratch, &source);
	assert_int_equal(write_increment(writer, &other, 2, 0), 0);
	assert_int_equal(gmm_snapshot_writer_begin_increment(writer), 0);
	gmm_snapshot_writer_close(writer);
	after = names_in(scratch);
	assert_string_equal(before, after);
	free(after);
	writer = writer_make(scratch, NULL);
	assert_int_equal(write_base(writer, &other), 0);
	gmm_source_close(&source);
	assert_int_equal(gmm_snapshot_writer_reopen(writer, &source), 0);
	assert_true(source_is(&source, &other));
	gmm_source_close(&source);
	/* What comes after is in what is opened next. */
	model_change(&other, 2, 1);
	assert_int_equal(write_increment(writer, &other, 2, 1), 0);
	assert_int_equal(gmm_snapshot_writer_reopen(writer, &source), 0);
	assert_true(source_is(&source, &other));
	gmm_source_close(&source);
	gmm_snapshot_writer_close(writer);
	after = names_in(scratch);
	assert_string_equal(before, after);
	free(after);
	free(before);
	assert_snapshot_is(scratch, &model);
}

static void leftovers_are_removed_and_nothing_else(void **state)
{
	static const char *const ours[] = { "base-0123456789abcdef.raw",
					    "increment-0123456789abcdef.pages",
					    "manifest.json.new" };
	static const char *const others[] = { "base-0123456789abcdef.raw.old",
					      "base-012.raw",
					      "increment-0123456789abcdef.raw",
					      "base-old.raw",
					      "manifest.json.old",
					      "ram",
					      "base-0123456789ABCDEF.raw" };
	struct scratch *scratch = *state;
	struct model model = { 0 };
	char *names, *path;
	size_t i;

	save_three(scratch, &model);
	for (i = 0; i < 3; i++) {
		path = path_of(scratch, ours[i]);
		file_make(path, "left", 4);
		free(path);
	}
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		path = path_of(scratch, others[i]);
		file_make(path, "mine", 4);
		free(path);
	}
	gmm_snapshot_writer_close(writer_make(scratch, NULL));
	names = names_in(scratch);
	for (i = 0; i < 3; i++) {
		char word[64];

		snprintf(word, sizeof(word), "%s ", ours[i]);
		assert_null(strstr(names, word));
	}
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_non_null(strstr(names, others[i]));
	free(names);
	assert_snapshot_is(scratch, &model);
}

static void refused_writers(void **state)
{
	struct scratch *scratch = *state;
	struct gmm_snapshot_writer *writer;
	struct model model = { 0 };
	struct gmm_source source, stale;
	char *path;

	assert_writer_refused(scratch, NULL, 0, -GMM_EINVAL, "0 pages");
	file_make(scratch->path, "x", 1);
	assert_writer_refused(scratch, NULL, PAGES, -GMM_EIO, "cannot be opened as a directory");
	unlink(scratch->path);
	save_three(scratch, &model);
	stale = reader_make(scratch);
	writer = writer_make(scratch, NULL);
	assert_writer_refused(scratch, NULL, PAGES, -GMM_EBUSY,
			      "another program saves into it now");
	assert_int_equal(write_base(writer, &model), 0);
	assert_int_equal(gmm_snapshot_writer_commit(writer), 0);
	gmm_snapshot_writer_close(writer);
	assert_writer_refused(scratch, &stale, PAGES, -GMM_EBUSY, "another snapshot was saved");
	gmm_source_close(&stale);
	source = reader_make(scratch);
	assert_writer_refused(scratch, &source, PAGES + 1, -GMM_EINVAL, "another size of memory");
	path = path_of(scratch, manifest_of(scratch).files[0].name);
	assert_int_equal(truncate(path, 1), 0);
	assert_writer_refused(scratch, &source, PAGES, -GMM_EIO, "was changed or removed");
	gmm_source_close(&source);
	free(path);
	/* What cannot be understood is not replaced. */
	path = path_of(scratch, SNAPSHOT_MANIFEST);
	file_make(path, "{}", 2);
	assert_writer_refused(scratch, NULL, PAGES, -GMM_EINVAL, "nothing there is replaced");
	free(path);
}

static void calls_out_of_order(void **state)
{
	struct scratch *scratch = *state;
	struct gmm_snapshot_writer *writer = writer_make(scratch, NULL);
	static char page[2 * PAGE_BYTES];
	struct model model = { 0 };
	struct gmm_source source;

	assert_int_equal(gmm_snapshot_writer_commit(writer), -GMM_EINVAL);
	assert_int_equal(gmm_snapshot_writer_reopen(writer, &source), -GMM_EINVAL);
	assert_int_equal(gmm_snapshot_writer_end(writer), -GMM_EINVAL);
	assert_int_equal(gmm_snapshot_writer_write(writer, 0, 1, page), -GMM_EINVAL);
	assert_int_equal(gmm_snapshot_writer_begin_base(writer), 0);
	assert_int_equal(gmm_snapshot_writer_begin_base(writer), -GMM_EINVAL);
	assert_int_equal(gmm_snapshot_writer_write(writer, 1, 1, page), -GMM_EINVAL);
	assert_int_equal(gmm_snapshot_writer_end(writer), -GMM_EINVAL);
	assert_int_equal(gmm_snapshot_writer_commit(writer), -GMM_EINVAL);
	gmm_snapshot_writer_close(writer);
	writer = writer_make(scratch, NULL);
	assert_int_equal(write_base(writer, &model), 0);
	assert_int_equal(gmm_snapshot_writer_begin_increment(writer), 0);
	assert_int_equal(gmm_snapshot_writer_write(writer, 5, 1, page), 0);
	assert_int_equal(gmm_snapshot_writer_write(writer, 5, 1, page), -GMM_EINVAL);
	assert_int_equal(gmm_snapshot_writer_write(writer, PAGES - 1, 2, page), -GMM_EINVAL);
	assert_int_equal(gmm_snapshot_writer_write(writer, UINT64_MAX, 2, page), -GMM_EINVAL);
	assert_int_equal(gmm_snapshot_writer_end(writer), 0);
	/* A refused call changed nothing. */
	assert_int_equal(gmm_snapshot_writer_commit(writer), 0);
	gmm_snapshot_writer_close(writer);
	source = reader_make(scratch);
	assert_int_equal(source.ops->read(source.source, 5, 1, page + PAGE_BYTES), 0);
	assert_memory_equal(page, page + PAGE_BYTES, PAGE_BYTES);
	gmm_source_close(&source);
}

/* Also when the first has nothing in place yet, the second takes nothing away from it. */
static void two_writers_of_a_new_directory(void **state)
{
	struct scratch *scratch = *state;
	struct gmm_snapshot_writer *writer = writer_make(scratch, NULL);
	struct model model = { 0 };
	struct stat info;
	char *path;

	assert_int_equal(write_base(writer, &model), 0);
	assert_writer_refused(scratch, NULL, PAGES, -GMM_EBUSY,
			      "another program saves into it now");
	assert_int_equal(write_increment(writer, &model, 3, 0), 0);
	assert_writer_refused(scratch, NULL, PAGES, -GMM_EBUSY,
			      "another program saves into it now");
	assert_int_equal(gmm_snapshot_writer_commit(writer), 0);
	assert_writer_refused(scratch, NULL, PAGES, -GMM_EBUSY,
			      "another program saves into it now");
	gmm_snapshot_writer_close(writer);
	assert_snapshot_is(scratch, &model);
	/* Memory is for its owner only. */
	assert_int_equal(stat(scratch->path, &info), 0);
	assert_int_equal(info.st_mode & 0777, 0700);
	path = path_of(scratch, manifest_of(scratch).files[0].name);
	assert_int_equal(stat(path, &info), 0);
	assert_int_equal(info.st_mode & 0777, 0600);
	free(path);
}

struct replacer {
	const struct scratch *scratch;
	struct model model;
	uint32_t commits; /* atomic */
	uint32_t stop;	  /* atomic */
};

static void *replace_again_and_again(void *opaque)
{
	struct replacer *replacer = opaque;
	struct gmm_snapshot_writer *writer = writer_make(replacer->scratch, NULL);

	while (!__atomic_load_n(&replacer->stop, __ATOMIC_ACQUIRE)) {
		assert_int_equal(write_base(writer, &replacer->model), 0);
		assert_int_equal(gmm_snapshot_writer_commit(writer), 0);
		__atomic_fetch_add(&replacer->commits, 1, __ATOMIC_RELEASE);
	}
	gmm_snapshot_writer_close(writer);
	return NULL;
}

/* A file may be gone by the time at which the reader opens it: then there is a new manifest. */
static void opened_while_it_is_replaced(void **state)
{
	struct replacer replacer = { .scratch = *state };
	char text[GMM_BACKING_TEXT_SIZE];
	struct gmm_source source;
	uint32_t opened = 0;
	pthread_t thread;
	int error;

	save_three(replacer.scratch, &replacer.model);
	assert_int_equal(pthread_create(&thread, NULL, replace_again_and_again, &replacer), 0);
	while (__atomic_load_n(&replacer.commits, __ATOMIC_ACQUIRE) < 300) {
		error = gmm_source_open_snapshot(&source, replacer.scratch->path, PAGE_SHIFT,
						 GMM_SNAPSHOT_VERIFY, text, sizeof(text));
		/* It gives up when it is overtaken too often, and says so. */
		if (error == -GMM_EBUSY)
			continue;
		if (error)
			fail_msg("%s", text);
		if (opened++ % 16 == 0)
			assert_true(source_is(&source, &replacer.model));
		gmm_source_close(&source);
	}
	__atomic_store_n(&replacer.stop, 1, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	assert_true(opened > 0);
}

/* Somebody removes a file between the writer's opening and its commit. */
static void a_chain_with_a_hole_is_not_committed(void **state)
{
	struct scratch *scratch = *state;
	char text[GMM_BACKING_TEXT_SIZE];
	struct gmm_snapshot_writer *writer;
	struct model model = { 0 };
	struct gmm_source source;
	char *path, *other;

	save_three(scratch, &model);
	source = reader_make(scratch);
	writer = writer_make(scratch, &source);
	gmm_source_close(&source);
	path = path_of(scratch, manifest_of(scratch).files[1].name);
	other = path_of(scratch, "other");
	assert_int_equal(write_increment(writer, &model, 2, 0), 0);
	assert_int_equal(rename(path, other), 0);
	assert_int_equal(gmm_snapshot_writer_commit(writer), -GMM_EIO);
	gmm_snapshot_writer_failure(writer, text, sizeof(text));
	assert_helpful(text, path, "was changed or removed while it was in use");
	gmm_snapshot_writer_close(writer);
	assert_int_equal(rename(other, path), 0);
	assert_snapshot_is(scratch, &model);
	free(path);
	free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(increments_are_added_to_the_parent),
		CASE(a_new_base_replaces_everything),
		CASE(what_was_not_committed_is_removed),
		CASE(leftovers_are_removed_and_nothing_else),
		CASE(refused_writers),
		CASE(calls_out_of_order),
		CASE(two_writers_of_a_new_directory),
		CASE(opened_while_it_is_replaced),
		CASE(a_chain_with_a_hole_is_not_committed),
	};

	return cmocka_run_group_tests_name("writers", tests, NULL, NULL);
}
