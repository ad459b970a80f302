/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* A snapshot directory as a source of pages. */
#include "reader_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backing/failure_impl.h"
#include "backing/file_io_impl.h"
#include "index_impl.h"
#include "sum_impl.h"

#define WAY_OUT "save again, or copy the directory again from where it was whole"
#define WAY_OUT_CHANGED \
	"what was read cannot be trusted; leave the directory alone during a run, or copy it"
#define VERIFY_BYTES (1u << 20)
/* How often a writer may replace the snapshot while it is being opened. */
#define TRIES 16

struct snapshot_reader {
	/* immutable after open */
	char *directory; /* as the caller wrote it, for messages */
	struct stat directory_identity;
	struct snapshot_manifest manifest;
	struct snapshot_index index;
	int fds[GMM_SNAPSHOT_CHAIN_MAX]; /* the first `open` of them */
	struct stat identities[GMM_SNAPSHOT_CHAIN_MAX];
	uint32_t open;

	struct gmm_failure failure;
};

static uint64_t snapshot_size(void *source)
{
	const struct snapshot_reader *reader = source;

	return reader->manifest.page_count << reader->manifest.page_shift;
}

static bool same_time(struct timespec left, struct timespec right)
{
	return left.tv_sec == right.tv_sec && left.tv_nsec == right.tv_nsec;
}

/*
 * Whether the contents are as they were. Removing a file or another name for it changes its time of
 * change, but that is allowed: a writer removes what the new manifest does not name.
 */
static const char *changed(const struct stat *then, const struct stat *now)
{
	if (now->st_size != then->st_size)
		return now->st_size < then->st_size ? "truncated" : "extended";
	if (!same_time(now->st_mtim, then->st_mtim) ||
	    (now->st_nlink == then->st_nlink && !same_time(now->st_ctim, then->st_ctim)))
		return "changed";
	return NULL;
}

static int snapshot_check(void *source)
{
	struct snapshot_reader *reader = source;
	struct stat now;
	uint32_t i;

	for (i = 0; i < reader->open; i++) {
		const char *how = fstat(reader->fds[i], &now) ?
					  "lost" :
					  changed(&reader->identities[i], &now);

		if (how) {
			gmm_failure_set(&reader->failure, "%s/%s: %s while in use: %s",
					reader->directory, reader->manifest.files[i].name, how,
					WAY_OUT_CHANGED);
			return -GMM_EIO;
		}
	}
	return 0;
}

static int read_piece(struct snapshot_reader *reader, const struct snapshot_piece *piece,
		      void *buffer)
{
	size_t length = (size_t)piece->count << reader->manifest.page_shift;
	char reason[128];
	int error;
	size_t got = gmm_file_read(reader->fds[piece->file], buffer, length, piece->offset, &error);

	if (got == length)
		return 0;
	if (error == 0 && snapshot_check(reader) != 0)
		return -GMM_EIO;
	gmm_failure_set(
		&reader->failure,
		"%s/%s: read of %zu bytes at offset %llu gave %zu (%s): check the disk, or save "
		"again",
		reader->directory, reader->manifest.files[piece->file].name, length,
		(unsigned long long)piece->offset, got,
		error ? gmm_errno_text(error, reason, sizeof(reason)) : "end of file");
	return -GMM_EIO;
}

static int snapshot_read(void *source, uint64_t page, uint32_t count, void *buffer)
{
	struct snapshot_reader *reader = source;
	char *to = buffer;
	int error = 0;

	while (count && !error) {
		struct snapshot_piece piece = gmm_snapshot_index_find(&reader->index, page, count);

		error = read_piece(reader, &piece, to);
		page += piece.count;
		count -= piece.count;
		to += (size_t)piece.count << reader->manifest.page_shift;
	}
	return error;
}

static bool piece_is_zero(const struct snapshot_reader *reader, const struct snapshot_piece *piece)
{
	off_t start = (off_t)piece->offset;
	off_t end = start + ((off_t)piece->count << reader->manifest.page_shift);
	int fd = reader->fds[piece->file];
	off_t data = lseek(fd, start, SEEK_DATA);

	/* ENXIO is also what a file that was cut off says; then let read find that out. */
	if (data < 0)
		return errno == ENXIO &&
		       lseek(fd, 0, SEEK_END) == reader->identities[piece->file].st_size;
	return data >= end;
}

static bool snapshot_is_zero(void *source, uint64_t page, uint32_t count)
{
	const struct snapshot_reader *reader = source;

	while (count) {
		struct snapshot_piece piece = gmm_snapshot_index_find(&reader->index, page, count);

		if (!piece_is_zero(reader, &piece))
			return false;
		page += piece.count;
		count -= piece.count;
	}
	return true;
}

static void snapshot_failure(void *source, char *text, size_t text_size)
{
	struct snapshot_reader *reader = source;

	gmm_failure_get(&reader->failure, text, text_size);
}

static void close_files(struct snapshot_reader *reader)
{
	while (reader->open)
		close(reader->fds[--reader->open]);
}

