/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The page of --report: what was seen and measured, in one HTML file that needs nothing else. */
#ifndef GMM_CLI_RUN_PAGE_H
#define GMM_CLI_RUN_PAGE_H

struct run;
struct run_results;

/* -1 after one line was printed. */
int run_page_write(const struct run *run, const struct run_results *results);

#endif
