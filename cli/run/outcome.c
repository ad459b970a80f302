/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "outcome.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../command.h"
#include "../terminal.h"
#include "run.h"

int run_outcome_init(struct run_outcome *outcome)
{
	memset(outcome, 0, sizeof(*outcome));
	return pthread_mutex_init(&outcome->lock, NULL) ? -GMM_ENOMEM : 0;
}

void run_outcome_destroy(struct run_outcome *outcome)
{
	pthread_mutex_destroy(&outcome->lock);
}

GMM_PRINTF(3, 0)
static void keep_line(struct run_outcome *outcome, uint32_t most, const char *format,
		      va_list arguments)
{
	if (outcome->lines < most) {
		outcome->line_at[outcome->lines] = run_now();
		vsnprintf(outcome->line[outcome->lines++], RUN_LINE_BYTES, format, arguments);
	}
}

void run_lost(struct run *run, const char *format, ...)
{
	struct run_outcome *outcome = &run->outcome;
	va_list arguments;

	pthread_mutex_lock(&outcome->lock);
	/* What a guest sees after that says nothing. */
	if (outcome->abandoned) {
		pthread_mutex_unlock(&outcome->lock);
		return;
	}
	outcome->losses++;
	if (outcome->status == GMM_EXIT_GOOD)
		outcome->status = GMM_EXIT_LOST;
	va_start(arguments, format);
	/* The last line is for the end of the run. */
	keep_line(outcome, RUN_LINES - 1, format, arguments);
	va_end(arguments);
	pthread_mutex_unlock(&outcome->lock);
}

void run_abandon(struct run *run, int status, const char *format, ...)
{
	struct run_outcome *outcome = &run->outcome;
	va_list arguments;

	pthread_mutex_lock(&outcome->lock);
	if (!outcome->abandoned) {
		outcome->status = status;
		va_start(arguments, format);
		keep_line(outcome, RUN_LINES, format, arguments);
		va_end(arguments);
		__atomic_store_n(&outcome->abandoned, 1, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&outcome->lock);
	run_changed(run);
}

bool run_abandoned(const struct run *run)
{
	return __atomic_load_n(&run->outcome.abandoned, __ATOMIC_ACQUIRE);
}

_Noreturn void run_die(struct run *run)
{
	struct run_outcome *outcome = &run->outcome;
	uint32_t i;

	gmm_live_line_clear();
	pthread_mutex_lock(&outcome->lock);
	for (i = 0; i < outcome->lines; i++)
		fprintf(stderr, "gmm run: %s\n", outcome->line[i]);
	fprintf(stderr, "gmm run: ended by force\n");
	fflush(NULL);
	_exit(outcome->status);
}

int run_refuse(const char *format, ...)
{
	va_list arguments;

	fputs("gmm run: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	return GMM_EXIT_REFUSED;
}

const char *run_error_text(int error)
{
	const char *text = strerrordesc_np(error < 0 ? -error : error);

	return text ? text : "unknown error";
}
