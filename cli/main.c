/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <stdio.h>
#include <string.h>

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

int main(int argc, char **argv)
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
