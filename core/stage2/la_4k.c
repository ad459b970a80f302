/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#define FORMAT la_4k
#define LA_NAME "loongarch-4k"
#define LA_SHIFT 12u
#define LA_GPA_BITS 48u

#include "loongarch.h"
