/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The file of --json. */
#ifndef GMM_CLI_RUN_JSON_H
#define GMM_CLI_RUN_JSON_H

struct run;
struct run_results;

/*
 * Whether the file can be written; nothing is created yet. 0, or GMM_EXIT_REFUSED after one line
 * was printed. `snapshot` (or NULL) may not be the same file, nor it or `save` (or NULL) the directory
 * in which the file is.
 */
int run_json_check(const char *path, const char *snapshot, const char *save);

/* -1 after one line was printed. A regular file appears complete or not at all. */
int run_json_write(const struct run *run, const struct run_results *results);

#endif
