/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Programs of tests/core in one image. Each is compiled with a name of its own for its cases, and
 * tap.c with a pointer in place of the one name that it knows.
 */
#include <gmm_port/alloc.h>

#include "cpus.h"
#include "print.h"

struct test_case {
	const char *name;
	void (*run)(void);
};

#define PROGRAM(name) extern const struct test_case bare_cases_##name[];
BARE_CORE_TESTS
#undef PROGRAM

static const struct {
	const char *name;
	const struct test_case *cases;
} programs[] = {
#define PROGRAM(name) { #name, bare_cases_##name },
	BARE_CORE_TESTS
#undef PROGRAM
};

#define PROGRAMS (sizeof(programs) / sizeof(programs[0]))
#define CASES_MAX 512u
#define NAME_MAX 120u

extern const void *bare_test_cases;
uint32_t gmm_test_run_cases(void);

const void *bare_test_cases;

static struct test_case cases[CASES_MAX + 1];

static void GMM_PRINTF(3, 4) join(char *text, size_t size, const char *format, ...)
{
	__builtin_va_list arguments;

	__builtin_va_start(arguments, format);
	bare_format(text, size, format, arguments);
	__builtin_va_end(arguments);
}

void bare_main(void)
{
	const struct test_case *one;
	uint32_t count = 0;
	size_t i;

	for (i = 0; i < PROGRAMS; i++)
		for (one = programs[i].cases; one->name; one++) {
			char *name = gmm_zalloc(NAME_MAX);

			if (!name || count == CASES_MAX)
				bare_stop("too many cases");
			join(name, NAME_MAX, "%s: %s", programs[i].name, one->name);
			cases[count++] = (struct test_case){ name, one->run };
		}
	bare_test_cases = cases;
	bare_print("# %u CPUs\n", bare_cpu_count());
	gmm_test_run_cases();
}
