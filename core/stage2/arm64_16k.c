/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#define FORMAT arm64_16k
#define ARM64_NAME "arm64-16k"
#define ARM64_SHIFT 14u
#define ARM64_LEAVES 3u
#define ARM64_TG0 2u
#define ARM64_SL0_LEVELS 1u

#include "arm64.h"
