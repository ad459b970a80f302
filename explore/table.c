/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "table.h"

#include <stdlib.h>
#include <string.h>

#include "machine.h"
#include "steps.h"
#include "steps_shared.h"
#include "symbols.h"

#define THREAD_WIDTH 14
#define OPERATION_WIDTH 13
#define OBJECT_WIDTH 37
#define VALUE_WIDTH 22
#define NAME_OF_SITE 70u
#define FREED_WORD 0xddddddddddddddddull

struct table {
	FILE *to;
	const struct table_options *options;
	const struct steps *steps;
	uint32_t last; /* thread of the line before */
};

static const char *const colours[] = { "\033[0m",  "\033[36m", "\033[33m", "\033[35m",
				       "\033[32m", "\033[34m", "\033[31m" };
#define COLOURS (sizeof(colours) / sizeof(colours[0]))

/* A thread's name and what it runs: "B moves". */
static void thread_text(const struct steps *steps, uint32_t thread, char *text, size_t size)
{
	const char *role = thread && thread < steps->thread_count ?
				   symbols_function(steps->threads[thread].fn) :
				   NULL;

	snprintf(text, size, "%s%s%s",
		 thread < steps->thread_count ? steps->threads[thread].name : "(by itself)",
		 role ? " " : "", role ? role : "");
}

static const char *thread_name(const struct steps *steps, uint32_t thread)
{
	return thread < steps->thread_count ? steps->threads[thread].name : "?";
}

/* The scheduler, what replays and what wraps locks are no part of what is shown. */
static bool is_machinery(const struct symbols_place *place)
{
	return !place->file || strstr(place->file, "port/sim/") ||
	       strstr(place->file, "explore/steps.c") || strstr(place->file, "explore/search.c") ||
	       strstr(place->file, "core/lock_rank.h");
}

static bool is_engine(const struct symbols_place *place)
{
	return strstr(place->file, "/core/") || strstr(place->file, "include/guestmm/");
}

/* Where a step stands, and the engine's function that the scenario called; either may stay empty. */
static void find_places(const struct step *step, struct symbols_place *where,
			struct symbols_place *call)
{
	struct symbols_place places[SYMBOLS_INLINED];
	uint32_t i, j, count;

	memset(where, 0, sizeof(*where));
	memset(call, 0, sizeof(*call));
	for (i = 0; i < step->call_count; i++) {
		/* A call ends before its return address. */
		count = symbols_places(step->calls[i] - 1, places);
		for (j = 0; j < count; j++) {
			if (is_machinery(&places[j]))
				continue;
			if (!where->file)
				*where = places[j];
			if (is_engine(&places[j]))
				*call = places[j];
		}
	}
}

static void where_text(const struct step *step, char *text, size_t size)
{
	const struct gmm_sim_site *site = step->access.site;
	struct symbols_place where, call;
	size_t used;

	text[0] = 0;
	if (step->access.op == GMM_SIM_START || step->access.op == GMM_SIM_FINISH)
		return;
	find_places(step, &where, &call);
	if (!where.file || !where.function) {
		snprintf(text, size, "%s:%d", symbols_file_name(site->file), site->line);
		return;
	}
	used = (size_t)snprintf(text, size, "%s:%d %s", symbols_file_name(where.file), where.line,
				where.function);
	/* f_inline() is what f() does. */
	if (call.function && used < size &&
	    strncmp(call.function, where.function, strlen(call.function)) != 0)
		snprintf(text + used, size - used, " < %s", call.function);
}

static void word_text(uint64_t word, uint32_t size, const struct explore_object *points, char *text,
		      size_t text_size)
{
	char object[64];

	explore_object_text(points, UINT32_MAX, object, sizeof(object));
	if (object[0])
		snprintf(text, text_size, "&%s", object);
	else if (word == MACHINE_POISON)
		snprintf(text, text_size, "poison");
	else if (word == (size < 8 ? FREED_WORD & ((1ull << 8 * size) - 1) : FREED_WORD))
		snprintf(text, text_size, "freed");
	else
		snprintf(text, text_size, word < 4096 ? "%llu" : "%#llx", (unsigned long long)word);
}

