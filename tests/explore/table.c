/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What is printed of a schedule that fails, and that a scenario's crash is one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include <gmm_port/alloc.h>
#include <gmm_port/lock.h>

#include "crash.h"
#include "table.h"

/* What the compiler calls for a plain access with -fsanitize=thread. */
void __tsan_read8(void *pointer);
void __tsan_write8(void *pointer);

struct shared {
	uint64_t message;
	uint64_t flag;
	struct gmm_spinlock lock;
	uint64_t *pointer; /* NULL, or to the message */
};

static void play(void (*first)(void *), void (*second)(void *))
{
	struct shared *shared = gmm_zalloc(sizeof(*shared));
	struct gmm_sim_thread *threads[2];

	gmm_spin_init(&shared->lock, 1);
	shared->pointer = &shared->message;
	threads[0] = gmm_sim_thread_start(first, shared, "A");
	threads[1] = gmm_sim_thread_start(second, shared, "B");
	gmm_sim_checkpoint();
	gmm_sim_thread_join(threads[0]);
	gmm_sim_thread_join(threads[1]);
	gmm_spin_destroy(&shared->lock);
	gmm_free(shared, sizeof(*shared));
}

static void sends(void *arg)
{
	struct shared *shared = arg;

	__tsan_write8(&shared->message);
	shared->message = 77;
	gmm_store_relaxed(&shared->flag, (uint64_t)1);
}

static void sends_released(void *arg)
{
	struct shared *shared = arg;

	__tsan_write8(&shared->message);
	shared->message = 77;
	gmm_spin_lock(&shared->lock);
	gmm_spin_unlock(&shared->lock);
	gmm_store_relaxed(&shared->flag, (uint64_t)1);
}

static void receives(void *arg)
{
	struct shared *shared = arg;

	if (gmm_load_relaxed(&shared->flag)) {
		__tsan_read8(&shared->message);
		shared->flag += shared->message;
	}
}

static void takes_away(void *arg)
{
	struct shared *shared = arg;

	gmm_store_relaxed(&shared->pointer, (uint64_t *)NULL);
	gmm_store_relaxed(&shared->pointer, &shared->message);
}

static void follows(void *arg)
{
	struct shared *shared = arg;
	volatile uint64_t *pointer = gmm_load_relaxed(&shared->pointer);

	*pointer = 1;
}

static void sends_and_receives(void *arg)
{
	play(sends, receives);
}

static void releases_and_receives(void *arg)
{
	play(sends_released, receives);
}

static void follows_what_is_taken(void *arg)
{
	play(takes_away, follows);
}

/* The first failure of a scenario, as it is printed; freed by the caller. */
static char *printed(void (*run)(void *), uint32_t preemptions, bool races, bool store_buffers,
		     bool all_steps)
{
	struct explore_scenario scenario = { .name = "test", .run = run };
	struct explore_request request = { .scenario = &scenario,
					   .preemptions = preemptions,
					   .races = races,
					   .store_buffers = store_buffers };
	struct table_options options = { .all_steps = all_steps };
	struct explore_findings findings;
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	assert_non_null(to);
	/* Over the handlers that cmocka has for each test. */
	explore_catch_crashes();
	explore_search(&request, &findings);
	assert_true(findings.failed);
	explore_shrink(&request, &findings);
	assert_true(explore_table_print(to, &request, findings.choices, findings.choice_count,
					&options));
	fclose(to);
	explore_findings_free(&findings);
	return text;
}

static void assert_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("'%s' is not in:\n%s", part, text);
}

static void assert_has_not(const char *text, const char *part)
{
	if (strstr(text, part))
		fail_msg("'%s' is in:\n%s", part, text);
}

/* Columns of text in UTF-8. */
static uint32_t width(const char *text, size_t length)
{
	uint32_t columns = 0;
	size_t i;

	for (i = 0; i < length; i++)
		columns += ((unsigned char)text[i] & 0xc0) != 0x80;
	return columns;
}

/* The operation begins in one column; no line is too long, or ends with white space. */
static void assert_is_aligned(const char *text)
{
	const char *head = strstr(text, " step ");
	size_t column;

	assert_non_null(head);
	column = (size_t)(strstr(head, "operation") - head);
	while (*text) {
		size_t length = strcspn(text, "\n");

		if (width(text, length) > TABLE_WIDTH)
			fail_msg("too long: %.*s", (int)length, text);
		assert_true(!length || text[length - 1] != ' ');
		if (length > column && strspn(text, " 0123456789") >= 6 &&
		    (text[6] == '*' || text[6] == ' ') && text[4] >= '0' && text[4] <= '9') {
			assert_int_equal(text[column - 1], ' ');
			assert_int_not_equal(text[column], ' ');
		}
		text += length + (text[length] == '\n');
	}
}

static void a_race_shows_both_accesses_and_what_is_missing(void **state)
{
	char *text = printed(sends_and_receives, 2, true, false, false);

	assert_is_aligned(text);
	assert_has(text, "a data race: two threads touch shared.message");
	assert_has(text, "first, A writes it (plain) at table.c:");
	assert_has(text, " in sends:");
	assert_has(text, "__tsan_write8(&shared->message);");
	assert_has(text, "then, B reads it (plain) at table.c:");
	assert_has(text, "missing: A has released nothing since");
	free(text);

	text = printed(releases_and_receives, 2, true, false, false);
	assert_has(text,
		   "missing: A has released since, last by `unlock &shared->lock` at table.c:");
	assert_has(text, "but B has acquired nothing of that");
	free(text);
}

static void a_crash_is_a_failure(void **state)
{
	char *text = printed(follows_what_is_taken, 2, false, false, false);

	assert_is_aligned(text);
	assert_has(text, "SIGSEGV: T2 touches what a null pointer points to");
	assert_has(text, "it ends here: table.c:");
	assert_has(text, "follows: *pointer = 1;");
	/* Values, and who they point to. */
	assert_has(text, "shared.pointer");
	assert_has(text, "&shared -> 0");
	free(text);
}

static void delayed_stores_are_shown_twice(void **state)
{
	char *text = printed(follows_what_is_taken, 2, false, true, false);

	assert_is_aligned(text);
	assert_has(text, "store (late)");
	assert_has(text, "store is seen");
	free(text);
}

static uint32_t lines(const char *text)
{
	uint32_t count = 0;

	for (; *text; text++)
		count += *text == '\n';
	return count;
}

/* Of the engine: guests, frames, functions of core and of the scenario. */
static void a_table_is_told_in_the_engines_words(void **state)
{
	const struct explore_scenario *defect = &explore_tlb_defects[0];
	char *text = printed(defect->run, defect->preemptions, false, false, false);
	char *all = printed(defect->run, defect->preemptions, false, false, true);

	assert_is_aligned(text);
	assert_is_aligned(all);
	assert_has(text, "… ");
	assert_has(text, " steps of its own\n");
	assert_has_not(all, "steps of its own");
	assert_true(lines(all) > lines(text));
	assert_has(all, "guest.invalidation.lock");
	assert_has(text, "machine.tlb[");
	assert_has(text, "frame ");
	assert_has(all, "< gmm_invalidate_begin");
	assert_has(text, "machine.c:");
	free(text);
	free(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_race_shows_both_accesses_and_what_is_missing),
		cmocka_unit_test(a_crash_is_a_failure),
		cmocka_unit_test(delayed_stores_are_shown_twice),
		cmocka_unit_test(a_table_is_told_in_the_engines_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
