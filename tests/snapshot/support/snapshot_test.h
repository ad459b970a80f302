/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What the tests of snapshots share: a directory, and a model of the memory that is saved there. */
#ifndef SNAPSHOT_TEST_H
#define SNAPSHOT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <guestmm/linux/snapshot.h>

#include "snapshot/manifest_impl.h"
#include "snapshot/writer_impl.h"

#define PAGES 200u
#define PAGE_SHIFT 12u
#define PAGE_BYTES ((size_t)1 << PAGE_SHIFT)

/* The memory: page n holds what page_make() makes of n and its version. */
struct model {
	uint32_t version[PAGES];
};

struct scratch {
	char *directory; /* removed with everything in it */
	char *path;	 /* of the snapshot, in it; not made */
	unsigned int files_before;
};
int scratch_set_up(void **state);
int scratch_tear_down(void **state);

void tree_remove(const char *path);

/* A file of the snapshot; to be freed. */
char *path_of(const struct scratch *scratch, const char *name);
/* Names of files in the snapshot's directory, sorted, each followed by a blank; to be freed. */
char *names_in(const struct scratch *scratch);
unsigned int open_files(void);
void file_make(const char *path, const void *contents, size_t length);
/* The whole file; to be freed. A zero follows it. */
char *file_load(const char *path, size_t *length);
/* Changes one byte. */
void file_flip(const char *path, uint64_t offset);

/* Every fifth version of a page is zero. */
void page_make(void *buffer, uint64_t page, uint32_t version);
/* Gives each page a new version for which page % one_of == rest. */
void model_change(struct model *model, uint32_t one_of, uint32_t rest);

/* 0, or the error of the first call that failed. */
int write_base(struct gmm_snapshot_writer *writer, const struct model *model);
int write_increment(struct gmm_snapshot_writer *writer, const struct model *model, uint32_t one_of,
		    uint32_t rest);

struct gmm_snapshot_writer *writer_make(const struct scratch *scratch,
					const struct gmm_source *parent);
/* A base of versions 0, then increments of every third and every seventh page. */
void save_three(const struct scratch *scratch, struct model *model);
struct gmm_source reader_make(const struct scratch *scratch);
bool source_is(struct gmm_source *source, const struct model *model);
/* Opens with all checksums compared, and reads it in several ways. */
void assert_snapshot_is(const struct scratch *scratch, const struct model *model);
struct snapshot_manifest manifest_of(const struct scratch *scratch);

/* Not to be opened, with a line that has `thing` and `what` in it. */
void assert_refused(const struct scratch *scratch, uint32_t flags, int error, const char *thing,
		    const char *what);
void assert_helpful(const char *text, const char *thing, const char *what);

#define CASE(name) cmocka_unit_test_setup_teardown(name, scratch_set_up, scratch_tear_down)

#endif