static void value_text(const struct step_value *value, bool writes, char *text, size_t size)
{
	char before[80], after[80];

	word_text(value->before, value->size, &value->points_before, before, sizeof(before));
	word_text(value->after, value->size, &value->points_after, after, sizeof(after));
	if (writes)
		snprintf(text, size, "%s -> %s", before, after);
	else
		snprintf(text, size, "%s", before);
}

static void step_value_text(const struct table *table, const struct step *step, char *text,
			    size_t size)
{
	char also[80];
	size_t used;

	text[0] = 0;
	if (step->access.op == GMM_SIM_LOCK && step->holder != GMM_SIM_NOBODY)
		snprintf(text, size, "held by %s: waits", thread_name(table->steps, step->holder));
	else if (step->access.op == GMM_SIM_FREE)
		snprintf(text, size, "%u bytes", step->access.size);
	else if (step->access.op == GMM_SIM_READ && !step->value.known)
		snprintf(text, size, "%u bytes", step->access.size);
	if (!step->value.known)
		return;
	value_text(&step->value, step->access.writes, text, size);
	used = strlen(text);
	if (step->access.expected && !step->access.writes)
		snprintf(text + used, size - used, ", not changed");
	if (!step->also_value.known)
		return;
	value_text(&step->also_value, step->access.also_writes, also, sizeof(also));
	used = strlen(text);
	snprintf(text + used, size - used, "; %s", also);
}

static void object_text(const struct step *step, char *text, size_t size)
{
	const struct gmm_sim_access *access = &step->access;
	uint32_t bytes = access->size;
	char *end;
	size_t used;

	text[0] = 0;
	if (access->op == GMM_SIM_START || access->op == GMM_SIM_FINISH)
		return;
	if (access->op == GMM_SIM_LOCK || access->op == GMM_SIM_UNLOCK)
		bytes = sizeof(struct gmm_sim_lock);
	else if (access->op == GMM_SIM_WAIT || access->op == GMM_SIM_WAKE)
		bytes = sizeof(struct gmm_waitqueue);
	explore_object_text(&step->object, bytes, text, size);
	/* What others reach on a thread's stack has a name in the source only. */
	if (!text[0] || (step->object.kind == OBJECT_STACK && access->op != GMM_SIM_READ &&
			 access->op != GMM_SIM_WRITE))
		snprintf(text, size, "%s", access->site->name);
	/* Of a lock its own name is enough. */
	end = strrchr(text, '.');
	if (end && bytes == sizeof(struct gmm_sim_lock) &&
	    (!strcmp(end, ".mutex") || !strcmp(end, ".spin")) && strchr(text, '.') != end)
		*end = 0;
	if (!access->also)
		return;
	used = strlen(text);
	if (used + 2 < size) {
		snprintf(text + used, size - used, ", ");
		explore_object_text(&step->also, STEP_VALUE_BYTES, text + used + 2,
				    size - used - 2);
	}
}

static const char *operation_text(const struct step *step, char *text, size_t size)
{
	snprintf(text, size, "%s%s", gmm_sim_op_name(step->access.op),
		 step->kind == STEP_DELAYED ? " (late)" :
		 step->kind == STEP_SEEN    ? " is seen" :
					      "");
	return text;
}

static const char *colour_of(const struct table *table, uint32_t thread)
{
	return table->options->colours ? colours[thread % COLOURS] : "";
}

static void print_start(struct table *table, uint32_t number, uint32_t thread)
{
	char name[64];

	thread_text(table->steps, thread, name, sizeof(name));
	fprintf(table->to, "%5u %c %s%-*.*s%s ", number, thread == table->last ? ' ' : '*',
		colour_of(table, thread), THREAD_WIDTH, THREAD_WIDTH, name,
		table->options->colours ? colours[0] : "");
	table->last = thread;
}

