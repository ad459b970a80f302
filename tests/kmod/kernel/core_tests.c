/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Programs of tests/core in one module, run once while it is inserted; the TAP lines go to the
 * kernel's log. Each program is compiled with a name of its own for its cases, and tap.c with a
 * pointer in place of the one name that it knows. Insertion fails with -EIO when a case failed.
 */
#include <linux/cpumask.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "kernel/world.h"

#define PROGRAM(name) extern const struct gmm_test_case kernel_cases_##name[];
KERNEL_CORE_TESTS
#undef PROGRAM

static const struct {
	const char *name;
	const struct gmm_test_case *cases;
} programs[] = {
#define PROGRAM(name) { #name, kernel_cases_##name },
	KERNEL_CORE_TESTS
#undef PROGRAM
};

#define CASES_MAX 1024u

extern const void *kernel_test_cases;

const void *kernel_test_cases;

static struct gmm_test_case cases[CASES_MAX + 1];

static int join_cases(void)
{
	const struct gmm_test_case *one;
	uint32_t count = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(programs); i++)
		for (one = programs[i].cases; one->name; one++) {
			char *name = kasprintf(GFP_KERNEL, "%s: %s", programs[i].name, one->name);

			if (!name || count == CASES_MAX)
				return -ENOMEM;
			cases[count++] = (struct gmm_test_case){ name, one->run };
		}
	kernel_test_cases = cases;
	return 0;
}

static void free_names(void)
{
	struct gmm_test_case *one;

	for (one = cases; one->name; one++)
		kfree(one->name);
}

static int __init gmm_test_init(void)
{
	int error = join_cases();

	pr_info("# %u CPUs\n", num_online_cpus());
	if (!error)
		error = gmm_test_world_start();
	if (!error && gmm_test_run_cases())
		error = -EIO;
	gmm_test_world_stop();
	gmm_port_alloc_flush();
	if (error)
		free_names();
	return error;
}

static void __exit gmm_test_exit(void)
{
	free_names();
}

module_init(gmm_test_init);
module_exit(gmm_test_exit);
MODULE_LICENSE("Dual BSD/GPL");
MODULE_DESCRIPTION("guestmm: tests of the engine");
