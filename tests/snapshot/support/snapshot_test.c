/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#define _GNU_SOURCE
#include "snapshot_test.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * Both in place of the system's: nothing here loses power, and hundreds of saves would wait for a
 * disk. That they are called, and when, is seen by the hook.
 */
int fsync(int fd)
{
	return 0;
}

int posix_fadvise(int fd, off_t offset, off_t length, int advice)
{
	return 0;
}

unsigned int open_files(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned int count = 0;

	assert_non_null(directory);
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

int scratch_set_up(void **state)
{
	const char *base = getenv("GMM_TEST_TMP");
	struct scratch *scratch = calloc(1, sizeof(*scratch));

	scratch->files_before = open_files();
	assert_true(asprintf(&scratch->directory, "%s/gmm-snapshot-XXXXXX",
			     base && *base ? base : "/tmp") > 0);
	assert_non_null(mkdtemp(scratch->directory));
	assert_true(asprintf(&scratch->path, "%s/saved", scratch->directory) > 0);
	*state = scratch;
	return 0;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
	return remove(path);
}

void tree_remove(const char *path)
{
	assert_int_equal(nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

int scratch_tear_down(void **state)
{
	struct scratch *scratch = *state;

	assert_int_equal(open_files(), scratch->files_before);
	tree_remove(scratch->directory);
	free(scratch->directory);
	free(scratch->path);
	free(scratch);
	return 0;
}

char *path_of(const struct scratch *scratch, const char *name)
{
	char *path;

	assert_true(asprintf(&path, "%s/%s", scratch->path, name) > 0);
	return path;
}

char *names_in(const struct scratch *scratch)
{
	struct dirent **entries;
	int i, count = scandir(scratch->path, &entries, NULL, alphasort);
	char *names = NULL;
	size_t length;
	FILE *text = open_memstream(&names, &length);

	assert_true(count >= 2);
	for (i = 0; i < count; i++) {
		if (entries[i]->d_name[0] != '.')
			fprintf(text, "%s ", entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	fclose(text);
	return names;
}

/* Not O_TRUNC: some file systems write such a file out when it is closed. */
void file_make(const char *path, const void *contents, size_t length)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, contents, length), length);
	assert_int_equal(ftruncate(fd, (off_t)length), 0);
	close(fd);
}

char *file_load(const char *path, size_t *length)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat info;
	char *contents;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &info), 0);
	*length = (size_t)info.st_size;
	contents = calloc(1, *length + 1);
	assert_int_equal(read(fd, contents, *length), *length);
	close(fd);
	return contents;
}

void file_flip(const char *path, uint64_t offset)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	unsigned char byte;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
	close(fd);
}

void page_make(void *buffer, uint64_t page, uint32_t version)
{
	uint64_t *words = buffer;
	uint32_t i;

	for (i = 0; i < PAGE_BYTES / 8; i++)
		words[i] = (page + version) % 5 == 4 ?
				   0 :
				   (page + 1) * 0x9e3779b97f4a7c15u + version * 0x10001u + i;
}

void model_change(struct model *model, uint32_t one_of, uint32_t rest)
{
	uint32_t page;

	for (page = rest; page < PAGES; page += one_of)
		model->version[page]++;
}

int write_base(struct gmm_snapshot_writer *writer, const struct model *model)
{
	static _Alignas(8) char buffer[16 * PAGE_BYTES];
	uint32_t page, i, count;
	int error = gmm_snapshot_writer_begin_base(writer);

	for (page = 0; page < PAGES && !error; page += count) {
		count = PAGES - page < 16 ? PAGES - page : 16;
		for (i = 0; i < count; i++)
			page_make(buffer + i * PAGE_BYTES, page + i, model->version[page + i]);
		error = gmm_snapshot_writer_write(writer, page, count, buffer);
	}
	return error ? error : gmm_snapshot_writer_end(writer);
}

int write_increment(struct gmm_snapshot_writer *writer, const struct model *model, uint32_t one_of,
		    uint32_t rest)
{
	static _Alignas(8) char buffer[PAGE_BYTES];
	uint32_t page;
	int error = gmm_snapshot_writer_begin_increment(writer);

	for (page = rest; page < PAGES && !error; page += one_of) {
		page_make(buffer, page, model->version[page]);
		error = gmm_snapshot_writer_write(writer, page, 1, buffer);
	}
	return error ? error : gmm_snapshot_writer_end(writer);
}

