/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What is read from a base and its increments, and files that are not what they were. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot_test.h"

static char *path_of_file(const struct scratch *scratch, uint32_t number)
{
	struct snapshot_manifest manifest = manifest_of(scratch);

	return path_of(scratch, manifest.files[number].name);
}

static void the_newest_copy_wins(void **state)
{
	struct scratch *scratch = *state;
	struct gmm_snapshot_info info;
	struct model model = { 0 };
	struct gmm_source source;

	save_three(scratch, &model);
	/* Page 7 is in both increments, page 1 in one, page 2 in none. */
	assert_int_equal(model.version[7], 2);
	assert_int_equal(model.version[1], 1);
	assert_int_equal(model.version[2], 0);
	assert_snapshot_is(scratch, &model);
	source = reader_make(scratch);
	assert_int_equal(source.page_shift, PAGE_SHIFT);
	assert_int_equal(gmm_snapshot_read_info(&source, &info), 0);
	assert_int_equal(info.chain, 3);
	assert_int_equal(info.page_count, PAGES);
	assert_true(info.time > 1000000000);
	assert_int_equal(info.file_bytes, (PAGES + 2 + 67 + 29) * PAGE_BYTES);
	model.version[7]--;
	assert_false(source_is(&source, &model));
	gmm_source_close(&source);
	gmm_source_open_generated(&source, 1, 1, PAGE_SHIFT, NULL, 0);
	assert_int_equal(gmm_snapshot_read_info(&source, &info), -GMM_EINVAL);
	gmm_source_close(&source);
}

/* Many random increments: neighbours in memory are seldom neighbours in a file. */
static void a_long_random_chain(void **state)
{
	struct scratch *scratch = *state;
	struct gmm_snapshot_writer *writer = writer_make(scratch, NULL);
	static _Alignas(8) char buffer[PAGE_BYTES];
	struct model model = { 0 };
	uint32_t page, i;

	srandom(7);
	assert_int_equal(write_base(writer, &model), 0);
	for (i = 1; i < GMM_SNAPSHOT_CHAIN_MAX; i++) {
		long one_of = 1 + random() % 40;

		assert_int_equal(gmm_snapshot_writer_begin_increment(writer), 0);
		for (page = 0; page < PAGES; page++) {
			if (random() % one_of)
				continue;
			page_make(buffer, page, ++model.version[page]);
			assert_int_equal(gmm_snapshot_writer_write(writer, page, 1, buffer), 0);
		}
		assert_int_equal(gmm_snapshot_writer_end(writer), 0);
	}
	assert_int_equal(gmm_snapshot_writer_begin_increment(writer), -GMM_ENOSPC);
	assert_int_equal(gmm_snapshot_writer_commit(writer), 0);
	gmm_snapshot_writer_close(writer);
	assert_snapshot_is(scratch, &model);
}

/* The last page of one file and the first of the next, side by side in memory. */
static void neighbours_in_two_files(void **state)
{
	struct scratch *scratch = *state;
	struct gmm_snapshot_writer *writer = writer_make(scratch, NULL);
	struct model model = { 0 };

	assert_int_equal(write_base(writer, &model), 0);
	model.version[5] = 1;
	assert_int_equal(write_increment(writer, &model, PAGES, 5), 0);
	model.version[6] = 1;
	assert_int_equal(write_increment(writer, &model, PAGES, 6), 0);
	assert_int_equal(gmm_snapshot_writer_commit(writer), 0);
	gmm_snapshot_writer_close(writer);
	assert_snapshot_is(scratch, &model);
}

static void zero_pages_are_holes(void **state)
{
	struct scratch *scratch = *state;
	char *base, *increment;
	struct model model = { 0 };
	struct gmm_source source;
	struct stat info;

	save_three(scratch, &model);
	base = path_of_file(scratch, 0);
	increment = path_of_file(scratch, 1);
	source = reader_make(scratch);
	assert_int_equal(stat(base, &info), 0);
	/* Page 9 is zero in the base; page 13 is in an increment, and zero there. */
	if ((size_t)info.st_blocks * 512 >= PAGES * PAGE_BYTES) {
		print_message("# the file system of %s keeps no holes\n", scratch->directory);
	} else {
		assert_true(source.ops->is_zero(source.source, 9, 1));
		assert_int_equal(model.version[13], 1);
		assert_true(source.ops->is_zero(source.source, 13, 1));
	}
	assert_false(source.ops->is_zero(source.source, 9, 2));
	/* Both in the base, and only the first is zero. */
	assert_false(source.ops->is_zero(source.source, 44, 2));
	assert_false(source.ops->is_zero(source.source, 0, PAGES));
	gmm_source_close(&source);
	free(base);
	free(increment);
}

