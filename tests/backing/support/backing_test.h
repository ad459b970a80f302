/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What the tests of backing share. */
#ifndef BACKING_TEST_H
#define BACKING_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <linux/userfaultfd.h>

#include <guestmm/linux/memory.h>

#define PAGE_SHIFT 12u
#define PAGE_SIZE ((size_t)1 << PAGE_SHIFT)

/* A directory that is removed with everything in it. */
char *scratch_make(void);
void scratch_remove(char *directory);
char *scratch_path(const char *directory, const char *name);

void file_make(const char *path, const void *contents, size_t length);
/* An open descriptor count of this process. */
unsigned int open_files(void);

/* One line, not empty, with both words in it. */
void assert_helpful(const char *text, const char *thing, const char *way_out);

/*
 * A source around another one: fails every read that includes page `fails_at`, counts reads, and
 * claims no zeros when `hide_zeros` is set.
 */
struct probe_source {
	struct gmm_source inner;
	uint64_t fails_at; /* UINT64_MAX: never */
	bool hide_zeros;
};
struct gmm_source probe_source_wrap(struct probe_source *probe, struct gmm_source inner);

/* What a memfd of vCPUs needs: MISSING, MINOR and WP on shared memory. */
#ifndef UFFD_FEATURE_WP_HUGETLBFS_SHMEM
#define UFFD_FEATURE_WP_HUGETLBFS_SHMEM (1 << 12)
#endif
#define USERFAULT_MEMFD_FEATURES                                                                  \
	(UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM | \
	 UFFD_FEATURE_WP_HUGETLBFS_SHMEM)

/*
 * A userfaultfd, or -1 and a reason; registers [start, start + length) for `mode` when it is not 0.
 */
int userfault_open(uint64_t features, const char **reason);
int userfault_register(int fd, void *start, size_t length, uint64_t mode);
void userfault_protect(int fd, void *start, size_t length, bool protect);

#endif
