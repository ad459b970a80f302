/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Formatted text: %d %i %u %x %c %s %p %%, with l, ll and z, a width, - and 0. */
#ifndef GMM_BARE_PRINT_H
#define GMM_BARE_PRINT_H

#include <gmm_port/compiler.h>
#include <gmm_port/types.h>

/* Like vsnprintf(): what does not fit is left out, and the answer is the length it would have. */
int bare_format(char *text, size_t size, const char *format, __builtin_va_list arguments);
void GMM_PRINTF(1, 2) bare_print(const char *format, ...);

#endif
