/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* TAP output of the cases of one program. Port vocabulary only: the kernel module runs it too. */
#include <gmm_port/atomic.h>

#include "tap.h"

#define TEXT_SIZE 512

static uint32_t case_failed;
static uint32_t case_skipped;
static char skip_reason[TEXT_SIZE];

static void GMM_PRINTF(3, 4) format_text(char *text, size_t size, const char *format, ...)
{
	__builtin_va_list arguments;

	__builtin_va_start(arguments, format);
	gmm_test_format(text, size, format, arguments);
	__builtin_va_end(arguments);
}

static void GMM_PRINTF(1, 2) print(const char *format, ...)
{
	char text[TEXT_SIZE];
	__builtin_va_list arguments;

	__builtin_va_start(arguments, format);
	gmm_test_format(text, sizeof(text), format, arguments);
	__builtin_va_end(arguments);
	gmm_test_print(text);
}

void gmm_test_note_failure(void)
{
	__atomic_store_n(&case_failed, 1, __ATOMIC_RELAXED);
}

static void check_failed(const char *text)
{
	gmm_test_note_failure();
	gmm_test_world_check_failed(text);
}

void gmm_test_check_failed(const char *file, int line, const char *check, const char *format, ...)
{
	char text[TEXT_SIZE];
	char why[TEXT_SIZE / 2];
	__builtin_va_list arguments;

	__builtin_va_start(arguments, format);
	gmm_test_format(why, sizeof(why), format, arguments);
	__builtin_va_end(arguments);
	format_text(text, sizeof(text), "%s:%d: not so: %s%s", file, line, check, why);
	check_failed(text);
}

bool gmm_test_check_equal(const char *file, int line, const char *check, uint64_t seen,
			  uint64_t wanted)
{
	char text[TEXT_SIZE];

	if (seen == wanted)
		return true;
	format_text(text, sizeof(text), "%s:%d: not so: %s: %lld (0x%llx), not %lld (0x%llx)", file,
		    line, check, (long long)seen, (unsigned long long)seen, (long long)wanted,
		    (unsigned long long)wanted);
	check_failed(text);
	return false;
}

void gmm_test_skipped(const char *format, ...)
{
	__builtin_va_list arguments;

	__builtin_va_start(arguments, format);
	gmm_test_format(skip_reason, sizeof(skip_reason), format, arguments);
	__builtin_va_end(arguments);
	__atomic_store_n(&case_skipped, 1, __ATOMIC_RELAXED);
}

void gmm_bail(const char *format, ...)
{
	char text[TEXT_SIZE];
	__builtin_va_list arguments;

	__builtin_va_start(arguments, format);
	gmm_test_format(text, sizeof(text), format, arguments);
	__builtin_va_end(arguments);
	print("Bail out! %s\n", text);
	for (;;)
		gmm_test_world_exit(1);
}

bool gmm_test_case_skipped(void)
{
	return __atomic_load_n(&case_skipped, __ATOMIC_RELAXED);
}

bool gmm_test_case_failed(void)
{
	return __atomic_load_n(&case_failed, __ATOMIC_RELAXED);
}

static void print_result(uint32_t number, const char *name)
{
	if (gmm_test_case_failed())
		print("not ok %u - %s\n", number, name);
	else if (gmm_test_case_skipped())
		print("ok %u - %s # SKIP %s\n", number, name, skip_reason);
	else
		print("ok %u - %s\n", number, name);
}

uint32_t gmm_test_run_cases(void)
{
	const struct gmm_test_case *test;
	uint32_t number = 0;
	uint32_t failures = 0;

	for (test = gmm_test_cases; test->name; test++)
		number += gmm_test_world_selects(test->name);
	print("TAP version 13\n1..%u\n", number);
	number = 0;
	for (test = gmm_test_cases; test->name; test++) {
		if (!gmm_test_world_selects(test->name))
			continue;
		__atomic_store_n(&case_failed, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&case_skipped, 0, __ATOMIC_RELAXED);
		gmm_test_world_run(test);
		failures += gmm_test_case_failed();
		print_result(++number, test->name);
	}
	return failures;
}
