/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "index_impl.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "backing/failure_impl.h"
#include "backing/file_io_impl.h"
#include "sum_impl.h"

/* Of a bitmap, at once. */
#define PIECE_BYTES 65536u

struct build {
	struct snapshot_index *index;
	const struct snapshot_file *file;
	const char *directory;
	struct snapshot_sum *sum;
	uint64_t *words; /* PIECE_BYTES */
	uint64_t pages;	 /* of this file, so far */
	uint32_t number; /* of the file */
	char *text;
	size_t text_size;
};

static int refuse(const struct build *build, const char *what)
{
	return gmm_refuse(build->text, build->text_size, -GMM_EINVAL,
			  "%s/%s: %s: save again, or copy the directory again from where it was "
			  "whole",
			  build->directory, build->file->name, what);
}

/* The pages of one word of a bitmap. False: there are pages beyond the end of memory. */
static bool add_word(struct build *build, uint64_t page, uint64_t bits)
{
	struct snapshot_index *index = build->index;
	uint64_t place = index->first[build->number] + build->pages;

	if (bits && (page >= index->page_count ||
		     (index->page_count - page < 64 && bits >> (index->page_count - page))))
		return false;
	build->pages += (uint64_t)__builtin_popcountll(bits);
	/* Its pages, of which the manifest has the number, are counted before they are used. */
	if (build->pages > build->file->pages)
		return true;
	for (; bits; bits &= bits - 1)
		index->places[page + (uint64_t)__builtin_ctzll(bits)] = (uint32_t)++place;
	return true;
}

static int add_file(struct build *build, int fd)
{
	uint64_t left = build->index->data_offset, offset = 0;
	char reason[128];
	uint32_t i;
	int error;

	gmm_snapshot_sum_reset(build->sum);
	build->pages = 0;
	for (; left; left -= i * 8, offset += i * 8) {
		size_t length = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
		size_t got = gmm_file_read(fd, build->words, length, offset, &error);

		if (got != length)
			return gmm_refuse(build->text, build->text_size, -GMM_EIO,
					  "%s/%s: cannot be read (%s): check the disk",
					  build->directory, build->file->name,
					  error ? gmm_errno_text(error, reason, sizeof(reason)) :
						  "end of file");
		gmm_snapshot_sum_add(build->sum, build->words, length);
		for (i = 0; i < length / 8; i++)
			if (!add_word(build, (offset + i * 8) * 8, le64toh(build->words[i])))
				return refuse(build, "its bitmap has pages beyond the memory");
	}
	if (gmm_snapshot_sum_value(build->sum) != build->file->bitmap_sum)
		return refuse(build, "its bitmap is not what bitmap_xxh3 in the manifest says");
	if (build->pages != build->file->pages)
		return refuse(build, "its bitmap has not as many pages as the manifest says");
	return 0;
}

int gmm_snapshot_index_build(struct snapshot_index *index, const struct snapshot_manifest *manifest,
			     const int *fds, const char *directory, char *text, size_t text_size)
{
	struct build build = {
		.index = index, .directory = directory, .text = text, .text_size = text_size
	};
	uint64_t next = 0;
	int error = 0;

	*index = (struct snapshot_index){
		.count = manifest->count,
		.page_count = manifest->page_count,
		.page_shift = manifest->page_shift,
		.data_offset =
			gmm_snapshot_bitmap_bytes(manifest->page_count, manifest->page_shift),
	};
	if (manifest->count == 1)
		return 0;
	index->places = calloc(manifest->page_count, sizeof(*index->places));
	build.sum = gmm_snapshot_sum_create();
	build.words = malloc(PIECE_BYTES);
	if (!index->places || !build.sum || !build.words)
		error = gmm_refuse(text, text_size, -GMM_ENOMEM,
				   "%s: out of memory for the index of %llu pages: free some",
				   directory, (unsigned long long)manifest->page_count);
	for (build.number = 1; build.number < manifest->count && !error; build.number++) {
		build.file = &manifest->files[build.number];
		index->first[build.number] = next;
		next += build.file->pages;
		error = add_file(&build, fds[build.number]);
	}
	free(build.words);
	gmm_snapshot_sum_destroy(build.sum);
	if (error)
		gmm_snapshot_index_destroy(index);
	return error;
}

void gmm_snapshot_index_destroy(struct snapshot_index *index)
{
	free(index->places);
	index->places = NULL;
}

/* The last file whose pages start at or before this number. */
static uint32_t find_file(const struct snapshot_index *index, uint64_t number)
{
	uint32_t low = 1, high = index->count - 1;

	while (low < high) {
		uint32_t middle = (low + high + 1) / 2;

		if (index->first[middle] <= number)
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

struct snapshot_piece gmm_snapshot_index_find(const struct snapshot_index *index, uint64_t page,
					      uint32_t count)
{
	struct snapshot_piece piece = { .offset = page << index->page_shift, .count = count };
	const uint32_t *place = index->places ? &index->places[page] : NULL;
	uint64_t end;
	uint32_t i;

	if (!place)
		return piece;
	if (!*place) {
		for (i = 1; i < count && !place[i]; i++)
			;
		piece.count = i;
		return piece;
	}
	piece.file = find_file(index, *place - 1);
	piece.offset =
		index->data_offset + ((*place - 1 - index->first[piece.file]) << index->page_shift);
	end = piece.file + 1 < index->count ? index->first[piece.file + 1] : UINT64_MAX;
	for (i = 1; i < count && place[i] == *place + i && *place - 1 + i < end; i++)
		;
	piece.count = i;
	return piece;
}
