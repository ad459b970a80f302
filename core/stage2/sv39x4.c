/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#define FORMAT sv39x4
#define RISCV_NAME "riscv-sv39x4"
#define RISCV_LEVELS 3u
#define RISCV_MODE 8u

#include "riscv.h"
