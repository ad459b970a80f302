/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_PORT_SCAN_H
#define GMM_PORT_SCAN_H

#include "../../scan_plain.h"

#define gmm_scan_mask gmm_scan_mask_plain
#define gmm_scan_next gmm_scan_next_plain
#define gmm_scan_count gmm_scan_count_plain

#endif
