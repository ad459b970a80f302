/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Numbers as people write and read them. */
#ifndef GMM_CLI_SIZE_H
#define GMM_CLI_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GMM_SIZE_TEXT 32

/* Bytes: 4096, 64K, 256M, 1G, 2T (powers of 1024). False: no such number, or beyond 64 bits. */
bool gmm_size_parse(const char *text, uint64_t *bytes);

/* A whole number from `least` to `most`; decimal or 0x. */
bool gmm_number_parse(const char *text, uint64_t least, uint64_t most, uint64_t *number);

/* "256M", "1.5G", "3 bytes". Returns `text`, of GMM_SIZE_TEXT bytes. */
const char *gmm_size_format(uint64_t bytes, char *text);

/* "850 ns", "12.3 us", "4.5 ms", "2.0 s". Returns `text`, of GMM_SIZE_TEXT bytes. */
const char *gmm_time_format(uint64_t nanoseconds, char *text);

#endif
