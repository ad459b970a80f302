/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The directory and its chain. Order of a commit: files and manifest are on disk under names that
 * nobody reads, the directory too; one rename; the directory again; only then old files go.
 */
#include "writer_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "backing/failure_impl.h"
#include "reader_impl.h"

#define WAY_OUT "free space there, or give another directory"

int gmm_snapshot_writer_fail(struct gmm_snapshot_writer *writer, int error, const char *format, ...)
{
	va_list arguments;

	if (writer->error)
		return error;
	va_start(arguments, format);
	vsnprintf(writer->failure, sizeof(writer->failure), format, arguments);
	va_end(arguments);
	writer->error = error;
	return error;
}

int gmm_snapshot_writer_fail_step(struct gmm_snapshot_writer *writer, const char *name,
				  const char *what, int system_error)
{
	char reason[128];

	return gmm_snapshot_writer_fail(writer, -GMM_EIO, "%s/%s: cannot %s (%s): " WAY_OUT,
					writer->directory, name, what,
					gmm_errno_text(system_error, reason, sizeof(reason)));
}

void gmm_snapshot_writer_failure(const struct gmm_snapshot_writer *writer, char *text,
				 size_t text_size)
{
	if (text_size)
		snprintf(text, text_size, "%s", writer->failure);
}

int gmm_snapshot_writer_new_id(struct gmm_snapshot_writer *writer, uint64_t *id)
{
	if (getrandom(id, sizeof(*id), 0) == (ssize_t)sizeof(*id))
		return 0;
	return gmm_snapshot_writer_fail_step(writer, ".", "get a new name", errno);
}

static int open_directory(struct gmm_snapshot_writer *writer, struct stat *info)
{
	int error = gmm_snapshot_io_make_directory(&writer->io, writer->directory);
	char reason[128];

	if (error && error != EEXIST)
		return gmm_snapshot_writer_fail(
			writer, -GMM_EIO,
			"%s: cannot be made (%s): give a directory in one that "
			"you may write to",
			writer->directory, gmm_errno_text(error, reason, sizeof(reason)));
	writer->made_directory = !error;
	writer->directory_fd = open(writer->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (writer->directory_fd < 0 || fstat(writer->directory_fd, info))
		return gmm_snapshot_writer_fail(
			writer, -GMM_EIO,
			"%s: cannot be opened as a directory (%s): give one "
			"that you may read and write",
			writer->directory, gmm_errno_text(errno, reason, sizeof(reason)));
	writer->locked = flock(writer->directory_fd, LOCK_EX | LOCK_NB) == 0;
	if (writer->locked)
		return 0;
	if (errno == EWOULDBLOCK)
		return gmm_snapshot_writer_fail(
			writer, -GMM_EBUSY,
			"%s: another program saves into it now: wait until it "
			"has ended, or give another directory",
			writer->directory);
	return gmm_snapshot_writer_fail(
		writer, -GMM_EIO, "%s: cannot be locked (%s): give a directory on a local disk",
		writer->directory, gmm_errno_text(errno, reason, sizeof(reason)));
}

static bool is_named(const struct snapshot_manifest *manifest, const char *name)
{
	uint32_t i;

	for (i = 0; i < manifest->count; i++)
		if (!strcmp(manifest->files[i].name, name))
			return true;
	return false;
}

/*
 * Removes files of ours that the snapshot does not consist of. What cannot be removed stays for the
 * next time.
 */
static void clean(struct gmm_snapshot_writer *writer)
{
	int fd = openat(writer->directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	if (!directory) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(directory)))
		if (!strcmp(entry->d_name, SNAPSHOT_MANIFEST_NEW) ||
		    (gmm_snapshot_name_is_ours(entry->d_name) &&
		     !is_named(&writer->committed, entry->d_name)))
			gmm_snapshot_io_remove(&writer->io, writer->directory_fd, entry->d_name);
	closedir(directory);
}

/* The files of the chain that are in the manifest on disk are still those. */
static int check_files(struct gmm_snapshot_writer *writer, const struct gmm_source *parent)
{
	struct stat info;
	uint32_t i;

	for (i = 0; i < writer->chain.count; i++) {
		const struct snapshot_file *file = &writer->chain.files[i];

		if (fstatat(writer->directory_fd, file->name, &info, AT_SYMLINK_NOFOLLOW) ||
		    !S_ISREG(info.st_mode) || (uint64_t)info.st_size != file->bytes ||
		    (parent && !gmm_snapshot_reader_has(parent, i, &info)))
			return gmm_snapshot_writer_fail(
				writer, -GMM_EIO,
				"%s/%s: was changed or removed while it was in use: leave the "
				"directory alone during a run, and save into another one",
				writer->directory, file->name);
	}
	return 0;
}