static void snapshot_close(void *source)
{
	struct snapshot_reader *reader = source;

	gmm_snapshot_index_destroy(&reader->index);
	close_files(reader);
	gmm_failure_destroy(&reader->failure);
	free(reader->directory);
	free(reader);
}

static const struct gmm_source_ops snapshot_ops = {
	.version = GMM_SOURCE_OPS_VERSION,
	.name = "snapshot",
	.size = snapshot_size,
	.read = snapshot_read,
	.is_zero = snapshot_is_zero,
	.check = snapshot_check,
	.failure = snapshot_failure,
	.close = snapshot_close,
};

/* -GMM_ENOENT: the file is not there. */
static int open_file(struct snapshot_reader *reader, int directory_fd, char *text, size_t text_size)
{
	const struct snapshot_file *file = &reader->manifest.files[reader->open];
	struct stat *info = &reader->identities[reader->open];
	int fd = openat(directory_fd, file->name,
			O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	char reason[128];

	if (fd < 0 && errno == ENOENT)
		return gmm_refuse(text, text_size, -GMM_ENOENT,
				  "%s/%s: is missing, though the manifest names it: " WAY_OUT,
				  reader->directory, file->name);
	if (fd < 0)
		return gmm_refuse(text, text_size, -GMM_EIO,
				  "%s/%s: cannot be opened (%s): make it readable, or raise "
				  "ulimit -n",
				  reader->directory, file->name,
				  gmm_errno_text(errno, reason, sizeof(reason)));
	reader->fds[reader->open++] = fd;
	if (fstat(fd, info))
		return gmm_refuse(text, text_size, -GMM_EIO,
				  "%s/%s: cannot be examined (%s): check the disk",
				  reader->directory, file->name,
				  gmm_errno_text(errno, reason, sizeof(reason)));
	if (!S_ISREG(info->st_mode))
		return gmm_refuse(text, text_size, -GMM_EINVAL,
				  "%s/%s: is no regular file: " WAY_OUT, reader->directory,
				  file->name);
	if ((uint64_t)info->st_size != file->bytes)
		return gmm_refuse(text, text_size, -GMM_EINVAL,
				  "%s/%s: has %lld bytes, and the manifest says %llu: " WAY_OUT,
				  reader->directory, file->name, (long long)info->st_size,
				  (unsigned long long)file->bytes);
	return 0;
}

static int open_files(struct snapshot_reader *reader, int directory_fd, const char *manifest,
		      char *text, size_t text_size)
{
	bool missing = false, replaced = true;
	uint64_t id = 0;
	int error, try;

	for (try = 0; try < TRIES; try++) {
		error = gmm_snapshot_manifest_read(directory_fd, reader->directory, manifest,
						   &reader->manifest, text, text_size);
		if (error)
			return error;
		replaced = !missing || id != reader->manifest.id;
		while (!error && reader->open < reader->manifest.count)
			error = open_file(reader, directory_fd, text, text_size);
		if (error != -GMM_ENOENT)
			return error;
		/* Nobody replaced it meanwhile: the file is missing indeed. */
		if (!replaced)
			return -GMM_EINVAL;
		close_files(reader);
		id = reader->manifest.id;
		missing = true;
	}
	return gmm_refuse(text, text_size, -GMM_EBUSY,
			  "%s: it is saved to again and again: wait until that has ended",
			  reader->directory);
}

static int verify_file(struct snapshot_reader *reader, uint32_t number, struct snapshot_sum *sum,
		       char *buffer, char *text, size_t text_size)
{
	const struct snapshot_file *file = &reader->manifest.files[number];
	uint64_t offset = number ? reader->index.data_offset : 0;
	char reason[128];
	int error;

	gmm_snapshot_sum_reset(sum);
	while (offset < file->bytes) {
		size_t length = file->bytes - offset < VERIFY_BYTES ?
					(size_t)(file->bytes - offset) :
					VERIFY_BYTES;

		if (gmm_file_read(reader->fds[number], buffer, length, offset, &error) != length)
			return gmm_refuse(text, text_size, -GMM_EIO,
					  "%s/%s: cannot be read (%s): check the disk",
					  reader->directory, file->name,
					  error ? gmm_errno_text(error, reason, sizeof(reason)) :
						  "end of file");
		gmm_snapshot_sum_add(sum, buffer, length);
		offset += length;
	}
	if (gmm_snapshot_sum_value(sum) != file->pages_sum)
		return gmm_refuse(text, text_size, -GMM_EINVAL,
				  "%s/%s: its pages are not what pages_xxh3 in the manifest "
				  "says: " WAY_OUT,
				  reader->directory, file->name);
	return 0;
}

static int verify(struct snapshot_reader *reader, char *text, size_t text_size)
{
	struct snapshot_sum *sum = gmm_snapshot_sum_create();
	char *buffer = malloc(VERIFY_BYTES);
	uint32_t i;
	int error = 0;

	if (!sum || !buffer)
		error = gmm_refuse(text, text_size, -GMM_ENOMEM, "%s: out of memory: free some",
				   reader->directory);
	for (i = 0; i < reader->open && !error; i++)
		error = verify_file(reader, i, sum, buffer, text, text_size);
	free(buffer);
	gmm_snapshot_sum_destroy(sum);
	return error;
}

static int open_directory(struct snapshot_reader *reader, const char *directory, int *fd,
			  char *text, size_t text_size)
{
	char reason[128];
	int error;

	*fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*fd < 0) {
		error = errno;
		return gmm_refuse(text, text_size,
				  error == ENOENT || error == ENOTDIR ? -GMM_ENOENT : -GMM_EIO,
				  "%s: cannot be opened as a directory (%s): give one that `gmm "
				  "run --save` wrote, and that you may read",
				  directory, gmm_errno_text(error, reason, sizeof(reason)));
	}
	if (fstat(*fd, &reader->directory_identity))
		return gmm_refuse(text, text_size, -GMM_EIO, "%s: cannot be examined (%s)",
				  directory, gmm_errno_text(errno, reason, sizeof(reason)));
	return 0;
}

