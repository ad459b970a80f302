/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_CLI_RUN_REPORT_H
#define GMM_CLI_RUN_REPORT_H

#include <stddef.h>

#include "../size.h"

#define RUN_VERDICT_BYTES 256u

struct run;
struct run_row;

/* A row's value as it is printed. Returns text. */
const char *run_report_value(const struct run_row *row, char text[GMM_SIZE_TEXT]);
/* The last line. */
void run_report_verdict(const struct run *run, char *text, size_t size);

/* What is about to run, and why not on KVM. */
void run_report_begin(const struct run *run);
/* The table, the losses, the verdict, and the files of --json and --report. Returns the exit status. */
int run_report_end(struct run *run);

#endif
