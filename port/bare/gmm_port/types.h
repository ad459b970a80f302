/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_PORT_TYPES_H
#define GMM_PORT_TYPES_H

/* The compiler's own headers, which need no library. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#endif
