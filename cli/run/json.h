/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The file of --json. */
#ifndef GMM_CLI_RUN_JSON_H
#define GMM_CLI_RUN_JSON_H

#include <jansson.h>

struct run;
struct run_results;

/* The results, also for the page of --report. NULL: out of memory. */
json_t *run_json_make(const struct run *run, const struct run_results *results);
/* A string; bytes that are no UTF-8 become question marks. NULL becomes null. */
json_t *run_json_text(const char *text);

/* -1 after one line was printed. A regular file appears complete or not at all. */
int run_json_write(const struct run *run, const struct run_results *results);

#endif
