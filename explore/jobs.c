/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct job {
	FILE *output;
	pid_t process; /* 0: it has not begun, or has ended */
	int status;
	bool ended;
};

static void required(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "gmm-explore: no %s for another job: give a smaller --jobs\n", what);
	exit(2);
}

/* Returns 1, for one has begun. */
static uint32_t start(struct job *job, int (*work)(void *opaque, uint32_t number), void *opaque,
		      uint32_t number)
{
	job->output = tmpfile();
	required(job->output, "file");
	fflush(stdout);
	job->process = fork();
	required(job->process >= 0, "process");
	if (job->process)
		return 1;
	dup2(fileno(job->output), STDOUT_FILENO);
	number = (uint32_t)work(opaque, number);
	fflush(stdout);
	_exit((int)number);
}

static void wait_for_one(struct job *jobs, uint32_t count)
{
	int status;
	pid_t process = wait(&status);
	uint32_t i;

	required(process > 0, "end");
	for (i = 0; i < count; i++) {
		if (jobs[i].process != process)
			continue;
		jobs[i].process = 0;
		jobs[i].ended = true;
		jobs[i].status = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
		if (WIFSIGNALED(status))
			fprintf(stderr, "gmm-explore: a job ended by signal %d\n",
				WTERMSIG(status));
	}
}

static void print(struct job *job)
{
	char text[4096];
	size_t length;

	rewind(job->output);
	while ((length = fread(text, 1, sizeof(text), job->output)) > 0)
		fwrite(text, 1, length, stdout);
	fflush(stdout);
	fclose(job->output);
}

uint32_t explore_jobs_run(uint32_t jobs, uint32_t count, int (*work)(void *opaque, uint32_t number),
			  void *opaque)
{
	struct job *all = calloc(count + 1, sizeof(*all));
	uint32_t begun = 0, printed = 0, running = 0, bad = 0;

	required(all, "memory");
	for (; jobs <= 1 && printed < count; printed++)
		bad += work(opaque, printed) != 0;
	while (printed < count) {
		for (; begun < count && running < jobs; running++)
			begun += start(&all[begun], work, opaque, begun);
		wait_for_one(all, begun);
		running--;
		for (; printed < begun && all[printed].ended; printed++) {
			print(&all[printed]);
			bad += all[printed].status != 0;
		}
	}
	free(all);
	return bad;
}
