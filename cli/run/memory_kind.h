/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What the kind of the guest's memory means for a run: gaps are refused by name, the rest is said. */
#ifndef GMM_CLI_RUN_MEMORY_KIND_H
#define GMM_CLI_RUN_MEMORY_KIND_H

#include <stdbool.h>
#include <stdint.h>

#include <guestmm/linux/memory.h>

struct run;
struct run_options;

/* Reads --memory-kind and --mapping: -1, or the exit status after a line was printed. */
int run_memory_kind_parse(const char *text, enum gmm_memory_kind *kind);
int run_mapping_parse(const char *text, enum gmm_memory_mapping *mapping);

/*
 * Before anything is made, and when the accelerator is chosen: 0, or the exit status after a line
 * was printed.
 */
int run_memory_kind_check(struct run *run);
int run_memory_kind_check_accel(struct run *run);

/* All pages are there from the start: none is evicted. */
bool run_is_resident(const struct run *run);
/* Pages of the guest's memory that are resident now. */
uint64_t run_resident_pages(const struct run *run);
/* False: no accelerator has a log of this kind, and the run does without. */
bool run_has_log(const struct run_options *options);

/*
 * The file that the memory adopts, which the caller closes; -1: the kind has none. 0, or the exit
 * status after a line was printed.
 */
int run_memory_kind_open(struct run *run, int *file);

/* A line, where something is left out. */
void run_memory_kind_print(const struct run *run);

#endif
