/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "command.h"

static void print_help(void)
{
	const struct gmm_command *command;

	printf("Usage: gmm COMMAND [OPTION]...\n"
	       "\n"
	       "The memory half of a hypervisor: run it, watch it, verify it.\n"
	       "\n"
	       "Commands:\n");
	for (command = gmm_commands; command->name; command++)
		printf("  %-10s %s\n", command->name, command->summary);
	printf("\n"
	       "  --help     print this; `gmm COMMAND --help` prints a command's options\n"
	       "  --version  print the version\n");
}

static int run_command(int argc, char **argv)
{
	const struct gmm_command *command;

	if (argc < 2) {
		fprintf(stderr, "gmm: a command is missing: `gmm --help` lists them\n");
		return GMM_EXIT_REFUSED;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		print_help();
		return GMM_EXIT_GOOD;
	}
	if (!strcmp(argv[1], "--version")) {
		printf("gmm %s\n", GMM_VERSION);
		return GMM_EXIT_GOOD;
	}
	for (command = gmm_commands; command->name; command++)
		if (!strcmp(argv[1], command->name))
			return command->run(argc - 1, argv + 1);
	fprintf(stderr, "gmm: there is no command '%s': `gmm --help` lists them\n", argv[1]);
	return GMM_EXIT_REFUSED;
}

/*
 * Where a standard descriptor is closed, the next file gets its number, and guest memory would get
 * what is printed. Opened for reading only, a write to it still fails.
 */
static void fill_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDONLY);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static int finish_output(int status)
{
	int error = fflush(stdout) ? errno : ferror(stdout) ? EIO : 0;

	if (!error)
		return status;
	if (error != EPIPE)
		fprintf(stderr,
			"gmm: standard output cannot be written (%s): free space there, or give "
			"another output\n",
			strerror(error));
	return status == GMM_EXIT_GOOD ? GMM_EXIT_LOST : status;
}

int main(int argc, char **argv)
{
	fill_standard_descriptors();
	/* Errors of the calls that meet them: what else there is to write is still written. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	return finish_output(run_command(argc, argv));
}
