/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The simulator is a userspace program; it and the code under test share the compiler's types. */
#include "../../posix/gmm_port/types.h"
