/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Numbers of abi.h for the assembler; step.c asserts that they agree. */
#ifndef GUEST_ENTRY_H
#define GUEST_ENTRY_H

#define GUEST_IMAGE_MAGIC_VALUE 0x31676d69746d6d67
#define GUEST_EXIT_PORT_VALUE 0x5e0
#define GUEST_PAGE_SHIFT_VALUE 12

#endif
