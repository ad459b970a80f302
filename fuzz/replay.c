/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Runs a target on its corpus, without libFuzzer and with any compiler. Each line of a corpus is an
 * input in hexadecimal digits; lines that begin with # are comments. scripts/fuzz makes them.
 *
 *	replay CORPUS [LINE]    all inputs, as one TAP case, or the one on a line of the file
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "program.h"

#define INPUT_MAX 4096u

static uint8_t input[INPUT_MAX];

static _Noreturn void refuse(const char *what, const char *name)
{
	fprintf(stderr, "replay: %s: %s\n", name, what);
	exit(2);
}

static int digit(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The next input of a corpus; false: no more. */
static bool next_line(FILE *file, const char *name, uint32_t *number, size_t *size)
{
	static char line[2 * INPUT_MAX + 8];

	while (fgets(line, sizeof(line), file)) {
		const char *at = line;

		++*number;
		if (*at == '#' || *at == '\n')
			continue;
		for (*size = 0; digit(at[0]) >= 0 && digit(at[1]) >= 0; at += 2) {
			if (*size == INPUT_MAX)
				refuse("an input is too long", name);
			input[(*size)++] = (uint8_t)(digit(at[0]) << 4 | digit(at[1]));
		}
		if (*at && *at != '\n')
			refuse("a line is not made of hexadecimal digits", name);
		return true;
	}
	return false;
}

/* On an exact copy, so that a sanitizer sees what reads behind it. */
static void run(size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		refuse("no memory", "input");
	memcpy(copy, input, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

/* Said before an input runs, not after: what finds something aborts. */
static void say_place(const char *name, uint32_t number)
{
	char place[256];
	int length = snprintf(place, sizeof(place), "# %s line %u\n", name, number);

	if (write(1, place, (size_t)length) < 0)
		refuse("cannot be written", "the standard output");
}

int main(int argc, char **argv)
{
	uint32_t wanted = argc == 3 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
	uint32_t number = 0, count = 0;
	const char *name;
	FILE *file;
	size_t size;

	if (argc < 2 || argc > 3 || (argc == 3 && !wanted)) {
		fprintf(stderr, "usage: %s CORPUS [LINE]\n", argv[0]);
		return 2;
	}
	file = fopen(argv[1], "r");
	if (!file)
		refuse("cannot be opened", argv[1]);
	name = strrchr(argv[1], '/') ? strrchr(argv[1], '/') + 1 : argv[1];
	while (next_line(file, argv[1], &number, &size)) {
		if (wanted && number != wanted)
			continue;
		say_place(name, number);
		run(size);
		count++;
	}
	fclose(file);
	printf("1..1\n%sok 1 - %u inputs of %s\n", count ? "" : "not ", count, name);
	return !count;
}