static void other_page_sizes(void **state)
{
	struct scratch *scratch = *state;
	struct gmm_snapshot_writer_config config = {
		.directory = scratch->path,
		.page_count = 3,
		.page_shift = 16,
	};
	struct gmm_snapshot_writer *writer;
	char *pages = calloc(3, 65536), *found = malloc(3 * 65536);
	char text[GMM_BACKING_TEXT_SIZE];
	struct gmm_source source;

	pages[0] = pages[131071] = 'x';
	assert_int_equal(gmm_snapshot_writer_open(&config, &writer, text, sizeof(text)), 0);
	assert_int_equal(gmm_snapshot_writer_begin_base(writer), 0);
	assert_int_equal(gmm_snapshot_writer_write(writer, 0, 3, pages), 0);
	assert_int_equal(gmm_snapshot_writer_end(writer), 0);
	pages[196607] = 'y';
	assert_int_equal(gmm_snapshot_writer_begin_increment(writer), 0);
	assert_int_equal(gmm_snapshot_writer_write(writer, 2, 1, pages + 131072), 0);
	assert_int_equal(gmm_snapshot_writer_end(writer), 0);
	assert_int_equal(gmm_snapshot_writer_commit(writer), 0);
	gmm_snapshot_writer_close(writer);
	assert_refused(scratch, 0, -GMM_EINVAL, "page_bytes is 65536", "pages of 4096 are wanted");
	assert_int_equal(gmm_source_open_snapshot(&source, scratch->path, 0, 8, text, sizeof(text)),
			 -GMM_EINVAL);
	assert_int_equal(gmm_source_open_snapshot(&source, scratch->path, 0, 0, text, sizeof(text)),
			 0);
	assert_int_equal(source.page_shift, 16);
	assert_int_equal(source.ops->read(source.source, 0, 3, found), 0);
	assert_memory_equal(pages, found, 3 * 65536);
	gmm_source_close(&source);
	free(pages);
	free(found);
}

static void damaged_files(void **state)
{
	struct scratch *scratch = *state;
	struct model model = { 0 };
	uint32_t number;

	for (number = 0; number < 3; number++) {
		char *path, *other = path_of(scratch, "other");
		size_t length;
		char *contents;

		memset(&model, 0, sizeof(model));
		save_three(scratch, &model);
		path = path_of_file(scratch, number);
		contents = file_load(path, &length);
		/* One bit of its last page: only who compares sums sees it. */
		file_flip(path, length - 1);
		assert_refused(scratch, GMM_SNAPSHOT_VERIFY, -GMM_EINVAL, path,
			       "its pages are not");
		file_flip(path, length - 1);
		assert_snapshot_is(scratch, &model);
		/* Of its first: that is the bitmap of an increment, which is always compared. */
		file_flip(path, 0);
		assert_refused(scratch, number ? 0 : GMM_SNAPSHOT_VERIFY, -GMM_EINVAL, path,
			       number ? "its bitmap is not" : "its pages are not");
		assert_int_equal(truncate(path, (off_t)length - 1), 0);
		assert_refused(scratch, 0, -GMM_EINVAL, path, "and the manifest says");
		assert_int_equal(truncate(path, 0), 0);
		assert_refused(scratch, 0, -GMM_EINVAL, path, "has 0 bytes");
		file_make(path, contents, length);
		assert_int_equal(truncate(path, (off_t)length + 1), 0);
		assert_refused(scratch, 0, -GMM_EINVAL, path, "and the manifest says");
		assert_int_equal(truncate(path, (off_t)length), 0);
		assert_int_equal(rename(path, other), 0);
		assert_refused(scratch, 0, -GMM_EINVAL, path, "is missing");
		assert_int_equal(symlink("other", path), 0);
		assert_refused(scratch, 0, -GMM_EIO, path, "cannot be opened");
		unlink(path);
		assert_int_equal(mkfifo(path, 0600), 0);
		assert_refused(scratch, 0, -GMM_EINVAL, path, "is no regular file");
		unlink(path);
		assert_int_equal(rename(other, path), 0);
		assert_snapshot_is(scratch, &model);
		free(contents);
		free(path);
		free(other);
	}
}

