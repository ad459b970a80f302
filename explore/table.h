/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* A schedule as a table for people. */
#ifndef GMM_EXPLORE_TABLE_H
#define GMM_EXPLORE_TABLE_H

#include "search.h"

#define TABLE_WIDTH 150u /* of a line, at most */

struct table_options {
	bool all_steps; /* also those that no other thread can tell */
	bool colours;
};

/*
 * Replays a schedule and prints why it fails, if it does, a line for each step, and for a data race
 * the two accesses and what is missing between them. Returns whether it fails.
 */
bool explore_table_print(FILE *to, const struct explore_request *request, const uint8_t *choices,
			 uint32_t count, const struct table_options *options);

#endif
