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

CASE(takes_over_and_verifies)
CASE(shares_pages_between_vcpus)
CASE(exchanges_buffers)
CASE(names_a_lost_write)
CASE(names_a_changed_untaken_page)
CASE(names_device_faults)
CASE(follows_the_frame)
CASE(asks_when_the_ring_is_full)
CASE(kick_returns)
CASE(kick_before_entry)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_takes_over_and_verifies),
		cmocka_unit_test(test_shares_pages_between_vcpus),
		cmocka_unit_test(test_exchanges_buffers),
		cmocka_unit_test(test_names_a_lost_write),
		cmocka_unit_test(test_names_a_changed_untaken_page),
		cmocka_unit_test(test_names_device_faults),
		cmocka_unit_test(test_follows_the_frame),
		cmocka_unit_test(test_asks_when_the_ring_is_full),
		cmocka_unit_test(test_kick_returns),
		cmocka_unit_test(test_kick_before_entry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
