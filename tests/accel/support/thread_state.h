/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What the kernel says of a thread of this process. */
#ifndef TESTS_ACCEL_THREAD_STATE_H
#define TESTS_ACCEL_THREAD_STATE_H

#include <stdbool.h>
#include <sys/types.h>

/* Whether it sleeps so that a signal would wake it ('S'). False for 0 and when it has ended. */
bool thread_is_asleep(pid_t id);

#endif
