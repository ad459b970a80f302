/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Lines of the library's log. They come in any context of the engine, so they are only kept there;
 * the thread that watches prints them.
 */
#ifndef GMM_CLI_RUN_LOG_H
#define GMM_CLI_RUN_LOG_H

#include <stdint.h>

#include <guestmm/guest.h>

#define RUN_LOG_LINES 64u
#define RUN_LOG_BYTES 200u

struct run_log {
	uint32_t count; /* atomic: lines that came, also those that were not kept */
	struct run_log_line {
		uint32_t written; /* atomic */
		enum gmm_log_level level;
		uint64_t at; /* ns, as run_now() */
		char text[RUN_LOG_BYTES];
	} line[RUN_LOG_LINES];
	uint32_t printed; /* of the thread that prints */
};

/* gmm_guest_config.log, with a struct run_log. */
void run_log_keep(void *log, enum gmm_log_level level, const char *text);
/* On stderr, what is new. */
void run_log_print(struct run_log *log);
/* Lines that can be read. */
uint32_t run_log_lines(const struct run_log *log);
const char *run_log_level_name(enum gmm_log_level level);

#endif
