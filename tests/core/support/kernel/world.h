/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef KERNEL_WORLD_H
#define KERNEL_WORLD_H

#include "gmm_test.h"

/* Makes the threads that cases use, and ends them; stop also after a start that failed. */
int gmm_test_world_start(void);
void gmm_test_world_stop(void);

#endif
