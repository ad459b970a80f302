/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Bad input to the file source, each with one line that names the file and the way out; and sources
 * alone.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backing_test.h"

#define PAGES 12u

struct scratch {
	char *directory;
	char *path;
	char *contents;
	unsigned int files_before;
};

static int scratch_set_up(void **state)
{
	struct scratch *scratch = calloc(1, sizeof(*scratch));

	scratch->files_before = open_files();
	scratch->directory = scratch_make();
	scratch->path = scratch_path(scratch->directory, "ram");
	scratch->contents = malloc(PAGES * PAGE_SIZE);
	for (size_t i = 0; i < PAGES * PAGE_SIZE; i++)
		scratch->contents[i] = (char)(i * 7 + i / PAGE_SIZE);
	*state = scratch;
	return 0;
}

static int scratch_tear_down(void **state)
{
	struct scratch *scratch = *state;

	assert_int_equal(open_files(), scratch->files_before);
	scratch_remove(scratch->directory);
	free(scratch->path);
	free(scratch->contents);
	free(scratch);
	return 0;
}

static void refused(const char *path, int error, const char *way_out)
{
	char text[GMM_BACKING_TEXT_SIZE] = "";
	struct gmm_source source = { 0 };

	assert_int_equal(gmm_source_open_file(&source, path, PAGE_SHIFT, text, sizeof(text)),
			 error);
	assert_null(source.ops);
	assert_helpful(text, path, way_out);
}

static void missing_file(void **state)
{
	struct scratch *scratch = *state;
	char *below_a_file;

	refused(scratch->path, -GMM_ENOENT, "scripts/linux-snapshot");
	file_make(scratch->path, "x", 1);
	below_a_file = scratch_path(scratch->path, "ram");
	refused(below_a_file, -GMM_ENOENT, "check the path");
	free(below_a_file);
}

static void empty_file(void **state)
{
	struct scratch *scratch = *state;

	file_make(scratch->path, "", 0);
	refused(scratch->path, -GMM_EINVAL, "is empty: make");
}

static void three_bytes(void **state)
{
	struct scratch *scratch = *state;

	file_make(scratch->path, "abc", 3);
	refused(scratch->path, -GMM_EINVAL, "3 bytes, less than one page of 4096: make");
}

static void unaligned_size(void **state)
{
	struct scratch *scratch = *state;

	file_make(scratch->path, scratch->contents, 2 * PAGE_SIZE + 1);
	refused(scratch->path, -GMM_EINVAL, "8193 bytes, 1 more than a multiple of the page size");
}

static void directory_given(void **state)
{
	struct scratch *scratch = *state;

	refused(scratch->directory, -GMM_EINVAL, "is a directory: give");
}

static void no_regular_file(void **state)
{
	struct scratch *scratch = *state;

	assert_int_equal(mkfifo(scratch->path, 0600), 0);
	refused(scratch->path, -GMM_EINVAL, "no regular file: copy");
	refused("/dev/null", -GMM_EINVAL, "no regular file: copy");
}

static void unreadable_file(void **state)
{
	struct scratch *scratch = *state;
	bool was_root = geteuid() == 0;

	file_make(scratch->path, scratch->contents, PAGE_SIZE);
	assert_int_equal(chmod(scratch->directory, 0755), 0);
	assert_int_equal(chmod(scratch->path, 0), 0);
	if (was_root)
		assert_int_equal(seteuid(65534), 0);
	refused(scratch->path, -GMM_EIO, "chmod +r");
	if (was_root)
		assert_int_equal(seteuid(0), 0);
}

static void bad_page_shift(void **state)
{
	struct scratch *scratch = *state;
	char text[GMM_BACKING_TEXT_SIZE];
	struct gmm_source source;

	file_make(scratch->path, scratch->contents, PAGE_SIZE);
	assert_int_equal(gmm_source_open_file(&source, scratch->path, 11, text, sizeof(text)),
			 -GMM_EINVAL);
	assert_helpful(text, scratch->path, "12 to 16");
	assert_int_equal(gmm_source_open_generated(&source, 1, 1, 17, text, sizeof(text)),
			 -GMM_EINVAL);
	assert_int_equal(gmm_source_open_generated(&source, 1, 0, 12, text, sizeof(text)),
			 -GMM_EINVAL);
	assert_helpful(text, "0 pages", "at least one");
	assert_int_equal(gmm_source_open_generated(&source, 1, UINT64_MAX, 12, text, sizeof(text)),
			 -GMM_EINVAL);
}

/*
 * Its times are long past, so that any change shows even where the kernel's clock of files is
 * coarse.
 */
