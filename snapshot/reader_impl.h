/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What the writer asks of an open snapshot. */
#ifndef GUESTMM_SNAPSHOT_READER_IMPL_H
#define GUESTMM_SNAPSHOT_READER_IMPL_H

#include <sys/stat.h>

#include "manifest_impl.h"

/* Opens by the manifest of that name. */
int gmm_snapshot_reader_open(struct gmm_source *source, const char *directory, const char *manifest,
			     uint32_t page_shift, uint32_t flags, char *text, size_t text_size);

/* NULL when the source is no snapshot, or is that of another directory than `info` describes. */
const struct snapshot_manifest *gmm_snapshot_reader_manifest(const struct gmm_source *source,
							     const struct stat *info);
/* Whether a file of the chain is the one that the reader has open. */
bool gmm_snapshot_reader_has(const struct gmm_source *source, uint32_t file,
			     const struct stat *info);

#endif
