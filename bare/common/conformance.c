/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The machine's own page walker under tables of the engine. */
#include "conformance.h"

#include <gmm_port/alloc.h>

#include "cpus.h"
#include "print.h"

#define CASES_MAX 160u
#define NAME_MAX 120u

extern const void *bare_test_cases;

const void *bare_test_cases;
struct hypervisor hypervisor;

static struct gmm_test_case cases[CASES_MAX + 1];
static struct {
	const struct bare_guest_format *format;
	void (*run)(void);
	const char *skipped; /* in place of both: why */
} bodies[CASES_MAX];
static uint32_t next_body;

/* Each case has a guest of its own. They run once, in order. */
static void run_next(void)
{
	uint64_t live = gmm_port_alloc_live();

	hypervisor_create(&hypervisor, bodies[next_body].format);
	bodies[next_body++].run();
	hypervisor_destroy(&hypervisor);
	gmm_equal(gmm_port_alloc_live(), live);
}

static void skip_next(void)
{
	gmm_skip("%s", bodies[next_body++].skipped);
}

static uint32_t add_skips(uint32_t count)
{
	const struct bare_guest_skip *skip = bare_guest_machine.skips;
	uint32_t i;

	for (i = 0; i < BARE_GUEST_SKIPS && skip[i].what; i++) {
		bodies[count].skipped = skip[i].why;
		cases[count++] = (struct gmm_test_case){ skip[i].what, skip_next };
	}
	return count;
}

static void GMM_PRINTF(2, 3) write_name(char *name, const char *format, ...)
{
	__builtin_va_list arguments;

	__builtin_va_start(arguments, format);
	bare_format(name, NAME_MAX, format, arguments);
	__builtin_va_end(arguments);
}

static uint32_t add_cases(uint32_t count, const struct bare_guest_format *format,
			  const struct gmm_test_case *added)
{
	for (; added->name; added++) {
		char *name = gmm_zalloc(NAME_MAX);

		if (!name || count + BARE_GUEST_SKIPS == CASES_MAX)
			bare_stop("too many cases");
		write_name(name, "%s: %s", format->name, added->name);
		bodies[count].format = format;
		bodies[count].run = added->run;
		cases[count++] = (struct gmm_test_case){ name, run_next };
	}
	return count;
}

void bare_main(void)
{
	const struct bare_guest_format *format = bare_guest_machine.formats;
	uint32_t count = 0, i;

	for (i = 0; i < BARE_GUEST_FORMATS && format[i].name; i++) {
		count = add_cases(count, &format[i], bare_conformance_one);
		count = add_cases(count, &format[i], bare_conformance_two);
		if (bare_guest_machine.keeps_monitors)
			count = add_cases(count, &format[i], bare_conformance_monitor);
		count = add_cases(count, &format[i], bare_conformance_engine);
		count = add_cases(count, &format[i], bare_conformance_guest);
	}
	add_skips(count);
	bare_test_cases = cases;
	bare_print("# %s, %u CPUs\n", bare_guest_machine.name, bare_cpu_count());
	gmm_test_run_cases();
}