struct gmm_snapshot_writer *writer_make(const struct scratch *scratch,
					const struct gmm_source *parent)
{
	const struct gmm_snapshot_writer_config config = {
		.directory = scratch->path,
		.page_count = PAGES,
		.page_shift = PAGE_SHIFT,
		.parent = parent,
	};
	char text[GMM_BACKING_TEXT_SIZE] = "";
	struct gmm_snapshot_writer *writer;

	if (gmm_snapshot_writer_open(&config, &writer, text, sizeof(text)))
		fail_msg("%s", text);
	return writer;
}

void save_three(const struct scratch *scratch, struct model *model)
{
	struct gmm_snapshot_writer *writer = writer_make(scratch, NULL);

	assert_int_equal(write_base(writer, model), 0);
	model_change(model, 3, 1);
	assert_int_equal(write_increment(writer, model, 3, 1), 0);
	model_change(model, 7, 0);
	assert_int_equal(write_increment(writer, model, 7, 0), 0);
	assert_int_equal(gmm_snapshot_writer_commit(writer), 0);
	gmm_snapshot_writer_close(writer);
}

struct gmm_source reader_make(const struct scratch *scratch)
{
	char text[GMM_BACKING_TEXT_SIZE] = "";
	struct gmm_source source;

	if (gmm_source_open_snapshot(&source, scratch->path, PAGE_SHIFT, GMM_SNAPSHOT_VERIFY, text,
				     sizeof(text)))
		fail_msg("%s", text);
	return source;
}

bool source_is(struct gmm_source *source, const struct model *model)
{
	static const uint32_t batches[] = { 1, 7, PAGES };
	char *expected = malloc(PAGES * PAGE_BYTES), *found = malloc(PAGES * PAGE_BYTES);
	uint32_t page, i, count;
	bool same = true;

	for (page = 0; page < PAGES; page++)
		page_make(expected + page * PAGE_BYTES, page, model->version[page]);
	for (i = 0; i < 3; i++) {
		memset(found, 0xa5, PAGES * PAGE_BYTES);
		for (page = 0; page < PAGES; page += count) {
			count = PAGES - page < batches[i] ? PAGES - page : batches[i];
			assert_int_equal(source->ops->read(source->source, page, count,
							   found + page * PAGE_BYTES),
					 0);
		}
		same = same && !memcmp(expected, found, PAGES * PAGE_BYTES);
	}
	for (page = 0; page < PAGES; page++)
		if (source->ops->is_zero(source->source, page, 1))
			same = same && (page + model->version[page]) % 5 == 4;
	free(expected);
	free(found);
	return same;
}

void assert_snapshot_is(const struct scratch *scratch, const struct model *model)
{
	struct gmm_source source = reader_make(scratch);

	assert_int_equal(source.ops->size(source.source), PAGES * PAGE_BYTES);
	assert_true(source_is(&source, model));
	assert_int_equal(source.ops->check(source.source), 0);
	gmm_source_close(&source);
}

struct snapshot_manifest manifest_of(const struct scratch *scratch)
{
	struct snapshot_manifest manifest;
	char text[GMM_BACKING_TEXT_SIZE];
	int fd = open(scratch->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_int_equal(gmm_snapshot_manifest_read(fd, scratch->path, SNAPSHOT_MANIFEST, &manifest,
						    text, sizeof(text)),
			 0);
	close(fd);
	return manifest;
}

void assert_helpful(const char *text, const char *thing, const char *what)
{
	assert_true(text[0] != '\0');
	assert_null(strchr(text, '\n'));
	if (!strstr(text, thing) || !strstr(text, what))
		fail_msg("\"%s\" lacks \"%s\" or \"%s\"", text, thing, what);
	/* The way out follows the last colon. */
	assert_non_null(strrchr(text, ':'));
	assert_true(strlen(strrchr(text, ':')) > 8);
}

void assert_refused(const struct scratch *scratch, uint32_t flags, int error, const char *thing,
		    const char *what)
{
	char text[GMM_BACKING_TEXT_SIZE] = "";
	struct gmm_source source;

	assert_int_equal(gmm_source_open_snapshot(&source, scratch->path, PAGE_SHIFT, flags, text,
						  sizeof(text)),
			 error);
	assert_null(source.ops);
	assert_helpful(text, thing, what);
}
