/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_CLI_RUN_REPORT_H
#define GMM_CLI_RUN_REPORT_H

struct run;

/* What is about to run, and why not on KVM. */
void run_report_begin(const struct run *run);
/* The table, the losses, the verdict, and the file of --json. Returns the exit status. */
int run_report_end(struct run *run);

#endif
