/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Scenarios in which something is left out on purpose: it is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "search.h"

static void a_flush_that_is_left_out_is_found(void **state)
{
	const struct explore_scenario *scenario;

	for (scenario = explore_tlb_defects; scenario->name; scenario++) {
		struct explore_request request = { .scenario = scenario,
						   .preemptions = scenario->preemptions };
		struct explore_findings findings;

		explore_search(&request, &findings);
		assert_true(findings.failed);
		explore_findings_free(&findings);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_flush_that_is_left_out_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
