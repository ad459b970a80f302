/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Lines of the library's log: kept as they come, printed once, however many there are. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/run/log.c"

uint64_t run_now(void)
{
	return 7;
}

void gmm_live_line_clear(void)
{
}

/* What run_log_print() writes, in `text`. */
static void printed(struct run_log *log, char *text, size_t size)
{
	int kept = dup(STDERR_FILENO), ends[2];
	ssize_t length;

	assert_int_equal(pipe(ends), 0);
	dup2(ends[1], STDERR_FILENO);
	close(ends[1]);
	run_log_print(log);
	fflush(stderr);
	dup2(kept, STDERR_FILENO);
	close(kept);
	length = read(ends[0], text, size - 1);
	assert_true(length >= 0);
	text[length] = '\0';
	close(ends[0]);
}

static void test_a_line_is_printed_once(void **state)
{
	struct run_log log = { 0 };
	char text[1024];

	printed(&log, text, sizeof(text));
	assert_string_equal(text, "");
	run_log_keep(&log, GMM_LOG_WARNING, "a ring is full");
	run_log_keep(&log, GMM_LOG_ERROR, "lost");
	printed(&log, text, sizeof(text));
	assert_string_equal(text, "gmm run: warning of the library: a ring is full\n"
				  "gmm run: error of the library: lost\n");
	printed(&log, text, sizeof(text));
	assert_string_equal(text, "");
	run_log_keep(&log, GMM_LOG_INFO, "begun");
	printed(&log, text, sizeof(text));
	assert_string_equal(text, "gmm run: note of the library: begun\n");
	assert_true(log.line[2].at == 7);
}

static void test_many_and_long_lines(void **state)
{
	struct run_log log = { 0 };
	char text[65536], line[RUN_LOG_BYTES * 2];
	uint32_t i;

	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	for (i = 0; i < RUN_LOG_LINES + 3; i++)
		run_log_keep(&log, GMM_LOG_INFO, line);
	assert_int_equal(run_log_lines(&log), RUN_LOG_LINES);
	assert_int_equal(log.count, RUN_LOG_LINES + 3);
	assert_int_equal(strlen(log.line[RUN_LOG_LINES - 1].text), RUN_LOG_BYTES - 1);
	printed(&log, text, sizeof(text));
	assert_int_equal(strlen(text) % RUN_LOG_LINES, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_line_is_printed_once),
		cmocka_unit_test(test_many_and_long_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