/* The line's end, within the width; nothing behind the last word. */
static void print_rest(struct table *table, const char *operation, const char *object,
		       const char *value, const char *where)
{
	char line[TABLE_WIDTH * 2];
	int used = THREAD_WIDTH + 9, length;

	snprintf(line, sizeof(line), "%-*s %-*.*s %-*.*s %s", OPERATION_WIDTH, operation,
		 OBJECT_WIDTH, OBJECT_WIDTH, object, VALUE_WIDTH, VALUE_WIDTH, value, where);
	length = (int)strnlen(line, TABLE_WIDTH - (size_t)used);
	while (length && line[length - 1] == ' ')
		length--;
	fprintf(table->to, "%.*s\n", length, line);
}

static void print_step(struct table *table, uint32_t number)
{
	const struct step *step = &table->steps->steps[number];
	char operation[32], object[160], value[200], where[160];

	object_text(step, object, sizeof(object));
	step_value_text(table, step, value, sizeof(value));
	where_text(step, where, sizeof(where));
	print_start(table, number + 1, step->thread);
	print_rest(table, operation_text(step, operation, sizeof(operation)), object, value, where);
}

static void print_folded(struct table *table, uint32_t first, uint32_t count)
{
	print_start(table, first + 1, table->steps->steps[first].thread);
	fprintf(table->to, "… %u step%s of its own\n", count, count > 1 ? "s" : "");
}

/* How many steps from `first` on stand together as one line. The last step is shown. */
static uint32_t fold(const struct steps *steps, const bool *own, uint32_t first)
{
	uint32_t end = first;

	while (end + 1 < steps->count && own[end] &&
	       steps->steps[end].thread == steps->steps[first].thread)
		end++;
	return end - first;
}

static void print_steps(struct table *table)
{
	const struct steps *steps = table->steps;
	bool *own = steps_own(steps);
	uint32_t i, count;

	fprintf(table->to, "%5s   %-*s ", "step", THREAD_WIDTH, "thread");
	print_rest(table, "operation", "object", "value", "where < engine's function");
	for (i = 0; i < steps->count; i += count) {
		count = table->options->all_steps ? 0 : fold(steps, own, i);
		if (count) {
			print_folded(table, i, count);
		} else {
			print_step(table, i);
			count = 1;
		}
	}
	free(own);
}

static void print_commented(FILE *to, const char *text)
{
	while (*text) {
		size_t length = strcspn(text, "\n");

		fprintf(to, "  | %.*s\n", (int)length, text);
		text += length + (text[length] == '\n');
	}
}

static void print_threads(struct table *table)
{
	char name[64];
	uint32_t i;

	fprintf(table->to, "  threads:");
	for (i = 1; i < table->steps->thread_count; i++) {
		thread_text(table->steps, i, name, sizeof(name));
		fprintf(table->to, "%s T%u %s", i > 1 ? "," : "", i, name);
	}
	fprintf(table->to, "; * another thread's turn\n");
}

/* The last step of a thread that stands there. */
static const struct step *step_of(const struct steps *steps, uint32_t thread,
				  const struct gmm_sim_site *site)
{
	uint32_t i = steps->count;

	while (i--)
		if (steps->steps[i].thread == thread && steps->steps[i].kind != STEP_OWN &&
		    steps->steps[i].access.site == site)
			return &steps->steps[i];
	return NULL;
}

static const char *order_text(const struct gmm_sim_race_access *access)
{
	int order = access->plain ? 0 : access->site->order;

	return access->plain				    ? "plain" :
	       order == (GMM_SIM_ACQUIRE | GMM_SIM_RELEASE) ? "atomic, acquire and release" :
	       order == GMM_SIM_ACQUIRE			    ? "atomic, acquire" :
	       order == GMM_SIM_RELEASE			    ? "atomic, release" :
							      "atomic, relaxed";
}

