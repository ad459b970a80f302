/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Random operations on tables of all formats: tests/core/support/table_model.h. */
#include "table_model.h"
#include "table_world.h"

static uint64_t take(void *context, uint64_t bound)
{
	return gmm_test_random(context) % bound;
}

static void run_format(uint32_t format, uint32_t flags, uint32_t turns)
{
	uint64_t random = gmm_test_seed() + format * 1000;
	struct table_model *model = table_model_create(format, flags, take, &random);

	while (turns--)
		table_model_step(model);
	table_model_finish(model);
}

/* All formats with real threads' speed; in the simulator one a schedule. */
static void random_operations_do_what_they_say(void)
{
	static const struct {
		uint32_t format, flags;
	} all[] = {
		{ GMM_STAGE2_NPT, 0 },
		{ GMM_STAGE2_EPT, GMM_STAGE2_HARDWARE_DIRTY },
		{ GMM_STAGE2_SV39X4, 0 },
		{ GMM_STAGE2_SV48X4, GMM_STAGE2_HARDWARE_DIRTY },
		{ GMM_STAGE2_ARM64_4K, 0 },
		{ GMM_STAGE2_ARM64_4K, GMM_STAGE2_HARDWARE_DIRTY },
		{ GMM_STAGE2_LOONGARCH_4K, 0 },
		{ GMM_STAGE2_ARM64_16K, GMM_STAGE2_HARDWARE_DIRTY },
		{ GMM_STAGE2_LOONGARCH_16K, 0 },
		{ GMM_STAGE2_ARM64_64K, 0 },
	};
	const uint32_t count = sizeof(all) / sizeof(all[0]), small = 7;
	uint32_t i;

	if (gmm_test_turns(1) == 1) {
		i = (uint32_t)gmm_test_seed() % small;
		run_format(all[i].format, all[i].flags, 40);
		return;
	}
	for (i = 0; i < count; i++)
		run_format(all[i].format, all[i].flags, 1000);
}

const struct gmm_test_case gmm_test_cases[] = {
	{ "random_operations_do_what_they_say", random_operations_do_what_they_say },
	{ NULL, NULL },
};
