/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The guest program as a flat binary for KVM; it starts with struct guest_image (abi.h). */
#ifndef GUEST_IMAGE_H
#define GUEST_IMAGE_H

#include <stddef.h>
#include <stdint.h>

extern const uint8_t gmm_guest_image[];
extern const size_t gmm_guest_image_bytes;

#endif