static void print_race_access(struct table *table, const char *when,
			      const struct gmm_sim_race_access *access)
{
	const struct gmm_sim_site *site = access->site;
	const struct step *step = step_of(table->steps, access->thread, site);
	struct symbols_place where = { 0 }, call = { 0 };
	const char *source = NULL;

	if (step)
		find_places(step, &where, &call);
	if (!where.file)
		where = (struct symbols_place){ .file = site->file, .line = site->line };
	source = symbols_source(where.file, where.line);
	fprintf(table->to, "    %s %s %s it (%s) at %s:%d%s%s:\n        %.120s\n", when,
		thread_name(table->steps, access->thread), access->writes ? "writes" : "reads",
		order_text(access), symbols_file_name(where.file), where.line,
		where.function ? " in " : "", where.function ? where.function : "",
		source ? source : site->name);
}

/* Both accesses, and what would have ordered them. */
static void print_race(struct table *table)
{
	const struct gmm_sim_race *race = &table->steps->findings.result.race;
	const struct step *later = step_of(table->steps, race->later.thread, race->later.site);
	const char *first = thread_name(table->steps, race->earlier.thread);
	const char *second = thread_name(table->steps, race->later.thread);
	char object[160] = "a word", where[100] = "";
	const struct step *by;

	if (later)
		object_text(later, object, sizeof(object));
	fprintf(table->to, "  a data race: two threads touch %s, and nothing orders them:\n",
		object);
	print_race_access(table, "first,", &race->earlier);
	print_race_access(table, "then,", &race->later);
	if (!race->released) {
		fprintf(table->to,
			"    missing: %s has released nothing since (no lock given back, no store with "
			"release, no update, no fence)\n",
			first);
		return;
	}
	by = step_of(table->steps, race->earlier.thread, race->released);
	if (by)
		where_text(by, where, sizeof(where));
	fprintf(table->to,
		"    missing: %s has released since, last by `%s %.50s` at %s,\n"
		"        but %s has acquired nothing of that: no lock that %s gave back since, no load "
		"with acquire of what it stored\n",
		first, by ? gmm_sim_op_name(by->access.op) : "", race->released->name, where,
		second, first);
}

static void print_crash(struct table *table)
{
	struct symbols_place places[SYMBOLS_INLINED];
	uint32_t count = symbols_places(table->steps->findings.result.crashed_at, places), i;
	const char *source;

	for (i = 0; i < count; i++) {
		if (is_machinery(&places[i]))
			continue;
		source = symbols_source(places[i].file, places[i].line);
		fprintf(table->to, "  it ends here: %s:%d %s: %.80s\n",
			symbols_file_name(places[i].file), places[i].line,
			places[i].function ? places[i].function : "?", source ? source : "");
	}
}

#if EXPLORE_PLAIN
/* A plain access is called as what stands in the source. */
static void name_site(uintptr_t address, struct gmm_sim_site *site)
{
	struct symbols_place places[SYMBOLS_INLINED];
	uint32_t count = symbols_places(address - 1, places);
	const char *source;

	if (!count)
		return;
	source = symbols_source(places[0].file, places[0].line);
	site->file = places[0].file;
	site->line = places[0].line;
	site->name = source ? strndup(source, NAME_OF_SITE) : places[0].function;
}
#endif

bool explore_table_print(FILE *to, const struct explore_request *request, const uint8_t *choices,
			 uint32_t count, const struct table_options *options)
{
	struct steps steps;
	struct table table = { .to = to, .options = options, .steps = &steps, .last = UINT32_MAX };
	bool failed;

#if EXPLORE_PLAIN
	gmm_sim_plain_sites(name_site);
#endif
	steps_collect(request, choices, count, &steps);
	failed = steps.findings.failed;
	if (failed)
		print_commented(to, steps.findings.result.text);
	print_threads(&table);
	print_steps(&table);
	if (failed && steps.findings.result.race.found)
		print_race(&table);
	if (failed && steps.findings.result.crashed_at)
		print_crash(&table);
	steps_free(&steps);
	return failed;
}
