/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* A base or an increment, written under a new name. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "writer_impl.h"

static uint64_t bitmap_bytes(const struct gmm_snapshot_writer *writer)
{
	return gmm_snapshot_bitmap_bytes(writer->chain.page_count, writer->chain.page_shift);
}

static int begin(struct gmm_snapshot_writer *writer, enum snapshot_kind kind)
{
	struct snapshot_file *file = gmm_snapshot_writer_file(writer);
	uint64_t id;
	int error = gmm_snapshot_writer_new_id(writer, &id);

	if (error)
		return error;
	*file = (struct snapshot_file){ .kind = kind };
	gmm_snapshot_name_make(kind, id, file->name);
	writer->next = 0;
	writer->prepared = false;
	gmm_snapshot_sum_reset(writer->sum);
	error = gmm_snapshot_io_create(&writer->io, writer->directory_fd, file->name, &writer->fd);
	if (error)
		return gmm_snapshot_writer_fail_step(writer, file->name, "be made", error);
	return 0;
}

/* Files that are in no manifest, on disk or to come. */
static void drop_chain(struct gmm_snapshot_writer *writer)
{
	uint32_t i, j;

	for (i = 0; i < writer->chain.count; i++) {
		for (j = 0; j < writer->committed.count; j++)
			if (!strcmp(writer->chain.files[i].name, writer->committed.files[j].name))
				break;
		if (j == writer->committed.count)
			gmm_snapshot_io_remove(&writer->io, writer->directory_fd,
					       writer->chain.files[i].name);
	}
	writer->chain.count = 0;
}

int gmm_snapshot_writer_begin_base(struct gmm_snapshot_writer *writer)
{
	struct snapshot_file *file;
	int error;

	if (writer->error)
		return writer->error;
	if (writer->fd >= 0)
		return -GMM_EINVAL;
	drop_chain(writer);
	error = begin(writer, SNAPSHOT_BASE);
	if (error)
		return error;
	file = gmm_snapshot_writer_file(writer);
	file->pages = writer->chain.page_count;
	file->bytes = file->pages << writer->chain.page_shift;
	error = gmm_snapshot_io_truncate(&writer->io, file->name, writer->fd, file->bytes);
	if (error)
		return gmm_snapshot_writer_fail_step(writer, file->name, "be written", error);
	return 0;
}

int gmm_snapshot_writer_begin_increment(struct gmm_snapshot_writer *writer)
{
	if (writer->error)
		return writer->error;
	if (writer->fd >= 0 || !writer->chain.count)
		return -GMM_EINVAL;
	if (writer->chain.count == GMM_SNAPSHOT_CHAIN_MAX)
		return -GMM_ENOSPC;
	free(writer->bitmap);
	writer->bitmap = calloc(1, bitmap_bytes(writer));
	if (!writer->bitmap)
		return gmm_snapshot_writer_fail(writer, -GMM_ENOMEM, "%s: out of memory: free some",
						writer->directory);
	return begin(writer, SNAPSHOT_INCREMENT);
}

static bool is_zero(const char *bytes, size_t length)
{
	return bytes[0] == 0 && !memcmp(bytes, bytes + 1, length - 1);
}

/* Zero pages stay holes. */
static int write_pages(struct gmm_snapshot_writer *writer, uint64_t offset, uint32_t count,
		       const char *buffer)
{
	size_t page_bytes = (size_t)1 << writer->chain.page_shift;
	uint32_t start = 0, end;
	int error;

	while (start < count) {
		if (is_zero(buffer + start * page_bytes, page_bytes)) {
			start++;
			continue;
		}
		end = start + 1;
		while (end < count && !is_zero(buffer + end * page_bytes, page_bytes))
			end++;
		error = gmm_snapshot_io_write(&writer->io, gmm_snapshot_writer_file(writer)->name,
					      writer->fd, buffer + start * page_bytes,
					      (end - start) * page_bytes,
					      offset + start * page_bytes);
		if (error)
			return error;
		writer->counters.bytes += (end - start) * page_bytes;
		start = end;
	}
	return 0;
}

int gmm_snapshot_writer_write(struct gmm_snapshot_writer *writer, uint64_t page, uint32_t count,
			      const void *buffer)
{
	struct snapshot_file *file = gmm_snapshot_writer_file(writer);
	uint64_t offset = page << writer->chain.page_shift;
	uint32_t i;
	int error;

	if (writer->error)
		return writer->error;
	if (writer->fd < 0 || page < writer->next || page > writer->chain.page_count ||
	    count > writer->chain.page_count - page ||
	    (file->kind == SNAPSHOT_BASE && page != writer->next))
		return -GMM_EINVAL;
	if (file->kind == SNAPSHOT_INCREMENT) {
		offset = bitmap_bytes(writer) + (file->pages << writer->chain.page_shift);
		for (i = 0; i < count; i++)
			writer->bitmap[(page + i) / 8] |= (uint8_t)(1u << (page + i) % 8);
		file->pages += count;
	}
	writer->next = page + count;
	gmm_snapshot_sum_add(writer->sum, buffer, (size_t)count << writer->chain.page_shift);
	error = write_pages(writer, offset, count, buffer);
	if (error)
		return gmm_snapshot_writer_fail_step(writer, file->name, "be written", error);
	writer->counters.pages += count;
	return 0;
}

static int end_increment(struct gmm_snapshot_writer *writer, struct snapshot_file *file)
{
	uint64_t bytes = bitmap_bytes(writer);
	int error;

	file->bytes = bytes + (file->pages << writer->chain.page_shift);
	error = gmm_snapshot_io_write(&writer->io, file->name, writer->fd, writer->bitmap, bytes,
				      0);
	if (!error)
		error = gmm_snapshot_io_truncate(&writer->io, file->name, writer->fd, file->bytes);
	writer->counters.bytes += bytes;
	gmm_snapshot_sum_reset(writer->sum);
	gmm_snapshot_sum_add(writer->sum, writer->bitmap, bytes);
	file->bitmap_sum = gmm_snapshot_sum_value(writer->sum);
	return error;
}

int gmm_snapshot_writer_end(struct gmm_snapshot_writer *writer)
{
	struct snapshot_file *file = gmm_snapshot_writer_file(writer);
	int error = 0;

	if (writer->error)
		return writer->error;
	if (writer->fd < 0 ||
	    (file->kind == SNAPSHOT_BASE && writer->next != writer->chain.page_count))
		return -GMM_EINVAL;
	file->pages_sum = gmm_snapshot_sum_value(writer->sum);
	if (file->kind == SNAPSHOT_INCREMENT)
		error = end_increment(writer, file);
	if (!error)
		error = gmm_snapshot_io_sync(&writer->io, file->name, writer->fd);
	if (error)
		return gmm_snapshot_writer_fail_step(writer, file->name, "be written", error);
	close(writer->fd);
	writer->fd = -1;
	writer->chain.count++;
	if (file->kind == SNAPSHOT_BASE)
		writer->counters.bases++;
	else
		writer->counters.increments++;
	return 0;
}
