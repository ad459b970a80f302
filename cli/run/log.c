/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "log.h"

#include <stdio.h>

#include "../terminal.h"
#include "run.h"

void run_log_keep(void *opaque, enum gmm_log_level level, const char *text)
{
	struct run_log *log = opaque;
	uint32_t i = __atomic_fetch_add(&log->count, 1, __ATOMIC_RELAXED);
	struct run_log_line *line;

	if (i >= RUN_LOG_LINES)
		return;
	line = &log->line[i];
	line->level = level;
	line->at = run_now();
	snprintf(line->text, sizeof(line->text), "%.*s", (int)sizeof(line->text) - 1, text);
	__atomic_store_n(&line->written, 1, __ATOMIC_RELEASE);
}

uint32_t run_log_lines(const struct run_log *log)
{
	uint32_t i;

	for (i = 0; i < RUN_LOG_LINES; i++)
		if (!__atomic_load_n(&log->line[i].written, __ATOMIC_ACQUIRE))
			break;
	return i;
}

const char *run_log_level_name(enum gmm_log_level level)
{
	static const char *const names[] = {
		[GMM_LOG_ERROR] = "error",
		[GMM_LOG_WARNING] = "warning",
		[GMM_LOG_INFO] = "note",
	};

	return (uint32_t)level < sizeof(names) / sizeof(names[0]) ? names[level] : "note";
}

void run_log_print(struct run_log *log)
{
	uint32_t lines = run_log_lines(log);

	if (log->printed == lines)
		return;
	gmm_live_line_clear();
	for (; log->printed < lines; log->printed++)
		fprintf(stderr, "gmm run: %s of the library: %s\n",
			run_log_level_name(log->line[log->printed].level),
			log->line[log->printed].text);
}
