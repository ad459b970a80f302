/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "terminal.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define LINE_MAX_BYTES 512

static bool is_terminal(FILE *stream)
{
	const char *term = getenv("TERM");

	return isatty(fileno(stream)) && !(term && !strcmp(term, "dumb"));
}

const char *gmm_colour(FILE *stream, enum gmm_colour colour)
{
	static const char *const codes[] = {
		[GMM_COLOUR_NONE] = "\033[0m",
		[GMM_COLOUR_GOOD] = "\033[32m",
		[GMM_COLOUR_BAD] = "\033[31;1m",
		[GMM_COLOUR_TITLE] = "\033[1m",
	};
	const char *no_color = getenv("NO_COLOR");

	if ((no_color && *no_color) || !is_terminal(stream))
		return "";
	return codes[colour];
}

void gmm_live_line(const char *format, ...)
{
	char line[LINE_MAX_BYTES];
	struct winsize size;
	va_list arguments;

	if (!is_terminal(stderr))
		return;
	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	/* A line that wraps could not be taken away. */
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 &&
	    strlen(line) >= size.ws_col)
		line[size.ws_col - 1] = '\0';
	fprintf(stderr, "\r\033[K%s", line);
	fflush(stderr);
}

void gmm_live_line_clear(void)
{
	if (is_terminal(stderr)) {
		fputs("\r\033[K", stderr);
		fflush(stderr);
	}
}
