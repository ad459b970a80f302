/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The guest program on accel/process, over plain memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "program_cases.h"

#define CASE(name)                               \
	static void test_##name(void **state)    \
	{                                        \
		case_##name(&gmm_accel_process); \
	}

PROGRAM_CASES(CASE)

int main(void)
{
	const struct CMUnitTest tests[] = { PROGRAM_CASES(PROGRAM_CASE_LISTED) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
