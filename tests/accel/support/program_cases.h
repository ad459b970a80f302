/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Cases that hold for the guest program on every accelerator; each makes and ends its own guest. */
#ifndef TESTS_ACCEL_PROGRAM_CASES_H
#define TESTS_ACCEL_PROGRAM_CASES_H

#include "accel/accel.h"

#define PROGRAM_CASES(CASE)                \
	CASE(takes_over_and_verifies)      \
	CASE(shares_pages_between_vcpus)   \
	CASE(exchanges_buffers)            \
	CASE(names_a_lost_write)           \
	CASE(names_a_changed_untaken_page) \
	CASE(names_device_faults)          \
	CASE(follows_the_frame)            \
	CASE(asks_when_the_ring_is_full)   \
	CASE(kick_returns)                 \
	CASE(kick_before_entry)

#define PROGRAM_CASE_DECLARED(name) void case_##name(const struct gmm_accel_ops *ops);
PROGRAM_CASES(PROGRAM_CASE_DECLARED)

/* In a list of cmocka's tests: test_NAME for each, which calls case_NAME. */
#define PROGRAM_CASE_LISTED(name) cmocka_unit_test(test_##name),

#endif
