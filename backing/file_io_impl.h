/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Whole reads and writes of files at an offset. */
#ifndef GUESTMM_BACKING_FILE_IO_IMPL_H
#define GUESTMM_BACKING_FILE_IO_IMPL_H

#include <stddef.h>
#include <stdint.h>

/*
 * Transfer `length` bytes, going on after short transfers and interruptions. Return the bytes
 * transferred; fewer than `length` means the end of the file or an error, and *error is then 0 or a
 * positive errno of the system.
 */
size_t gmm_file_read(int fd, void *buffer, size_t length, uint64_t offset, int *error);
size_t gmm_file_write(int fd, const void *buffer, size_t length, uint64_t offset, int *error);

#endif
