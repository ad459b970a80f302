/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#define FORMAT sv48x4
#define RISCV_NAME "riscv-sv48x4"
#define RISCV_LEVELS 4u
#define RISCV_MODE 9u

#include "riscv.h"
