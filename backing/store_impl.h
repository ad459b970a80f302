/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Where evicted pages are: a file without a name, page n at its own offset. */
#ifndef GUESTMM_BACKING_STORE_IMPL_H
#define GUESTMM_BACKING_STORE_IMPL_H

#include "failure_impl.h"

struct gmm_store {
	int fd;
	char *directory;
};

/*
 * `directory` NULL: $TMPDIR, else /var/tmp. `size` is what it may grow to. -GMM_EIO, -GMM_ENOMEM,
 * with a line in `text`.
 */
int gmm_store_open(struct gmm_store *store, const char *directory, uint64_t size, char *text,
		   size_t text_size);
void gmm_store_close(struct gmm_store *store);

/* Whole ranges, or -GMM_EIO and a line in `failure`. */
int gmm_store_write(const struct gmm_store *store, uint64_t offset, const void *buffer,
		    size_t length, struct gmm_failure *failure);
int gmm_store_read(const struct gmm_store *store, uint64_t offset, void *buffer, size_t length,
		   struct gmm_failure *failure);

#endif
