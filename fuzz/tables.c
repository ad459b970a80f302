/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Second-stage tables in formats of hardware. The first byte chooses the format; then operations as
 * tests/core/support/table_model.h has them, each choice two bytes.
 */
#include <stdarg.h>
#include <stdio.h>

#include <guestmm/stage2_table.h>

#include "program.h"
#include "tap.h"
#include "table_model.h"

#define OPERATIONS_MAX 60u /* a run of the largest format takes its time */

/* What the model calls when something does not hold. */
void gmm_test_check_failed(const char *file, int line, const char *check, const char *format, ...)
{
	char text[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	fuzz_failed(file, line, "%s%s", check, text);
}

bool gmm_test_check_equal(const char *file, int line, const char *check, uint64_t seen,
			  uint64_t wanted)
{
	if (seen != wanted)
		fuzz_failed(file, line, "%s: %#llx, not %#llx", check, (unsigned long long)seen,
			    (unsigned long long)wanted);
	return true;
}

void gmm_bail(const char *format, ...)
{
	fuzz_failed(__FILE__, __LINE__, "%s", format);
}

static uint64_t take(void *context, uint64_t bound)
{
	struct program *program = context;
	uint64_t value = program_byte(program);

	if (bound > 256)
		value |= (uint64_t)program_byte(program) << 8;
	return value % bound;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct program program = { data, data + size };
	uint32_t format = program_take(&program, GMM_STAGE2_FORMATS), flags = 0, done = 0;
	const struct gmm_stage2_format_facts *facts = gmm_stage2_format_read_facts(format);
	struct table_model *model;

	if (format == GMM_STAGE2_EPT ||
	    ((facts->facts & GMM_STAGE2_CAN_SET_DIRTY) && program_byte(&program) & 1))
		flags = GMM_STAGE2_HARDWARE_DIRTY;
	model = table_model_create(format, flags, take, &program);
	while (program_more(&program) && done++ < OPERATIONS_MAX)
		table_model_step(model);
	table_model_finish(model);
	return 0;
}
