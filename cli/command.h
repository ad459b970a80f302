/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What main() knows of a command. */
#ifndef GMM_CLI_COMMAND_H
#define GMM_CLI_COMMAND_H

/* Exit statuses of every command. */
#define GMM_EXIT_GOOD 0
#define GMM_EXIT_LOST 1	   /* something was lost, or failed while it ran */
#define GMM_EXIT_REFUSED 2 /* wrong use, or input or a machine that cannot be used */

struct gmm_command {
	const char *name;
	const char *summary; /* one line for `gmm --help` */
	/* argv[0] is the command's name. Returns the exit status. */
	int (*run)(int argc, char **argv);
};

/* Ends with an entry without a name. */
extern const struct gmm_command gmm_commands[];

#endif
