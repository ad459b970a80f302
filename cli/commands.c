/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "command.h"

#include <stddef.h>

#include "run/command.h"

const struct gmm_command gmm_commands[] = {
	{ "run", "run a guest on memory that guestmm manages, and verify every page",
	  gmm_command_run },
	{ NULL, NULL, NULL },
};
