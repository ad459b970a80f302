/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* A file that an option names and that is written once, at the end of the run. */
#ifndef GMM_CLI_RUN_FILE_H
#define GMM_CLI_RUN_FILE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Whether it can be written; nothing is created yet. 0, or GMM_EXIT_REFUSED after one line was
 * printed. `option` is its name with the dashes. `snapshot` (or NULL) may not be the same file, nor it
 * or `save` (or NULL) the directory in which the file is.
 */
int run_file_check(const char *option, const char *path, const char *snapshot, const char *save);

/* Whether both names mean one regular file, there or not there yet. Devices and FIFOs never do. */
bool run_file_is_same(const char *path, const char *other);

/* -1 after one line was printed. A regular file appears complete or not at all. */
int run_file_write(const char *option, const char *path, const char *data, size_t length);

#endif