static struct gmm_source open_old_file(struct scratch *scratch)
{
	struct timespec past[2] = { { .tv_sec = 1000000000 }, { .tv_sec = 1000000000 } };
	char text[GMM_BACKING_TEXT_SIZE];
	struct gmm_source source;

	file_make(scratch->path, scratch->contents, PAGES * PAGE_SIZE);
	assert_int_equal(utimensat(AT_FDCWD, scratch->path, past, 0), 0);
	if (gmm_source_open_file(&source, scratch->path, PAGE_SHIFT, text, sizeof(text)) != 0)
		fail_msg("%s", text);
	assert_int_equal(source.ops->check(source.source), 0);
	source.ops->failure(source.source, text, sizeof(text));
	assert_string_equal(text, "");
	return source;
}

static void fails_check(struct scratch *scratch, struct gmm_source *source, const char *what)
{
	char text[GMM_BACKING_TEXT_SIZE];

	assert_int_equal(source->ops->check(source->source), -GMM_EIO);
	source->ops->failure(source->source, text, sizeof(text));
	assert_helpful(text, scratch->path, what);
	assert_helpful(text, scratch->path, "keep the file as it is");
	gmm_source_close(source);
	assert_null(source->ops);
}

static void changed_while_in_use(void **state)
{
	struct scratch *scratch = *state;
	struct gmm_source source = open_old_file(scratch);
	int fd = open(scratch->path, O_WRONLY | O_CLOEXEC);

	assert_int_equal(pwrite(fd, "!", 1, 5000), 1);
	close(fd);
	fails_check(scratch, &source, "changed while in use");
}

static void truncated_while_in_use(void **state)
{
	struct scratch *scratch = *state;
	struct gmm_source source = open_old_file(scratch);
	char buffer[2 * PAGE_SIZE];

	assert_int_equal(truncate(scratch->path, 5 * PAGE_SIZE), 0);
	/* The part that is cut off is no hole. */
	assert_false(source.ops->is_zero(source.source, 6, 2));
	assert_int_equal(source.ops->read(source.source, 4, 2, buffer), -GMM_EIO);
	fails_check(scratch, &source, "truncated while in use, from 49152 to 20480 bytes");
}

static void extended_while_in_use(void **state)
{
	struct scratch *scratch = *state;
	struct gmm_source source = open_old_file(scratch);

	assert_int_equal(truncate(scratch->path, 2 * PAGES * PAGE_SIZE), 0);
	fails_check(scratch, &source, "extended while in use");
}

static void replaced_while_in_use(void **state)
{
	struct scratch *scratch = *state;
	struct gmm_source source = open_old_file(scratch);
	char *other = scratch_path(scratch->directory, "other");
	char buffer[PAGE_SIZE];

	file_make(other, scratch->contents, PAGES * PAGE_SIZE);
	assert_int_equal(rename(other, scratch->path), 0);
	assert_int_equal(source.ops->read(source.source, 3, 1, buffer), 0);
	assert_memory_equal(buffer, scratch->contents + 3 * PAGE_SIZE, PAGE_SIZE);
	fails_check(scratch, &source, "replaced by another file while in use");
	free(other);
}

static void removed_while_in_use(void **state)
{
	struct scratch *scratch = *state;
	struct gmm_source source = open_old_file(scratch);

	assert_int_equal(unlink(scratch->path), 0);
	fails_check(scratch, &source, "removed while in use");
}

static void failed_read_names_the_offset(void **state)
{
	struct scratch *scratch = *state;
	struct gmm_source source = open_old_file(scratch);
	char text[GMM_BACKING_TEXT_SIZE], buffer[PAGE_SIZE];

	/* Beyond the end, which its callers never ask for: the file itself is as it was. */
	assert_int_equal(source.ops->read(source.source, PAGES, 1, buffer), -GMM_EIO);
	source.ops->failure(source.source, text, sizeof(text));
	assert_helpful(text, scratch->path, "4096 bytes at offset 49152 gave 0 (end of file)");
	gmm_source_close(&source);
}

