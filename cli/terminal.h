/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What is shown on terminals only: colours, and a line that is written again and again. */
#ifndef GMM_CLI_TERMINAL_H
#define GMM_CLI_TERMINAL_H

#include <stdbool.h>
#include <stdio.h>

#include <guestmm/types.h>

enum gmm_colour {
	GMM_COLOUR_NONE,
	GMM_COLOUR_GOOD,
	GMM_COLOUR_BAD,
	GMM_COLOUR_TITLE,
};

/* What switches a colour on in `stream`; "" where it is no terminal, or NO_COLOR is set. */
const char *gmm_colour(FILE *stream, enum gmm_colour colour);

/* Replaces the live line on stderr; nothing happens when that is no terminal. */
void gmm_live_line(const char *format, ...) GMM_PRINTF(1, 2);
/* Takes it away. */
void gmm_live_line_clear(void);

#endif
