/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#define FORMAT arm64_4k
#define ARM64_NAME "arm64-4k"
#define ARM64_SHIFT 12u
#define ARM64_LEAVES 7u
#define ARM64_TG0 0u
#define ARM64_SL0_LEVELS 2u

#include "arm64.h"
