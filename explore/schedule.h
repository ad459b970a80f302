/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* A schedule as a file that can be replayed (docs/EXPLORE.md says what is in it). */
#ifndef GMM_EXPLORE_SCHEDULE_H
#define GMM_EXPLORE_SCHEDULE_H

#include "search.h"

#define SCHEDULE_VERSION 2

/* Returns 0, or -1 with errno. */
int explore_schedule_write(const char *path, const struct explore_request *request,
			   const struct explore_findings *findings);

struct explore_schedule {
	struct explore_request request;
	uint8_t *choices;
};
/* Returns 0, or -1 after a line on stderr that says what is wrong with the file. */
int explore_schedule_read(const char *path, struct explore_schedule *schedule);

#endif
