/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "program.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <guestmm/error.h>

void fuzz_failed(const char *file, int line, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "%s:%d: ", file, line);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	abort();
}

void fuzz_say(const char *format, ...)
{
	static int wanted = -1;
	va_list arguments;

	if (wanted < 0)
		wanted = getenv("GMM_FUZZ_TRACE") != NULL;
	if (!wanted)
		return;
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
}

void fuzz_expect(struct fuzz_errors *expected, int error)
{
	fuzz_check(expected->count < 8, "too many errors are expected");
	expected->errors[expected->count++] = error;
}

void fuzz_check_answer(const struct fuzz_errors *expected, int64_t answer, bool injected,
		       const char *what)
{
	uint32_t i;

	fuzz_say("  %s: %lld", what, (long long)answer);
	if (injected && (answer == -GMM_EIO || answer == -GMM_ENOMEM))
		return;
	for (i = 0; i < expected->count; i++)
		if (answer == -expected->errors[i])
			return;
	if (expected->count)
		fuzz_failed(__FILE__, __LINE__, "%s answered %lld, expected -%d", what,
			    (long long)answer, expected->errors[0]);
	fuzz_check(answer >= 0, "%s answered %lld", what, (long long)answer);
}
