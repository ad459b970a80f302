/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What a manifest says, and its form as JSON (docs/SNAPSHOT.md). */
#ifndef GUESTMM_SNAPSHOT_MANIFEST_IMPL_H
#define GUESTMM_SNAPSHOT_MANIFEST_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <guestmm/linux/snapshot.h>

#define SNAPSHOT_MANIFEST "manifest.json"
#define SNAPSHOT_MANIFEST_NEW "manifest.json.new"
#define SNAPSHOT_NAME_BYTES 40u

enum snapshot_kind {
	SNAPSHOT_BASE,
	SNAPSHOT_INCREMENT,
};

struct snapshot_file {
	enum snapshot_kind kind;
	char name[SNAPSHOT_NAME_BYTES];
	uint64_t bytes;
	uint64_t pages;
	uint64_t pages_sum;
	uint64_t bitmap_sum; /* of an increment */
};

struct snapshot_manifest {
	uint64_t id; /* another one for each commit */
	uint64_t time;
	uint64_t page_count;
	uint32_t page_shift;
	uint32_t count;
	struct snapshot_file files[GMM_SNAPSHOT_CHAIN_MAX];
};

/* Where the pages of an increment start: after its bitmap, which fills whole pages. */
static inline uint64_t gmm_snapshot_bitmap_bytes(uint64_t page_count, uint32_t page_shift)
{
	uint64_t page_bytes = (uint64_t)1 << page_shift;

	return ((page_count + 7) / 8 + page_bytes - 1) / page_bytes * page_bytes;
}

/* Names of files are KIND-ID.SUFFIX with 16 digits of ID. */
void gmm_snapshot_name_make(enum snapshot_kind kind, uint64_t id, char name[SNAPSHOT_NAME_BYTES]);
/* Whether we could have given this name, to a file of either kind. */
bool gmm_snapshot_name_is_ours(const char *name);

/*
 * Reads and checks `name` in the directory with this descriptor; `directory` is for messages.
 * -GMM_ENOENT: there is no such file.
 */
int gmm_snapshot_manifest_read(int directory_fd, const char *directory, const char *name,
			       struct snapshot_manifest *manifest, char *text, size_t text_size);
/* The manifest as text, to be freed; NULL: out of memory. */
char *gmm_snapshot_manifest_format(const struct snapshot_manifest *manifest);

#endif