static int adopt_parent(struct gmm_snapshot_writer *writer, const struct gmm_source *parent,
			const struct stat *info)
{
	const struct snapshot_manifest *manifest = gmm_snapshot_reader_manifest(parent, info);

	if (!manifest)
		return 0;
	if (manifest->id != writer->committed.id || !writer->committed.count)
		return gmm_snapshot_writer_fail(
			writer, -GMM_EBUSY,
			"%s: another snapshot was saved into it since it was "
			"opened: start again, or give another directory",
			writer->directory);
	if (manifest->page_count != writer->chain.page_count ||
	    manifest->page_shift != writer->chain.page_shift)
		return gmm_snapshot_writer_fail(writer, -GMM_EINVAL,
						"%s: its snapshot has another size of memory: give "
						"another directory",
						writer->directory);
	writer->chain = writer->committed;
	return check_files(writer, parent);
}

static int prepare_directory(struct gmm_snapshot_writer *writer, const struct gmm_source *parent)
{
	struct stat info;
	char text[GMM_BACKING_TEXT_SIZE];
	int error = open_directory(writer, &info);

	if (error)
		return error;
	error = gmm_snapshot_manifest_read(writer->directory_fd, writer->directory,
					   SNAPSHOT_MANIFEST, &writer->committed, text,
					   sizeof(text));
	if (error == -GMM_ENOENT)
		writer->committed.count = 0;
	else if (error)
		return gmm_snapshot_writer_fail(
			writer, error,
			"%.400s; nothing there is replaced: remove it, or give "
			"another directory",
			text);
	clean(writer);
	return adopt_parent(writer, parent, &info);
}

int gmm_snapshot_writer_open_hooked(const struct gmm_snapshot_writer_config *config,
				    const struct snapshot_io *io,
				    struct gmm_snapshot_writer **writer, char *text,
				    size_t text_size)
{
	struct gmm_snapshot_writer *made;
	int error;

	if (config->page_shift < GMM_BACKING_PAGE_SHIFT_MIN ||
	    config->page_shift > GMM_BACKING_PAGE_SHIFT_MAX || !config->page_count ||
	    config->page_count > GMM_SNAPSHOT_PAGES_MAX)
		return gmm_refuse(text, text_size, -GMM_EINVAL,
				  "%s: %llu pages of 2^%u bytes cannot be saved: 1 to %u of 2^%u "
				  "to 2^%u can",
				  config->directory, (unsigned long long)config->page_count,
				  config->page_shift, GMM_SNAPSHOT_PAGES_MAX,
				  GMM_BACKING_PAGE_SHIFT_MIN, GMM_BACKING_PAGE_SHIFT_MAX);
	made = calloc(1, sizeof(*made));
	if (made) {
		made->fd = made->directory_fd = -1;
		made->directory = strdup(config->directory);
		made->sum = gmm_snapshot_sum_create();
		made->chain.page_count = config->page_count;
		made->chain.page_shift = config->page_shift;
		if (io)
			made->io = *io;
	}
	if (!made || !made->directory || !made->sum)
		error = gmm_refuse(text, text_size, -GMM_ENOMEM, "%s: out of memory: free some",
				   config->directory);
	else
		error = prepare_directory(made, config->parent);
	if (!error) {
		*writer = made;
		return 0;
	}
	if (made && made->failure[0])
		gmm_snapshot_writer_failure(made, text, text_size);
	gmm_snapshot_writer_close(made);
	return error;
}

int gmm_snapshot_writer_open(const struct gmm_snapshot_writer_config *config,
			     struct gmm_snapshot_writer **writer, char *text, size_t text_size)
{
	return gmm_snapshot_writer_open_hooked(config, NULL, writer, text, text_size);
}

void gmm_snapshot_writer_close(struct gmm_snapshot_writer *writer)
{
	if (!writer)
		return;
	if (writer->fd >= 0)
		close(writer->fd);
	/* A commit that failed at its last step may have put the new manifest there. */
	if (writer->locked) {
		struct snapshot_manifest now;
		int error = gmm_snapshot_manifest_read(writer->directory_fd, writer->directory,
						       SNAPSHOT_MANIFEST, &now, NULL, 0);

		if (error == -GMM_ENOENT || (!error && now.id == writer->committed.id))
			clean(writer);
		/* Only when it is empty. */
		if (writer->made_directory && error == -GMM_ENOENT)
			rmdir(writer->directory);
	}
	if (writer->directory_fd >= 0)
		close(writer->directory_fd);
	gmm_snapshot_sum_destroy(writer->sum);
	free(writer->bitmap);
	free(writer->directory);
	free(writer);
}

