/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#define FORMAT la_16k
#define LA_NAME "loongarch-16k"
#define LA_SHIFT 14u
#define LA_GPA_BITS 47u

#include "loongarch.h"
