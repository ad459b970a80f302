/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "size.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char units[] = "KMGT";

static bool parse(const char *text, int base, uint64_t *value, const char **rest)
{
	char *end;

	/* strtoull takes signs and blanks, too. */
	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	*value = strtoull(text, &end, base);
	*rest = end;
	return errno == 0;
}

bool gmm_size_parse(const char *text, uint64_t *bytes)
{
	const char *rest, *unit;
	uint64_t value;
	unsigned int shift = 0;

	if (!parse(text, 10, &value, &rest))
		return false;
	if (*rest) {
		unit = strchr(units, toupper((unsigned char)*rest));
		if (!unit || !*unit)
			return false;
		shift = 10 * (unsigned int)(unit - units + 1);
		rest++;
		if (!strcasecmp(rest, "iB") || !strcasecmp(rest, "B"))
			rest += strlen(rest);
	}
	if (*rest || value << shift >> shift != value)
		return false;
	*bytes = value << shift;
	return true;
}

bool gmm_number_parse(const char *text, uint64_t least, uint64_t most, uint64_t *number)
{
	/* A leading 0 is no sign of an octal number. */
	int base = text[0] == '0' && (text[1] == 'x' || text[1] == 'X') ? 16 : 10;
	const char *rest;

	return parse(text, base, number, &rest) && !*rest && *number >= least && *number <= most;
}

const char *gmm_size_format(uint64_t bytes, char *text)
{
	double value = (double)bytes;
	int unit = -1;

	while (value >= 1024 && units[unit + 1]) {
		value /= 1024;
		unit++;
	}
	if (unit < 0)
		snprintf(text, GMM_SIZE_TEXT, "%llu bytes", (unsigned long long)bytes);
	else if (value == (double)(uint64_t)value)
		snprintf(text, GMM_SIZE_TEXT, "%llu%c", (unsigned long long)value, units[unit]);
	else
		snprintf(text, GMM_SIZE_TEXT, "%.1f%c", value, units[unit]);
	return text;
}

const char *gmm_time_format(uint64_t nanoseconds, char *text)
{
	if (nanoseconds < 1000)
		snprintf(text, GMM_SIZE_TEXT, "%llu ns", (unsigned long long)nanoseconds);
	else if (nanoseconds < 1000000)
		snprintf(text, GMM_SIZE_TEXT, "%.1f us", (double)nanoseconds / 1e3);
	else if (nanoseconds < 1000000000)
		snprintf(text, GMM_SIZE_TEXT, "%.1f ms", (double)nanoseconds / 1e6);
	else
		snprintf(text, GMM_SIZE_TEXT, "%.1f s", (double)nanoseconds / 1e9);
	return text;
}