uint32_t gmm_snapshot_writer_chain(const struct gmm_snapshot_writer *writer)
{
	return writer->chain.count;
}

void gmm_snapshot_writer_read_counters(const struct gmm_snapshot_writer *writer,
				       struct gmm_snapshot_writer_counters *counters)
{
	*counters = writer->counters;
}

static int write_manifest(struct gmm_snapshot_writer *writer, const char *text)
{
	const char *name = SNAPSHOT_MANIFEST_NEW;
	int fd, error;

	error = gmm_snapshot_io_create(&writer->io, writer->directory_fd, name, &fd);
	if (error)
		return error;
	error = gmm_snapshot_io_write(&writer->io, name, fd, text, strlen(text), 0);
	if (!error)
		error = gmm_snapshot_io_sync(&writer->io, name, fd);
	close(fd);
	if (!error)
		error = gmm_snapshot_io_sync_directory(&writer->io, writer->directory_fd, ".");
	return error;
}

/* Everything but the rename. */
static int prepare(struct gmm_snapshot_writer *writer)
{
	struct timespec now;
	char *text;
	int error;

	if (writer->error)
		return writer->error;
	if (writer->fd >= 0 || !writer->chain.count)
		return -GMM_EINVAL;
	if (writer->prepared)
		return 0;
	error = gmm_snapshot_writer_new_id(writer, &writer->chain.id);
	if (error)
		return error;
	clock_gettime(CLOCK_REALTIME, &now);
	writer->chain.time = now.tv_sec > 0 ? (uint64_t)now.tv_sec : 0;
	text = gmm_snapshot_manifest_format(&writer->chain);
	if (!text)
		return gmm_snapshot_writer_fail(writer, -GMM_ENOMEM, "%s: out of memory: free some",
						writer->directory);
	/* From an earlier preparation, after which the chain grew. */
	gmm_snapshot_io_remove(&writer->io, writer->directory_fd, SNAPSHOT_MANIFEST_NEW);
	error = write_manifest(writer, text);
	free(text);
	if (error)
		return gmm_snapshot_writer_fail_step(writer, SNAPSHOT_MANIFEST_NEW, "be written",
						     error);
	writer->prepared = true;
	return 0;
}

int gmm_snapshot_writer_reopen(struct gmm_snapshot_writer *writer, struct gmm_source *source)
{
	char text[GMM_BACKING_TEXT_SIZE] = "";
	int error;

	*source = (struct gmm_source){ 0 };
	error = prepare(writer);
	if (error)
		return error;
	error = gmm_snapshot_reader_open(source, writer->directory, SNAPSHOT_MANIFEST_NEW,
					 writer->chain.page_shift, GMM_SNAPSHOT_VERIFY, text,
					 sizeof(text));
	return error ? gmm_snapshot_writer_fail(writer, error, "%s", text) : 0;
}

/* The directory's own entry, when it is new. */
static int sync_parent(struct gmm_snapshot_writer *writer)
{
	int fd, error;

	if (!writer->made_directory)
		return 0;
	fd = openat(writer->directory_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	error = gmm_snapshot_io_sync_directory(&writer->io, fd, "..");
	close(fd);
	return error;
}

int gmm_snapshot_writer_commit(struct gmm_snapshot_writer *writer)
{
	int error = prepare(writer);

	if (!error)
		error = check_files(writer, NULL);
	if (error)
		return error;
	error = sync_parent(writer);
	if (error)
		return gmm_snapshot_writer_fail_step(writer, "..", "be written", error);
	error = gmm_snapshot_io_rename(&writer->io, writer->directory_fd, SNAPSHOT_MANIFEST_NEW,
				       SNAPSHOT_MANIFEST);
	if (error)
		return gmm_snapshot_writer_fail_step(writer, SNAPSHOT_MANIFEST, "be replaced",
						     error);
	writer->prepared = false;
	error = gmm_snapshot_io_sync_directory(&writer->io, writer->directory_fd, ".");
	/* Which of the two the disk has is not known, so the files of both stay. */
	if (error)
		return gmm_snapshot_writer_fail_step(writer, ".", "be written", error);
	writer->committed = writer->chain;
	writer->made_directory = false;
	clean(writer);
	return 0;
}
