/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Test programs that run in every world. A program defines its cases,
 *
 *	const struct gmm_test_case gmm_test_cases[] = {
 *		{ "slot_overlap_is_refused", slot_overlap_is_refused },
 *		{ NULL, NULL },
 *	};
 *
 * and no main(): the world's runner prints a TAP line for each case. Posix runs a case once, or
 * --repeat N times; sim runs it under many seeds, so a case keeps nothing in static variables from
 * one run to the next. A check that fails in sim ends the run of that seed, in posix the case goes
 * on and is reported as failed.
 */
#ifndef GMM_TEST_TAP_H
#define GMM_TEST_TAP_H

#include <gmm_port/compiler.h>
#include <gmm_port/types.h>

struct gmm_test_case {
	const char *name; /* words with underscores: a sentence that is true when it passes */
	void (*run)(void);
};

extern const struct gmm_test_case gmm_test_cases[];

/* gmm_ok(cond) or gmm_ok(cond, "format", ...): a check; its value is whether cond holds. */
#define gmm_ok(cond, ...)                                                                  \
	__extension__({                                                                    \
		bool holds_here = !!(cond);                                                \
		if (gmm_unlikely(!holds_here))                                             \
			gmm_test_check_failed(__FILE__, __LINE__, #cond, " " __VA_ARGS__); \
		holds_here;                                                                \
	})

/* Like gmm_ok(), and returns from the function, of type void, when it fails. */
#define gmm_must(cond, ...)                       \
	do {                                      \
		if (!gmm_ok(cond, ##__VA_ARGS__)) \
			return;                   \
	} while (0)

/* Integers of up to 64 bits, shown when they differ. */
#define gmm_equal(seen, wanted)                                                          \
	gmm_test_check_equal(__FILE__, __LINE__, #seen " == " #wanted, (uint64_t)(seen), \
			     (uint64_t)(wanted))

/* Ends the case, in its first function only: the reason is printed, the case counts as skipped. */
#define gmm_skip(...)                          \
	do {                                   \
		gmm_test_skipped(__VA_ARGS__); \
		return;                        \
	} while (0)

/* Ends the whole program as a failure; does not return. */
void gmm_bail(const char *format, ...) GMM_PRINTF(1, 2);

void gmm_test_check_failed(const char *file, int line, const char *check, const char *format, ...)
	GMM_PRINTF(4, 5);
bool gmm_test_check_equal(const char *file, int line, const char *check, uint64_t seen,
			  uint64_t wanted);
void gmm_test_skipped(const char *format, ...) GMM_PRINTF(1, 2);

/*
 * The runner, tap.c. Runs the cases that the world selects and prints their lines; returns how
 * many failed.
 */
uint32_t gmm_test_run_cases(void);
/* Whether the case under way has been skipped, or has failed; and that it has. */
bool gmm_test_case_skipped(void);
bool gmm_test_case_failed(void);
void gmm_test_note_failure(void);

/* What the world supplies to the runner. */
void gmm_test_print(const char *text);
int gmm_test_format(char *text, size_t size, const char *format, __builtin_va_list arguments)
	GMM_PRINTF(3, 0);
/* Ends the program; a world that cannot do that stops the calling thread for good. */
void gmm_test_world_exit(int status);
bool gmm_test_world_selects(const char *name);
void gmm_test_world_run(const struct gmm_test_case *test);
/* The failed check has been printed or is part of text; returns if the case may go on. */
void gmm_test_world_check_failed(const char *text);

#endif
