/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include "image.h"

const uint8_t gmm_guest_image[] __attribute__((aligned(64))) = {
#include "image.inc"
};

const size_t gmm_guest_image_bytes = sizeof(gmm_guest_image);