static void holes_are_zero(void **state)
{
	struct scratch *scratch = *state;
	char text[GMM_BACKING_TEXT_SIZE], buffer[64 * PAGE_SIZE];
	struct gmm_source source;
	int fd;

	file_make(scratch->path, "", 0);
	fd = open(scratch->path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(ftruncate(fd, 64 * PAGE_SIZE), 0);
	assert_int_equal(pwrite(fd, scratch->contents, PAGE_SIZE, 32 * PAGE_SIZE), PAGE_SIZE);
	close(fd);
	assert_int_equal(
		gmm_source_open_file(&source, scratch->path, PAGE_SHIFT, text, sizeof(text)), 0);
	assert_false(source.ops->is_zero(source.source, 32, 1));
	assert_false(source.ops->is_zero(source.source, 0, 64));
	if (!source.ops->is_zero(source.source, 0, 16))
		print_message("# the file system of %s keeps no holes\n", scratch->directory);
	assert_int_equal(source.ops->read(source.source, 0, 64, buffer), 0);
	for (size_t i = 0; i < sizeof(buffer); i++) {
		if (i / PAGE_SIZE == 32)
			assert_int_equal(buffer[i], scratch->contents[i % PAGE_SIZE]);
		else
			assert_int_equal(buffer[i], 0);
	}
	gmm_source_close(&source);
}

static void generated_pages_are_a_function_of_seed_and_page(void **state)
{
	enum {
		COUNT = 300
	};
	char *one = malloc(COUNT * PAGE_SIZE), *other = malloc(COUNT * PAGE_SIZE);
	unsigned int zero = 0, repeated = 0, differ = 0;
	struct gmm_source left, right;

	gmm_source_open_generated(&left, 42, COUNT, PAGE_SHIFT, NULL, 0);
	gmm_source_open_generated(&right, 42, COUNT, PAGE_SHIFT, NULL, 0);
	assert_int_equal(left.ops->size(left.source), COUNT * PAGE_SIZE);
	left.ops->read(left.source, 0, COUNT, one);
	for (uint64_t page = COUNT; page-- > 0;)
		right.ops->read(right.source, page, 1, other + page * PAGE_SIZE);
	assert_memory_equal(one, other, COUNT * PAGE_SIZE);
	/* So that a change of the algorithm is noticed: runs are compared by their seed. */
	assert_int_equal(*(uint64_t *)(void *)(one + 3 * PAGE_SIZE), 0x8a126a344796755full);
	for (uint64_t page = 0; page < COUNT; page++) {
		char *here = one + page * PAGE_SIZE;
		bool is_zero = left.ops->is_zero(left.source, page, 1);

		assert_int_equal(is_zero, here[0] == 0 && !memcmp(here, here + 1, PAGE_SIZE - 1));
		zero += is_zero;
		for (uint64_t earlier = 0; earlier < page && !is_zero; earlier++) {
			if (!memcmp(here, one + earlier * PAGE_SIZE, PAGE_SIZE)) {
				repeated++;
				break;
			}
		}
	}
	assert_in_range(zero, COUNT / 5, COUNT / 2);
	assert_in_range(repeated, COUNT / 6, COUNT / 2);
	gmm_source_close(&right);
	gmm_source_open_generated(&right, 43, COUNT, PAGE_SHIFT, NULL, 0);
	right.ops->read(right.source, 0, COUNT, other);
	for (uint64_t page = 0; page < COUNT; page++)
		differ += !!memcmp(one + page * PAGE_SIZE, other + page * PAGE_SIZE, PAGE_SIZE);
	assert_true(differ > COUNT / 2);
	gmm_source_close(&left);
	gmm_source_close(&right);
	free(one);
	free(other);
}

static void incomplete_operations_are_refused(void **state)
{
	struct gmm_source source;
	struct gmm_source_ops ops;

	gmm_source_open_generated(&source, 1, 1, PAGE_SHIFT, NULL, 0);
	ops = *source.ops;
	assert_int_equal(gmm_source_ops_check(&ops), 0);
	ops.check = NULL;
	assert_int_equal(gmm_source_ops_check(&ops), -GMM_EINVAL);
	ops = *source.ops;
	ops.version++;
	assert_int_equal(gmm_source_ops_check(&ops), -GMM_EINVAL);
	assert_int_equal(gmm_source_ops_check(NULL), -GMM_EINVAL);
	gmm_source_close(&source);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, scratch_set_up, scratch_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(missing_file),
		CASE(empty_file),
		CASE(three_bytes),
		CASE(unaligned_size),
		CASE(directory_given),
		CASE(no_regular_file),
		CASE(unreadable_file),
		CASE(bad_page_shift),
		CASE(changed_while_in_use),
		CASE(truncated_while_in_use),
		CASE(extended_while_in_use),
		CASE(replaced_while_in_use),
		CASE(removed_while_in_use),
		CASE(failed_read_names_the_offset),
		CASE(holes_are_zero),
		CASE(generated_pages_are_a_function_of_seed_and_page),
		CASE(incomplete_operations_are_refused),
	};

	return cmocka_run_group_tests_name("sources", tests, NULL, NULL);
}