static int fill_reader(struct snapshot_reader *reader, const char *directory, const char *manifest,
		       uint32_t page_shift, uint32_t flags, char *text, size_t text_size)
{
	int fd = -1;
	int error = open_directory(reader, directory, &fd, text, text_size);

	if (!error)
		error = open_files(reader, fd, manifest, text, text_size);
	if (fd >= 0)
		close(fd);
	if (!error && page_shift && page_shift != reader->manifest.page_shift)
		error = gmm_refuse(text, text_size, -GMM_EINVAL,
				   "%s/%s: page_bytes is %u, and pages of %u are wanted: give a "
				   "snapshot with those",
				   directory, manifest, 1u << reader->manifest.page_shift,
				   1u << page_shift);
	if (!error)
		error = gmm_snapshot_index_build(&reader->index, &reader->manifest, reader->fds,
						 directory, text, text_size);
	if (!error && flags & GMM_SNAPSHOT_VERIFY)
		error = verify(reader, text, text_size);
	return error;
}

int gmm_snapshot_reader_open(struct gmm_source *source, const char *directory, const char *manifest,
			     uint32_t page_shift, uint32_t flags, char *text, size_t text_size)
{
	struct snapshot_reader *reader = calloc(1, sizeof(*reader));
	int error;

	*source = (struct gmm_source){ 0 };
	if (reader)
		reader->directory = strdup(directory);
	if (!reader || !reader->directory || gmm_failure_init(&reader->failure)) {
		if (reader)
			free(reader->directory);
		free(reader);
		return gmm_refuse(text, text_size, -GMM_ENOMEM, "%s: out of memory: free some",
				  directory);
	}
	error = fill_reader(reader, directory, manifest, page_shift, flags, text, text_size);
	if (error) {
		snapshot_close(reader);
		return error;
	}
	*source = (struct gmm_source){
		.ops = &snapshot_ops,
		.source = reader,
		.page_shift = reader->manifest.page_shift,
	};
	return 0;
}

int gmm_source_open_snapshot(struct gmm_source *source, const char *directory, uint32_t page_shift,
			     uint32_t flags, char *text, size_t text_size)
{
	if (flags & ~GMM_SNAPSHOT_VERIFY) {
		*source = (struct gmm_source){ 0 };
		return gmm_refuse(text, text_size, -GMM_EINVAL, "%s: unknown flags 0x%x", directory,
				  flags);
	}
	return gmm_snapshot_reader_open(source, directory, SNAPSHOT_MANIFEST, page_shift, flags,
					text, text_size);
}

int gmm_snapshot_read_info(const struct gmm_source *source, struct gmm_snapshot_info *info)
{
	const struct snapshot_reader *reader = source->source;
	uint32_t i;

	if (source->ops != &snapshot_ops)
		return -GMM_EINVAL;
	*info = (struct gmm_snapshot_info){
		.page_count = reader->manifest.page_count,
		.time = reader->manifest.time,
		.chain = reader->manifest.count,
	};
	for (i = 0; i < info->chain; i++)
		info->file_bytes += reader->manifest.files[i].bytes;
	return 0;
}

const struct snapshot_manifest *gmm_snapshot_reader_manifest(const struct gmm_source *source,
							     const struct stat *info)
{
	const struct snapshot_reader *reader;

	if (!source || source->ops != &snapshot_ops)
		return NULL;
	reader = source->source;
	return reader->directory_identity.st_dev == info->st_dev &&
			       reader->directory_identity.st_ino == info->st_ino ?
		       &reader->manifest :
		       NULL;
}

bool gmm_snapshot_reader_has(const struct gmm_source *source, uint32_t file,
			     const struct stat *info)
{
	const struct snapshot_reader *reader = source->source;
	const struct stat *mine = &reader->identities[file];

	return mine->st_dev == info->st_dev && mine->st_ino == info->st_ino && !changed(mine, info);
}
