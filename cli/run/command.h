/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_CLI_RUN_COMMAND_H
#define GMM_CLI_RUN_COMMAND_H

/* `gmm run`: argv[0] is "run". Returns the exit status. */
int gmm_command_run(int argc, char **argv);

#endif
