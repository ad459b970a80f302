/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The table in docs/MEMORY.md is the table in the code, cell by cell. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "backing_test.h"

static char *next_cell(char **rest)
{
	char *cell = *rest, *end;

	cell += strspn(cell, " ");
	end = strchr(cell, '|');
	if (!end)
		return NULL;
	*rest = end + 1;
	while (end > cell && end[-1] == ' ')
		end--;
	*end = '\0';
	return cell;
}

static void check_row(uint32_t kind, char *rest)
{
	for (uint32_t bit = 0; bit < GMM_MEMORY_ABILITIES; bit++) {
		const char *why = gmm_memory_why_not((enum gmm_memory_kind)kind, 1u << bit);
		const char *cell = next_cell(&rest);
		char wanted[256];

		assert_non_null(cell);
		snprintf(wanted, sizeof(wanted), "%s%s", why ? "no: " : "yes", why ? why : "");
		if (strcmp(cell, wanted) != 0)
			fail_msg("docs/MEMORY.md, %s, column %u: \"%s\", the code says \"%s\"",
				 gmm_memory_kind_name((enum gmm_memory_kind)kind), bit + 2, cell,
				 wanted);
	}
	assert_null(next_cell(&rest));
}

static FILE *open_document(void)
{
	const char *top = getenv("GMM_SOURCE");
	FILE *file;
	char *path;

	assert_true(asprintf(&path, "%s/docs/MEMORY.md", top ? top : ".") > 0);
	file = fopen(path, "re");
	if (!file)
		fail_msg("%s cannot be read: set GMM_SOURCE to the source tree", path);
	free(path);
	return file;
}

static void document_has_the_table_of_the_code(void **state)
{
	FILE *file = open_document();
	char line[4096];
	uint32_t kind = 0;
	bool in_table = false;

	while (fgets(line, sizeof(line), file)) {
		char *rest = line + 1, *name;

		if (!strncmp(line, "| kind |", 8))
			in_table = true;
		if (!in_table || !strncmp(line, "| kind |", 8) || !strncmp(line, "|---", 4))
			continue;
		if (line[0] != '|')
			break;
		name = next_cell(&rest);
		assert_true(kind < GMM_MEMORY_KINDS);
		assert_string_equal(name, gmm_memory_kind_name((enum gmm_memory_kind)kind));
		check_row(kind, rest);
		kind++;
	}
	fclose(file);
	assert_int_equal(kind, GMM_MEMORY_KINDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(document_has_the_table_of_the_code),
	};

	return cmocka_run_group_tests_name("table of kinds", tests, NULL, NULL);
}
