/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef GMM_PORT_TIME_H
#define GMM_PORT_TIME_H

#include <gmm_port/types.h>

uint64_t gmm_time_ns(void);

#endif