/* A bitmap whose sum is right and whose bits are not. */
static void bits_beyond_the_memory(void **state)
{
	struct scratch *scratch = *state;
	struct snapshot_manifest manifest;
	struct snapshot_sum *sum = gmm_snapshot_sum_create();
	struct model model = { 0 };
	char *path, *name = NULL, *contents, *text;
	size_t length, bit;

	save_three(scratch, &model);
	manifest = manifest_of(scratch);
	path = path_of(scratch, manifest.files[2].name);
	name = path_of(scratch, SNAPSHOT_MANIFEST);
	contents = file_load(path, &length);
	for (bit = 0; bit < 8 * PAGE_BYTES; bit += bit < 300 ? 1 : 4097) {
		contents[bit / 8] = (char)(contents[bit / 8] ^ 1 << bit % 8);
		file_make(path, contents, length);
		gmm_snapshot_sum_reset(sum);
		gmm_snapshot_sum_add(sum, contents, PAGE_BYTES);
		manifest.files[2].bitmap_sum = gmm_snapshot_sum_value(sum);
		text = gmm_snapshot_manifest_format(&manifest);
		file_make(name, text, strlen(text));
		free(text);
		assert_refused(scratch, 0, -GMM_EINVAL, path,
			       bit < PAGES ? "has not as many pages" : "pages beyond the memory");
		contents[bit / 8] = (char)(contents[bit / 8] ^ 1 << bit % 8);
	}
	gmm_snapshot_sum_destroy(sum);
	free(contents);
	free(path);
	free(name);
}

static void age_files(const struct scratch *scratch)
{
	struct timespec past[2] = { { .tv_sec = 1000000000 }, { .tv_sec = 1000000000 } };
	struct snapshot_manifest manifest = manifest_of(scratch);
	uint32_t i;

	for (i = 0; i < manifest.count; i++) {
		char *path = path_of(scratch, manifest.files[i].name);

		assert_int_equal(utimensat(AT_FDCWD, path, past, 0), 0);
		free(path);
	}
}

static void changes_while_in_use(void **state)
{
	static const char *const how[] = { "changed", "truncated", "extended" };
	struct scratch *scratch = *state;
	char text[GMM_BACKING_TEXT_SIZE], buffer[PAGE_BYTES];
	struct model model = { 0 };
	struct gmm_source source;
	uint32_t number, i;
	char *path;

	for (number = 0; number < 3; number++) {
		for (i = 0; i < 3; i++) {
			memset(&model, 0, sizeof(model));
			save_three(scratch, &model);
			age_files(scratch);
			path = path_of_file(scratch, number);
			source = reader_make(scratch);
			assert_int_equal(source.ops->check(source.source), 0);
			if (i == 0)
				file_flip(path, 0);
			else
				assert_int_equal(truncate(path, i == 1 ? 1 : 1 << 24), 0);
			/* Page 0 is in the last increment, 1 in the first, 2 in the base. */
			/* The part that is cut off is no hole. */
			if (i == 1)
				assert_false(source.ops->is_zero(source.source, 2 - number, 1));
			if (i == 1)
				assert_int_equal(source.ops->read(source.source, 2 - number, 1,
								  buffer),
						 -GMM_EIO);
			assert_int_equal(source.ops->check(source.source), -GMM_EIO);
			source.ops->failure(source.source, text, sizeof(text));
			assert_helpful(text, path, how[i]);
			gmm_source_close(&source);
			free(path);
		}
	}
}

/* Removing files, and other names for them, change nothing for who has them open. */
static void removed_while_in_use(void **state)
{
	struct scratch *scratch = *state;
	struct model model = { 0 };
	struct gmm_source source;
	char *other = NULL;
	uint32_t number;

	save_three(scratch, &model);
	source = reader_make(scratch);
	assert_true(asprintf(&other, "%s/other", scratch->directory) > 0);
	for (number = 0; number < 3; number++) {
		char *path = path_of_file(scratch, number);

		assert_int_equal(link(path, other), 0);
		assert_int_equal(source.ops->check(source.source), 0);
		assert_int_equal(unlink(path), 0);
		assert_int_equal(unlink(other), 0);
		free(path);
	}
	assert_int_equal(source.ops->check(source.source), 0);
	assert_true(source_is(&source, &model));
	gmm_source_close(&source);
	free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(the_newest_copy_wins),    CASE(a_long_random_chain),
		CASE(neighbours_in_two_files), CASE(zero_pages_are_holes),
		CASE(other_page_sizes),	       CASE(damaged_files),
		CASE(bits_beyond_the_memory),  CASE(changes_while_in_use),
		CASE(removed_while_in_use),
	};

	return cmocka_run_group_tests_name("readers", tests, NULL, NULL);
}
